//! The event area: the guest's half of the protocols in SPEC.md, "Events". Called by `event` and `upcall`; makes no call.
//!
//! Hypervisor and guest write the same words, so every access is atomic. The producer ORs `pending`, then reads `mask`,
//! then ORs `selector`; the consumer takes the selector first, then the words it names, so that no event is lost.

use ::core::sync::atomic::{AtomicU64, Ordering, fence};

use strato_abi::event_area::{EVENT_WORDS, EventRecord, SELECTOR_KICK};

/// The record of one vCPU, [`EventRecord`], as atomic words.
#[derive(Debug)]
#[repr(C)]
pub struct EventCells {
    pending: [AtomicU64; EVENT_WORDS],
    mask: [AtomicU64; EVENT_WORDS],
    selector: AtomicU64,
    reserved: [AtomicU64; 31],
}

const _: () = assert!(size_of::<EventCells>() == size_of::<EventRecord>());
const _: () = assert!(align_of::<EventCells>() == align_of::<EventRecord>());

impl EventCells {
    /// Returns an empty record, for tests on plain memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pending: [const { AtomicU64::new(0) }; EVENT_WORDS],
            mask: [const { AtomicU64::new(0) }; EVENT_WORDS],
            selector: AtomicU64::new(0),
            reserved: [const { AtomicU64::new(0) }; 31],
        }
    }

    /// Returns the record of the calling vCPU.
    #[must_use]
    pub fn of_this_vcpu() -> &'static Self {
        crate::arch::event_cells(crate::arch::vcpu_number())
    }

    fn pending_word(&self, port: u16) -> Option<(&AtomicU64, u64)> {
        Some((self.pending.get(usize::from(port / 64))?, 1 << (port % 64)))
    }

    fn mask_word(&self, port: u16) -> Option<(&AtomicU64, u64)> {
        Some((self.mask.get(usize::from(port / 64))?, 1 << (port % 64)))
    }

    /// Returns whether the port of index `port` was raised, without taking the event.
    #[must_use]
    pub fn is_pending(&self, port: u16) -> bool {
        // Acquire: what the sender wrote before it raised the port is visible to whoever sees the bit.
        self.pending_word(port).is_some_and(|(word, bit)| word.load(Ordering::Acquire) & bit != 0)
    }

    /// Takes the event of the port of index `port` and returns whether there was one.
    pub fn take(&self, port: u16) -> bool {
        // The load keeps a word that has no news in shared state; the bit is only cleared by this vCPU.
        self.is_pending(port)
            && self.pending_word(port).is_some_and(|(word, bit)| word.fetch_and(!bit, Ordering::AcqRel) & bit != 0)
    }

    /// Takes the selector.
    pub fn take_selector(&self) -> u64 {
        // SeqCst: it orders with the producer's fence, so that a bit set after this swap sets the selector again.
        self.selector.swap(0, Ordering::SeqCst)
    }

    /// Takes the unmasked events in the words that `selector` names and hands the index of each port to `each`.
    pub fn drain(&self, selector: u64, mut each: impl FnMut(u16)) {
        let mut words = selector & !SELECTOR_KICK;
        while words != 0 {
            let number = words.trailing_zeros();
            words &= words - 1;
            let at = usize::try_from(number).unwrap_or(EVENT_WORDS);
            let (Some(pending), Some(mask)) = (self.pending.get(at), self.mask.get(at)) else { continue };
            let wanted = !mask.load(Ordering::SeqCst);
            let mut bits = pending.fetch_and(!wanted, Ordering::SeqCst) & wanted;
            while bits != 0 {
                let port = number * 64 + bits.trailing_zeros();
                bits &= bits - 1;
                each(u16::try_from(port).unwrap_or(u16::MAX));
            }
        }
    }

    /// Sets the mask bit of the port of index `port`.
    pub fn mask(&self, port: u16) {
        if let Some((word, bit)) = self.mask_word(port) {
            word.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// Clears the mask bit of the port of index `port`; EVT.UNMASK must follow, or [`is_pending`](Self::is_pending) in
    /// poll mode.
    pub fn clear_mask(&self, port: u16) {
        if let Some((word, bit)) = self.mask_word(port) {
            word.fetch_and(!bit, Ordering::SeqCst);
        }
        // Orders the cleared mask before the look at pending, as the producer orders pending before its look at the mask.
        fence(Ordering::SeqCst);
    }

    /// Raises the port of index `port` as the hypervisor does and returns whether the vCPU must be told: for tests.
    #[cfg(not(target_os = "none"))]
    pub fn raise(&self, port: u16) -> bool {
        let (Some((pending, bit)), Some((mask, _))) = (self.pending_word(port), self.mask_word(port)) else {
            return false;
        };
        pending.fetch_or(bit, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let tell = mask.load(Ordering::SeqCst) & bit == 0;
        if tell {
            self.selector.fetch_or(1 << (port / 64), Ordering::SeqCst);
        }
        tell
    }
}

impl Default for EventCells {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn drained(cells: &EventCells) -> Vec<u16> {
        let mut ports = Vec::new();
        cells.drain(cells.take_selector(), |port| ports.push(port));
        ports
    }

    #[test]
    fn every_raised_port_is_handed_over_once() {
        let cells = EventCells::new();
        for port in [0, 63, 64, 1023] {
            assert!(cells.raise(port));
        }
        assert_eq!(drained(&cells), [0, 63, 64, 1023]);
        assert_eq!(drained(&cells), []);
    }

    #[test]
    fn a_masked_port_stays_pending_and_tells_nobody() {
        let cells = EventCells::new();
        cells.mask(5);
        assert!(!cells.raise(5));
        assert!(cells.raise(6));
        assert_eq!(drained(&cells), [6]);
        assert!(cells.is_pending(5));
        cells.clear_mask(5);
        assert!(cells.take(5));
        assert!(!cells.take(5));
    }

    #[test]
    fn a_port_taken_by_itself_leaves_the_others_of_its_word() {
        let cells = EventCells::new();
        cells.raise(1);
        cells.raise(2);
        assert!(cells.take(1));
        assert_eq!(drained(&cells), [2]);
    }

    #[test]
    fn a_port_beyond_the_area_is_never_pending() {
        let cells = EventCells::new();
        assert!(!cells.raise(1024));
        cells.mask(u16::MAX);
        cells.clear_mask(u16::MAX);
        assert!(!cells.take(1024) && !cells.is_pending(u16::MAX));
    }

    #[test]
    fn a_kick_and_bits_of_no_word_name_no_port() {
        let cells = EventCells::new();
        let mut ports = Vec::new();
        cells.drain(SELECTOR_KICK | 1 << 16 | 1 << 62, |port| ports.push(port));
        assert_eq!(ports, []);
    }
}
