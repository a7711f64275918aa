//! Dispatcher: the loop that every core runs. A guest runs inside one call; what it left for is decoded, one room answers,
//! and one place applies the answer.
//!
//! Calls everything below; nothing calls it but boot. Holds no policy of its own.

pub mod beat;
pub mod deadlines;
pub mod enter;
pub mod exit;
pub mod irq;
pub mod leave;
pub mod next;
pub mod pass;
pub mod preempt;
pub mod reaper;
pub mod reserve;
pub mod service;
mod straight;
pub mod timers;
pub mod traced;

use crate::arch::epoch::{Stay, Visitor};
use crate::arch::frame::{Answerer, Answers, Frame, RawExit};
use crate::arch::{self, timer};
use crate::hypercall;
use crate::interpreter;
use crate::lock::Held;
use crate::machine::{Cpu, Cx, Machine, Next, Wakes};
use crate::vcpu::Context;
use crate::vm::records::Cause;
use exit::Trap;

/// What looks on as the loop goes round. The loop is compiled for each, so that a look of nobody costs nothing; its parts are
/// always inlined, since the compiler would not do it with what is called twice.
pub trait Witness {
    /// Returns what is answered while the guest has the core; `is_open` says that its VM may make every call.
    #[inline(always)]
    fn answers<'s>(is_open: bool) -> &'s Answers<'s, Context, Cx<'s>> {
        if is_open { const { &answers(*hypercall::OPEN_HANDLERS) } } else { const { &answers(*hypercall::HANDLERS) } }
    }

    /// The guest of `cx` is about to go on.
    #[inline(always)]
    fn enters(_cx: &mut Cx<'_>) {}

    /// The guest of `cx` has left.
    #[inline(always)]
    fn left(_cx: &mut Cx<'_>, _frame: &Frame, _exit: &RawExit) {}

    /// A room has answered `_next`, which is applied now.
    #[inline(always)]
    fn decided(_cx: &mut Cx<'_>, _next: &Next) {}

    /// It is settled who has the core after the guest of `cx`.
    #[inline(always)]
    fn settled(_cx: &mut Cx<'_>) {}

    /// The core is about to sleep.
    #[inline(always)]
    fn sleeps(_cpu: &mut Cpu) {}

    /// The core woke and took what woke it.
    #[inline(always)]
    fn woke(_machine: &Machine, _cpu: &mut Cpu) {}
}

/// Returns what is answered inside `run`, with these handlers of calls.
const fn answers<'s>(calls: [Answerer<Cx<'s>>; 256]) -> Answers<'s, Context, Cx<'s>> {
    Answers { calls, abort: interpreter::abort, irq: irq::answer, pass: pass::passers() }
}

/// Nobody looks on.
#[derive(Debug)]
pub struct Unseen;

impl Witness for Unseen {}

/// Runs guests on this core until the machine stops.
pub fn run_core(machine: &Machine, cpu: &mut Cpu, visitor: &mut Visitor<'_>) -> ! {
    if cpu.tracer.is_some() {
        run::<traced::Traced>(machine, cpu, visitor)
    } else {
        run::<Unseen>(machine, cpu, visitor)
    }
}

fn run<W: Witness>(machine: &Machine, cpu: &mut Cpu, visitor: &mut Visitor<'_>) -> ! {
    loop {
        let is_idle = turn::<W>(machine, cpu, &visitor.begin());
        if is_idle {
            W::sleeps(cpu);
            // Nobody waits for the references of a core that sleeps.
            visitor.outside(|| idle(machine, cpu));
            W::woke(machine, cpu);
        }
    }
}

/// Does one turn: runs the guest that has the core, and those it passes it to, until one leaves for longer, applies what
/// follows, and settles who is next.
///
/// Returns whether there was nothing to run.
pub fn turn<W: Witness>(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>) -> bool {
    if cpu.turn.is_none() {
        leave::begin(machine, cpu, stay);
    }
    let Some(turn) = cpu.turn else { return cpu.reaping == 0 };
    let Some((vm, vcpu)) = service::find_queued(machine, stay, turn.vcpu) else {
        cpu.queue.remove(turn.vcpu);
        cpu.turn = None;
        return false;
    };
    let Some((mut frame, context)) = vcpu.owned.lease() else { unreachable!("a vCPU runs on its home core alone") };
    let mut cx = Cx {
        machine,
        cpu,
        stay,
        vm,
        vcpu,
        context,
        me: turn.vcpu,
        locks: Held::mint(),
        next: Next::Resume,
        heir: None,
        wakes: Wakes::default(),
    };
    enter::prepare(&mut cx, &mut frame, &turn, timer::now());
    W::enters(&mut cx);
    let (exit, mut frame) = arch::run(frame, &mut cx, W::answers(vm.is_open));
    cx.cpu.resident = cx.resident(); // those who got the core meanwhile did not say it
    W::left(&mut cx, &frame, &exit);
    let trap = exit::decode(&exit, &frame);
    let next = answer(&mut cx, &mut frame, trap);
    W::decided(&mut cx, &next);
    cx.cpu.was_long = may_be_long(trap, &next);
    next::apply(&mut cx, &mut frame, next);
    leave::settle(&mut cx, &mut frame);
    W::settled(&mut cx);
    frame.end(cx.context);
    false
}

/// Returns whether it may have taken long to answer `trap` with `next`: a call that was answered to its end, or what ends a VM with a report.
#[inline(always)]
const fn may_be_long(trap: Trap, next: &Next) -> bool {
    match next {
        Next::Resume | Next::Reply(_) => matches!(trap, Trap::Call | Trap::Answered),
        Next::Stop => true,
        Next::Yield
        | Next::YieldTo(_)
        | Next::Wait(_)
        | Next::PassOn { .. }
        | Next::Halt
        | Next::Service
        | Next::Schedule
        | Next::Off
        | Next::Exit(_)
        | Next::Reboot
        | Next::Crash => false,
    }
}

/// Hands a trap to the one room that answers it.
#[inline(always)]
fn answer(cx: &mut Cx<'_>, frame: &mut Frame, trap: Trap) -> Next {
    // By far the most frequent, and so that the number counted is known.
    if trap == Trap::Answered {
        let next = core::mem::replace(&mut cx.next, Next::Resume);
        if next != (Next::PassOn { waits: false }) {
            cx.vm.count_exit(cx.me.vcpu(), Cause::Call); // an interrupt has been counted
        }
        return next;
    }
    cx.vm.count_exit(cx.me.vcpu(), cause(trap));
    match trap {
        Trap::Answered => Next::Resume,
        Trap::Interrupt => {
            irq::take(cx.machine, cx.cpu);
            Next::Resume
        }
        Trap::InterruptInAarch32 => {
            irq::take(cx.machine, cx.cpu);
            interpreter::refuse(frame, cx, exit::FROM_AARCH32)
        }
        Trap::Call => hypercall::console_call(cx, frame),
        Trap::Service { is_smc } => interpreter::service(frame, cx, is_smc),
        Trap::OddImmediate { is_smc } => interpreter::odd_immediate(frame, cx, is_smc),
        Trap::Abort(mut abort) => interpreter::refused(frame, cx, &mut abort),
        Trap::Register(access) => interpreter::register(frame, cx, access),
        Trap::Wait => interpreter::wait(frame),
        Trap::Fp => interpreter::fp(frame, cx),
        Trap::SystemError => interpreter::system_error(frame, cx),
        Trap::Unknown(class) => interpreter::refuse(frame, cx, class),
    }
}

/// Returns as what an exit counts.
#[inline(always)]
const fn cause(trap: Trap) -> Cause {
    match trap {
        Trap::Answered | Trap::Call | Trap::Service { .. } => Cause::Call,
        Trap::Interrupt | Trap::InterruptInAarch32 => Cause::Interrupt,
        Trap::Abort(_) => Cause::Fault,
        Trap::OddImmediate { .. }
        | Trap::Register(_)
        | Trap::Wait
        | Trap::Fp
        | Trap::SystemError
        | Trap::Unknown(_) => Cause::Instruction,
    }
}

/// Sleeps until an interrupt comes, then takes it.
#[inline(never)]
fn idle(machine: &Machine, cpu: &mut Cpu) {
    let (deadline, _) = cpu.deadlines.earliest();
    cpu.arm(deadline);
    arch::wait_for_interrupt();
    // One alone: with more it is awake again at once.
    irq::take_one(machine, cpu);
}
