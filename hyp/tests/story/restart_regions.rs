//! Restart and memory that the plan promises: the regions of a VM and its RAM wait for its next life, whoever wants memory meanwhile.

use strato_abi::Call;
use strato_abi::plan::VM_RESTART;
use strato_hyp::allocator::{Kind, Owner};
use strato_hyp::dispatcher::service;
use strato_hyp::lock::Held;
use strato_hyp::vm::Ending;

use crate::plan::{Guest, SHARED, System};
use crate::restart::{handle_in, restarting};
use crate::stage::{Story, Who};
use crate::talk::{A, B, handle};

const CRASH: [u64; 4] = [1, 2, 3, 4];
const C: Who = (2, 0);
const RW_OWN: u16 = 11;
const RW: u16 = 3;

fn system(restarts: [bool; 2]) -> System {
    let [a, b] = [("a", restarts[0]), ("b", restarts[1])].map(|(label, restarts)| {
        let flags = if restarts { VM_RESTART } else { 0 };
        Guest { quota: 300, ..restarting(label, flags) }
    });
    let mut system = System::new([a, b]);
    system.share(0, 16, &[(0, RW_OWN), (1, RW)]);
    system
}

/// Where `who` has the page of the region, and what stands in it; writes `byte` there.
fn write(s: &mut Story, who: Who, byte: u8) -> (u64, u8) {
    let machine = s.machine;
    s.vm(who.0, |vm| {
        let mut none = Held::for_example();
        let (inner, mut held) = vm.inner.lock(&mut none);
        let at = strato_abi::Ipa::new(SHARED + 0x3000).unwrap();
        let leaf = inner.spaces.get(0).unwrap().query(at).expect("it is mapped");
        let (pool, _held) = machine.memory.lock(&mut held);
        let (id, page) = pool.allocator.mem_at(leaf.pa).unwrap();
        let frames = pool.allocator.mem_frames(id).unwrap();
        let mut before = [0];
        assert!(frames.read(page as usize * 4096, &mut before) && frames.write(page as usize * 4096, &[byte]));
        (leaf.pa.bytes(), before[0])
    })
}

fn owner(s: &mut Story, pa: u64) -> (Owner, u16) {
    let mut none = Held::for_example();
    let (pool, _held) = s.machine.memory.lock(&mut none);
    let extent = pool.allocator.extent_of(strato_hyp::arch::ram::Pa::new(pa).unwrap()).unwrap();
    (extent.owner, extent.references)
}

fn used(s: &mut Story, place: u8) -> u64 {
    s.vm(place, |vm| vm.inner.lock(&mut Held::for_example()).0.account.used())
}

#[test]
fn a_region_that_others_have_is_the_same_for_the_next_life_of_its_owner() {
    let mut s = Story::new(&system([true, false]));
    let (pa, _) = write(&mut s, A, 7);
    let before = used(&mut s, 0);
    for life in 2..5 {
        s.begin(A, Call::CorePanic, &CRASH);
        s.until_gone(0);
        assert_eq!(owner(&mut s, pa), (Owner::Hypervisor, 1), "meanwhile it is nobody's");
        assert_eq!(write(&mut s, B, life), (pa, if life == 2 { 7 } else { life + 10 - 1 }), "who has it keeps it");
        s.until_life(0, life.into());
        assert_eq!(owner(&mut s, pa), (Owner::Vm(0), 2));
        assert_eq!(write(&mut s, A, life + 10), (pa, life));
        assert_eq!(used(&mut s, 0), before);
        let query = s.ask(A, Call::AsQuery, &[0, SHARED]).unwrap();
        assert_eq!(query[1], handle_in(life.into(), 1));
    }
    s.close();
}

#[test]
fn one_that_is_given_a_region_finds_it_as_the_others_have_it() {
    let mut s = Story::new(&system([false, true]));
    write(&mut s, A, 7);
    let before = used(&mut s, 1);
    s.begin(B, Call::CorePanic, &CRASH);
    s.until_life(1, 2);
    assert_eq!((write(&mut s, B, 9).1, write(&mut s, A, 7).1, used(&mut s, 1)), (7, 9, before));
    s.close();
}

#[test]
fn a_region_that_nobody_has_is_zero_for_who_comes_next_and_the_same_for_who_comes_then() {
    for gap in 0..60 {
        let mut system = system([true, true]);
        system.guests[1].cores = [1, 0, 0, 0, 0, 0, 0, 0];
        let mut s = Story::on(&system, 2);
        write(&mut s, A, 7);
        s.begin(A, Call::CorePanic, &CRASH);
        s.turns(gap);
        s.begin(B, Call::CorePanic, &CRASH);
        s.until_life(0, 2);
        s.until_life(1, 2);
        let (at, found) = write(&mut s, A, 9);
        assert_eq!(write(&mut s, B, 9), (at, 9), "after {gap} turns");
        assert!(found == 0 || found == 7 && gap > 0, "zero, or as somebody had it all the time");
        assert_eq!(owner(&mut s, at), (Owner::Vm(0), 2));
        s.close();
    }
}

#[test]
fn who_is_made_again_behind_the_last_end_of_the_owner_has_the_region_alone() {
    let mut s = Story::new(&system([false, true]));
    let (pa, _) = write(&mut s, A, 7);
    s.begin(A, Call::CoreExit, &[0, 0]);
    s.until_gone(0);
    s.begin(B, Call::CorePanic, &CRASH);
    s.until_life(1, 2);
    assert_eq!((write(&mut s, B, 9), owner(&mut s, pa)), ((pa, 0), (Owner::Hypervisor, 1)));
    s.close();
}

#[test]
fn a_region_of_which_a_share_is_out_is_another_one_for_the_next_life() {
    let mut system = system([true, false]);
    system.guests.push(Guest { quota: 300, ..Guest::new("c") });
    system.peer(0, 2).peer(2, 0);
    let mut s = Story::new(&system);
    // A: the region is 1, the peer 2. C: the peer is 1.
    let key = s.call(A, Call::ShareOffer, &[handle(2), handle(1), 0, 16, 3, 0])[1];
    s.call(C, Call::ShareAccept, &[handle(1), key, 0]);
    let (old, _) = write(&mut s, A, 7);
    s.begin(A, Call::CorePanic, &CRASH);
    s.until_life(0, 2);
    let (new, found) = write(&mut s, A, 9);
    assert!(new != old && found == 0, "the borrower never sees the new life");
    assert_eq!((write(&mut s, B, 8), owner(&mut s, old)), ((old, 7), (Owner::Hypervisor, 2)));
    s.close();
}

#[test]
fn a_neighbor_that_takes_all_memory_it_can_get_takes_none_of_a_vm_that_is_made_again() {
    for gap in 0..90 {
        let mut system = system([true, false]);
        system.guests[0].ram_pages = 128;
        (system.guests[1].quota, system.guests[1].handles) = (10_000, 1024);
        let mut s = Story::new(&system);
        let machine = s.machine;
        s.vm(0, |vm| service::end_vm(machine, vm, Ending::Stopped));
        s.turns(gap);
        // As many frames as its tables and the rest of it take are left, and no two of them side by side.
        let mut taken = Vec::new();
        {
            let mut none = Held::for_example();
            let (mut pool, _held) = s.machine.memory.lock(&mut none);
            let strato_hyp::machine::Pool { allocator, own, .. } = &mut *pool;
            taken.extend(std::iter::from_fn(|| allocator.take(0, Kind::Mem, own).ok()));
            taken.sort_by_key(strato_hyp::arch::ram::Pages::pa);
            let mut n = 0;
            for pages in std::mem::take(&mut taken) {
                n += 1;
                if n % 2 == 0 && n < 72 {
                    allocator.give_back(pages, own).unwrap();
                } else {
                    taken.push(pages);
                }
            }
        }
        s.until_life(0, 2);
        write(&mut s, A, 1);
        {
            let mut none = Held::for_example();
            let (mut pool, _held) = s.machine.memory.lock(&mut none);
            let strato_hyp::machine::Pool { allocator, own, .. } = &mut *pool;
            taken.into_iter().for_each(|pages| allocator.give_back(pages, own).unwrap());
        }
        s.close();
    }
}

#[test]
fn what_its_guest_cut_or_gave_back_of_its_ram_is_taken_anew() {
    for is_cut in [true, false] {
        let mut system = System::new([restarting("a", VM_RESTART), Guest::new("b")]);
        system.own(0, 8);
        let mut s = Story::new(&system);
        if is_cut {
            s.call(A, Call::MemSplit, &[handle(1), 4 << 12]);
        } else {
            while s.call(A, Call::MemFree, &[handle(1)])[0] != 0 {}
        }
        for life in 2..4 {
            s.begin(A, Call::CorePanic, &CRASH);
            s.until_life(0, life);
            s.call(A, Call::AsMap, &[0, 0x7000_0000, handle_in(life.into(), 1), 0, 8, 3]);
        }
        s.close();
    }
}

#[test]
fn an_owner_without_a_part_in_its_region_ends_as_any_other() {
    let mut system = System::new([Guest::new("a"), Guest::new("b")]);
    system.share(0, 16, &[(1, RW)]);
    let mut s = Story::new(&system);
    s.begin(A, Call::CoreExit, &[0, 0]);
    s.until_gone(0);
    s.close();
}

#[test]
fn regions_by_the_dozen_come_back_to_their_owner() {
    let mut system = System::new([restarting("a", VM_RESTART), Guest::new("b")]);
    (system.guests[0].handles, system.frames) = (128, 2048);
    for region in 0..64 {
        system.own_region(0, region, 1);
    }
    let mut s = Story::new(&system);
    s.begin(A, Call::CorePanic, &CRASH);
    s.until_gone(0);
    s.until_life(0, 2);
    s.call(A, Call::AsMap, &[0, 0x7000_0000, handle_in(2, 64), 0, 1, 3]);
    s.close();
}
