//! Room `transcript`: what the serial line says: whose line it is, how each VM ended, whether the hypervisor panicked.
//! Owns the line protocol on the tool's side. Never runs anything and never judges (that is `scenario`).

use crate::system::Outcome;

pub mod backtrace;
pub mod show;

/// How a line begins that the hypervisor said before a warm reset, and says again.
pub const BEFORE: &str = "strato: before: ";

/// Whose line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'t> {
    /// A guest's: `[label] text`.
    Guest {
        /// The VM's label.
        label: &'t str,
        /// What the guest wrote.
        text: &'t str,
    },
    /// The hypervisor's: `strato: text`.
    Hypervisor(&'t str),
    /// Anything else, such as firmware's, or what was said before a warm reset.
    Other(&'t str),
}

impl<'t> Line<'t> {
    /// Returns whose line it is. The hypervisor escapes guests' bytes, so that no guest can forge another's line.
    #[must_use]
    pub fn parse(line: &'t str) -> Self {
        if let Some(text) = line.strip_prefix("strato: ").filter(|_| !line.starts_with(BEFORE)) {
            return Self::Hypervisor(text);
        }
        match line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((label, text)) if !label.is_empty() => {
                Self::Guest { label, text: text.strip_prefix(' ').unwrap_or(text) }
            }
            _ => Self::Other(line),
        }
    }
}

/// Everything that one run printed.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    /// Lines in order.
    pub lines: Vec<String>,
}

impl Transcript {
    /// Returns the lines of the hypervisor without their prefix and level.
    pub fn hypervisor(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|line| match Line::parse(line) {
            Line::Hypervisor(text) => Some(without_level(text)),
            Line::Guest { .. } | Line::Other(_) => None,
        })
    }

    /// Returns the lines that were said before a warm reset and are said again behind it.
    pub fn before(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|line| line.strip_prefix(BEFORE))
    }

    /// Returns the lines of a guest.
    pub fn guest(&self, vm: &str) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(move |line| match Line::parse(line) {
            Line::Guest { label, text } if label == vm => Some(text),
            Line::Guest { .. } | Line::Hypervisor(_) | Line::Other(_) => None,
        })
    }

    /// Returns how a VM ended and the hypervisor's words for it, or `None` when nothing says that it did. Of one that was restarted it is
    /// how its last life ended.
    #[must_use]
    pub fn outcome(&self, vm: &str) -> Option<(Outcome, &str)> {
        let mut found = None;
        for text in self.hypervisor() {
            let what = text.strip_prefix("vm ").and_then(|text| text.strip_prefix(vm)?.strip_prefix(": "));
            let Some(what) = what else { continue };
            if what.starts_with("restarted ") {
                found = None;
            } else if found.is_none() {
                found = outcome(what);
            }
        }
        found
    }

    /// Returns the first line of the hypervisor's panic report, if there is one.
    #[must_use]
    pub fn panic(&self) -> Option<&str> {
        self.hypervisor().find(|text| text.starts_with("panic"))
    }

    /// Returns the whole number that stands between `before` and `after` in a line of the hypervisor.
    #[must_use]
    pub fn number(&self, before: &str, after: &str) -> Option<u64> {
        self.hypervisor().find_map(|text| {
            let (_, rest) = text.split_once(before)?;
            let (digits, _) = rest.split_once(after)?;
            digits.trim().parse().ok()
        })
    }

    /// Returns the instructions of a counted run on `cores` cores, all of them together, of which QEMU counted `executed` when it
    /// had stopped; or `None` when the cores had an end that is not the same each time.
    ///
    /// One core executes nothing behind its power-off. Of several the others run on until QEMU's main thread stops them, so
    /// the hypervisor's last line tells, in ticks; but not when the clock jumped over times in which all cores slept.
    #[must_use]
    pub fn instructions(&self, cores: u8, executed: u64) -> Option<u64> {
        if cores == 1 {
            return Some(executed);
        }
        self.number(" failed, at ", " ticks").filter(|ticks| *ticks <= executed)
    }
}

/// Returns whether the hypervisor prints nothing behind this line: all guests have ended, boot was refused, or it panicked.
#[must_use]
pub fn is_last(line: &str) -> bool {
    let Line::Hypervisor(text) = Line::parse(line) else { return false };
    match text.strip_prefix("panic: ") {
        Some(text) => {
            text == "all cores stopped"
                || text.starts_with("cores that did not stop: ")
                || text == "panic while reporting a panic"
        }
        None => ["all guests ended, ", "cannot boot: ", "entered at "].iter().any(|start| text.starts_with(start)),
    }
}

fn outcome(what: &str) -> Option<(Outcome, &str)> {
    if let Some(code) = what.strip_prefix("ended, exit code ") {
        let digits = code.split(|c: char| !c.is_ascii_digit()).next()?;
        return Some((Outcome::Exited(digits.parse().ok()?), what));
    }
    what.starts_with("stopped").then_some((Outcome::Stopped, what))
}

fn without_level(text: &str) -> &str {
    ["error: ", "warning: ", "debug: ", "trace: "].iter().find_map(|level| text.strip_prefix(level)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(text: &str) -> Transcript {
        Transcript { lines: text.lines().map(Into::into).collect() }
    }

    #[test]
    fn lines_are_told_apart_by_their_prefix() {
        assert_eq!(Line::parse("strato: booting"), Line::Hypervisor("booting"));
        assert_eq!(Line::parse("[ping] hello"), Line::Guest { label: "ping", text: "hello" });
        assert_eq!(Line::parse("[ping]"), Line::Guest { label: "ping", text: "" });
        assert_eq!(
            Line::parse("[ping] strato: vm pong: stopped"),
            Line::Guest { label: "ping", text: "strato: vm pong: stopped" }
        );
        assert_eq!(Line::parse("U-Boot 2024"), Line::Other("U-Boot 2024"));
        assert_eq!(Line::parse(""), Line::Other(""));
    }

    #[test]
    fn the_outcome_of_each_vm_is_read() {
        let t = transcript(
            "strato: vm a: ended, exit code 0\nstrato: vm ab: ended, exit code 3\n[a] strato: vm c: ended, exit code 0\n\
             strato: warning: vm d: stopped: access to 0x0, which is not mapped",
        );
        assert_eq!(t.outcome("a").map(|(outcome, _)| outcome), Some(Outcome::Exited(0)));
        assert_eq!(t.outcome("ab").map(|(outcome, _)| outcome), Some(Outcome::Exited(3)));
        assert_eq!(t.outcome("c"), None);
        assert_eq!(t.outcome("d"), Some((Outcome::Stopped, "stopped: access to 0x0, which is not mapped")));
    }

    #[test]
    fn the_outcome_of_a_vm_that_was_restarted_is_that_of_its_last_life() {
        let restarted = "strato: vm a: stopped: access to 0x0\nstrato: vm a: restarted 1 of 5 times in 10 s: stopped: see its report\n";
        assert_eq!(transcript(restarted).outcome("a"), None);
        let ended = format!("{restarted}strato: vm a: ended, exit code 0");
        assert_eq!(transcript(&ended).outcome("a").map(|(outcome, _)| outcome), Some(Outcome::Exited(0)));
        let again = format!("{restarted}strato: vm a: stopped: access to 0x8\nstrato: vm a: stopped: see its report");
        assert_eq!(transcript(&again).outcome("a"), Some((Outcome::Stopped, "stopped: access to 0x8")));
    }

    #[test]
    fn what_was_said_before_a_reset_is_nobodys() {
        for line in ["strato: before: [a] hello", "strato: before: strato: panic: core 0: oh"] {
            assert_eq!(Line::parse(line), Line::Other(line));
        }
    }

    #[test]
    fn a_guest_that_talks_of_panic_is_no_panic() {
        assert_eq!(transcript("[a] strato: panic: at home").panic(), None);
        assert_eq!(transcript("strato: panic: core 0: oh").panic(), Some("panic: core 0: oh"));
    }

    #[test]
    fn the_last_line_is_known_and_no_guest_writes_it() {
        for last in [
            "strato: all guests ended, 1 ok, 0 failed, at 8953561 ticks",
            "strato: cannot boot: packed system refused: checksum: wrong",
            "strato: entered at EL1, but it must be entered at EL2",
            "strato: panic: all cores stopped",
            "strato: panic: cores that did not stop: 2",
            "strato: panic: panic while reporting a panic",
        ] {
            assert!(is_last(last), "{last}");
            assert!(!is_last(&format!("[a] {last}")), "{last}");
        }
        for other in ["strato: audit: all memory is back", "strato: panic: at hyp/src/a.rs:1", "all guests ended, 1 ok"]
        {
            assert!(!is_last(other), "{other}");
        }
    }

    #[test]
    fn numbers_are_found_between_their_words() {
        let t = transcript("strato: first guest instruction at 281234 ticks");
        assert_eq!(t.number("first guest instruction at ", " ticks"), Some(281_234));
        assert_eq!(t.number("second guest instruction at ", " ticks"), None);
    }

    #[test]
    fn one_core_is_counted_to_power_off_and_several_to_the_last_line_unless_the_clock_jumped() {
        let t = transcript("[a] strato: 0 failed, at 1 ticks\nstrato: all guests ended, 1 ok, 0 failed, at 1000 ticks");
        assert_eq!(t.instructions(1, 1_200), Some(1_200));
        assert_eq!(t.instructions(1, 900), Some(900));
        assert_eq!(t.instructions(4, 1_200), Some(1_000));
        assert_eq!(t.instructions(4, 900), None);
        assert_eq!(transcript("strato: cannot boot").instructions(4, 900), None);
    }
}
