//! Machine: a core's letter box, of fewer places.

#[path = "../../src/machine/mail.rs"]
pub mod mail;

pub use mail::Mail;

pub const VM_PLACES: usize = 8;
pub const SGI_MAIL: u8 = 0;
