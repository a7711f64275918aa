//! What `pack` writes is what boot reads: a system's payload, walked record by record with the types of the contract.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

#[path = "common/elf.rs"]
mod elf;

use std::path::Path;

use strato_abi::plan::*;
use strato_cli::image;
use strato_cli::pack;
use strato_cli::system::{self, Source, System};
use zerocopy::{FromBytes, Immutable, KnownLayout};

const TEXT: &str = r#"
[system]
log = "debug"
slice_us = 500
[[vm]]
name = "ping"
image = "./a.elf"
memory = "1MiB"
vcpus = 3
cores = [1, 4]
command_line = "role=ping"
sched = [{ name = "often", core = 3, budget_us = 20, period_us = 100, priority = 9, vcpus = [0, 2] }]
calls_denied = ["CON.READ"]
[[vm]]
name = "pong"
image = "./b.elf"
memory = "2MiB"
fp = "lazy"
console_input = true
[[channel]]
a = "ping:to_pong@2"
b = "pong:to_ping"
[[region]]
name = "shared"
size = "8KiB"
owner = "ping"
map = [{ vm = "ping", rights = "rw", address = 0x8000_0000 }, { vm = "pong", rights = "r" }]
[[peer]]
of = "pong"
to = "ping"
"#;

fn system() -> System {
    let source = Source { path: "two.toml".into(), text: TEXT.into() };
    system::parse(&source, Path::new("."), "two").unwrap_or_else(|refused| panic!("{refused}"))
}

fn payload(cores: Option<u8>) -> Vec<u8> {
    let image = image::read(&elf::build(&elf::Guest::default())).unwrap();
    pack::payload(&system(), &[image.clone(), image], cores, 0).unwrap()
}

fn header(payload: &[u8]) -> PayloadHeader {
    PayloadHeader::read_from_prefix(payload).unwrap().0
}

fn records(payload: &[u8]) -> Vec<(RecordHeader, &[u8])> {
    let mut rest = &payload[64..64 + usize::try_from(header(payload).records_len).unwrap()];
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (header, _) = RecordHeader::read_from_prefix(rest).unwrap();
        let (record, tail) = rest.split_at(usize::from(header.size));
        records.push((header, record));
        rest = tail;
    }
    records
}

fn all<T: FromBytes + KnownLayout + Immutable>(payload: &[u8], kind: u16) -> Vec<T> {
    let matching = records(payload).into_iter().filter(|(header, _)| header.kind == kind);
    matching.map(|(_, record)| T::read_from_bytes(record).unwrap()).collect()
}

#[test]
fn the_header_says_what_follows() {
    let payload = payload(None);
    let header = header(&payload);
    assert_eq!((header.magic, header.version, header.vms), (PAYLOAD_MAGIC, PAYLOAD_VERSION, 2));
    assert_eq!((header.log_level, header.slice_us), (4, 500));
    assert_eq!(usize::try_from(header.total_len).unwrap(), payload.len());
    assert_eq!(header.total_len % 8, 0);
    assert_eq!(header.checksum, checksum(&payload[64..]));
    assert_eq!(usize::try_from(header.records).unwrap(), records(&payload).len());
}

#[test]
fn the_header_asks_for_what_it_is_told_to_ask_for() {
    let image = image::read(&elf::build(&elf::Guest::default())).unwrap();
    let asking = pack::payload(&system(), &[image.clone(), image], None, HEADER_REPORT).unwrap();
    let plain = payload(None);
    assert_eq!((header(&asking).flags, header(&plain).flags), (HEADER_REPORT, 0));
    assert_eq!(asking.iter().zip(&plain).filter(|(a, b)| a != b).count(), 1);
}

#[test]
fn the_header_opens_the_cycle_counter_where_the_file_does() {
    let image = image::read(&elf::build(&elf::Guest::default())).unwrap();
    let mut system = system();
    system.has_cycle_counter = true;
    let payload = pack::payload(&system, &[image.clone(), image], None, HEADER_REPORT).unwrap();
    assert_eq!(header(&payload).flags, HEADER_REPORT | HEADER_CYCLES);
}

#[test]
fn records_come_in_the_order_that_boot_replays() {
    let kinds: Vec<(u16, u16)> = records(&payload(None)).iter().map(|(header, _)| (header.kind, header.vm)).collect();
    let expected = [
        (1, 0),
        (1, 1),
        (2, 0),
        (2, 0),
        (2, 1),
        (2, 1),
        (3, 0),
        (4, 0),
        (4, 1),
        (5, 1),
        (6, 0),
        (10, 0),
        (7, 0),
        (7, 1),
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn a_vm_record_carries_every_key_of_the_vm() {
    let payload = payload(None);
    let vms: Vec<CreateVm> = all(&payload, KIND_CREATE_VM);
    let (ping, pong) = (&vms[0], &vms[1]);
    assert_eq!(&ping.label[..5], b"ping\0");
    assert_eq!(
        (ping.ram_size, ping.entry, ping.image_base, ping.image_size),
        (1 << 20, 0x4000_0000, 0x4000_0000, 0x4000)
    );
    assert_eq!((ping.vcpus, ping.cores), (3, [1, 4, 1, ANY_CORE, ANY_CORE, ANY_CORE, ANY_CORE, ANY_CORE]));
    // 1 MiB of ram, 256 KiB of quota and the region that it owns.
    assert_eq!(ping.quota_pages, 256 + 64 + 2);
    assert_eq!((ping.flags, pong.flags), (VM_FAULT_HANDLER, VM_FAULT_HANDLER | VM_FP | VM_CONSOLE_INPUT));
    assert_eq!(pong.calls[7] & !ping.calls[7], 2);
    let at = usize::try_from(ping.command_line).unwrap();
    assert_eq!(&payload[at..at + usize::try_from(ping.command_line_len).unwrap()], b"role=ping");
}

#[test]
fn home_cores_wrap_when_the_board_has_fewer() {
    let vms: Vec<CreateVm> = all(&payload(Some(2)), KIND_CREATE_VM);
    assert_eq!(vms[0].cores[..3], [1, 0, 1]);
}

#[test]
fn a_share_of_a_core_carries_every_key_of_the_entry() {
    for (cores, core) in [(None, 3), (Some(2), 1)] {
        let share: &GrantSched = &all(&payload(cores), KIND_GRANT_SCHED)[0];
        assert_eq!((share.header.vm, share.core, share.priority, share.vcpus), (0, core, 9, 0b101));
        assert_eq!((share.budget_us, share.period_us, &share.name[..6]), (20, 100, b"often\0".as_slice()));
    }
}

/// Returns the payload of one VM that has bits of two registers.
fn filtered() -> Vec<u8> {
    let text = "[[vm]]\nname = \"a\"\nimage = \"x\"\nmemory = \"1MiB\"\n[[board.rpi4.device]]\nname = \"pins\"\nvm = \"a\"\n\
        registers = [{ address = 0xfe20_0000, size = \"4KiB\", allow = [{ offset = 8, mask = 0x38 }, { offset = 0x1c, mask = 1 }] }]\n";
    let source = Source { path: "pins.toml".into(), text: text.into() };
    let system = system::parse(&source, Path::new("."), "pins").unwrap_or_else(|refused| panic!("{refused}"));
    let image = image::read(&elf::build(&elf::Guest::default())).unwrap();
    pack::payload(&system, &[image], None, 0).unwrap()
}

#[test]
fn a_filtered_device_carries_each_register_that_is_allowed() {
    let payload = filtered();
    let device: &GrantDevice = &all(&payload, KIND_GRANT_DEVICE)[0];
    assert_eq!((device.address, device.flags), (0xfe20_0000, DEVICE_FILTERED));
    let allowed: Vec<AllowRegister> = all(&payload, KIND_ALLOW_REGISTER);
    let rules: Vec<_> = allowed.iter().map(|rule| (rule.header.vm, rule.address, rule.mask)).collect();
    assert_eq!(rules, [(0, 0xfe20_0008, 0x38), (0, 0xfe20_001c, 1)]);
    assert!(allowed.iter().all(|rule| rule.board == device.board));
}

#[test]
fn segments_are_found_at_their_offsets() {
    let payload = payload(None);
    let loads: Vec<Load> = all(&payload, KIND_LOAD);
    let lengths: Vec<_> =
        loads.iter().map(|load| (load.address, load.file_len, load.mem_len, load.attributes)).collect();
    assert_eq!(lengths[..2], [(0x4000_0000, 0x20, 0x1000, 5), (0x4000_1000, 0x10, 0x3000, 3)]);
    for load in loads {
        let (start, len) = (usize::try_from(load.offset).unwrap(), usize::try_from(load.file_len).unwrap());
        assert!(load.offset % 8 == 0 && payload[start..start + len].iter().all(|byte| *byte == 0x1f));
    }
}

#[test]
fn links_name_both_sides() {
    let payload = payload(None);
    let grants: Vec<GrantRegion> = all(&payload, KIND_GRANT_REGION);
    assert_eq!((grants[0].rights, grants[0].address), (1 | 2 | 8, 0x8000_0000));
    assert_eq!((grants[1].rights, grants[1].address, &grants[1].name[..7]), (1, 0, b"shared\0".as_slice()));
    let channel: &Channel = &all(&payload, KIND_CHANNEL)[0];
    assert_eq!((channel.peer, channel.vcpu, channel.peer_vcpu), (1, 2, 0));
    assert_eq!((&channel.name[..8], &channel.peer_name[..8]), (b"to_pong\0".as_slice(), b"to_ping\0".as_slice()));
    let peer: &Peer = &all(&payload, KIND_PEER)[0];
    assert_eq!((peer.header.vm, peer.peer, &peer.name[..5]), (1, 0, b"ping\0".as_slice()));
}

#[test]
fn packing_twice_gives_the_same_bytes() {
    assert_eq!(payload(None), payload(None));
}

#[test]
fn each_damage_changes_the_payload_and_nothing_but_what_it_says() {
    use strato_cli::pack::damage::Damage;
    let good = filtered();
    for (name, damage) in Damage::ALL.into_iter().filter(|(_, damage)| damage.code().is_none()) {
        let mut bad = good.clone();
        damage.apply(&mut bad);
        let differs = bad.iter().zip(&good).filter(|(a, b)| a != b).count();
        assert!(differs > 0 && differs <= 32, "{name}: {differs} bytes differ");
        let is_sum_right = header(&bad).checksum == checksum(&bad[64..]);
        assert_eq!(is_sum_right, name != "checksum", "{name}");
        damage.apply(&mut []);
    }
}

#[test]
fn code_is_damaged_in_a_function_that_is_there_or_not_at_all() {
    let mut flat = pack::hypervisor::Flat { bytes: vec![7; 4096] };
    let file = elf::build(&elf::Guest::default());
    let error = flat.overwrite(&file, "strato_hyp::no::such", &[0]).unwrap_err().to_string();
    assert_eq!(error, "the hypervisor has no function `strato_hyp::no::such` to damage");
    assert!(flat.bytes.iter().all(|&byte| byte == 7));
}
