//! Virtual machines: what a guest has, from its memory to its ports, and how it ends.
//!
//! Owns the VM object. Made by `vm::build` from plan records, given back by `vm::stop`. A VM's parts are found by cores
//! without a lock (see `arch::epoch`); what changes stands in atomics or behind the VM's lock.

pub mod attach;
pub mod audit;
pub mod build;
mod entry;
pub mod handles;
mod index_set;
pub mod info;
mod line;
pub mod making;
mod manner;
mod parts;
mod ports;
pub mod raise;
mod ranges;
pub mod records;
pub mod remains;
pub mod restart;
pub mod sharing;
pub mod spaces;
mod speculation;
pub mod stop;
mod time;
mod view;
pub mod work;

use heapless::String;
use strato_abi::vcpu::RunState;
use strato_abi::{Call, Group, Ipa};

use crate::allocator::{Account, Allocator};
use crate::arch;
use crate::arch::core_base::CoreIndex;
use crate::arch::page_box::PageSlice;
use crate::arch::page_row::PageRow;
use crate::arch::shared::SharedPages;
use crate::console::LineBuffer;
use crate::events::{EventArea, Port};
use crate::lock::{CONSOLE, LINE, Lock, VM};
use crate::memory::descriptor::RamAttrs;
use crate::memory::source::Charged;
use crate::sync::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
use crate::vcpu::{Vcpu, orders};
use handles::HandleTable;
pub use manner::Manner;
use restart::{Life, Rule};
use spaces::Spaces;
pub use speculation::Speculation;

/// Most vCPUs of a VM.
pub const VCPUS_MAX: usize = 8;

/// How a VM ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It ended itself with this code.
    Exit(u64),
    /// It reported a crash of its own.
    Panic {
        /// The guest's own number.
        reason: u64,
        /// Where.
        pc: u64,
        /// Syndrome.
        esr: u64,
        /// Address.
        far: u64,
    },
    /// It was stopped because of what it did; the report is out.
    Stopped,
    /// It was stopped because the watchdog of this vCPU ran out.
    Watchdog(u8),
    /// It asked for a restart.
    Reboot,
    /// It could not be made again; the report is out.
    Unmade,
}

/// Why a vCPU is not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// There is no such vCPU.
    NoVcpu,
    /// The entry is not a multiple of four.
    Misaligned,
    /// The entry lies in page 0.
    BadAddress,
    /// It is in this state; `Off` when its start is under way already.
    NotOff(RunState),
}

/// A virtual machine. In this order because a sender looks at the first two.
#[repr(C)]
pub struct Vm {
    /// vCPUs by number.
    pub vcpus: PageRow<Vcpu, VCPUS_MAX>,
    /// Ports by handle index.
    pub ports: PageSlice<Port>,
    /// Where it stands in the machine's table.
    pub place: u8,
    /// Never the same for two VMs of one place.
    pub incarnation: u32,
    /// Name in the manifest.
    pub label: String<31>,
    /// `VM_*` of the plan.
    pub flags: u32,
    /// The highest priority of its vCPUs in time that is not reserved.
    pub priority: u8,
    /// How it may map RAM.
    pub attrs: RamAttrs,
    /// Entries of the handle table that it may use.
    pub handle_limit: u16,
    /// Event area, shared with the guest.
    pub area: EventArea,
    /// Info pages and vCPU area, read-only for the guest.
    pub pages: [SharedPages; 2],
    /// What changes under the VM's lock.
    pub inner: Lock<Inner, VM>,
    /// The console line that is being written.
    pub line: Lock<LineBuffer, LINE>,
    /// Calls it may make, a bitmap per group.
    pub calls: [u32; 8],
    /// Whether it may make every call that there is.
    pub is_open: bool,
    /// How its guests enter EL2.
    pub speculation: Speculation,
    /// How a core goes over to it.
    pub manner: Manner,
    /// Where its first vCPU starts.
    pub entry: Ipa,
    /// How many named handles the plan gives it besides its memory.
    pub named: u16,
    /// When it is made again after its end.
    pub rule: Rule,
    /// Which of its lives this is.
    pub life: Life,
    is_ending: AtomicBool,
    /// How it ended, once it does.
    pub ending: Lock<Option<Ending>, CONSOLE>,
    /// vCPUs that a core may still touch, and one more while it is made again.
    pub attached: AtomicU32,
    /// vCPUs that are not off.
    pub awake: AtomicU32,
    /// Whether a vCPU was ever started.
    pub has_run: AtomicBool,
    /// Whether it was given registers of a device, which it maps itself. Relaxed: it was before it started.
    pub has_devices: AtomicBool,
    /// Cores of whose time it has a share, one bit each. Relaxed: set as it is made.
    pub share_cores: AtomicU8,
    // What the machine's counter showed when the VM's began.
    base: AtomicU64,
}

/// What changes under a VM's lock.
pub struct Inner {
    /// What the guest translates by.
    pub spaces: Spaces,
    /// Whose pages count against which limit.
    pub account: Account,
    /// What the VM holds.
    pub handles: HandleTable,
    /// How far giving back has come.
    pub stage: stop::Stage,
    /// The one object that is being zeroed or scrubbed.
    pub work: Option<work::Work>,
    /// Pages of its own that it left to others when it ended.
    pub left: u64,
    /// What is still to be said of the fault that ended it.
    pub last_words: LastWords,
}

/// What is still to be said of the fault that ended a VM.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastWords {
    /// The vCPU that it happened to.
    pub vcpu: u8,
    /// Syndrome, PC and address of the exception in whose vector it happened.
    pub vectors: Option<[u64; 3]>,
    /// The address space, and the guest-physical address from which the region beside that of the fault is looked for.
    pub fault: Option<(u8, u64)>,
    /// The guest-physical address of the fault.
    pub at: u64,
    /// The region below has been named.
    pub is_above: bool,
    /// Steps that are left to look for both.
    pub steps: u8,
}

impl Inner {
    /// Completes what was left to be invalidated in the address spaces, so that the ledger counts as mapped what is. Returns
    /// whether pages were.
    #[inline]
    pub fn sync(&mut self, allocator: &mut Allocator) -> bool {
        self.spaces.sync(&mut Charged::new(allocator, &mut self.account, || false)) != 0
    }
}

impl Vm {
    /// Returns vCPU `number`.
    #[inline]
    #[must_use]
    pub fn vcpu(&self, number: u8) -> Option<&Vcpu> {
        self.vcpus.get(usize::from(number))
    }

    /// Returns the vCPU that a guest names, and its number.
    #[inline]
    #[must_use]
    pub fn named_vcpu(&self, number: u64) -> Option<(u8, &Vcpu)> {
        let index = arch::bounded(usize::try_from(number).ok()?, self.vcpus.len());
        let vcpu = self.vcpus.get(usize::try_from(number).ok()?)?;
        Some((u8::try_from(index).ok()?, vcpu))
    }

    /// Returns how many vCPUs there are.
    #[must_use]
    pub fn vcpu_count(&self) -> u8 {
        u8::try_from(self.vcpus.len()).unwrap_or(0)
    }

    /// Returns whether it has a share of the time of `core`.
    #[must_use]
    pub fn has_share_of(&self, core: CoreIndex) -> bool {
        self.share_cores.load(Ordering::Relaxed) >> core.index() & 1 != 0
    }

    /// Returns whether the manifest lets the VM make `call`.
    #[inline]
    #[must_use]
    pub fn allows(&self, call: Call) -> bool {
        self.calls_of(call.group()) >> call.op() & 1 != 0
    }

    /// Returns the calls of `group` that the VM may make, one bit each.
    #[inline]
    #[must_use]
    pub fn calls_of(&self, group: Group) -> u32 {
        self.calls.get(group as usize).copied().unwrap_or(0)
    }

    /// Returns whether the VM is ending: its objects attach to nothing new.
    #[inline]
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Acquire)
    }

    /// Begins the end. Returns whether the caller is the one that ends it.
    pub fn begin_ending(&self, ending: Ending) -> bool {
        let is_first = !self.is_ending.swap(true, Ordering::AcqRel);
        if is_first {
            *self.ending.lock_leaf() = Some(ending);
        }
        is_first
    }

    /// Prepares the start of vCPU `vcpu` at `entry` with `argument` in its x0. Returns its number: its home core must be told.
    ///
    /// # Errors
    /// See [`StartError`]; of several that start one vCPU at once, one succeeds.
    pub fn start(&self, vcpu: u64, entry: Ipa, argument: u64) -> Result<u8, StartError> {
        let (number, vcpu) = self.named_vcpu(vcpu).ok_or(StartError::NoVcpu)?;
        let public = &vcpu.public;
        if !entry.bytes().is_multiple_of(4) {
            return Err(StartError::Misaligned);
        }
        if entry.page_base().bytes() == 0 {
            return Err(StartError::BadAddress);
        }
        if !public.claim_start(entry.bytes(), argument) {
            return Err(StartError::NotOff(public.state()));
        }
        self.awake.fetch_add(1, Ordering::AcqRel);
        public.orders.ask(orders::START);
        Ok(number)
    }

    /// Kicks vCPU `number`. Returns whether somebody must tell it: it blocks, or it has the core and may take upcalls.
    pub fn kick(&self, number: u8) -> bool {
        let Some(vcpu) = self.vcpu(number) else { return false };
        self.area.kick(number, &vcpu.public.sink);
        fence(Ordering::SeqCst); // as in `post`
        matches!(vcpu.public.state_behind_fence(), RunState::Blocked | RunState::Running)
    }
}
