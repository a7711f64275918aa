//! The file that the firmware starts: its arm64 header, and the packed system behind the hypervisor. Called by `doctor`.

use strato_abi::plan::{
    CreateVm, GrantDevice, GrantInterrupt, HEADER_FOLLOWED, HEADER_MINI_UART, KIND_CREATE_VM, KIND_GRANT_DEVICE,
    KIND_GRANT_INTERRUPT, PAYLOAD_MAGIC, PAYLOAD_VERSION, PayloadHeader, RecordHeader, checksum,
};
use strato_abi::watchdog::watchdog_seconds;
use zerocopy::FromBytes;

use super::{Finding, LOAD_ADDRESS, MEMORY_END, firmware::hex};

const PAGE: u64 = 4096;
const BOARD: &str = "rpi4";
const AGAIN: &str = "write it again: `cargo strato sd`, or `cargo strato pack SYSTEM -o kernel8.img`";

/// What a packed image says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// The systems of a series, or 1.
    pub systems: usize,
    /// The names of its VMs, of all systems.
    pub vms: Vec<String>,
    /// The boards that it assigns devices of.
    pub boards: Vec<String>,
    /// Seconds of its watchdog, 0 for none.
    pub watchdog_s: u32,
    /// Whether its console is the mini UART.
    pub has_mini_uart: bool,
}

/// Returns whether a file of so many bytes is too long to be loaded.
#[must_use]
pub fn too_big(name: &str, bytes: u64) -> Option<Finding> {
    let room = MEMORY_END - LOAD_ADDRESS;
    (bytes > room).then(|| {
        let what = format!("{name} has {bytes} bytes: it does not fit in memory");
        let expected = format!("at most {room} bytes, from {LOAD_ADDRESS:#x} to {MEMORY_END:#x}");
        Finding::error(name, what, expected, "give its guests smaller images")
    })
}

/// Returns what a packed image holds.
///
/// # Errors
/// Why it is none for a Raspberry Pi 4.
pub fn check(name: &str, bytes: &[u8]) -> Result<Packed, Finding> {
    let packed = payload(name, bytes, header(name, bytes)?)?;
    if packed.boards.is_empty() || packed.boards.iter().any(|board| board == BOARD) {
        return Ok(packed);
    }
    let what = format!("{name} is packed for {}: it assigns no device of {BOARD}", packed.boards.join(" and "));
    let fix = "add [[board.rpi4.device]] to the system's file, or take another system";
    Err(Finding::error(name, what, "a system for a Raspberry Pi 4, or for every board", fix))
}

/// Returns the bytes of the hypervisor, behind which the packed system begins.
fn header(name: &str, bytes: &[u8]) -> Result<u64, Finding> {
    let error = |at: &str, what: String, expected: &str, fix: &str| {
        Err(Finding::error(format!("{name}{at}"), what, expected.to_owned(), fix))
    };
    let magic = bytes.get(0x38..0x3c);
    if magic != Some(b"ARM\x64") {
        let expected = "an arm64 Image: 41 52 4d 64 at byte 0x38";
        return match bytes {
            [0x7f, b'E', b'L', b'F', ..] => {
                error("", format!("{name} is an ELF file, which the firmware does not load"), expected, AGAIN)
            }
            // The firmware unpacks such a file (documentation of `kernel` in config.txt).
            [0x1f, 0x8b, ..] => {
                error("", format!("{name} is compressed, and was not looked into"), expected, "unpack it with gunzip")
                    .map_err(Finding::as_warning)
            }
            _ => {
                let found = magic.map_or("the end of the file".into(), hex);
                error(", byte 0x38", format!("{name} has no arm64 header, but {found}"), expected, AGAIN)
            }
        };
    }
    let word = |at: usize| bytes.get(at..at + 8).and_then(|word| word.try_into().ok()).map_or(0, u64::from_le_bytes);
    let (text_offset, image_size) = (word(8), word(16));
    if text_offset != LOAD_ADDRESS {
        let what = format!("the header of {name} asks for the load address {text_offset:#x}");
        return error(", byte 8", what, "text_offset 0x80000", AGAIN);
    }
    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if image_size == 0 || !image_size.is_multiple_of(PAGE) || image_size > len {
        let what = format!("the header of {name} tells of {image_size} bytes, the file has {len}");
        return error(", byte 16", what, "whole pages of hypervisor, and the packed system behind them", AGAIN);
    }
    Ok(image_size)
}

fn payload(name: &str, bytes: &[u8], start: u64) -> Result<Packed, Finding> {
    let place = format!("{name}, byte {start:#x}");
    let error = |what: String, expected: String| Err(Finding::error(&place, what, expected, AGAIN));
    let payload = usize::try_from(start).ok().and_then(|start| bytes.get(start..)).unwrap_or_default();
    let header = PayloadHeader::read_from_prefix(payload).ok().map(|(header, _)| header);
    let Some(header) = header.filter(|header| header.magic == PAYLOAD_MAGIC) else {
        let what = format!("{name} has no packed system in it: it is a hypervisor alone, or no Strato");
        return error(what, "a packed system, which begins with STRATOPK".into());
    };
    if header.version != PAYLOAD_VERSION {
        let what = format!("the packed system of {name} has layout {}", header.version);
        return error(what, format!("layout {PAYLOAD_VERSION}, of this release"));
    }
    let len = u64::try_from(payload.len()).unwrap_or(u64::MAX);
    let Some(whole) = usize::try_from(header.total_len).ok().and_then(|total| payload.get(..total)) else {
        let what = format!("{name} is cut short: {len} bytes of packed system are there");
        return error(what, format!("{} bytes", header.total_len));
    };
    let body = whole.get(size_of::<PayloadHeader>()..).unwrap_or_default();
    let sum = checksum(body);
    if sum != header.checksum {
        let what = format!("the packed system of {name} is damaged: its checksum is {sum:#x}");
        return error(what, format!("{:#x}", header.checksum));
    }
    let has_mini_uart = header.flags & HEADER_MINI_UART != 0;
    let mut packed = Packed { watchdog_s: watchdog_seconds(header.flags), has_mini_uart, ..Packed::default() };
    // One system, or a series: the next stands behind the records.
    let mut rest = whole;
    while let Ok((header, body)) = PayloadHeader::read_from_prefix(rest) {
        packed.systems += 1;
        records(&mut packed, body, header.records);
        let next = usize::try_from(header.records_len).ok().and_then(|len| body.get(len..));
        rest =
            next.filter(|_| header.magic == PAYLOAD_MAGIC && header.flags & HEADER_FOLLOWED != 0).unwrap_or_default();
    }
    Ok(packed)
}

// The checksum holds: what is odd in here was packed by another release, and boot tells it better.
fn records(packed: &mut Packed, mut rest: &[u8], count: u32) {
    for _ in 0..count {
        let Ok((header, _)) = RecordHeader::read_from_prefix(rest) else { break };
        let size = usize::from(header.size);
        let Some((record, tail)) = rest.split_at_checked(size).filter(|_| size >= size_of::<RecordHeader>()) else {
            break;
        };
        let board = match header.kind {
            KIND_CREATE_VM => {
                packed.vms.extend(CreateVm::read_from_bytes(record).ok().map(|vm| text(&vm.label)));
                None
            }
            KIND_GRANT_DEVICE => GrantDevice::read_from_bytes(record).ok().map(|grant| text(&grant.board)),
            KIND_GRANT_INTERRUPT => GrantInterrupt::read_from_bytes(record).ok().map(|grant| text(&grant.board)),
            _ => None,
        };
        packed.boards.extend(board.filter(|board| !packed.boards.contains(board)));
        rest = tail;
    }
}

fn text(padded: &[u8]) -> String {
    String::from_utf8_lossy(padded).trim_end_matches('\0').to_owned()
}
