//! AS: a VM with several address spaces makes, fills, selects and ends them, and each way in which that is refused.

use strato_abi::Call;
use strato_abi::addr::{EVENT_AREA, INFO_PAGE, VCPU_AREA};
use strato_abi::error::{Code, Reason};
use strato_hyp::arch::Deed;
use strato_hyp::arch::stage2::current_vttbr;

use crate::memory_calls::{HOLE, R, RAM, W};
use crate::plan::{CODE, DATA, Guest, SHARED, System};
use crate::stage::Story;
use crate::talk::{A, B, handle};

/// The handle of the first address space, in no entry of the table.
pub(crate) const FIRST: u64 = 1 << 16 | 0xfffe;
/// Pages of the hypervisor's window in each of them.
pub(crate) const WINDOW: u64 = 3;

pub(crate) fn one(vcpus: u16) -> Story {
    Story::new(&System::new([Guest { vcpus, quota: 300, ..Guest::new("a") }]))
}

pub(crate) fn create(s: &mut Story) -> u64 {
    s.call(A, Call::AsCreate, &[])[0]
}

/// Returns a new address space with the guest's code in it, so that it can be selected.
pub(crate) fn create_with_code(s: &mut Story) -> u64 {
    let space = create(s);
    s.call(A, Call::AsMap, &[space, CODE, RAM, 0, 1, R | 4]);
    space
}

/// Ends an address space; returns how many calls that took, and how many pages were unmapped.
pub(crate) fn destroy(s: &mut Story, space: u64) -> (u64, u64) {
    let mut pages = 0;
    for calls in 1.. {
        let [left, done, ..] = s.call(A, Call::AsDestroy, &[space]);
        pages += done;
        if left == 0 {
            return (calls, pages);
        }
        assert!(calls < 1000, "it comes to an end");
    }
    unreachable!("the loop above ends")
}

fn where_is(s: &mut Story, space: u64, address: u64) -> Option<u64> {
    let x = s.ask(A, Call::AsQuery, &[space, address]).unwrap();
    if x[0] == 0 { Some(x[2]) } else { None }
}

#[test]
fn a_new_space_has_the_window_and_nothing_else() {
    let mut s = one(1);
    let space = create(&mut s);
    for address in [INFO_PAGE, VCPU_AREA, EVENT_AREA] {
        assert_eq!(s.refused(A, Call::AsQuery, &[space, address]), (Code::BadAddress, 2, Reason::Reserved));
        assert_eq!(s.refused(A, Call::AsUnmap, &[space, address, 1, 0]), (Code::BadAddress, 2, Reason::Reserved));
    }
    assert_eq!(s.refused(A, Call::AsQuery, &[space, CODE]), (Code::NotMapped, 2, Reason::None));
    assert_eq!(s.refused(A, Call::AsQuery, &[space, INFO_PAGE + 0x8000]).0, Code::NotMapped);
    s.close();
}

#[test]
fn calls_work_on_the_space_that_they_name() {
    let mut s = one(1);
    let (first, second) = (create(&mut s), create(&mut s));
    assert_eq!(s.call(A, Call::AsMap, &[first, HOLE, RAM, 0x3000, 2, R | W])[..2], [3, 2]);
    assert_eq!(s.call(A, Call::AsMap, &[second, HOLE, RAM, 0x5000, 1, R])[..2], [3, 1]);
    assert_eq!(where_is(&mut s, first, HOLE), Some(0x3000));
    assert_eq!(where_is(&mut s, second, HOLE), Some(0x5000));
    assert_eq!((where_is(&mut s, 0, HOLE), where_is(&mut s, FIRST, DATA)), (None, Some(0x2000)));
    assert_eq!(s.call(A, Call::AsProtect, &[first, HOLE, 2, R, 0])[1], 2);
    assert_eq!(s.call(A, Call::AsUnmap, &[first, HOLE, 1, 0])[1], 1);
    assert_eq!((where_is(&mut s, first, HOLE), where_is(&mut s, second, HOLE)), (None, Some(0x5000)));
    s.close();
}

#[test]
fn a_switch_takes_effect_for_the_caller_and_names_the_space_before() {
    let mut s = one(2);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    let space = create_with_code(&mut s);
    let before = current_vttbr();
    assert_eq!(s.call(A, Call::AsSwitch, &[space])[0], FIRST);
    assert_eq!(s.call(A, Call::AsSwitch, &[space])[0], space, "repeated");
    assert_eq!((where_is(&mut s, 0, CODE), where_is(&mut s, 0, DATA)), (Some(0), None));
    // The other vCPU is where it was.
    assert_eq!(s.ask((0, 1), Call::AsQuery, &[0, DATA]).unwrap()[0], 0);
    assert_eq!(s.call((0, 1), Call::AsSwitch, &[FIRST])[0], FIRST);
    assert_eq!(s.call(A, Call::AsSwitch, &[FIRST])[0], space);
    assert_eq!(s.call(A, Call::AsSwitch, &[0])[0], FIRST, "0 is the current one");
    assert_eq!(current_vttbr(), before);
    s.close();
}

#[test]
fn a_core_translates_by_the_space_that_its_vcpu_selected_whoever_ran_between() {
    let mut s = Story::new(&System::new([Guest { quota: 300, ..Guest::new("a") }, Guest::new("b")]));
    let space = create_with_code(&mut s);
    s.call(A, Call::AsSwitch, &[space]);
    let root = s.vm(0, |vm| {
        let inner = vm.inner.try_lock().unwrap();
        inner.spaces.get(1).unwrap().selector().vttbr.root()
    });
    for _ in 0..3 {
        s.call(B, Call::CoreNop, &[]);
        s.step(A, move |_| {
            assert_eq!(current_vttbr().root(), root);
            Deed::Exit(crate::stage::INTERRUPT)
        });
        s.until_seen(A).unwrap();
    }
    s.close();
}

#[test]
fn eight_spaces_are_the_most_and_one_that_ended_makes_room() {
    let mut s = one(1);
    let spaces: Vec<u64> = (1..8).map(|_| create(&mut s)).collect();
    assert_eq!(s.refused(A, Call::AsCreate, &[]), (Code::Full, 0, Reason::TableFull));
    let (calls, pages) = destroy(&mut s, spaces[3]);
    assert!(calls <= 4 && pages == WINDOW, "{calls} {pages}");
    assert_eq!(s.refused(A, Call::AsDestroy, &[spaces[3]]), (Code::Stale, 1, Reason::None));
    let again = create(&mut s);
    assert_eq!(again, spaces[3] + (1 << 16), "the entry of its handle, in the next generation");
    s.close();
}

#[test]
fn a_full_table_of_handles_makes_no_space() {
    let mut s = Story::new(&System::new([Guest { handles: 2, ..Guest::new("a") }]));
    create(&mut s);
    assert_eq!(s.refused(A, Call::AsCreate, &[]), (Code::Full, 0, Reason::TableFull));
    s.close();
}

#[test]
fn a_space_counts_against_the_quota_and_a_refused_one_takes_nothing() {
    // The VM itself takes more than half of it.
    let mut found = [false; 2];
    for quota in 30..60 {
        let mut s = Story::new(&System::new([Guest { quota, ..Guest::new("a") }]));
        if s.try_vm(0, |_| ()).is_none() {
            continue;
        }
        let x = s.ask(A, Call::AsCreate, &[]).unwrap();
        found[usize::from(x[0] == 0)] = true;
        if x[0] != 0 {
            assert_eq!((Code::from_i64(x[0].cast_signed()), x[1]), (Some(Code::Quota), 0));
            assert_eq!(s.refused(A, Call::AsCreate, &[]).0, Code::Quota);
        }
        s.close();
    }
    assert_eq!(found, [true, true]);
}

#[test]
fn a_machine_without_memory_makes_no_space() {
    let mut system = System::new([Guest { quota: 5000, ..Guest::new("a") }]);
    system.frames = 96;
    let mut s = Story::new(&system);
    let refused = (0..300u64).find_map(|n| {
        let x = s.ask(A, Call::AsMap, &[0, (1 << 33) + (n << 30), RAM, 0, 1, R]).unwrap();
        Code::from_i64(x[0].cast_signed())
    });
    assert_eq!(refused, Some(Code::NoMemory));
    assert_eq!(s.refused(A, Call::AsCreate, &[]), (Code::NoMemory, 0, Reason::None));
    s.close();
}

#[test]
fn the_first_space_is_not_ended() {
    let mut s = one(1);
    for space in [0, FIRST] {
        assert_eq!(s.refused(A, Call::AsDestroy, &[space]), (Code::Denied, 1, Reason::NotAllowed));
    }
    s.close();
}

#[test]
fn a_space_that_a_vcpu_has_selected_is_busy_until_it_leaves_or_turns_off() {
    let mut s = one(2);
    let space = create_with_code(&mut s);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.call((0, 1), Call::AsSwitch, &[space]);
    s.call(A, Call::AsSwitch, &[space]);
    assert_eq!(s.refused(A, Call::AsDestroy, &[0]), (Code::Busy, 1, Reason::None));
    s.call(A, Call::AsSwitch, &[FIRST]);
    assert_eq!(s.refused(A, Call::AsDestroy, &[space]), (Code::Busy, 1, Reason::None));
    s.begin((0, 1), Call::VcpuStop, &[]);
    s.turns(3);
    assert_eq!(destroy(&mut s, space).1, 1 + WINDOW);
    // Started again, the vCPU is in the first one.
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    assert_eq!(s.ask((0, 1), Call::AsQuery, &[0, DATA]).unwrap()[2], 0x2000);
    s.close();
}

#[test]
fn a_space_that_is_being_ended_cannot_be_used() {
    let mut s = one(1);
    let space = create_with_code(&mut s);
    assert_eq!(s.call(A, Call::AsDestroy, &[space])[0], 1);
    let refused = (Code::State, 1, Reason::None);
    assert_eq!(s.refused(A, Call::AsMap, &[space, HOLE, RAM, 0, 1, R]), refused);
    for flags in [0, 1] {
        assert_eq!(s.refused(A, Call::AsUnmap, &[space, CODE, 1, flags]), refused);
        assert_eq!(s.refused(A, Call::AsProtect, &[space, CODE, 1, R, flags]), refused);
    }
    assert_eq!(s.refused(A, Call::AsQuery, &[space, CODE]), refused);
    assert_eq!(s.refused(A, Call::AsSwitch, &[space]), refused);
    assert_eq!(s.refused(A, Call::AsSync, &[space]), refused);
    destroy(&mut s, space);
    for call in [Call::AsSwitch, Call::AsSync, Call::AsQuery] {
        assert_eq!(s.refused(A, call, &[space, CODE]), (Code::Stale, 1, Reason::None), "{}", call.name());
    }
    assert_eq!(s.refused(A, Call::AsMap, &[space, HOLE, RAM, 0, 1, R]).0, Code::Stale);
    assert_eq!(s.refused(A, Call::AsUnmap, &[space, CODE, 1, 0]).0, Code::Stale);
    assert_eq!(s.refused(A, Call::AsProtect, &[space, CODE, 1, R, 0]).0, Code::Stale);
    s.close();
}

#[test]
fn what_is_mapped_in_a_space_counts_until_it_ends() {
    let mut s = one(1);
    let space = create(&mut s);
    for n in 0..5 {
        assert_eq!(s.call(A, Call::AsMap, &[space, HOLE + (n << 30), RAM, 0, 16, R])[1], 16);
    }
    assert_eq!(destroy(&mut s, space).1, 80 + WINDOW);
    s.close();
}

#[test]
fn a_vm_ends_with_all_of_its_spaces() {
    let mut s = one(1);
    for n in 0..7 {
        let space = create_with_code(&mut s);
        s.call(A, Call::AsMap, &[space, HOLE + (n << 30), RAM, 0, 16, R]);
        if n == 3 {
            s.call(A, Call::AsUnmap, &[space, HOLE + (n << 30), 8, 1]);
        }
        s.call(A, Call::AsSwitch, &[space]);
    }
    s.close();
}

#[test]
fn the_rights_that_a_mapping_can_get_are_those_of_its_handle() {
    let mut system = System::new([Guest { quota: 300, ..Guest::new("a") }, Guest::new("b")]);
    system.share(0, 2, &[(0, 3 | 8), (1, 1)]);
    let mut s = Story::new(&system);
    assert_eq!(s.refused(B, Call::AsProtect, &[0, SHARED, 1, R | W, 0]), (Code::Denied, 4, Reason::NoRight));
    assert_eq!(s.refused(B, Call::AsProtect, &[0, SHARED, 1, R | W, 1]), (Code::Denied, 4, Reason::NoRight));
    assert_eq!(s.call(B, Call::AsProtect, &[0, SHARED, 2, R, 0])[1], 2);
    assert_eq!(s.ask(B, Call::AsQuery, &[0, SHARED]).unwrap()[1], handle(1));
    s.close();
}

#[test]
fn numbers_start_over_while_another_core_keeps_its_own() {
    let far = Guest { cores: [1; 8], ..Guest::new("b") };
    let mut s = Story::on(&System::new([Guest { quota: 300, ..Guest::new("a") }, far]), 2);
    s.call(B, Call::CoreNop, &[]);
    let number_of_b =
        |s: &mut Story| s.vm(1, |vm| vm.inner.try_lock().unwrap().spaces.get(0).unwrap().selector().vttbr.vmid());
    let before = number_of_b(&mut s);
    for _ in 0..300 {
        let space = create_with_code(&mut s);
        s.call(A, Call::AsSwitch, &[space]);
        s.call(A, Call::AsSwitch, &[FIRST]);
        destroy(&mut s, space);
    }
    s.call(B, Call::CoreNop, &[]);
    assert_eq!(number_of_b(&mut s), before);
    let generation = s.vm(0, |vm| vm.inner.try_lock().unwrap().spaces.get(0).unwrap().selector().generation);
    assert_eq!(generation, 2);
    s.close();
}
