//! Trace: what a core writes down of each time a guest leaves, in a ring of memory of its own; the oldest is overwritten first.
//!
//! Owns the ring and the record under way. Called by `dispatcher::traced` on the core whose ring it is; read from outside, by a
//! debugger or by the host tool through the emulator. Never decides what is recorded, and is not there when nothing is traced.

use strato_abi::trace::{Crossing, NOBODY, Record, RingHeader, SLOT_BYTES, TRACE_MAGIC, TRACE_VERSION, WRITTEN_WORD};
use zerocopy::transmute;

use crate::arch::core_base::CoreIndex;
use crate::arch::page_box::PageSlice;
use crate::arch::ram::Pages;
use crate::arch::timer;
use crate::sync::{AtomicU64, Ordering};

/// Words of a slot.
pub const WORDS: usize = SLOT_BYTES / 8;

/// A core's ring, and the record that is under way. It is opened when a guest leaves and closed when the core is handed on; in
/// between it is paused and resumed, so that what recording costs is no part of what it says.
pub struct Tracer {
    // Atomics, though one core alone writes: a reader outside sees each word whole.
    slots: PageSlice<[AtomicU64; WORDS]>,
    /// Slot of the next record.
    next: usize,
    written: u64,
    record: Record,
    is_open: bool,
    resumed: u64,
    /// Ticks of a pause right behind an opening: what every stretch has too much.
    empty: u64,
}

impl Tracer {
    /// Returns the tracer of `core` whose ring is `pages`; `build_id` is the packed system's.
    pub fn new(pages: Pages, core: CoreIndex, build_id: u64) -> Self {
        let slots = PageSlice::zeroed(pages);
        let capacity = slots.len().saturating_sub(1) as u64;
        let record = Record::default();
        let mut tracer = Self { slots, next: 1, written: 0, record, is_open: false, resumed: 0, empty: 0 };
        tracer.open(record);
        tracer.pause();
        (tracer.empty, tracer.is_open) = (tracer.record.spent.into(), false);
        let header = RingHeader {
            magic: TRACE_MAGIC,
            version: TRACE_VERSION,
            slot_bytes: low(SLOT_BYTES as u64),
            core: low(core.index() as u64),
            reserved: 0,
            capacity,
            written: 0,
            counter_hz: timer::frequency(),
            build_id,
            rest: [0; 9],
        };
        tracer.put(0, transmute!(header));
        tracer
    }

    /// Returns whether a record is under way.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Begins `record`; its time begins at the return.
    #[inline(never)]
    pub fn open(&mut self, record: Record) {
        self.record = record;
        self.is_open = true;
        self.record.start = timer::now();
        self.resumed = self.record.start;
    }

    /// Goes on with the record under way.
    #[inline(never)]
    pub fn resume(&mut self) {
        self.resumed = timer::now();
    }

    /// Stops the time of the record under way and returns it.
    #[inline(never)]
    pub fn pause(&mut self) -> &mut Record {
        let ticks = timer::now().saturating_sub(self.resumed).saturating_sub(self.empty);
        self.record.spent = self.record.spent.saturating_add(narrow(ticks));
        &mut self.record
    }

    /// Writes the record under way into the ring: vCPU `to_vcpu` of the VM in `to_vm` has the core from here on.
    #[inline(never)]
    pub fn close(&mut self, to_vm: u8, to_vcpu: u8) {
        (self.record.to_vm, self.record.to_vcpu) = (to_vm, to_vcpu);
        self.record.took = narrow(timer::now().saturating_sub(self.record.start));
        self.record.serial = low(self.written);
        self.is_open = false;
        self.put(self.next, transmute!(self.record));
        self.written = self.written.wrapping_add(1);
        self.next = if self.next.wrapping_add(1) < self.slots.len() { self.next.wrapping_add(1) } else { 1 };
        if let Some(count) = self.slots.first().and_then(|header| header.get(WRITTEN_WORD)) {
            // Release: whoever reads the count finds the records that it counts.
            count.store(self.written, Ordering::Release);
        }
    }

    /// Returns what stands in a slot, as a reader outside finds it: the header in slot 0, then records.
    #[must_use]
    pub fn slot(&self, slot: usize) -> Option<[u64; WORDS]> {
        let words = self.slots.get(slot)?;
        Some(core::array::from_fn(|n| words.get(n).map_or(0, |word| word.load(Ordering::Relaxed))))
    }

    fn put(&self, slot: usize, words: [u64; WORDS]) {
        let places = self.slots.get(slot).into_iter().flatten();
        // Relaxed: the count, which is written behind them, says that they are there.
        places.zip(words).for_each(|(place, word)| place.store(word, Ordering::Relaxed));
    }
}

/// Returns the record of nobody: a core that slept, or had not begun, and was woken for `number`.
#[must_use]
pub fn wake(number: u32) -> Record {
    Record { number, crossing: Crossing::Wake as u8, from_vm: NOBODY, to_vm: NOBODY, ..Record::default() }
}

fn narrow(ticks: u64) -> u32 {
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

#[allow(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
const fn low(number: u64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use zerocopy::{FromBytes, IntoBytes};

    use super::*;
    use crate::arch::backing;

    const CAUSE: u32 = strato_abi::trace::CAUSE_TIMER;

    fn tracer() -> Tracer {
        timer::set_now(100);
        Tracer::new(backing::ram(1, 1), CoreIndex::new(2).unwrap(), 0xb1d)
    }

    fn slot<T: FromBytes>(tracer: &Tracer, slot: usize) -> T {
        T::read_from_bytes(tracer.slot(slot).unwrap().as_bytes()).unwrap()
    }

    fn add(tracer: &mut Tracer, pc: u64) {
        tracer.open(Record { pc, ..wake(0) });
        tracer.close(1, 2);
    }

    #[test]
    fn a_ring_begins_with_its_header() {
        let header: RingHeader = slot(&tracer(), 0);
        let found = (header.magic, header.version, header.slot_bytes, header.core, header.build_id);
        assert_eq!(found, (TRACE_MAGIC, TRACE_VERSION, 128, 2, 0xb1d));
        assert_eq!((header.capacity, header.written, header.counter_hz), (31, 0, 62_500_000));
    }

    #[test]
    fn a_record_is_there_when_it_is_counted() {
        let mut tracer = tracer();
        tracer.open(Record { pc: 7, ..wake(CAUSE) });
        timer::set_now(110);
        tracer.pause().results[0] = 9;
        timer::set_now(150);
        tracer.resume();
        timer::set_now(155);
        tracer.pause();
        timer::set_now(160);
        assert_eq!(slot::<Record>(&tracer, 1), Record::default(), "nothing before it is closed");
        tracer.close(3, 1);
        let record: Record = slot(&tracer, 1);
        assert_eq!((record.start, record.took, record.spent), (100, 60, 15), "what recording takes is no part of it");
        assert_eq!((record.pc, record.number, record.results[0]), (7, CAUSE, 9));
        assert_eq!((record.to_vm, record.to_vcpu, record.serial), (3, 1, 0));
        assert_eq!((slot::<RingHeader>(&tracer, 0).written, tracer.is_open()), (1, false));
    }

    #[test]
    fn the_oldest_record_is_overwritten_and_the_count_tells_how_many_are_lost() {
        let mut tracer = tracer();
        for pc in 0..75 {
            add(&mut tracer, pc);
        }
        let header: RingHeader = slot(&tracer, 0);
        assert_eq!((header.written, header.written - header.capacity), (75, 44));
        for n in 44..75_u32 {
            let record: Record = slot(&tracer, usize::try_from(n % 31 + 1).unwrap());
            assert_eq!((record.pc, record.serial), (n.into(), n));
        }
    }
}
