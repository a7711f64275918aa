//! Services: the numbers that other software knows, by HVC and by SMC, and everything that is no call.

use strato_abi::Call;
use strato_hyp::arch::Deed;
use strato_hyp::arch::frame::{Frame, RawExit};

use crate::plan::{CODE, Guest, System};
use crate::stage::{INTERRUPT, Story};
use crate::talk::{A, fill};

const NOT_SUPPORTED: [u64; 4] = [u64::MAX, 0, 0, 0];
const CPU_ON: u64 = 0xc400_0003;
const CPU_ON_32: u64 = 0x8400_0003;
const AFFINITY_INFO: u64 = 0xc400_0004;

fn status(value: i64) -> [u64; 4] {
    [value.cast_unsigned(), 0, 0, 0]
}

#[test]
fn standard_services_answer_by_hvc_and_by_smc_alike() {
    let mut s = Story::new(&System::one(1));
    for is_smc in [false, true] {
        for (id, argument, answer) in [
            (0x8600_ff01, 0, [0xd1bb_fe3f, 0x6941_431a, 0x9fbf_3e87, 0x8a3d_ed6f]),
            (0x8600_ff03, 0, [1, 2, 0, 0]),
            (0x8000_0000, 0, [0x1_0002, 0, 0, 0]),
            (0x8000_0001, 0x8000_0000, [0; 4]),
            (0x8000_0001, 0x8000_0001, [0; 4]),
            (0x8000_0001, 0x8000_8000, NOT_SUPPORTED),
            (0x8400_0000, 0, [0x1_0001, 0, 0, 0]),
            (0x8400_000a, 0xc400_0003, [0; 4]),
            (0x8400_000a, 0x8000_0000, [0; 4]),
            (0x8400_000a, 0xc400_0001, NOT_SUPPORTED),
            (0x8400_0009, 0, status(-3)),
        ] {
            assert_eq!(s.service(A, id, &[argument], is_smc), answer, "{id:#x} {argument:#x}");
            let dirty = 0xffff_ffff_0000_0000;
            assert_eq!(s.service(A, id | dirty, &[argument | dirty], is_smc), answer, "upper halves are ignored");
        }
    }
    s.close();
}

#[test]
fn other_numbers_are_not_supported_and_strato_calls_by_smc_are_not_either() {
    let mut s = Story::new(&System::one(1));
    for id in [0, 1, 0x8400_0001, 0xc400_0002, 0x8600_0000, 0x8600_ff02, 0xc300_0000, 0x8200_0000, 0xffff_ffff] {
        assert_eq!(s.service(A, id, &[1, 2, 3], false), NOT_SUPPORTED, "{id:#x}");
        assert_eq!(s.service(A, id, &[1, 2, 3], true), NOT_SUPPORTED, "{id:#x}");
    }
    for &call in Call::ALL {
        assert_eq!(s.service(A, u64::from(call.function_id()), &[0; 3], true), NOT_SUPPORTED, "{}", call.name());
    }
    s.close();
}

#[test]
fn another_immediate_is_not_supported_whatever_the_registers_hold() {
    let mut s = Story::new(&System::one(1));
    for (class, behind) in [(0x16u64, 4), (0x17, 8)] {
        for immediate in [1, 0x7fff, 0xffff] {
            let step = move |frame: &mut Frame| {
                fill(frame, 0xc600_0005, &[0, 0]);
                Deed::Exit(RawExit { esr: class << 26 | 1 << 25 | immediate, ..RawExit::default() })
            };
            let frame = s.deed(A, step).unwrap();
            assert_eq!(frame.x[..4], NOT_SUPPORTED);
            assert!((4..31).all(|n| frame.x[n] == 0xdead_beef_0000_0000 | n as u64));
            assert_eq!(frame.pc, CODE + behind);
        }
    }
    s.close();
}

#[test]
fn cpu_on_starts_a_vcpu_and_refuses_as_psci_has_it() {
    let mut s = Story::new(&System::one(3));
    for (arguments, answer) in [
        ([3, CODE, 0], -2),
        ([1 << 8, CODE, 0], -2),
        ([1 << 32 | 1, CODE, 0], -2),
        ([1, CODE + 2, 0], -9),
        ([1, 0, 0], -9),
        ([1, 1 << 39, 0], -9),
        ([0, CODE, 0], -4),
    ] {
        assert_eq!(s.service(A, CPU_ON, &arguments, false), status(answer), "{arguments:x?}");
    }
    assert_eq!(s.service(A, AFFINITY_INFO, &[1, 0], false), status(1));
    assert_eq!(s.service(A, CPU_ON, &[1, CODE + 0x40, 0xffff_0000_0000_0007], false), status(0));
    let frame = s.deed((0, 1), |frame| {
        assert_eq!((frame.x[0], frame.pc), (0xffff_0000_0000_0007, CODE + 0x40));
        Deed::Exit(INTERRUPT)
    });
    assert!(frame.is_some());
    assert_eq!(s.service(A, AFFINITY_INFO, &[1, 0], false), status(0));
    assert_eq!(s.service(A, CPU_ON, &[1, CODE, 0], false), status(-4));
    let high = 0xffff_ffff_0000_0000;
    assert_eq!(s.service(A, CPU_ON_32, &[high | 2, high | CODE, high | 9], true), status(0));
    s.deed((0, 2), |frame| {
        assert_eq!(frame.x[0], 9);
        Deed::Exit(INTERRUPT)
    });
    for (affinity, level) in [(3, 0), (1 << 8, 0), (0, 1), (u64::MAX, 0)] {
        assert_eq!(s.service(A, AFFINITY_INFO, &[affinity, level], false), status(-2));
    }
    s.close();
}

#[test]
fn a_vcpu_that_is_being_started_on_another_core_is_pending() {
    let mut s = Story::on(&System::new([Guest { vcpus: 2, cores: [0, 1, 0, 0, 0, 0, 0, 0], ..Guest::new("a") }]), 2);
    s.turns(1);
    let on = |frame: &mut Frame| {
        fill(frame, CPU_ON, &[1, CODE, 0]);
        Deed::Exit(RawExit { esr: 0x16 << 26, ..RawExit::default() })
    };
    s.step(A, on);
    s.step(A, on);
    s.turn_on(0);
    s.turn_on(0);
    s.turn_on(0);
    assert_eq!(s.seen(A).unwrap().x[0].cast_signed(), -5);
    s.close();
}

#[test]
fn cpu_off_and_system_off_end_what_they_name() {
    let off = |id: u64| {
        move |frame: &mut Frame| {
            fill(frame, id, &[]);
            Deed::Exit(RawExit { esr: 0x16 << 26, ..RawExit::default() })
        }
    };
    let mut s = Story::new(&System::one(2));
    s.call(A, Call::VcpuStart, &[1, CODE, 0]);
    assert!(s.deed((0, 1), off(0x8400_0002)).is_none());
    assert_eq!(s.call(A, Call::VcpuState, &[1])[0], 0);
    assert!(s.deed(A, off(0x8400_0008)).is_none());
    assert!(s.log().iter().any(|line| line == "vm a: ended, exit code 0"), "{:?}", s.log());
    s.audit();
}

#[test]
fn a_manifest_that_denies_a_call_denies_its_psci_name_too() {
    let mut calls = [u32::MAX; 8];
    (calls[0], calls[1]) = (!(1 << 5), 0);
    let mut s = Story::new(&System::new([Guest { vcpus: 2, calls, ..Guest::new("a") }]));
    for id in [CPU_ON, CPU_ON_32, 0x8400_0002, 0x8400_0008] {
        assert_eq!(s.service(A, id, &[1, CODE, 0], false), status(-3), "{id:#x}");
    }
    s.close();
}

#[test]
fn stolen_time_is_told_to_a_guest_that_asks_and_to_no_other() {
    const FEATURES: u64 = 0xc500_0020;
    const STOLEN: u64 = 0xc500_0021;
    let mut s = Story::new(&System::pair(Guest::new("a"), Guest::new("b")));
    assert_eq!(s.service(A, 0x8000_0001, &[FEATURES], false)[0], 0);
    for (id, answer) in [(FEATURES, 0), (STOLEN, 0), (0xc500_0022, u64::MAX), (0, u64::MAX)] {
        assert_eq!(s.service(A, FEATURES, &[id], false)[0], answer);
    }
    let address = s.service(A, STOLEN, &[], false)[0];
    assert_eq!(address, strato_abi::addr::VCPU_AREA + 192);
    let word =
        |s: &mut Story, place| s.vm(place, |vm| vm.pages[1].word(25).unwrap().load(strato_hyp::sync::Ordering::SeqCst));
    let runnable = |s: &mut Story| s.vm(0, |vm| vm.pages[1].word(4).unwrap().load(strato_hyp::sync::Ordering::SeqCst));
    let before = word(&mut s, 0);
    s.turns(9);
    assert!(word(&mut s, 0) > before, "the other had the core for a while");
    assert!(word(&mut s, 0) <= runnable(&mut s) * 16, "62.5 MHz");
    assert_eq!(word(&mut s, 1), 0, "it has not asked");
    s.close();
}
