//! Line: a guest's bytes on their way to a line that shows whose it is. A guest can neither forge a prefix nor reach the
//! terminal: control characters and bytes that are not UTF-8 come out as `\xNN`. A byte is looked at as it comes and kept as it is shown, so
//! that ending a line is a copy, whatever it holds.

/// Most bytes that a line shows behind its prefix; longer ones are wrapped.
const LINE_BYTES: usize = 200;

/// What a VM wrote since its last line feed. Each VM owns one.
#[derive(Debug)]
pub struct LineBuffer {
    bytes: [u8; LINE_BYTES],
    length: usize,
    /// The bytes of a character that has begun, the last one lowest: one that can start it, and others that can follow. None is 0.
    begun: u32,
}

impl LineBuffer {
    /// Returns an empty line.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "no caller has a use for it")]
    pub const fn new() -> Self {
        Self { bytes: [0; LINE_BYTES], length: 0, begun: 0 }
    }

    /// Returns whether nothing waits in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0 && self.begun == 0
    }

    /// Returns what is shown of the line, without its prefix.
    pub(super) fn shown(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }

    /// Takes everything that is shown out.
    pub(super) fn clear(&mut self) {
        self.length = 0;
    }

    /// Takes a byte; `false`, and the byte is not taken, when the line has no room for what it shows.
    #[inline(always)]
    pub(super) fn push(&mut self, byte: u8) -> bool {
        if self.begun == 0 { self.begin(byte) } else { self.go_on(byte) }
    }

    /// Takes a byte that is none of a character that has begun.
    #[inline(always)]
    fn begin(&mut self, byte: u8) -> bool {
        match byte {
            b' '..=b'~' => self.put([byte]),
            // What a character of several bytes can begin with.
            0xc2..=0xf4 => {
                self.begun = byte.into();
                true
            }
            _ => self.escape(byte),
        }
    }

    /// Shows the bytes of a character that has begun and does not end; `false`, and nothing has changed, when the line has no
    /// room for them.
    #[inline]
    pub(super) fn settle(&mut self) -> bool {
        match self.begun.to_be_bytes() {
            [0, 0, 0, 0] => true,
            [0, 0, 0, byte] => {
                let is_shown = self.escape(byte);
                if is_shown {
                    self.begun = 0;
                }
                is_shown
            }
            _ => self.escape_all(self.begun),
        }
    }

    /// Takes a byte behind a character that has begun.
    #[inline(never)]
    fn go_on(&mut self, byte: u8) -> bool {
        if byte & 0xc0 != 0x80 {
            return self.settle() && self.begin(byte);
        }
        let bytes = self.begun << 8 | u32::from(byte);
        // Two bytes of three, or two or three of four.
        if matches!(bytes, 0xe080..=0xf4bf | 0xf0_8080..=0xf4_bfbf) {
            self.begun = bytes;
            return true;
        }
        if !is_printable(bytes) {
            return self.escape_all(bytes);
        }
        let is_shown = match bytes.to_be_bytes() {
            [0, 0, bytes @ ..] => self.put(bytes),
            [0, bytes @ ..] => self.put(bytes),
            bytes => self.put(bytes),
        };
        if is_shown {
            self.begun = 0;
        }
        is_shown
    }

    /// Shows each of `bytes`, the last one lowest and the first one not 0, as `\xNN`, or none when there is no room for all. Nothing has begun then.
    #[inline(never)]
    fn escape_all(&mut self, bytes: u32) -> bool {
        let unused = bytes.leading_zeros() / 8;
        let mut rest = bytes << (8 * unused);
        // The width of a byte is 4, as are the bytes of a word.
        if LINE_BYTES - self.length < 16 - 4 * unused as usize {
            return false;
        }
        self.begun = 0;
        while rest != 0 {
            let [byte, ..] = rest.to_be_bytes();
            self.escape(byte);
            rest <<= 8;
        }
        true
    }

    /// Shows `byte` as `\xNN`, if there is room.
    #[inline(always)]
    fn escape(&mut self, byte: u8) -> bool {
        let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
        self.put([b'\\', b'x', digit(byte >> 4), digit(byte & 15)])
    }

    /// Shows `bytes` as they are, if there is room.
    #[inline(always)]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) -> bool {
        let place = self.bytes.get_mut(self.length..).and_then(<[u8]>::first_chunk_mut);
        let is_shown = place.is_some();
        if let Some(place) = place {
            *place = bytes;
            self.length += N;
        }
        is_shown
    }
}

/// Returns whether `bytes`, of which the first one can begin a character and all others follow one, are one in its shortest form (Unicode, table
/// 3-7), and none that controls.
const fn is_printable(bytes: u32) -> bool {
    matches!(bytes, 0xc2a0..=0xdfbf | 0xe0_a080..=0xed_9fbf | 0xee_8080..=0xef_bfbf | 0xf090_8080..=0xf48f_bfbf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Shows `bytes` in lines.
    fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
        let (mut buffer, mut lines) = (LineBuffer::new(), Vec::new());
        for &byte in bytes {
            if !buffer.push(byte) {
                lines.push(buffer.shown().to_vec());
                buffer.clear();
                assert!(buffer.push(byte), "an empty line has room for whatever a byte shows");
            }
        }
        if !buffer.settle() {
            lines.push(buffer.shown().to_vec());
            buffer.clear();
            assert!(buffer.settle());
        }
        lines.push(buffer.shown().to_vec());
        lines
    }

    fn line(bytes: &[u8]) -> String {
        String::from_utf8(lines(bytes).concat()).unwrap()
    }

    /// The same by the standard library.
    fn reference(bytes: &[u8]) -> String {
        let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
        let chunk = |chunk: std::str::Utf8Chunk<'_>| {
            let valid = chunk
                .valid()
                .chars()
                .map(|c| if c.is_control() { escaped(c.encode_utf8(&mut [0; 4]).as_bytes()) } else { c.to_string() });
            valid.collect::<String>() + &escaped(chunk.invalid())
        };
        bytes.utf8_chunks().map(chunk).collect()
    }

    #[test]
    fn printable_text_stays_as_it_is() {
        assert_eq!(line("grüße, 世界 🦀 \\x41".as_bytes()), "grüße, 世界 🦀 \\x41");
        assert_eq!(line(b""), "");
    }

    #[test]
    fn a_prefix_cannot_be_forged_by_control_bytes() {
        assert_eq!(line(b"a\rstrato: b\x1b[2K\x08\x7f\0"), "a\\x0dstrato: b\\x1b[2K\\x08\\x7f\\x00");
        assert_eq!(line("\u{9b}2J\u{85}".as_bytes()), "\\xc2\\x9b2J\\xc2\\x85");
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped_one_by_one() {
        assert_eq!(line(b"\xff\xfea\xc3(\xe4\xb8"), "\\xff\\xfea\\xc3(\\xe4\\xb8");
        assert_eq!(line(b"\xe4\xb8\xf0\x9f\xa6\xe4"), "\\xe4\\xb8\\xf0\\x9f\\xa6\\xe4");
    }

    #[test]
    fn every_character_is_shown_or_escaped_as_the_standard_library_tells_them_apart() {
        for character in '\0'..=char::MAX {
            let bytes = character.to_string();
            assert_eq!(line(bytes.as_bytes()), reference(bytes.as_bytes()), "{:#x}", u32::from(character));
        }
        for first in 0x80..=0xff {
            for second in 0..=0xff {
                let bytes = [first, second, 0x80, 0x80, b'x'];
                assert_eq!(line(&bytes), reference(&bytes), "{bytes:x?}");
            }
        }
    }

    #[test]
    fn a_wrapped_line_ends_with_a_whole_character() {
        let text = "x".repeat(199) + "é" + "y";
        assert_eq!(lines(text.as_bytes()), ["x".repeat(199).as_bytes(), "éy".as_bytes()]);
        let text = [b"x".repeat(197).as_slice(), b"\xff\xf0\x9f"].concat();
        assert_eq!(lines(&text), [b"x".repeat(197).as_slice(), b"\\xff\\xf0\\x9f"]);
    }

    proptest! {
        #[test]
        fn bytes_are_shown_as_the_standard_library_tells_text_from_other_bytes(
            bytes in prop::collection::vec(prop::sample::select(b"a~\x1b\x7f\x80\x9f\xa0\xbf\xc1\xc2\xe0\xed\xef\xf0\xf4\xf5".to_vec()), 0..400),
        ) {
            prop_assert_eq!(line(&bytes), reference(&bytes));
        }
    }
}
