//! The case that needs a keyboard.

use strato_guest::{Hvc, console, print, vcpu};

/// Says what is typed, to the end of a line.
pub(crate) fn echo() -> strato_guest::Result<()> {
    print!("typed: ");
    loop {
        let typed = console::read()?;
        console::write_all(&Hvc, typed.bytes())?;
        if typed.bytes().contains(&b'\n') {
            return Ok(());
        }
        vcpu::yield_now();
    }
}
