//! Interrupts: acknowledged, told apart, ended. What they mean for other vCPUs is found out at the top of the loop; a timer of the
//! VM that has the core is served on the spot.

use super::timers;
use crate::arch::frame::Answer;
use crate::arch::{self, timer};
use crate::gic::Irq;
use crate::machine::{Cpu, Cx, Machine, SGI_MAIL};
use crate::timer::{Due, NEVER};

/// Interrupts taken in one go; more come at the next exit.
const AT_ONCE: usize = 4;

/// Answers an interrupt from the vector. `Stay` when it was a timer of this VM and nobody else is concerned.
pub extern "C" fn answer(cx: &mut Cx<'_>) -> Answer {
    let (irq, token) = cx.machine.gic.acknowledge();
    let answer = match irq {
        Irq::Spurious => return Answer::Leave,
        Irq::VirtualTimer => timers::serve_local(cx),
        Irq::HypTimer => timers::serve(cx),
        Irq::Uart | Irq::Sgi(_) | Irq::Other(_) => {
            settle(cx.machine, cx.cpu, irq);
            Answer::Leave
        }
    };
    cx.machine.gic.end(token);
    answer
}

/// Takes what is pending at this core.
pub fn take(machine: &Machine, cpu: &mut Cpu) {
    for _ in 0..AT_ONCE {
        let (irq, token) = machine.gic.acknowledge();
        if irq == Irq::Spurious {
            return;
        }
        settle(machine, cpu, irq);
        machine.gic.end(token);
    }
}

/// Does what an interrupt asks for at once; the rest is found at the top of the loop.
fn settle(machine: &Machine, cpu: &mut Cpu, irq: Irq) {
    match irq {
        Irq::Spurious | Irq::Sgi(SGI_MAIL) => {}
        Irq::HypTimer => {
            timer::disarm(); // the line falls before the interrupt is ended
            cpu.armed = NEVER;
        }
        Irq::VirtualTimer => {
            if timer::mask_local()
                && let Some((vcpu, _)) = cpu.resident
            {
                cpu.deadlines.set(Due::Local(vcpu.number()).place(), 0); // its port is raised with what else is due
            }
        }
        Irq::Uart => {
            machine.console.on_interrupt();
        }
        Irq::Sgi(_) => {
            if arch::panic::panicked() {
                arch::panic::stop();
            }
        }
        Irq::Other(intid) => log::warn!("interrupt {} belongs to nobody", intid.number()),
    }
}
