//! What the tests of memory share: an allocator over simulated RAM, a VM's account, one address space, and a source of
//! tables that can be told to fail, to interrupt, and to remember what it heard.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]
#![allow(dead_code, reason = "each test binary uses a part of it")]

use strato_abi::addr::Ipa;
use strato_abi::address_space::Attributes;
use strato_hyp::allocator::{Account, AllocError, Allocator, Audit, Kind, MemId, Owner, Scrub};
use strato_hyp::arch::ram::{Pa, Pages};
use strato_hyp::arch::shared::SharedPages;
use strato_hyp::arch::{backing, watch};
use strato_hyp::memory::descriptor::{Attr, MemoryType};
use strato_hyp::memory::source::TableSource;
use strato_hyp::memory::stage2::{AddressSpace, Progress};

pub(crate) const READ: Attributes = Attributes::READ;
pub(crate) const WRITE: Attributes = Attributes::WRITE;
pub(crate) const EXECUTE: Attributes = Attributes::EXECUTE;

pub(crate) fn allocator(frames: usize) -> Allocator {
    let mut regions = heapless::Vec::<Pages, 16>::new();
    regions.push(backing::ram(frames, 1)).unwrap();
    Allocator::new(regions).unwrap_or_else(|_| panic!("{frames} frames are enough for the ledger"))
}

pub(crate) fn attr(rights: Attributes) -> Attr {
    Attr::new(rights, MemoryType::Normal, true).unwrap().up_to(READ | WRITE | EXECUTE)
}

pub(crate) fn ipa(page: u64) -> Ipa {
    Ipa::new(page << 12).unwrap()
}

pub(crate) fn pa(page: u64) -> Pa {
    Pa::new(page << 12).unwrap()
}

pub(crate) fn account(vm: u16, limit: u64) -> Account {
    Account::new(Owner::Vm(vm), limit)
}

/// Fills frames with a pattern, as an owner does.
pub(crate) fn use_up(pages: Pages) -> Pages {
    let shared = SharedPages::new(pages);
    let bytes = vec![0x5a; shared.frames().bytes()];
    assert!(shared.frames().write(0, &bytes));
    shared.into_pages()
}

/// Returns the frames, checked to be zero.
pub(crate) fn zero(pages: Pages) -> Pages {
    let shared = SharedPages::new(pages);
    let mut bytes = vec![1; shared.frames().bytes()];
    assert!(shared.frames().read(0, &mut bytes));
    assert!(bytes.iter().all(|&byte| byte == 0));
    shared.into_pages()
}

pub(crate) fn steps(mut scrub: Scrub) -> Pages {
    while !scrub.step() {}
    scrub.finish().unwrap()
}

pub(crate) fn free(allocator: &mut Allocator, id: MemId, account: &mut Account) {
    let pages = steps(allocator.mem_free(id, account).unwrap());
    allocator.give_back(pages, account).unwrap();
}

/// Returns the frames of runs, each by itself.
pub(crate) fn frames(runs: &[(u64, u64)]) -> Vec<u64> {
    runs.iter().flat_map(|&(first, pages)| first..first + pages).collect()
}

/// Returns the pages of runs.
pub(crate) fn count(runs: &[(u64, u64)]) -> u64 {
    runs.iter().map(|&(_, pages)| pages).sum()
}

/// A source that remembers.
pub(crate) struct Source {
    pub(crate) allocator: Allocator,
    pub(crate) account: Account,
    /// Runs that were told to be unmapped: first frame, pages.
    pub(crate) unmapped: Vec<(u64, u64)>,
    /// Tables left before taking fails.
    pub(crate) tables: u64,
    /// Looks at the interrupt line left before an interrupt waits.
    pub(crate) looks: u64,
}

impl TableSource for Source {
    fn take_table(&mut self) -> Result<Pages, AllocError> {
        self.tables = self.tables.checked_sub(1).ok_or(AllocError::NoMemory)?;
        self.allocator.take(0, Kind::Table, &mut self.account)
    }

    fn give_table_back(&mut self, frame: Pages) {
        self.allocator.give_back(frame, &mut self.account).unwrap();
    }

    fn unmapped(&mut self, pa: Pa, pages: u64) {
        self.allocator.mem_unmapped(pa, pages);
        self.unmapped.push((pa.frame(), pages));
    }

    fn piece(&mut self, pa: Pa) -> u64 {
        self.allocator.mem_piece(pa)
    }

    fn interrupt_pending(&mut self) -> bool {
        match self.looks.checked_sub(1) {
            Some(left) => {
                self.looks = left;
                false
            }
            None => true,
        }
    }
}

pub(crate) struct World {
    pub(crate) space: AddressSpace,
    pub(crate) source: Source,
    pub(crate) baseline: Audit,
}

impl World {
    pub(crate) fn new() -> Self {
        watch::forget_all();
        let mut allocator = allocator(if cfg!(miri) { 64 } else { 256 });
        let baseline = allocator.audit().unwrap();
        let mut account = Account::new(Owner::Vm(1), 200);
        let root = allocator.take(0, Kind::Table, &mut account).unwrap();
        let space = AddressSpace::new(root).unwrap();
        let source = Source { allocator, account, unmapped: Vec::new(), tables: u64::MAX, looks: u64::MAX };
        Self { space, source, baseline }
    }

    /// Tears the address space down, returns the runs that were mapped, and checks that everything came back.
    pub(crate) fn end(self) -> Vec<(u64, u64)> {
        let Self { mut space, mut source, baseline } = self;
        source.tables = 0;
        source.unmapped.clear();
        for step in 0.. {
            assert!(step < 100_000, "a teardown that does not end");
            if space.teardown_step(&mut source) == Progress::Done {
                break;
            }
        }
        space.finish(&mut source).unwrap();
        assert_eq!(source.allocator.audit(), Ok(baseline));
        assert_eq!(source.account.used(), 0);
        source.unmapped
    }
}
