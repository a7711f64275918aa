//! Traced: what a core writes down of each crossing when the packed system asks for it, and that guests see no difference.

use strato_abi::trace::{CAUSE_TIMER, Crossing, Decision, NOBODY, Record, RingHeader, UNKNOWN_CALL, trace_flags};
use strato_abi::{Call, Code};
use strato_hyp::arch::Deed;
use strato_hyp::arch::frame::RawExit;
use zerocopy::{FromBytes, IntoBytes};

use crate::plan::{CODE, Guest, SLICE, System};
use crate::stage::Story;
use crate::talk::{A, B, handle};

fn traced() -> Story {
    let mut system = System::pair(Guest::new("a"), Guest::new("b"));
    system.flags = trace_flags(1);
    Story::new(&system)
}

/// Returns the ring's header and its records.
pub(crate) fn ring(s: &mut Story) -> (RingHeader, Vec<Record>) {
    let tracer = s.cpu(0).tracer.as_deref().expect("it records");
    let header = RingHeader::read_from_bytes(tracer.slot(0).unwrap().as_bytes()).unwrap();
    let slots = (1..=header.written as usize).map_while(|n| tracer.slot(n));
    (header, slots.map(|slot| Record::read_from_bytes(slot.as_bytes()).unwrap()).collect())
}

fn of(records: &[Record], crossing: Crossing, number: u32) -> Record {
    let is_it = |record: &&Record| record.crossing == crossing as u8 && record.number == number;
    *records.iter().find(is_it).expect("it is recorded")
}

#[test]
fn a_system_that_does_not_ask_is_not_recorded() {
    let mut s = Story::new(&System::one(1));
    assert!(s.cpu(0).tracer.is_none() && !s.log().iter().any(|line| line.starts_with("trace: ")));
    s.close();
}

#[test]
fn a_call_is_recorded_with_its_arguments_and_what_it_came_to() {
    let mut s = traced();
    let plain = s.call(A, Call::CoreNop, &[]);
    let (code, _, _) = s.refused(A, Call::AsQuery, &[0, 0x123, 3]);
    assert!(
        s.log().iter().any(|line| line.starts_with("trace: core 0: 8192 bytes at 0x")),
        "the host tool reads it there"
    );
    let (header, records) = ring(&mut s);
    assert_eq!(u64::from(records.last().unwrap().serial) + 1, header.written);
    let nop = of(&records, Crossing::Call, Call::CoreNop as u32);
    assert_eq!(
        (nop.from_vm, nop.from_vcpu, nop.to_vm, nop.to_vcpu, nop.pc),
        (0, 0, 0, 0, CODE + 4),
        "PC is behind the call"
    );
    assert_eq!((nop.decision, nop.results), (Decision::Stay as u8, [0, plain[0], 0, 0]));
    let query = of(&records, Crossing::Call, Call::AsQuery as u32);
    assert_eq!(query.arguments[..3], [0, 0x123, 3]);
    assert_eq!(Code::from_i64(query.results[0].cast_signed()), Some(code));
    s.close();
}

#[test]
fn a_vcpu_that_runs_by_another_share_is_not_recorded_as_one_that_yields() {
    let mut system = System::new([Guest::new("a")]);
    system.flags = trace_flags(1);
    system.sched(0, 0, 1000, 4000, 1);
    let mut s = Story::new(&system);
    let (handle, half) = (1 << 16 | 1, SLICE / 2);
    s.call(A, Call::VcpuSchedSet, &[handle, 3, half, 0]);
    let number = |(_, records): (RingHeader, Vec<Record>)| of(&records, Crossing::Call, Call::VcpuSchedSet as u32);
    let by_share = number(ring(&mut s));
    assert_eq!((by_share.decision, by_share.results), (Decision::Schedule as u8, [0, 1, half, 4 * SLICE]));
    s.call(A, Call::VcpuSchedSet, &[0, 1, 0, 0]);
    let (_, records) = ring(&mut s);
    let last = records.iter().rfind(|record| record.number == Call::VcpuSchedSet as u32).unwrap();
    assert_eq!((last.decision, last.results), (Decision::Schedule as u8, [0; 4]));
    s.close();
}

#[test]
fn a_call_that_wakes_and_one_that_waits_say_whom_and_who_has_the_core_then() {
    let mut s = traced();
    s.begin(B, Call::VcpuWait, &[u64::MAX]);
    s.turns(4);
    s.call(A, Call::EvtSend, &[handle(2)]);
    s.turns(2);
    let (_, records) = ring(&mut s);
    let wait = of(&records, Crossing::Call, Call::VcpuWait as u32);
    assert_eq!((wait.decision, wait.results[0]), (Decision::Wait as u8, u64::MAX));
    assert_eq!((wait.from_vm, wait.to_vm), (1, 0));
    let send = of(&records, Crossing::Call, Call::EvtSend as u32);
    assert_eq!((send.decision, send.woken_vm, send.woken_vcpus), (Decision::Resume as u8, 1, 1));
    // Whoever has the core next is whoever leaves next.
    for (before, after) in records.iter().zip(&records[1..]) {
        assert_eq!((before.to_vm, before.to_vcpu), (after.from_vm, after.from_vcpu), "{before:?}\n{after:?}");
    }
    s.close();
}

#[test]
fn whatever_else_leaves_is_recorded_as_what_it_is() {
    let mut s = traced();
    s.deed(A, |frame| {
        frame.x[0] = 0xc600_00df;
        Deed::Hvc
    });
    s.deed(A, |frame| {
        frame.x[0] = 0x8400_0000;
        Deed::Exit(RawExit { vector: 0, esr: 0x16 << 26 | 1 << 25, ..RawExit::default() })
    });
    let (_, records) = ring(&mut s);
    let unknown = of(&records, Crossing::Call, UNKNOWN_CALL);
    assert_eq!(unknown.results[0].cast_signed(), Code::NotSupported as i64);
    let version = of(&records, Crossing::Trap, 0x8400_0000);
    assert_eq!(
        (version.decision, version.results[0], version.syndrome >> 26),
        (Decision::Service as u8, 0x1_0001, 0x16)
    );
    assert!(records.iter().any(|record| record.crossing == Crossing::Interrupt as u8));
    s.close();
}

#[test]
fn an_abort_that_ends_a_vm_is_one_record_and_a_core_without_guests_belongs_to_nobody() {
    let mut system = System::one(1);
    system.flags = trace_flags(1);
    let mut s = Story::new(&system);
    s.step(A, |_| {
        Deed::Exit(RawExit { vector: 0, esr: 0x24 << 26 | 1 << 25 | 0x47, far: 0x7000_0010, hpfar: 0x7_0000 << 4 })
    });
    s.turns(30);
    let (_, records) = ring(&mut s);
    let aborts: Vec<_> = records.iter().filter(|record| record.crossing == Crossing::Abort as u8).collect();
    let [abort] = aborts.as_slice() else { panic!("one: {aborts:?}") };
    assert_eq!((abort.decision, abort.arguments[0], abort.to_vm), (Decision::Stop as u8, 0x7000_0010, NOBODY));
    let woken: Vec<_> = records.iter().filter(|record| record.crossing == Crossing::Wake as u8).collect();
    assert!(woken.iter().all(|record| record.from_vm == NOBODY && record.number & !3 == 0), "{CAUSE_TIMER} {woken:?}");
    s.close();
}

#[test]
fn guests_see_the_same_whether_they_are_recorded_or_not() {
    let story = |flags| {
        let mut system = System::pair(Guest::new("a"), Guest::new("b"));
        system.flags = flags;
        let mut s = Story::new(&system);
        let frames = [
            s.call(A, Call::CoreNop, &[]),
            s.call(A, Call::EvtSend, &[handle(2)]),
            s.call(B, Call::EvtAck, &[]),
            s.call(A, Call::CoreLimit, &[1]),
        ];
        s.close();
        frames
    };
    assert_eq!(story(0), story(trace_flags(1)));
}
