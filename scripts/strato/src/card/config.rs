//! config.txt as the firmware reads it: sections, the last of several lines, what is cut off. Called by `doctor`.
//! Source: Raspberry Pi documentation, "config.txt", and there "Conditional filters". Not read: files that `include` names.

use super::{CONFIG, Finding};

/// Characters of a line that the firmware reads.
pub const LINE_MAX: usize = 98;

/// A line that sets something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number, from 1.
    pub number: usize,
    /// What it sets.
    pub key: String,
    /// To what.
    pub value: String,
}

/// What the file says to a Raspberry Pi 4 Model B.
#[derive(Clone, Debug, Default)]
pub struct Config {
    lines: Vec<Line>,
    /// What is odd about the text itself.
    pub findings: Vec<Finding>,
}

/// Whether lines count on this board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    Yes,
    No,
    /// By a pin, a monitor or a serial number, which the file does not tell.
    Sometimes,
}

const THIS: [&str; 1] = ["pi4"];
const OTHERS: [&str; 17] = [
    "pi0", "pi0w", "pi02", "pi1", "pi2", "pi3", "pi3+", "pi400", "pi5", "pi500", "cm0", "cm1", "cm3", "cm3+", "cm4",
    "cm4s", "cm5",
];
// Filters by other things than the model begin with one of these.
const CONDITIONS: [&str; 8] = ["gpio", "edid", "hdmi", "0x", "board-type", "tryboot", "partition", "bootvar"];

/// The filters that stand above a line: of each kind the last counts, and all have to hold.
#[derive(Clone, Copy)]
struct Filters {
    model: bool,
    is_conditional: bool,
}

impl Filters {
    const NONE: Self = Self { model: true, is_conditional: false };

    fn counts(self) -> Counts {
        match (self.model, self.is_conditional) {
            (false, _) => Counts::No,
            (true, true) => Counts::Sometimes,
            (true, false) => Counts::Yes,
        }
    }

    /// Takes a section's name, or returns `None` when it is not known.
    fn take(self, name: &str) -> Option<Self> {
        let name = name.trim().to_lowercase();
        match name.as_str() {
            "all" => Some(Self::NONE),
            "none" => Some(Self { model: false, ..self }),
            name if THIS.contains(&name) => Some(Self { model: true, ..self }),
            name if OTHERS.contains(&name) => Some(Self { model: false, ..self }),
            name if CONDITIONS.iter().any(|start| name.starts_with(start)) => {
                Some(Self { is_conditional: true, ..self })
            }
            _ => None,
        }
    }
}

impl Config {
    /// Returns what `text` says.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut config = Self::default();
        let mut filters = Filters::NONE;
        for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            if let Some(section) = trimmed.strip_prefix('[') {
                let section = section.trim_end_matches(']');
                filters = filters.take(section).unwrap_or_else(|| {
                    config.odd(
                        number,
                        &format!("the section `[{section}]` is not known"),
                        "[all], [pi4], or another filter of the firmware",
                        "correct its name; whether the lines below it count is not known",
                    );
                    Filters { is_conditional: true, ..filters }
                });
                continue;
            }
            config.take(number, line, filters.counts());
        }
        config
    }

    fn take(&mut self, number: usize, line: &str, counts: Counts) {
        if counts == Counts::No {
            return;
        }
        let line = line.trim();
        if line.split_whitespace().next() == Some("include") {
            let fix = "put its lines into config.txt, or check them yourself: they are not looked at";
            return self.odd(number, "`include` is not followed", "every line in config.txt itself", fix);
        }
        if line.starts_with("initramfs ") {
            return;
        }
        let Some((key, value)) = line.split_once('=') else {
            return self.odd(number, &format!("`{line}` sets nothing"), "name=value", "correct it, or take it out");
        };
        if line.chars().count() > LINE_MAX {
            let what = format!("the line has {} characters", line.chars().count());
            let expected = format!("at most {LINE_MAX}: the firmware cuts off the rest");
            self.odd(number, &what, &expected, "shorten it");
        }
        if key.ends_with(char::is_whitespace) || value.starts_with(char::is_whitespace) {
            self.odd(number, &format!("`{line}` has spaces around its `=`"), "name=value", "take them out");
        }
        let (key, value) = (key.trim().to_lowercase(), value.trim().to_owned());
        if counts == Counts::Sometimes {
            let what = format!("`{key}` is set for some pins, monitors, serial numbers or boots only");
            return self.odd(number, &what, "the line under [all]", "move it there; it is not looked at here");
        }
        self.lines.push(Line { number, key, value });
    }

    fn odd(&mut self, number: usize, what: &str, expected: &str, fix: &str) {
        self.findings.push(Finding::error(format!("{CONFIG}:{number}"), what, expected, fix).as_warning());
    }

    /// Returns every line that sets `key` on this board.
    #[must_use]
    pub fn all(&self, key: &str) -> Vec<&Line> {
        self.lines.iter().filter(|line| line.key == key).collect()
    }

    /// Returns the line that sets `key`, which is the last one.
    #[must_use]
    pub fn last(&self, key: &str) -> Option<&Line> {
        self.lines.iter().rfind(|line| line.key == key)
    }

    /// Returns the file that `key` names, or `default`.
    #[must_use]
    pub fn file(&self, key: &str, default: &str) -> String {
        self.last(key).filter(|line| !line.value.is_empty()).map_or_else(|| default.into(), |line| line.value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<String> {
        Config::read(text).last("a").map(|line| line.value.clone())
    }

    #[test]
    fn the_last_line_counts() {
        assert_eq!(value("a=1\nb=3\na=2\n").as_deref(), Some("2"));
        assert_eq!(value("# a=1\n\r\n a=2\r\n").as_deref(), Some("2"));
        assert_eq!(value(""), None);
    }

    #[test]
    fn lines_of_other_models_do_not_count() {
        assert_eq!(value("a=1\n[pi3]\na=2\n[cm4]\na=3\n[none]\na=4\n").as_deref(), Some("1"));
        assert_eq!(value("a=1\n[pi3]\na=2\n[pi4]\na=3\n").as_deref(), Some("3"));
        assert_eq!(value("[PI3]\n[all]\na=5").as_deref(), Some("5"));
    }

    #[test]
    fn what_counts_sometimes_is_said_and_not_taken() {
        let config = Config::read("a=1\n[gpio4=1]\n[pi4]\na=2\n[pi3]\na=3\n[all]\n");
        assert_eq!(config.last("a").map(|line| line.number), Some(1));
        assert_eq!(config.findings.len(), 1);
        assert_eq!(config.findings[0].place, "config.txt:4");
    }

    #[test]
    fn what_is_odd_is_said() {
        let long = format!("a={}", "x".repeat(97));
        let odd = ["include extra.txt", "arm_64bit", "a = 1", "[pi44]", &long];
        for line in odd {
            assert_eq!(Config::read(line).findings.len(), 1, "{line}");
        }
        let fine = ["initramfs initrd.img followkernel", &long[..98], "dtparam=audio=on", "[gpio4=1]"];
        for line in fine {
            assert_eq!(Config::read(line).findings, [], "{line}");
        }
    }
}
