//! Filters: a VM reads and writes the bits of a shared page that it was given, each access done for it, and is stopped for any other.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};
use strato_abi::plan::VM_FAULT_HANDLER;
use strato_hyp::arch::Deed;
use strato_hyp::arch::frame::RawExit;
use strato_hyp::board::{AllowError, Broken, ClaimError};
use strato_hyp::lock::Held;
use strato_hyp::memory::descriptor::MemoryType;

use crate::plan::{CODE, GPIO, Guest, System};
use crate::stage::Story;
use crate::talk::{A, B, handle};

const PLACE: u64 = 0x3000_0000;
const PC: u64 = CODE + 0x20;
const DATA0: u64 = 0x004;
const DATA1: u64 = 0x008;
const DIRECTION: u64 = 0x400;
const DATA_ABORT: u64 = 0x24 << 26 | 1 << 25 | 0x0f;
const WRITE: u64 = 1 << 6;
/// A plain access of 32 bits from or to w7.
const WORD: u64 = 1 << 24 | 2 << 22 | 7 << 16;

fn abort(iss: u64, offset: u64) -> RawExit {
    RawExit { vector: 0, esr: DATA_ABORT | iss, far: PLACE + offset, hpfar: 0 }
}

/// Two VMs that share the GPIO: `a` has pin 0, `b` pin 1; each has mapped its window with `attributes`.
fn two(flags: u32, attributes: u64) -> Story {
    let mut system = System::pair(Guest { flags, ..Guest::new("a") }, Guest::new("b"));
    system.filtered(0, &[(DATA0, 1), (DIRECTION, 1)]).filtered(1, &[(DATA1, 2), (DIRECTION, 2)]);
    let mut s = Story::new(&system);
    for who in [A, B] {
        assert_eq!(s.call(who, Call::AsMap, &[0, PLACE, handle(3), 0, 1, attributes])[..2], [3, 1]);
    }
    s
}

/// Lets `who` trap with w7 holding `value`. Returns its PC and x7 behind it, when it goes on.
fn access(s: &mut Story, who: (u8, u8), exit: RawExit, value: u64) -> Option<(u64, u64)> {
    let frame = s.deed(who, move |frame| {
        (frame.pc, frame.pstate) = (PC, 0x3c5);
        frame.write(7, value);
        Deed::Exit(exit)
    })?;
    Some((frame.pc, frame.read(7)))
}

fn read(s: &mut Story, who: (u8, u8), offset: u64) -> u64 {
    let (pc, value) = access(s, who, abort(WORD, offset), u64::MAX).unwrap();
    assert_eq!(pc, PC + 4);
    value
}

fn write(s: &mut Story, who: (u8, u8), offset: u64, value: u64) {
    assert_eq!(access(s, who, abort(WORD | WRITE, offset), value), Some((PC + 4, value)));
}

#[test]
fn each_vm_reads_and_writes_its_own_bits_of_one_register() {
    let mut s = two(0, 3);
    write(&mut s, A, DIRECTION, u64::MAX);
    assert_eq!((read(&mut s, A, DIRECTION), read(&mut s, B, DIRECTION)), (1, 0));
    write(&mut s, B, DIRECTION, 0xffff_ffff_0000_0002);
    assert_eq!((read(&mut s, A, DIRECTION), read(&mut s, B, DIRECTION)), (1, 2));
    write(&mut s, A, DIRECTION, 2);
    assert_eq!((read(&mut s, A, DIRECTION), read(&mut s, B, DIRECTION)), (0, 2));
    s.close();
}

#[test]
fn the_zero_register_is_written_as_zero_and_swallows_what_is_read() {
    let mut s = two(0, 3);
    write(&mut s, A, DATA0, 1);
    let zero = 1 << 24 | 2 << 22 | 31 << 16;
    assert_eq!(access(&mut s, A, abort(zero, DATA0), 5), Some((PC + 4, 5)));
    assert_eq!(access(&mut s, A, abort(zero | WRITE, DATA0), 5), Some((PC + 4, 5)));
    assert_eq!(read(&mut s, A, DATA0), 0);
    s.close();
}

#[test]
fn any_other_access_stops_the_vm_with_the_rule_that_it_broke_whatever_handler_it_has() {
    const FILTER: &str = "access to a register that its filter does not allow at 0x30000";
    const PLAIN: &str = "other access to filtered registers than a plain one of 32 bits at 0x30000004";
    let cases = [
        (abort(WORD, DATA1), FILTER),
        (abort(WORD | WRITE, DATA1), FILTER),
        (abort(WORD | WRITE, 0), FILTER),
        (abort(WORD, 0x410), FILTER),
        (abort(WORD, 0xffc), FILTER),
        (abort(WORD, DATA0 + 1), "access to filtered registers that is not aligned at 0x30000005"),
        (abort(WRITE, DATA0), PLAIN),
        (abort(WORD ^ 1 << 22, DATA0), PLAIN),
        (abort(WORD ^ 1 << 23, DATA0), PLAIN),
        (abort(WORD | 1 << 14, DATA0), PLAIN),
        (abort(WRITE | 1 << 8, DATA0), PLAIN), // DC IVAC
        (RawExit { esr: 0x20 << 26 | 1 << 25 | 0x0f, ..abort(0, DATA0) }, PLAIN),
    ];
    for (flags, (exit, words)) in [0, VM_FAULT_HANDLER].into_iter().flat_map(|flags| cases.map(|case| (flags, case))) {
        let mut s = two(flags, 3);
        write(&mut s, B, DATA1, 2);
        assert_eq!(access(&mut s, A, exit, 0), None);
        s.turns(30);
        assert!(s.try_vm(0, |_| ()).is_none(), "{words}");
        let log = s.log();
        assert!(log.iter().any(|line| line.starts_with("vm a: vcpu 0: ") && line.contains(words)), "{words}: {log:?}");
        assert!(log.iter().any(|line| line.contains("registers with a filter")), "{log:?}");
        assert_eq!(read(&mut s, B, DATA1), 2, "the other keeps its pin");
        s.close();
    }
}

#[test]
fn a_window_for_reading_is_not_written_through() {
    let mut s = two(0, 1);
    assert_eq!(read(&mut s, A, DATA0), 0);
    assert_eq!(access(&mut s, A, abort(WORD | WRITE, DATA0), 1), None);
    assert!(s.log().iter().any(|line| line.contains("write to filtered registers that are mapped for reading")));
    s.close();
}

#[test]
fn a_window_lets_nothing_through_and_is_found_and_unmapped_like_any_page() {
    let mut s = two(0, 3);
    let leaf = s.vm(0, |vm| {
        let mut none = Held::for_example();
        let (inner, _held) = vm.inner.lock(&mut none);
        inner.spaces.get(0).unwrap().query(strato_abi::Ipa::new(PLACE).unwrap()).unwrap()
    });
    assert_eq!((leaf.pa.bytes(), leaf.attr.memory(), leaf.attr.rights().bits()), (GPIO, MemoryType::Device, 0));
    assert_eq!(s.ask(A, Call::AsQuery, &[0, PLACE]).unwrap()[..6], [0, handle(3), 0, 3, 3, 0]);
    let refused = s.refused(A, Call::AsProtect, &[0, PLACE, 1, 3, 0]);
    assert_eq!(refused, (Code::BadAttribute, 4, Reason::None));
    assert_eq!(s.refused(A, Call::AsMap, &[0, PLACE + 0x1000, handle(3), 0, 1, 5]).0, Code::Denied);
    assert_eq!(s.call(A, Call::AsUnmap, &[0, PLACE, 1, 0])[1], 1);
    let gone = RawExit { esr: DATA_ABORT & !0x0f | 0x07 | WORD, hpfar: PLACE >> 8, ..abort(0, DATA0) };
    assert_eq!(access(&mut s, A, gone, 0), None);
    assert!(s.log().iter().any(|line| line.contains("read of an unmapped address at 0x30000004")), "{:?}", s.log());
    s.close();
}

#[test]
fn the_bits_of_a_vm_that_ended_are_the_next_ones_and_what_it_wrote_stays() {
    let mut s = two(0, 3);
    write(&mut s, A, DIRECTION, 1);
    let next = |s: &Story| {
        let mut none = Held::for_example();
        let (mut devices, _held) = s.machine.devices.lock(&mut none);
        (devices.claim(5, GPIO, 0x1000, false, true), devices.allow(5, GPIO + DIRECTION, 1))
    };
    assert_eq!(next(&s), (Ok(()), Err(AllowError::Taken)), "its driver lives");
    s.begin(A, Call::CoreExit, &[0, 0]);
    s.turns(50);
    assert!(s.try_vm(0, |_| ()).is_none());
    assert_eq!(next(&s), (Err(ClaimError::Taken), Ok(())));
    let mut none = Held::for_example();
    let devices = s.machine.devices.lock(&mut none).0;
    assert_eq!(devices.access(0, GPIO + DIRECTION, None), Err(Broken::Register));
    assert_eq!(devices.access(5, GPIO + DIRECTION, None), Ok(1));
    drop(devices);
    s.close();
}

/// The VM ends on one core while a vCPU of it is on another, which has not read its letter.
#[test]
fn an_access_that_races_with_the_end_of_its_vm_is_done_before_the_bits_are_anothers() {
    let cores = [0, 1, 0, 0, 0, 0, 0, 0];
    let mut system = System::pair(Guest { vcpus: 2, cores, ..Guest::new("a") }, Guest::new("b"));
    system.filtered(0, &[(DATA0, 1), (DIRECTION, 1)]).filtered(1, &[(DATA1, 2), (DIRECTION, 2)]);
    let mut s = Story::on(&system, 2);
    s.call(A, Call::AsMap, &[0, PLACE, handle(3), 0, 1, 3]);
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    s.turns(4);
    s.begin(A, Call::CoreExit, &[0, 0]);
    (0..60).for_each(|_| assert!(!s.turn_on(0)));
    let direction = |s: &Story, place| {
        let mut none = Held::for_example();
        let (mut devices, _held) = s.machine.devices.lock(&mut none);
        let _ = devices.claim(5, GPIO, 0x1000, false, true);
        (devices.access(place, GPIO + DIRECTION, None), devices.allow(5, GPIO + DIRECTION, 1))
    };
    assert_eq!(direction(&s, 0), (Ok(0), Err(AllowError::Taken)), "a core may still touch it");
    s.step((0, 1), |frame| {
        (frame.pc, frame.pstate) = (PC, 0x3c5);
        frame.write(7, 1);
        Deed::Exit(abort(WORD | WRITE, DIRECTION))
    });
    s.turn_on(1);
    assert_eq!(direction(&s, 0), (Ok(1), Err(AllowError::Taken)));
    s.until_gone(0);
    assert_eq!(direction(&s, 0), (Err(Broken::Register), Ok(())));
    s.close();
}

#[test]
fn a_filter_of_another_board_is_passed_over() {
    let mut system = System::new([Guest::new("a")]);
    system.allow_on("rpi4", 0, 0xfe20_0008, 0x38);
    let mut s = Story::new(&system);
    assert_eq!(s.refused(A, Call::CoreHandleInfo, &[handle(1)]).0, Code::BadHandle);
    s.close();
}
