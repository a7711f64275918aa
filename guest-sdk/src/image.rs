//! The program's own pages: nothing else comes to stand where they are, and no second mapping writes them. The rest of the
//! library maps through [`check`], so that a [`Window`](crate::memory::Window) never reaches a value of the program.
//!
//! Calls by hand ([`address_space`](crate::address_space), [`share`](crate::share)) are not held back; they say so.

use ::core::sync::atomic::{AtomicU32, Ordering};

use strato_abi::addr::{PAGE_SIZE, RAM_BASE};
use strato_abi::address_space::Attributes;
use strato_abi::{Call, Code, Ipa, MemHandle, Reason};

use crate::arch;
use crate::error::{Error, Result};

/// The handle of `ram`, whose first pages the image is loaded into. Set once, before the program runs; 0 names nothing.
static RAM: AtomicU32 = AtomicU32::new(0);

/// Remembers which object holds the image.
#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "a program on a PC is loaded by other means"))]
pub(crate) fn remember(ram: MemHandle) {
    // Relaxed: further vCPUs are started after this, by a call.
    RAM.store(ram.0.bits(), Ordering::Relaxed);
}

/// Returns whether `bytes` from `first` on meet the addresses from `start` to `end`.
const fn meets(first: u64, bytes: u64, start: u64, end: u64) -> bool {
    first < end && first.saturating_add(bytes) > start
}

/// Refuses to map `pages` pages of `mem`, from `offset` on, at `address` where that would alias the image: something else at
/// its addresses, or its pages at others with the right to write.
#[inline(always)]
pub(crate) fn check(mem: MemHandle, offset: u64, address: Ipa, pages: u64, attributes: Attributes) -> Result<()> {
    let end = arch::image_range().end;
    // The usual case: behind the image, both in the address space and in whatever object.
    if address.bytes() >= end && offset >= end.wrapping_sub(RAM_BASE) {
        return Ok(());
    }
    match alias(mem, offset, address, pages, attributes) {
        0 => Ok(()),
        argument => Err(refusal(argument)),
    }
}

/// Refuses to map `pages` pages of an object other than `ram` at `address` where the image is.
#[inline(always)]
pub(crate) fn check_place(address: Ipa, pages: u64) -> Result<()> {
    let image = arch::image_range();
    if address.bytes() >= image.end || !meets(address.bytes(), pages.saturating_mul(PAGE_SIZE), image.start, image.end)
    {
        return Ok(());
    }
    Err(refusal(2))
}

/// Returns the argument of AS.MAP by which the mapping would alias the image, or 0.
#[cold]
#[inline(never)]
fn alias(mem: MemHandle, offset: u64, address: Ipa, pages: u64, attributes: Attributes) -> u8 {
    let image = arch::image_range();
    let bytes = pages.saturating_mul(PAGE_SIZE);
    let is_ram = mem.0.bits() == RAM.load(Ordering::Relaxed);
    if is_ram && address.bytes().checked_sub(RAM_BASE) == Some(offset) {
        return 0;
    }
    if meets(address.bytes(), bytes, image.start, image.end) {
        return 2;
    }
    let is_twice = is_ram && meets(offset, bytes, image.start - RAM_BASE, image.end - RAM_BASE);
    if is_twice && attributes.contains(Attributes::WRITE) { 4 } else { 0 }
}

#[cold]
#[inline(never)]
fn refusal(argument: u8) -> Error {
    let error = strato_abi::Error::of(Code::BadAddress, argument, Reason::Reserved, 0);
    Error { call: Call::AsMap, error, done: 0 }
}

#[cfg(test)]
mod tests {
    use strato_abi::Handle;

    use super::*;
    use crate::memory::{READ, READ_WRITE};

    #[test]
    fn the_image_is_neither_covered_nor_written_by_a_second_mapping() {
        // On a PC the image is said to be the first 16 pages of RAM.
        let (ram, other) = (MemHandle(Handle::new(4, 1)), MemHandle(Handle::new(5, 1)));
        remember(ram);
        let place = |address| Ipa::new(address).unwrap();
        for (mem, offset, address, pages, attributes, is_refused) in [
            (other, 0, 0x6000_0000, 512, READ_WRITE, None),
            (other, 0, 0x3fff_f000, 1, READ_WRITE, None),
            (other, 0, 0x3fff_f000, 2, READ, Some(2)),
            (other, 0x10_0000, 0x4000_f000, 1, READ, Some(2)),
            (other, 0, 0x4001_0000, 1, READ_WRITE, None),
            (ram, 0x1_0000, 0x6000_0000, 1, READ_WRITE, None),
            (ram, 0xf000, 0x6000_0000, 1, READ_WRITE, Some(4)),
            (ram, 0, 0x6000_0000, 512, READ_WRITE, Some(4)),
            (ram, 0, 0x6000_0000, 512, READ, None),
            (ram, 0x3000, 0x4000_3000, 9, READ_WRITE, None),
            (ram, 0x3000, 0x4000_4000, 1, READ, Some(2)),
            (ram, 0x1_0000, 0x4000_f000, 1, READ, Some(2)),
        ] {
            let found = check(mem, offset, place(address), pages, attributes);
            let argument = found.err().map(|error| error.error.detail.argument());
            assert_eq!(argument, is_refused, "{offset:#x} at {address:#x}");
        }
        remember(MemHandle(Handle::from_bits(0)));
    }
}
