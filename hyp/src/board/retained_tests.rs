//! Tests of what a reset leaves: noise is begun anew, torn writes leave what stood there before, and another build's memory is noise.

use std::boxed::Box;

use proptest::prelude::*;

use super::*;
use crate::sync::{AtomicU64, Ordering};

const WORDS: usize = 0x1_0000 / 8;
const _: () = assert!(WORDS as u64 * 8 == BYTES);

/// Memory that stays over the resets of a test.
fn memory(fill: impl FnMut(usize) -> u64) -> &'static [AtomicU64] {
    Box::leak((0..WORDS).map(fill).map(AtomicU64::new).collect::<Box<[_]>>())
}

fn open(memory: &'static [AtomicU64], build: u64) -> Retained {
    Retained::open(Words::of(memory), build).unwrap()
}

#[test]
fn what_a_reset_left_is_known_and_what_power_on_left_is_not() {
    let memory = memory(|_| 0);
    assert!(!open(memory, 7).is_warm);
    assert!(open(memory, 7).is_warm);
    assert!(!open(memory, 8).is_warm, "another build");
    assert!(!open(memory, 7).is_warm, "which began anew");
}

#[test]
fn a_flipped_bit_of_the_head_begins_everything_anew() {
    for bit in 0..192 {
        let memory = memory(|_| 0);
        open(memory, 7).record.write(&5_u64);
        memory[bit / 64].fetch_xor(1 << (bit % 64), Ordering::Relaxed);
        let retained = open(memory, 7);
        assert!(!retained.is_warm && retained.record.read::<u64>().is_none());
    }
}

#[test]
fn a_value_survives_and_the_last_one_counts() {
    let memory = memory(|_| 0);
    assert_eq!(open(memory, 7).record.read::<u64>(), None);
    for value in 0..5_u64 {
        let mut record = open(memory, 7).record;
        record.write(&value);
        assert_eq!((record.read(), open(memory, 7).record.read()), (Some(value), Some(value)));
    }
    assert_eq!(open(memory, 7).record.read::<u32>(), None, "another size");
    open(memory, 7).record.clear();
    assert_eq!(open(memory, 7).record.read::<u64>(), None);
}

#[test]
fn a_value_may_fill_its_place_and_need_no_whole_words() {
    let mut record = open(memory(|_| u64::MAX), 7).record;
    let large = [0x5a_u8; RECORD_BYTES];
    record.write(&large);
    assert_eq!(record.read(), Some(large));
    record.write(&[1_u8, 2, 3]);
    assert_eq!(record.read(), Some([1_u8, 2, 3]));
}

#[test]
fn generations_wrap() {
    let mut record = open(memory(|_| 0), 7).record;
    record.write(&[1_u64; 2]);
    // The first one stands in the second place.
    let check = record.check(&record.copies[1], u32::MAX, 16);
    record.copies[1].write(0, &[u64::from(check) << 32 | u64::from(u32::MAX)]);
    assert_eq!(record.read(), Some([1_u64; 2]));
    record.write(&[2_u64; 2]);
    assert_eq!(record.read(), Some([2_u64; 2]));
    record.write(&[3_u64; 2]);
    assert_eq!(record.read(), Some([3_u64; 2]));
}

#[test]
fn too_little_memory_is_none() {
    assert!(Retained::open(Words::of(&[]), 7).is_none());
    assert!(Retained::open(Words::of(&memory(|_| 0)[..HEAD_WORDS + COPY_WORDS]), 7).is_none());
}

proptest! {
    /// A reset in the midst of a write: some of the cache lines are the new ones, the others are still the old.
    #[test]
    fn a_torn_write_leaves_the_value_before(lines in prop::collection::vec(any::<bool>(), 512), value in any::<[u64; 30]>()) {
        let memory = memory(|_| 0);
        let mut record = open(memory, 7).record;
        record.write(&[1_u64; 30]);
        record.write(&[2_u64; 30]);
        let before: std::vec::Vec<u64> = memory.iter().map(|word| word.load(Ordering::Relaxed)).collect();
        record.write(&value);
        for (at, word) in memory.iter().enumerate() {
            if !lines[at / 8 % 512] {
                word.store(before[at], Ordering::Relaxed);
            }
        }
        let found = open(memory, 7).record.read::<[u64; 30]>();
        prop_assert!(found == Some(value) || found == Some([2; 30]));
    }

    #[test]
    fn noise_is_never_believed(seed in any::<u64>()) {
        let mut state = seed;
        let memory = memory(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state ^ state >> 29
        });
        let retained = open(memory, 7);
        prop_assert!(!retained.is_warm && retained.record.read::<[u64; 4]>().is_none());
        // The head alone may be whole.
        let copies = HEAD_WORDS..HEAD_WORDS + 2 * COPY_WORDS;
        memory[copies].iter().for_each(|word| word.store(seed | 1, Ordering::Relaxed));
        prop_assert!(open(memory, 7).record.read::<[u64; 4]>().is_none());
    }
}
