//! Plan: what boot makes of any packed system keeps these rules. Called by the tests beside it, and by cargo-fuzz (`hyp/fuzz`).

use strato_abi::plan::{PAYLOAD_MAGIC, PAYLOAD_VERSION, PayloadHeader, checksum};
use strato_abi::version::ABI_VERSION;
use strato_hyp::plan::{Plan, PlanError, Record};
use zerocopy::{FromBytes, IntoBytes};

/// Reads `bytes` as they are, and once more with a header that is right in what a guess never is; returns whether every record was
/// read.
///
/// # Panics
/// A rule is broken.
pub(crate) fn check(bytes: &[u8]) -> bool {
    // A payload begins on a page.
    let mut words = vec![0_u64; bytes.len().div_ceil(8)];
    words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
    let read = |words: &[u64]| records(&words.as_bytes()[..bytes.len()]);
    let as_it_is = read(&words);
    seal(&mut words.as_mut_bytes()[..bytes.len()]);
    read(&words) || as_it_is
}

/// Returns the kinds of the records of a payload that is right.
#[allow(dead_code, reason = "cargo-fuzz has no use for it")]
pub(crate) fn kinds(bytes: &[u8]) -> Vec<u16> {
    let (mut at, mut kinds) = (size_of::<PayloadHeader>(), Vec::new());
    let (header, _) = PayloadHeader::read_from_prefix(bytes).unwrap();
    for _ in 0..header.records {
        kinds.push(u16::from_le_bytes(*bytes[at..].first_chunk().unwrap()));
        at += size(bytes, at);
    }
    kinds
}

/// Makes magic, versions, length and checksum right, and clears the flags that nobody knows.
fn seal(bytes: &mut [u8]) {
    let whole = bytes.len() & !7;
    let Some((header, body)) = bytes[..whole].split_at_mut_checked(size_of::<PayloadHeader>()) else { return };
    let Ok(header) = PayloadHeader::mut_from_bytes(header) else { unreachable!("it is aligned and as long") };
    (header.magic, header.version, header.abi_version) = (PAYLOAD_MAGIC, PAYLOAD_VERSION, ABI_VERSION);
    (header.total_len, header.checksum) = (whole as u64, checksum(body));
    header.flags &= strato_abi::plan::HEADER_FLAGS;
    if header.records_len as usize > body.len() {
        header.records_len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    }
}

fn records(bytes: &[u8]) -> bool {
    let plan = match Plan::check(bytes) {
        Ok(plan) => plan,
        Err(why) => {
            said(why);
            return false;
        }
    };
    let (mut at, mut count) = (size_of::<PayloadHeader>(), 0);
    for record in plan.records() {
        match record {
            Ok((n, record)) => {
                assert_eq!(n, count);
                at += size(bytes, at);
                count += 1;
                one(&plan, n, &record, bytes.len());
            }
            Err(why) => {
                assert_eq!(why, PlanError::Record(count));
                said(why);
                assert!(plan.records().count() == count as usize + 1, "nothing follows what cannot be read");
                return false;
            }
        }
    }
    assert_eq!(count, plan.header.records);
    assert!(at <= size_of::<PayloadHeader>() + plan.header.records_len as usize);
    for (vm, board) in [(0, "qemu-virt"), (1, "rpi4"), (u16::MAX, "")] {
        assert!(plan.named_handles(vm, board) <= 2 * count as usize);
    }
    true
}

/// Returns the bytes of the record at `at`.
fn size(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes(*bytes[at + 2..].first_chunk().unwrap()))
}

fn one(plan: &Plan<'_>, n: u32, record: &Record<'_>, length: usize) {
    assert!(!(record.is_for("qemu-virt") && record.is_for("rpi4")) || record.is_for("any"), "{record:?}");
    let (offset, bytes) = match record {
        Record::CreateVm(record) => (record.command_line, u64::from(record.command_line_len)),
        Record::Load(record) => (record.offset, record.file_len),
        _ => (u64::from(record.vm()), u64::from(record.vm())),
    };
    match plan.bytes(n, offset, bytes) {
        Ok(part) => assert!(part.len() as u64 == bytes && offset + bytes <= length as u64),
        Err(why) => {
            assert_eq!(why, PlanError::Bounds(n));
            said(why);
        }
    }
}

fn said(why: PlanError) {
    let text = why.to_string();
    assert!(text.starts_with("packed system refused: ") && text.len() < 200, "{text}");
}
