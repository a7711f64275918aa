//! Machine: what all cores share, what one core has to itself, and what a handler of a trap is given.
//!
//! Owns no policy. Made by boot; handed down by the dispatcher; nothing is reached through a global.

mod building;
mod cpu;
mod mail;
mod select;
mod wake;
mod watchdog;

use core::num::NonZeroU32;

pub use building::{Building, Doing, Region, Tally};
pub use cpu::Cpu;
pub use mail::Mail;
pub use watchdog::Watchdog;

use crate::allocator::{Account, Allocator, Audit, Vmids};
use crate::arch::core_base::{CoreIndex, MAX_CORES};
use crate::arch::epoch::{Epochs, Slot, Stay};
use crate::arch::page_box::PageBox;
use crate::board::Devices;
use crate::console::Console;
use crate::gic::{Gic, Lines};
use crate::lock::{CONSOLE, Held, IRQ, Lock, MEMORY};
use crate::plan::Plan;
use crate::scheduler::VcpuRef;
use crate::sync::{AtomicBool, AtomicU32};
use crate::timer::Wall;
use crate::vcpu::{ContextLease, Vcpu};
use crate::vm::Vm;

/// Places for VMs.
pub const VM_PLACES: usize = 64;
/// The software-generated interrupt that says: look at your mail.
pub const SGI_MAIL: u8 = 0;

/// What all cores share. In this order because a sender looks at the first.
#[repr(C)]
pub struct Machine {
    /// VMs by place.
    pub vms: [Slot<Vm>; VM_PLACES],
    /// When a VM that ended may go.
    pub epochs: Epochs,
    /// Which VMIDs are in use, as cores look at it.
    pub vmids: Vmids,
    /// All memory that nobody uses, and who owns the rest.
    pub memory: Lock<Pool, MEMORY>,
    /// What each core has to itself, until the core takes it.
    pub cpus: [Lock<Option<PageBox<Cpu>>, CONSOLE>; MAX_CORES],
    /// Letter boxes of the cores.
    pub mail: [Mail; MAX_CORES],
    /// The interrupt controller.
    pub gic: Gic,
    /// Interrupts of devices that VMs drive.
    pub lines: Lines,
    /// Name of the board.
    pub board: &'static str,
    /// Which physical pages are whose, besides memory.
    pub devices: Lock<Devices, IRQ>,
    /// The console.
    pub console: &'static Console,
    /// VMs that have not ended.
    pub living: AtomicU32,
    /// VMs that ended well, and that did not.
    pub ended: [AtomicU32; 2],
    /// Length of a turn among equals, in ticks.
    pub slice_ticks: u64,
    /// What time it is, if the machine has a clock.
    pub wall: Option<Wall>,
    /// The packed system: what a VM is made of, again too.
    pub plan: Plan<'static>,
    /// Which cores run, one bit each.
    pub cores: u8,
    /// Who has come by since the board's watchdog was fed.
    pub watchdog: Watchdog,
    /// Whether the plan is carried out: cores may take part.
    pub is_ready: AtomicBool,
    /// Whether the first guest was entered yet.
    pub has_started: AtomicBool,
}

/// Memory, and what the hypervisor itself holds of it.
pub struct Pool {
    /// The allocator.
    pub allocator: Allocator,
    /// The hypervisor's account.
    pub own: Account,
    /// What the allocator held before the first VM was made.
    pub baseline: Option<Audit>,
}

/// What a handler of a trap is given.
pub struct Cx<'s> {
    /// What all cores share.
    pub machine: &'s Machine,
    /// This core.
    pub cpu: &'s mut Cpu,
    /// This pass through EL2; look-ups live as long.
    pub stay: &'s Stay<'s>,
    /// The VM whose guest ran.
    pub vm: &'s Vm,
    /// Its vCPU, as others see it.
    pub vcpu: &'s Vcpu,
    /// The vCPU's state besides its frame.
    pub context: ContextLease<'s>,
    /// Which vCPU it is.
    pub me: VcpuRef,
    /// This core holds no lock.
    pub locks: Held<'s, 0>,
    /// What follows when a call leaves.
    pub next: Next,
    /// Who has the core next, when what follows is [`Next::PassOn`].
    pub heir: Option<(&'s Vm, &'s Vcpu)>,

    /// vCPUs of one VM that are to be told of an event.
    pub wakes: Wakes,
}

/// Whose EL1 state is on a core: the vCPU, and the incarnation of its VM. None is 0, so that it is written in one instruction.
pub type Resident = (VcpuRef, NonZeroU32);

/// Returns what says that `vcpu` of `vm` is resident.
#[inline(always)]
#[must_use]
pub fn resident(vm: &Vm, vcpu: VcpuRef) -> Option<Resident> {
    NonZeroU32::new(vm.incarnation).map(|incarnation| (vcpu, incarnation))
}

/// Returns what queues and deadlines call `vcpu`.
#[inline(always)]
#[must_use]
pub fn name_of(vcpu: &Vcpu) -> VcpuRef {
    VcpuRef::from_masked(vcpu.public.name)
}

impl Cx<'_> {
    /// Returns what says that the vCPU is resident.
    #[inline(always)]
    #[must_use]
    pub fn resident(&self) -> Option<Resident> {
        resident(self.vm, self.me)
    }
}

/// vCPUs of one VM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wakes {
    /// Place of the VM.
    pub place: u8,
    /// One bit per vCPU.
    pub vcpus: u8,
}

impl Wakes {
    /// Sets `vcpus` of the VM in `place`, unless there are none.
    #[inline(always)]
    pub const fn set(&mut self, place: u8, vcpus: u8) {
        if vcpus != 0 {
            *self = Self { place, vcpus };
        }
    }
}

/// What follows a trap. One place applies it: `dispatcher::next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The guest goes on as it is.
    Resume,
    /// A call is answered: x0 is this, x1 to x15 stand in [`Cpu::reply`], x16 and x17 are zero. The guest goes on.
    Reply(u64),
    /// A standard service is answered: x0 to x3 stand in [`Cpu::reply`], all others keep their values. The guest goes on.
    Service,
    /// Others have their turn first; the call is answered with success.
    Yield,
    /// This vCPU, which is ready, has the rest of the turn; the call is answered with success.
    YieldTo(VcpuRef),
    /// The vCPU waits for an event or a deadline in ticks; WAIT answers when it runs again.
    Wait(u64),
    /// [`Cx::heir`] has the core: it took it while this vCPU was interrupted, which is ready and goes on as it is; or this one `waits` for an
    /// event, as it has sent one to the heir, which takes over: see [`Cx::takes_over`].
    PassOn {
        /// Whether the vCPU waits.
        waits: bool,
    },
    /// The vCPU waits for an event; the guest goes on behind its WFI.
    Halt,
    /// The vCPU runs by another reservation, or by none: that, the core, the level, budget and period stand in [`Cpu::reply`].
    Schedule,
    /// The vCPU turns itself off.
    Off,
    /// The VM ends itself with this code.
    Exit(u64),
    /// The VM ends itself to be made again; its manifest lets it.
    Reboot,
    /// The VM reports a crash of its own: reason, PC, syndrome and address stand in [`Cpu::reply`].
    Crash,
    /// The VM is stopped for what it did; the report is out.
    Stop,
}

impl Machine {
    /// Returns the VM in `place` if it is still the one of `incarnation`.
    #[inline(always)]
    #[must_use]
    pub fn vm_of<'s>(&self, stay: &'s Stay<'_>, place: u8, incarnation: u32) -> Option<&'s Vm> {
        let vm = self.vms.get(usize::from(place))?.get(stay)?;
        // One that ends closes its ports; until then its records are there and nobody looks at them.
        (vm.incarnation == incarnation).then_some(vm)
    }

    /// Returns the VM in `place` (modulo the places), to which a port of the caller was connected during this stay.
    ///
    /// It is the one that the port was connected to: a VM that ends closes its ports at both ends first, and is taken out of
    /// its place afterwards; the place is filled again only after every core has begun another stay.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::indexing_slicing, reason = "taken modulo the length")]
    pub fn connected<'s>(&self, stay: &'s Stay<'_>, place: u8) -> Option<&'s Vm> {
        self.vms[usize::from(place) % VM_PLACES].get(stay)
    }

    /// Returns the letter box of `cpu`.
    #[inline]
    #[must_use]
    #[allow(clippy::indexing_slicing, reason = "a core's number is below the number of boxes")]
    pub fn mail_of(&self, cpu: &Cpu) -> &Mail {
        &self.mail[cpu.index.index()]
    }

    /// Puts `vcpu`, at home on `core`, into that core's letter box and makes it look.
    pub fn send_mail(&self, core: u8, vcpu: VcpuRef) {
        if let (Some(mail), Some(core)) = (self.mail.get(usize::from(core)), CoreIndex::new(usize::from(core))) {
            mail.put(vcpu);
            self.gic.send_sgi(core, SGI_MAIL);
        }
    }

    /// Makes each core of `mask` (one bit each) leave its guest, so that it begins another stay.
    pub fn nudge(&self, mask: u16) {
        for core in (0..MAX_CORES).filter(|core| mask & 1 << core != 0).filter_map(CoreIndex::new) {
            self.gic.send_sgi(core, SGI_MAIL);
        }
    }
}
