//! MEM: what a guest may take, give back, cut and ask, each way in which it is refused, and ends in the middle.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};

use crate::memory_calls::HOLE;
use crate::plan::{CODE, DATA, Guest, System};
use crate::stage::Story;
use crate::talk::{A, B, handle};

const RAM: u64 = 1 << 16;
const RW: u64 = 3;

/// Two vCPUs of a VM with `handles` handles and a quota of 300 pages, on a machine that has never used most of its memory.
fn two(handles: u16) -> Story {
    let guest = Guest { vcpus: 2, handles, quota: 300, ..Guest::new("a") };
    let mut s = Story::new(&System { frames: 1024, ..System::new([guest]) });
    assert_eq!(s.call(A, Call::VcpuStart, &[1, CODE, 0])[0], 0);
    s
}

/// Repeats MEM.ALLOC until there is an object; returns its handle and the pages that were zeroed.
fn alloc(s: &mut Story, pages: u64) -> (u64, u64) {
    let mut zeroed = 0;
    loop {
        let [mem, done, _] = s.call(A, Call::MemAlloc, &[pages, 0]);
        zeroed += done;
        if mem != 0 {
            return (mem, zeroed);
        }
        assert_eq!(done, 16);
    }
}

/// Repeats MEM.FREE until nothing is left; returns the pages that were scrubbed.
fn free(s: &mut Story, mem: u64) -> u64 {
    let mut scrubbed = 0;
    loop {
        let [left, done, _] = s.call(A, Call::MemFree, &[mem]);
        scrubbed += done;
        if left == 0 {
            return scrubbed;
        }
    }
}

pub(crate) fn refused(s: &mut Story, call: Call, arguments: &[u64]) -> (Code, usize, Reason) {
    s.refused(A, call, arguments)
}

#[test]
fn an_object_is_zeroed_in_parts_owned_and_mapped_nowhere() {
    let mut s = two(16);
    let (mem, zeroed) = alloc(&mut s, 64);
    assert_eq!(zeroed, 64);
    assert_eq!(s.call(A, Call::MemInfo, &[mem]), [64, 1, 0]);
    s.call(A, Call::AsMap, &[0, HOLE, mem, 0x1000, 2, RW]);
    assert_eq!(s.call(A, Call::MemInfo, &[mem]), [64, 1, 2]);
    s.call(A, Call::AsUnmap, &[0, HOLE, 2, 0]);
    alloc(&mut s, 64); // beside it, so that it is not put together with what was never zeroed
    assert_eq!(free(&mut s, mem), 64);
    assert_eq!(alloc(&mut s, 64).1, 0, "what the pool has as zeros needs no zeroing");
    s.close();
}

#[test]
fn sizes_are_powers_of_two_up_to_the_bound_of_the_one_type() {
    let mut s = two(16);
    for (pages, reason) in
        [(0, Reason::TooSmall), (3, Reason::Misaligned), (262_143, Reason::Misaligned), (262_145, Reason::TooLarge)]
    {
        assert_eq!(refused(&mut s, Call::MemAlloc, &[pages, 0]), (Code::Invalid, 1, reason), "{pages}");
    }
    for pages in [1 << 19, 1 << 32, 1 << 63, u64::MAX] {
        assert_eq!(refused(&mut s, Call::MemAlloc, &[pages, 0]), (Code::Invalid, 1, Reason::TooLarge), "{pages}");
    }
    for kind in [1, 255, u64::MAX] {
        assert_eq!(refused(&mut s, Call::MemAlloc, &[1, kind]), (Code::Invalid, 2, Reason::UnknownValue));
    }
    s.close();
}

#[test]
fn the_quota_is_charged_first_and_the_refusal_tells_what_is_left() {
    let mut s = two(64);
    let x = s.ask(A, Call::MemAlloc, &[512, 0]).unwrap();
    assert_eq!(x[0].cast_signed(), Code::Quota as i64);
    let left = x[1] >> 16;
    assert!(left < 300 - 16, "{left}");
    let mut taken = 0;
    while taken < left {
        alloc(&mut s, 1 << (left - taken).ilog2());
        taken += 1 << (left - taken).ilog2();
    }
    let x = s.ask(A, Call::MemAlloc, &[1, 0]).unwrap();
    assert_eq!((x[0].cast_signed(), x[1]), (Code::Quota as i64, 1));
    s.close();
}

#[test]
fn more_than_the_machine_has_is_refused_and_charged_to_nobody() {
    let guest = Guest { quota: u32::MAX, ..Guest::new("a") };
    let mut s = Story::new(&System::new([guest]));
    assert_eq!(refused(&mut s, Call::MemAlloc, &[1 << 18, 0]), (Code::NoMemory, 1, Reason::None));
    alloc(&mut s, 16);
    s.close();
}

#[test]
fn a_full_table_takes_no_object_and_no_half() {
    let mut s = two(2);
    let (mem, _) = alloc(&mut s, 2);
    assert_eq!(refused(&mut s, Call::MemAlloc, &[1, 0]), (Code::Full, 0, Reason::TableFull));
    assert_eq!(refused(&mut s, Call::MemSplit, &[mem, 0x1000]), (Code::Full, 0, Reason::TableFull));
    free(&mut s, mem);
    alloc(&mut s, 1);
    s.close();
}

#[test]
fn an_entry_of_the_table_is_kept_for_the_object_under_way() {
    let mut s = two(3);
    let (small, _) = alloc(&mut s, 2);
    assert_eq!(s.call(A, Call::MemAlloc, &[64, 0])[..2], [0, 16]);
    assert_eq!(refused(&mut s, Call::MemSplit, &[small, 0x1000]), (Code::Full, 0, Reason::TableFull));
    let (mem, _) = alloc(&mut s, 64);
    assert_eq!(s.call(A, Call::MemInfo, &[mem])[0], 64);
    s.close();
}

#[test]
fn one_object_is_under_way_at_a_time() {
    let mut s = two(16);
    let (mem, _) = alloc(&mut s, 64);
    let (other, _) = alloc(&mut s, 1);
    assert_eq!(s.call(A, Call::MemAlloc, &[32, 0])[..2], [0, 16]);
    assert_eq!(refused(&mut s, Call::MemAlloc, &[64, 0]), (Code::Busy, 0, Reason::None));
    assert_eq!(refused(&mut s, Call::MemFree, &[mem]), (Code::Busy, 1, Reason::None));
    alloc(&mut s, 32);
    assert_eq!(s.call(A, Call::MemFree, &[mem])[..2], [48, 16]);
    assert_eq!(refused(&mut s, Call::MemFree, &[other]), (Code::Busy, 1, Reason::None));
    assert_eq!(refused(&mut s, Call::MemAlloc, &[1, 0]), (Code::Busy, 0, Reason::None));
    assert_eq!(free(&mut s, mem), 48);
    free(&mut s, other);
    s.close();
}

#[test]
fn two_vcpus_that_want_the_same_get_one_object_each() {
    let mut s = two(16);
    let second = (0, 1);
    let mut got = Vec::new();
    for n in 0..64 {
        let who = if n % 3 == 0 { second } else { A };
        let [mem, _, _] = s.call(who, Call::MemAlloc, &[32, 0]);
        if mem != 0 {
            got.push(mem);
        }
        if got.len() == 2 {
            break;
        }
    }
    assert_eq!(got.len(), 2);
    assert_ne!(got[0], got[1]);
    for mem in got {
        assert_eq!(s.call(second, Call::MemInfo, &[mem])[0], 32);
        free(&mut s, mem);
    }
    s.close();
}

#[test]
fn from_the_first_free_on_nothing_else_can_be_done_with_the_object() {
    let mut s = two(16);
    let (mem, _) = alloc(&mut s, 64);
    assert_eq!(s.call(A, Call::MemFree, &[mem])[..2], [48, 16]);
    assert_eq!(refused(&mut s, Call::AsMap, &[0, HOLE, mem, 0, 1, 1]), (Code::State, 3, Reason::None));
    assert_eq!(refused(&mut s, Call::MemInfo, &[mem]), (Code::State, 1, Reason::None));
    assert_eq!(refused(&mut s, Call::MemSplit, &[mem, 0x2_0000]), (Code::State, 1, Reason::None));
    assert_eq!(refused(&mut s, Call::CoreHandleDrop, &[mem]), (Code::State, 1, Reason::None));
    assert_eq!(s.ask(A, Call::CoreHandleInfo, &[mem]).unwrap()[1], 2);
    free(&mut s, mem);
    for call in [Call::MemFree, Call::MemInfo, Call::MemSplit] {
        assert_eq!(refused(&mut s, call, &[mem, 0x2_0000]), (Code::Stale, 1, Reason::None), "{}", call.name());
    }
    s.close();
}

#[test]
fn what_is_mapped_is_neither_freed_nor_cut() {
    let mut s = two(16);
    let (mem, _) = alloc(&mut s, 4);
    s.call(A, Call::AsMap, &[0, HOLE, mem, 0x3000, 1, RW]);
    assert_eq!(refused(&mut s, Call::MemFree, &[mem]), (Code::Busy, 1, Reason::None));
    assert_eq!(refused(&mut s, Call::MemSplit, &[mem, 0x2000]), (Code::Busy, 1, Reason::None));
    s.call(A, Call::AsUnmap, &[0, HOLE, 1, 0]);
    free(&mut s, mem);
    s.close();
}

#[test]
fn ram_is_an_object_like_another_once_nothing_of_it_is_mapped() {
    let mut s = two(16);
    assert_eq!(refused(&mut s, Call::MemFree, &[RAM]), (Code::Busy, 1, Reason::None));
    s.call(A, Call::AsUnmap, &[0, CODE, 1, 0]);
    assert_eq!(refused(&mut s, Call::MemFree, &[RAM]), (Code::Busy, 1, Reason::None));
    s.call(A, Call::AsUnmap, &[0, DATA, 1, 0]);
    assert_eq!(free(&mut s, RAM), 16);
    assert_eq!(refused(&mut s, Call::MemInfo, &[RAM]), (Code::Stale, 1, Reason::None));
    s.close();
}

#[test]
fn an_object_is_cut_into_halves_down_to_a_page() {
    let mut s = two(16);
    let (mem, _) = alloc(&mut s, 4);
    let second = s.call(A, Call::MemSplit, &[mem, 0x2000])[0];
    assert_eq!(s.call(A, Call::MemInfo, &[mem]), [2, 1, 0]);
    assert_eq!(s.call(A, Call::MemInfo, &[second]), [2, 1, 0]);
    assert_eq!(refused(&mut s, Call::AsMap, &[0, HOLE, mem, 0x1000, 2, 1]), (Code::Overflow, 4, Reason::PastEnd));
    let third = s.call(A, Call::MemSplit, &[mem, 0x1000])[0];
    assert_eq!(refused(&mut s, Call::MemSplit, &[mem, 0x800]), (Code::Invalid, 1, Reason::TooSmall));
    for offset in [0, 0xfff, 0x2000, 0x1001, u64::MAX] {
        assert_eq!(refused(&mut s, Call::MemSplit, &[second, offset]), (Code::Invalid, 2, Reason::UnknownValue));
    }
    s.call(A, Call::AsMap, &[0, HOLE, third, 0, 1, RW]);
    assert_eq!(s.ask(A, Call::AsQuery, &[0, HOLE]).unwrap()[1..3], [third, 0]);
    free(&mut s, mem);
    free(&mut s, second);
    s.call(A, Call::AsUnmap, &[0, HOLE, 1, 0]);
    free(&mut s, third);
    s.close();
}

#[test]
fn a_cut_for_which_the_ledger_has_no_entry_is_refused_and_cuts_nothing() {
    let guest = Guest { quota: u32::MAX, handles: 1024, ..Guest::new("a") };
    let mut s = Story::new(&System::new([guest]));
    let mut objects = vec![alloc(&mut s, 256).0];
    // No frame is left for more entries.
    for order in (0..9).rev() {
        while s.ask(A, Call::MemAlloc, &[1 << order, 0]).unwrap()[0] == 0 {}
    }
    while let Some(mem) = objects.pop() {
        let pages = s.call(A, Call::MemInfo, &[mem])[0];
        if pages == 1 {
            continue;
        }
        let x = s.ask(A, Call::MemSplit, &[mem, (pages / 2) << 12]).unwrap();
        if x[0] != 0 {
            assert_eq!(x[0].cast_signed(), Code::NoMemory as i64);
            assert_eq!(s.call(A, Call::MemInfo, &[mem])[0], pages);
            return s.close();
        }
        objects.extend([mem, x[1]]);
    }
    panic!("the ledger has no end");
}

#[test]
fn only_its_owner_frees_or_cuts_an_object_and_not_while_another_vm_has_it() {
    let mut system = System::new([Guest::new("a"), Guest::new("b")]);
    system.share(0, 4, &[(0, 11), (1, 3)]);
    let mut s = Story::new(&system);
    let region = handle(1);
    for call in [Call::MemFree, Call::MemSplit] {
        assert_eq!(s.refused(B, call, &[region, 0x2000]), (Code::Denied, 1, Reason::NotOwner), "{}", call.name());
    }
    assert_eq!(s.call(B, Call::MemInfo, &[region]), [4, 0, 8]);
    s.call(A, Call::AsUnmap, &[0, crate::plan::SHARED, 4, 0]);
    s.call(B, Call::AsUnmap, &[0, crate::plan::SHARED, 4, 0]);
    for call in [Call::MemFree, Call::MemSplit] {
        assert_eq!(s.refused(A, call, &[region, 0x2000]), (Code::Busy, 1, Reason::None), "{}", call.name());
    }
    s.close();
}

#[test]
fn a_vm_that_ends_in_the_middle_of_an_allocation_or_a_return_loses_nothing() {
    let mut s = two(16);
    assert_eq!(s.call(A, Call::MemAlloc, &[128, 0])[..2], [0, 16]);
    s.close();
    let mut s = two(16);
    let (mem, _) = alloc(&mut s, 128);
    assert_eq!(s.call(A, Call::MemFree, &[mem])[..2], [112, 16]);
    s.close();
}
