//! Lines out of the bytes of a console, whatever else is between them. Called by `session`. Owns where a run begins.

use crate::transcript::Line;

/// A line without an end is cut into pieces of so many bytes.
const LONGEST: usize = 1 << 16;

/// What bytes came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A line from before the run.
    Before(String),
    /// The run begins, with the next line.
    Begins,
    /// A line of the run.
    Line(String),
}

/// The lines of one console.
#[derive(Clone, Debug)]
pub struct Lines {
    text: Vec<u8>,
    /// What the first line of the run begins with.
    beginning: Option<&'static str>,
    has_begun: bool,
}

impl Lines {
    /// Returns the lines of a console whose run begins with `beginning`, or at once.
    #[must_use]
    pub fn new(beginning: Option<&'static str>) -> Self {
        Self { text: Vec::new(), beginning, has_begun: beginning.is_none() }
    }

    /// Returns what `bytes` come to. Control characters are no part of a line: nobody writes them, so that they are noise.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Item> {
        let mut items = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' => items.push(self.finished()),
                b'\t' | b' '.. if byte != 0x7f => self.text.push(byte),
                _ => continue,
            }
            if let Some(start) = self.start() {
                let noise = self.text.drain(..start).collect::<Vec<u8>>();
                if !noise.is_empty() {
                    items.push(Item::Before(text(&noise)));
                }
                self.has_begun = true;
                items.push(Item::Begins);
            }
            if self.text.len() == LONGEST {
                items.push(self.finished());
            }
        }
        items
    }

    /// Returns the line that has no end, if there is one.
    pub fn rest(&mut self) -> Option<Item> {
        (!self.text.is_empty()).then(|| self.finished())
    }

    // Where the beginning stands of which the last byte just came. Noise may be in front of the first, and a guest's name may not, which
    // can write these words too.
    fn start(&self) -> Option<usize> {
        let start = self.text.len().checked_sub(self.beginning?.len())?;
        let (noise, beginning) = self.text.split_at_checked(start)?;
        let is_it = beginning == self.beginning?.as_bytes();
        // Asked last: it looks at the whole line, and noise may have no end.
        let is_first = || start == 0 || !self.has_begun && !matches!(Line::parse(&text(noise)), Line::Guest { .. });
        (is_it && is_first()).then_some(start)
    }

    fn finished(&mut self) -> Item {
        let line = text(&std::mem::take(&mut self.text));
        if self.has_begun { Item::Line(line) } else { Item::Before(line) }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGINNING: &str = "strato: boot 1";

    /// Returns what the pieces come to, a letter and the text each.
    fn heard(beginning: Option<&'static str>, pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::new(beginning);
        let mut items: Vec<Item> = pieces.iter().flat_map(|piece| lines.take(piece)).collect();
        items.extend(lines.rest());
        let shown = items.into_iter().map(|item| match item {
            Item::Before(line) => format!("- {line}"),
            Item::Begins => "begins".into(),
            Item::Line(line) => format!("+ {line}"),
        });
        shown.collect()
    }

    #[test]
    fn without_a_beginning_every_line_is_of_the_run_and_the_last_needs_no_end() {
        assert_eq!(heard(None, &[b"one\r\ntw", b"o\n\nthree"]), ["+ one", "+ two", "+ ", "+ three"]);
    }

    #[test]
    fn what_comes_before_the_run_is_kept_apart_and_noise_does_not_hide_its_beginning() {
        let pieces: [&[u8]; 4] =
            [b"\0\0Firmware 1\r\r\n\xff\xf0\x9f", b"\0~strato: bo", b"ot 1", b"2345\r\nstrato: up\r\n"];
        assert_eq!(
            heard(Some(BEGINNING), &pieces),
            ["- Firmware 1", "- \u{fffd}\u{fffd}~", "begins", "+ strato: boot 12345", "+ strato: up"]
        );
    }

    #[test]
    fn half_characters_and_control_characters_in_a_line_leave_the_rest_of_it() {
        let pieces: [&[u8]; 3] = [b"[a] \xe2\x82", b"\xac \x1b[31mred\x07\x7f", b"\xe2 end\xc3\n[a] next\n"];
        assert_eq!(heard(None, &pieces), ["+ [a] \u{20ac} [31mred\u{fffd} end\u{fffd}", "+ [a] next"]);
    }

    #[test]
    fn a_second_beginning_is_told_and_a_guest_that_writes_it_is_none() {
        let text = b"[a] strato: boot 1\nstrato: boot 12345\n[a] strato: boot 1\nstrato: boot 12";
        let expected = [
            "- [a] strato: boot 1",
            "begins",
            "+ strato: boot 12345",
            "+ [a] strato: boot 1",
            "begins",
            "+ strato: boot 12",
        ];
        assert_eq!(heard(Some(BEGINNING), &[text]), expected);
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let lines = heard(None, &[&vec![b'x'; LONGEST + 1]]);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LONGEST + 2, 3]);
    }
}
