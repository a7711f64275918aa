//! Registers of devices: mapped like memory by their own handle, never executed, never shared, on the board that has them.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};
use strato_hyp::arch::{Deed, entry};
use strato_hyp::memory::descriptor::MemoryType;

use crate::plan::{Guest, RTC, System};
use crate::stage::{INTERRUPT, Story};
use crate::talk::{A, B, fill, handle};

const DEVICE: u64 = 1 << 16 | 1;
const IRQ: u64 = 1 << 16 | 2;
const PLACE: u64 = 0x3000_0000;

fn map(s: &mut Story, at: u64, offset: u64, pages: u64, attributes: u64) -> Option<(Code, usize, Reason)> {
    let x = s.ask(A, Call::AsMap, &[0, at, DEVICE, offset, pages, attributes]).unwrap();
    crate::talk::refusal(&x)
}

#[test]
fn registers_are_mapped_as_device_memory_found_and_unmapped() {
    let mut s = Story::new(&System::driver(Guest::new("a")));
    assert_eq!(map(&mut s, PLACE, 0, 1, 3), None);
    let leaf = s.vm(0, |vm| {
        let mut none = strato_hyp::lock::Held::for_example();
        let (inner, _held) = vm.inner.lock(&mut none);
        inner.spaces.get(0).unwrap().query(strato_abi::Ipa::new(PLACE).unwrap()).unwrap()
    });
    assert_eq!((leaf.pa.bytes(), leaf.attr.memory()), (RTC, MemoryType::Device));
    assert_eq!(s.ask(A, Call::AsQuery, &[0, PLACE + 0x18]).unwrap()[..6], [0, DEVICE, 0, 3, 3, 0]);
    assert_eq!(map(&mut s, PLACE, 0, 1, 3), Some((Code::Exists, 2, Reason::None)));
    assert_eq!(map(&mut s, PLACE + 0x1000, 0, 1, 1), None, "a second place, for reading");
    assert_eq!(s.call(A, Call::AsUnmap, &[0, PLACE, 2, 0])[1], 2);
    let gone = s.refused(A, Call::AsQuery, &[0, PLACE]);
    assert_eq!(gone.0, Code::NotMapped);
    s.close();
}

#[test]
fn registers_are_never_executed_nor_mapped_beyond_their_end() {
    let mut s = Story::new(&System::driver(Guest { flags: 2, ..Guest::new("a") }));
    for attributes in [5, 7] {
        assert_eq!(map(&mut s, PLACE, 0, 1, attributes), Some((Code::Denied, 6, Reason::NoRight)));
    }
    assert_eq!(map(&mut s, PLACE, 0x1000, 1, 3), Some((Code::Overflow, 4, Reason::PastEnd)));
    assert_eq!(map(&mut s, PLACE, 0, 2, 3), Some((Code::Overflow, 4, Reason::PastEnd)));
    assert_eq!(map(&mut s, PLACE, 0x800, 1, 3), Some((Code::Misaligned, 4, Reason::Misaligned)));
    assert_eq!(map(&mut s, PLACE, 0, 1, 2), Some((Code::BadAttribute, 6, Reason::TooSmall)));
    assert_eq!(map(&mut s, PLACE, 0, 1, 3), None);
    for attributes in [1, 5] {
        let refused = s.refused(A, Call::AsProtect, &[0, PLACE, 1, attributes, 0]);
        assert_eq!(refused, (Code::BadAttribute, 4, Reason::None));
    }
    s.close();
}

#[test]
fn registers_are_no_memory_and_are_kept_for_good() {
    let mut system = System::pair(Guest::new("a"), Guest::new("b"));
    system.device(0, RTC);
    let mut s = Story::new(&system);
    let device = handle(3);
    for call in [Call::MemFree, Call::MemInfo] {
        assert_eq!(s.refused(A, call, &[device]), (Code::WrongKind, 1, Reason::None), "{}", call.name());
    }
    assert_eq!(s.refused(A, Call::MemSplit, &[device, 0x800]), (Code::WrongKind, 1, Reason::None));
    assert_eq!(s.refused(A, Call::ShareOffer, &[handle(1), device, 0, 1, 1, 0]), (Code::WrongKind, 2, Reason::None));
    assert_eq!(s.refused(A, Call::ShareRelinquish, &[device]), (Code::WrongKind, 1, Reason::None));
    s.close();
}

#[test]
fn handles_say_what_they_are_and_are_not_dropped() {
    let mut s = Story::new(&System::driver(Guest::new("a")));
    for (handle, kind, rights) in [(DEVICE, 9, 3), (IRQ, 5, 0)] {
        assert_eq!(s.ask(A, Call::CoreHandleInfo, &[handle]).unwrap()[1..7], [kind, rights, 0, 0, 0, 0]);
        let x = s.ask(A, Call::CoreHandleDrop, &[handle]).unwrap();
        assert_eq!((crate::talk::refusal(&x), x[1] >> 16), (Some((Code::State, 1, Reason::None)), kind));
    }
    s.close();
}

#[test]
fn a_device_of_another_board_is_passed_over() {
    let mut system = System::new([Guest::new("a")]);
    system.device_on("rpi4", 0, 0x0901_0000).device_on("qemu-vir", 0, RTC).device_on("", 0, RTC);
    let mut s = Story::new(&system);
    assert_eq!(s.refused(A, Call::CoreHandleInfo, &[DEVICE]).0, Code::BadHandle);
    s.close();
}

#[test]
fn the_registers_of_a_vm_that_ended_are_the_next_ones() {
    let mut s = Story::new(&System::driver(Guest::new("a")));
    assert_eq!(map(&mut s, PLACE, 0, 1, 3), None);
    let claim = |s: &Story| {
        let mut none = strato_hyp::lock::Held::for_example();
        s.machine.devices.lock(&mut none).0.claim(1, RTC, 0x1000, false, false)
    };
    assert!(claim(&s).is_err(), "its driver lives");
    s.begin(A, Call::CoreExit, &[0, 0]);
    s.turns(50);
    assert!(s.try_vm(0, |_| ()).is_none());
    assert_eq!(claim(&s), Ok(()));
    s.audit();
}

#[test]
fn what_a_device_raises_late_ends_the_vm_that_has_it_and_not_the_next() {
    // By the end of its slice, and by a call that gives the core away.
    for is_call in [false, true] {
        let mut system = System::pair(Guest::new("a"), Guest::new("b"));
        system.device(0, RTC);
        let mut s = Story::new(&system);
        s.turns(4);
        s.step(A, move |frame| {
            entry::raise_serror();
            if is_call {
                fill(frame, Call::VcpuYield.function_id().into(), &[0, 0]);
                return Deed::Hvc;
            }
            Deed::Exit(INTERRUPT)
        });
        for _ in 0..4 {
            s.step(B, |_| {
                assert!(!entry::drain_serror(), "it would be taken for b's");
                Deed::Exit(INTERRUPT)
            });
        }
        s.turns(100); // its end takes steps
        assert!(s.log().iter().any(|line| line == "vm a: system error (SError), late, by a device of its"));
        assert_eq!((s.try_vm(0, |_| ()), s.try_vm(1, |_| ())), (None, Some(())));
        assert!(s.ran().ends_with(&[B, B]));
        s.close();
    }
}
