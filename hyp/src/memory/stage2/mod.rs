//! Stage 2: an address space, the guest's only translation. Owns its tables and the order of every change.
//!
//! Called under the lock of the address space by `vm`, by the calls of group AS and by the handling of aborts. Never
//! decides whose memory it maps, and never runs while an interrupt waits: every function that works on pages does at
//! most [`UNITS`] of them (a block counts as one), asks for interrupts every 16, and tells how many pages are done.
//!
//! Every change is prepared, then committed: ranges are checked and tables taken first; once an entry has changed,
//! nothing fails. An invalidation is made once per call, before a table or a mapped page is anybody else's.
//!
//! | function | does | refuses |
//! |---|---|---|
//! | [`AddressSpace::map`] | new leaves, blocks where address and size allow | overlap |
//! | [`AddressSpace::unmap`] | takes leaves away, splits blocks, gives empty tables back | holes |
//! | [`AddressSpace::unmap_part`] | takes away what is mapped of some memory | |
//! | [`AddressSpace::protect`] | rewrites permissions, no break-before-make | holes, another memory type |
//! | [`AddressSpace::unmap_later`], [`AddressSpace::protect_later`] | the same, without the invalidation | the same |
//! | [`AddressSpace::sync`] | the invalidation | |
//! | [`AddressSpace::query`], [`AddressSpace::permits`], [`AddressSpace::region_from`] | read only | |
//! | [`AddressSpace::teardown_step`], [`AddressSpace::finish`] | the way back, stepwise | |

mod map;
mod part;
mod pending;
mod protect;
mod run;
mod short;
mod split;
mod teardown;
mod unmap;
mod walk;

pub use map::Mapped;
pub use part::Part;
pub use short::Vacant;
pub use teardown::Progress;
pub use walk::{Access, GoOn, Leaf, Region, Stretch};

use strato_abi::addr::{IPA_BITS, Ipa, PAGE_SIZE};
use strato_abi::address_space::Attributes;

use super::source::TableSource;
use crate::allocator::{AllocError, Allocator, Selector, Vmids};
use crate::arch::CoreIndex;
use crate::arch::ram::Pages;
use crate::arch::stage2::{self, Scope};
use crate::arch::table::Table;

/// Most leaves that one call works on (ABI rule P5).
pub const UNITS: usize = 128;
/// Leaves between two looks at the interrupt line.
const UNITS_PER_LOOK: usize = 16;

/// Why an address space refused. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpaceError {
    /// The range is empty, not page aligned, holds page 0 or leaves the address space.
    BadRange,
    /// Something is mapped in the range.
    Exists,
    /// Something in the range is not mapped.
    NotMapped,
    /// The memory type is not that of the mapping.
    BadAttribute,
    /// More rights than the mapping can get; the ones that it cannot.
    NoRight(Attributes),
    /// No frame is left for a table.
    NoMemory,
    /// The account has no page left for a table.
    Quota,
    /// The address space is being torn down.
    Dying,
}

impl From<AllocError> for SpaceError {
    fn from(error: AllocError) -> Self {
        match error {
            AllocError::Quota => Self::Quota,
            AllocError::NoMemory | AllocError::Stale | AllocError::Busy => Self::NoMemory,
        }
    }
}

/// One address space of one VM.
#[derive(Debug)]
pub struct AddressSpace {
    root: Table,
    /// What selects it, as the last core got it that did not know it.
    selector: Selector,
    /// An empty table for the next need, so that a table does not come and go with each page.
    spare: Option<Table>,
    /// Frames that the address space holds: root, tables, spare.
    tables: u64,
    /// Leaves that are broken and wait for their invalidation.
    pending: pending::Pending,
    state: teardown::State,
}

impl AddressSpace {
    /// Returns the empty address space with `root` as its root table. It has no VMID until a core selects it.
    ///
    /// # Errors
    /// The root, when it is not exactly one frame.
    pub fn new(root: Pages) -> Result<Self, Pages> {
        let root = Table::new(root)?;
        let selector = Selector::without_vmid(root.pa());
        let (pending, state) = (pending::Pending::new(), teardown::State::Alive);
        Ok(Self { root, selector, spare: None, tables: 1, pending, state })
    }

    /// Returns what selects the address space.
    #[must_use]
    pub const fn selector(&self) -> Selector {
        self.selector
    }

    /// Returns what selects the address space on `core` from now on; the core translates by nothing at this moment.
    pub fn renew(&mut self, vmids: &Vmids, core: CoreIndex, allocator: &mut Allocator) -> Selector {
        self.selector = allocator.renew_vmid(vmids, core, self.selector);
        self.selector
    }

    /// Returns the frames that the address space holds for tables.
    #[must_use]
    pub const fn tables(&self) -> u64 {
        self.tables
    }

    /// Removes what any core may hold of `scope`.
    #[inline(always)]
    fn invalidate(&self, scope: Scope) {
        stage2::invalidate(self.selector.vttbr, scope);
    }

    /// Returns an empty table: the spare one, or one on the account.
    fn take_table(&mut self, source: &mut impl TableSource) -> Result<Table, SpaceError> {
        if let Some(table) = self.spare.take() {
            return Ok(table);
        }
        match Table::new(source.take_table()?) {
            Ok(table) => {
                self.tables = self.tables.saturating_add(1);
                Ok(table)
            }
            Err(pages) => {
                source.give_table_back(pages);
                Err(SpaceError::NoMemory)
            }
        }
    }

    /// Keeps an empty table that no walker can reach as the spare one, or gives it back.
    fn put_table(&mut self, table: Table, source: &mut impl TableSource) {
        if self.spare.is_none() {
            self.spare = Some(table);
        } else {
            self.give_table(table, source);
        }
    }

    fn give_table(&mut self, table: Table, source: &mut impl TableSource) {
        self.tables = self.tables.saturating_sub(1);
        source.give_table_back(table.into_pages());
    }
}

/// Checks a range of guest pages; returns its first byte.
#[inline]
fn check_range(ipa: Ipa, pages: u64) -> Result<u64, SpaceError> {
    let start = ipa.bytes();
    let end = pages.checked_mul(PAGE_SIZE).and_then(|bytes| start.checked_add(bytes));
    let inside = end.is_some_and(|end| end <= 1 << IPA_BITS);
    if inside && pages != 0 && start != 0 && ipa.is_page_aligned() { Ok(start) } else { Err(SpaceError::BadRange) }
}
