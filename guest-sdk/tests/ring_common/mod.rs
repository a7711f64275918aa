//! Memory of a ring on a PC: it counts what is loaded and stored, refuses on demand, and ends the test at a word outside.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]
#![allow(dead_code, reason = "each test uses its part")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use strato_guest::memory::AccessError;
use strato_guest::ring::Memory;

pub(crate) const FORMAT: u64 = 8;
pub(crate) const SLOTS: u64 = 16;
pub(crate) const TAIL: u64 = 128;
pub(crate) const WANTED_HEAD: u64 = 136;
pub(crate) const HEAD: u64 = 256;
pub(crate) const WANTED_TAIL: u64 = 264;
pub(crate) const SLOTS_AT: u64 = 512;

/// Memory that both ends see.
#[derive(Clone, Debug)]
pub(crate) struct Page(Rc<State>);

#[derive(Debug)]
struct State {
    words: RefCell<Vec<u64>>,
    touched: RefCell<Vec<(bool, u64)>>,
    refuses: Cell<bool>,
}

impl Page {
    pub(crate) fn new(bytes: u64) -> Self {
        let words = RefCell::new(vec![0; usize::try_from(bytes / 8).unwrap()]);
        Self(Rc::new(State { words, touched: RefCell::default(), refuses: Cell::new(false) }))
    }
    /// Memory with room for `slots` messages of `words` words, and a bit more.
    pub(crate) fn of(slots: u64, words: u64) -> Self {
        Self::new(SLOTS_AT + slots * words * 8 + 8)
    }
    pub(crate) fn get(&self, at: u64) -> u64 {
        self.0.words.borrow()[usize::try_from(at / 8).unwrap()]
    }
    /// Writes a word as the far end does, or would like to.
    pub(crate) fn set(&self, at: u64, value: u64) {
        self.0.words.borrow_mut()[usize::try_from(at / 8).unwrap()] = value;
    }
    pub(crate) fn words(&self) -> u64 {
        self.0.words.borrow().len() as u64
    }
    pub(crate) fn refuse(&self, refuses: bool) {
        self.0.refuses.set(refuses);
    }
    /// Returns the loads (`false`) and stores of single words since it was last asked, in order.
    pub(crate) fn touched(&self) -> Vec<(bool, u64)> {
        self.0.touched.take()
    }
    fn touch(&self, store: bool, at: u64) -> Result<(), AccessError> {
        assert!(at.is_multiple_of(8));
        self.0.touched.borrow_mut().push((store, at));
        if self.0.refuses.get() { Err(AccessError::Outside) } else { Ok(()) }
    }
}

impl Memory for Page {
    fn bytes(&self) -> u64 {
        self.words() * 8
    }
    fn load(&self, at: u64, _: Ordering) -> Result<u64, AccessError> {
        self.touch(false, at)?;
        Ok(self.get(at))
    }
    fn store(&self, at: u64, value: u64, _: Ordering) -> Result<(), AccessError> {
        self.touch(true, at)?;
        self.set(at, value);
        Ok(())
    }
    fn read(&self, at: u64, into: &mut [u64]) -> Result<(), AccessError> {
        assert!(at >= SLOTS_AT, "messages are in the slots");
        if self.0.refuses.get() {
            return Err(AccessError::Outside);
        }
        let first = usize::try_from(at / 8).unwrap();
        into.copy_from_slice(&self.0.words.borrow()[first..first + into.len()]);
        Ok(())
    }
    fn write(&self, at: u64, from: &[u64]) -> Result<(), AccessError> {
        assert!(at >= SLOTS_AT, "messages are in the slots");
        if self.0.refuses.get() {
            return Err(AccessError::Outside);
        }
        let first = usize::try_from(at / 8).unwrap();
        self.0.words.borrow_mut()[first..first + from.len()].copy_from_slice(from);
        Ok(())
    }
    fn fence(&self) {}
}
