//! Reach: what a VM maps is its own or was given to it, and the audit finds what is not.

use strato_abi::address_space::Attributes;
use strato_abi::{Call, Ipa, Rights};
use strato_hyp::arch::ram::Pa;
use strato_hyp::lock::Held;
use strato_hyp::memory::descriptor::{Attr, MemoryType};
use strato_hyp::memory::source::Charged;
use strato_hyp::vm::Inner;
use strato_hyp::vm::audit::Stray;
use strato_hyp::vm::handles::{Flags, MemRef};

use crate::memory_calls::{HOLE, RAM};
use crate::share_calls::{RW, lent, two};
use crate::stage::Story;
use crate::talk::{A, B};

impl Story {
    fn damage(&mut self, place: u8, change: impl FnOnce(&mut Inner)) {
        self.vm(place, |vm| change(&mut vm.inner.lock(&mut Held::for_example()).0));
    }
}

/// B has two pages of A's mapped, and its own memory. Returns the index of B's handle, and where the page stands.
fn borrowing() -> (Story, u16, Pa) {
    let mut s = two();
    let (_, mem) = lent(&mut s, RW);
    s.call(B, Call::AsMap, &[0, HOLE, mem, 0x1000, 2, RW]);
    assert_eq!(s.strays(), []);
    let index = (mem & 0xffff) as u16;
    let base = s.vm(B.0, |vm| vm.inner.lock(&mut Held::for_example()).0.handles.mem_at(index).unwrap().base);
    (s, index, base.checked_add(0x1000).unwrap())
}

#[test]
fn what_no_handle_lets_a_vm_map_is_found_where_it_is_mapped() {
    let damages: [fn(&mut Inner, u16); 4] = [
        |inner, index| {
            let (handle, _) = inner.handles.next_mem(index).unwrap();
            inner.handles.remove(handle);
        },
        |inner, index| inner.handles.flag(index, Flags::OVER, Flags::empty()),
        |inner, index| inner.handles.flag(index, Flags::LENT, Flags::empty()),
        |inner, index| {
            let mem = inner.handles.mem_at(index).unwrap();
            inner.handles.set_mem(index, &MemRef { rights: Rights::READ, ..mem });
        },
    ];
    for (n, damage) in damages.into_iter().enumerate() {
        let (mut s, index, pa) = borrowing();
        s.damage(B.0, |inner| damage(inner, index));
        assert_eq!(s.strays(), [Stray { ipa: HOLE, pa: pa.bytes() }], "damage {n}");
    }
}

#[test]
fn a_page_behind_the_end_of_what_is_borrowed_is_found() {
    let (mut s, index, pa) = borrowing();
    s.damage(B.0, |inner| {
        let mem = inner.handles.mem_at(index).unwrap();
        inner.handles.set_mem(index, &MemRef { pages: 2, ..mem });
    });
    assert_eq!(s.strays(), [Stray { ipa: HOLE + 0x1000, pa: pa.bytes() + 0x1000 }]);
}

/// Maps the first page of A's memory at B, as no call would.
fn steal(s: &mut Story) -> Stray {
    let pa = s.vm(A.0, |vm| vm.inner.lock(&mut Held::for_example()).0.handles.mem_at(0).unwrap().base);
    let machine = s.machine;
    s.damage(B.0, |inner| {
        let mut none = Held::for_example();
        let (mut pool, _held) = machine.memory.lock(&mut none);
        let attr = Attr::new(Attributes::READ, MemoryType::Normal, false).unwrap();
        let mut source = Charged::new(&mut pool.allocator, &mut inner.account, || false);
        inner.spaces.get_mut(0).unwrap().map(Ipa::new(HOLE).unwrap(), pa, 1, attr, &mut source).unwrap();
    });
    Stray { ipa: HOLE, pa: pa.bytes() }
}

#[test]
fn memory_of_another_vm_that_is_mapped_without_a_handle_is_found() {
    let mut s = two();
    s.call(B, Call::AsMap, &[0, HOLE + 0x1000, RAM, 0, 1, 1]);
    let stray = steal(&mut s);
    assert_eq!(s.strays(), [stray]);
}

#[test]
#[should_panic(expected = "audit: vm b maps")]
fn the_next_end_of_a_vm_finds_it_in_a_checked_image() {
    let mut s = two();
    steal(&mut s);
    assert_eq!(s.ask(A, Call::CoreExit, &[0, 0]), None);
    s.turns(200);
}
