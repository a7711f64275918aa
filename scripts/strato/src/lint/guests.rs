//! Rules on guests' instructions: a system instruction has to be in the guest library's list, with its reason.
//! Called by the command with the list and a listing.

use super::Finding;
use super::hypervisor::finding;
use super::listing::Instruction;
use crate::glob;

/// Mnemonics that talk to the system. Barriers, YIELD, NOP and CLREX are ordinary.
const SYSTEM: [&str; 28] = [
    "msr", "mrs", "msrr", "mrrs", "sys", "sysl", "sysp", "hvc", "smc", "svc", "eret", "eretaa", "eretab", "drps",
    "wfi", "wfe", "wfit", "wfet", "sev", "sevl", "at", "tlbi", "tlbip", "dc", "ic", "cfp", "dvp", "hlt",
];
/// Most lines of the list.
const LIST_MAX: usize = 20;
/// The one guest that may have a list of its own: it attacks, so it needs what no other guest may have.
pub const ATTACKER: &str = "hostile";

/// The system instructions that guests may have.
#[derive(Clone, Debug, Default)]
pub struct Allowed(Vec<String>);

impl Allowed {
    /// Returns the list in `text`: a pattern and a reason on each line, a tab between; `#` begins a comment.
    #[must_use]
    pub fn read(path: &str, text: &str) -> (Self, Vec<Finding>) {
        let mut allowed = Self::default();
        let mut findings = Vec::new();
        let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty() && !line.starts_with('#'));
        for (line, number) in lines {
            match line.split_once('\t') {
                Some((pattern, reason)) if !reason.trim().is_empty() => allowed.0.push(pattern.trim().to_lowercase()),
                _ => findings.push(Finding::error(path, number, "list", "write a pattern, a tab and the reason")),
            }
            if allowed.0.len() == LIST_MAX + 1 {
                let message = format!("more than {LIST_MAX} lines; make a call instead");
                findings.push(Finding::error(path, number, "list", message));
            }
        }
        (allowed, findings)
    }

    /// Returns this list with the one that `guest` brings in the file at `path`, if it may.
    #[must_use]
    pub fn with_own(mut self, guest: &str, path: &str, text: &str) -> (Self, Vec<Finding>) {
        if guest != ATTACKER {
            let message = format!("only the guest `{ATTACKER}` may have a list of its own; make a call instead");
            return (self, vec![Finding::error(path, 1, "list", message)]);
        }
        let (own, findings) = Self::read(path, text);
        self.0.extend(own.0);
        (self, findings)
    }

    /// Returns this list with the one for guests that run an MMU of their own, in the file at `path`: what they are for is
    /// privileged by definition. It is as short as the other.
    #[must_use]
    pub fn with_native(mut self, path: &str, text: &str) -> (Self, Vec<Finding>) {
        let (native, findings) = Self::read(path, text);
        self.0.extend(native.0);
        (self, findings)
    }

    fn has(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.0.iter().any(|pattern| glob::matches(pattern, &text))
    }
}

/// Returns the system instructions of a guest that are not in the list, and the data in its text.
#[must_use]
pub fn check(program: &str, instructions: &[Instruction], allowed: &Allowed) -> Vec<Finding> {
    let judge = |instruction: &Instruction| {
        if instruction.is_data() {
            return Some("data in a guest's text may be a system instruction that nobody sees; keep it in .rodata");
        }
        let is_refused = SYSTEM.contains(&instruction.mnemonic()) && !allowed.has(&instruction.text);
        is_refused.then_some(if program == ATTACKER {
            "this system instruction is neither in guest-sdk/allowed-instructions.txt nor in the guest's own list"
        } else {
            "this system instruction is not in guest-sdk/allowed-instructions.txt; use a call"
        })
    };
    instructions.iter().filter_map(|at| Some(finding(program, at, "guest", judge(at)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::listing::parse;
    use super::*;

    const LIST: &str = "# what guests may do\nmrs *, CNTVCT_EL0\ttime costs no call\nhvc #0*\tthe one call\n";
    const LISTING: &str = "0 <f>:
 0: hvc #0x0
 4: mrs x3, CNTVCT_EL0
 8: mrs x3, MIDR_EL1
 c: add x0, x0, #1
10: dsb sy
14: tlbi vmalle1
18: svc #0
";

    #[test]
    fn an_unlisted_system_instruction_is_an_error() {
        let (allowed, findings) = Allowed::read("list.txt", LIST);
        assert_eq!(findings, Vec::new());
        let places: Vec<String> = check("hello", &parse(LISTING), &allowed).into_iter().map(|f| f.place).collect();
        assert_eq!(places, ["hello: 0x8 in f", "hello: 0x14 in f", "hello: 0x18 in f"]);
    }

    #[test]
    fn the_attacker_alone_may_bring_a_list_of_its_own() {
        let own = "mrs *, MIDR_EL1\tit looks\ntlbi *\tit tries\n";
        for (guest, places) in [("hostile", vec!["hostile: 0x18 in f"]), ("hello", vec!["own.txt:1"])] {
            let (allowed, mut findings) = Allowed::read("list.txt", LIST).0.with_own(guest, "own.txt", own);
            if findings.is_empty() {
                findings = check(guest, &parse(LISTING), &allowed);
            }
            assert_eq!(findings.iter().map(|f| f.place.as_str()).collect::<Vec<_>>(), places);
        }
    }

    #[test]
    fn a_guest_with_an_mmu_of_its_own_has_the_lines_for_that_besides() {
        let native = "tlbi VMALLE1\tforgets what the tables said\nsvc *\n";
        let (allowed, findings) = Allowed::read("list.txt", LIST).0.with_native("native.txt", native);
        assert_eq!(findings.iter().map(|f| f.place.as_str()).collect::<Vec<_>>(), ["native.txt:2"]);
        let places: Vec<String> = check("two", &parse(LISTING), &allowed).into_iter().map(|f| f.place).collect();
        assert_eq!(places, ["two: 0x8 in f", "two: 0x18 in f"]);
    }

    #[test]
    fn data_in_the_text_is_an_error_since_it_may_be_an_instruction() {
        let listing = "0 <f>:\n 0: 1f 87 08 d5  \t.word\t0xd508871f\n 4: <unknown>\n 8: nop\n";
        let findings = check("hello", &parse(listing), &Allowed::default());
        assert_eq!(
            findings.iter().map(|f| f.place.as_str()).collect::<Vec<_>>(),
            ["hello: 0x0 in f", "hello: 0x4 in f"]
        );
    }

    #[test]
    fn a_line_without_a_reason_is_an_error() {
        assert_eq!(Allowed::read("list.txt", "wfi\nwfe\t \n").1.len(), 2);
    }

    #[test]
    fn the_list_has_to_stay_short() {
        let lines = |count: usize| Allowed::read("list.txt", &"wfi\tit waits\n".repeat(count)).1.len();
        assert_eq!([lines(20), lines(21), lines(30)], [0, 1, 1]);
    }
}
