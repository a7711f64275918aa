//! Room `lint`: rules of the code base that no compiler checks, on the source and on what was built from it.
//! Owns the rules; each gets text and returns findings. Never changes a file.

use std::fmt;

pub mod barriers;
pub mod code;
pub mod guests;
pub mod hypervisor;
pub mod layers;
pub mod listing;
pub mod source;
pub mod words;

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// File or program, and line or function.
    pub place: String,
    /// Name of the rule.
    pub rule: &'static str,
    /// What is wrong, and what to do.
    pub message: String,
    /// Whether it fails the check; a warning does not.
    pub is_error: bool,
}

impl Finding {
    /// Returns an error at a line of a file.
    #[must_use]
    pub fn error(path: &str, line: usize, rule: &'static str, message: impl Into<String>) -> Self {
        Self { place: format!("{path}:{line}"), rule, message: message.into(), is_error: true }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = if self.is_error { "error" } else { "warning" };
        write!(f, "{}: {level}: {}: {}", self.place, self.rule, self.message)
    }
}

/// A file has fewer lines, or the check fails.
pub const LINES_MAX: usize = 500;
/// A file has fewer lines, or there is a warning.
pub const LINES_GOOD: usize = 300;

/// Returns whether a file is too long.
#[must_use]
pub fn length(path: &str, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    let finding = |is_error, limit| Finding {
        place: path.to_owned(),
        rule: "length",
        message: format!("{lines} lines; a file has fewer than {limit}: split the room"),
        is_error,
    };
    if lines >= LINES_MAX {
        Some(finding(true, LINES_MAX))
    } else {
        (lines >= LINES_GOOD).then(|| finding(false, LINES_GOOD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_a_warning_and_a_very_long_one_an_error() {
        let lines = |count: usize| length("a.rs", &"x\n".repeat(count)).map(|finding| finding.is_error);
        assert_eq!([lines(299), lines(300), lines(499), lines(500)], [None, Some(false), Some(false), Some(true)]);
    }
}
