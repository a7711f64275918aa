//! Verdicts of made-up transcripts.

use std::path::Path;

use super::*;
use crate::system::{self, Source};

fn reasons(expect: &str, transcript: &str, end: End) -> Vec<String> {
    let (system, transcript) = parsed(expect, transcript);
    judge(&system, &transcript, &end)
}

fn parsed(expect: &str, transcript: &str) -> (System, Transcript) {
    let text = format!(
        "[[vm]]\nname = \"a\"\nimage = \"x\"\nmemory = \"1MiB\"\n[[vm]]\nname = \"b\"\nimage = \"x\"\n\
         memory = \"1MiB\"\nexpect = \"stopped\"\n{expect}"
    );
    let system = system::parse(&Source { path: "x".into(), text }, Path::new("."), "x").unwrap();
    (system, Transcript { lines: transcript.lines().map(Into::into).collect() })
}

fn off() -> End {
    End::PoweredOff { messages: String::new() }
}

const GOOD: &str = "[a] one\n[b] two\n[a] three 33\nstrato: vm b: stopped: x\nstrato: vm a: ended, exit code 0";

#[test]
fn a_run_as_expected_has_no_reason_against_it() {
    let expect =
        "[expect]\nlines = [\"[a] one\", \"[b] two\", \"[a] three *\"]\nhypervisor = [\"b: stopped\", \"ended\"]";
    assert_eq!(reasons(expect, GOOD, off()), Vec::<String>::new());
}

#[test]
fn a_wrong_outcome_is_a_reason() {
    let bad = GOOD.replace("exit code 0", "exit code 1").replace("vm b: stopped: x", "vm b: ended, exit code 0");
    let expected = ["`a` had to end ok, but: ended, exit code 1", "`b` had to be stopped, but: ended, exit code 0"];
    assert_eq!(reasons("", &bad, off()), expected);
}

#[test]
fn a_vm_that_never_ends_is_a_reason() {
    assert_eq!(reasons("", "strato: vm b: stopped: x", off()), ["`a` had to end ok, but never ended"]);
}

#[test]
fn lines_out_of_order_are_a_reason() {
    let expect = "[expect]\nlines = [\"[a] three 33\", \"[a] one\"]";
    assert_eq!(reasons(expect, GOOD, off()), ["`a` did not print, in this place: one"]);
    let expect = "[expect]\nhypervisor = [\"ended\", \"stopped\"]";
    assert_eq!(reasons(expect, GOOD, off()), Vec::<String>::new());
    let expect = "[expect]\nhypervisor = [\"ended\", \"halted\"]";
    assert_eq!(reasons(expect, GOOD, off()), ["the hypervisor did not print: halted"]);
}

#[test]
fn the_led_blinks_a_code_twice_over_behind_each_boot_that_ends_in_one() {
    let blinks = |damage, reset| {
        let (mut system, _) = parsed("", "");
        (system.damage, system.reset) = (damage, reset);
        blinks(&system)
    };
    assert_eq!(blinks(Some(Damage::Panic), None), Some(7));
    assert_eq!(blinks(Some(Damage::Checksum), None), Some(5));
    assert_eq!(blinks(Some(Damage::Lock), Some(Reset::Kept)), Some(14));
    assert_eq!(blinks(Some(Damage::Panic), Some(Reset::Armed)), None);
    assert_eq!(blinks(None, None), None);
    assert_eq!(judge_blinks(2, &[true, true, false]), None);
    for turned in [&[true, false][..], &[true, false, true], &[]] {
        assert!(judge_blinks(2, turned).is_some(), "{turned:?}");
    }
}

#[test]
fn what_is_expected_of_counted_runs_is_not_asked_of_others() {
    let expect = "[expect]\ncounted = [\"[a] one\", \"[a] three 34\"]";
    assert_eq!(reasons(expect, GOOD, off()), Vec::<String>::new());
    let (system, transcript) = parsed(expect, GOOD);
    assert_eq!(judge_counted(&system, &transcript), ["`a` did not print, in this place: three 34"]);
    let (system, transcript) = parsed(&expect.replace("34", "33"), GOOD);
    assert_eq!(judge_counted(&system, &transcript), Vec::<String>::new());
}

#[test]
fn what_has_to_differ_is_compared() {
    let expect = "[expect]\ndifferent = [\"vm a: at *, 1 byte\", \"vm b: at *, 1 byte\"]";
    let with = |b: &str| format!("{GOOD}\nstrato: debug: vm a: at 0x10, 1 byte\nstrato: vm b: at {b}");
    assert_eq!(reasons(expect, &with("0x11, 1 byte"), off()), Vec::<String>::new());
    let same = reasons(expect, &with("0x10, 1 byte"), off());
    assert_eq!(same, ["the hypervisor printed 0x10 twice: vm b: at *, 1 byte"]);
    assert_eq!(reasons(expect, &with("0x11"), off()), ["the hypervisor did not print: vm b: at *, 1 byte"]);
}

// How many reasons there are against the transcript of a damaged image.
fn reasons_of(damage: &str, transcript: &str) -> usize {
    let text = format!("[system]\ndamage = {damage:?}\n[[vm]]\nname = \"a\"\nimage = \"x\"\nmemory = \"1MiB\"");
    let system = system::parse(&Source { path: "x".into(), text }, Path::new("."), "x").unwrap();
    judge(&system, &Transcript { lines: transcript.lines().map(Into::into).collect() }, &off()).len()
}

#[test]
fn a_damaged_image_has_to_be_refused_by_name_before_any_guest_runs() {
    let refused = "strato: error: cannot boot: packed system refused: checksum: it was damaged";
    assert_eq!(reasons_of("checksum", refused), 0);
    assert_eq!(reasons_of("checksum", &refused.replace("checksum", "magic")), 1);
    assert_eq!(reasons_of("checksum", &format!("[a] hello\n{refused}")), 1);
    assert_eq!(reasons_of("checksum", GOOD), 1);
}

#[test]
fn a_hypervisor_that_is_made_to_die_has_to_say_why_and_where_and_to_stop_every_core() {
    let report = "strato: panic: on core 0, build 1f: stack overflow in the hypervisor: ESR 0x96000047, ELR +0x3fc8\n\
                  strato: panic: at hyp/src/arch/own_el.rs:28\n\
                  strato: panic: image at 0x40080000; called from, innermost first:\n\
                  strato: panic:   +0x3fc8 (0x40083fc8)\nstrato: panic:   +0x1000 (0x40081000)\nstrato: panic: all cores stopped";
    assert_eq!(reasons_of("overflow", report), 0);
    for (good, bad) in [
        ("stack overflow", "synchronous exception"),
        ("+0x1000 (0x40081000)", ""),
        ("all cores stopped", "cores that did not stop: 1"),
    ] {
        assert_eq!(reasons_of("overflow", &report.replace(good, bad)), 1, "{good}");
    }
    assert_eq!(reasons_of("overflow", GOOD), 1);
}

#[test]
fn an_image_that_leaves_an_invalidation_out_has_to_be_ended_by_the_monitor() {
    let report = "strato: panic: on core 1, build 1f: page-table order: a table freed before the invalidation\n\
                  strato: panic: at hyp/src/arch/watch/cell.rs:29\n\
                  strato: panic: image at 0x40080000; called from, innermost first:\n\
                  strato: panic:   +0x3fc8 (0x40083fc8)\nstrato: panic:   +0x1000 (0x40081000)\nstrato: panic: all cores stopped";
    assert_eq!(reasons_of("tlbi", report), 0);
    assert_eq!(reasons_of("tlbi", &report.replace("all cores stopped", "cores that did not stop: 1")), 1);
    assert_eq!(reasons_of("tlbi", &report.replace("page-table order: a", "a")), 1);
    assert_eq!(reasons_of("tlbi", GOOD), 1);
}

#[test]
fn an_image_that_is_entered_at_the_wrong_level_says_so_and_nothing_else() {
    let text = "[system]\nentered_at = \"EL1\"\n[[vm]]\nname = \"a\"\nimage = \"x\"\nmemory = \"1MiB\"";
    let system = system::parse(&Source { path: "x".into(), text: text.into() }, Path::new("."), "x").unwrap();
    let judged = |lines: &[&str], end| {
        judge(&system, &Transcript { lines: lines.iter().map(|line| (*line).to_owned()).collect() }, &end).len()
    };
    let line = "strato: entered at EL1, but it must be entered at EL2 (on QEMU virt: -M virt,virtualization=on)";
    assert_eq!(judged(&[line], End::Told), 0);
    assert_eq!(judged(&["strato: version 0.1.0", line], End::Told), 1);
    assert_eq!(judged(&[], End::TimedOut), 1);
    assert_eq!(judged(&["[a] hello"], off()), 1);
}

#[test]
fn frames_have_to_be_found_in_order_in_the_vms_own_report() {
    let text =
        "[[vm]]\nname = \"a\"\nimage = \"x\"\nmemory = \"1MiB\"\n[expect]\nframes = [\"[a] inner\", \"[a] outer\"]";
    let system = system::parse(&Source { path: "x".into(), text: text.into() }, Path::new("."), "x").unwrap();
    let explain = |line: &str| vec![line.rsplit(' ').next().unwrap_or_default().to_owned()];
    let judge = |lines: &[&str]| {
        let transcript = Transcript { lines: lines.iter().map(|&line| line.into()).collect() };
        judge_frames(&system, &transcript, explain)
    };
    assert_eq!(judge(&["[a] core", "[a] x::inner", "[b] x", "[a] x::outer"]), None);
    let lost = "the report of `a` does not lead, in this place, to: outer";
    assert_eq!(judge(&["[a] x::outer", "[a] x::inner", "[b] x::outer"]).as_deref(), Some(lost));
    assert!(judge(&[]).is_some());
}

#[test]
fn a_panic_is_always_a_reason() {
    let bad = format!("{GOOD}\nstrato: panic: core 0: at somewhere");
    assert_eq!(reasons("", &bad, off()), ["the hypervisor panicked: panic: core 0: at somewhere"]);
}

#[test]
fn a_machine_that_does_not_power_off_is_a_reason() {
    assert_eq!(reasons("", GOOD, End::TimedOut), ["the machine did not power off within the time limit"]);
    let failed = End::Failed { messages: "no".into() };
    assert_eq!(reasons("", GOOD, failed), ["QEMU failed: no"]);
    let crashed = End::Crashed { signal: 11, messages: "no".into() };
    assert_eq!(reasons("", GOOD, crashed), ["QEMU itself crashed, by signal 11: no"]);
}
