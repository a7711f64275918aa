//! Line: a guest's bytes on their way to a line that shows whose it is. A guest can neither forge a prefix nor reach the
//! terminal: control characters and bytes that are not UTF-8 come out as `\xNN`.

use heapless::Vec;

/// Most bytes of a guest in a line; longer lines are wrapped.
pub const LINE_BYTES: usize = 200;
/// Most bytes of a label.
const LABEL_BYTES: usize = 40;
/// Most bytes of a finished line: each byte may take four.
const OUT_BYTES: usize = LABEL_BYTES + 4 + 4 * LINE_BYTES;

/// A finished line with prefix and line feed.
pub(super) type Out = Vec<u8, OUT_BYTES>;

/// What a VM wrote since its last line feed. Each VM owns one.
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: Vec<u8, LINE_BYTES>,
}

impl LineBuffer {
    /// Returns an empty line.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Returns whether nothing waits for a line feed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Puts a byte behind the others; `false` when the line is full.
    pub(super) fn push(&mut self, byte: u8) -> bool {
        self.bytes.push(byte).is_ok()
    }

    /// Returns the line up to a line feed, escaped, with its prefix.
    pub(super) fn finished(&self, label: &str) -> Out {
        finish(label, &self.bytes)
    }

    /// Returns the full line, escaped, with its prefix, up to the last whole character; and its length here.
    pub(super) fn wrapped(&self, label: &str) -> (Out, usize) {
        let cut = whole_characters(&self.bytes);
        (finish(label, self.bytes.get(..cut).unwrap_or_default()), cut)
    }

    /// Takes the first `count` bytes out: they were shown.
    pub(super) fn forget(&mut self, count: usize) {
        let kept = self.bytes.get(count..).unwrap_or_default();
        self.bytes = Vec::from_slice(kept).unwrap_or_default();
    }

    /// Takes everything out.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// Returns the length without a UTF-8 sequence that the end cuts off; all of it if nothing else would remain.
fn whole_characters(bytes: &[u8]) -> usize {
    for tail in 1..=3_usize {
        let Some(start) = bytes.len().checked_sub(tail) else { break };
        let need = match bytes.get(start) {
            Some(0xc2..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..=0xf4) => 4,
            Some(0x80..=0xbf) => continue,
            _ => break,
        };
        return if need > tail && start > 0 { start } else { bytes.len() };
    }
    bytes.len()
}

/// Returns `[label] `, the bytes with everything unprintable escaped, and a line feed. Nothing is cut off: the type has
/// room for the longest line, and a label longer than the manifest allows is the only thing that could be.
fn finish(label: &str, bytes: &[u8]) -> Out {
    let mut out = Out::new();
    let label = label.as_bytes();
    let label = label.get(..LABEL_BYTES).unwrap_or(label);
    for part in [b"[".as_slice(), label, b"] "] {
        put(&mut out, part);
    }
    // By runs, so that the most common go without decoding. None ends within a character of several bytes.
    for run in bytes.chunk_by(|a, b| is_plain(*a) == is_plain(*b) && a.is_ascii() == b.is_ascii()) {
        match run.first() {
            Some(byte) if is_plain(*byte) => {
                put(&mut out, run);
                continue;
            }
            Some(byte) if byte.is_ascii() => {
                escape(&mut out, run);
                continue;
            }
            Some(_) | None => {}
        }
        for chunk in run.utf8_chunks() {
            for character in chunk.valid().chars() {
                let mut encoded = [0; 4];
                let encoded = character.encode_utf8(&mut encoded).as_bytes();
                if character.is_control() { escape(&mut out, encoded) } else { put(&mut out, encoded) }
            }
            escape(&mut out, chunk.invalid());
        }
    }
    put(&mut out, b"\n");
    out
}

/// Returns whether a byte is printable ASCII.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

#[inline(never)]
fn put(out: &mut Out, bytes: &[u8]) {
    // There is room, see `finish`.
    let _ = out.extend_from_slice(bytes);
}

fn escape(out: &mut Out, bytes: &[u8]) {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    for &byte in bytes {
        for part in [b'\\', b'x', digit(byte >> 4), digit(byte & 15)] {
            let _ = out.push(part); // there is room, see `finish`
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(bytes: &[u8]) -> String {
        String::from_utf8(finish("vm", bytes).to_vec()).unwrap()
    }

    #[test]
    fn printable_text_stays_as_it_is() {
        assert_eq!(line("grüße, 世界 🦀 \\x41".as_bytes()), "[vm] grüße, 世界 🦀 \\x41\n");
        assert_eq!(line(b""), "[vm] \n");
    }

    #[test]
    fn a_prefix_cannot_be_forged_by_control_bytes() {
        assert_eq!(line(b"a\rstrato: b\x1b[2K\x08\x7f\0"), "[vm] a\\x0dstrato: b\\x1b[2K\\x08\\x7f\\x00\n");
        assert_eq!(line("\u{9b}2J\u{85}".as_bytes()), "[vm] \\xc2\\x9b2J\\xc2\\x85\n");
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped_one_by_one() {
        assert_eq!(line(b"\xff\xfea\xc3(\xe4\xb8"), "[vm] \\xff\\xfea\\xc3(\\xe4\\xb8\n");
    }

    #[test]
    fn the_longest_line_loses_nothing() {
        assert_eq!(finish(&"l".repeat(40), &[0xff; LINE_BYTES]).len(), 40 + 4 + 4 * LINE_BYTES);
    }

    #[test]
    fn a_wrapped_line_ends_with_a_whole_character() {
        let mut buffer = LineBuffer::new();
        let text = [b"x".repeat(199).as_slice(), "é".as_bytes()].concat();
        assert!(text.iter().take(LINE_BYTES).all(|&byte| buffer.push(byte)));
        assert!(!buffer.push(text[200]));
        let (out, shown) = buffer.wrapped("vm");
        assert_eq!((out.len(), shown), (5 + 199 + 1, 199));
        buffer.forget(shown);
        assert!(buffer.push(text[200]));
        assert_eq!(buffer.finished("vm").as_slice(), "[vm] é\n".as_bytes());
    }

    #[test]
    fn continuation_bytes_without_a_start_do_not_hold_a_line_back() {
        assert_eq!(whole_characters(&[0x80; LINE_BYTES]), LINE_BYTES);
        assert_eq!(whole_characters(&[0xe4]), 1);
        assert_eq!(whole_characters("aé".as_bytes()), 3);
    }
}
