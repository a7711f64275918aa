//! State: what there is. Objects, and per VM handles, address spaces and quota. Nothing of it knows a physical address.

use std::collections::BTreeMap;
use std::fmt;

use strato_abi::error::{Code, Reason};
use strato_abi::handle::{AddressSpaceHandle, Handle, Kind};
use strato_abi::share::{ShareState, Terms};

use crate::ranges::Ranges;
use crate::space::Space;
use crate::talk::Refusal;

pub(crate) const VMS: usize = 3;
/// Entries of each VM's handle table.
pub(crate) const HANDLES: usize = 12;
/// Pages of each VM's `ram`, and of the region that it owns from the start.
pub(crate) const RAM: u64 = 8;
pub(crate) const OWN: u64 = 32;

/// A page of memory: of which allocation, and the how manieth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Frame {
    pub(crate) alloc: usize,
    pub(crate) page: u64,
}

impl Frame {
    pub(crate) fn plus(self, pages: u64) -> Self {
        Self { page: self.page + pages, ..self }
    }

    /// Returns which of the `pages` pages from `first` on it is, if it is one.
    pub(crate) fn in_part(self, first: Self, pages: u64) -> Option<u64> {
        let is_inside = self.alloc == first.alloc && (first.page..first.page + pages).contains(&self.page);
        is_inside.then(|| self.page - first.page)
    }
}

/// A memory object, as the ledger has it.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) first: Frame,
    pub(crate) pages: u64,
    /// A VM, or the hypervisor for what an owner has left behind.
    pub(crate) owner: Option<usize>,
    pub(crate) references: u16,
    pub(crate) is_gone: bool,
}

/// Memory as a handle names it.
#[derive(Clone, Debug)]
pub(crate) struct Mem {
    pub(crate) object: usize,
    pub(crate) first: Frame,
    pub(crate) pages: u64,
    pub(crate) rights: u64,
    pub(crate) is_lent: bool,
    pub(crate) is_freeing: bool,
    pub(crate) borrow: Option<Borrow>,
}

/// What is to be known of borrowed memory besides.
#[derive(Clone, Debug)]
pub(crate) struct Borrow {
    /// The owner, and the index of its share.
    pub(crate) from: (usize, usize),
    pub(crate) ranges: Ranges,
    pub(crate) is_revoked: bool,
    pub(crate) is_over: bool,
    pub(crate) is_orphan: bool,
}

/// An offer, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub(crate) object: usize,
    pub(crate) mem: Handle,
    pub(crate) first: Frame,
    pub(crate) pages: u64,
    pub(crate) terms: Terms,
    pub(crate) tag: u64,
    pub(crate) state: ShareState,
    pub(crate) peer: usize,
    /// The index of the borrower's handle, once there is one.
    pub(crate) far: Option<usize>,
    /// How far a revoke by force has come: ranges, and pages of the next one.
    pub(crate) cursor: (usize, u64),
}

impl Share {
    pub(crate) fn is_out(&self) -> bool {
        matches!(self.state, ShareState::Accepted | ShareState::Asked | ShareState::Revoking)
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Named {
    Nothing,
    Mem(Mem),
    Share(Share),
    Space(u8),
    Peer(usize),
}

impl Named {
    pub(crate) fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Nothing => return None,
            Self::Mem(_) => Kind::Mem,
            Self::Share(_) => Kind::Share,
            Self::Space(_) => Kind::AddressSpace,
            Self::Peer(_) => Kind::Peer,
        })
    }

    pub(crate) fn mem(&self) -> Option<&Mem> {
        if let Self::Mem(mem) = self { Some(mem) } else { None }
    }

    pub(crate) fn mem_mut(&mut self) -> Option<&mut Mem> {
        if let Self::Mem(mem) = self { Some(mem) } else { None }
    }

    pub(crate) fn share(&self) -> Option<&Share> {
        if let Self::Share(share) = self { Some(share) } else { None }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) generation: u16,
    pub(crate) named: Named,
}

#[derive(Clone, Debug)]
pub(crate) struct Vm {
    pub(crate) is_alive: bool,
    pub(crate) entries: Vec<Entry>,
    pub(crate) spaces: [Option<Space>; 8],
    /// The slot that the last call with `NO_SYNC` was about: no other has anything left to be invalidated.
    pub(crate) late: u8,
    pub(crate) current: u8,
    /// The object that is on its way to the pool: its handle, and the pages that are left to be scrubbed.
    pub(crate) work: Option<(Handle, u64)>,
}

/// What a call has to answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Success with these results; `None` is any. Made again until it is done when `repeats`: then the second result counts
    /// for all of them together.
    Reply { results: Vec<Option<u64>>, repeats: bool },
    /// One of these refusals: which, the contract does not say (SPEC 5.6).
    Refused(Vec<Refusal>),
    /// Nothing is mapped there, for this reason (`LastFault`).
    NotMapped(u64),
    /// None: the VM has ended.
    Never,
}

pub(crate) type Refusals = Vec<Refusal>;

#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) vms: Vec<Vm>,
    pub(crate) objects: Vec<Object>,
    pub(crate) allocs: usize,
    /// Pages that each VM costs besides memory and tables, and its quota.
    pub(crate) fixed: u64,
    pub(crate) quota: u64,
    /// What the last step has to answer, and its arguments with handles in the place of names.
    pub(crate) answer: Answer,
    pub(crate) arguments: Vec<u64>,
    /// Steps so far, and the handles that they made by the name that the step gave them: whose, and which.
    pub(crate) steps: u64,
    pub(crate) made: BTreeMap<u64, (usize, u64)>,
}

/// A failure shows the steps; the model's beginning is always the same.
impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VMS} VMs")
    }
}

pub(crate) fn refusal(code: Code, argument: usize, reason: Reason) -> Refusal {
    (code, argument, reason)
}

impl Vm {
    pub(crate) fn handle(&self, index: usize) -> Handle {
        Handle::new(index as u16, self.entries[index].generation)
    }

    /// Returns index and object of `handle`, argument `argument`; the first address space has no entry.
    pub(crate) fn look(&self, handle: Handle, argument: usize) -> Result<(usize, &Named), Refusal> {
        let refused = |code| refusal(code, argument, Reason::None);
        let entry = self.entries.get(usize::from(handle.index())).filter(|entry| entry.generation != 0);
        match entry {
            _ if handle == AddressSpaceHandle::FIRST.0 => Err(refused(Code::WrongKind)),
            Some(entry) if handle.generation() != 0 => match entry.named {
                Named::Nothing => Err(refused(Code::Stale)),
                _ if entry.generation != handle.generation() => Err(refused(Code::Stale)),
                _ => Ok((usize::from(handle.index()), &entry.named)),
            },
            Some(_) | None => Err(refused(Code::BadHandle)),
        }
    }

    pub(crate) fn mem(&self, handle: Handle, argument: usize) -> Result<(usize, &Mem), Refusal> {
        let (index, named) = self.look(handle, argument)?;
        Ok((index, named.mem().ok_or(refusal(Code::WrongKind, argument, Reason::None))?))
    }

    pub(crate) fn mem_mut(&mut self, index: usize) -> &mut Mem {
        self.entries[index].named.mem_mut().expect("memory")
    }

    pub(crate) fn borrow_mut(&mut self, index: usize) -> &mut Borrow {
        self.mem_mut(index).borrow.as_mut().expect("borrowed memory")
    }

    pub(crate) fn share(&self, handle: Handle, argument: usize) -> Result<(usize, &Share), Refusal> {
        let (index, named) = self.look(handle, argument)?;
        Ok((index, named.share().ok_or(refusal(Code::WrongKind, argument, Reason::None))?))
    }

    pub(crate) fn share_mut(&mut self, index: usize) -> &mut Share {
        let Named::Share(share) = &mut self.entries[index].named else { panic!("entry {index} is a share") };
        share
    }

    /// Returns the slot of the address space that argument 1 names.
    pub(crate) fn slot(&self, AddressSpaceHandle(handle): AddressSpaceHandle) -> Result<u8, Refusal> {
        match handle {
            _ if handle == AddressSpaceHandle::CURRENT.0 => Ok(self.current),
            _ if handle == AddressSpaceHandle::FIRST.0 => Ok(0),
            _ => match self.look(handle, 1)? {
                (_, Named::Space(slot)) => Ok(*slot),
                _ => Err(refusal(Code::WrongKind, 1, Reason::None)),
            },
        }
    }

    /// Returns the VM that argument 1 names.
    pub(crate) fn peer(&self, handle: Handle) -> Result<usize, Refusal> {
        match self.look(handle, 1)? {
            (_, Named::Peer(peer)) => Ok(*peer),
            _ => Err(refusal(Code::WrongKind, 1, Reason::None)),
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.named, Named::Nothing))
    }

    /// Puts `named` into the first free entry, whose generation counts up (SPEC 14.5).
    pub(crate) fn put(&mut self, named: Named) -> usize {
        let free = self.entries.iter().position(|entry| matches!(entry.named, Named::Nothing)).expect("there is room");
        self.entries[free] = Entry { generation: self.entries[free].generation + 1, named };
        free
    }

    pub(crate) fn remove(&mut self, index: usize) {
        self.entries[index].named = Named::Nothing;
    }

    pub(crate) fn mems(&self) -> impl Iterator<Item = (usize, &Mem)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| Some((index, entry.named.mem()?)))
    }

    pub(crate) fn shares(&self) -> impl Iterator<Item = (usize, &Share)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| Some((index, entry.named.share()?)))
    }
}

impl Model {
    /// Returns the pages of an object that are mapped, in all address spaces; those that wait for their invalidation are.
    pub(crate) fn mapped(&self, object: usize) -> u64 {
        let Object { first, pages, .. } = self.objects[object];
        let spaces = self.vms.iter().flat_map(|vm| vm.spaces.iter().flatten());
        spaces.flat_map(Space::frames).filter(|frame| frame.in_part(first, pages).is_some()).count() as u64
    }

    /// Returns the pages on the account of `vm`.
    pub(crate) fn used(&self, vm: usize) -> u64 {
        let owned = self.objects.iter().filter(|object| object.owner == Some(vm) && !object.is_gone);
        let tables = self.vms[vm].spaces.iter().flatten().map(Space::tables);
        self.fixed + tables.sum::<u64>() + owned.map(|object| object.pages).sum::<u64>()
    }

    pub(crate) fn left(&self, vm: usize) -> u64 {
        self.quota - self.used(vm)
    }
}
