//! TIME: timers that raise ports, and clocks.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};
use strato_abi::limit::LimitKey;
use strato_hyp::arch::{Deed, gic_cpu, timer};

use crate::event_calls::{PORT, pair};
use crate::plan::{Guest, SLICE, System};
use crate::stage::{BORN, INTERRUPT, Story, Who, shown};
use crate::talk::{A, B, handle};

pub(crate) const NEVER: u64 = u64::MAX;
/// Ticks of the shortest period: 100 microseconds at 62.5 MHz.
const SHORTEST: u64 = 6250;

/// A story in which a turn takes a tick.
pub(crate) fn slow(system: &System) -> Story {
    let mut s = Story::new(system);
    s.pace = 1;
    s
}

impl Story {
    /// Makes a port of one's own.
    pub(crate) fn own_port(&mut self, who: Who) -> u64 {
        self.call(who, Call::EvtOffer, &[0])[0]
    }

    /// Takes the events of `port`; returns whether there was one.
    pub(crate) fn take(&mut self, who: Who, port: u64) -> bool {
        let bit = 1 << (port & 63);
        self.vm(who.0, |vm| {
            let word = vm.area.pages().word(usize::from(who.1) * 64).unwrap();
            word.fetch_and(!bit, strato_hyp::sync::Ordering::SeqCst) & bit != 0
        })
    }
}

#[test]
fn a_port_of_ones_own_raises_itself() {
    let mut s = slow(&System::one(1));
    let [port, key, _] = s.call(A, Call::EvtOffer, &[0]);
    assert_eq!(key, 0, "nobody else connects");
    s.call(A, Call::EvtSend, &[port]);
    assert!(s.take(A, port));
    s.call(A, Call::EvtClose, &[port]);
    assert_eq!(s.refused(A, Call::EvtSend, &[port]).0, Code::Stale);
    s.close();
}

#[test]
fn a_timer_raises_its_port_once_when_its_time_has_come_and_not_before() {
    let mut s = slow(&System::one(1));
    let port = s.own_port(A);
    let deadline = shown() + 20;
    s.call(A, Call::TimeTimerSet, &[port, deadline, 0, 0]);
    assert_eq!(timer::armed(), Some(BORN + deadline), "the guest was not left for it");
    while shown() < deadline {
        assert!(!s.take(A, port));
        s.turns(1);
    }
    s.turns(1);
    assert!(s.take(A, port));
    s.turns(50);
    assert!(!s.take(A, port));
    assert_eq!(timer::armed(), None);
    s.close();
}

#[test]
fn a_timer_wakes_a_vcpu_that_waits_and_the_wait_names_the_event() {
    let mut s = slow(&pair());
    s.call(A, Call::TimeTimerSet, &[PORT, shown() + 30, 0, 0]);
    s.begin(A, Call::VcpuWait, &[NEVER]);
    s.turns(10);
    assert!(s.answer(A, Call::VcpuWait).is_none());
    s.pace = SLICE; // the other has the core
    s.until_seen(A).unwrap();
    assert_eq!(s.answer(A, Call::VcpuWait).unwrap()[1], 1);
    assert!(s.take(A, PORT) && !s.take(B, PORT), "its own end, not the other");
    s.close();
}

#[test]
fn a_periodic_timer_keeps_to_its_grid_however_late_the_core_is() {
    let mut s = slow(&System::one(1));
    let (port, first) = (s.own_port(A), shown() + 10);
    s.call(A, Call::TimeTimerSet, &[port, first, SHORTEST, 0]);
    for late in [0, 3, SHORTEST - 1, SHORTEST, 7 * SHORTEST + 11] {
        timer::set_now(timer::armed().unwrap() + late);
        s.turns(2); // it is armed when the guest goes on
        assert!(s.take(A, port), "one event, of however many periods");
        let next = timer::armed().unwrap();
        assert!(next > timer::now() && next - timer::now() <= SHORTEST);
        assert_eq!((next - BORN - first) % SHORTEST, 0, "nothing drifts");
    }
    assert_eq!(s.call(A, Call::TimeTimerCancel, &[port])[0], 1);
    s.close();
}

#[test]
fn slack_makes_timers_meet() {
    let mut s = slow(&System::one(1));
    let ports: Vec<u64> = (0..3).map(|_| s.own_port(A)).collect();
    let now = timer::now();
    for (n, port) in (0..).zip(&ports) {
        s.call(A, Call::TimeTimerSet, &[*port, now - BORN + 1000 + n, 0, 4096]);
    }
    let moment = timer::armed().unwrap();
    assert!(moment >= now + 1002 && moment <= now + 1000 + 4096);
    timer::set_now(moment);
    s.turns(1);
    assert!(ports.iter().all(|port| s.take(A, *port)), "one interrupt for all");
    s.close();
}

#[test]
fn times_that_have_passed_and_times_that_never_come_are_defined() {
    let mut s = slow(&System::one(1));
    let port = s.own_port(A);
    for deadline in [0, 1, shown()] {
        s.call(A, Call::TimeTimerSet, &[port, deadline, 0, 0]);
        s.turns(1);
        assert!(s.take(A, port));
    }
    for deadline in [1 << 63, NEVER - 1, NEVER] {
        for (period, slack) in [(0, 0), (NEVER, 0), (0, NEVER), (1 << 63, 1 << 63)] {
            s.call(A, Call::TimeTimerSet, &[port, deadline, period, slack]);
            s.turns(2);
            assert!(!s.take(A, port));
        }
    }
    // From the first moment on every 2^63 ticks: the next one is far ahead, and nothing wraps.
    s.call(A, Call::TimeTimerSet, &[port, 0, 1 << 63, 0]);
    s.turns(2);
    assert!(s.take(A, port));
    assert_eq!(timer::armed(), Some(BORN + (1 << 63)));
    s.close();
}

#[test]
fn a_port_has_one_timer_and_cancelling_says_whether_it_was_set() {
    let mut s = slow(&System::one(1));
    let port = s.own_port(A);
    assert_eq!(s.call(A, Call::TimeTimerCancel, &[port])[0], 0);
    s.call(A, Call::TimeTimerSet, &[port, shown() + 40, 0, 0]);
    s.call(A, Call::TimeTimerSet, &[port, shown() + 400, 0, 0]);
    s.turns(60);
    assert!(!s.take(A, port), "the first was replaced");
    assert_eq!(s.call(A, Call::TimeTimerCancel, &[port])[0], 1);
    assert_eq!(s.call(A, Call::TimeTimerCancel, &[port])[0], 0);
    s.pace = 500;
    s.turns(4);
    assert!(!s.take(A, port));
    s.close();
}

#[test]
fn every_refusal_of_a_timer_leaves_it_unset() {
    let mut s = slow(&pair());
    for call in [Call::TimeTimerSet, Call::TimeTimerCancel, Call::TimeLocal] {
        assert_eq!(s.refused(A, call, &[handle(9), 0, 0, 0]).0, Code::BadHandle);
        assert_eq!(s.refused(A, call, &[PORT + (1 << 16), 0, 0, 0]).0, Code::Stale);
        assert_eq!(s.refused(A, call, &[handle(0), 0, 0, 0]).0, Code::WrongKind);
    }
    let set = |period| [PORT, 0, period, 0];
    assert_eq!(s.refused(A, Call::TimeTimerSet, &set(1)), (Code::Invalid, 3, Reason::TooSmall));
    assert_eq!(s.refused(A, Call::TimeTimerSet, &set(SHORTEST - 1)), (Code::Invalid, 3, Reason::TooSmall));
    s.turns(3);
    assert_eq!(s.word(A, 0), 0);
    s.call(A, Call::TimeTimerSet, &set(SHORTEST));
    s.close();
}

#[test]
fn a_vm_has_so_many_timers_and_a_closed_port_gives_its_one_back() {
    let mut s = slow(&System::new([Guest { handles: 64, ..Guest::new("a") }]));
    let limit = s.call(A, Call::CoreLimit, &[LimitKey::TimersPerVm as u64])[0];
    assert_eq!(s.call(A, Call::CoreLimit, &[LimitKey::TimerPeriodNanoseconds as u64])[0], 100_000);
    let ports: Vec<u64> = (0..limit).map(|_| s.own_port(A)).collect();
    let far = shown() + 1_000_000;
    for port in &ports {
        s.call(A, Call::TimeTimerSet, &[*port, far, 0, 0]);
    }
    let more = s.own_port(A);
    assert_eq!(s.refused(A, Call::TimeTimerSet, &[more, far, 0, 0]), (Code::Full, 0, Reason::TableFull));
    s.call(A, Call::EvtClose, &[ports[0]]);
    s.call(A, Call::TimeTimerSet, &[more, far, 0, 0]);
    s.close();
}

#[test]
fn a_vm_has_no_more_timers_than_its_manifest_says() {
    let mut s = slow(&System::new([Guest { timers: 1, ..Guest::new("a") }]));
    let [first, second] = [s.own_port(A), s.own_port(A)];
    let far = shown() + 1_000_000;
    s.call(A, Call::TimeTimerSet, &[first, far, 0, 0]);
    let refused = s.refused(A, Call::TimeTimerSet, &[second, far, 0, 0]);
    assert_eq!(refused, (Code::Full, 0, Reason::TableFull));
    s.call(A, Call::TimeTimerCancel, &[first]);
    s.call(A, Call::TimeTimerSet, &[second, far, 0, 0]);
    s.close();
}

#[test]
fn a_later_owner_of_a_ports_number_gets_nothing_of_its_timer() {
    let mut s = slow(&System::one(1));
    let port = s.own_port(A);
    let deadline = shown() + 300;
    s.call(A, Call::TimeTimerSet, &[port, deadline, 0, 0]);
    s.call(A, Call::TimeLocal, &[port]);
    s.call(A, Call::EvtClose, &[port]);
    let mut again = s.own_port(A);
    while again & 0xffff != port & 0xffff {
        again = s.own_port(A); // it rests for a while
    }
    s.deed(A, move |_| {
        timer::load_local(timer::LOCAL_ENABLE, deadline);
        Deed::Exit(INTERRUPT)
    });
    timer::set_now(BORN + deadline);
    gic_cpu::pend(27);
    s.turns(3);
    assert_eq!(s.word(A, 0), 0);
    s.close();
}

#[test]
fn a_timer_follows_its_port_to_another_vcpu_and_another_core() {
    let mut s = Story::on(&System::new([Guest { vcpus: 2, cores: [0, 1, 0, 0, 0, 0, 0, 0], ..Guest::new("a") }]), 2);
    s.pace = 1;
    let port = s.own_port(A);
    let other = (0, 1);
    s.call(A, Call::VcpuStart, &[1, crate::plan::CODE, 0]);
    s.begin(other, Call::VcpuWait, &[NEVER]);
    s.turns(4);
    s.call(A, Call::TimeTimerSet, &[port, shown() + 40, 0, 0]);
    s.call(A, Call::EvtBindVcpu, &[port, 1]);
    s.until_seen(other).unwrap();
    assert_eq!(s.answer(other, Call::VcpuWait).unwrap()[1], 1);
    assert!(s.take(other, port) && !s.take(A, port));
    // Set anew by the other vCPU it is its core's; the deadline that the first core still has is an old one.
    s.call(A, Call::TimeTimerSet, &[port, shown() + 100, 0, 0]);
    s.call(other, Call::TimeTimerSet, &[port, shown() + 1000, 0, 0]);
    s.turns(120);
    assert!(!s.take(other, port));
    s.turns(1000);
    assert!(s.take(other, port));
    s.close();
}

#[test]
fn many_timers_at_one_tick_are_all_served_in_turns_of_sixteen() {
    let mut s = slow(&System::new([Guest { handles: 64, ..Guest::new("a") }]));
    let ports: Vec<u64> = (0..32).map(|_| s.own_port(A)).collect();
    let deadline = shown() + 500;
    for port in &ports {
        s.call(A, Call::TimeTimerSet, &[*port, deadline, 0, 0]);
    }
    timer::set_now(BORN + deadline);
    s.turns(1);
    assert_eq!(s.word(A, 0).count_ones(), 16);
    assert_eq!(timer::armed(), Some(BORN + deadline), "due again at once");
    s.turns(1);
    assert_eq!(s.word(A, 0).count_ones(), 32);
    s.close();
}

#[test]
fn a_vm_that_ends_takes_its_timers_along() {
    let mut s = slow(&pair());
    s.call(A, Call::TimeTimerSet, &[PORT, shown() + 3000, SHORTEST, 0]);
    s.ask(A, Call::CoreExit, &[0, 0]);
    s.turns(100);
    s.pace = SLICE;
    s.turns(20);
    assert_eq!(timer::armed(), None);
    s.close();
}
