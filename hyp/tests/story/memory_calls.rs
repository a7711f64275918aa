//! AS: what a guest may map, unmap, protect and ask, and each way in which it is refused.

use strato_abi::Call;
use strato_abi::addr::{EVENT_AREA, INFO_PAGE, VCPU_AREA, WINDOW_BASE, WINDOW_SIZE};
use strato_abi::error::{Code, Reason};
use strato_abi::plan::VM_JIT;

use crate::plan::{CODE, DATA, Guest, SHARED, System};
use crate::stage::Story;
use crate::talk::{A, B, handle};

pub(crate) const RAM: u64 = 1 << 16;
/// Nothing is mapped from here on.
pub(crate) const HOLE: u64 = 0x6000_0000;
pub(crate) const R: u64 = 1;
pub(crate) const W: u64 = 2;
const X: u64 = 4;

fn one() -> Story {
    Story::new(&System::one(1))
}

pub(crate) fn map(address: u64, offset: u64, pages: u64, attributes: u64) -> [u64; 6] {
    [0, address, RAM, offset, pages, attributes]
}

#[test]
fn a_page_is_mapped_queried_protected_and_unmapped() {
    let mut s = one();
    assert_eq!(s.call(A, Call::AsMap, &map(HOLE, 0x4000, 2, R | W))[..2], [3, 2]);
    let x = s.ask(A, Call::AsQuery, &[0, HOLE + 0x1fff]).unwrap();
    assert_eq!(x[..6], [0, RAM, 0x5000, R | W, 3, 0]);
    assert_eq!(s.call(A, Call::AsProtect, &[0, HOLE, 2, R, 0])[..2], [0, 2]);
    assert_eq!(s.ask(A, Call::AsQuery, &[0, HOLE]).unwrap()[3], R);
    assert_eq!(s.call(A, Call::AsUnmap, &[0, HOLE, 2, 0])[..2], [0, 2]);
    assert_eq!(s.refused(A, Call::AsQuery, &[0, HOLE]), (Code::NotMapped, 2, Reason::None));
    s.close();
}

#[test]
fn an_object_may_be_mapped_at_several_addresses() {
    let mut s = one();
    for n in 0..4 {
        s.call(A, Call::AsMap, &map(HOLE + (n << 30), 0, 16, R));
    }
    s.close();
}

#[test]
fn a_call_works_on_its_bound_and_the_caller_repeats_with_the_rest() {
    let mut s = Story::new(&System::new([Guest { ram_pages: 256, quota: 400, ..Guest::new("a") }]));
    assert_eq!(s.call(A, Call::AsMap, &map(HOLE + 0x1000, 0, 256, R))[..2], [3, 128]);
    assert_eq!(s.call(A, Call::AsMap, &map(HOLE + 0x8_1000, 0x8_0000, 128, R))[..2], [3, 128]);
    assert_eq!(s.call(A, Call::AsProtect, &[0, HOLE + 0x1000, 256, R, 0])[..2], [0, 128]);
    assert_eq!(s.call(A, Call::AsUnmap, &[0, HOLE + 0x1000, 256, 0])[..2], [0, 128]);
    assert_eq!(s.call(A, Call::AsUnmap, &[0, HOLE + 0x8_1000, 128, 0])[..2], [0, 128]);
    s.close();
}

#[test]
fn an_interrupt_that_waits_ends_a_call_early_with_what_is_done() {
    let mut s = Story::new(&System::new([Guest { ram_pages: 128, quota: 400, ..Guest::new("a") }]));
    strato_hyp::arch::set_interrupt_pending(true);
    let done = s.call(A, Call::AsMap, &map(HOLE, 0, 128, R))[1];
    strato_hyp::arch::set_interrupt_pending(false);
    assert!((1..128).contains(&done), "{done}");
    s.call(A, Call::AsUnmap, &[0, HOLE, done, 0]);
    s.close();
}

#[test]
fn blocks_are_used_where_they_fit_and_split_where_they_must() {
    let mut system = System::new([Guest { ram_pages: 1024, quota: 2000, ..Guest::new("a") }]);
    system.frames = 4096;
    let mut s = Story::new(&system);
    assert_eq!(s.call(A, Call::AsMap, &map(HOLE, 0, 1024, R | W))[..2], [2, 1024]);
    assert_eq!(s.call(A, Call::AsUnmap, &[0, HOLE + 0x3000, 1, 0])[1], 1);
    let x = s.ask(A, Call::AsQuery, &[0, HOLE]).unwrap();
    assert_eq!((x[3], x[4]), (R | W, 3), "the rest of the block is pages now");
    assert_eq!(s.ask(A, Call::AsQuery, &[0, HOLE + (2 << 20)]).unwrap()[4], 2);
    assert_eq!(s.call(A, Call::AsUnmap, &[0, HOLE + (2 << 20), 512, 0])[1], 512, "a whole block is one unit");
    s.close();
}

#[test]
fn a_handle_that_names_no_address_space_is_refused() {
    let mut s = one();
    for (space, why) in [(1, Code::BadHandle), (u64::from(u32::MAX), Code::BadHandle), (RAM, Code::WrongKind)] {
        assert_eq!(s.refused(A, Call::AsMap, &[space, HOLE, RAM, 0, 1, R]), (why, 1, Reason::None));
        assert_eq!(s.refused(A, Call::AsUnmap, &[space, CODE, 1, 0]), (why, 1, Reason::None));
        assert_eq!(s.refused(A, Call::AsProtect, &[space, CODE, 1, R, 0]), (why, 1, Reason::None));
        assert_eq!(s.refused(A, Call::AsQuery, &[space, CODE]), (why, 1, Reason::None));
        for call in [Call::AsSwitch, Call::AsSync, Call::AsDestroy] {
            assert_eq!(s.refused(A, call, &[space]), (why, 1, Reason::None), "{}", call.name());
        }
    }
    assert_eq!(s.refused(A, Call::AsMap, &[1 << 32, HOLE, RAM, 0, 1, R]), (Code::Invalid, 1, Reason::TooLarge));
    s.close();
}

/// Each call on a range, with its arguments for `pages` pages at `address`; the register of the number of pages.
fn ranges(address: u64, pages: u64) -> [(Call, Vec<u64>, usize); 3] {
    [
        (Call::AsMap, map(address, 0, pages, R).to_vec(), 5),
        (Call::AsUnmap, vec![0, address, pages, 0], 3),
        (Call::AsProtect, vec![0, address, pages, R, 0], 3),
    ]
}

#[test]
fn a_range_of_no_pages_is_refused() {
    let mut s = one();
    for (call, arguments, register) in ranges(HOLE, 0) {
        assert_eq!(s.refused(A, call, &arguments), (Code::Invalid, register, Reason::TooSmall), "{}", call.name());
    }
    s.close();
}

#[test]
fn an_address_inside_a_page_or_beyond_the_space_is_refused() {
    let mut s = one();
    for low in [1, 8, 0xfff] {
        for (call, arguments, _) in ranges(HOLE + low, 1) {
            assert_eq!(s.refused(A, call, &arguments), (Code::Misaligned, 2, Reason::Misaligned), "{}", call.name());
        }
    }
    for bit in 39..64 {
        for (call, arguments, _) in ranges(HOLE | 1 << bit, 1) {
            assert_eq!(s.refused(A, call, &arguments), (Code::BadAddress, 2, Reason::TooLarge), "{}", call.name());
        }
        assert_eq!(s.refused(A, Call::AsQuery, &[0, 1 << bit]), (Code::BadAddress, 2, Reason::TooLarge));
    }
    s.close();
}

#[test]
fn a_range_that_passes_the_end_of_the_space_is_refused() {
    let mut s = one();
    let last = (1 << 39) - 0x1000;
    for pages in [2, 1 << 27, 1 << 52, 1 << 63, u64::MAX] {
        for (call, arguments, register) in ranges(last, pages) {
            assert_eq!(s.refused(A, call, &arguments), (Code::Overflow, register, Reason::PastEnd), "{}", call.name());
        }
    }
    s.close();
}

#[test]
fn page_zero_and_the_window_belong_to_nobody() {
    let mut s = one();
    let window = [WINDOW_BASE, INFO_PAGE, VCPU_AREA, EVENT_AREA, WINDOW_BASE + WINDOW_SIZE - 0x1000];
    for (address, pages) in window.into_iter().map(|at| (at, 1)).chain([(0, 1), (WINDOW_BASE - 0x1000, 2)]) {
        for (call, arguments, _) in ranges(address, pages) {
            assert_eq!(s.refused(A, call, &arguments), (Code::BadAddress, 2, Reason::Reserved), "{}", call.name());
        }
    }
    for address in [INFO_PAGE, VCPU_AREA + 8, EVENT_AREA + 0xfff] {
        assert_eq!(s.refused(A, Call::AsQuery, &[0, address]), (Code::BadAddress, 2, Reason::Reserved));
    }
    s.close();
}

#[test]
fn a_mapping_is_refused_outside_its_object_or_inside_a_page_of_it() {
    let mut s = one();
    assert_eq!(s.refused(A, Call::AsMap, &map(HOLE, 0x800, 1, R)), (Code::Misaligned, 4, Reason::Misaligned));
    for (offset, pages) in [(0x1_0000, 1), (0xf000, 2), (0, 17), (1 << 63, 1), (u64::MAX << 12, 1)] {
        assert_eq!(s.refused(A, Call::AsMap, &map(HOLE, offset, pages, R)), (Code::Overflow, 4, Reason::PastEnd));
    }
    s.close();
}

#[test]
fn what_is_mapped_is_never_mapped_over() {
    let mut s = one();
    assert_eq!(s.refused(A, Call::AsMap, &map(CODE, 0, 1, R)), (Code::Exists, 2, Reason::None));
    assert_eq!(s.refused(A, Call::AsMap, &map(CODE + 0x1000, 0, 2, R)), (Code::Exists, 2, Reason::None));
    assert_eq!(s.refused(A, Call::AsQuery, &[0, CODE + 0x1000]).0, Code::NotMapped, "nothing was done");
    s.close();
}

#[test]
fn a_hole_in_a_range_is_refused_and_nothing_is_done() {
    let mut s = one();
    let range = [0, CODE, 3, 0];
    assert_eq!(s.refused(A, Call::AsUnmap, &range), (Code::NotMapped, 2, Reason::None));
    assert_eq!(s.refused(A, Call::AsProtect, &[0, CODE, 3, R, 0]).0, Code::NotMapped);
    assert_eq!(s.ask(A, Call::AsQuery, &[0, CODE]).unwrap()[3], R | X);
    assert_eq!(s.ask(A, Call::AsQuery, &[0, DATA]).unwrap()[3], R | W);
    s.close();
}

#[test]
fn attributes_without_reading_or_with_writing_and_execution_are_refused() {
    let mut s = one();
    s.call(A, Call::AsMap, &map(HOLE, 0, 1, R));
    for attributes in [0, W, X, W | X] {
        let why = s.refused(A, Call::AsMap, &map(HOLE + 0x1000, 0, 1, attributes));
        assert_eq!(why, (Code::BadAttribute, 6, Reason::TooSmall));
        let why = s.refused(A, Call::AsProtect, &[0, HOLE, 1, attributes, 0]);
        assert_eq!(why, (Code::BadAttribute, 4, Reason::TooSmall));
    }
    let why = s.refused(A, Call::AsMap, &map(HOLE + 0x1000, 0, 1, R | W | X));
    assert_eq!(why, (Code::BadAttribute, 6, Reason::WriteExecute));
    let why = s.refused(A, Call::AsProtect, &[0, HOLE, 1, R | W | X, 0]);
    assert_eq!(why, (Code::BadAttribute, 4, Reason::WriteExecute));
    s.close();
}

#[test]
fn a_manifest_can_allow_writing_with_execution() {
    let mut s = Story::new(&System::new([Guest { flags: VM_JIT, ..Guest::new("a") }]));
    s.call(A, Call::AsMap, &map(HOLE, 0, 1, R | W | X));
    assert_eq!(s.ask(A, Call::AsQuery, &[0, HOLE]).unwrap()[3], R | W | X);
    s.close();
}

#[test]
fn reserved_bits_are_refused() {
    let mut s = one();
    for bit in 3..64 {
        let wide = R | 1 << bit;
        assert_eq!(s.refused(A, Call::AsMap, &map(HOLE, 0, 1, wide)), (Code::Invalid, 6, Reason::ReservedBits));
        assert_eq!(s.refused(A, Call::AsProtect, &[0, CODE, 1, wide, 0]), (Code::Invalid, 4, Reason::ReservedBits));
    }
    for bit in 1..64 {
        assert_eq!(s.refused(A, Call::AsUnmap, &[0, CODE, 1, 1 << bit]), (Code::Invalid, 4, Reason::ReservedBits));
        assert_eq!(s.refused(A, Call::AsProtect, &[0, CODE, 1, R, 1 << bit]), (Code::Invalid, 5, Reason::ReservedBits));
    }
    s.close();
}

#[test]
fn a_handle_that_names_no_memory_maps_nothing() {
    let mut s = Story::new(&System::pair(Guest::new("a"), Guest::new("b")));
    for (mem, code) in [
        (0, Code::BadHandle),
        (handle(9), Code::BadHandle),
        (RAM + (1 << 16), Code::Stale),
        (handle(1), Code::WrongKind),
        (handle(2), Code::WrongKind),
    ] {
        assert_eq!(s.refused(A, Call::AsMap, &[0, HOLE, mem, 0, 1, R]), (code, 3, Reason::None));
    }
    assert_eq!(s.refused(A, Call::AsMap, &[0, HOLE, 1 << 32, 0, 1, R]), (Code::Invalid, 3, Reason::TooLarge));
    s.close();
}

#[test]
fn rights_of_a_handle_bound_what_is_mapped_and_protected() {
    let mut system = System::new([Guest::new("a"), Guest::new("b")]);
    system.share(0, 2, &[(0, 3 | 8), (1, 1)]);
    let mut s = Story::new(&system);
    let region = handle(1);
    assert_eq!(s.ask(B, Call::AsQuery, &[0, SHARED]).unwrap()[..4], [0, region, 0, R]);
    assert_eq!(s.refused(B, Call::AsMap, &[0, HOLE, region, 0, 1, R | W]), (Code::Denied, 6, Reason::NoRight));
    assert_eq!(s.refused(B, Call::AsProtect, &[0, SHARED, 1, R | W, 0]), (Code::Denied, 4, Reason::NoRight));
    assert_eq!(s.refused(A, Call::AsMap, &[0, HOLE, region, 0, 1, R | X]), (Code::Denied, 6, Reason::NoRight));
    assert_eq!(s.refused(A, Call::AsProtect, &[0, SHARED, 2, R | X, 0]), (Code::Denied, 4, Reason::NoRight));
    s.call(A, Call::AsProtect, &[0, SHARED, 2, R, 0]);
    s.call(A, Call::AsProtect, &[0, SHARED, 2, R | W, 0]);
    s.close();
}
