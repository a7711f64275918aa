//! The table of handles: what is refused, and what comes back out of an entry.

use super::*;
use crate::allocator::MemId;
use crate::arch::backing;
use crate::arch::ram::Pa;
use std::mem::ManuallyDrop;
use strato_abi::Rights;
use strato_abi::address_space::Attributes;
use strato_abi::share::{ShareState, Steps, Terms, Verb};

fn table() -> ManuallyDrop<HandleTable> {
    ManuallyDrop::new(HandleTable::new(backing::ram(1, 1)))
}

const PEER: Object = Object::Peer { place: 3, incarnation: 9 };

#[test]
fn the_handle_zero_names_nothing() {
    let mut table = table();
    assert_eq!(table.peer(Handle::from_bits(0)), Err(HandleError::Bad));
    let first = table.insert(PEER, 4).unwrap();
    assert_eq!(first, Handle::new(0, 1));
    assert_eq!(table.peer(Handle::from_bits(0)), Err(HandleError::Bad));
}

#[test]
fn a_handle_of_another_kind_is_refused() {
    let mut table = table();
    let peer = table.insert(PEER, 4).unwrap();
    assert_eq!(table.peer(peer), Ok(Far { place: 3, incarnation: 9, index: 0 }));
    assert_eq!(table.port(peer), Err(HandleError::WrongKind));
    assert_eq!(table.mem(peer), Err(HandleError::WrongKind));
}

#[test]
fn a_handle_is_stale_once_its_entry_was_freed_and_stays_so_when_it_is_used_again() {
    let mut table = table();
    let old = table.insert(PEER, 1).unwrap();
    table.remove(old);
    assert_eq!(table.peer(old), Err(HandleError::Stale));
    let new = table.insert(Object::Port, 1).unwrap();
    assert_eq!(table.port(old), Err(HandleError::Stale));
    assert_eq!((new.index(), new.generation()), (0, 2));
    assert_eq!(table.peer(Handle::new(0, 3)), Err(HandleError::Stale));
    assert_eq!(table.peer(Handle::new(200, 1)), Err(HandleError::Bad));
}

#[test]
fn a_full_table_takes_no_more() {
    let mut table = table();
    table.insert(PEER, 2).unwrap();
    table.insert(PEER, 2).unwrap();
    assert_eq!(table.insert(PEER, 2), Err(HandleError::Full(2)));
}

fn mem(base: u64) -> MemRef {
    let id = MemId::from_parts(0xabcd, 0x1234_5678_9abc_def0);
    let rights = Rights::READ | Rights::EXECUTE | Rights::OWNER;
    MemRef { id, base: Pa::new(base).unwrap(), pages: 1 << 18, rights, flags: Flags::LENT }
}

const FAR: Far = Far { place: 63, incarnation: (1 << 30) - 1, index: 1023 };

fn share() -> ShareRef {
    let MemRef { id, base, pages, .. } = mem(0x4000_0000);
    let terms = Terms { verb: Verb::Donate, rights: Attributes::READ | Attributes::EXECUTE };
    ShareRef {
        id,
        base,
        pages,
        far: FAR,
        tag: u64::MAX,
        terms,
        mem: Handle::new(9, 0xffff),
        state: ShareState::Asked,
        cursor: (3, 1 << 18),
    }
}

#[test]
fn every_kind_of_object_comes_back_out_of_its_entry() {
    let mut table = table();
    let own = table.insert(Object::Mem(mem(0x4000_0000)), 9).unwrap();
    let borrowed = table.insert(Object::Borrowed(mem(0x8000_0000), FAR), 9).unwrap();
    let offer = table.insert(Object::Share(share()), 9).unwrap();
    let space = table.insert(Object::Space(7), 9).unwrap();
    assert_eq!(table.mem(own), Ok(mem(0x4000_0000)));
    let flags = Flags::LENT | Flags::BORROWED;
    assert_eq!(table.mem(borrowed), Ok(MemRef { flags, ..mem(0x8000_0000) }));
    assert_eq!(table.share(offer), Ok(share()));
    assert_eq!(table.space(space), Ok(7));
    assert_eq!([own, borrowed, offer, space].map(|h| table.far(h.index())), [None, Some(FAR), Some(FAR), None]);
    let kinds = [own, borrowed, offer, space].map(|h| table.kind(h).unwrap());
    assert_eq!(kinds, [Kind::Mem, Kind::Mem, Kind::Share, Kind::AddressSpace]);
    assert_eq!(table.find_mem(mem(0).id, Pa::new(0x8000_1000).unwrap(), 9).map(|(handle, _)| handle), Some(borrowed));
    assert_eq!((table.space(own), table.share(space)), (Err(HandleError::WrongKind), Err(HandleError::WrongKind)));
}

#[test]
fn what_changes_in_an_entry_leaves_its_binding_and_ranges() {
    let mut table = table();
    let borrowed = table.insert(Object::Borrowed(mem(0x8000_0000), FAR), 9).unwrap().index();
    let offer = table.insert(Object::Share(share()), 9).unwrap().index();
    let (port, range) = (Handle::new(3, 5), Range { space: 1, first: 7, pages: 9 });
    table.bind(borrowed, port, Steps::ASKED | Steps::ENDED);
    let ranges = table.ranges(borrowed).with(range).unwrap();
    table.set_ranges(borrowed, ranges);
    table.flag(borrowed, Flags::REVOKED, Flags::LENT);
    assert_eq!(table.mem_at(borrowed).unwrap().flags, Flags::BORROWED | Flags::REVOKED);
    assert_eq!(table.bound(borrowed, Steps::ENDED), Some(port));
    assert_eq!(table.bound(borrowed, Steps::REVOKED), None);
    table.trim(Range { space: 1, first: 7, pages: 8 });
    assert_eq!(table.ranges(borrowed), ranges, "a revoke that is under way counts in them");
    table.flag(borrowed, Flags::OVER, Flags::empty());
    table.trim(Range { space: 1, first: 7, pages: 8 });
    assert_eq!(table.ranges(borrowed).iter().collect::<Vec<_>>(), [Range { space: 1, first: 15, pages: 1 }]);
    table.bind(offer, port, Steps::ACCEPTED);
    let mut view = table.share_mut(offer).unwrap();
    view.set_state(ShareState::Revoked);
    view.set_far(Far { index: 5, ..FAR });
    view.set_cursor((4, 77));
    assert_eq!((view.state(), view.far().index, view.cursor()), (Some(ShareState::Revoked), 5, (4, 77)));
    let (_, changed) = table.share_at(offer).unwrap();
    let far = Far { index: 5, ..FAR };
    assert_eq!(changed, ShareRef { state: ShareState::Revoked, far, cursor: (4, 77), ..share() });
    assert_eq!(table.bound(offer, Steps::ACCEPTED), Some(port));
    table.bind(offer, port, Steps::empty());
    assert_eq!(table.bound(offer, Steps::ACCEPTED), None);
}

#[test]
fn a_view_of_an_entry_says_what_the_whole_of_it_does() {
    let mut table = table();
    let own = table.insert(Object::Mem(MemRef { flags: Flags::empty(), ..mem(0x4000_0000) }), 9).unwrap();
    let flags = Flags::empty();
    let borrowed = table.insert(Object::Borrowed(MemRef { flags, pages: 2, ..mem(0x8000_0000) }, FAR), 9).unwrap();
    let offer = table.insert(Object::Share(share()), 9).unwrap();
    let view = table.share_mut(offer.index()).unwrap();
    let ShareRef { id, base, pages, far, tag, terms, mem: handle, state, cursor } = share();
    assert_eq!((view.id(), view.pages(), view.far(), view.tag()), (id, pages, far, tag));
    assert_eq!((view.rights(), view.verb(), view.own()), (terms.rights, terms.verb, handle));
    assert_eq!((view.state(), view.cursor()), (Some(state), cursor));
    let rights = Rights::READ;
    assert_eq!(view.mem(rights, Flags::BORROWED), MemRef { id, base, pages, rights, flags: Flags::BORROWED });
    assert!(table.share_mut(own.index()).is_none() && table.borrowed_mut(own.index()).is_none());
    assert!(table.plain_borrowed(own).is_none() && table.plain_mem(borrowed).is_none());
    let view = table.plain_borrowed(borrowed).unwrap();
    assert_eq!((view.mem().id(), view.mem().rights()), (mem(0).id, mem(0).rights));
    let held = [0x7fff_f000, 0x8000_0000, 0x8000_1fff, 0x8000_2000].map(|pa| view.mem().holds(Pa::new(pa).unwrap()));
    assert_eq!(held, [false, true, true, false]);
    table.flag(borrowed.index(), Flags::FREEING, Flags::empty());
    assert!(table.plain_borrowed(borrowed).is_none() && table.borrowed_mut(borrowed.index()).is_some());
    table.remove(borrowed);
    assert!(table.plain_borrowed(borrowed).is_none() && table.borrowed_mut(borrowed.index()).is_none());
}

#[test]
fn an_offer_is_found_by_the_vm_that_it_is_made_to_while_it_is_open_and_by_nobody_else() {
    let (mut table, to) = (table(), Far { index: 0, ..FAR });
    let other = Far { place: 1, ..to };
    let offered = |table: &mut HandleTable, handle| table.offer(handle, to).map(|share| share.index());
    let objects = [other, to, to].map(|far| ShareRef { state: ShareState::Offered, far, ..share() });
    let [theirs, first, second] = objects.map(|share| table.insert(Object::Share(share), 9).unwrap());
    assert_eq!((table.first_offer(to), table.first_offer(other)), (Some(first), Some(theirs)));
    assert_eq!((offered(&mut table, second), offered(&mut table, theirs)), (Some(second.index()), None));
    assert_eq!(table.first_offer(Far { incarnation: 3, ..to }), None);
    assert_eq!(offered(&mut table, Handle::new(second.index(), 2)), None, "of another generation");
    assert_eq!(offered(&mut table, Handle::new(999, 1)), None, "past the end");
    table.share_mut(first.index()).unwrap().set_state(ShareState::Accepted);
    assert_eq!((offered(&mut table, first), table.first_offer(to)), (None, Some(second)));
    table.remove(second);
    assert_eq!((offered(&mut table, second), table.first_offer(to)), (None, None));
}

#[test]
fn entries_are_found_by_their_kind_until_they_are_freed() {
    let mut table = ManuallyDrop::new(HandleTable::new(backing::ram(16, 16)));
    for n in 0..200 {
        let object = if n % 3 == 0 { Object::Share(share()) } else { PEER };
        table.insert(object, 1024).unwrap();
    }
    let object = || Object::Borrowed(mem(0x8000_0000), FAR);
    assert!(table.insert_where(object(), 1024, |index| index > 1000).is_err(), "a call does not look that far");
    let borrowed = table.insert_where(object(), 1024, |index| index > 210).unwrap();
    assert_eq!(table.shares().count(), 67);
    assert!(table.peers().all(|index| index % 3 != 0) && table.peers().count() == 133);
    assert!(!table.has_borrowed());
    let range = Range { space: 1, first: 7, pages: 9 };
    table.set_ranges(211, Ranges::default().with(range).unwrap());
    assert!(table.has_borrowed());
    table.remove(borrowed);
    assert!(!table.has_borrowed());
    let offers: Vec<_> = table.offers_to(FAR.place, FAR.incarnation).collect();
    assert_eq!(offers, [], "they were asked for already");
    table.share_mut(3).unwrap().set_state(ShareState::Offered);
    assert_eq!(table.offers_to(FAR.place, FAR.incarnation).collect::<Vec<_>>(), [3]);
    assert_eq!(table.offers_to(FAR.place, FAR.incarnation - 1).count(), 0);
}
