//! Pending bits: the event area that a guest shares with us, and the private words beside it.
//!
//! The area is the guest's memory: we only OR bits into it, with a bounded number of tries, and believe nothing we read.
//! What decides whether a vCPU is woken or its line raised is the private [`Sink`].

use strato_abi::event_area::{EVENT_RECORD_STRIDE, EVENT_WORDS, SELECTOR_KICK};

use super::sink::{Sink, or_bounded, update};
use crate::arch::attempt;
use crate::arch::ram::FRAME_SIZE;
use crate::arch::shared::SharedPages;
use crate::sync::{AtomicU64, Ordering, fence};

const WORDS_PER_RECORD: usize = (EVENT_RECORD_STRIDE / 8) as usize;
const RECORDS: usize = FRAME_SIZE / 8 / WORDS_PER_RECORD;
const MASK: usize = EVENT_WORDS;
const SELECTOR: usize = 2 * EVENT_WORDS;
/// A selector that makes a consumer look at every word.
const SELECT_ALL: u64 = (1 << EVENT_WORDS) - 1;

type Record = [AtomicU64; WORDS_PER_RECORD];

/// Returns word `index` of a record, which is taken modulo how many there are.
#[inline(always)]
#[allow(clippy::indexing_slicing, reason = "taken modulo the length")]
fn word(record: &Record, index: usize) -> &AtomicU64 {
    &record[index % WORDS_PER_RECORD]
}

/// The page that a VM's guest and the hypervisor both write.
#[derive(Debug)]
pub struct EventArea {
    pages: SharedPages,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    /// It is the first since the line was lowered.
    First,
    /// The line was up already.
    Again,
    /// It is pending and masked: nobody is told.
    Masked,
    /// The port was pending already: whoever takes the bit sees this event too, and whoever set it says so (SPEC 10.4).
    Merged,
}

/// What one try at posting an event came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once {
    /// The line is up; whether it was before.
    Raised {
        /// It was up already.
        was_up: bool,
    },
    /// It is pending and masked: nobody is told.
    Masked,
    /// The port was pending already, see [`Posted::Merged`].
    Merged,
    /// Another write came between: [`EventArea::post_again`] posts it.
    Again,
}

/// ORs `bits` into the selector of a record and raises the line of its vCPU.
#[inline(always)]
fn select(record: &Record, bits: u64, sink: &Sink) -> Posted {
    let selector = word(record, SELECTOR);
    match attempt::or(selector, bits) {
        Some(_) => raise_line(sink),
        None => select_contended(selector, bits, sink),
    }
}

#[cold]
#[inline(never)]
fn select_contended(selector: &AtomicU64, bits: u64, sink: &Sink) -> Posted {
    if !or_bounded(selector, bits) {
        if bits & SELECTOR_KICK != 0 {
            sink.kicked.store(true, Ordering::Release);
        }
        sink.overflowed().store(true, Ordering::Release);
    }
    raise_line(sink)
}

#[inline(always)]
fn raise_line(sink: &Sink) -> Posted {
    // A read-modify-write on both sides: whoever lowers the line afterwards sees the selector that we set before.
    if attempt::set(sink.line()) { Posted::Again } else { Posted::First }
}

impl EventArea {
    /// Returns the area in `pages`, one zeroed page.
    pub fn new(pages: SharedPages) -> Self {
        Self { pages }
    }

    /// Returns the page, for mapping it.
    pub fn pages(&self) -> &SharedPages {
        &self.pages
    }

    /// Gives the page up.
    pub fn into_pages(self) -> SharedPages {
        self.pages
    }

    /// Returns the record of `vcpu`, which is taken modulo how many there are.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "taken modulo the length")]
    fn record(&self, vcpu: u8) -> &Record {
        let (records, _) = self.pages.first().as_chunks();
        &records[usize::from(vcpu) % RECORDS]
    }

    #[inline(always)]
    fn word(&self, vcpu: u8, index: usize) -> &AtomicU64 {
        word(self.record(vcpu), index)
    }

    /// Does what [`EventArea::post`] does, if no other write comes between; `port` is below 1,024.
    #[inline(always)]
    pub fn post_once(&self, vcpu: u8, port: usize, sink: &Sink) -> Once {
        let index = port / 64 % EVENT_WORDS;
        let bit = 1 << (port % 64);
        let record = self.record(vcpu);
        // The order of each step is that of `post`.
        let Some(before) = attempt::or(word(record, index), bit) else { return Once::Again };
        if before & bit != 0 {
            return Once::Merged;
        }
        fence(Ordering::SeqCst);
        if word(record, MASK + index).load(Ordering::Relaxed) & bit != 0 {
            return Once::Masked;
        }
        if attempt::or(word(record, SELECTOR), 1 << index).is_none() {
            // Somebody is at the selector. The event is pending: to post it again would make it two, if it is taken meanwhile. Whoever
            // takes the selector is made to look at every word.
            sink.overflowed().store(true, Ordering::Release);
        }
        Once::Raised { was_up: attempt::set(sink.line()) }
    }

    /// Sets the pending bit of `port` in the record of `vcpu`; when it is not masked, also the selector and the line.
    ///
    /// Never fails and never waits because of the guest.
    #[inline(always)]
    pub fn post(&self, vcpu: u8, port: u16, sink: &Sink) -> Posted {
        let index = usize::from(port / 64) % EVENT_WORDS;
        let bit = 1 << (port % 64);
        let record = self.record(vcpu);
        let (pending, mask) = (word(record, index), word(record, MASK + index));
        // Release: what the sender did before is seen by whoever takes the bit.
        let Some(before) = attempt::or(pending, bit) else { return self.post_again(vcpu, port, sink) };
        if before & bit != 0 {
            return Posted::Merged;
        }
        // Pairs with the guest's fence between clearing its mask and looking at pending again: one of us sees the other.
        fence(Ordering::SeqCst);
        if mask.load(Ordering::Relaxed) & bit != 0 {
            return Posted::Masked;
        }
        select(record, 1 << index, sink)
    }

    /// The same when a sibling of the receiver hammers a word: so many tries, then the private word. Says that there is news
    /// whether the bit was set before or not: whoever set it may be the try before.
    #[cold]
    #[inline(never)]
    pub fn post_again(&self, vcpu: u8, port: u16, sink: &Sink) -> Posted {
        let (index, bit) = (usize::from(port / 64) % EVENT_WORDS, 1 << (port % 64));
        let (pending, mask) = (self.word(vcpu, index), self.word(vcpu, MASK + index));
        if !or_bounded(pending, bit) {
            sink.keep(index, bit);
        }
        fence(Ordering::SeqCst); // as in `post`
        if mask.load(Ordering::Relaxed) & bit != 0 {
            Posted::Masked
        } else {
            select(self.record(vcpu), 1 << index, sink)
        }
    }

    /// Moves what did not fit into the guest's words there; called by the vCPU's core while the vCPU rests. Returns what the selector has
    /// to say besides.
    #[inline]
    fn merge(&self, vcpu: u8, sink: &Sink) -> u64 {
        if sink.overflowed().load(Ordering::Relaxed) { self.merge_overflow(vcpu, sink) } else { 0 }
    }

    #[cold]
    #[inline(never)]
    fn merge_overflow(&self, vcpu: u8, sink: &Sink) -> u64 {
        sink.overflowed().swap(false, Ordering::Acquire);
        for (index, word) in sink.overflow.iter().enumerate() {
            let bits = word.swap(0, Ordering::Acquire);
            let is_stored = bits == 0 || or_bounded(self.word(vcpu, index), bits);
            if !is_stored {
                sink.keep(index, bits);
                raise_line(sink);
            }
        }
        let kick = if sink.kicked.swap(false, Ordering::Acquire) { SELECTOR_KICK } else { 0 };
        SELECT_ALL | kick
    }

    /// The same for one who does not take the selector.
    #[inline]
    fn merge_all(&self, vcpu: u8, sink: &Sink) {
        let bits = self.merge(vcpu, sink);
        if bits != 0 {
            let _ = select(self.record(vcpu), bits, sink);
        }
    }

    /// Sets the bit of a kick in the selector of `vcpu`, and the line. Nothing masks it.
    ///
    /// Never fails and never waits because of the guest.
    pub fn kick(&self, vcpu: u8, sink: &Sink) -> Posted {
        // Release, by the selector: what the kicker did before is seen by whoever takes the bit.
        select(self.record(vcpu), SELECTOR_KICK, sink)
    }

    /// Takes the selector of `vcpu`: what it held is returned, and it is zero. Lowers the line.
    /// When a sibling vCPU hammers the word, all of it is reported and nothing is lost.
    #[cold]
    #[inline(never)]
    pub fn take(&self, vcpu: u8, sink: &Sink) -> u64 {
        // Before anything is read, and never after it: see `raise_line`. A sender that we miss raises the line again.
        sink.line().swap(false, Ordering::AcqRel);
        let merged = self.merge(vcpu, sink);
        let selector = self.word(vcpu, SELECTOR);
        let now = selector.load(Ordering::Relaxed);
        if now == 0 {
            return merged;
        }
        let taken = match selector.compare_exchange_weak(now, 0, Ordering::Acquire, Ordering::Relaxed) {
            Ok(taken) => taken,
            Err(_) => update(selector, |_| Some(0)).unwrap_or(now | SELECT_ALL),
        };
        merged | taken
    }

    /// Does what [`EventArea::take`] does, if no other write comes between and nothing has to be merged. `None` otherwise: the
    /// line may be lowered then, and nothing else has changed.
    #[inline(always)]
    pub fn take_once(&self, vcpu: u8, sink: &Sink) -> Option<u64> {
        attempt::clear(sink.line()); // before anything is read, as in `take`
        if sink.overflowed().load(Ordering::Relaxed) {
            return None;
        }
        // An acquire behind the release of the line: it is not read before the line is low.
        attempt::take(self.word(vcpu, SELECTOR))
    }

    /// Returns whether `vcpu` has news. The caller has shown that it blocks, with a fence after it: either it sees the
    /// selector here, or the sender sees that it blocks.
    #[inline]
    #[must_use]
    pub fn has_news(&self, vcpu: u8, sink: &Sink) -> bool {
        sink.overflowed().load(Ordering::Relaxed) || self.word(vcpu, SELECTOR).load(Ordering::Relaxed) != 0
    }

    /// The same, and whether its line is up.
    #[inline(always)]
    pub fn is_told(&self, vcpu: u8, sink: &Sink) -> bool {
        !sink.is_quiet() || self.word(vcpu, SELECTOR).load(Ordering::Relaxed) != 0
    }

    /// Looks at `port` again after its mask was cleared: returns whether it is pending, with selector and line set if so.
    pub fn reevaluate(&self, vcpu: u8, port: u16, sink: &Sink) -> bool {
        self.merge_all(vcpu, sink);
        let index = usize::from(port / 64) % EVENT_WORDS;
        let is_pending = self.word(vcpu, index).load(Ordering::Acquire) & 1 << (port % 64) != 0;
        let is_masked = self.word(vcpu, MASK + index).load(Ordering::Relaxed) & 1 << (port % 64) != 0;
        if is_pending && !is_masked {
            let _ = select(self.record(vcpu), 1 << index, sink);
        }
        is_pending
    }

    /// Takes the pending bit of `port` away from `vcpu`; returns whether it was set.
    pub fn withdraw(&self, vcpu: u8, port: u16, sink: &Sink) -> bool {
        self.merge_all(vcpu, sink);
        let bit = 1 << (port % 64);
        let pending = self.word(vcpu, usize::from(port / 64) % EVENT_WORDS);
        if pending.load(Ordering::Relaxed) & bit == 0 {
            return false;
        }
        // When the tries are in vain it stays set too: an extra event is allowed, a lost one is not.
        update(pending, |now| (now & bit != 0).then_some(now & !bit));
        true
    }
}

#[cfg(test)]
#[path = "pending_tests.rs"]
mod tests;
