//! Interrupts: acknowledged, told apart, ended. What they mean for other vCPUs is found out at the top of the loop; a timer of the
//! VM that has the core is served on the spot, and that of a device stays active until its driver is done.

use super::timers::Left;
use super::{preempt, service, timers};
use crate::arch::epoch::Stay;
use crate::arch::frame::Answer;
use crate::arch::{self, timer};
use crate::gic::{Irq, Token};
use crate::lock::Held;
use crate::machine::{Cpu, Cx, Machine, SGI_MAIL};
use crate::scheduler::VcpuRef;
use crate::timer::{Due, NEVER};
use crate::vm::Vm;
use crate::vm::records::Cause;

/// Interrupts taken in one go; more come at the next exit.
const AT_ONCE: usize = 4;

/// Answers an interrupt from the vector. `Stay` when it was a timer of this VM and nobody else is concerned. It keeps nothing for what
/// is not that simple, so it has no frame to make and take down.
pub extern "C" fn answer(cx: &mut Cx<'_>) -> Answer {
    let (vm, me, machine) = (cx.vm, cx.me, cx.machine);
    let token = machine.gic.take();
    let served = if machine.gic.is_hyp_timer(&token) {
        timers::serve(cx)
    } else if machine.gic.is_virtual_timer(&token) {
        timers::serve_local(cx)
    } else {
        Err(Left::Irq)
    };
    match served {
        Ok(()) => {
            vm.count_exit(me.vcpu(), Cause::Interrupt);
            machine.gic.end_known(token);
            Answer::Stay
        }
        Err(Left::Due) => switch(cx, token),
        Err(left) => finish(cx, token, left),
    }
}

/// Serves what time has brought to others than the VM that has the core. By itself, as it needs no frame either.
#[inline(never)]
extern "C" fn switch(cx: &mut Cx<'_>, token: Token) -> Answer {
    if cx.cpu.deadlines.is_short() {
        return serve_others::<true>(cx, token);
    }
    arch::frame_here();
    switch_many(cx, token)
}

/// The same among more deadlines.
#[cold]
#[inline(never)]
extern "C" fn switch_many(cx: &mut Cx<'_>, token: Token) -> Answer {
    serve_others::<false>(cx, token)
}

#[inline(always)]
fn serve_others<const IS_SHORT: bool>(cx: &mut Cx<'_>, token: Token) -> Answer {
    let (vm, me, machine) = (cx.vm, cx.me, cx.machine);
    let answer = preempt::serve::<IS_SHORT>(cx, timer::now());
    if answer == Answer::Leave {
        timer::disarm(); // the line falls before the interrupt is ended
        cx.cpu.armed = NEVER;
    } else {
        vm.count_exit(me.vcpu(), Cause::Interrupt);
    }
    machine.gic.end_known(token);
    answer
}

/// Does what was left undone of an interrupt.
#[cold]
#[inline(never)]
fn finish(cx: &mut Cx<'_>, token: Token, left: Left) -> Answer {
    if let Left::Irq = left {
        let irq = cx.machine.gic.irq(&token);
        settle(cx.machine, cx.cpu, irq, token);
        return Answer::Leave;
    }
    let goes_on = timers::finish(cx, left);
    if goes_on {
        cx.vm.count_exit(cx.me.vcpu(), Cause::Interrupt);
    }
    cx.machine.gic.end_known(token);
    if goes_on { Answer::Stay } else { Answer::Leave }
}

/// Takes what is pending at this core, until reserved time waits for something that is due: what is left pending comes again behind that.
#[inline(never)]
pub fn take(machine: &Machine, cpu: &mut Cpu) {
    for _ in 0..AT_ONCE {
        if cpu.is_reserved_due() || !take_one(machine, cpu) {
            return;
        }
    }
}

/// Takes one interrupt. Returns whether there was one.
#[inline]
pub fn take_one(machine: &Machine, cpu: &mut Cpu) -> bool {
    // Most often a letter has come, which is found at the top of the loop.
    machine.gic.take_sgi(SGI_MAIL).map_or_else(|token| take_other(machine, cpu, token), |()| true)
}

/// Does what another interrupt asks for. Returns whether there was one.
#[inline(never)]
fn take_other(machine: &Machine, cpu: &mut Cpu, token: Token) -> bool {
    let irq = machine.gic.irq(&token);
    if irq == Irq::Spurious {
        return false;
    }
    settle(machine, cpu, irq, token);
    true
}

/// Does what an interrupt asks for at once, and ends it; the rest is found at the top of the loop.
fn settle(machine: &Machine, cpu: &mut Cpu, irq: Irq, token: Token) {
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
                cpu.set_deadline(Due::Local(vcpu.number()), 0); // its port is raised with what else is due
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
        Irq::Other(intid) => {
            if let Some(line) = machine.lines.find(intid) {
                cpu.came |= 1 << line;
                machine.mail_of(cpu).remind();
                machine.gic.drop_priority(token);
                return;
            }
            log::warn!("interrupt {} belongs to nobody", intid.number());
        }
    }
    machine.gic.end(token);
}

/// Raises the ports of the devices' interrupts that this core has acknowledged, as many as a turn has room for; they come to it as mail
/// does, which is looked at anyway.
#[inline]
pub fn deliver(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>) {
    if cpu.came != 0 {
        raise_all(machine, cpu, stay);
    }
}

#[cold]
#[inline(never)]
fn raise_all(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>) {
    while cpu.came != 0 && cpu.units > service::UNITS_FOR_TIME {
        cpu.units = cpu.units.saturating_sub(1);
        #[allow(clippy::cast_possible_truncation, reason = "below 64")]
        let number = cpu.came.trailing_zeros() as u8;
        cpu.came &= cpu.came.wrapping_sub(1);
        let Some(line) = machine.lines.get(number) else { continue };
        let mut none = Held::mint();
        let (mut line, _held) = line.lock(&mut none);
        let mut found = None;
        let target = line.come(&machine.gic, |owner, port| {
            found = machine.vm_of(stay, owner.place, owner.incarnation).filter(|vm| !vm.is_ending());
            found.is_some_and(|vm: &Vm| vm.ports.get(usize::from(port.index())).is_some_and(|at| at.read().is_of(port)))
        });
        drop(line);
        if let Some(((owner, port), vm)) = target.zip(found)
            && let Some(vcpu) = vm.raise(port.index())
            && let Some(who) = VcpuRef::new(owner.place, vcpu)
        {
            service::tell(machine, cpu, vm, who);
        }
    }
}
