//! The entry that is kept for an object which is still being made, so that nothing else comes into it. Called by `vm`.

use strato_abi::handle::Handle;

use super::{HandleTable, Object};

impl HandleTable {
    /// Keeps the free entry `index` for the object that [`HandleTable::insert_kept`] brings.
    pub fn keep(&mut self, index: u16) {
        self.kept = Some(index);
        self.used.set(index, true);
    }

    /// Keeps no entry any more.
    pub fn keep_none(&mut self) {
        if let Some(index) = self.kept.take() {
            self.used.set(index, false);
        }
    }

    /// Puts `object` into the entry that was kept for it and returns its handle, or `None` when none was.
    pub fn insert_kept(&mut self, object: Object) -> Option<Handle> {
        let index = self.kept.take()?;
        self.insert_at(index, object)
    }
}
