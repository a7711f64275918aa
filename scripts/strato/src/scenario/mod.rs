//! Room `scenario`: a system and its transcript to a verdict: every reason why the run is not what the file expects.
//! Called by `run` and `test`. Never runs anything.

use crate::glob;
use crate::qemu::session::End;
use crate::system::{Outcome, System};
use crate::transcript::{Line, Transcript};

/// Returns why the run is not as expected; nothing when it passed.
#[must_use]
pub fn judge(system: &System, transcript: &Transcript, end: &End) -> Vec<String> {
    let mut reasons = Vec::new();
    reasons.extend(transcript.panic().map(|line| format!("the hypervisor panicked: {line}")));
    match end {
        End::PoweredOff { .. } => {}
        End::Failed { messages } => reasons.push(format!("QEMU failed: {messages}")),
        End::TimedOut => reasons.push("the machine did not power off within the time limit".into()),
        End::Interrupted => reasons.push("interrupted".into()),
        End::TooLong => reasons.push("the transcript is longer than a run may print".into()),
    }
    if let Some(damage) = system.damage {
        reasons.extend(refusal(damage.name(), transcript));
        return reasons;
    }
    for (number, vm) in system.vms.iter().enumerate() {
        let label = &vm.label.value;
        if let Some(reason) = outcome(label, &vm.expect, transcript) {
            reasons.push(reason);
            continue; // what it did not print follows from that
        }
        let expected = system.expect.lines.iter().filter(|(vm, _)| *vm == number).map(|(_, text)| text.as_str());
        if let Some(lost) = first_absent(expected, transcript.guest(label), glob::matches) {
            reasons.push(format!("`{label}` did not print, in this place: {lost}"));
        }
    }
    // Cores run side by side, so that lines about different VMs have no order.
    let is_lost = |part: &&String| !transcript.hypervisor().any(|text| text.contains(part.as_str()));
    let lost = system.expect.hypervisor.iter().filter(is_lost);
    reasons.extend(lost.map(|part| format!("the hypervisor did not print: {part}")));
    reasons
}

// A damaged image has to be refused by the name of the check, before any guest runs.
fn refusal(name: &str, transcript: &Transcript) -> Option<String> {
    let expected = format!("cannot boot: packed system refused: {name}: ");
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
mod tests {
    use std::path::Path;

    use super::*;
    use crate::system::{self, Source};

    fn reasons(expect: &str, transcript: &str, end: End) -> Vec<String> {
        let text = format!(
            "[[vm]]\nname = \"a\"\nimage = \"x\"\nmemory = \"1MiB\"\n[[vm]]\nname = \"b\"\nimage = \"x\"\n\
             memory = \"1MiB\"\nexpect = \"stopped\"\n{expect}"
        );
        let system = system::parse(&Source { path: "x".into(), text }, Path::new("."), "x").unwrap();
        let transcript = Transcript { lines: transcript.lines().map(Into::into).collect() };
        judge(&system, &transcript, &end)
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
    fn a_damaged_image_has_to_be_refused_by_name_before_any_guest_runs() {
        let refused = "strato: error: cannot boot: packed system refused: checksum: it was damaged";
        let damaged = |transcript: &str| {
            let text = "[system]\ndamage = \"checksum\"\n[[vm]]\nname = \"a\"\nimage = \"x\"\nmemory = \"1MiB\"";
            let system = system::parse(&Source { path: "x".into(), text: text.into() }, Path::new("."), "x").unwrap();
            judge(&system, &Transcript { lines: transcript.lines().map(Into::into).collect() }, &off()).len()
        };
        assert_eq!(damaged(refused), 0);
        assert_eq!(damaged(&refused.replace("checksum", "magic")), 1);
        assert_eq!(damaged(&format!("[a] hello\n{refused}")), 1);
        assert_eq!(damaged(GOOD), 1);
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
    }
}
