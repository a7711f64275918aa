//! What stands in for a guest's vCPU on a PC: no hypervisor below, one vCPU, an event area in plain memory.

use ::core::ops::Range;
use ::core::sync::atomic::AtomicU64;

use strato_abi::{Code, Ipa, Regs};

use crate::conduit::Conduit;
use crate::event_area::EventCells;
use crate::fault::Fault;
use crate::vcpu_area::VcpuCells;

/// The conduit of a PC, where no hypervisor answers: every call is `NOT_SUPPORTED`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hvc;

impl Conduit for Hvc {
    fn call(&self, _: u32, _: Regs) -> (i64, Regs) {
        (Code::NotSupported as i64, [0; 15])
    }
}

static EVENTS: EventCells = EventCells::new();
static VCPU: VcpuCells = [const { AtomicU64::new(0) }; 32];

pub(crate) fn counter() -> u64 {
    0
}
pub(crate) fn cycles() -> u64 {
    0
}
pub(crate) fn relax() {
    std::thread::yield_now();
}
pub(crate) fn wait_for_interrupt() {
    std::thread::yield_now();
}
pub(crate) fn vcpu_number() -> usize {
    0
}
pub(crate) fn mask_interrupts() -> u64 {
    0
}
pub(crate) fn restore_interrupts(_: u64) {}
pub(crate) fn unmask_interrupts() {}
pub(crate) fn set_local_timer(_: bool, _: u64) {}

pub(crate) fn event_cells(_: usize) -> &'static EventCells {
    &EVENTS
}
pub(crate) fn vcpu_cells(vcpu: usize) -> Option<&'static VcpuCells> {
    (vcpu == 0).then_some(&VCPU)
}
pub(crate) fn info_bytes() -> &'static [u8] {
    &[]
}
pub(crate) fn image_range() -> Range<u64> {
    strato_abi::addr::RAM_BASE..strato_abi::addr::RAM_BASE + 0x1_0000
}
pub(crate) fn stack_guard() -> Range<u64> {
    0..0
}
pub(crate) fn stack_room() -> Range<u64> {
    0..0
}
pub(crate) fn instruction(_: u64) -> Option<u32> {
    None
}
pub(crate) fn vcpu_entry() -> usize {
    0
}

pub(crate) fn publish_entries() {}
pub(crate) fn forget_entries() {}
pub(crate) fn publish_code(_: u64) {}
/// Returns that nothing translates: a PC has no MMU to ask.
pub(crate) fn translation(_: u64, _: bool) -> u64 {
    1
}
/// Returns that the line stopped the process, which has done nothing.
pub(crate) fn run_process(_: &mut crate::native::Registers) -> u64 {
    1
}

/// Returns the fault of any access: nothing is mapped on a PC.
const fn refused(syndrome: u64, address: Ipa) -> Fault {
    Fault { syndrome, address: address.bytes(), pc: 0, status: 0 }
}
pub(crate) fn load(address: Ipa) -> Result<u64, Fault> {
    Err(refused(0x9600_0007, address))
}
pub(crate) fn peek(address: Ipa) -> Result<u64, Fault> {
    load(address)
}
pub(crate) fn read(address: Ipa, _: &mut [u64]) -> Result<(), Fault> {
    load(address).map(drop)
}
pub(crate) fn store(address: Ipa, _: u64) -> Result<(), Fault> {
    Err(refused(0x9600_0047, address))
}
pub(crate) fn poke(address: Ipa, value: u64) -> Result<(), Fault> {
    store(address, value)
}
pub(crate) fn write(address: Ipa, _: &[u64]) -> Result<(), Fault> {
    store(address, 0)
}
/// Returns what a bus without a device answers.
pub(crate) fn device_load(_: Ipa) -> u32 {
    u32::MAX
}
pub(crate) fn device_store(_: Ipa, _: u32) {}
pub(crate) fn copy_words(from: Ipa, _: Ipa, _: usize) -> Result<(), Fault> {
    load(from).map(drop)
}
