//! Service: what a core does for vCPUs at home on it, asked by others or by time. Only here and in `next` do run states
//! change.

use log::Level;
use strato_abi::Handle;
use strato_abi::plan::{VM_FP, VM_NATIVE};
use strato_abi::vcpu::RunState;

use super::{irq, reserve};
use crate::arch::epoch::Stay;
use crate::arch::{entry, guest, native, stage2, timer};
use crate::console::say;
use crate::machine::{Cpu, Machine};
use crate::scheduler::{RESERVED, Turn, VcpuRef};
use crate::sync::Ordering;
use crate::timer::{Due, NEVER};
use crate::vcpu::{Extras, Vcpu, orders, reset};
use crate::vm::{Ending, Vm};

/// Interrupts of devices, letters and deadlines served in one turn. The core interrupts itself when there are more.
pub const UNITS_PER_TURN: u32 = 16;
/// How many of these the others leave to deadlines.
pub const UNITS_FOR_TIME: u32 = 8;

/// Returns the VM and the vCPU that `vcpu` names.
#[inline]
pub fn find<'s>(machine: &'s Machine, stay: &'s Stay<'_>, vcpu: VcpuRef) -> Option<(&'s Vm, &'s Vcpu)> {
    let vm = machine.vms.get(usize::from(vcpu.vm()))?.get(stay)?;
    Some((vm, vm.vcpu(vcpu.vcpu())?))
}

/// The same for a vCPU that stands in this core's queue: its numbers are known to be some.
#[inline(always)]
pub fn find_queued<'s>(machine: &'s Machine, stay: &'s Stay<'_>, vcpu: VcpuRef) -> Option<(&'s Vm, &'s Vcpu)> {
    let vm = machine.connected(stay, vcpu.vm())?;
    Some((vm, vm.vcpus.masked(usize::from(vcpu.vcpu()))?))
}

/// Makes a vCPU that blocks ready, if it is at home here; else tells its home core. One that runs elsewhere is made to look
/// at its line, one that is to start is started.
#[inline(always)]
pub fn tell(machine: &Machine, cpu: &mut Cpu, vm: &Vm, who: VcpuRef) {
    let Some(vcpu) = vm.vcpu(who.vcpu()) else { return };
    let public = &vcpu.public;
    // A request comes with mail, which is read after it was set; most wakes carry none.
    if public.orders.is_quiet_at(cpu.number()) && !vm.is_ending() {
        if public.wake() {
            make_ready(machine, cpu, vm, vcpu, who);
        }
        return;
    }
    tell_home(machine, cpu, vm, vcpu, who);
}

/// Does the same for one of which more is asked, or that is at home elsewhere.
#[inline(never)]
fn tell_home(machine: &Machine, cpu: &mut Cpu, vm: &Vm, vcpu: &Vcpu, who: VcpuRef) {
    let home = vcpu.public.orders.ask(orders::WAKE);
    if home == cpu.number() {
        serve(machine, cpu, vm, vcpu, who);
    } else {
        machine.send_mail(home, who);
    }
}

/// Gives this core, where nobody is ready, to the vCPU that its only letter wakes and that waits for an event alone, when there is
/// nothing else to do. Returns whether it did; if not, nothing has changed.
#[inline(always)]
pub fn wake_only(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>) -> bool {
    let (mail, now) = (machine.mail_of(cpu), timer::now());
    let is_busy = cpu.queue.highest().is_some() || cpu.departing.is_some() || cpu.reaping != 0;
    if is_busy || cpu.deadlines.earliest().0 <= now {
        return false;
    }
    let Some(who) = mail.take_only().map(VcpuRef::from_masked) else { return false };
    // Behind the letter: who asks for more from here on, be it that it stops, puts another one.
    let is_woken = |vcpu: &Vcpu| vcpu.public.is_blocked_plain() && vcpu.public.orders.take_wake(cpu.number());
    let found = find_queued(machine, stay, who).filter(|(_, vcpu)| is_woken(vcpu));
    let Some((vm, vcpu)) = found else {
        mail.put(who);
        return false;
    };
    let level = vcpu.public.level.load(Ordering::Relaxed);
    debug_assert!(level < RESERVED, "who is charged waits at length");
    vcpu.public.wake_plain();
    cpu.queue.push_alone(who, level);
    cpu.turn = Some(Turn::new(who, level, now, machine.slice_ticks));
    vm.note_ready(who.vcpu(), &vcpu.public, now, true);
    true
}

/// Does what stands in this core's letter box, unless reserved time waits for something that is due: then the letters come behind that.
#[inline]
pub fn requests(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>) {
    if !machine.mail_of(cpu).is_full() {
        return;
    }
    if cpu.is_reserved_due() {
        machine.nudge(1 << cpu.index.index()); // its interrupt was taken already
    } else {
        empty_box(machine, cpu, stay);
    }
}

#[inline(never)]
fn empty_box(machine: &Machine, cpu: &mut Cpu, stay: &Stay<'_>) {
    let mail = machine.mail_of(cpu);
    cpu.units = UNITS_PER_TURN;
    if mail.forget() {
        irq::deliver(machine, cpu, stay);
    }
    while cpu.units > UNITS_FOR_TIME {
        cpu.units = cpu.units.saturating_sub(1);
        let Some(number) = mail.next() else { return };
        if let Some(who) = VcpuRef::from_number(number)
            && let Some((vm, vcpu)) = find(machine, stay, who)
        {
            serve(machine, cpu, vm, vcpu, who);
        }
        if !mail.has_letters() {
            return;
        }
    }
    mail.remind();
    machine.nudge(1 << cpu.index.index()); // so that it comes back soon, whoever has the core
}

/// Does what is asked of a vCPU, if it is at home on this core; it may have moved since the letter was written, and then what is
/// asked has moved with it.
#[inline(never)]
fn serve(machine: &Machine, cpu: &mut Cpu, vm: &Vm, vcpu: &Vcpu, who: VcpuRef) {
    let public = &vcpu.public;
    let Some(requests) = public.orders.take(cpu.number()) else { return };
    if requests & !orders::WAKE != 0 || vm.is_ending() {
        obey(machine, cpu, vm, vcpu, who, requests);
    } else if public.wake() {
        make_ready(machine, cpu, vm, vcpu, who);
    }
    // One that runs is this core's own: its line is looked at before it goes on.
}

/// Does what is asked of a vCPU besides a wake.
#[cold]
#[inline(never)]
fn obey(machine: &Machine, cpu: &mut Cpu, vm: &Vm, vcpu: &Vcpu, who: VcpuRef, requests: u32) {
    let public = &vcpu.public;
    if requests & orders::STOP != 0 || vm.is_ending() {
        detach(machine, cpu, vm, vcpu, who);
    } else if requests & orders::MOVE != 0 {
        reserve::arrive(machine, cpu, vm, vcpu, who);
    } else if requests & orders::START != 0 && public.state() == RunState::Off {
        start(vm, vcpu, who);
        reserve::enroll(cpu, public, who);
        public.enter(RunState::Runnable);
        make_ready(machine, cpu, vm, vcpu, who);
        public.end_start();
    } else if public.wake() {
        make_ready(machine, cpu, vm, vcpu, who);
    }
}

/// Queues a vCPU that has become ready, and gives it the core if that is free.
#[inline(never)]
pub fn make_ready(machine: &Machine, cpu: &mut Cpu, vm: &Vm, vcpu: &Vcpu, who: VcpuRef) {
    let watchdog = vcpu.public.watchdog.load(Ordering::Relaxed);
    if cpu.deadlines.earliest().0.min(watchdog) != NEVER {
        cpu.set_deadline(Due::Wait(who.number()), watchdog);
    }
    let (now, level) = (timer::now(), vcpu.public.level.load(Ordering::Relaxed));
    if level >= RESERVED && !reserve::admits(cpu, vm, &vcpu.public, who, now) {
        return;
    }
    let comes_first = cpu.turn.is_none() && cpu.queue.rivals(level.into()) == 0;
    cpu.queue.push(who, level, false);
    if comes_first {
        // The core is free: its turn begins, and what is said of it next is that it runs.
        cpu.turn = Some(Turn::new(who, level, now, machine.slice_ticks));
    }
    vm.note_ready(who.vcpu(), &vcpu.public, now, comes_first);
}

/// Gives a vCPU the state it starts with.
fn start(vm: &Vm, vcpu: &Vcpu, who: VcpuRef) {
    use strato_abi::addr::INFO_PAGE;
    use strato_abi::version::ABI_VERSION;
    let (entry, argument) = vcpu.public.start_values();
    let (version, number) = (u64::from(ABI_VERSION), u64::from(who.vcpu()));
    // The first vCPU learns where the info page is, later ones get their argument (SPEC, entry state).
    let is_first = !vm.has_run.swap(true, Ordering::Relaxed);
    let arguments = if is_first { [INFO_PAGE, version, number, 0] } else { [argument, version, number, INFO_PAGE] };
    let Some((mut frame, mut context)) = vcpu.owned.lease() else { unreachable!("nobody holds a vCPU that is off") };
    reset(&mut frame, &mut context, who.vcpu(), entry, arguments);
    vcpu.public.set_local(Handle::from_bits(0));
    vm.note_start(who.vcpu(), &vcpu.public, timer::now());
    if vm.flags & VM_FP != 0 {
        frame.el1.cpacr = 3 << 20; // CPACR_EL1.FPEN: EL1 and EL0 may use FP
    }
    context.extras.set(Extras::NATIVE, vm.flags & VM_NATIVE != 0);
    context.extras.set(Extras::CHARGED, vcpu.public.reservation().is_some());
    context.extras.set(Extras::DEVICES, vm.has_devices.load(Ordering::Relaxed));
    frame.end(context);
}

/// Takes a vCPU of a VM that ends off this core for good. The last one makes this core give the VM back.
#[inline(never)]
pub fn detach(machine: &Machine, cpu: &mut Cpu, vm: &Vm, vcpu: &Vcpu, who: VcpuRef) {
    if !vcpu.public.enter(RunState::Stopped) {
        return; // it is stopped already
    }
    cpu.queue.remove(who);
    cpu.set_deadline(Due::Wait(who.number()), NEVER);
    cpu.set_deadline(Due::Local(who.number()), NEVER); // its timers are found to be old when they come
    reserve::forget(cpu, &vcpu.public, who);
    if cpu.turn.is_some_and(|turn| turn.vcpu == who) {
        cpu.turn = None;
    }
    if cpu.resident.is_some_and(|(resident, _)| resident == who) {
        leave_core(machine, cpu, vm);
    }
    let_go(cpu, vm);
}

/// Takes note that this core, for one vCPU of a VM or for having made it again, touches it no more. The last one that does makes its core
/// give the VM back.
pub fn let_go(cpu: &mut Cpu, vm: &Vm) {
    if vm.attached.fetch_sub(1, Ordering::AcqRel) == 1 {
        cpu.reaping |= 1 << vm.place;
    }
}

/// Forgets that the state of a vCPU of `vm` is on this core; nothing translates by its tables here any more.
pub fn leave_core(machine: &Machine, cpu: &mut Cpu, vm: &Vm) {
    if vm.has_devices.load(Ordering::Relaxed) {
        drain(machine, vm);
    }
    cpu.resident = None;
    timer::stop_local();
    if vm.flags & VM_NATIVE == 0 {
        stage2::park()
    } else {
        native::reset()
    }
    machine.vmids.release(cpu.index);
    guest::trap_fp(true);
}

/// Takes the SError that an access of `vm` to a device has raised late, if one waits for this core, and ends the VM for it. Called before a
/// vCPU of it leaves the core: behind that it would be laid at the door of the next one.
#[cold]
#[inline(never)]
pub fn drain(machine: &Machine, vm: &Vm) {
    if entry::drain_serror() {
        say(Level::Error, format_args!("vm {}: system error (SError), late, by a device of its", vm.label));
        end_vm(machine, vm, Ending::Stopped);
    }
}

/// Begins the end of `vm` and asks all its vCPUs to stop.
pub fn end_vm(machine: &Machine, vm: &Vm, ending: Ending) {
    if !vm.begin_ending(ending) {
        return;
    }
    for number in 0..vm.vcpu_count() {
        if let (Some(vcpu), Some(who)) = (vm.vcpu(number), VcpuRef::new(vm.place, number)) {
            machine.send_mail(vcpu.public.orders.ask(orders::STOP), who);
        }
    }
}
