//! Group CON: bytes to and from the console. One function per call, and [`write_all`], which goes on until all is out.

use strato_abi::Code;
use strato_abi::call::{ConRead, ConWrite};
use strato_abi::console::{CONSOLE_BYTES, ConsoleData};
use strato_abi::vcpu::YieldHint;

use crate::conduit::{Conduit, wrappers};
use crate::error::Result;
use crate::vcpu;

/// What was typed: up to [`CONSOLE_BYTES`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Typed {
    bytes: [u8; CONSOLE_BYTES],
    length: usize,
}

impl Typed {
    /// Returns the first [`CONSOLE_BYTES`] of `bytes` as if they had been typed.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let length = bytes.len().min(CONSOLE_BYTES);
        Self { bytes: ConsoleData::from_bytes(bytes).to_bytes(), length }
    }

    /// Returns the bytes; none when nothing was typed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }
}

fn length_of(bytes: &[u8]) -> u64 {
    bytes.len().min(CONSOLE_BYTES) as u64
}

fn to_usize(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

wrappers! {
    /// Writes the first [`CONSOLE_BYTES`] of `bytes` and returns how many were taken (CON.WRITE).
    ///
    /// # Errors
    /// `AGAIN` nothing could be taken.
    fn write(bytes: &[u8]) -> usize = ConWrite { length: length_of(bytes), data: ConsoleData::from_bytes(bytes) },
        |reply| to_usize(reply.written);
    /// Returns what was typed for this VM (CON.READ).
    ///
    /// # Errors
    /// `DENIED` the console input is another VM's.
    fn read() -> Typed = ConRead {}, |reply| Typed { bytes: reply.data.to_bytes(), length: to_usize(reply.length) };
}

/// Writes all of `bytes`, yielding while the console is full.
///
/// # Errors
/// What CON.WRITE refuses for another reason than a full console.
pub fn write_all<C: Conduit + ?Sized>(conduit: &C, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match via::write(conduit, bytes) {
            Ok(taken) if taken > 0 => bytes = bytes.get(taken..).unwrap_or(&[]),
            Err(error) if error.code() != Code::Again => return Err(error),
            _ => {
                // Full: whoever drains it may need this core. A refused yield changes nothing about that.
                let _ = vcpu::via::yield_to(conduit, YieldHint::Any, 0);
            }
        }
    }
    Ok(())
}
