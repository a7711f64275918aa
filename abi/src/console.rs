//! Group 7, CON: bytes in registers.

use crate::error::Reason;
use crate::regs::Argument;

/// Most bytes of one CON.WRITE or CON.READ: fourteen registers.
pub const CONSOLE_BYTES: usize = 112;

/// Up to [`CONSOLE_BYTES`] bytes as they travel in x2 to x15, first byte lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsoleData(pub [u64; 14]);

impl ConsoleData {
    /// Returns the registers that carry the first [`CONSOLE_BYTES`] of `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut words = [0u64; 14];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks(8)) {
            let mut eight = [0u8; 8];
            eight.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            *word = u64::from_le_bytes(eight);
        }
        Self(words)
    }

    /// Returns the bytes in the registers.
    #[must_use]
    pub fn to_bytes(self) -> [u8; CONSOLE_BYTES] {
        zerocopy::transmute!(self.0.map(u64::to_le))
    }
}

impl Argument for ConsoleData {
    const REGS: usize = 14;

    fn take(regs: &[u64]) -> Result<Self, (Reason, u64)> {
        <[u64; 14]>::take(regs).map(Self)
    }

    fn put(&self, regs: &mut [u64]) {
        self.0.put(regs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_the_way_through_the_registers() {
        let text = b"0123456789abc";
        assert!(ConsoleData::from_bytes(text).to_bytes().starts_with(text));
        assert_eq!(ConsoleData::from_bytes(b"\x01\x02").0[0], 0x0201);
    }
}
