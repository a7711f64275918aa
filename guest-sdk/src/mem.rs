//! Group MEM: memory objects. One function per call.

use strato_abi::MemHandle;
use strato_abi::call::{MemAlloc, MemFree, MemInfo, MemSplit};
use strato_abi::mem::{MemState, MemoryType};

use crate::conduit::wrappers;

/// What a step of MEM.ALLOC did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocated {
    /// The object, once all of it is zeroed.
    pub mem: Option<MemHandle>,
    /// Pages that this step zeroed.
    pub done: u64,
}

/// What a call that is repeated until nothing is left did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is left, in the unit of the call; 0 when it is finished.
    pub left: u64,
    /// Pages that this step worked on.
    pub done: u64,
}

/// What MEM.INFO tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// Pages.
    pub pages: u64,
    /// How this VM stands to it; bits of later versions are dropped.
    pub state: MemState,
    /// Pages of the whole object that are mapped, in all address spaces of all VMs.
    pub mapped: u64,
}

wrappers! {
    /// Does a step towards a new object of `pages` pages, which are zeroed in parts (MEM.ALLOC).
    ///
    /// # Errors
    /// `INVALID` no power of two or too many; `QUOTA`, `NO_MEMORY`, `FULL`; `BUSY` another object is under way.
    fn alloc(pages: u64, kind: MemoryType) -> Allocated = MemAlloc { pages, kind },
        |reply| Allocated { mem: (reply.mem.bits() != 0).then_some(MemHandle(reply.mem)), done: reply.done };
    /// Does a step towards giving `mem` back to the pool (MEM.FREE).
    ///
    /// # Errors
    /// `DENIED` not the owner; `BUSY` mapped, shared, or another object is under way; handle errors.
    fn free(mem: MemHandle) -> Step = MemFree { mem }, |reply| Step { left: reply.left, done: reply.done };
    /// Cuts `mem` at `offset`, half of its bytes, and returns the second half (MEM.SPLIT).
    ///
    /// # Errors
    /// `INVALID` not half; `DENIED` not the owner; `BUSY` mapped or shared; `STATE` being freed; `FULL`, `NO_MEMORY`, handle errors.
    fn split(mem: MemHandle, offset: u64) -> MemHandle = MemSplit { mem, offset }, |reply| reply.second;
    /// Returns what is known of `mem` (MEM.INFO).
    ///
    /// # Errors
    /// `STATE` it is being freed; handle errors.
    fn info(mem: MemHandle) -> Object = MemInfo { mem }, |reply| Object {
        pages: reply.pages,
        state: MemState::from_bits_truncate(reply.state),
        mapped: reply.mapped,
    };
}
