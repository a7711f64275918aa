//! Plan: a packed system as the host tool makes it, from a few words. Used by every story.

use strato_abi::addr::RAM_BASE;
use strato_abi::plan::{
    AllowRegister, Channel, CreateRegion, CreateVm, DEVICE_FILTERED, GrantDevice, GrantInterrupt, GrantRegion,
    GrantSched, Load, PAYLOAD_MAGIC, PAYLOAD_VERSION, PayloadHeader, Peer, Start, checksum,
};
use strato_abi::version::ABI_VERSION;
use strato_hyp::timer::Wall;
use zerocopy::IntoBytes;

/// Ticks of a slice: `SLICE_US` at 62.5 MHz.
pub(crate) const SLICE: u64 = 62_500;
const SLICE_US: u32 = 1000;
/// The highest priority of those that run by a handle of [`System::sched`].
pub(crate) const SCHED_PRIORITY: u8 = 20;
/// Where every guest's code is, one page that can be read and executed.
pub(crate) const CODE: u64 = RAM_BASE;
/// Where every guest's data is, one page that can be read and written. Between the two nothing is mapped.
pub(crate) const DATA: u64 = RAM_BASE + 0x2000;
/// Where the shared region of [`System::share`] is mapped.
pub(crate) const SHARED: u64 = 0x5000_0000;

/// Where the real-time clock's registers are on `virt`, and its interrupt.
pub(crate) const RTC: u64 = 0x0901_0000;
pub(crate) const RTC_INTID: u32 = 34;
/// Where the GPIO's registers are on `virt`, of which VMs can be given single bits.
pub(crate) const GPIO: u64 = 0x0903_0000;

/// A VM of a system.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    pub(crate) label: &'static str,
    pub(crate) vcpus: u16,
    pub(crate) cores: [u8; 8],
    pub(crate) flags: u32,
    pub(crate) priority: u8,
    pub(crate) handles: u16,
    pub(crate) quota: u32,
    pub(crate) ram_pages: u64,
    pub(crate) calls: [u32; 8],
    /// Restarts in ten seconds, with the flag.
    pub(crate) restart_limit: u8,
    /// Timers that it can have set at once.
    pub(crate) timers: u8,
}

impl Guest {
    pub(crate) fn new(label: &'static str) -> Self {
        let calls = [u32::MAX; 8];
        let cores = [0; 8];
        Self {
            label,
            vcpus: 1,
            cores,
            flags: 0,
            priority: 10,
            handles: 16,
            quota: 200,
            ram_pages: 16,
            calls,
            restart_limit: 5,
            timers: 32,
        }
    }
}

/// What is packed.
#[derive(Clone, Debug)]
pub(crate) struct System {
    pub(crate) guests: Vec<Guest>,
    pub(crate) records: Vec<u8>,
    pub(crate) count: u32,
    /// Frames of the machine.
    pub(crate) frames: usize,
    /// Whether the machine is powered off behind the last VM.
    pub(crate) powers_off: bool,
    /// Flags of the header.
    pub(crate) flags: u32,
    /// What time it is.
    pub(crate) wall: Option<Wall>,
}

impl System {
    pub(crate) fn new(guests: impl Into<Vec<Guest>>) -> Self {
        Self {
            guests: guests.into(),
            records: Vec::new(),
            count: 0,
            frames: 512,
            powers_off: false,
            flags: 0,
            wall: None,
        }
    }

    /// One VM with this many vCPUs.
    pub(crate) fn one(vcpus: u16) -> Self {
        Self::new([Guest { vcpus, ..Guest::new("a") }])
    }

    /// Two VMs that know each other (handle 1 in both) and have a channel (handle 2 in both).
    pub(crate) fn pair(a: Guest, b: Guest) -> Self {
        let mut system = Self::new([a, b]);
        system.peer(0, 1).peer(1, 0).channel(0, 1);
        system
    }

    fn add(&mut self, record: &[u8]) -> &mut Self {
        self.records.extend_from_slice(record);
        self.count += 1;
        self
    }

    pub(crate) fn peer(&mut self, vm: u16, peer: u16) -> &mut Self {
        self.add(Peer { header: Peer::header(vm), peer, reserved: [0; 3], name: name("peer") }.as_bytes())
    }

    pub(crate) fn channel(&mut self, vm: u16, peer: u16) -> &mut Self {
        let (name, peer_name) = (name("near"), name("far"));
        let header = Channel::header(vm);
        self.add(Channel { header, peer, vcpu: 0, peer_vcpu: 0, reserved: 0, name, peer_name }.as_bytes())
    }

    /// Makes region 0 of `pages` pages, owned by `owner`, and gives each VM of `grants` a handle with rights; it is mapped
    /// at [`SHARED`].
    pub(crate) fn share(&mut self, owner: u16, pages: u64, grants: &[(u16, u16)]) -> &mut Self {
        self.add(CreateRegion { header: CreateRegion::header(owner), size: pages << 12 }.as_bytes());
        for &(vm, rights) in grants {
            let header = GrantRegion::header(vm);
            let name = name("region");
            self.add(GrantRegion { header, region: 0, rights, reserved: 0, address: SHARED, name }.as_bytes());
        }
        self
    }

    /// Makes region 0 of `pages` pages, of `owner` alone and mapped nowhere.
    pub(crate) fn own(&mut self, owner: u16, pages: u64) -> &mut Self {
        self.own_region(owner, 0, pages)
    }

    /// The same as region `region`.
    pub(crate) fn own_region(&mut self, owner: u16, region: u16, pages: u64) -> &mut Self {
        self.add(CreateRegion { header: CreateRegion::header(owner), size: pages << 12 }.as_bytes());
        let header = GrantRegion::header(owner);
        let name = name("own");
        self.add(GrantRegion { header, region, rights: 15, reserved: 0, address: 0, name }.as_bytes())
    }

    /// Assigns a page of registers to a VM, on the board of all stories.
    pub(crate) fn device(&mut self, vm: u16, address: u64) -> &mut Self {
        self.device_on("qemu-virt", vm, address)
    }

    /// The same on another board.
    pub(crate) fn device_on(&mut self, board: &str, vm: u16, address: u64) -> &mut Self {
        let (header, board) = (GrantDevice::header(vm), board_name(board));
        let name = name("rtc");
        self.add(GrantDevice { header, board, address, size: 4096, flags: 0, reserved: 0, name }.as_bytes())
    }

    /// Gives a VM the page of the GPIO to be filtered, and these bits of the registers at these offsets.
    pub(crate) fn filtered(&mut self, vm: u16, allowed: &[(u64, u32)]) -> &mut Self {
        let (header, board) = (GrantDevice::header(vm), board_name("qemu-virt"));
        let (flags, name) = (DEVICE_FILTERED, name("gpio"));
        self.add(GrantDevice { header, board, address: GPIO, size: 4096, flags, reserved: 0, name }.as_bytes());
        allowed.iter().fold(self, |system, &(offset, mask)| system.allow_on("qemu-virt", vm, GPIO + offset, mask))
    }

    /// Lets a VM use bits of a register of that board.
    pub(crate) fn allow_on(&mut self, board: &str, vm: u16, address: u64, mask: u32) -> &mut Self {
        let (header, board) = (AllowRegister::header(vm), board_name(board));
        self.add(AllowRegister { header, board, address, mask, reserved: 0 }.as_bytes())
    }

    /// Assigns a level interrupt to a VM.
    pub(crate) fn interrupt(&mut self, vm: u16, intid: u32) -> &mut Self {
        let (header, board) = (GrantInterrupt::header(vm), board_name("qemu-virt"));
        self.add(GrantInterrupt { header, board, intid, flags: 0, name: name("rtc") }.as_bytes())
    }

    /// Reserves time of a core for a VM, in microseconds, for those of the mask from the start.
    pub(crate) fn sched(&mut self, vm: u16, core: u8, budget_us: u32, period_us: u32, vcpus: u8) -> &mut Self {
        let (header, name) = (GrantSched::header(vm), name("sched"));
        let priority = SCHED_PRIORITY;
        self.add(GrantSched { header, budget_us, period_us, core, priority, vcpus, reserved: [0; 5], name }.as_bytes())
    }

    /// One VM that drives the real-time clock: its registers are handle 1, its interrupt is handle 2, its port 3.
    pub(crate) fn driver(guest: Guest) -> Self {
        let mut system = Self::new([guest]);
        system.device(0, RTC).interrupt(0, RTC_INTID);
        system
    }

    /// Returns the payload, for the rest of the process.
    pub(crate) fn payload(&self) -> &'static [u8] {
        let mut records = Vec::new();
        for (vm, guest) in (0..).zip(&self.guests) {
            records.extend_from_slice(create(vm, guest).as_bytes());
        }
        for vm in 0..self.guests.len() as u16 {
            for (address, attributes) in [(CODE, 5), (DATA, 3)] {
                let header = Load::header(vm);
                let load = Load { header, address, offset: 0, file_len: 64, mem_len: 4096, attributes };
                records.extend_from_slice(load.as_bytes());
            }
        }
        records.extend_from_slice(&self.records);
        for vm in 0..self.guests.len() as u16 {
            records.extend_from_slice(Start { header: Start::header(vm) }.as_bytes());
        }
        let vms = self.guests.len() as u32;
        let header = PayloadHeader {
            magic: PAYLOAD_MAGIC,
            version: PAYLOAD_VERSION,
            abi_version: ABI_VERSION,
            total_len: (64 + records.len()) as u64,
            checksum: checksum(&records),
            records_len: records.len() as u32,
            records: self.count + 4 * vms,
            // One that never ends keeps the machine up behind the others.
            vms: vms + u32::from(!self.powers_off),
            log_level: 3,
            slice_us: SLICE_US,
            flags: self.flags,
            build_id: 0xb1d,
        };
        [header.as_bytes(), &records].concat().leak()
    }
}

fn create(vm: u16, guest: &Guest) -> CreateVm {
    let mut label = [0; 32];
    label[..guest.label.len()].copy_from_slice(guest.label.as_bytes());
    CreateVm {
        header: CreateVm::header(vm),
        label,
        ram_size: guest.ram_pages << 12,
        entry: CODE,
        image_base: RAM_BASE,
        image_size: 0x3000,
        command_line: 0,
        command_line_len: 0,
        quota_pages: guest.quota,
        calls: guest.calls,
        cores: guest.cores,
        flags: guest.flags,
        vcpus: guest.vcpus,
        handles: guest.handles,
        priority: guest.priority,
        restart_limit: guest.restart_limit,
        restart_window_s: 10,
        timers: guest.timers,
        reserved: [0; 3],
    }
}

fn board_name(text: &str) -> [u8; 16] {
    let mut name = [0; 16];
    name[..text.len()].copy_from_slice(text.as_bytes());
    name
}

fn name(text: &str) -> [u8; 40] {
    let mut name = [0; 40];
    name[..text.len()].copy_from_slice(text.as_bytes());
    name
}
