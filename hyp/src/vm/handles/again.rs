//! Again: what of a table of handles has to do with VMs that are made again.

use super::{Far, HandleTable};

impl HandleTable {
    /// Makes `generation` the one before the first of each entry of the table, which is empty: so the handles of a VM that was made
    /// again are none of those that it had before.
    pub fn begin_behind(&mut self, generation: u16) {
        self.entries.iter_mut().for_each(|entry| entry.generation = generation);
    }

    /// Makes the handles to the VM in `place` name this incarnation of it.
    pub fn renew_peers(&mut self, place: u8, incarnation: u32) {
        for index in self.peers.iter() {
            let entry = self.entries.get_mut(usize::from(index));
            if let Some(entry) = entry.filter(|entry| Far::unpack(entry.link).place == place) {
                entry.link = Far { place, incarnation, index: 0 }.pack();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use strato_abi::handle::Handle;

    use super::super::{HandleError, Object};
    use super::*;
    use crate::arch::backing;

    fn table() -> HandleTable {
        HandleTable::new(backing::ram(1, 1))
    }

    #[test]
    fn the_handles_of_another_life_are_stale() {
        let mut table = table();
        table.begin_behind(6);
        let handle = table.insert(Object::Port, 8).unwrap();
        assert_eq!(handle, Handle::new(0, 7));
        assert_eq!(table.port(Handle::new(0, 6)), Err(HandleError::Stale));
        assert_eq!(table.port(Handle::new(1, 6)), Err(HandleError::Stale), "one that is not in use");
        core::mem::forget(table.into_pages());
    }

    #[test]
    fn a_peer_is_named_again_and_no_other() {
        let mut table = table();
        let [other, peer] = [3, 4].map(|place| table.insert(Object::Peer { place, incarnation: 1 }, 8).unwrap());
        let port = table.insert(Object::Port, 8).unwrap();
        table.renew_peers(4, 9);
        assert_eq!(table.peer(peer).map(|far| (far.place, far.incarnation)), Ok((4, 9)));
        assert_eq!(table.peer(other).map(|far| (far.place, far.incarnation)), Ok((3, 1)));
        assert!(table.port(port).is_ok());
        core::mem::forget(table.into_pages());
    }
}
