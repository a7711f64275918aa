//! Follow: the last step of an address that a guest talks about. A guest knows what its own tables say, and which byte of
//! its memory that is (AS.QUERY); where the memory stands, only boot's report says. Called by `commands::boot`.

use super::facts::{self, Facts};
use crate::transcript::Line;

/// What a guest writes behind a guest-physical address: the byte of its own memory, in hexadecimal.
const BEGIN: &str = "(ram + 0x";
const END: char = ')';

/// Reads boot's report as it comes by, and says where the guests' addresses are.
#[derive(Debug, Default)]
pub struct Follower {
    said: Vec<String>,
    facts: Option<Facts>,
}

impl Follower {
    /// Returns the line as it is shown, with the physical address behind it when a guest named a byte of its memory; `None` for
    /// a line of the report.
    ///
    /// # Errors
    /// The report is not whole, or a guest named what it does not have.
    pub fn line(&mut self, line: &str) -> Result<Option<String>, String> {
        match Line::parse(line) {
            Line::Hypervisor(text) if text.starts_with("report: ") => {
                self.said.push(text.to_owned());
                if text == facts::END {
                    self.facts = Some(facts::read(self.said.iter().map(String::as_str))?);
                }
                Ok(None)
            }
            Line::Guest { label, text } => {
                let Some(offset) = offset(text) else { return Ok(Some(line.to_owned())) };
                let place = self.physical(label, offset).ok_or_else(|| format!("not in its memory: {line}"))?;
                Ok(Some(format!("{line} -> physical {place:#x}")))
            }
            Line::Hypervisor(_) | Line::Other(_) => Ok(Some(line.to_owned())),
        }
    }

    // `ram` is the first handle of each VM, and one range of physical memory.
    fn physical(&self, label: &str, offset: u64) -> Option<u64> {
        let vm = self.facts.as_ref()?.vms.iter().find(|vm| vm.label == label)?;
        let ram = &vm.held.iter().find(|held| held.index == 0)?.range;
        ram.start.checked_add(offset).filter(|place| ram.contains(place))
    }
}

fn offset(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once(BEGIN)?;
    let (digits, rest) = rest.split_once(END)?;
    rest.is_empty().then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower() -> Follower {
        let mut follower = Follower::default();
        for line in [
            "strato: report: ram 40000000 60000000",
            "strato: report: vm 0",
            "strato: report: label a",
            "strato: report: handle 0 1 50000000 1 3",
            "strato: report: handle 0 0 48000000 10 f",
            "strato: report: end",
        ] {
            assert_eq!(follower.line(line), Ok(None));
        }
        follower
    }

    #[test]
    fn a_byte_of_a_vms_memory_is_followed_by_where_it_stands() {
        let mut follower = follower();
        let line = "[a] data: guest-physical 0x40001000 (ram + 0x1000)";
        assert_eq!(follower.line(line), Ok(Some(format!("{line} -> physical 0x48001000"))));
        for other in ["[a] (ram + 0x10) and more", "strato: x (ram + 0x10)", "x (ram + 0x10)", "[a] hello"] {
            assert_eq!(follower.line(other), Ok(Some(other.into())));
        }
    }

    #[test]
    fn what_a_vm_does_not_have_is_no_address() {
        for line in ["[a] x (ram + 0x10000)", "[a] x (ram + 0xffffffffffffffff)", "[b] x (ram + 0x0)"] {
            assert!(follower().line(line).unwrap_err().contains(line));
        }
        assert!(Follower::default().line("[a] x (ram + 0x0)").is_err(), "without a report");
        let mut follower = Follower::default();
        assert_eq!(follower.line("strato: report: map 0 0 0 0 0"), Ok(None));
        assert!(follower.line("strato: report: end").is_err());
    }
}
