//! Native: a guest that runs stage 1 itself has its translation registers to itself, and its faults by its own addresses.

use strato_abi::Call;
use strato_abi::plan::{VM_FAULT_HANDLER, VM_NATIVE};
use strato_hyp::arch::el1::{El1, Stage1};
use strato_hyp::arch::frame::RawExit;
use strato_hyp::arch::{Deed, guest, native};

use crate::plan::{CODE, DATA, Guest, SLICE, System};
use crate::stage::{INTERRUPT, Story, Who, shown};
use crate::talk::{A, B};

const VECTORS: u64 = CODE + 0x800;
const PC: u64 = 0xffff_0000_0000_0020;
const VIRTUAL: u64 = 0xffff_0000_dead_0123;
const HOLE: u64 = 0x6000_0000;
const WRITE: u64 = 1 << 6;
const ON_WALK: u64 = 1 << 7;

fn guest_of(label: &'static str, flags: u32) -> Guest {
    Guest { flags: flags | VM_FAULT_HANDLER, ..Guest::new(label) }
}

fn story() -> Story {
    Story::new(&System::pair(guest_of("a", VM_NATIVE), guest_of("b", 0)))
}

/// Lets `who` look at its translation registers and change them, while it has the core.
fn at_stage1(s: &mut Story, who: Who, with: impl FnOnce(&mut Stage1) + 'static) {
    let came_back = s.deed(who, move |_| {
        native::change(with);
        Deed::Exit(INTERRUPT)
    });
    assert!(came_back.is_some(), "the guest goes on");
}

fn marked(value: u64) -> Stage1 {
    let [ttbr0, ttbr1, mair, amair, contextidr, afsr0, afsr1, tcr, sctlr] =
        core::array::from_fn(|n| value << 8 | n as u64);
    Stage1 { ttbr0, ttbr1, mair, amair, contextidr, afsr0, afsr1, tcr, sctlr }
}

#[test]
fn translation_registers_are_a_native_vcpus_own_and_constants_for_all_others() {
    let mut s = story();
    s.pace = SLICE / 4;
    at_stage1(&mut s, A, |now| {
        assert_eq!(*now, Stage1::RESET, "as after reset");
        *now = marked(0xa);
    });
    for _ in 0..3 {
        at_stage1(&mut s, B, |now| assert_eq!(*now, Stage1::RESET));
        at_stage1(&mut s, A, |now| assert_eq!(*now, marked(0xa)));
        s.call(A, Call::VcpuYield, &[0, 0]);
    }
    // One waits and is the last that had the core; its registers are saved when the other is there again.
    s.begin(B, Call::VcpuWait, &[u64::MAX]);
    s.turns(4);
    at_stage1(&mut s, A, |now| now.ttbr0 = 0x55);
    s.begin(A, Call::VcpuWait, &[shown() + 40 * SLICE]);
    s.turns(200);
    at_stage1(&mut s, A, |now| assert_eq!(now.ttbr0, 0x55));
    s.close();
}

#[test]
fn two_native_guests_and_two_vcpus_of_one_are_kept_apart() {
    let a = Guest { vcpus: 2, ..guest_of("a", VM_NATIVE) };
    let mut s = Story::new(&System::pair(a, guest_of("b", VM_NATIVE)));
    let second = (0, 1);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    for (who, value) in [(A, 1), (second, 2), (B, 3)] {
        at_stage1(&mut s, who, move |now| {
            assert_eq!(*now, Stage1::RESET);
            *now = marked(value);
        });
    }
    for (who, value) in [(A, 1), (second, 2), (B, 3), (second, 2), (A, 1)] {
        at_stage1(&mut s, who, move |now| assert_eq!(*now, marked(value)));
    }
    s.close();
}

#[test]
fn a_core_forgets_translations_only_where_two_vcpus_may_mean_different_things() {
    for (vcpus, forgets) in [(1, false), (2, true)] {
        let a = Guest { vcpus, ..guest_of("a", VM_NATIVE) };
        let mut s = Story::new(&System::pair(a, guest_of("b", 0)));
        let before = native::invalidations();
        for _ in 0..3 {
            at_stage1(&mut s, A, |_| ());
            at_stage1(&mut s, B, |_| ());
        }
        assert_eq!(native::invalidations() > before, forgets, "{vcpus} vCPUs");
        s.close();
    }
}

#[test]
fn a_vcpu_that_turns_off_leaves_the_constants_and_starts_as_after_reset() {
    let a = Guest { vcpus: 2, ..guest_of("a", VM_NATIVE) };
    let mut s = Story::new(&System::pair(a, guest_of("b", 0)));
    let second = (0, 1);
    for _ in 0..2 {
        s.call(A, Call::VcpuStart, &[1, CODE, 0]);
        at_stage1(&mut s, second, |now| assert_eq!(std::mem::replace(now, marked(9)), Stage1::RESET));
        s.begin(second, Call::VcpuStop, &[]);
        s.turns(4);
        at_stage1(&mut s, B, |now| assert_eq!(*now, Stage1::RESET));
    }
    // The end of the whole VM leaves them too.
    at_stage1(&mut s, A, |now| *now = marked(8));
    s.begin(A, Call::CoreExit, &[0]);
    s.turns(20);
    at_stage1(&mut s, B, |now| assert_eq!(*now, Stage1::RESET));
    s.close();
}

/// Lets `A` fault at the virtual address, with `ipa` in HPFAR_EL2. Returns its PC, ESR_EL1 and FAR_EL1.
fn fault(s: &mut Story, class: u64, iss: u64, ipa: u64) -> (u64, u64, u64) {
    let esr = class << 26 | 1 << 25 | iss;
    s.step(A, move |frame| {
        guest::change(|el1| *el1 = El1 { vbar: VECTORS, ..El1::RESET });
        (frame.pc, frame.pstate) = (PC, 0x3c5);
        Deed::Exit(RawExit { vector: 0, esr, far: VIRTUAL, hpfar: ipa >> 12 << 4 })
    });
    s.step(A, |_| Deed::Exit(INTERRUPT));
    let frame = s.until_seen(A).expect("the guest goes on");
    let mut el1 = El1::RESET;
    guest::save(&mut el1);
    (frame.pc, el1.esr, el1.far)
}

#[test]
fn a_fault_has_the_virtual_address_and_query_has_the_guest_physical_one() {
    let mut s = story();
    let (pc, esr, far) = fault(&mut s, 0x24, 0x07 | WRITE, HOLE);
    assert_eq!((pc, esr, far), (VECTORS + 0x200, 0x25 << 26 | 1 << 25 | WRITE | 0x07, VIRTUAL));
    // What stage 2 allows is tried again, whatever address the guest uses for it.
    assert_eq!(fault(&mut s, 0x24, 0x07, DATA).0, PC);
    s.close();
}

#[test]
fn a_permission_fault_is_judged_by_what_stage_1_makes_of_the_address() {
    let mut s = story();
    // HPFAR_EL2 says nothing: it holds an address that would be allowed.
    native::set_translation(Some(CODE));
    let (pc, esr, far) = fault(&mut s, 0x24, 0x0f | WRITE, DATA);
    assert_eq!((pc, esr, far), (VECTORS + 0x200, 0x25 << 26 | 1 << 25 | WRITE | 0x0f, VIRTUAL));
    assert_eq!(s.ask(A, Call::AsQuery, &[0, CODE]).unwrap()[5], 2, "a permission fault at the page behind the address");
    native::set_translation(Some(DATA));
    assert_eq!(fault(&mut s, 0x24, 0x0f | WRITE, HOLE).0, PC, "allowed by now");
    native::set_translation(None);
    assert_eq!(
        fault(&mut s, 0x24, 0x0f | WRITE, HOLE).0,
        PC,
        "its tables changed: it takes the fault of stage 1 itself"
    );
    s.close();
}

#[test]
fn a_refused_walk_is_an_external_abort_on_a_walk() {
    let mut s = story();
    for (class, same) in [(0x24, 0x25), (0x20, 0x21)] {
        let (pc, esr, far) = fault(&mut s, class, ON_WALK | 0x06, HOLE);
        assert_eq!((pc, esr, far), (VECTORS + 0x200, same << 26 | 1 << 25 | 0x16, VIRTUAL));
    }
    // The table is there by now; the access behind it may be a store, the walk only reads.
    assert_eq!(fault(&mut s, 0x24, ON_WALK | 0x07 | WRITE, CODE).0, PC);
    // A walk that stage 2 leads where none may go is told, not tried again.
    assert_eq!(fault(&mut s, 0x24, ON_WALK | 0x0f, CODE).1 & 0x3f, 0x17);
    s.close();
}

#[test]
fn a_guest_whose_vectors_cannot_be_walked_to_is_stopped_with_a_report() {
    let mut s = story();
    s.step(A, |frame| {
        guest::change(|el1| *el1 = El1 { vbar: VIRTUAL & !0x7ff, ..El1::RESET });
        frame.pc = VIRTUAL;
        let esr = 0x20 << 26 | 1 << 25 | ON_WALK | 0x07;
        Deed::Exit(RawExit { vector: 0, esr, far: VIRTUAL, hpfar: HOLE >> 12 << 4 })
    });
    s.turns(100);
    assert!(s.try_vm(0, |_| ()).is_none(), "the VM is gone");
    assert!(s.log().iter().any(|line| line.contains("a translation table that cannot be read")), "{:?}", s.log());
    at_stage1(&mut s, B, |now| assert_eq!(*now, Stage1::RESET));
    s.close();
}
