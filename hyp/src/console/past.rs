//! Past: the last lines that were said, in memory that a warm reset leaves as it is, so that they can be said again behind it. Each stands in a
//! place of its own under a checksum: whatever a reset or a power-on left there, a line is whole or it is none.

use core::fmt::{self, Write};

use log::Level;
use zerocopy::IntoBytes;

use super::{Console, say};
use crate::arch::retained::Words;
use crate::board::retained::checksum;
use crate::sync::{AtomicU32, Ordering};

/// Lines that are kept, a power of two.
const LINES: usize = 128;
/// Bytes of a line's place: checksum and number, of four bytes each, length, text. The console's longest line fits.
const PLACE_BYTES: usize = 256;
const PLACE_WORDS: usize = PLACE_BYTES / 8;
const HEAD_BYTES: usize = 9;
/// Lines that are said again.
const AGAIN: u32 = 40;
/// What stands before a line that was said before a reset.
const BEFORE: &[u8] = b"strato: before: ";

/// A line while it is put together, as it stands in its place. What is behind its end is whatever was there before.
pub(super) struct Assembled {
    place: [u64; PLACE_WORDS],
    end: usize,
}

impl Assembled {
    /// Returns an empty line.
    pub(super) const fn new() -> Self {
        Self { place: [0; PLACE_WORDS], end: HEAD_BYTES }
    }

    /// Makes it empty again.
    pub(super) fn clear(&mut self) {
        self.end = HEAD_BYTES;
    }

    /// Adds `part`, or as much of it as there is room for.
    pub(super) fn push(&mut self, part: &[u8]) {
        let part = part.get(..part.len().min(PLACE_BYTES.saturating_sub(self.end))).unwrap_or_default();
        if let Some(text) = self.place.as_mut_bytes().get_mut(self.end..self.end + part.len()) {
            text.copy_from_slice(part);
            self.end += part.len();
        }
    }

    /// Returns the line.
    pub(super) fn text(&self) -> &[u8] {
        self.place.as_bytes().get(HEAD_BYTES..self.end).unwrap_or_default()
    }
}

impl Write for Assembled {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// The last lines.
#[derive(Debug)]
pub struct Past {
    words: Words,
    build: u64,
    /// Number of the next line. Relaxed: a place of its own for each line is all that is asked of it.
    next: AtomicU32,
}

impl Past {
    /// Returns the past in `words`, which may hold anything, of the image with this `build`; `None` when they are too few.
    #[must_use]
    pub fn of(words: Words, build: u64) -> Option<Self> {
        let (words, _) = words.split_at(LINES * PLACE_WORDS)?;
        Some(Self { words, build, next: AtomicU32::new(1) })
    }

    /// Keeps a line. Takes some 5 instructions for each 8 bytes of it, and a cleaned cache line for each 64.
    #[inline(never)]
    pub(super) fn put(&self, line: &mut Assembled) {
        let end = line.end;
        if let Some(length) = line.place.as_mut_bytes().get_mut(HEAD_BYTES - 1) {
            *length = u8::try_from(end - HEAD_BYTES).unwrap_or(u8::MAX); // always fits
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(words) = line.place.get_mut(..end.div_ceil(8)) else { return };
        let head = self.head(number, words);
        if let Some(first) = words.first_mut() {
            *first = head;
        }
        self.words.write(place_of(number), words);
    }

    /// Hands the last lines, oldest first, to `say`, with how many there are.
    fn recall(&self, mut say: impl FnMut(usize, &[u8])) {
        let numbers = (0..LINES).map(|place| number(self.words.get(place * PLACE_WORDS)));
        let numbers = numbers.enumerate().filter(|(place, number)| place_of(*number) == place * PLACE_WORDS);
        let numbers = numbers.map(|(_, number)| number).filter(|number| self.line(*number).is_some());
        // All that are there are near each other, so that the distance tells which is later when the numbers have wrapped.
        let Some(last) = numbers.reduce(|a, b| if b.wrapping_sub(a) < 1 << 31 { b } else { a }) else { return };
        let lines = || (0..AGAIN).rev().filter_map(|back| self.line(last.wrapping_sub(back)));
        let count = lines().count();
        for (line, length) in lines() {
            say(count, line.as_bytes().get(HEAD_BYTES..HEAD_BYTES + length).unwrap_or_default());
        }
    }

    /// Keeps none of the lines so far.
    fn clear(&self) {
        for first in (0..LINES * PLACE_WORDS).step_by(PLACE_WORDS) {
            if self.words.get(first) != 0 {
                self.words.write(first, &[0]);
            }
        }
    }

    /// Returns what stands in the place of the line with this `number`, and the bytes of its text, if it is there and whole.
    #[inline(never)]
    fn line(&self, number: u32) -> Option<([u64; PLACE_WORDS], usize)> {
        let first = place_of(number);
        let place: [u64; PLACE_WORDS] = core::array::from_fn(|at| self.words.get(first + at));
        let length = usize::from(*place.as_bytes().get(HEAD_BYTES - 1)?);
        let line = place.get(..(HEAD_BYTES + length).div_ceil(8))?;
        (self.head(number, line) == *place.first()?).then_some((place, length))
    }

    /// Returns the first word of the place of a line, behind which the others of `line` stand.
    #[inline(always)]
    fn head(&self, number: u32, line: &[u64]) -> u64 {
        let check = checksum(self.build ^ u64::from(number), line.iter().skip(1).copied());
        u64::from(check) << 32 | u64::from(number)
    }
}

/// Returns the number of the line whose place begins with `head`.
fn number(head: u64) -> u32 {
    u32::try_from(head & u64::from(u32::MAX)).unwrap_or_default() // always fits
}

/// Returns the first word of the place of a line.
const fn place_of(number: u32) -> usize {
    number as usize % LINES * PLACE_WORDS
}

impl Console {
    /// Keeps each line from here on in `past`, whose lines are said again first if it `is_warm`: a reset came behind them.
    pub fn keep_past(&self, past: Past, is_warm: bool) {
        if is_warm {
            let mut is_first = true;
            past.recall(|count, text| {
                if core::mem::take(&mut is_first) {
                    say(Level::Info, format_args!("warm reset: the last {count} lines before it follow"));
                }
                let output = &mut self.state.lock_leaf().output;
                let text = text.strip_suffix(b"\n").unwrap_or(text); // a long one has none
                let _ = [BEFORE, text, b"\n"].iter().all(|part| output.put(part)); // there is room for as many
            });
        }
        past.clear();
        self.past.call_once(|| past);
    }

    /// Keeps no line any more that was said so far: the machine ends, or starts again, in good order.
    pub fn forget_past(&self) {
        if let Some(past) = self.past.get() {
            past.clear();
        }
    }

    /// Keeps a line of the hypervisor that was said by other ways; the rest of a long one is cut off.
    pub fn keep(&self, line: fmt::Arguments<'_>) {
        if let Some(past) = self.past.get() {
            let mut text = Assembled::new();
            let _ = writeln!(text, "{line}"); // never fails
            past.put(&mut text);
        }
    }
}

#[cfg(test)]
#[path = "past_tests.rs"]
mod tests;
