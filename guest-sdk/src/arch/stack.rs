//! Memory for stacks. The guards of the first vCPU's come from `guest.ld`, those of the others from AS.UNMAP.

use ::core::cell::UnsafeCell;
use ::core::mem::offset_of;
use ::core::ops::Range;
use ::core::sync::atomic::{AtomicBool, Ordering};

/// The first vCPU's stack; [`entry!`](crate::entry!) places one of [`Needs::stack`](crate::Needs::stack) bytes.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct StackMemory<const BYTES: usize>(UnsafeCell<[u8; BYTES]>);

// SAFETY: no reference to the bytes is ever made; the one vCPU that runs on them uses them through SP.
unsafe impl<const BYTES: usize> Sync for StackMemory<BYTES> {}

impl<const BYTES: usize> StackMemory<BYTES> {
    /// Returns zeroed memory for a stack.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "it lives in a static")]
    pub const fn new() -> Self {
        Self(UnsafeCell::new([0; BYTES]))
    }
}

/// Bytes of a further vCPU's stack.
const MAIN_BYTES: usize = 4 * 4096;
/// Bytes of a further vCPU's stack for exceptions.
const EXCEPTION_BYTES: usize = 2 * 4096;

#[repr(C, align(4096))]
struct Pages {
    exception_guard: [u8; 4096],
    exception: [u8; EXCEPTION_BYTES],
    guard: [u8; 4096],
    main: [u8; MAIN_BYTES],
}

/// What `start.S` reads when the vCPU enters.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Record {
    pub(super) function: fn(usize),
    pub(super) argument: usize,
    pub(super) stack_top: usize,
    pub(super) exception_top: usize,
}

/// Stacks of one further vCPU: 16 KiB, 8 KiB for exceptions, and a guard page below each.
#[repr(C)]
pub struct Stack {
    pages: UnsafeCell<Pages>,
    record: UnsafeCell<Record>,
    taken: AtomicBool,
}

// SAFETY: `record` is written once, by whoever sets `taken`, before the vCPU that reads it starts, and never again; no reference to
// `pages` is ever made, the vCPU uses them through SP.
unsafe impl Sync for Stack {}

impl ::core::fmt::Debug for Stack {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("Stack").field("taken", &self.taken).finish_non_exhaustive()
    }
}

/// Returns the addresses of the stack that ends at `top` and of the one for exceptions, as [`Stack`] places them.
#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "nothing walks a vCPU's stack on a PC"))]
pub(super) const fn ranges(top: u64) -> [Range<u64>; 2] {
    let start = top.saturating_sub(size_of::<Pages>() as u64);
    let main = start + offset_of!(Pages, main) as u64;
    let exception = start + offset_of!(Pages, exception) as u64;
    [main..main + MAIN_BYTES as u64, exception..exception + EXCEPTION_BYTES as u64]
}

/// What a vCPU is started with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch {
    /// Where it enters.
    pub(crate) entry: u64,
    /// Its x0.
    pub(crate) argument: u64,
    /// The pages to unmap first.
    pub(crate) guards: [u64; 2],
}

impl Stack {
    /// Returns stacks that serve no vCPU yet.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "it lives in a static")]
    pub const fn new() -> Self {
        const PAGES: Pages = Pages {
            exception_guard: [0; 4096],
            exception: [0; EXCEPTION_BYTES],
            guard: [0; 4096],
            main: [0; MAIN_BYTES],
        };
        let record = Record { function: |_| {}, argument: 0, stack_top: 0, exception_top: 0 };
        Self { pages: UnsafeCell::new(PAGES), record: UnsafeCell::new(record), taken: AtomicBool::new(false) }
    }

    /// Returns how to start a vCPU on these stacks in `function(argument)`, or `None` when they serve one already.
    pub(crate) fn take(&'static self, function: fn(usize), argument: usize) -> Option<Launch> {
        if self.taken.swap(true, Ordering::AcqRel) {
            return None;
        }
        let base = self.pages.get().addr();
        let exception_guard = base.wrapping_add(offset_of!(Pages, exception_guard));
        let guard = base.wrapping_add(offset_of!(Pages, guard));
        let stack_top = base.wrapping_add(size_of::<Pages>());
        let record = Record { function, argument, stack_top, exception_top: guard };
        // SAFETY: `taken` was false, so nobody else writes or reads the record until the vCPU is started with it.
        unsafe { self.record.get().write(record) };
        Some(Launch {
            entry: super::vcpu_entry() as u64,
            argument: self.record.get().addr() as u64,
            guards: [exception_guard as u64, guard as u64],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_serves_one_vcpu_only_and_its_guards_are_pages_of_its_own() {
        static STACK: Stack = Stack::new();
        let launch = STACK.take(|_| {}, 7).unwrap();
        let [below_exception, below_main] = launch.guards;
        assert!(below_exception % 4096 == 0 && below_main % 4096 == 0);
        assert_eq!(below_main - below_exception, 4096 + EXCEPTION_BYTES as u64);
        assert!(STACK.take(|_| {}, 7).is_none());
    }

    #[test]
    fn the_ranges_of_a_stack_lie_above_its_guards() {
        static STACK: Stack = Stack::new();
        let [below_exception, below_main] = STACK.take(|_| {}, 7).unwrap().guards;
        let top = below_main + 4096 + MAIN_BYTES as u64;
        let main = below_main + 4096..top;
        assert_eq!(ranges(top), [main, below_exception + 4096..below_main]);
    }
}
