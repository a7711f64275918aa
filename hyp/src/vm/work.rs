//! Work: the one object of a VM that is being zeroed or scrubbed, a part of it in each call.
//!
//! Stands in the VM, behind its lock, so that any of its vCPUs goes on where another stopped, and stopping the VM finds what
//! a guest left half done. Made by the calls of the groups MEM and SHARE; the frames come from and go to the allocator.

use strato_abi::Handle;
use strato_abi::handle::Rights;

use super::Inner;
use super::handles::{Flags, MemRef, Object};
use crate::allocator::{Account, AllocError, Allocator, Kind, MemId, Owner, Scrub};

/// What becomes of the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// An object of the VM, for which an entry of the handle table is kept.
    Object,
    /// The pool gets them.
    Pool {
        /// What still names them in the handle table; it goes with them.
        handle: Option<Handle>,
        /// Whether the hypervisor's account is refunded instead of the VM's.
        is_orphan: bool,
    },
}

/// Frames on their way.
#[must_use = "frames that are dropped are lost: finish the work"]
#[derive(Debug)]
pub struct Work {
    scrub: Scrub,
    goal: Goal,
}

impl Work {
    /// Returns the work that `scrub` is, to end as `goal` says.
    pub fn new(scrub: Scrub, goal: Goal) -> Self {
        Self { scrub, goal }
    }

    /// Returns whether this is the allocation of an object of `pages` pages.
    #[must_use]
    pub fn is_object_of(&self, pages: u64) -> bool {
        self.goal == Goal::Object && self.scrub.pages().count() as u64 == pages
    }

    /// Returns whether this gives back what `handle` names.
    #[must_use]
    pub fn gives_back(&self, handle: Handle) -> bool {
        matches!(self.goal, Goal::Pool { handle: Some(of), .. } if of == handle)
    }

    /// Returns how many pages are left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.scrub.left() as u64
    }

    /// Scrubs at most [`Scrub::FRAMES_PER_STEP`] pages more, and returns how many.
    pub fn step(&mut self) -> u64 {
        let before = self.left();
        self.scrub.step();
        before.saturating_sub(self.left())
    }
}

impl Inner {
    /// Begins the allocation of an object of `1 << order` pages, and keeps the free entry `entry` of the handle table for it.
    /// Nothing else is under way. Returns how many pages are to be zeroed.
    ///
    /// # Errors
    /// [`AllocError::Quota`], [`AllocError::NoMemory`]; nothing is under way then.
    pub fn begin_object(&mut self, order: u32, entry: u16, allocator: &mut Allocator) -> Result<u64, AllocError> {
        let scrub = allocator.begin_take(order, Kind::Mem, &mut self.account)?;
        let work = Work::new(scrub, Goal::Object);
        let left = work.left();
        self.handles.keep(entry);
        self.work = Some(work);
        Ok(left)
    }

    /// Ends the allocation whose pages are all zero. Returns the handle of the object.
    ///
    /// # Errors
    /// [`AllocError`] when no such allocation is at its end: a bug of the hypervisor.
    pub fn finish_object(&mut self, allocator: &mut Allocator) -> Result<Handle, AllocError> {
        let pages = self.work.take().ok_or(AllocError::Stale)?.scrub.finish().map_err(|_| AllocError::Busy)?;
        let (base, count) = (pages.pa(), pages.count() as u64);
        let id = allocator.mem_finish(pages).map_err(|_| AllocError::Busy)?;
        allocator.mem_add_reference(id)?;
        let rights = Rights::READ | Rights::WRITE | Rights::EXECUTE | Rights::OWNER;
        self.handles
            .insert_kept(Object::Mem(MemRef { id, base, pages: count, rights, flags: Flags::empty() }))
            .ok_or(AllocError::Busy)
    }

    /// Ends the work whose pages are all scrubbed: they go to the pool, whatever they were meant for, and the handle or the
    /// kept entry goes with them. `own` is the hypervisor's account.
    ///
    /// # Errors
    /// [`AllocError`] when no work is at its end: a bug of the hypervisor.
    pub fn finish_return(&mut self, allocator: &mut Allocator, own: &mut Account) -> Result<(), AllocError> {
        let Work { scrub, goal } = self.work.take().ok_or(AllocError::Stale)?;
        let pages = scrub.finish().map_err(|_| AllocError::Busy)?;
        let account = match goal {
            Goal::Pool { is_orphan: true, .. } => own,
            Goal::Pool { is_orphan: false, .. } | Goal::Object => &mut self.account,
        };
        match goal {
            Goal::Pool { handle: Some(handle), .. } => self.handles.remove(handle),
            Goal::Pool { handle: None, .. } => {}
            Goal::Object => self.handles.keep_none(),
        }
        allocator.give_back(pages, account).map_err(|_| AllocError::Busy)
    }

    /// Returns whether nobody but the VM holds the object: while its owner is being taken down, that one does too.
    fn is_last(&self, id: MemId, allocator: &Allocator) -> Result<bool, AllocError> {
        let info = allocator.mem_info(id).ok_or(AllocError::Stale)?;
        Ok(info.references <= 1 && info.owner == Owner::Hypervisor)
    }

    /// Checks, before anything is unmapped for it, that [`Inner::let_go`] is not refused.
    ///
    /// # Errors
    /// [`AllocError::Busy`] while another object is under way and this one would have to be scrubbed. [`AllocError::Stale`].
    pub fn check_let_go(&self, handle: Handle, id: MemId, allocator: &Allocator) -> Result<(), AllocError> {
        let waits = self.work.as_ref().is_some_and(|work| !work.gives_back(handle)) && self.is_last(id, allocator)?;
        if waits { Err(AllocError::Busy) } else { Ok(()) }
    }

    /// Lets go of memory that `handle` names and whose owner has ended, and does the next step when the VM was the last to
    /// hold it. Returns whether nothing is left to be done.
    ///
    /// # Errors
    /// [`AllocError::Busy`] while another object is under way: nothing changed then. [`AllocError::Stale`].
    pub fn let_go(
        &mut self,
        handle: Handle,
        id: MemId,
        allocator: &mut Allocator,
        own: &mut Account,
    ) -> Result<bool, AllocError> {
        if !self.work.as_ref().is_some_and(|work| work.gives_back(handle)) {
            if !self.is_last(id, allocator)? {
                return allocator.mem_drop_reference(id).map(|_| true);
            }
            if self.work.is_some() {
                return Err(AllocError::Busy);
            }
            let goal = Goal::Pool { handle: Some(handle), is_orphan: true };
            self.work = Some(Work::new(allocator.mem_free_held(id, own)?, goal));
        }
        let work = self.work.as_mut().ok_or(AllocError::Stale)?;
        work.step();
        if work.left() != 0 {
            return Ok(false);
        }
        self.finish_return(allocator, own).map(|()| true)
    }
}
