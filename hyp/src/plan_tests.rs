//! Tests of the plan: a payload is checked as a whole, and each damage is named.

use super::*;
use std::vec::Vec;
use strato_abi::plan::*;
use zerocopy::{FromZeros, IntoBytes};

fn payload(records: &[&[u8]]) -> Vec<u8> {
    let body = records.concat();
    let header = PayloadHeader {
        magic: PAYLOAD_MAGIC,
        version: PAYLOAD_VERSION,
        abi_version: ABI_VERSION,
        total_len: (64 + body.len()) as u64,
        checksum: checksum(&body),
        records_len: u32::try_from(body.len()).unwrap(),
        records: u32::try_from(records.len()).unwrap(),
        vms: 1,
        log_level: 3,
        slice_us: 1000,
        flags: 0,
        build_id: 7,
    };
    [header.as_bytes(), &body].concat()
}

fn good() -> Vec<u8> {
    let start = Start { header: Start::header(0) };
    let region = CreateRegion { header: CreateRegion::header(0), size: 4096 };
    payload(&[region.as_bytes(), start.as_bytes()])
}

#[test]
fn a_good_payload_is_read_record_by_record() {
    let bytes = good();
    let plan = Plan::check(&bytes).unwrap();
    let kinds: Vec<_> = plan.records().map(|record| matches!(record.unwrap().1, Record::CreateRegion(_))).collect();
    assert_eq!(kinds, [true, false]);
}

#[test]
fn each_damage_is_named_by_its_check() {
    let bytes = good();
    let damaged = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        Plan::check(&bytes).unwrap_err()
    };
    assert_eq!(Plan::check(&[]).unwrap_err(), PlanError::Missing);
    assert_eq!(damaged(0, 0), PlanError::Magic);
    assert_eq!(damaged(8, 9), PlanError::Version(9));
    assert_eq!(damaged(12, 9), PlanError::Abi(ABI_VERSION & !0xff | 9));
    assert_eq!(damaged(52, 0x20), PlanError::Flags(0x20));
    assert_eq!(damaged(55, 0x80), PlanError::Flags(1 << 31));
    assert_eq!(damaged(70, 1), PlanError::Checksum);
    assert_eq!(Plan::check(&bytes[..80]).unwrap_err(), PlanError::Length);
    assert_eq!(Plan::check(&bytes[..20]).unwrap_err(), PlanError::Length);
}

#[test]
fn unknown_and_cut_off_records_are_refused_by_number() {
    let mut odd = Start { header: Start::header(0) };
    odd.header.kind = 99;
    let bytes = payload(&[Start { header: Start::header(0) }.as_bytes(), odd.as_bytes()]);
    let last = Plan::check(&bytes).unwrap().records().last().unwrap().unwrap_err();
    assert_eq!(last, PlanError::Record(1));
    let mut long = Start { header: Start::header(0) };
    long.header.size = 4000;
    let bytes = payload(&[long.as_bytes()]);
    assert_eq!(Plan::check(&bytes).unwrap().records().next().unwrap().unwrap_err(), PlanError::Record(0));
}

#[test]
fn bytes_outside_the_payload_are_refused() {
    let bytes = good();
    let plan = Plan::check(&bytes).unwrap();
    assert!(plan.bytes(3, 0, bytes.len() as u64).is_ok());
    for (offset, length) in [(0, bytes.len() as u64 + 1), (u64::MAX, 1), (8, u64::MAX)] {
        assert_eq!(plan.bytes(3, offset, length).unwrap_err(), PlanError::Bounds(3));
    }
}

#[test]
fn a_device_is_for_the_board_that_it_names_and_has_no_unknown_flag() {
    let mut board = [0; BOARD_NAME_LEN];
    board[..4].copy_from_slice(b"rpi4");
    let (header, name) = (GrantDevice::header(0), [0; 40]);
    let device = GrantDevice { header, board, address: 0x1000, size: 0x1000, flags: 1, reserved: 0, name };
    let is_for = |name: &str| Record::GrantDevice(&device).is_for(name);
    assert!(is_for("rpi4"));
    for other in ["rpi", "rpi4b", "", "qemu-virt", "a board with a name that is far too long"] {
        assert!(!is_for(other), "{other}");
    }
    let bytes = payload(&[device.as_bytes()]);
    let plan = Plan::check(&bytes).unwrap();
    assert_eq!((plan.named_handles(0, "rpi4"), plan.named_handles(1, "rpi4"), plan.named_handles(0, "x")), (1, 0, 0));
    let bytes = payload(&[GrantDevice { flags: 4, ..device }.as_bytes()]);
    assert_eq!(Plan::check(&bytes).unwrap().records().next().unwrap().unwrap_err(), PlanError::Record(0));
}

#[test]
fn a_vm_that_is_made_again_has_a_span_of_time_for_its_limit() {
    let take = |flags, restart_window_s| {
        let record = CreateVm {
            header: CreateVm::header(0),
            flags,
            restart_limit: 5,
            restart_window_s,
            ..CreateVm::new_zeroed()
        };
        let bytes = payload(&[record.as_bytes()]);
        Plan::check(&bytes).unwrap().records().next().unwrap().map(|_| ())
    };
    assert_eq!((take(0, 0), take(VM_RESTART, 1)), (Ok(()), Ok(())));
    assert_eq!(take(VM_RESTART, 0), Err(PlanError::Record(0)));
}

#[test]
fn a_register_is_for_the_board_that_it_names_and_brings_no_handle() {
    let mut board = [0; BOARD_NAME_LEN];
    board[..4].copy_from_slice(b"rpi4");
    let allow = AllowRegister { header: AllowRegister::header(3), board, address: 0x1000, mask: 1, reserved: 0 };
    let record = Record::AllowRegister(&allow);
    assert_eq!((record.vm(), record.is_for("rpi4"), record.is_for("qemu-virt")), (3, true, false));
    let bytes = payload(&[allow.as_bytes()]);
    let plan = Plan::check(&bytes).unwrap();
    assert!(matches!(plan.records().next(), Some(Ok((0, Record::AllowRegister(_))))));
    assert_eq!(plan.named_handles(3, "rpi4"), 0);
}

fn of_series(flags: u32, rest: &[u8]) -> Vec<u8> {
    let scenario = Scenario { header: Scenario::header(0), name: [b'n'; 64], limit_s: 5, flags: 0 };
    let expect = Expect { header: Expect::header(3), outcome: EXPECT_EXIT, reserved: 0, code: 7 };
    let mut bytes = payload(&[scenario.as_bytes(), expect.as_bytes()]);
    bytes.extend_from_slice(rest);
    let (mut header, body) = PayloadHeader::read_from_prefix(&bytes).unwrap();
    (header.flags, header.total_len, header.checksum) = (flags, bytes.len() as u64, checksum(body));
    header.write_to_prefix(&mut bytes).unwrap();
    bytes
}

#[test]
fn each_of_a_series_is_found_behind_the_records_of_the_one_before() {
    let last = of_series(HEADER_SERIES, b"shared  ");
    let whole = of_series(HEADER_SERIES | HEADER_FOLLOWED, &last);
    let found: Vec<_> = series(&whole).map(|bytes| Plan::check(bytes).unwrap()).collect();
    assert_eq!(found.len(), 2);
    for plan in found {
        assert_eq!(plan.scenario().unwrap().limit_s, 5);
        assert_eq!(plan.expectation(3).map(|expect| (expect.outcome, expect.code)), Some((EXPECT_EXIT, 7)));
        assert_eq!(plan.expectation(2), None);
        assert!(plan.records().all(|record| !record.unwrap().1.is_for("rpi4")), "nothing is made of them");
    }
    assert!(Plan::check(&good()).unwrap().scenario().is_none());
    assert_eq!(series(&good()).count(), 1);
}

#[test]
fn a_series_that_leads_nowhere_ends() {
    for bytes in [&[0xff; 200][..], &of_series(HEADER_FOLLOWED, &[]), &of_series(HEADER_FOLLOWED, &[0xff; 100])] {
        assert!(series(bytes).count() <= 2);
    }
    let mut long = of_series(HEADER_SERIES, &[]);
    for _ in 0..SERIES_MAX + 5 {
        long = of_series(HEADER_SERIES | HEADER_FOLLOWED, &long);
    }
    assert_eq!(series(&long).count(), SERIES_MAX);
}

#[test]
fn how_a_vm_has_to_end_is_not_looked_for_in_the_whole_plan() {
    let told = Expect { header: Expect::header(3), outcome: EXPECT_EXIT, reserved: 0, code: 7 };
    let start = Start { header: Start::header(0) };
    let bytes = payload(&[told.as_bytes(), start.as_bytes()]);
    assert!(Plan::check(&bytes).unwrap().expectation(3).is_some());
    let bytes = payload(&[start.as_bytes(), told.as_bytes()]);
    assert!(Plan::check(&bytes).unwrap().expectation(3).is_none(), "a VM that ends took 8,000 instructions for it");
}
