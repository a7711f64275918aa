//! How a transcript looks on a terminal: each VM's lines with its name in a color of its own, the hypervisor's dimmed.
//! Called by `run` and `test`. `anstream` drops the colors where they do not belong (no terminal, `NO_COLOR`).

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::Line;

const COLORS: [AnsiColor; 6] =
    [AnsiColor::Cyan, AnsiColor::Green, AnsiColor::Magenta, AnsiColor::Yellow, AnsiColor::Blue, AnsiColor::BrightCyan];

/// Colors by label.
#[derive(Clone, Debug)]
pub struct Palette(Vec<String>);

impl Palette {
    /// Returns a palette for these VMs, in their order.
    #[must_use]
    pub fn new(labels: impl IntoIterator<Item = String>) -> Self {
        Self(labels.into_iter().collect())
    }

    /// Returns the line with colors; without them it is the very line.
    #[must_use]
    pub fn paint(&self, line: &str) -> String {
        let (style, head, rest) = match Line::parse(line) {
            Line::Hypervisor(text) if text.starts_with("panic") => (AnsiColor::Red.on_default().bold(), line, ""),
            Line::Hypervisor(_) => (Style::new().dimmed(), line, ""),
            Line::Guest { label, .. } => {
                let (head, rest) = line.split_at_checked(label.len() + 2).unwrap_or((line, ""));
                (self.color(label).on_default().bold(), head, rest)
            }
            Line::Other(_) => return line.to_owned(),
        };
        let mut painted = String::new();
        // Writing to a string cannot fail.
        let _ = write!(painted, "{style}{head}{style:#}{rest}");
        painted
    }

    fn color(&self, label: &str) -> AnsiColor {
        let number = self.0.iter().position(|name| name == label).unwrap_or(0);
        COLORS.iter().cycle().nth(number).copied().unwrap_or(AnsiColor::Cyan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(painted: &str) -> String {
        anstream::adapter::strip_str(painted).to_string()
    }

    #[test]
    fn without_colors_every_line_is_the_very_line() {
        let palette = Palette::new(["ping".into(), "pong".into()]);
        for line in ["[ping] hello", "[pong]", "strato: panic: no", "strato: up", "other", "[x", "", "[\u{e9}] x"] {
            assert_eq!(plain(&palette.paint(line)), line);
        }
    }

    #[test]
    fn two_vms_have_two_colors() {
        let palette = Palette::new(["ping".into(), "pong".into()]);
        let color = |label: &str| palette.paint(&format!("[{label}] x")).replace(label, "");
        assert_ne!(color("ping"), color("pong"));
    }
}
