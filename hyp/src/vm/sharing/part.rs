//! The next part of borrowed memory, unmapped at its borrower: by the borrower's calls, or by its owner's.
//!
//! Called by the parent and SHARE.RELINQUISH, with the borrower locked. Ends no share.

use strato_abi::Ipa;

use super::ShareError;
use crate::allocator::Allocator;
use crate::memory::source::Charged;
use crate::memory::stage2::{Progress, SpaceError};
use crate::vm::Inner;
use crate::vm::handles::{MemRef, Range, Ranges};
use crate::vm::spaces::FIRST;

/// Unmaps a part of borrowed memory that its borrower gives back; what is left stands in the ranges. Returns the pages.
///
/// # Errors
/// [`ShareError::Space`].
#[inline(always)]
pub fn take_part(
    inner: &mut Inner,
    index: u16,
    allocator: &mut Allocator,
    interrupt_pending: fn() -> bool,
) -> Result<u64, ShareError> {
    // What was unmapped without that is in no range any more. It may be as much as a call does: then that was it.
    if inner.sync(allocator) {
        return Ok(0);
    }
    match take_page(inner, index, allocator) {
        Some(pages) => Ok(pages),
        None => take_first(inner, index, allocator, interrupt_pending),
    }
}

/// Does that where nothing is mapped, or one page in the first address space whose table stays.
#[inline(always)]
fn take_page(inner: &mut Inner, index: u16, allocator: &mut Allocator) -> Option<u64> {
    let mut borrowed = inner.handles.borrowed_mut(index)?;
    if borrowed.ranges().is_empty() {
        return Some(0);
    }
    let (_, page) = borrowed.ranges().only_page().filter(|(space, _)| *space == FIRST)?;
    let space = inner.spaces.first_settled()?;
    let pa = space.take_page(Ipa::new(page << 12)?, |pa| borrowed.mem().holds(pa))?;
    allocator.mem_page_unmapped(pa);
    borrowed.set_ranges(Ranges::default());
    Some(1)
}

/// Does that for the first of the ranges, by parts.
#[inline(never)]
fn take_first(
    inner: &mut Inner,
    index: u16,
    allocator: &mut Allocator,
    interrupt_pending: fn() -> bool,
) -> Result<u64, ShareError> {
    let mem = inner.handles.mem_at(index).ok_or(ShareError::Broken)?;
    let Some(range) = inner.handles.ranges(index).iter().next() else { return Ok(0) };
    let (pages, settled) = clear(inner, range, &mem, allocator, interrupt_pending)?;
    let left = inner.handles.ranges(index).without(Range { pages: settled, ..range });
    inner.handles.set_ranges(index, left);
    Ok(pages)
}

/// Unmaps the part of borrowed memory that `cursor` points to. Returns the pages, and where to go on.
pub(super) fn follow(
    inner: &mut Inner,
    index: u16,
    mem: &MemRef,
    (number, page): (u8, u32),
    allocator: &mut Allocator,
    interrupt_pending: fn() -> bool,
) -> Result<(u64, (u8, u32)), ShareError> {
    let Some((found, range)) = inner.handles.ranges(index).next_from(number) else { return Ok((0, (number, 0))) };
    // Those of an address space that has ended meanwhile are not there any more.
    let (number, done) = (found, if found == number { u64::from(page) } else { 0 });
    let rest = Range { first: range.first.saturating_add(done), pages: range.pages.saturating_sub(done), ..range };
    let (pages, settled) = clear(inner, rest, mem, allocator, interrupt_pending)?;
    let page = u32::try_from(done.saturating_add(settled)).map_err(|_| ShareError::Broken)?;
    let next = if settled >= rest.pages { (number.saturating_add(1), 0) } else { (number, page) };
    Ok((pages, next))
}

/// Unmaps what is mapped of `mem` in the first part of `range`. Returns the pages, and how many of the range are settled.
fn clear(
    inner: &mut Inner,
    range: Range,
    mem: &MemRef,
    allocator: &mut Allocator,
    interrupt_pending: fn() -> bool,
) -> Result<(u64, u64), ShareError> {
    let mut source = Charged::new(allocator, &mut inner.account, interrupt_pending);
    let start = range.first.checked_shl(12).and_then(Ipa::new).ok_or(ShareError::Broken)?;
    // Nothing is mapped in an address space that is not there any more.
    let Some(space) = inner.spaces.get_mut(range.space) else { return Ok((0, range.pages)) };
    match space.unmap_part(start, range.pages, (mem.base, mem.pages), &mut source) {
        Ok(part) => Ok((part.pages, part.settled)),
        // One that is torn down anyway gets on by this call, so that no borrower can hold its owner up.
        Err(SpaceError::Dying) => match space.teardown_step(&mut source) {
            Progress::More => Ok((0, 0)),
            Progress::Done => Ok((0, range.pages)),
        },
        Err(error) => Err(ShareError::Space(error)),
    }
}
