//! AS: what `NO_SYNC` leaves to be done, and what completes it.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};

use crate::memory_calls::{HOLE, R, RAM, W, map};
use crate::plan::{DATA, Guest, System};
use crate::space_calls::{FIRST, WINDOW, create, destroy, one};
use crate::stage::Story;
use crate::talk::A;

/// Pages of the VM's memory that count as mapped.
fn mapped(s: &mut Story) -> u64 {
    let mut none = strato_hyp::lock::Held::for_example();
    let (pool, _held) = s.machine.memory.lock(&mut none);
    pool.allocator.audit().unwrap().mapped
}

#[test]
fn pages_unmapped_without_sync_are_in_use_until_sync() {
    let mut s = one(1);
    let before = mapped(&mut s);
    s.call(A, Call::AsMap, &map(HOLE, 0x3000, 8, R | W));
    assert_eq!(s.call(A, Call::AsUnmap, &[0, HOLE, 3, 1])[..2], [0, 3]);
    assert_eq!(s.call(A, Call::AsUnmap, &[0, HOLE + 0x4000, 1, 1])[..2], [0, 1]);
    assert_eq!(mapped(&mut s), before + 8);
    assert_eq!(s.refused(A, Call::AsQuery, &[0, HOLE]), (Code::NotMapped, 2, Reason::None));
    assert_eq!(s.refused(A, Call::AsUnmap, &[0, HOLE, 1, 1]), (Code::NotMapped, 2, Reason::None), "repeated");
    s.call(A, Call::AsSync, &[0]);
    assert_eq!(mapped(&mut s), before + 4);
    s.call(A, Call::AsSync, &[FIRST]);
    assert_eq!(mapped(&mut s), before + 4, "repeated");
    s.close();
}

#[test]
fn a_call_on_the_space_that_needs_it_completes_what_was_left() {
    let calls: [(Call, &[u64]); 4] = [
        (Call::AsMap, &[0, HOLE, RAM, 0x5000, 1, R]),
        (Call::AsUnmap, &[0, HOLE + 0x7000, 1, 0]),
        (Call::AsProtect, &[0, HOLE + 0x7000, 1, R, 0]),
        (Call::AsUnmap, &[0, HOLE + 0x7000, 1, 1]),
    ];
    for (n, (call, arguments)) in (0u64..).zip(calls) {
        let mut s = one(1);
        s.call(A, Call::AsMap, &map(HOLE, 0x3000, 8, R | W));
        let before = mapped(&mut s);
        s.call(A, Call::AsUnmap, &[0, HOLE, 2, 1]);
        assert_eq!(mapped(&mut s), before);
        assert_eq!(s.call(A, call, arguments)[1], 1, "{}", call.name());
        // MAP adds one, UNMAP takes one; the last leaves both calls to be completed.
        assert_eq!(mapped(&mut s), before - [1, 3, 2, 0][n as usize], "{}", call.name());
        s.close();
    }
}

#[test]
fn more_than_128_entries_complete_what_was_left_before() {
    let mut s = Story::new(&System::new([Guest { ram_pages: 256, quota: 400, ..Guest::new("a") }]));
    s.call(A, Call::AsMap, &map(HOLE + 0x1000, 0, 128, R));
    s.call(A, Call::AsMap, &map(HOLE + 0x8_1000, 0x8_0000, 128, R));
    let before = mapped(&mut s);
    assert_eq!(s.call(A, Call::AsUnmap, &[0, HOLE + 0x1000, 100, 1])[1], 100);
    assert_eq!(mapped(&mut s), before);
    assert_eq!(s.call(A, Call::AsUnmap, &[0, HOLE + 0x8_1000, 29, 1])[1], 29);
    assert_eq!(mapped(&mut s), before - 100);
    s.call(A, Call::AsSync, &[0]);
    assert_eq!(mapped(&mut s), before - 129);
    s.close();
}

#[test]
fn one_space_of_a_vm_at_a_time_has_something_left() {
    let mut s = one(1);
    let other = create(&mut s);
    s.call(A, Call::AsMap, &map(HOLE, 0x3000, 8, R));
    s.call(A, Call::AsMap, &[other, HOLE, RAM, 0x3000, 8, R]);
    let before = mapped(&mut s);
    s.call(A, Call::AsUnmap, &[0, HOLE, 8, 1]);
    s.call(A, Call::AsUnmap, &[other, HOLE, 4, 1]);
    assert_eq!(mapped(&mut s), before - 8);
    assert_eq!(destroy(&mut s, other).1, 8 + WINDOW, "what was left is unmapped by the end of the space");
    assert_eq!(mapped(&mut s), before - 16);
    s.close();
}

#[test]
fn permissions_without_sync_are_refused_and_granted_as_with_it() {
    let mut s = one(1);
    assert_eq!(s.call(A, Call::AsProtect, &[0, DATA, 1, R, 1])[..2], [0, 1]);
    assert_eq!(s.ask(A, Call::AsQuery, &[0, DATA]).unwrap()[3], R);
    s.call(A, Call::AsSync, &[0]);
    assert_eq!(s.call(A, Call::AsProtect, &[0, DATA, 1, R | W, 1])[1], 1);
    assert_eq!(s.refused(A, Call::AsProtect, &[0, HOLE, 1, R, 1]), (Code::NotMapped, 2, Reason::None));
    s.close();
}
