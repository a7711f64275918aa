/* Three vCPUs of one VM on two cores: they send, kick, wait, and end their VM, in every order. Model for spin.

   Each step is one access that other cores can see (what stronger or weaker orders of memory make of two steps is loom's:
   ../tests). Mirrors dispatcher/next.rs (block, end), dispatcher/service.rs (tell, requests, serve, detach, end_vm),
   vm/raise.rs, machine/mail.rs, dispatcher/irq.rs and the loop. vCPU 0 is at home on core 0, 1 and 2 are on core 1. Every
   turn ends after one act of its guest, which is the shortest slice.

   A mutant is built with -D and its name; `check`, beside this file, says which claim each one breaks. */

mtype = { Runnable, Running, Blocked, Stopped };

#define VCPUS 3
#define HOME(v) ((v) > 0)
#define WAKE 1
#define STOP 4
#define NOBODY 3

#ifdef UNFAIR
#define SECOND false
#else
#define SECOND last == 1
#endif

mtype state[VCPUS] = Runnable;
bool news[VCPUS];       /* the selector has a bit */
byte requests[VCPUS];   /* Public::requests */
byte queued[VCPUS] = 1; /* how often it stands in the queue of its home core */
byte letters[2];        /* Mail::vcpus, one bit each */
bool isFull[2];         /* Mail::is_full */
bool sgi[2];            /* SGI_MAIL is pending at the core */
byte turn[2] = NOBODY;
bool isEnding;
byte attached = VCPUS;

/* Mail::put and the interrupt behind it. */
inline send_mail(v) {
#ifdef SGI_FIRST
    sgi[HOME(v)] = true;
#endif
    letters[HOME(v)] = letters[HOME(v)] | (1 << v);
    isFull[HOME(v)] = true;
#if !defined(SGI_FIRST) && !defined(NO_SGI)
    sgi[HOME(v)] = true
#endif
}

/* Queues v, which has become ready, at home. */
inline make_ready(v) {
    atomic {
        queued[v] = queued[v] + 1;
        assert(queued[v] == 1) /* never twice queued */
    }
}

/* Takes v off its core for good. */
inline detach(v) {
    if
    :: state[v] != Stopped ->
        state[v] = Stopped;
        queued[v] = 0;
        if
        :: turn[HOME(v)] == v -> turn[HOME(v)] = NOBODY
        :: else
        fi;
        attached--
    :: else
    fi
}

/* What is asked of v, by its home core. */
inline serve(v) {
    d_step { asked = requests[v]; requests[v] = 0 } /* one swap */
    if
#ifdef STOP_BEHIND_LETTER
    :: asked & STOP -> detach(v)
#else
    :: (asked & STOP) || isEnding -> detach(v)
#endif
    :: else ->
        if
        :: state[v] == Blocked -> state[v] = Runnable; make_ready(v)
        :: else
        fi
    fi;
    asked = 0
}

inline tell(v) {
    if
    :: HOME(v) == me ->
        if
        :: requests[v] != 0 || isEnding -> serve(v)
        :: else ->
            if
            :: state[v] == Blocked -> state[v] = Runnable; make_ready(v)
            :: else
            fi
        fi
    :: else ->
#ifdef FOREIGN_WAKE
        /* Not by its home core: two may do it at once. */
        if
        :: state[v] == Blocked -> state[v] = Runnable; make_ready(v)
        :: else
        fi
#else
        requests[v] = requests[v] | WAKE;
        send_mail(v)
#endif
    fi
}

/* Vm::raise, in poll mode: who blocks is told. A kick tells who runs, too. */
inline raise(v, isKick) {
    news[v] = true;
    if
    :: state[v] == Blocked || (isKick && state[v] == Running) -> tell(v)
    :: else
    fi
}

/* Says that v blocks, then looks for news once more. */
inline block(v) {
#ifdef LOOK_FIRST
    hasNews = news[v];
    state[v] = Blocked;
#else
    state[v] = Blocked;
    hasNews = news[v];
#ifdef NO_LOOK
    hasNews = false;
#endif
#endif
    if
    :: hasNews -> state[v] = Runnable
    :: else -> queued[v] = 0; turn[me] = NOBODY
    fi;
    hasNews = false
}

inline end_vm() {
    d_step { isFirst = !isEnding; isEnding = true }
    if
    :: isFirst ->
        ask(0); ask(1); ask(2)
    :: else
    fi;
    isFirst = false
}

inline ask(v) {
#ifdef STOP_BEHIND_LETTER
    send_mail(v);
    requests[v] = requests[v] | STOP
#else
    requests[v] = requests[v] | STOP;
    send_mail(v)
#endif
}

/* Empties the letter box and serves who is named in it. */
inline take_mail() {
    if
    :: isFull[me] ->
#ifndef FLAG_LAST
        isFull[me] = false;
#endif
        d_step { taken = letters[me]; letters[me] = 0 } /* one swap */
#ifdef FLAG_LAST
        isFull[me] = false;
#endif
        if
        :: taken & 1 -> serve(0)
        :: else
        fi;
        if
        :: taken & 2 -> serve(1)
        :: else
        fi;
        if
        :: taken & 4 -> serve(2)
        :: else
        fi;
        taken = 0
    :: else
    fi
}

/* service::wake_only: a core that has nobody takes the only letter, if nothing but a wake is asked for; else it puts it back. */
inline wake_only() {
    if
    :: isFull[me] ->
#ifdef REQUEST_FIRST
        v = (letters[me] & 1 -> 0 : (letters[me] & 2 -> 1 : 2));
        take_wake(v);
#endif
        isFull[me] = false;
        d_step { taken = letters[me]; letters[me] = 0 } /* one swap */
        v = (taken & 1 -> 0 : (taken & 2 -> 1 : 2));
#ifndef REQUEST_FIRST
        if
        :: taken == 1 << v && state[v] == Blocked -> take_wake(v)
        :: else
        fi;
#endif
        if
        :: asked -> state[v] = Runnable; make_ready(v)
#ifdef NOT_PUT_BACK
        :: else
#else
        :: else -> letters[me] = letters[me] | taken; isFull[me] = true
#endif
        fi;
        v = 0; asked = 0; taken = 0
    :: else
    fi
}

/* Orders::take_wake, one exchange. */
inline take_wake(v) {
    d_step {
        if
        :: requests[v] == WAKE && state[v] == Blocked -> requests[v] = 0; asked = WAKE
        :: else
        fi
    }
}

/* scheduler::pick: who had the turn goes behind its equals. Nobody else sees any of it. */
inline pick() {
    d_step {
        if
        :: me == 0 && queued[0] -> turn[0] = 0
        :: me == 1 && queued[1] && queued[2] -> turn[1] = (SECOND -> 2 : 1)
        :: me == 1 && queued[1] && !queued[2] -> turn[1] = 1
        :: me == 1 && !queued[1] && queued[2] -> turn[1] = 2
        :: else -> turn[me] = NOBODY
        fi;
        last = (turn[me] == NOBODY -> last : turn[me])
    }
}

proctype Core(byte me) {
    byte v, asked, taken, last;
    bool hasNews, isFirst;
again:
    take_mail();
choose:
    pick();
    if
    :: turn[me] == NOBODY ->
        /* WFI: an interrupt that is pending ends it at once. */
end_idle:
        sgi[me];
#ifdef ACKNOWLEDGED_LATE
        take_mail();
        sgi[me] = false;
        goto choose
#else
        sgi[me] = false; /* acknowledged before the letters are looked at */
        wake_only();
        if
        :: queued[0] && me == 0 || me == 1 && (queued[1] || queued[2]) -> goto choose
        :: else -> goto again
        fi
#endif
    :: else
    fi;
    v = turn[me];
    assert(state[v] == Runnable && queued[v] == 1);
    state[v] = Running;
    if
    :: sgi[me] -> sgi[me] = false /* an interrupt */
    :: !sgi[me] ->
        if
        :: v == 0 -> raise(1, false)
        :: v == 0 -> raise(2, true)
        :: v == 1 -> raise(0, false)
        :: v == 1 -> raise(2, false)
        :: v == 2 -> raise(0, true)
#ifdef ENDS
        :: v == 2 -> end_vm()
#endif
        :: true -> /* WAIT: takes what there is, or blocks; the next WAIT takes what woke it */
            d_step { hasNews = news[v]; news[v] = false }
            if
            :: hasNews -> hasNews = false
            :: else -> block(v)
            fi
        fi
    fi;
    if /* who loses the core is ready */
    :: turn[me] == v && state[v] == Running -> state[v] = Runnable
    :: else
    fi;
    v = 0;
    goto again
}

init {
    atomic { run Core(0); run Core(1) }
}

#define SLEEPS(v) (state[v] == Blocked && news[v])
/* An event that is there wakes its vCPU; the end of a VM stops all of it; who is ready runs. */
ltl woken0 { [] (SLEEPS(0) -> <> !(state[0] == Blocked)) }
ltl woken2 { [] (SLEEPS(2) -> <> !(state[2] == Blocked)) }
ltl ended { [] (isEnding -> <> (attached == 0)) }
ltl runs { [] (state[2] == Runnable -> <> (state[2] != Runnable)) }
