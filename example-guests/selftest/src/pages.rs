//! Mapping, protecting and unmapping pages, each step proved by touching them: what must fault does, what must work works.

use strato_guest::abi::Ipa;
use strato_guest::abi::addr::PAGE_SIZE;
use strato_guest::memory::{self, AccessError, READ, READ_WRITE, Window};
use strato_guest::{Failure, Info, ensure};

const PLACE: Ipa = Ipa::new(0x8000_0000).unwrap();
const ALIAS: Ipa = Ipa::new(0x9000_0000).unwrap();

fn is_unmapped(window: &Window) -> bool {
    matches!(window.load(0), Err(AccessError::Fault(fault)) if fault.is_translation() && !fault.is_write())
}

fn is_read_only(window: &Window) -> bool {
    matches!(window.store(0, 1), Err(AccessError::Fault(fault)) if fault.is_permission() && fault.is_write())
}

/// Maps a page, maps it again elsewhere, protects and unmaps it.
pub(crate) fn pages(info: &Info) -> Result<(), Failure> {
    let (ram, free) = (info.mem("ram")?.handle, memory::free_ram(info).start - info.ram().start);
    let place = Window::new(PLACE, PAGE_SIZE).ok_or("no room")?;
    let alias = Window::new(ALIAS, PAGE_SIZE).ok_or("no room")?;

    ensure(is_unmapped(&place), "unmapped, a load faults")?;
    memory::map(ram, free, PLACE, 1, READ_WRITE)?;
    place.store(0, 0x1234)?;
    ensure(place.load(0)? == 0x1234, "mapped, the page keeps what is written")?;
    memory::map(ram, free, ALIAS, 1, READ)?;
    ensure(alias.load(0)? == 0x1234, "mapped again elsewhere, both addresses show it")?;
    ensure(is_read_only(&alias), "the read-only address refuses a store")?;
    memory::protect(PLACE, 1, READ)?;
    ensure(is_read_only(&place) && place.load(0)? == 0x1234, "protected, the first one refuses it too")?;
    memory::protect(PLACE, 1, READ_WRITE)?;
    place.store(0, 0x5678)?;
    ensure(alias.load(0)? == 0x5678, "writable again, it takes a store")?;
    memory::unmap(PLACE, 1)?;
    ensure(is_unmapped(&place), "unmapped again, a load faults")?;
    ensure(alias.load(0)? == 0x5678, "the other address still shows the page")
}
