//! A guest that runs an MMU of its own (`mmu = "native"`): a process at EL0, its pages, and what addresses translate to.
//!
//! The library turns the MMU on before the guest's first line: the program finds every guest-physical address at itself, out
//! of a process's reach. A process has 2 MiB of addresses from [`PROCESS_BASE`] on; [`map`] puts pages of RAM there.

use ::core::fmt;
use ::core::ops::Range;
use ::core::sync::atomic::{AtomicU64, Ordering};

use strato_abi::Ipa;
use strato_abi::addr::PAGE_SIZE;
use strato_abi::info_page::FEATURE_NATIVE;

use crate::fault::Fault;
use crate::memory::{AccessError, Window};
use crate::{Info, arch};

/// First address of a process.
pub const PROCESS_BASE: u64 = (PROCESS_SLOT as u64) << 30;
/// Entry of the root table, one for each GiB, under which the process is.
pub(crate) const PROCESS_SLOT: usize = 128;
/// Pages that a process can have.
pub const PROCESS_PAGES: u64 = 512;

/// A valid entry: accessed, Inner Shareable, attribute 0, nothing for EL0.
pub(crate) const IDENTITY: u64 = 1 | 3 << 8 | 1 << 10 | UXN;
/// Never executed at EL0.
const UXN: u64 = 1 << 54;
/// Never executed at EL1.
const PXN: u64 = 1 << 53;
/// EL0 may do what EL1 may.
const FOR_EL0: u64 = 1 << 6;
/// Neither may write.
const READ_ONLY: u64 = 1 << 7;
/// A table, or a page in the last one.
const TABLE: u64 = 3;
/// Not of all address spaces: goes with the ASID.
const NOT_GLOBAL: u64 = 1 << 11;

#[repr(C, align(4096))]
pub(crate) struct Table([AtomicU64; 512]);

impl Table {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 512])
    }

    fn address(&self) -> u64 {
        (&raw const self.0).addr() as u64
    }
}

/// Level 1: written by `arch::native` before the MMU is on, then only the process's entry.
pub(crate) static ROOT: Table = Table::new();
static MIDDLE: Table = Table::new();
static LEAVES: Table = Table::new();

/// What a process may do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Load.
    Read,
    /// Load and store.
    ReadWrite,
    /// Load and run. The page must be executable in the VM's own map too (AS.PROTECT).
    Execute,
}

/// Why a page is not mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// The address is none of the process's, or not that of a page.
    Address,
    /// Something is mapped there.
    Exists,
    /// The page is one of the program's own.
    Program,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "no page of a process",
            Self::Exists => "a page is mapped there",
            Self::Program => "the page belongs to the program",
        })
    }
}

impl ::core::error::Error for MapError {}

/// Returns whether this VM has an MMU of its own, so that anything here works.
#[must_use]
pub fn is_available(info: &Info) -> bool {
    info.header().features & FEATURE_NATIVE != 0
}

fn leaf(address: u64) -> Option<&'static AtomicU64> {
    let offset = address.checked_sub(PROCESS_BASE).filter(|offset| offset.is_multiple_of(PAGE_SIZE))?;
    usize::try_from(offset / PAGE_SIZE).ok().and_then(|index| LEAVES.0.get(index))
}

/// Maps the page of RAM at the guest-physical address `page` at `address` of the process.
///
/// # Errors
/// [`MapError`]. Whether the page is mapped in the VM is not looked at: if not, the process's access is refused.
pub fn map(address: u64, page: Ipa, rights: Rights) -> Result<(), MapError> {
    let leaf = leaf(address).ok_or(MapError::Address)?;
    let page = page.page_base().bytes();
    let Range { start, end } = arch::image_range();
    if page < end && page.saturating_add(PAGE_SIZE) > start {
        return Err(MapError::Program);
    }
    let access = FOR_EL0
        | match rights {
            Rights::Read => READ_ONLY | UXN,
            Rights::ReadWrite => UXN,
            Rights::Execute => READ_ONLY,
        };
    let entry = page | TABLE | NOT_GLOBAL | PXN | access | IDENTITY & !UXN;
    // A vCPU that maps the same place at the same time finds it taken.
    leaf.compare_exchange(0, entry, Ordering::Relaxed, Ordering::Relaxed).map_err(|_| MapError::Exists)?;
    for (table, index, next) in [(&MIDDLE, 0, &LEAVES), (&ROOT, PROCESS_SLOT, &MIDDLE)] {
        if let Some(entry) = table.0.get(index) {
            entry.store(next.address() | TABLE, Ordering::Release); // what it leads to is written by now
        }
    }
    arch::publish_entries();
    Ok(())
}

/// Unmaps the page at `address` of the process. Returns whether there was one.
pub fn unmap(address: u64) -> bool {
    let was_there = leaf(address).is_some_and(|leaf| leaf.swap(0, Ordering::Relaxed) != 0);
    if was_there {
        arch::forget_entries();
    }
    was_there
}

/// Writes instructions to the page of RAM at `page`, mapped writable in the VM, and makes them fit to be run.
///
/// # Errors
/// As [`Window::store`]; also for more than a page holds.
pub fn write_code(page: Ipa, instructions: &[u32]) -> Result<(), AccessError> {
    let window = Window::new(page, PAGE_SIZE).ok_or(AccessError::Outside)?;
    for (offset, pair) in (0..).step_by(8).zip(instructions.chunks(2)) {
        let [low, high] = [0, 1].map(|n| u64::from(pair.get(n).copied().unwrap_or(0)));
        window.store(offset, low | high << 32)?;
    }
    arch::publish_code(page.bytes());
    Ok(())
}

/// Who uses an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// The program, at EL1.
    Kernel,
    /// The process, at EL0.
    Process,
}

/// Returns the guest-physical address to which the MMU translates a load from `address`, or `None` when it refuses it.
#[must_use]
pub fn translate(address: u64, by: World) -> Option<Ipa> {
    const FAILED: u64 = 1;
    const PAGE: u64 = 0xffff_ffff_f000;
    let result = arch::translation(address, by == World::Process);
    if result & FAILED == 0 { Ipa::new(result & PAGE | address & (PAGE_SIZE - 1)) } else { None }
}

/// Registers of a process, as `arch/native.S` loads and saves them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Registers {
    pub(crate) x: [u64; 31],
    pub(crate) stack: u64,
    pub(crate) pc: u64,
    pub(crate) status: u64,
    pub(crate) syndrome: u64,
    pub(crate) address: u64,
}

/// Why a process stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// SVC with this number; the process goes on behind it.
    Call(u16),
    /// An exception; it goes on with the same instruction.
    Fault(Fault),
    /// The line was raised: events wait, and are taken as soon as the program unmasks them.
    Line,
}

/// A process: its registers while it does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    registers: Registers,
}

/// PSTATE of a process: EL0, with nothing masked but what the program masks anyway.
const EL0: u64 = 0x340;

impl Process {
    /// Returns a process that starts at `entry` with the stack pointer `stack`.
    #[must_use]
    pub const fn new(entry: u64, stack: u64) -> Self {
        Self { registers: Registers { x: [0; 31], stack, pc: entry, status: EL0, syndrome: 0, address: 0 } }
    }

    /// Returns register `n`; 31 is the zero register.
    #[must_use]
    pub fn get(&self, n: usize) -> u64 {
        self.registers.x.get(n).copied().unwrap_or(0)
    }

    /// Sets register `n`; a write to 31 is lost.
    pub fn set(&mut self, n: usize, value: u64) {
        if let Some(register) = self.registers.x.get_mut(n) {
            *register = value;
        }
    }

    /// Goes on behind the instruction that stopped it.
    pub fn skip(&mut self) {
        self.registers.pc = self.registers.pc.wrapping_add(4);
    }

    /// Runs the process until something stops it. A system error ends the VM with a report.
    pub fn run(&mut self) -> Exit {
        let why = arch::run_process(&mut self.registers);
        let Registers { syndrome, address, pc, status, .. } = self.registers;
        let fault = Fault { syndrome, address, pc, status };
        match why {
            1 => Exit::Line,
            0 => exit_of(&fault),
            _ => crate::exception::system_error(&fault),
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the number of an SVC has 16 bits")]
const fn exit_of(fault: &Fault) -> Exit {
    const SVC: u64 = 0x15;
    if fault.class() == SVC { Exit::Call(fault.syndrome as u16) } else { Exit::Fault(*fault) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: Ipa = Ipa::new(0x4020_0000).unwrap();

    #[test]
    fn a_page_is_mapped_once_for_el0_alone_to_run_and_with_its_rights() {
        let at = PROCESS_BASE + 8 * PAGE_SIZE;
        for (rights, bits) in [(Rights::Read, READ_ONLY | UXN), (Rights::ReadWrite, UXN), (Rights::Execute, READ_ONLY)]
        {
            assert_eq!(map(at, PAGE, rights), Ok(()));
            assert_eq!(map(at, PAGE, rights), Err(MapError::Exists));
            let entry = LEAVES.0[8].load(Ordering::Relaxed);
            assert_eq!(entry & (READ_ONLY | UXN), bits);
            assert_eq!(entry & (TABLE | FOR_EL0 | PXN), TABLE | FOR_EL0 | PXN);
            assert_eq!(entry & 0xffff_ffff_f000, PAGE.bytes());
            assert!(unmap(at) && !unmap(at));
        }
        assert_eq!(ROOT.0[PROCESS_SLOT].load(Ordering::Relaxed), MIDDLE.address() | TABLE);
        assert_eq!(MIDDLE.0[0].load(Ordering::Relaxed), LEAVES.address() | TABLE);
    }

    #[test]
    fn a_process_never_gets_a_page_of_the_program_or_an_address_outside() {
        let image = Ipa::new(arch::image_range().start).unwrap();
        assert_eq!(map(PROCESS_BASE, image, Rights::Read), Err(MapError::Program));
        for address in
            [0, PROCESS_BASE - PAGE_SIZE, PROCESS_BASE + 1, PROCESS_BASE + PROCESS_PAGES * PAGE_SIZE, u64::MAX]
        {
            assert_eq!(map(address, PAGE, Rights::Read), Err(MapError::Address), "{address:#x}");
            assert!(!unmap(address));
        }
    }

    #[test]
    fn a_supervisor_call_is_told_from_a_fault() {
        let fault = |syndrome| Fault { syndrome, address: 7, pc: 8, status: 9 };
        assert_eq!(exit_of(&fault(0x15 << 26 | 1 << 25 | 7)), Exit::Call(7));
        assert_eq!(exit_of(&fault(0x9200_000f)), Exit::Fault(fault(0x9200_000f)));
    }
}
