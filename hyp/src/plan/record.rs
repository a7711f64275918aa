//! Record: one step of a plan, where the payload has it. Called by `plan` alone.

use strato_abi::plan::{
    AllowRegister, BOARD_NAME_LEN, Channel, CreateRegion, CreateVm, DEVICE_FLAGS, Expect, GrantDevice, GrantInterrupt,
    GrantRegion, GrantSched, INTERRUPT_FLAGS, KIND_ALLOW_REGISTER, KIND_CHANNEL, KIND_CREATE_REGION, KIND_CREATE_VM,
    KIND_EXPECT, KIND_GRANT_DEVICE, KIND_GRANT_INTERRUPT, KIND_GRANT_REGION, KIND_GRANT_SCHED, KIND_LOAD, KIND_PEER,
    KIND_SCENARIO, KIND_START, Load, Peer, RecordHeader, Scenario, Start, VM_FLAGS, VM_RESTART,
};
use zerocopy::FromBytes;

/// One step of a plan, where the payload has it.
#[derive(Clone, Copy, Debug)]
pub enum Record<'p> {
    /// Makes a VM.
    CreateVm(&'p CreateVm),
    /// Loads a segment.
    Load(&'p Load),
    /// Makes a shared region.
    CreateRegion(&'p CreateRegion),
    /// Gives a region to a VM.
    GrantRegion(&'p GrantRegion),
    /// Gives a peer to a VM.
    Peer(&'p Peer),
    /// Connects two VMs.
    Channel(&'p Channel),
    /// Gives registers of a device to a VM.
    GrantDevice(&'p GrantDevice),
    /// Lets a VM use bits of a register.
    AllowRegister(&'p AllowRegister),
    /// Gives the interrupt of a device to a VM.
    GrantInterrupt(&'p GrantInterrupt),
    /// Gives a share of a core's time to a VM.
    GrantSched(&'p GrantSched),
    /// Starts a VM.
    Start(&'p Start),
    /// Says how a VM has to end.
    Expect(&'p Expect),
    /// Says which of a series this is.
    Scenario(&'p Scenario),
}

impl Record<'_> {
    /// Returns the number of the VM that it is for.
    #[must_use]
    pub fn vm(&self) -> u16 {
        match self {
            Self::CreateVm(record) => record.header.vm,
            Self::Load(record) => record.header.vm,
            Self::CreateRegion(record) => record.header.vm,
            Self::GrantRegion(record) => record.header.vm,
            Self::Peer(record) => record.header.vm,
            Self::Channel(record) => record.header.vm,
            Self::GrantDevice(record) => record.header.vm,
            Self::AllowRegister(record) => record.header.vm,
            Self::GrantInterrupt(record) => record.header.vm,
            Self::GrantSched(record) => record.header.vm,
            Self::Start(record) => record.header.vm,
            Self::Expect(record) => record.header.vm,
            Self::Scenario(record) => record.header.vm,
        }
    }

    /// Returns whether the record is to be carried out on the board of that name: most are on all, and what is said of a series on none.
    #[inline(never)]
    #[must_use]
    pub fn is_for(&self, board: &str) -> bool {
        let name = match self {
            Self::GrantDevice(record) => &record.board,
            Self::AllowRegister(record) => &record.board,
            Self::GrantInterrupt(record) => &record.board,
            Self::CreateVm(_) | Self::Load(_) | Self::CreateRegion(_) | Self::GrantRegion(_) => return true,
            Self::Peer(_) | Self::Channel(_) | Self::GrantSched(_) | Self::Start(_) => return true,
            Self::Expect(_) | Self::Scenario(_) => return false,
        };
        let (start, rest) = name.split_at(board.len().min(BOARD_NAME_LEN));
        start == board.as_bytes() && rest.iter().all(|&byte| byte == 0)
    }
}

/// Takes the first record off `rest`. It is read where it stands: the payload begins on a page, and all parts of it are
/// multiples of 8 bytes long.
pub(super) fn take<'p>(rest: &mut &'p [u8]) -> Option<Record<'p>> {
    let (header, _) = RecordHeader::ref_from_prefix(rest).ok()?;
    let (record, behind) = rest.split_at_checked(usize::from(header.size))?;
    let record = match header.kind {
        KIND_CREATE_VM => {
            let record = CreateVm::ref_from_bytes(record).ok()?;
            // In a span of nothing any number of restarts would be none too many.
            let is_bounded = record.flags & VM_RESTART == 0 || record.restart_window_s != 0;
            (record.flags & !VM_FLAGS == 0 && is_bounded).then_some(Record::CreateVm(record))?
        }
        KIND_LOAD => Record::Load(Load::ref_from_bytes(record).ok()?),
        KIND_CREATE_REGION => Record::CreateRegion(CreateRegion::ref_from_bytes(record).ok()?),
        KIND_GRANT_REGION => Record::GrantRegion(GrantRegion::ref_from_bytes(record).ok()?),
        KIND_PEER => Record::Peer(Peer::ref_from_bytes(record).ok()?),
        KIND_CHANNEL => Record::Channel(Channel::ref_from_bytes(record).ok()?),
        KIND_GRANT_DEVICE => {
            let record = GrantDevice::ref_from_bytes(record).ok()?;
            (record.flags & !DEVICE_FLAGS == 0).then_some(Record::GrantDevice(record))?
        }
        KIND_ALLOW_REGISTER => Record::AllowRegister(AllowRegister::ref_from_bytes(record).ok()?),
        KIND_GRANT_INTERRUPT => {
            let record = GrantInterrupt::ref_from_bytes(record).ok()?;
            (record.flags & !INTERRUPT_FLAGS == 0).then_some(Record::GrantInterrupt(record))?
        }
        KIND_GRANT_SCHED => Record::GrantSched(GrantSched::ref_from_bytes(record).ok()?),
        KIND_START => Record::Start(Start::ref_from_bytes(record).ok()?),
        KIND_EXPECT => Record::Expect(Expect::ref_from_bytes(record).ok()?),
        KIND_SCENARIO => Record::Scenario(Scenario::ref_from_bytes(record).ok()?),
        _ => return None,
    };
    *rest = behind;
    Some(record)
}
