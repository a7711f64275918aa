//! CORE: discovery, and how VMs end.

use strato_abi::Call;
use strato_abi::addr::INFO_PAGE;
use strato_abi::error::{Code, Reason};
use strato_abi::limit::LimitKey;
use strato_abi::version::ABI_VERSION;

use crate::plan::{CODE, Guest, System};
use crate::stage::Story;
use crate::talk::{A, B};

#[test]
fn a_guest_starts_in_the_documented_state_and_ends_without_a_trace() {
    let mut s = Story::new(&System::one(1));
    let frame = s.deed(A, |frame| {
        assert_eq!(frame.x[..4], [INFO_PAGE, u64::from(ABI_VERSION), 0, 0]);
        assert!(frame.x[4..].iter().all(|&x| x == 0));
        assert_eq!((frame.pc, frame.pstate), (CODE, 0x3c5));
        strato_hyp::arch::Deed::Exit(crate::stage::INTERRUPT)
    });
    assert!(frame.is_some());
    assert_eq!(s.ask(A, Call::CoreExit, &[0, 0]), None);
    assert!(s.log().iter().any(|line| line == "vm a: ended, exit code 0"), "{:?}", s.log());
    s.audit();
}

#[test]
#[should_panic(expected = "the machine was powered off")]
fn the_machine_is_powered_off_behind_the_last_vm() {
    let mut s = Story::new(&System { powers_off: true, ..System::one(1) });
    s.ask(A, Call::CoreExit, &[7, 0]);
}

#[test]
fn a_guest_that_panics_counts_as_failed_and_its_words_are_reported() {
    let mut s = Story::new(&System::one(1));
    assert_eq!(s.ask(A, Call::CorePanic, &[1, 2, 3, 4]), None);
    assert!(s.log().iter().any(|line| line.contains("reason 1, pc 0x2, syndrome 0x3, address 0x4")), "{:?}", s.log());
    assert_eq!(s.machine.ended[1].load(strato_hyp::sync::Ordering::Relaxed), 1);
    s.audit();
}

#[test]
fn nobody_may_reboot_in_this_version_and_the_guest_goes_on() {
    let mut s = Story::new(&System::one(1));
    assert_eq!(s.refused(A, Call::CoreExit, &[0, 1]), (Code::Denied, 2, Reason::NotAllowed));
    assert_eq!(s.refused(A, Call::CoreExit, &[0, 2]), (Code::Invalid, 2, Reason::UnknownValue));
    s.close();
}

#[test]
fn info_tells_who_the_caller_is() {
    let mut s = Story::new(&System::pair(Guest::new("a"), Guest::new("b")));
    let x = s.ask(B, Call::CoreInfo, &[]).unwrap();
    assert_eq!(x[..5], [0, u64::from(ABI_VERSION), 0xb1d, 1 << 32, INFO_PAGE]);
    s.close();
}

#[test]
fn groups_tell_version_and_allowed_calls_and_others_are_not_there() {
    let mut calls = [u32::MAX; 8];
    calls[5] = 0b10;
    let mut s = Story::new(&System::new([Guest { calls, ..Guest::new("a") }]));
    assert_eq!(s.call(A, Call::CoreGroup, &[5])[..2], [1 << 16 | 2, 0b10]);
    for group in [8, 9, 31, 1 << 32, u64::MAX] {
        assert_eq!(s.refused(A, Call::CoreGroup, &[group]), (Code::NotSupported, 1, Reason::UnknownValue));
    }
    s.close();
}

#[test]
fn limits_are_told_by_key_and_an_unknown_key_is_refused() {
    let mut s = Story::new(&System::one(1));
    for &key in LimitKey::ALL {
        assert_eq!(s.call(A, Call::CoreLimit, &[key as u64])[0], key.value());
    }
    for key in [16, 1 << 32, u64::MAX] {
        assert_eq!(s.refused(A, Call::CoreLimit, &[key]), (Code::Invalid, 1, Reason::UnknownValue));
    }
    s.close();
}

#[test]
fn nops_are_counted_by_vcpu() {
    let mut s = Story::new(&System::pair(Guest::new("a"), Guest::new("b")));
    assert_eq!(s.call(A, Call::CoreNop, &[])[0], 1);
    assert_eq!(s.call(A, Call::CoreNop, &[])[0], 2);
    assert_eq!(s.call(B, Call::CoreNop, &[])[0], 1);
    s.close();
}

#[test]
fn every_call_that_the_manifest_denies_is_denied_before_its_arguments_are_looked_at() {
    let mut s = Story::new(&System::new([Guest { calls: [0; 8], ..Guest::new("a") }]));
    for &call in Call::ALL {
        assert_eq!(s.refused(A, call, &[u64::MAX; 6]), (Code::Denied, 0, Reason::NotAllowed), "{}", call.name());
    }
    s.close();
}

#[test]
fn numbers_without_a_call_are_not_supported() {
    let mut s = Story::new(&System::one(1));
    let taken: Vec<u64> = Call::ALL.iter().map(|&call| call as u64).collect();
    for number in (0..1024).chain([0x3ff_ffff, 0x8000]).filter(|number| !taken.contains(number)) {
        let id = 0xc600_0000 | number;
        if id & !0x1_0000 & 0xffff != number & 0xffff || id >> 16 & 0xff > 1 {
            continue;
        }
        s.begin_id(A, id, &[u64::MAX; 6]);
        let frame = s.until_seen(A).unwrap();
        assert_eq!(frame.x[0].cast_signed(), Code::NotSupported as i64, "{number:#x}");
        assert!(frame.x[1..18].iter().all(|&x| x == 0), "{number:#x}");
    }
    s.close();
}
