//! Rules on the order of the hypervisor's instructions (docs/silicon.md): what follows maintenance on every path, what comes before a core
//! sleeps or wakes another, and no loop whose only pause is an ISB. Called by the command with a listing.

use std::collections::BTreeMap;

use super::Finding;
use super::hypervisor::finding;
use super::listing::Instruction;

/// What the rest of a path has to have, behind an instruction that begins with the first text: the others, in this order.
const BEHIND: [(&str, &[&str], &str); 3] = [
    ("tlbi ", &["dsb"], "a DSB has to complete it before anything relies on it, on every path"),
    ("ic ", &["dsb", "isb"], "a DSB and an ISB have to complete it before what was fetched is gone, on every path"),
    ("dc ", &["dsb"], "a DSB has to complete it before anything relies on it, on every path"),
];
/// What the very next instruction has to be.
const NEXT: [(&str, &str, &str); 2] = [
    ("at ", "isb", "an ISB right behind it: PAR_EL1 says nothing before that"),
    ("msr SCTLR_EL2,", "isb", "an ISB right behind it: nothing may run half under the old and half under the new"),
];
/// What has to stand in front of an instruction, and within how many: a barrier for what was written before.
const BEFORE: [(&str, usize, &str); 2] = [
    ("sev", 24, "a DSB before it: what the woken core looks for is written"),
    ("wfi", 1, "a DSB right before it: what was written is seen"),
];
/// Dead ends: a core that comes here never goes on, and nobody waits for what it wrote.
const DEAD_ENDS: [&str; 2] = ["arch_stop", "arch_own_el_exception"];
/// Functions of crates that wait so, inlined into ours, and why that is no harm. CONTRIBUTING.md says why a wait of ours may not.
const WAITS: [(&str, &str); 3] = [
    (
        "gic::Gic::init_core",
        "arm-gic waits for the redistributor that wakes: one core, at boot, a register of a device",
    ),
    ("boot::cold", "arm-gic waits for the distributor, spin's Once for itself: one core, at boot"),
    ("spin::once::Once", "the machine is published once, before other cores are started: nobody waits"),
];

/// What an ISB may order: a loop with one of these in it is no mere pause.
const ORDERED: [&str; 13] = ["msr", "mrs", "tlbi", "dsb", "dmb", "wfi", "wfe", "yield", "ic", "dc", "at", "hvc", "smc"];
const CALLS: [&str; 2] = ["bl", "blr"];
const EXITS: [&str; 4] = ["ret", "br", "eret", "brk"];

/// The instructions of a program, and which follows which.
struct Program<'i> {
    code: Vec<&'i Instruction>,
    at: BTreeMap<u64, usize>,
}

/// Returns what the hypervisor's instructions break.
#[must_use]
pub fn check(program: &str, instructions: &[Instruction]) -> Vec<Finding> {
    let code: Vec<&Instruction> = instructions.iter().filter(|instruction| !instruction.is_data()).collect();
    let at = code.iter().enumerate().map(|(number, instruction)| (instruction.address, number)).collect();
    let whole = Program { code, at };
    let mut findings = Vec::new();
    let mut waits = WAITS.to_vec();
    for (number, instruction) in whole.code.iter().copied().enumerate() {
        let text = instruction.text.as_str();
        for (_, needed, why) in BEHIND.iter().filter(|(start, ..)| text.starts_with(start)) {
            if !whole.reaches(number, needed) {
                findings.push(finding(program, instruction, "completion", why));
            }
        }
        for (_, next, why) in NEXT.iter().filter(|(start, ..)| text.starts_with(start)) {
            if whole.text(number + 1) != *next {
                findings.push(finding(program, instruction, "completion", why));
            }
        }
        for (_, within, why) in BEFORE.iter().filter(|(word, ..)| text == *word) {
            let is_dead = DEAD_ENDS.contains(&instruction.symbol.as_str());
            if !is_dead && !whole.stands_before(number, *within, "dsb") {
                findings.push(finding(program, instruction, "before", why));
            }
        }
        if text == "isb" && whole.is_pause(number) {
            let is_known = |(function, _): &(&str, &str)| instruction.symbol.contains(function);
            if WAITS.iter().any(is_known) {
                waits.retain(|wait| !is_known(wait));
            } else {
                let why = "a loop that only pauses here is a spin_loop: relax with YIELD, park in WFI";
                findings.push(finding(program, instruction, "spin", why));
            }
        }
    }
    findings.extend(waits.into_iter().map(|(function, _)| Finding {
        place: program.to_owned(),
        rule: "spin",
        message: format!("nothing waits by an ISB in `{function}` any more; take it out of WAITS in lint/barriers.rs"),
        is_error: false,
    }));
    findings
}

impl Program<'_> {
    fn text(&self, number: usize) -> &str {
        self.code.get(number).map_or("", |instruction| instruction.text.as_str())
    }

    /// Returns what may run behind an instruction, a call's own code left out; nothing behind what leaves the function.
    fn next(&self, number: usize) -> Vec<usize> {
        let Some(instruction) = self.code.get(number) else { return Vec::new() };
        let mnemonic = instruction.mnemonic();
        if EXITS.contains(&mnemonic) {
            return Vec::new();
        }
        let is_branch = mnemonic == "b" || mnemonic.starts_with("b.");
        let is_test = ["cbz", "cbnz", "tbz", "tbnz"].contains(&mnemonic);
        let mut next = Vec::new();
        if mnemonic != "b" {
            next.push(number + 1);
        }
        if is_branch || is_test {
            let target = instruction.operands().last().and_then(|operand| operand.strip_prefix("0x"));
            let target = target.and_then(|digits| u64::from_str_radix(digits, 16).ok());
            next.extend(target.and_then(|target| self.at.get(&target).copied()));
        }
        next
    }

    /// Returns whether every path behind `number` has instructions that begin with `needed`, in this order, before it leaves.
    fn reaches(&self, number: usize, needed: &[&str]) -> bool {
        let Some((first, rest)) = needed.split_first() else { return true };
        let mut seen = vec![number];
        let mut open = self.next(number);
        while let Some(number) = open.pop() {
            if seen.contains(&number) {
                continue;
            }
            seen.push(number);
            if self.text(number).starts_with(first) {
                if !self.reaches(number, rest) {
                    return false;
                }
                continue;
            }
            let next = self.next(number);
            if next.is_empty() {
                return false;
            }
            open.extend(next);
        }
        true
    }

    /// Returns whether one of the `within` instructions before `number`, in the same function, begins with `word`.
    fn stands_before(&self, number: usize, within: usize, word: &str) -> bool {
        let symbol = self.code.get(number).map(|instruction| &instruction.symbol);
        let before = self.code.get(number.saturating_sub(within)..number).unwrap_or_default();
        before.iter().rev().take_while(|earlier| Some(&earlier.symbol) == symbol).any(|i| i.text.starts_with(word))
    }

    /// Returns whether a path leads from `number` back to it with nothing in it that a barrier of its kind could order.
    fn is_pause(&self, number: usize) -> bool {
        let mut seen = Vec::new();
        let mut open = self.next(number);
        while let Some(at) = open.pop() {
            let mnemonic = self.code.get(at).map_or("", |instruction| instruction.mnemonic());
            if at == number {
                return true;
            }
            if !seen.contains(&at) && !ORDERED.contains(&mnemonic) && !CALLS.contains(&mnemonic) {
                seen.push(at);
                open.extend(self.next(at));
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::listing::parse;
    use super::*;

    fn rules(symbol: &str, lines: &[&str]) -> Vec<&'static str> {
        let lines = lines.iter().enumerate().map(|(number, line)| format!(" {:x}: {line}\n", number * 4));
        let listing = format!("0 <{symbol}>:\n{}", lines.collect::<String>());
        let findings = check("hyp", &parse(&listing)).into_iter().filter(|finding| finding.is_error);
        findings.map(|finding| finding.rule).collect()
    }

    #[test]
    fn maintenance_is_completed_on_every_path() {
        let none = Vec::<&str>::new();
        assert_eq!(rules("f", &["tlbi vmalle1is", "add x0, x0, #1", "dsb ish", "isb", "ret"]), none);
        assert_eq!(rules("f", &["tlbi vmalle1is", "cbz x0, 0xc <f+0xc>", "dsb ish", "ret"]), ["completion"]);
        assert_eq!(rules("f", &["tlbi vmalle1is", "cbz x0, 0x10 <f+0x10>", "dsb ish", "ret", "dsb ish", "ret"]), none);
        assert_eq!(rules("f", &["dc cvac, x0", "b.lo 0x0 <f>", "dsb sy", "ret"]), none);
        assert_eq!(rules("f", &["dc cvac, x0", "ret"]), ["completion"]);
        assert_eq!(rules("f", &["ic iallu", "dsb nsh", "ret"]), ["completion"]);
        assert_eq!(rules("f", &["ic iallu", "dsb nsh", "isb", "ret"]), none);
        assert_eq!(rules("f", &["msr SCTLR_EL2, x0", "isb", "ret"]), none);
        assert_eq!(rules("f", &["msr SCTLR_EL2, x0", "mov x0, x1", "isb", "ret"]), ["completion"]);
        assert_eq!(rules("f", &["at s1e1r, x0", "mrs x0, PAR_EL1", "ret"]), ["completion"]);
    }

    #[test]
    fn a_core_sleeps_and_wakes_others_behind_a_barrier() {
        assert_eq!(rules("f", &["dsb ish", "sev", "ret"]), Vec::<&str>::new());
        assert_eq!(rules("f", &["str x0, [x1]", "sev", "ret"]), ["before"]);
        assert_eq!(rules("f", &["str x0, [x1]", "wfi", "ret"]), ["before"]);
        assert_eq!(rules("f", &["dsb sy", "str x0, [x1]", "wfi", "ret"]), ["before"]);
        assert_eq!(rules("arch_stop", &["wfi", "b 0x0 <arch_stop>"]), Vec::<&str>::new());
    }

    #[test]
    fn a_loop_around_an_isb_that_orders_nothing_is_a_spin_loop() {
        let spin = ["ldr w0, [x1]", "tbz w0, #0x2, 0x10 <f+0x10>", "isb", "b 0x0 <f>", "ret"];
        assert_eq!(rules("f", &spin), ["spin"]);
        assert_eq!(rules("strato_hyp::gic::Gic::init_core", &spin), Vec::<&str>::new());
        assert_eq!(
            check("hyp", &parse("0 <f>:\n 0: isb\n 4: ret\n")).len(),
            WAITS.len(),
            "exceptions that nobody needs"
        );
        assert_eq!(rules("f", &["isb", "mrs x0, CNTPCT_EL0", "cmp x0, x1", "b.lo 0x0 <f>", "ret"]), Vec::<&str>::new());
        assert_eq!(rules("f", &["yield", "isb", "b 0x0 <f>"]), Vec::<&str>::new());
    }
}
