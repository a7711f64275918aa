//! Tests of a series: each has its turn, whatever memory holds and however often the machine is reset.

use super::*;
use crate::arch::retained::Words;
use crate::board::retained::{BYTES, Retained};
use crate::sync::AtomicU64;
use proptest::prelude::*;
use strato_abi::plan::{EXPECT_STOP, KIND_EXPECT};

const ID: u64 = 0x1234;

/// What the machine remembers over a reset.
fn remembered(progress: &Progress) -> Option<Progress> {
    Progress::read_from_bytes(progress.as_bytes()).ok()
}

fn all(progress: &Progress) -> Vec<String> {
    progress.verdicts.iter().take(progress.turn()).map(ToString::to_string).collect()
}

#[test]
fn each_has_its_turn_and_the_end_of_each_is_kept() {
    let mut progress = Progress::go_on(None, ID, 4);
    for (turn, verdict) in [Verdict::PASSED, Verdict::of_vm(3, Some(7)), Verdict::of_vm(255, None), Verdict::PANICKED]
        .into_iter()
        .enumerate()
    {
        assert_eq!((progress.turn(), progress.is_over()), (turn, false));
        progress.end(verdict);
        progress = Progress::go_on(remembered(&progress), ID, 4);
    }
    assert!(progress.is_over(), "a panic is not told yet");
    let expected = [
        "passed",
        "failed: vm 3 ended with exit code 7",
        "failed: vm 255 was stopped",
        "failed: the hypervisor panicked",
    ];
    assert_eq!(all(&progress), expected);
}

#[test]
fn a_system_that_never_ends_is_given_up_behind_the_third_reset() {
    let mut progress = Progress::go_on(None, ID, 2);
    for _ in 1..TRIES_MAX {
        progress = Progress::go_on(remembered(&progress), ID, 2);
        assert_eq!(progress.turn(), 0);
    }
    progress = Progress::go_on(remembered(&progress), ID, 2);
    assert_eq!((progress.turn(), all(&progress)), (1, vec!["failed: it never ended, at try 3".to_owned()]));
}

#[test]
fn one_that_passes_behind_a_reset_has_failed() {
    let first = Progress::go_on(None, ID, 2);
    let mut second = Progress::go_on(remembered(&first), ID, 2);
    second.end(Verdict::PASSED);
    assert_eq!(all(&second), ["failed: it passed, at try 2"]);
}

#[test]
fn a_series_that_was_told_to_its_end_begins_again() {
    for (verdict, is_told) in [
        (Verdict::PASSED, true),
        (Verdict::of_vm(0, None), true),
        (Verdict::TOO_LONG, true),
        (Verdict::PANICKED, false),
        (Verdict::REFUSED, false),
        (Verdict::GIVEN_UP, false),
    ] {
        let mut progress = Progress::go_on(None, ID, 1);
        progress.end(verdict);
        assert_eq!(Progress::go_on(remembered(&progress), ID, 1).turn() == 0, is_told, "{verdict}");
    }
}

#[test]
fn the_progress_of_another_series_is_none() {
    let mut progress = Progress::go_on(None, ID, 3);
    progress.end(Verdict::PASSED);
    for (id, count) in [(ID ^ 1, 3), (ID, 4), (ID, 0)] {
        let other = Progress::go_on(remembered(&progress), id, count);
        assert_eq!((other.turn(), other.verdicts[0]), (0, Verdict::NONE));
    }
    assert!(Progress::go_on(None, ID, 0).is_over());
}

#[test]
fn a_misfit_is_what_the_plan_does_not_expect_and_the_first_one_counts() {
    let expect = |outcome, code| Expect { header: Expect::header(0), outcome, reserved: 0, code };
    assert_eq!(expect(EXPECT_EXIT, 0).header.kind, KIND_EXPECT);
    let (words, build) = (memory(), 5);
    for (exit, expected, verdict) in [
        (Some(0), expect(EXPECT_EXIT, 0), "passed"),
        (None, expect(EXPECT_STOP, 0), "passed"),
        (Some(3), expect(EXPECT_EXIT, 3), "passed"),
        (Some(0), expect(EXPECT_EXIT, 3), "failed: vm 1 ended with exit code 0"),
        (Some(0), expect(EXPECT_STOP, 0), "failed: vm 1 ended with exit code 0"),
        (Some(u64::MAX), expect(EXPECT_EXIT, 0), "failed: vm 1 ended with exit code 1099511627775"),
        (None, expect(EXPECT_EXIT, 0), "failed: vm 1 was stopped"),
    ] {
        let record = Retained::open(Words::of(words), build).unwrap().record;
        begin(record, ID, u32::try_from(SERIES_MAX).unwrap());
        note(1, exit, Some(&expected));
        note(2, Some(9), (verdict != "passed").then_some(&expect(EXPECT_EXIT, 0)));
        note(3, Some(9), None);
        assert_eq!(end(Verdict::PASSED).unwrap().to_string(), verdict);
        assert_eq!(end(Verdict::PANICKED), None, "it ends once");
    }
    let kept = Retained::open(Words::of(words), build).unwrap();
    assert!(kept.is_warm);
    let progress = Progress::go_on(kept.record.read(), ID, u32::try_from(SERIES_MAX).unwrap());
    assert_eq!((progress.turn(), progress.verdicts[6]), (7, Verdict::of_vm(1, None).after(1)));
    let other_build = Retained::open(Words::of(words), build + 1).unwrap().record.read();
    assert_eq!(Progress::go_on(other_build, ID, 9).turn(), 0);
}

fn memory() -> &'static [AtomicU64] {
    let words = usize::try_from(BYTES / 8).unwrap();
    Box::leak((0..words).map(|at| AtomicU64::new(at as u64 * 77)).collect())
}

proptest! {
    #[test]
    fn whatever_stands_in_memory_leads_to_a_turn_that_there_is(bytes: [u8; size_of::<Progress>()], own: bool, count in 0..=128_u32, resets in 1..500_u32) {
        let mut found = Progress::read_from_bytes(&bytes).unwrap();
        if own {
            (found.id, found.count) = (ID, count);
        }
        let mut progress = Progress::go_on(Some(found), ID, count);
        prop_assert!(progress.turn() <= count as usize);
        prop_assert!(progress.verdicts.iter().all(|verdict| !verdict.to_string().is_empty()));
        // Nothing but resets: each turn takes three of them at most.
        for _ in 0..resets {
            progress = Progress::go_on(remembered(&progress), ID, count);
            prop_assert!(progress.turn() <= count as usize && progress.tries <= TRIES_MAX);
        }
        prop_assert!(progress.turn() >= (resets as usize / 3).min(count as usize));
    }
}
