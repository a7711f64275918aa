//! References to the hypervisor's pages and the addresses that `guest.ld` defines.

use ::core::ops::Range;

use strato_abi::addr::{EVENT_AREA, INFO_PAGE, INFO_PAGES_MAX, PAGE_SIZE, VCPU_AREA};
use strato_abi::event_area::EVENT_RECORD_STRIDE;
use strato_abi::info_page::InfoPage;
use strato_abi::vcpu_area::VCPU_RECORD_STRIDE;

use crate::event_area::EventCells;
use crate::vcpu_area::VcpuCells;

/// vCPUs that the areas, one page each, have room for.
const EVENT_RECORDS: usize = (PAGE_SIZE / EVENT_RECORD_STRIDE) as usize;
const VCPU_RECORDS: usize = (PAGE_SIZE / VCPU_RECORD_STRIDE) as usize;

unsafe extern "C" {
    static __image_start: u8;
    static __image_end: u8;
    static __text_end: u8;
}

/// Returns the bytes of the info page(s), as many as their header counts, rounded up to 8.
pub(crate) fn info_bytes() -> &'static [u8] {
    let page = ::core::ptr::with_exposed_provenance::<u8>(INFO_PAGE as usize);
    // SAFETY: SPEC.md, info page: mapped read-only in every address space, constant while the VM runs, page-aligned.
    let total = unsafe { page.cast::<InfoPage>().as_ref() }.map_or(0, |header| header.total_size);
    let bytes = (total as usize).next_multiple_of(8).min((INFO_PAGES_MAX * PAGE_SIZE) as usize);
    // SAFETY: as above; the hypervisor maps as many pages as `total_size` spans, and rounding stays within the last one.
    unsafe { ::core::slice::from_raw_parts(page, bytes) }
}

/// Returns the event record of vCPU `vcpu`.
pub(crate) fn event_cells(vcpu: usize) -> &'static EventCells {
    let area = ::core::ptr::with_exposed_provenance::<[EventCells; EVENT_RECORDS]>(EVENT_AREA as usize);
    // SAFETY: SPEC.md, event area: one page, mapped read-write in every address space, of records that are only accessed
    // by atomic instructions on both sides. `% EVENT_RECORDS` stays inside; a vCPU's number is below it anyway.
    unsafe { &*area.cast::<EventCells>().add(vcpu % EVENT_RECORDS) }
}

/// Returns the vCPU record of vCPU `vcpu`, or `None` beyond the area.
pub(crate) fn vcpu_cells(vcpu: usize) -> Option<&'static VcpuCells> {
    let area = ::core::ptr::with_exposed_provenance::<VcpuCells>(VCPU_AREA as usize);
    // SAFETY: SPEC.md, vCPU area: one page of records, mapped read-only in every address space; the words are only loaded.
    (vcpu < VCPU_RECORDS).then(|| unsafe { &*area.add(vcpu) })
}

/// Returns the addresses that the image occupies, stacks and guards included.
pub(crate) fn image_range() -> Range<u64> {
    (&raw const __image_start).addr() as u64..(&raw const __image_end).addr() as u64
}

/// Returns the instruction at `pc`, or `None` outside the image's code.
pub(crate) fn instruction(pc: u64) -> Option<u32> {
    let text = (&raw const __image_start).addr() as u64..(&raw const __text_end).addr() as u64;
    if !text.contains(&pc) || !pc.is_multiple_of(4) {
        return None;
    }
    // SAFETY: an aligned word of the code, whose length is a multiple of 4 (`guest.ld`); the plan maps it readable, and no reference
    // to it is mutable. Where the guest has unmapped it, this is a fault, as it is for the instruction itself.
    Some(unsafe { ::core::ptr::with_exposed_provenance::<u32>(pc as usize).read_volatile() })
}
