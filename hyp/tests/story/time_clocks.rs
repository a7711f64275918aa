//! TIME.CLOCK, and what the vCPU area says of the time.

use std::mem::offset_of;

use strato_abi::Call;
use strato_abi::error::{Code, Reason};
use strato_abi::vcpu_area::VcpuRecord;
use strato_hyp::sync::Ordering;
use strato_hyp::timer::Wall;
use strato_hyp::vm::Vm;

use crate::event_calls::pair;
use crate::plan::{SLICE, System};
use crate::stage::BORN;
use crate::talk::A;
use crate::time_calls::slow;

#[test]
fn the_time_of_day_goes_on_from_what_the_machines_clock_said() {
    let wall = Wall { ns: 1_800_000_000_000_000_000, counter: 0 };
    let mut s = slow(&System { wall: Some(wall), ..pair() });
    let [ns, counter, epoch] = s.call(A, Call::TimeClock, &[1]);
    assert_eq!((ns, epoch), (wall.ns + (BORN + counter) * 16, 0));
    let word = |vm: &Vm, offset: usize| vm.pages[1].word(offset / 8).unwrap().load(Ordering::Relaxed);
    let fields =
        [offset_of!(VcpuRecord, wall_base), offset_of!(VcpuRecord, wall_counter), offset_of!(VcpuRecord, wall_epoch)];
    assert_eq!(s.vm(A.0, |vm| fields.map(|field| word(vm, field))), [wall.ns + BORN * 16, 0, 0]);
    s.close();
}

#[test]
fn clocks_go_on_and_agree_with_the_counter() {
    let mut s = slow(&pair());
    let [ns, counter, epoch] = s.call(A, Call::TimeClock, &[0]);
    assert_eq!((ns, epoch), (counter * 16, 0), "62.5 MHz");
    let [before, ..] = s.call(A, Call::TimeClock, &[2]);
    s.pace = SLICE;
    s.turns(9);
    let [after, now, _] = s.call(A, Call::TimeClock, &[2]);
    let wall = (now - counter) * 16;
    assert!(after > before && after - before < wall, "half of it was the other's: {after} {before} {wall}");
    assert_eq!(s.refused(A, Call::TimeClock, &[1]), (Code::State, 1, Reason::None));
    assert_eq!(s.refused(A, Call::TimeClock, &[3]), (Code::Invalid, 1, Reason::UnknownValue));
    s.close();
}
