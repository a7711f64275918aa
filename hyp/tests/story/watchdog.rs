//! The board's watchdog: it is fed when every core has come by the top of its loop, whether it has a guest or sleeps, and not else.

use strato_abi::watchdog::watchdog_flags;
use strato_hyp::arch::{firmware, timer};

use crate::plan::{Guest, System};
use crate::stage::Story;

/// Two cores, the second of which has no guest, and a beat in each of their turns.
fn story() -> Story {
    let mut system = System::new([Guest::new("a")]);
    system.flags = watchdog_flags(1);
    let mut story = Story::on(&system, 2);
    story.pace = timer::frequency() / 4;
    story
}

#[test]
fn the_watchdog_is_fed_when_all_cores_beat() {
    let mut s = story();
    let before = firmware::fed();
    for round in 1..20 {
        s.turns(1);
        assert_eq!(firmware::fed(), before + round);
    }
    s.close();
}

#[test]
fn the_watchdog_is_not_fed_when_one_core_hangs() {
    for hung in [0, 1] {
        let mut s = story();
        let before = firmware::fed();
        for _ in 0..20 {
            s.turn_on(1 - hung);
        }
        assert_eq!(firmware::fed(), before, "core {hung} hangs");
        s.turn_on(hung);
        assert_eq!(firmware::fed(), before + 1, "it came by after all");
        s.close();
    }
}

#[test]
fn without_a_watchdog_nobody_beats() {
    let before = firmware::fed();
    let mut s = Story::new(&System::one(1));
    s.pace = timer::frequency();
    s.turns(20);
    assert_eq!(firmware::fed(), before);
    s.close();
}
