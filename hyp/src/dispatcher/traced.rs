//! Traced: the loop and the handlers of a core that records. Each handler here writes down what was asked, calls the plain one,
//! and writes down what came of it; the vectors are the same, they are handed another table.
//!
//! Called by the dispatcher's loop and by the vectors, only on a core with a tracer. Changes nothing that a guest or a room sees
//! but time.

use strato_abi::Call;
use strato_abi::trace::{CAUSE_MAIL, CAUSE_TIMER, Crossing, Decision, NOBODY, Record, UNKNOWN_CALL};

use super::{Witness, irq, pass};
use crate::arch::frame::{
    Answer, Answered, Answers, ExitKind, Frame, Leave, Leaves, Passed, Passers, Place, RawExit, Results,
};
use crate::arch::{guest, timer};
use crate::hypercall::{self, Handler};
use crate::interpreter;
use crate::machine::{Cpu, Cx, Machine, Next};
use crate::timer::NEVER;
use crate::trace::wake;
use crate::vcpu::{Context, FrameLease};

/// Every crossing is recorded.
#[derive(Debug)]
pub struct Traced;

impl Witness for Traced {
    fn answers<'s>(_is_open: bool) -> &'s Answers<'s, Context, Cx<'s>> {
        const {
            let pass = Passers { told: pass, yields: pass, waits: pass, signals: pass, interrupted: passed_on };
            &Answers { calls: table(), abort, irq: interrupt, pass }
        }
    }

    #[inline(never)]
    fn enters(cx: &mut Cx<'_>) {
        let (vm, vcpu) = (cx.me.vm(), cx.me.vcpu());
        let Some(tracer) = &mut cx.cpu.tracer else { return };
        if tracer.is_open() {
            tracer.pause();
        } else {
            tracer.open(wake(0)); // the core's first guest
        }
        tracer.close(vm, vcpu);
    }

    #[inline(never)]
    fn left(cx: &mut Cx<'_>, frame: &Frame, exit: &RawExit) {
        if cx.cpu.tracer.as_ref().is_some_and(|tracer| tracer.is_open()) {
            return resume(cx); // what a handler or the passer left
        }
        let (crossing, number, syndrome) = match exit.kind() {
            ExitKind::Irq | ExitKind::Fiq => (Crossing::Interrupt, cause(cx), 0),
            ExitKind::SError => (Crossing::SystemError, 0, exit.esr),
            ExitKind::Aarch32 => (Crossing::Aarch32, 0, exit.esr),
            #[allow(clippy::cast_possible_truncation, reason = "w0 names a service")]
            ExitKind::Sync | ExitKind::Answered => (Crossing::Trap, frame.read(0) as u32, exit.esr),
        };
        let arguments = core::array::from_fn(|n| frame.read(n.wrapping_add(1)));
        open(cx, Record { pc: frame.pc, syndrome, arguments, ..record(crossing, number) });
    }

    #[inline(never)]
    fn decided(cx: &mut Cx<'_>, next: &Next) {
        let (decision, results) = decision(cx, next);
        let wakes = cx.wakes;
        let Some(tracer) = &mut cx.cpu.tracer else { return };
        let record = tracer.pause();
        // What `pass` has applied already leaves with nothing more to do.
        if decision == Decision::Resume && record.decision != Decision::Stay as u8 {
            return tracer.resume();
        }
        (record.decision, record.results) = (decision as u8, results);
        (record.woken_vm, record.woken_vcpus) = (wakes.place, wakes.vcpus);
        tracer.resume();
    }

    #[inline(never)]
    fn settled(cx: &mut Cx<'_>) {
        // With nobody next, what the core does then is not about this guest. And it may be the last thing that it does.
        if cx.cpu.turn.is_none() {
            Self::sleeps(cx.cpu);
        }
    }

    #[inline(never)]
    fn sleeps(cpu: &mut Cpu) {
        if let Some(tracer) = cpu.tracer.as_mut().filter(|tracer| tracer.is_open()) {
            tracer.pause();
            tracer.close(NOBODY, 0);
        }
    }

    #[inline(never)]
    fn woke(machine: &Machine, cpu: &mut Cpu) {
        // The interrupt is taken: a timer that was due is not armed any more, and the mail is still to be read.
        let timer = if cpu.armed == NEVER { CAUSE_TIMER } else { 0 };
        let is_device = cpu.came != 0; // which is told by the mail's flag
        let mail = if machine.mail_of(cpu).is_full() && !is_device { CAUSE_MAIL } else { 0 };
        if let Some(tracer) = &mut cpu.tracer {
            tracer.open(wake(timer | mail));
        }
    }
}

/// Returns why an interrupt is pending that is not taken yet.
fn cause(cx: &Cx<'_>) -> u32 {
    let timer = if cx.cpu.armed <= timer::now() { CAUSE_TIMER } else { 0 };
    let mail = if cx.machine.mail_of(cx.cpu).is_full() { CAUSE_MAIL } else { 0 };
    timer | mail
}

/// Returns what `next` is called in a record, and the numbers that belong to it.
fn decision(cx: &Cx<'_>, next: &Next) -> (Decision, [u64; 4]) {
    let kept = cx.cpu.kept();
    match *next {
        Next::Resume | Next::PassOn { waits: false } => (Decision::Resume, [0; 4]),
        Next::Reply(status) => {
            let [x1, x2, x3, _] = kept;
            (Decision::Reply, [status, x1, x2, x3])
        }
        Next::Service => (Decision::Service, kept),
        Next::Yield | Next::YieldTo(_) => (Decision::Yield, [0; 4]),
        Next::Wait(deadline) => (Decision::Wait, [deadline, 0, 0, 0]),
        Next::PassOn { waits: true } => (Decision::Wait, [NEVER, 0, 0, 0]),
        Next::Halt => (Decision::Halt, [0; 4]),
        Next::Schedule => {
            let [to, _, budget, period] = kept;
            (Decision::Schedule, [to & 0xff, u64::from(to >> 8 != 0), budget, period])
        }
        Next::Off => (Decision::Off, [0; 4]),
        Next::Exit(code) => (Decision::Exit, [code, 0, 0, 0]),
        Next::Reboot => (Decision::Exit, [0; 4]),
        Next::Crash => (Decision::Crash, kept),
        Next::Stop => (Decision::Stop, [0; 4]),
    }
}

fn record(crossing: Crossing, number: u32) -> Record {
    Record { crossing: crossing as u8, number, ..Record::default() }
}

/// Begins a record of the guest of `cx`.
#[inline(never)]
fn open(cx: &mut Cx<'_>, record: Record) {
    let (from_vm, from_vcpu) = (cx.me.vm(), cx.me.vcpu());
    if let Some(tracer) = &mut cx.cpu.tracer {
        tracer.open(Record { from_vm, from_vcpu, ..record });
    }
}

fn resume(cx: &mut Cx<'_>) {
    if let Some(tracer) = &mut cx.cpu.tracer {
        tracer.resume();
    }
}

/// Ends the record of the guest of `cx` if it goes on at once: it has the core again. Else the loop ends it.
fn settle(cx: &mut Cx<'_>, answer: Answer, results: [u64; 4]) -> Answer {
    let (vm, vcpu) = (cx.me.vm(), cx.me.vcpu());
    if let Some(tracer) = &mut cx.cpu.tracer {
        let record = tracer.pause();
        if answer == Answer::Stay {
            record.results = results;
            tracer.close(vm, vcpu);
        }
    }
    answer
}

/// Answers call `number`, and records it.
#[inline(never)]
extern "C" fn call<'a>(
    cx: &'a mut Cx<'_>,
    x1: u64,
    x2: u64,
    x3: u64,
    x4: u64,
    x5: u64,
    x6: u64,
    number: u32,
) -> Answered<'a> {
    let Some(plain) = hypercall::HANDLERS.get((number & 0xff) as usize) else { unreachable!("there are 256 handlers") };
    let (pc, arguments) = (guest::return_address(), [x1, x2, x3, x4, x5, x6]);
    open(cx, Record { pc, arguments, ..record(Crossing::Call, number) });
    let answered = plain(cx, x1, x2, x3, x4, x5, x6);
    match (answered.leaves(), answered.results()) {
        (None, Some(x)) => {
            settle(cx, Answer::Stay, x);
            cx.cpu.results = Results { x };
            Answered::stored(&cx.cpu.results)
        }
        (to, _) => {
            settle(cx, Answer::Leave, [0; 4]);
            match to {
                None | Some(Leave::Told) => {}
                Some(Leave::Yield) => cx.next = Next::Yield,
                Some(Leave::Wait) => cx.next = Next::Wait(NEVER),
                Some(Leave::Signal) => cx.next = Next::PassOn { waits: true },
            }
            Answered::LEAVE
        }
    }
}

/// Answers an abort, and records it.
extern "C" fn abort(cx: &mut Cx<'_>, esr: u64, far: u64, hpfar: u64, place: &mut Place) -> Answer {
    let pc = place.pc;
    let arguments = [far, hpfar, 0, 0, 0, 0];
    open(cx, Record { pc, syndrome: esr, arguments, ..record(Crossing::Abort, 0) });
    let answer = interpreter::abort(cx, esr, far, hpfar, place);
    settle(cx, answer, [u64::from(place.pc != pc), place.pc, 0, 0])
}

/// Answers an interrupt, and records it.
extern "C" fn interrupt(cx: &mut Cx<'_>) -> Answer {
    let (pc, number) = (guest::return_address(), cause(cx));
    open(cx, Record { pc, ..record(Crossing::Interrupt, number) });
    let answer = irq::answer(cx);
    settle(cx, answer, [0; 4])
}

/// Passes the core on, and records it.
extern "C" fn pass<'s>(cx: &mut Cx<'s>, frame: FrameLease<'s>) -> Passed<'s, Context> {
    resume(cx);
    let next = cx.next;
    Traced::decided(cx, &next);
    let passed = pass::decide(cx, frame, timer::now());
    let (vm, vcpu) = (cx.me.vm(), cx.me.vcpu());
    if let Some(tracer) = &mut cx.cpu.tracer {
        tracer.pause();
        if passed.leaves != Leaves::Yes {
            tracer.close(vm, vcpu);
        }
    }
    passed
}

/// The same after an interrupt, by which somebody else has got the turn.
extern "C" fn passed_on<'s>(cx: &mut Cx<'s>, frame: FrameLease<'s>) -> Passed<'s, Context> {
    cx.next = Next::PassOn { waits: false };
    pass(cx, frame)
}

macro_rules! fill_table {
    ($($call:ident),*) => {
        /// Makes the table of handlers that record.
        const fn table() -> [Handler; 256] {
            let mut table = [entry::<UNKNOWN_CALL> as Handler; 256];
            $(
                #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
                {
                    table[Call::$call as usize] = entry::<{ Call::$call as u32 }>;
                }
            )*
            table
        }
    };
}
strato_abi::for_each_call!(fill_table);

/// The entry of call `NUMBER`: a handler does not learn for which number it was called. Short, as the table is large.
extern "C" fn entry<'a, const NUMBER: u32>(
    cx: &'a mut Cx<'_>,
    x1: u64,
    x2: u64,
    x3: u64,
    x4: u64,
    x5: u64,
    x6: u64,
) -> Answered<'a> {
    call(cx, x1, x2, x3, x4, x5, x6, NUMBER)
}
