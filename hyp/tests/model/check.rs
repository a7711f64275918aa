//! Check: everything that the hypervisor knows of ownership, mappings and shares against the model.

use std::collections::{BTreeMap, BTreeSet};

use strato_abi::handle::{Handle, Kind as HandleKind};
use strato_abi::share::Verb;
use strato_hyp::allocator::{Allocator, Extent, Kind, Owner};
use strato_hyp::arch::watch::stale_entries;
use strato_hyp::lock::Held;
use strato_hyp::memory::sharing::is_out;
use strato_hyp::memory::stage2::AddressSpace;
use strato_hyp::vm::Inner;
use strato_hyp::vm::handles::{Far, Flags, MemRef, ShareRef};

use crate::machine::Real;
use crate::space::{End, Space, WINDOW};
use crate::state::{Frame, HANDLES, Mem, Model, Named, Share, VMS, Vm};

/// A page that is mapped: frame, rights, and those that it can get.
type Mapped = BTreeMap<u64, (u64, u64, u64)>;

/// Returns all that is mapped.
fn mapped(space: &AddressSpace) -> Mapped {
    let (mut all, mut at) = (Mapped::new(), 0);
    while let Some(stretch) = space.stretch_from(at) {
        let (start, bytes) = (stretch.start.bytes(), stretch.bytes);
        let pages = (0..bytes >> 12).map(|by| (by + (start >> 12), (stretch.pa.frame() + by, stretch.attr)));
        all.extend(pages.map(|(page, (frame, attr))| (page, (frame, attr.rights().bits(), attr.most().bits()))));
        at = start + bytes;
    }
    all
}

/// Returns the flags of a handle to memory.
fn flags(mem: &Mem) -> Flags {
    let mut flags = Flags::empty();
    flags.set(Flags::LENT, mem.is_lent);
    flags.set(Flags::FREEING, mem.is_freeing);
    if let Some(borrow) = &mem.borrow {
        flags.set(Flags::BORROWED, true);
        flags.set(Flags::REVOKED, borrow.is_revoked);
        flags.set(Flags::OVER, borrow.is_over);
        flags.set(Flags::ORPHANED, borrow.is_orphan);
    }
    flags
}

impl Real {
    /// Returns the frame number that a page of the model has.
    fn frame(&self, Frame { alloc, page }: Frame) -> u64 {
        self.places[alloc].expect("the allocation was seen") + page
    }

    /// Learns where new allocations of the model stand: their owners' handles say it.
    fn learn(&mut self, model: &Model) {
        self.places.resize(model.allocs, None);
        let mut seen = Vec::new();
        for vm in (0..VMS).filter(|&vm| model.vms[vm].is_alive) {
            self.story.vm(vm as u8, |real| {
                let mut none = Held::for_example();
                let (inner, _held) = real.inner.lock(&mut none);
                for (index, mem) in model.vms[vm].mems() {
                    let base = inner.handles.mem_at(index as u16).map(|had| had.base.frame() - mem.first.page);
                    seen.push((mem.first.alloc, base));
                }
            });
        }
        for (alloc, base) in seen {
            self.places[alloc] = self.places[alloc].or(base);
        }
    }

    /// Checks that the hypervisor is where the model is.
    pub(crate) fn check(&mut self, model: &Model) {
        self.learn(model);
        let mut views = Vec::new();
        for (place, vm) in (0u8..).zip(&model.vms) {
            let machine = self.story.machine;
            let view = self.story.try_vm(place, |real| {
                let mut none = Held::for_example();
                let (inner, mut held) = real.inner.lock(&mut none);
                let (pool, _held) = machine.memory.lock(&mut held);
                let (used, owner) = (inner.account.used(), Owner::Vm(u16::from(place)));
                assert_eq!(used, pool.allocator.pages_of(owner), "the account of {place} and the ledger");
                assert_eq!(real.is_ending(), !vm.is_alive);
                View::new(vm, &inner, &pool.allocator)
            });
            assert_eq!(view.is_some(), vm.is_alive, "VM {place} is there");
            views.push(view);
        }
        for (number, view) in views.iter().enumerate() {
            let (vm, Some(view)) = (&model.vms[number], view) else { continue };
            assert_eq!(view.used, model.used(number), "pages on the account of {number}");
            for index in 0..HANDLES {
                self.check_entry(vm, index, view);
            }
            for (slot, space) in vm.spaces.iter().enumerate() {
                self.check_space(vm, slot, space.as_ref(), view);
            }
        }
        self.check_ledger(model);
        self.check_isolation(&views);
    }

    fn check_entry(&self, vm: &Vm, index: usize, view: &View) {
        let EntryView { named: kind, mem, share, .. } = &view.entries[index];
        let named = &vm.entries[index].named;
        assert_eq!(*kind, named.kind().map(|kind| (kind, vm.handle(index))), "entry {index}: {named:?}");
        match named {
            Named::Mem(wanted) => {
                let had = mem.expect("memory");
                let wanted_part = (self.frame(wanted.first), wanted.pages, wanted.rights);
                assert_eq!((had.base.frame(), had.pages, u64::from(had.rights.bits())), wanted_part, "{wanted:?}");
                assert_eq!(had.flags, flags(wanted), "{wanted:?}");
            }
            Named::Share(wanted) => {
                let Share { first, pages, terms, tag, state, .. } = *wanted;
                let had = share.expect("a share");
                assert_eq!((had.base.frame(), had.pages), (self.frame(first), pages), "{wanted:?}");
                assert_eq!((had.terms, had.tag, had.state, had.mem), (terms, tag, state, wanted.mem), "{wanted:?}");
                let far = (wanted.peer as u8, wanted.far.unwrap_or(0) as u16);
                assert_eq!((had.far.place, had.far.index), far, "{wanted:?}");
            }
            Named::Space(_) | Named::Peer(_) | Named::Nothing => {}
        }
    }

    fn check_space(&self, vm: &Vm, slot: usize, space: Option<&Space>, view: &View) {
        let had = &view.spaces[slot];
        assert_eq!(had.is_some(), space.is_some(), "address space {slot} is there");
        let (Some(had), Some(wanted)) = (had, space) else { return };
        assert_eq!(had.handle, wanted.index.map(|index| vm.handle(index)), "address space {slot}");
        assert_eq!(had.is_dying, wanted.end != End::No, "address space {slot}");
        assert_eq!(had.tables, wanted.tables(), "tables of address space {slot}");
        if wanted.end != End::No {
            return;
        }
        assert_eq!(had.is_late, wanted.is_late, "address space {slot} waits for a sync");
        assert!(wanted.is_late || had.stale == 0, "address space {slot} has {} stale entries", had.stale);
        let window: BTreeSet<u64> = had.mapped.keys().copied().filter(|page| WINDOW.contains(page)).collect();
        assert_eq!(window, BTreeSet::from(WINDOW), "the window of address space {slot}");
        let had: Mapped = had.mapped.iter().filter(|(page, _)| !WINDOW.contains(page)).map(|(&a, &b)| (a, b)).collect();
        let leaf =
            |(page, leaf): (&u64, &crate::space::Leaf)| (*page, (self.frame(leaf.frame), leaf.rights, leaf.most));
        let wanted: Mapped = wanted.pages.iter().map(leaf).collect();
        assert_eq!(had, wanted, "stage 2 of address space {slot}");
    }

    /// Checks that the ledger adds up, and holds the objects of the model and no other.
    fn check_ledger(&self, model: &Model) {
        let mut none = Held::for_example();
        let (pool, _held) = self.story.machine.memory.lock(&mut none);
        pool.allocator.audit().expect("the ledger adds up");
        let extents = pool.allocator.extents().filter(|extent| extent.kind == Kind::Mem);
        let had: BTreeMap<u64, _> =
            extents.map(|e| (e.base.frame(), (e.pages, e.owner, u64::from(e.mapped), e.references))).collect();
        let living = model.objects.iter().enumerate().filter(|(_, object)| !object.is_gone);
        let wanted: BTreeMap<u64, _> = living
            .map(|(number, object)| {
                let owner = object.owner.map_or(Owner::Hypervisor, |vm| Owner::Vm(vm as u16));
                (self.frame(object.first), (object.pages, owner, model.mapped(number), object.references))
            })
            .collect();
        assert_eq!(had, wanted, "objects of the ledger: pages, owner, pages mapped, references");
    }

    /// Checks, by the hypervisor's own words alone, that a VM reaches nothing but its own memory and what an accepted share or an
    /// owner who has ended leaves it, with no other rights.
    fn check_isolation(&self, views: &[Option<View>]) {
        let mut none = Held::for_example();
        let (pool, _held) = self.story.machine.memory.lock(&mut none);
        let extents: Vec<_> = pool.allocator.extents().filter(|extent| extent.kind == Kind::Mem).collect();
        let owner = |frame: u64| {
            let holds = |e: &&Extent| (e.base.frame()..e.base.frame() + e.pages).contains(&frame);
            extents.iter().find(holds).map(|extent| extent.owner)
        };
        for (number, view) in views.iter().enumerate() {
            let Some(view) = view else { continue };
            let spaces = view.spaces.iter().flatten().filter(|space| !space.is_dying);
            let leaves = spaces.flat_map(|space| &space.mapped).filter(|(page, _)| !WINDOW.contains(page));
            for (page, &(frame, rights, most)) in leaves {
                let mut entries = view.entries.iter().enumerate();
                let may = entries.any(|(index, entry)| {
                    let from = entry.allows(frame, rights | most, (number, index), views);
                    from.is_some() && from == owner(frame)
                });
                assert!(may, "VM {number} reaches frame {frame:#x} at page {page:#x} without a right to it");
            }
        }
    }
}

/// One address space as the hypervisor has it.
struct SpaceView {
    handle: Option<Handle>,
    mapped: Mapped,
    tables: u64,
    stale: usize,
    is_late: bool,
    is_dying: bool,
}

/// An entry of the table of handles: what it names by which handle, and the details of memory and shares.
struct EntryView {
    named: Option<(HandleKind, Handle)>,
    mem: Option<MemRef>,
    share: Option<ShareRef>,
    far: Option<Far>,
}

impl EntryView {
    /// Returns whose frame it must be if this entry, which is `me`, lets its VM map it with `rights`.
    fn allows(&self, frame: u64, rights: u64, me: (usize, usize), views: &[Option<View>]) -> Option<Owner> {
        let mem = self.mem.filter(|mem| (mem.base.frame()..mem.base.frame() + mem.pages).contains(&frame))?;
        if mem.flags.intersects(Flags::OVER | Flags::LENT) || rights & !u64::from(mem.rights.bits()) != 0 {
            return None;
        }
        if !mem.flags.contains(Flags::BORROWED) {
            return Some(Owner::Vm(me.0 as u16));
        }
        if mem.flags.contains(Flags::ORPHANED) {
            return Some(Owner::Hypervisor);
        }
        let far = self.far?;
        let share = views[usize::from(far.place)].as_ref()?.entries[usize::from(far.index)].share?;
        let is_mine = (usize::from(share.far.place), usize::from(share.far.index)) == me;
        let is_same = (share.id, share.base, share.pages) == (mem.id, mem.base, mem.pages);
        let is_given = share.terms.verb != Verb::Donate && rights & !share.terms.rights.bits() == 0;
        let allows = is_out(share.state) && is_mine && is_same && is_given;
        allows.then_some(Owner::Vm(u16::from(far.place)))
    }
}

/// One VM as the hypervisor has it.
struct View {
    used: u64,
    entries: Vec<EntryView>,
    spaces: Vec<Option<SpaceView>>,
}

impl View {
    fn new(vm: &Vm, inner: &Inner, allocator: &Allocator) -> Self {
        let entry = |index: u16| {
            // The handle that the model knows, or the next that the entry would get.
            let generation = vm.entries[usize::from(index)].generation;
            let mut named = [generation, generation + 1].map(|generation| Handle::new(index, generation)).into_iter();
            let named = named.find_map(|handle| Some((inner.handles.kind(handle).ok()?, handle)));
            let mem = inner.handles.mem_at(index);
            if let Some(mem) = mem.filter(|mem| !mem.flags.intersects(Flags::OVER | Flags::FREEING)) {
                assert!(allocator.mem_info(mem.id).is_some(), "entry {index} names an object that is gone");
            }
            let (share, far) = (inner.handles.share_at(index).map(|(_, share)| share), inner.handles.far(index));
            EntryView { named, mem, share, far }
        };
        let space = |slot: u8| {
            let space = inner.spaces.get(slot)?;
            Some(SpaceView {
                handle: inner.spaces.handle(slot).filter(|_| slot != 0),
                mapped: mapped(space),
                tables: space.tables(),
                stale: stale_entries(space.selector().vttbr),
                is_late: space.is_sync_due(),
                is_dying: space.is_dying(),
            })
        };
        Self {
            used: inner.account.used(),
            entries: (0..HANDLES as u16).map(entry).collect(),
            spaces: (0..8).map(space).collect(),
        }
    }
}
