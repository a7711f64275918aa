//! A series as it is packed: each payload is found behind the one before, checked by itself, and shares its data with the others.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

#[path = "common/card.rs"]
#[allow(dead_code, reason = "other tests use all of it")]
mod card;
#[path = "common/elf.rs"]
#[allow(dead_code, reason = "as above")]
mod elf;

use std::path::Path;

use strato_abi::plan::*;
use strato_cli::card::{Card, KERNEL, Level, doctor};
use strato_cli::image::{self, Image};
use strato_cli::pack::series::{Part, payloads};
use strato_cli::pack::{self, hypervisor::Flat};
use strato_cli::system::{self, Source, System};
use zerocopy::FromBytes;

const TWO: &str = "[system]\ntime_limit_s = 7\n[[vm]]\nname = \"a\"\nimage = \"./a.elf\"\nmemory = \"1MiB\"\nexpect = \"exit:3\"\n\
                   [[vm]]\nname = \"b\"\nimage = \"./a.elf\"\nmemory = \"1MiB\"\nexpect = \"stopped\"\n";

fn system(text: &str) -> System {
    let source = Source { path: "series.toml".into(), text: text.into() };
    system::parse(&source, Path::new("."), "series").unwrap_or_else(|refused| panic!("{refused}"))
}

fn guest() -> Image {
    image::read(&elf::build(&elf::Guest::default())).unwrap()
}

/// A series of `one`, `two` and `one` again, which reports.
fn series() -> Vec<u8> {
    let (one, two, images) = (system(card::PLAIN), system(TWO), [guest(), guest()]);
    let part =
        |name, system, vms, is_report| Part { name, system, images: &images[..vms], flags: HEADER_WATCHDOG, is_report };
    payloads(&[part("first", &one, 1, false), part("second", &two, 2, false), part("last", &one, 1, true)], 4).unwrap()
}

/// Returns the payloads of a series, each to the end of all, as far as their headers lead.
fn walk(mut bytes: &[u8]) -> Vec<(PayloadHeader, &[u8])> {
    let mut found = Vec::new();
    loop {
        let (header, rest) = PayloadHeader::read_from_prefix(bytes).unwrap();
        found.push((header, bytes));
        if header.flags & HEADER_FOLLOWED == 0 {
            return found;
        }
        bytes = &rest[usize::try_from(header.records_len).unwrap()..];
    }
}

fn records(header: &PayloadHeader, payload: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut rest = &payload[64..64 + usize::try_from(header.records_len).unwrap()];
    let mut records = Vec::new();
    while let Ok((record, _)) = RecordHeader::read_from_prefix(rest) {
        let (own, tail) = rest.split_at(usize::from(record.size));
        records.push((record.kind, own.to_vec()));
        rest = tail;
    }
    records
}

fn all<T: FromBytes>(records: &[(u16, Vec<u8>)], kind: u16) -> Vec<T> {
    let own = records.iter().filter(|(found, _)| *found == kind);
    own.map(|(_, bytes)| T::read_from_bytes(bytes).unwrap()).collect()
}

#[test]
fn each_payload_is_whole_by_itself() {
    let bytes = series();
    let found = walk(&bytes);
    assert_eq!(found.len(), 3);
    for (n, (header, payload)) in found.iter().enumerate() {
        assert_eq!((header.magic, usize::try_from(header.total_len).unwrap()), (PAYLOAD_MAGIC, payload.len()));
        assert_eq!(header.checksum, checksum(&payload[64..]));
        assert_eq!(
            header.flags,
            HEADER_WATCHDOG | if n == 2 { HEADER_SERIES } else { HEADER_SERIES | HEADER_FOLLOWED }
        );
        let records = records(header, payload);
        assert_eq!(records.len(), usize::try_from(header.records).unwrap());
        for load in all::<Load>(&records, KIND_LOAD) {
            let (start, len) = (usize::try_from(load.offset).unwrap(), usize::try_from(load.file_len).unwrap());
            assert!(load.offset % 8 == 0 && payload[start..start + len].iter().all(|byte| *byte == 0x1f));
        }
    }
    assert_eq!(found.iter().map(|(header, _)| header.build_id).collect::<std::collections::BTreeSet<_>>().len(), 3);
}

#[test]
fn a_scenario_comes_first_and_says_how_each_vm_has_to_end() {
    let bytes = series();
    let found: Vec<_> = walk(&bytes).iter().map(|(header, payload)| records(header, payload)).collect();
    for (records, (name, limit, flags)) in
        found.iter().zip([("first", 120, 0), ("second", 28, 0), ("last", 120, SCENARIO_REPORT)])
    {
        let scenario = &all::<Scenario>(records, KIND_SCENARIO)[0];
        assert_eq!(records[0].0, KIND_SCENARIO);
        assert_eq!(std::str::from_utf8(&scenario.name).unwrap().trim_end_matches('\0'), name);
        assert_eq!((scenario.limit_s, scenario.flags), (limit, flags));
    }
    let expected: Vec<Expect> = all(&found[1], KIND_EXPECT);
    let ends: Vec<_> = expected.iter().map(|expect| (expect.header.vm, expect.outcome, expect.code)).collect();
    assert_eq!(ends, [(0, EXPECT_EXIT, 3), (1, EXPECT_STOP, 0)]);
}

#[test]
fn what_several_systems_have_is_packed_once() {
    let bytes = series();
    let places: std::collections::BTreeSet<u64> = walk(&bytes)
        .iter()
        .flat_map(|(header, payload)| {
            let ahead = u64::try_from(bytes.len() - payload.len()).unwrap();
            let loads: Vec<Load> = all(&records(header, payload), KIND_LOAD);
            loads.into_iter().map(move |load| ahead + load.offset)
        })
        .collect();
    assert_eq!(places.len(), guest().segments.len());
}

#[test]
fn a_series_has_systems_with_short_names_and_not_too_many() {
    let (one, images) = (system(card::PLAIN), [guest()]);
    let part = |name| Part { name, system: &one, images: &images, flags: 0, is_report: false };
    let why = |parts: &[Part<'_>]| payloads(parts, 4).unwrap_err().to_string();
    assert_eq!(why(&[]), "a series of no systems");
    assert_eq!(why(&vec![part("a"); SERIES_MAX + 1]), "129 systems: a series has room for 128");
    let long = "x".repeat(SCENARIO_NAME_LEN + 1);
    assert_eq!(why(&[part(&long)]), format!("`{long}` is too long a name for a series"));
    assert_eq!(walk(&payloads(&vec![part(&long[1..]); SERIES_MAX], 4).unwrap()).len(), SERIES_MAX);
}

#[test]
fn the_doctor_finds_nothing_wrong_with_a_series() {
    let mut bytes = vec![0; 0x3000];
    bytes[8..16].copy_from_slice(&0x8_0000_u64.to_le_bytes());
    bytes[16..24].copy_from_slice(&0x3000_u64.to_le_bytes());
    bytes[0x38..0x3c].copy_from_slice(b"ARM\x64");
    let image = pack::image(&Flat { bytes }, &series());
    let mut card = Card::of(image, &mut card::firmware()).unwrap();
    let report = doctor::examine(&mut card);
    assert!(report.findings.iter().all(|finding| finding.level != Level::Error), "{:?}", report.findings);
    let packed = report.packed.unwrap();
    assert_eq!(
        (packed.systems, packed.watchdog_s, packed.vms),
        (3, 15, ["main", "a", "b", "main"].map(String::from).to_vec())
    );
    // A bit of the last system is covered by the first one's checksum too.
    card.files.get_mut(KERNEL).unwrap().last_mut().map(|byte| *byte ^= 1).unwrap();
    assert!(doctor::examine(&mut card).findings.iter().any(|finding| finding.what.contains("damaged")));
}
