//! Tests of what is said again behind a reset: the last lines, whole ones alone, whatever else stands there.

use std::boxed::Box;
use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;

use log::Log;

use super::*;
use crate::console::LineBuffer;
use crate::sync::AtomicU64;

/// Most bytes of a line that is kept.
const TEXT_BYTES: usize = PLACE_BYTES - HEAD_BYTES;

fn memory(fill: impl FnMut(usize) -> u64) -> &'static [AtomicU64] {
    Box::leak((0..LINES * PLACE_WORDS).map(fill).map(AtomicU64::new).collect::<Box<[_]>>())
}

fn past(memory: &'static [AtomicU64]) -> Past {
    Past::of(Words::of(memory), 7).unwrap()
}

fn put(past: &Past, parts: &[&[u8]]) {
    let mut line = Assembled::new();
    parts.iter().for_each(|part| line.push(part));
    past.put(&mut line);
}

fn recalled(memory: &'static [AtomicU64]) -> Vec<String> {
    let (mut lines, mut counts) = (Vec::new(), Vec::new());
    past(memory).recall(|count, text| {
        counts.push(count);
        lines.push(String::from_utf8_lossy(text).into_owned());
    });
    assert!(counts.iter().all(|count| *count == lines.len()));
    lines
}

#[test]
fn the_last_lines_come_back_in_order() {
    let memory = memory(|_| 0);
    assert!(recalled(memory).is_empty());
    let before = past(memory);
    put(&before, &[b"[", b"a", b"] ", b"one"]);
    put(&before, &[b""]);
    put(&before, &["x".repeat(TEXT_BYTES).as_bytes()]);
    assert_eq!(recalled(memory), ["[a] one", "", &"x".repeat(TEXT_BYTES)]);
    for number in 0..300 {
        put(&before, &[format!("line {number}").as_bytes()]);
    }
    let expected: Vec<String> = (260..300).map(|number| format!("line {number}")).collect();
    assert_eq!(recalled(memory), expected);
    before.clear();
    assert!(recalled(memory).is_empty());
}

#[test]
fn a_longer_line_is_cut_off() {
    let memory = memory(|_| 0);
    put(&past(memory), &[&[b'y'; 200], &[b'z'; 200], b"!"]);
    assert_eq!(recalled(memory), ["y".repeat(200) + &"z".repeat(TEXT_BYTES - 200)]);
}

#[test]
fn numbers_wrap() {
    let memory = memory(|_| 0);
    let before = past(memory);
    before.next.store(u32::MAX - 1, Ordering::Relaxed);
    for text in [b"a", b"b", b"c", b"d"] {
        put(&before, &[text]);
    }
    assert_eq!(recalled(memory), ["a", "b", "c", "d"]);
}

#[test]
fn a_line_of_another_build_or_with_a_flipped_bit_is_none() {
    let memory = memory(|_| 0);
    let before = past(memory);
    [b"one", b"two"].iter().for_each(|text| put(&before, &[*text]));
    assert!(Past::of(Words::of(memory), 8).is_some_and(|other| (1..3).all(|number| other.line(number).is_none())));
    let first = place_of(1);
    for bit in 0..128 {
        memory[first + bit / 64].fetch_xor(1 << (bit % 64), Ordering::Relaxed);
        assert_eq!(recalled(memory), ["two"], "{bit}");
        memory[first + bit / 64].fetch_xor(1 << (bit % 64), Ordering::Relaxed);
    }
    assert_eq!(recalled(memory), ["one", "two"]);
}

#[test]
fn too_little_memory_is_none() {
    assert!(Past::of(Words::of(&memory(|_| 0)[1..]), 7).is_none());
}

#[test]
fn a_console_says_again_what_it_said_before_a_reset_and_nothing_behind_a_good_end() {
    let memory = memory(|_| 0);
    let boot = |is_warm| {
        let console = Box::leak(Box::new(Console::new()));
        console.keep_past(past(memory), is_warm);
        let mut state = console.state.lock_leaf();
        let bytes: Vec<u8> = core::iter::from_fn(|| state.output.take()).collect();
        drop(state);
        (&*console, String::from_utf8(bytes).unwrap())
    };
    let (console, said) = boot(false);
    assert_eq!(said, "");
    console.guest_write("ping", &mut LineBuffer::new(), b"one\ntw");
    console.log(&log::Record::builder().level(Level::Warn).args(format_args!("odd")).build());
    console.keep(format_args!("strato: panic: {}", "oh"));
    let (console, said) = boot(true);
    // The line that says how many there are goes to the log, which is no console's in this test.
    assert_eq!(
        said,
        "strato: before: [ping] one\nstrato: before: strato: warning: odd\nstrato: before: strato: panic: oh\n"
    );
    console.guest_write("ping", &mut LineBuffer::new(), b"again\n");
    console.forget_past();
    assert_eq!(boot(true).1, "");
}

#[test]
fn as_much_as_is_said_again_fits_the_console() {
    let memory = memory(|_| 0);
    let before = past(memory);
    (0..LINES).for_each(|_| put(&before, &[&[b'x'; TEXT_BYTES]]));
    let console = Console::new();
    console.keep_past(past(memory), true);
    let whole = BEFORE.len() + TEXT_BYTES + 1;
    assert_eq!(console.state.lock_leaf().output.len(), whole * AGAIN as usize);
}

proptest! {
    #[test]
    fn noise_has_no_lines(seed in any::<u64>()) {
        let mut state = seed;
        let memory = memory(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state ^ state >> 31
        });
        prop_assert!(recalled(memory).is_empty());
        // Numbers that fit their places, and nothing else.
        for place in 0..LINES {
            memory[place * PLACE_WORDS].store(state << 32 | place as u64, Ordering::Relaxed);
        }
        prop_assert!(recalled(memory).is_empty());
        past(memory).clear();
        put(&past(memory), &[b"whole"]);
        prop_assert_eq!(recalled(memory), ["whole"]);
    }

    /// A reset in the midst of a line, or with two of them under way: what comes back was said.
    #[test]
    fn what_is_torn_is_left_out(lines in prop::collection::vec(any::<bool>(), LINES * 4), count in 1..200_u32) {
        let memory = memory(|_| 0);
        let before = past(memory);
        (0..count).for_each(|number| put(&before, &[format!("{number:0>100}").as_bytes()]));
        let old: Vec<u64> = memory.iter().map(|word| word.load(Ordering::Relaxed)).collect();
        (count..count + 9).for_each(|number| put(&before, &[format!("{number:0>150}").as_bytes()]));
        for (at, word) in memory.iter().enumerate().filter(|(at, _)| !lines[at / 8]) {
            word.store(old[at], Ordering::Relaxed);
        }
        for line in recalled(memory) {
            let number: u32 = line.parse().unwrap();
            let said = [format!("{number:0>100}"), format!("{number:0>150}")];
            prop_assert!(said.contains(&line));
        }
    }
}
