//! Audit: adds everything up. Called when a VM has ended, by tests, and by the monitor; takes time by the extent.

use super::ledger::{Entry, Kind, Ledger, NONE, Owner, State};
use super::{Allocator, MAX_ORDER};
use crate::arch::ram::Pa;

/// What there is, in pages by use. Two audits are equal when as much is in use for each purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Audit {
    /// All of it.
    pub total: u64,
    /// Free, or holding the ledger.
    pub pool: u64,
    /// Translation tables.
    pub tables: u64,
    /// Structures of the hypervisor.
    pub objects: u64,
    /// Memory that guests map.
    pub mem: u64,
    /// The part of the above that belongs to VMs.
    pub vms: u64,
    /// Pages of Mem objects that are mapped, over all address spaces.
    pub mapped: u64,
    /// Handles to Mem objects.
    pub references: u64,
}

/// An extent as the ledger has it, for reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// Its first byte.
    pub base: Pa,
    /// Its pages, a power of two.
    pub pages: u64,
    /// Whom it belongs to.
    pub owner: Owner,
    /// What it is used for.
    pub kind: Kind,
    /// Pages of it that are mapped, in all address spaces together.
    pub mapped: u32,
    /// Handles to it, in all VMs together.
    pub references: u16,
}

/// What does not add up: a bug of the hypervisor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuditError {
    /// The extents have more or fewer pages than there are.
    Total,
    /// An extent cannot be found by its first frame.
    Index,
    /// An extent stands inside another.
    Overlap,
    /// A free extent has an owner, or holds no frames.
    Free,
    /// Two halves of a larger extent are both free and were not joined.
    Apart,
    /// A list of free extents is broken, or holds more or fewer than there are.
    List,
    /// The vacant entries are not as many as counted.
    Vacant,
}

impl Allocator {
    /// Returns the sums, after checking that each frame is in exactly one extent and each list is whole.
    ///
    /// # Errors
    /// The first thing that does not add up.
    pub fn audit(&self) -> Result<Audit, AuditError> {
        let mut audit = Audit { total: self.total, ..Audit::default() };
        let (mut free, mut vacant) = (0, 0);
        for (index, entry) in entries(&self.ledger) {
            match entry.state {
                State::Vacant => {
                    vacant += 1;
                    continue;
                }
                State::Free => {
                    self.check_free(entry)?;
                    free += 1;
                }
                State::Taken => {}
            }
            self.check_place(index, entry)?;
            add(&mut audit, entry);
        }
        if audit.pool + audit.tables + audit.objects + audit.mem != self.total {
            return Err(AuditError::Total);
        }
        if self.check_lists(free)? != free {
            return Err(AuditError::List);
        }
        if vacant != self.ledger.vacant() { Err(AuditError::Vacant) } else { Ok(audit) }
    }

    /// Returns every extent, in no order.
    pub fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        entries(&self.ledger).filter(|(_, entry)| entry.state != State::Vacant).map(|(_, entry)| extent(entry))
    }

    /// Returns the extent that `pa` lies in.
    #[must_use]
    pub fn extent_of(&self, pa: Pa) -> Option<Extent> {
        let (index, _) = self.extent_at(pa)?;
        self.ledger.get(index).map(extent)
    }

    /// Returns the frames that the ledger had from the start, which are in no extent: the first byte, and how many.
    #[must_use]
    pub fn ledger_frames(&self) -> (Pa, u64) {
        self.ledger.first_frames()
    }

    /// Returns the pages that belong to `owner`, to be compared with its account.
    #[must_use]
    pub fn pages_of(&self, owner: Owner) -> u64 {
        let extents = entries(&self.ledger).filter(|(_, entry)| entry.state != State::Vacant && entry.owner == owner);
        extents.map(|(_, entry)| 1u64 << entry.slot.order()).sum()
    }

    fn check_free(&self, entry: &Entry) -> Result<(), AuditError> {
        if entry.owner != Owner::Pool || entry.kind != Kind::Free || !entry.slot.is_held() {
            return Err(AuditError::Free);
        }
        let order = entry.slot.order();
        let buddy = self.ledger.find_frame(entry.slot.base().frame() ^ 1 << order).and_then(|at| self.ledger.get(at));
        let apart = buddy.is_some_and(|buddy| buddy.state == State::Free && buddy.slot.order() == order);
        if apart && order < MAX_ORDER { Err(AuditError::Apart) } else { Ok(()) }
    }

    /// Checks that the index leads to the extent and that no larger extent reaches over it.
    fn check_place(&self, index: u16, entry: &Entry) -> Result<(), AuditError> {
        let frame = entry.slot.base().frame();
        let order = entry.slot.order();
        if self.ledger.find_frame(frame) != Some(index) || frame.trailing_zeros() < order {
            return Err(AuditError::Index);
        }
        let inside = (order + 1..=MAX_ORDER).any(|larger| {
            let first = frame >> larger << larger;
            let around = self.ledger.find_frame(first).filter(|&at| at != index).and_then(|at| self.ledger.get(at));
            around.is_some_and(|around| (frame - first) >> around.slot.order() == 0)
        });
        if inside { Err(AuditError::Overlap) } else { Ok(()) }
    }

    /// Returns how many extents stand in the lists; stops at `limit`, so that a ring ends.
    fn check_lists(&self, limit: usize) -> Result<usize, AuditError> {
        let mut count = 0;
        for (clean, order) in
            [false, true].into_iter().flat_map(|clean| (0..=MAX_ORDER).map(move |order| (clean, order)))
        {
            let (mut previous, mut at) = (NONE, self.free.head(clean, order));
            while let Some(entry) = self.ledger.get(at) {
                let fits = entry.state == State::Free
                    && (entry.previous, entry.slot.order(), entry.slot.is_scrubbed()) == (previous, order, clean);
                count += 1;
                if !fits || count > limit {
                    return Err(AuditError::List);
                }
                (previous, at) = (at, entry.next);
            }
        }
        Ok(count)
    }
}

const fn extent(entry: &Entry) -> Extent {
    Extent {
        base: entry.slot.base(),
        pages: 1 << entry.slot.order(),
        owner: entry.owner,
        kind: entry.kind,
        mapped: entry.mapped,
        references: entry.references,
    }
}

fn entries(ledger: &Ledger) -> impl Iterator<Item = (u16, &Entry)> {
    (1..ledger.end())
        .filter_map(|index| u16::try_from(index).ok())
        .filter_map(|index| Some((index, ledger.get(index)?)))
}

fn add(audit: &mut Audit, entry: &Entry) {
    let pages = 1u64 << entry.slot.order();
    match entry.kind {
        Kind::Free | Kind::Ledger => audit.pool += pages,
        Kind::Table => audit.tables += pages,
        Kind::Object => audit.objects += pages,
        Kind::Mem => audit.mem += pages,
    }
    if let Owner::Vm(_) = entry.owner {
        audit.vms += pages;
    }
    audit.mapped += u64::from(entry.mapped);
    audit.references += u64::from(entry.references);
}
