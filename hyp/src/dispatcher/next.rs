//! Next: applies what a room answered. The only place that writes a guest's results, blocks it, wakes others or ends a VM.

use core::sync::atomic::fence;

use strato_abi::vcpu::RunState;

use super::{reserve, service};
use crate::arch::frame::Frame;
use crate::arch::timer;
use crate::hypercall::reply;
use crate::machine::{Cx, Next, name_of};
use crate::scheduler::{self, VcpuRef};
use crate::sync::Ordering;
use crate::timer::{Due, NEVER};
use crate::vcpu::{Extras, Vcpu};
use crate::vm::{Ending, Vm};

/// Applies `next` to the vCPU of `cx`, then tells those that an event concerns.
#[inline(always)]
pub fn apply(cx: &mut Cx<'_>, frame: &mut Frame, next: Next) {
    // A call that left has zeros in x0 to x17 already (`arch::run`): success without results.
    match next {
        Next::Resume | Next::PassOn { waits: false } => {}
        Next::Reply(status) => reply::write(frame, status, &cx.cpu.reply),
        Next::Service => reply::write_service(frame, &cx.cpu.kept()),
        Next::Yield => give_way(cx),
        Next::YieldTo(target) => give_way_to(cx, target),
        Next::Wait(deadline) => wait(cx, deadline, timer::now()),
        Next::PassOn { waits: true } => signal(cx, timer::now()),
        Next::Halt => block(cx, NEVER, timer::now()),
        Next::Schedule => reserve::schedule(cx, frame),
        Next::Off => turn_off(cx),
        Next::Exit(code) => end(cx, Ending::Exit(code)),
        Next::Reboot => end(cx, Ending::Reboot),
        Next::Crash => {
            let [reason, pc, esr, far] = cx.cpu.kept();
            end(cx, Ending::Panic { reason, pc, esr, far });
        }
        Next::Stop => end(cx, Ending::Stopped),
    }
    tell_all(cx);
}

/// Tells those that an event concerns.
#[inline]
pub fn tell_all(cx: &mut Cx<'_>) {
    if cx.wakes.vcpus != 0 {
        tell(cx);
    }
}

/// Puts the vCPU behind its equals.
#[inline]
pub fn give_way(cx: &mut Cx<'_>) {
    if let Some(turn) = &mut cx.cpu.turn {
        turn.until = 0;
    }
}

/// Gives `target` the rest of the turn if it may have it; else as [`give_way`].
pub fn give_way_to(cx: &mut Cx<'_>, target: VcpuRef) {
    if cx.context.extras.intersects(Extras::SPECIAL) && reserve::lend_held(cx, target) {
        return;
    }
    let may_lift = target.vm() == cx.me.vm(); // across VMs a hint never lifts a priority
    let Some(turn) = &mut cx.cpu.turn else { return };
    if !scheduler::hand_over(&mut cx.cpu.queue, turn, target, may_lift) {
        give_way(cx);
    } else if cx.context.extras.intersects(Extras::SPECIAL) && turn.is_lent() {
        reserve::lend(cx, target);
    }
}

/// Makes the vCPU wait for an event or `deadline`, which WAIT answers when it runs again.
#[inline(always)]
pub fn wait(cx: &mut Cx<'_>, deadline: u64, now: u64) {
    cx.context.extras.insert(Extras::WAITING);
    block(cx, deadline, now);
}

/// Tells the heir of the event that it was sent, and makes the vCPU wait for one.
pub fn signal(cx: &mut Cx<'_>, now: u64) {
    if let Some((vm, vcpu)) = cx.heir.take()
        && !cx.wake(vm, vcpu)
    {
        let who = name_of(vcpu);
        cx.wakes.set(who.vm(), 1 << who.vcpu());
    }
    wait(cx, NEVER, now);
}

/// Blocks `vcpu`, number `me` of `vm`, which has nothing but its frame on the core and no watchdog, until an event. Returns whether it
/// did: there may be news; nothing has changed then.
#[inline(always)]
pub fn block_until_event(vm: &Vm, vcpu: &Vcpu, me: VcpuRef, now: u64) -> bool {
    let (public, manner) = (&vcpu.public, vm.manner);
    public.block();
    fence(Ordering::SeqCst); // as in `block`
    if vm.area.is_told(me.vcpu(), &public.sink) {
        public.stay();
        return false;
    }
    vm.note_blocked(me.vcpu(), public, now, NEVER, manner);
    true
}

/// Blocks the vCPU until an event or `deadline`, unless there is news already.
#[inline(never)]
fn block(cx: &mut Cx<'_>, deadline: u64, now: u64) {
    let public = &cx.vcpu.public;
    public.enter(RunState::Blocked);
    fence(Ordering::SeqCst); // a sender sees that we block, or we see its selector; pairs with `Vm::raise`
    let is_told = public.has_upcalls.load(Ordering::Relaxed) && public.sink.line().load(Ordering::Relaxed);
    if is_told || cx.vm.area.has_news(cx.me.vcpu(), &public.sink) {
        public.stay();
        return; // it keeps its turn
    }
    let watchdog = public.watchdog.load(Ordering::Relaxed);
    cx.cpu.set_deadline(Due::Wait(cx.me.number()), deadline.min(watchdog));
    cx.vm.note_blocked(cx.me.vcpu(), public, now, deadline, cx.vm.manner);
    cx.cpu.queue.remove(cx.me);
    cx.cpu.turn = None;
}

/// Turns the vCPU off; the VM ends with it when it was the last that was not.
fn turn_off(cx: &mut Cx<'_>) {
    cx.vcpu.public.enter(RunState::Off);
    cx.vcpu.public.watchdog.store(NEVER, Ordering::Relaxed);
    cx.cpu.set_deadline(Due::Wait(cx.me.number()), NEVER);
    cx.vm.note_state(cx.me.vcpu(), RunState::Off, timer::now(), NEVER);
    cx.cpu.queue.remove(cx.me);
    cx.cpu.turn = None;
    service::leave_core(cx.machine, cx.cpu, cx.vm);
    cx.leave_space();
    if cx.vm.awake.fetch_sub(1, Ordering::AcqRel) == 1 {
        end(cx, Ending::Exit(0));
    }
}

/// Ends the VM: every vCPU is asked to stop. This one does at once: however many letters lie before its own, it goes on no more.
#[inline(never)]
fn end(cx: &mut Cx<'_>, ending: Ending) {
    service::end_vm(cx.machine, cx.vm, ending);
    service::detach(cx.machine, cx.cpu, cx.vm, cx.vcpu, cx.me);
}

/// Tells vCPUs of an event: one that blocks becomes ready, one that runs elsewhere looks at its line.
#[inline(never)]
fn tell(cx: &mut Cx<'_>) {
    let mut wakes = core::mem::take(&mut cx.wakes);
    let Some(vm) = cx.machine.vms.get(usize::from(wakes.place)).and_then(|slot| slot.get(cx.stay)) else { return };
    while wakes.vcpus != 0 {
        #[allow(clippy::cast_possible_truncation, reason = "below 8")]
        let number = wakes.vcpus.trailing_zeros() as u8;
        wakes.vcpus &= wakes.vcpus.wrapping_sub(1);
        let Some(who) = VcpuRef::new(wakes.place, number) else { continue };
        service::tell(cx.machine, cx.cpu, vm, who);
    }
}
