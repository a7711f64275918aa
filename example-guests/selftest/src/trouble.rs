//! Cases that end badly, and must end with a report: a stack that overflows, a panic, an access to nothing.

use core::hint::black_box;

use strato_guest::Failure;
use strato_guest::abi::Ipa;
use strato_guest::fault::{self, Action};
use strato_guest::memory::Window;
use strato_guest::vcpu::{self, NO_DEADLINE, Stack};

/// Calls itself until the stack is used up.
pub(crate) fn overflow(depth: u64) -> u64 {
    recurse(depth, u64::MAX)
}

/// Calls itself until `depth` is `end`, with more than 512 bytes of stack for each, and returns 64 times the sum of all depths.
pub(crate) fn recurse(depth: u64, end: u64) -> u64 {
    let frame = black_box([depth; 64]);
    match frame.first() {
        Some(&depth) if depth < end => recurse(depth + 1, end) + frame.iter().sum::<u64>(),
        _ => 0,
    }
}

/// Panics two calls deep.
#[inline(never)]
pub(crate) fn panic() {
    deep();
}

#[inline(never)]
fn deep() {
    deeper();
}

#[inline(never)]
#[allow(clippy::panic, reason = "that is what it is for")]
fn deeper() {
    panic!("I was told to, for the {} time", "first");
}

/// Panics on another vCPU, and waits for the end of the VM.
pub(crate) fn panic_elsewhere() -> Result<(), Failure> {
    static STACK: Stack = Stack::new();
    vcpu::launch(1, &STACK, |_| deep(), 0)?;
    loop {
        vcpu::wait(NO_DEADLINE)?;
    }
}

/// Loads from an address where nothing is, with a handler that gives up.
pub(crate) fn fault() -> Result<(), Failure> {
    fault::set_handler(|_| Action::Panic);
    let nothing = Window::new(Ipa::new(0x7000_0000).ok_or("no address")?, 8).ok_or("no room")?;
    nothing.load(0)?;
    Err("the load went through".into())
}
