//! Own: a line of the hypervisor on its way to the console. It begins with whose it is and how important, and is one line whatever is
//! written to it.

use core::fmt::{self, Write};

use heapless::Vec;
use log::Level;

/// Most bytes of a hypervisor line; the rest is cut off.
pub(super) const LOG_BYTES: usize = 240;

/// A line of the hypervisor while it is formatted.
pub(super) struct OwnLine(Vec<u8, LOG_BYTES>);

impl OwnLine {
    /// Returns the beginning of a line of this importance.
    pub(super) fn new(level: Level) -> Self {
        let prefix = match level {
            Level::Error => "strato: error: ",
            Level::Warn => "strato: warning: ",
            Level::Info => "strato: ",
            Level::Debug => "strato: debug: ",
            Level::Trace => "strato: trace: ",
        };
        let mut bytes = Vec::new();
        // The prefix is far shorter than the line.
        let _ = bytes.extend_from_slice(prefix.as_bytes());
        Self(bytes)
    }

    /// Returns the line with its line feed, and three dots where it was cut off.
    pub(super) fn finish(&mut self) -> &[u8] {
        if self.0.is_full() {
            self.0.truncate(LOG_BYTES - 4);
            let _ = self.0.extend_from_slice(b"...");
        }
        let _ = self.0.push(b'\n');
        &self.0
    }
}

impl Write for OwnLine {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            let byte = if byte == b'\n' { b' ' } else { byte };
            self.0.push(byte).map_err(|_| fmt::Error)?;
        }
        Ok(())
    }
}
