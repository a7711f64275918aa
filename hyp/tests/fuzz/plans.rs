//! Plans: packed systems that are right, with every kind of record, as a start for what is made up.

use strato_abi::plan::{
    ANY_CORE, AllowRegister, Channel, CreateRegion, CreateVm, EXPECT_EXIT, Expect, GrantDevice, GrantInterrupt,
    GrantRegion, GrantSched, Load, PayloadHeader, Peer, Scenario, Start, checksum,
};
use strato_abi::plan::{BOARD_NAME_LEN, PAYLOAD_MAGIC, PAYLOAD_VERSION};
use strato_abi::version::ABI_VERSION;
use zerocopy::{FromZeros, IntoBytes};

/// Returns a payload with these records and `data` behind them.
fn payload(records: &[&[u8]], data: &[u8]) -> Vec<u8> {
    let body = [&records.concat(), data].concat();
    let header = PayloadHeader {
        magic: PAYLOAD_MAGIC,
        version: PAYLOAD_VERSION,
        abi_version: ABI_VERSION,
        total_len: (size_of::<PayloadHeader>() + body.len()) as u64,
        checksum: checksum(&body),
        records_len: (body.len() - data.len()) as u32,
        records: records.len() as u32,
        vms: 2,
        log_level: 3,
        slice_us: 1000,
        flags: 0,
        build_id: 7,
    };
    [header.as_bytes(), &body].concat()
}

/// Returns the seeds.
pub(crate) fn all() -> Vec<Vec<u8>> {
    let mut board = [0; BOARD_NAME_LEN];
    board[..4].copy_from_slice(b"rpi4");
    let name = [b'n'; 40];
    let create = |vm| CreateVm {
        header: CreateVm::header(vm),
        ram_size: 1 << 20,
        entry: 0x4000_0000,
        image_base: 0x4000_0000,
        image_size: 0x1000,
        command_line: 64,
        command_line_len: 8,
        quota_pages: 300,
        calls: [u32::MAX; 8],
        cores: [ANY_CORE; 8],
        vcpus: 1,
        handles: 16,
        ..CreateVm::new_zeroed()
    };
    let load = Load {
        header: Load::header(0),
        address: 0x4000_0000,
        offset: 64,
        file_len: 16,
        mem_len: 0x1000,
        attributes: 1,
    };
    let region = CreateRegion { header: CreateRegion::header(0), size: 4096 };
    let grant =
        GrantRegion { header: GrantRegion::header(1), region: 0, rights: 3, reserved: 0, address: 0x5000_0000, name };
    let peer = Peer { header: Peer::header(0), peer: 1, reserved: [0; 3], name };
    let channel =
        Channel { header: Channel::header(0), peer: 1, vcpu: 0, peer_vcpu: 0, reserved: 0, name, peer_name: name };
    let header = GrantDevice::header(0);
    let device = GrantDevice { header, board, address: 0x0901_0000, size: 0x1000, flags: 1, reserved: 0, name };
    let allow = AllowRegister { header: AllowRegister::header(0), board, address: 0x0903_0400, mask: 1, reserved: 0 };
    let interrupt = GrantInterrupt { header: GrantInterrupt::header(0), board, intid: 34, flags: 1, name };
    let sched =
        GrantSched { header: GrantSched::header(0), budget_us: 100, period_us: 1000, name, ..GrantSched::new_zeroed() };
    let [first, second] = [create(0), create(1)];
    let [start, last] = [0, 1].map(|vm| Start { header: Start::header(vm) });
    let scenario = Scenario { header: Scenario::header(0), name: [b'n'; 64], limit_s: 1, flags: 1 };
    let expect = Expect { header: Expect::header(1), outcome: EXPECT_EXIT, reserved: 0, code: 5 };
    let whole: [&[u8]; 15] = [
        scenario.as_bytes(),
        expect.as_bytes(),
        first.as_bytes(),
        second.as_bytes(),
        load.as_bytes(),
        region.as_bytes(),
        grant.as_bytes(),
        peer.as_bytes(),
        channel.as_bytes(),
        device.as_bytes(),
        allow.as_bytes(),
        interrupt.as_bytes(),
        sched.as_bytes(),
        start.as_bytes(),
        last.as_bytes(),
    ];
    vec![payload(&whole, &[0x1f; 64]), payload(&[first.as_bytes(), start.as_bytes()], b"8 bytes."), payload(&[], &[])]
}
