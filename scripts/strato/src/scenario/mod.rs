//! Room `scenario`: a system and its transcript to a verdict: every reason why the run is not what the file expects.
//! Called by `run` and `test`. Never runs anything.

use crate::glob;
use crate::machine::End;
use crate::pack::damage::Damage;
use crate::system::{Outcome, Reset, System};
use crate::transcript::{Line, Transcript};

/// Where a person finds what to look at when a board says nothing.
pub const SILENCE: &str = "docs/raspberry-pi-4.md, \"When it is silent\", says what to look at";

/// Returns why the run is not as expected; nothing when it passed.
#[must_use]
pub fn judge(system: &System, transcript: &Transcript, end: &End) -> Vec<String> {
    let mut reasons = Vec::new();
    if let End::Silent { seconds, last } = end {
        return vec![silence(*seconds, last.as_deref())];
    }
    if let Some(refusal) = system.entered_at.refusal() {
        if *end != End::Told || transcript.lines.len() != 1 {
            reasons.push(format!("the hypervisor did not print, as its only line: {refusal}..."));
        }
        return reasons;
    }
    let report = system.damage.map_or(&[][..], death);
    if report.is_empty() {
        reasons.extend(transcript.panic().map(|line| format!("the hypervisor panicked: {line}")));
    }
    match end {
        End::PoweredOff { .. } => {}
        End::Failed { messages } => reasons.push(format!("QEMU failed: {messages}")),
        End::Crashed { signal, messages } => {
            reasons.push(format!("QEMU itself crashed, by signal {signal}: {messages}"))
        }
        End::Told => reasons.push("the run was ended".into()),
        End::TimedOut => reasons.push("the machine did not power off within the time limit".into()),
        End::Interrupted => reasons.push("interrupted".into()),
        End::TooLong => reasons.push("the transcript is longer than a run may print".into()),
        End::Lost { why } => {
            reasons.push(format!("the serial line went away: {why}; is the adapter still plugged in?"));
            return reasons; // what was not heard follows from that
        }
        End::BeganAgain => reasons.push("the board started again by itself".into()),
        End::Silent { .. } => {}
    }
    reasons.extend(system.reset.and_then(|reset| again(reset, &system.expect.before, transcript)));
    if system.reset == Some(Reset::Armed) {
        return reasons; // no guest ran
    }
    if !report.is_empty() {
        let lost = first_absent(report.iter().copied(), transcript.hypervisor(), glob::matches);
        reasons.extend(lost.map(|line| format!("the hypervisor did not print, in this place: {line}")));
        return reasons;
    }
    if let Some(damage) = system.damage {
        reasons.extend(refusal(&damage.refusal(), transcript));
        return reasons;
    }
    for (number, vm) in system.vms.iter().enumerate() {
        let label = &vm.label.value;
        if let Some(reason) = outcome(label, &vm.expect, transcript) {
            reasons.push(reason);
            continue; // what it did not print follows from that
        }
        reasons.extend(unprinted(system, number, &system.expect.lines, transcript));
    }
    // Cores run side by side, so that lines about different VMs have no order.
    let is_lost = |part: &&String| !transcript.hypervisor().any(|text| text.contains(part.as_str()));
    let lost = system.expect.hypervisor.iter().filter(is_lost);
    reasons.extend(lost.map(|part| format!("the hypervisor did not print: {part}")));
    reasons.extend(alike(&system.expect.different, transcript));
    reasons
}

/// What a Raspberry Pi 4 prints first, a character a step, before there is a console.
const BOOT_LINE: &str = "strato: boot 12345";

/// Returns what is wrong with the first signs of life of a Raspberry Pi 4.
#[must_use]
pub fn judge_signs(transcript: &Transcript, end: &End) -> Option<String> {
    let first = transcript.lines.first().map_or("", String::as_str);
    if first == BOOT_LINE || matches!(end, End::Silent { .. }) {
        return None;
    }
    let reason = format!("the first line was not `{BOOT_LINE}`, but `{first}`");
    let is_stuck = transcript.lines.len() == 1 && BOOT_LINE.starts_with(first);
    Some(if is_stuck { format!("{reason}, and nothing came behind it: {SILENCE}") } else { reason })
}

/// Returns that something else ran than `system` on the hypervisor with this build id, if that is what was said.
#[must_use]
pub fn judge_image(system: &System, id: Option<u64>, transcript: &Transcript) -> Option<String> {
    let mut builds = transcript.hypervisor().filter_map(|text| text.strip_prefix("version ")?.split_once(", build "));
    let (found, expected) = (builds.next().map(|(_, found)| found), id.map(|id| format!("{id:016x}")));
    if let (Some(found), Some(expected)) = (found, expected)
        && found != expected
    {
        return Some(format!("what ran is build {found}, not {expected}: the image did not get there"));
    }
    let mut vms = transcript.hypervisor().filter(|text| text.contains(" bytes of ram, "));
    let other = vms.find_map(|text| {
        text.strip_prefix("vm ")?.split_once(": ").map(|(label, _)| label).filter(|label| system.find(label).is_none())
    })?;
    Some(format!("what ran has a VM `{other}`: the image did not get there"))
}

/// Returns why a counted run is not what is expected of counted runs alone.
#[must_use]
pub fn judge_counted(system: &System, transcript: &Transcript) -> Vec<String> {
    let vms = 0..system.vms.len();
    vms.filter_map(|number| unprinted(system, number, &system.expect.counted, transcript)).collect()
}

// Why a board's run did not begin.
fn silence(seconds: u64, last: Option<&str>) -> String {
    match last {
        None => format!("nothing came from the board within {seconds} s: {SILENCE}"),
        Some(last) => {
            format!(
                "the board said something within {seconds} s, but nothing of Strato's; at last: `{last}`: {SILENCE}"
            )
        }
    }
}

// Why VM `number` did not print its lines of `expected` in order, if it did not.
fn unprinted(system: &System, number: usize, expected: &[(usize, String)], transcript: &Transcript) -> Option<String> {
    let label = system.label(number);
    let its = expected.iter().filter(|(vm, _)| *vm == number).map(|(_, text)| text.as_str());
    let lost = first_absent(its, transcript.guest(label), glob::matches)?;
    Some(format!("`{label}` did not print, in this place: {lost}"))
}

// Why the lines do not differ in what stands for `*`, if they do not.
fn alike(patterns: &[String], transcript: &Transcript) -> Option<String> {
    let mut found = Vec::new();
    for pattern in patterns {
        let (start, end) = pattern.split_once('*').unwrap_or((pattern, ""));
        let value = transcript.hypervisor().find_map(|text| text.strip_prefix(start)?.strip_suffix(end));
        let Some(value) = value else { return Some(format!("the hypervisor did not print: {pattern}")) };
        if found.contains(&value) {
            return Some(format!("the hypervisor printed {value} twice: {pattern}"));
        }
        found.push(value);
    }
    None
}

/// Returns what is wrong with the LED of a board that was reset: it was looked at when the board stopped first and at the end. It is on while
/// the board boots, in the midst of which the watchdog stops it; and off behind that, and behind the code of a panic.
#[must_use]
pub fn judge_led(system: &System, led: &[bool]) -> Option<String> {
    let expected = [system.reset == Some(Reset::Armed); 2];
    (led != expected).then(|| format!("the LED was to be {expected:?} when the board stopped, and was {led:?}"))
}

/// Returns how often the LED of a Raspberry Pi 4 is turned on as `system` comes to its end: once by each boot, and twice over as often as the code of
/// a panic or of a refusal says (`hyp/src/arch/sign.rs`). `None` where there is no code.
#[must_use]
pub fn blinks(system: &System) -> Option<usize> {
    const PANIC: usize = 3;
    const REFUSED: usize = 2;
    let code = if death(system.damage?).is_empty() { REFUSED } else { PANIC };
    let boots = match system.reset {
        None => 1,
        Some(Reset::Kept | Reset::Spoiled) => 2,
        Some(Reset::Armed | Reset::Done) => return None, // the watchdog stops it in the midst; it ends well
    };
    Some(boots * (1 + 2 * code))
}

/// Returns what is wrong with an LED that is to be turned on `blinks` times, and off in the end.
#[must_use]
pub fn judge_blinks(blinks: usize, turned: &[bool]) -> Option<String> {
    let count = turned.iter().filter(|is_on| **is_on).count();
    let is_off = turned.last() == Some(&false);
    (count != blinks || !is_off).then(|| {
        format!(
            "the LED was to be turned on {blinks} times, and off in the end; it was {count} times, last {}",
            if is_off { "off" } else { "on" }
        )
    })
}

// Why a machine that was reset did not say what it had said before, or did; if it was not as expected.
fn again(reset: Reset, expected: &[String], transcript: &Transcript) -> Option<String> {
    const NOTE: &str = "warm reset: the last * lines before it follow";
    if matches!(reset, Reset::Kept | Reset::Armed) {
        let has_note = transcript.hypervisor().any(|text| glob::matches(NOTE, text));
        let note = (!has_note).then(|| format!("the hypervisor did not print: {NOTE}"));
        let expected = expected.iter().map(String::as_str);
        let lost = || first_absent(expected, transcript.before(), |part, line| line.contains(part));
        return note
            .or_else(|| Some(format!("what was said before the reset did not have, in this place: {}", lost()?)));
    }
    let boots = transcript.hypervisor().filter(|text| text.starts_with("version ")).count();
    let is_said = transcript.hypervisor().any(|text| text.starts_with("warm reset: "));
    (boots != 2 || is_said).then(|| format!("it booted {boots} times, and what had been said was to be gone"))
}

// How the hypervisor reports its own death: the cause, where, at least two of its callers, and that no core goes on.
fn death(damage: Damage) -> &'static [&'static str] {
    const CALLED: &str = "panic: image at 0x*; called from, innermost first:";
    const CALLER: &str = "panic:   +0x* (0x*)";
    const ORDER: &str = "panic: on core *, build *: page-table order: a table freed before the invalidation";
    const STOPPED: &str = "panic: all cores stopped";
    match damage {
        Damage::Panic | Damage::Lock => {
            const CAUSE: &str = "panic: on core *, build *: synchronous exception in the hypervisor: ESR 0xf2000000, *";
            &[CAUSE, "panic: at *.rs:*", CALLED, CALLER, CALLER, STOPPED]
        }
        Damage::Overflow => {
            const CAUSE: &str = "panic: on core *, build *: stack overflow in the hypervisor: *";
            &[CAUSE, "panic: at *.rs:*", CALLED, CALLER, CALLER, STOPPED]
        }
        Damage::Tlbi => &[ORDER, "panic: at *.rs:*", CALLED, CALLER, CALLER, STOPPED],
        Damage::Missing
        | Damage::Version
        | Damage::Abi
        | Damage::Flags
        | Damage::Length
        | Damage::Checksum
        | Damage::Record
        | Damage::Bounds
        | Damage::Order
        | Damage::Filter => &[],
    }
}

/// Returns why the frames to which the guests' reports lead are not as expected; `explain` says what a line leads to.
#[must_use]
pub fn judge_frames(system: &System, transcript: &Transcript, explain: impl Fn(&str) -> Vec<String>) -> Option<String> {
    let is_expected = |number: &usize| system.expect.frames.iter().any(|(vm, _)| vm == number);
    (0..system.vms.len()).filter(is_expected).find_map(|number| {
        let label = system.label(number);
        let is_its = |line: &&String| matches!(Line::parse(line), Line::Guest { label: found, .. } if found == label);
        let frames: Vec<String> = transcript.lines.iter().filter(is_its).flat_map(|line| explain(line)).collect();
        let expected = system.expect.frames.iter().filter(|(vm, _)| *vm == number).map(|(_, part)| part.as_str());
        let lost = first_absent(expected, frames.iter().map(String::as_str), |part, frame| frame.contains(part))?;
        Some(format!("the report of `{label}` does not lead, in this place, to: {lost}"))
    })
}

// A damaged image has to be refused by the name of the check, before any guest runs.
fn refusal(start: &str, transcript: &Transcript) -> Option<String> {
    let expected = format!("cannot boot: packed system refused: {start}");
    if !transcript.hypervisor().any(|text| text.starts_with(&expected)) {
        return Some(format!("the hypervisor did not print: {expected}..."));
    }
    let has_run = transcript.lines.iter().any(|line| matches!(Line::parse(line), Line::Guest { .. }));
    has_run.then(|| "a guest ran".to_owned())
}

fn outcome(label: &str, expected: &Outcome, transcript: &Transcript) -> Option<String> {
    let show = |outcome: &Outcome| match outcome {
        Outcome::Exited(0) => "to end ok".to_owned(),
        Outcome::Exited(code) => format!("to end with exit code {code}"),
        Outcome::Stopped => "to be stopped".to_owned(),
    };
    match transcript.outcome(label) {
        Some((found, _)) if found == *expected => None,
        Some((_, words)) => Some(format!("`{label}` had {}, but: {words}", show(expected))),
        None => Some(format!("`{label}` had {}, but never ended", show(expected))),
    }
}

// Lines may stand between the expected ones.
fn first_absent<'e, 't>(
    expected: impl Iterator<Item = &'e str>,
    mut lines: impl Iterator<Item = &'t str>,
    is_match: impl Fn(&str, &str) -> bool,
) -> Option<&'e str> {
    expected.into_iter().find(|pattern| !lines.any(|line| is_match(pattern, line)))
}

#[cfg(test)]
mod tests;
