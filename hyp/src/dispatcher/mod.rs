//! Dispatcher: the loop that every core runs. A guest runs inside one call; what it left for is decoded, one room answers,
//! and one place applies the answer.
//!
//! Calls everything below; nothing calls it but boot. Holds no policy of its own.

pub mod enter;
pub mod exit;
pub mod irq;
pub mod leave;
pub mod next;
pub mod reaper;
pub mod service;
pub mod timers;

use crate::arch;
use crate::arch::epoch::{Stay, Visitor};
use crate::arch::frame::{Answers, Frame};
use crate::hypercall;
use crate::interpreter;
use crate::lock::Held;
use crate::machine::{Cpu, Cx, Machine, Next, Wakes};
use crate::vcpu::Owned;
use crate::vm::records::Cause;
use exit::Trap;

/// Returns what is answered while the guest has the core.
#[inline(always)]
const fn answers<'s>() -> &'s Answers<Cx<'s>> {
    const { &Answers { calls: *hypercall::HANDLERS, abort: interpreter::abort, irq: irq::answer } }
}

/// Runs guests on this core until the machine stops.
pub fn run_core(machine: &Machine, cpu: &mut Cpu, visitor: &mut Visitor<'_>) -> ! {
    loop {
        let is_idle = turn(machine, cpu, &visitor.begin());
        if is_idle {
            // Nobody waits for the references of a core that sleeps.
            visitor.outside(|| idle(machine, cpu));
        }
    }
}

/// Does one turn: runs the guest that has the core until it leaves, applies what follows, and settles who is next.
///
/// Returns whether there was nothing to run.
pub fn turn(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>) -> bool {
    if cpu.turn.is_none() {
        leave::begin(machine, cpu, stay);
    }
    let Some(turn) = cpu.turn else { return cpu.reaping == 0 };
    let Some((vm, vcpu)) = service::find(machine, stay, turn.vcpu) else {
        cpu.turn = None;
        return false;
    };
    let Some(mut lease) = vcpu.owned.lease() else { unreachable!("a vCPU runs on its home core alone") };
    let Owned { frame, context } = &mut *lease;
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
        wakes: Wakes::default(),
    };
    enter::prepare(&mut cx, frame, &turn);
    let exit = arch::run(frame, &mut cx, answers());
    let next = answer(&mut cx, frame, exit::decode(&exit, frame));
    next::apply(&mut cx, frame, next);
    leave::settle(&mut cx);
    false
}

/// Hands a trap to the one room that answers it.
fn answer(cx: &mut Cx<'_>, frame: &mut Frame, trap: Trap) -> Next {
    // By far the most frequent, and so that the number counted is known.
    if trap == Trap::Answered {
        cx.vm.count_exit(cx.me.vcpu(), Cause::Call);
        return core::mem::replace(&mut cx.next, Next::Resume);
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
fn idle(machine: &Machine, cpu: &mut Cpu) {
    let (deadline, _) = cpu.deadlines.earliest();
    cpu.arm(deadline);
    arch::wait_for_interrupt();
    irq::take(machine, cpu);
}
