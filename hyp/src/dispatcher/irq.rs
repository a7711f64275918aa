//! Interrupts: acknowledged, told apart, ended. What they mean for vCPUs is found out at the top of the loop.

use crate::arch::{self, timer};
use crate::gic::Irq;
use crate::machine::{Cpu, Machine, SGI_MAIL};
use crate::timer::NEVER;

/// Interrupts taken in one go; more come at the next exit.
const AT_ONCE: usize = 4;

/// Takes what is pending at this core.
pub fn take(machine: &Machine, cpu: &mut Cpu) {
    for _ in 0..AT_ONCE {
        let (irq, token) = machine.gic.acknowledge();
        match irq {
            Irq::Spurious => return,
            Irq::HypTimer => {
                timer::disarm(); // the line falls before the interrupt is ended
                cpu.armed = NEVER;
            }
            Irq::Uart => {
                machine.console.on_interrupt();
            }
            Irq::Sgi(SGI_MAIL) => {}
            Irq::Sgi(_) => {
                if arch::panic::panicked() {
                    arch::panic::stop();
                }
            }
            Irq::Other(intid) => log::warn!("interrupt {} belongs to nobody", intid.number()),
        }
        machine.gic.end(token);
    }
}
