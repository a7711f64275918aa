//! Rules on the hypervisor's instructions: no FP outside of its save and restore, a barrier behind every ERET, the guard at the
//! start of every guarded vector, no maintenance by set and way, errata on every core. Called by the command with a listing.

use super::Finding;
use super::listing::Instruction;

/// Symbols that save and restore the FP registers of a vCPU begin so.
const FP_SYMBOLS: &str = "arch_fp_";

/// Tables of vectors with a guard against branch history begin so.
const GUARDED_SYMBOLS: &str = "arch_vectors_guarded";
/// Where the vectors of lower exception levels stand in a table, and how far apart.
const LOWER_LEVELS: std::ops::Range<u64> = 0x400..0x800;
const VECTOR_BYTES: u64 = 0x80;
/// How such a vector begins: the registers that the guard needs are saved, then a loop of taken branches and its barriers.
const GUARD: [&str; 7] = ["stp", "mov", "b", "subs", "b.ne", "dsb", "isb"];

/// Ways of a core into EL2's final map where the firmware leaves errata to us: the booted one's, and that out of a spin table. Firmware
/// with PSCI, which is the third, has done it.
const ERRATA_WAYS: [&str; 2] = ["arch_switch_map", "arch_spin"];
/// What each of them has: CPUACTLR_EL1 is written.
const ERRATA: &str = "msr S3_1_C15_C2_0,";

/// Returns what the hypervisor's instructions break.
#[must_use]
pub fn check(program: &str, instructions: &[Instruction]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let instructions: Vec<&Instruction> = instructions.iter().filter(|instruction| !instruction.is_data()).collect();
    for (at, instruction) in instructions.iter().copied().enumerate() {
        let mut add = |rule, message: &str| findings.push(finding(program, instruction, rule, message));
        if uses_fp(instruction) && !instruction.symbol.starts_with(FP_SYMBOLS) {
            add("fp", "FP and SIMD registers belong to the guest");
        }
        let next = |n: usize| instructions.get(at + n).map(|i| i.text.as_str());
        if instruction.mnemonic().starts_with("eret") && !is_barrier(next(1), next(2)) {
            add("eret", "put SB, or DSB and ISB, right behind it: the core may speculate past it");
        }
        if is_set_way(&instruction.text) {
            add("set_way", "maintenance by set and way does not reach other cores; maintain by address");
        }
    }
    findings.extend(unguarded(&instructions).map(|at| {
        finding(program, at, "guard", "a guarded vector begins with the loop over branch history and its barriers")
    }));
    for way in ERRATA_WAYS {
        let of_way = || instructions.iter().copied().filter(|instruction| instruction.symbol == way);
        if let Some(first) = of_way().next().filter(|_| !of_way().any(|i| i.text.starts_with(ERRATA))) {
            findings.push(finding(program, first, "errata", "a core that comes this way does not set CPUACTLR_EL1"));
        }
    }
    findings
}

/// Returns the first instruction of each vector of a guarded table that does not begin with [`GUARD`].
fn unguarded<'i>(instructions: &'i [&'i Instruction]) -> impl Iterator<Item = &'i Instruction> {
    let is_guarded = |at: usize| {
        let begins = instructions.get(at..).unwrap_or_default().iter().map(|i| i.mnemonic());
        begins.take(GUARD.len()).eq(GUARD)
    };
    let mut table = ("", 0);
    instructions.iter().copied().enumerate().filter_map(move |(at, instruction)| {
        if table.0 != instruction.symbol {
            table = (instruction.symbol.as_str(), instruction.address);
        }
        let offset = instruction.address.wrapping_sub(table.1);
        let is_vector = instruction.symbol.starts_with(GUARDED_SYMBOLS)
            && LOWER_LEVELS.contains(&offset)
            && offset.is_multiple_of(VECTOR_BYTES);
        (is_vector && !is_guarded(at)).then_some(instruction)
    })
}

/// Returns a finding at an instruction.
#[must_use]
pub fn finding(program: &str, at: &Instruction, rule: &'static str, message: &str) -> Finding {
    let place = format!("{program}: {:#x} in {}", at.address, at.symbol);
    Finding { place, rule, message: format!("`{}`: {message}", at.text), is_error: true }
}

fn uses_fp(instruction: &Instruction) -> bool {
    instruction.operands().any(|operand| matches!(operand, "FPCR" | "FPSR") || is_fp_register(operand))
}

// `v0.16b`, `q31`, `d8`, `s0`, `h0`, `b0`; system registers such as `s3_0_c1_c0_0` have no plain number.
fn is_fp_register(operand: &str) -> bool {
    let name = operand.split('.').next().unwrap_or_default();
    let number = name.strip_prefix(['v', 'q', 'd', 's', 'h', 'b']);
    number.and_then(|number| number.parse::<u8>().ok()).is_some_and(|number| number < 32)
}

fn is_barrier(first: Option<&str>, second: Option<&str>) -> bool {
    match first {
        Some("sb") => true,
        Some(text) => text.starts_with("dsb") && second.is_some_and(|text| text.starts_with("isb")),
        None => false,
    }
}

fn is_set_way(text: &str) -> bool {
    ["dc isw", "dc csw", "dc cisw"].iter().any(|start| text.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::super::listing::parse;
    use super::*;

    fn rules(listing: &str) -> Vec<&'static str> {
        check("hyp", &parse(listing)).iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn fp_is_for_its_save_and_restore_only() {
        for text in ["stp q0, q1, [x0]", "fmov d0, x1", "movi v0.2d, #0", "ldr b3, [x1]", "mrs x0, FPCR"] {
            assert_eq!(rules(&format!("0 <f>:\n 0: {text}\n")), ["fp"], "{text}");
            assert_eq!(rules(&format!("0 <arch_fp_save>:\n 0: {text}\n")), Vec::<&str>::new(), "{text}");
        }
        for text in ["bl 0x10 <d0>", "mov x0, #0xd0", "msr S3_1_C15_C2_0, x0", "b 0xb0", "add x1, x2, #0x10"] {
            assert_eq!(rules(&format!("0 <f>:\n 0: {text}\n")), Vec::<&str>::new(), "{text}");
        }
    }

    #[test]
    fn a_barrier_stands_behind_every_eret() {
        assert_eq!(rules("0 <f>:\n 0: eret\n 4: sb\n"), Vec::<&str>::new());
        assert_eq!(rules("0 <f>:\n 0: eret\n 4: dsb nsh\n 8: isb\n"), Vec::<&str>::new());
        assert_eq!(rules("0 <f>:\n 0: eret\n 4: dsb nsh\n 8: nop\n"), ["eret"]);
        assert_eq!(rules("0 <f>:\n 0: eret\n"), ["eret"]);
    }

    #[test]
    fn a_guarded_vector_begins_with_the_guard() {
        let vector = |name: &str, second: &str| {
            format!(
                "0 <{name}>:\n 800: mov x17, #0\n c00: stp x29, x30, [sp]\n c04: {second}\n c08: b 0xc0c\n c0c: subs x30, x30, #1\n \
                 c10: b.ne 0xc08\n c14: dsb nsh\n c18: isb\n c1c: b 0x2000\n"
            )
        };
        assert_eq!(rules(&vector("arch_vectors_guarded", "mov x30, #8")), Vec::<&str>::new());
        assert_eq!(rules(&vector("arch_vectors_guarded_long", "str x18, [sp]")), ["guard"]);
        assert_eq!(rules(&vector("arch_vectors", "str x18, [sp]")), Vec::<&str>::new());
    }

    #[test]
    fn every_core_sets_what_its_errata_ask_for() {
        for way in ["arch_switch_map", "arch_spin"] {
            assert_eq!(rules(&format!("0 <{way}>:\n 0: ret\n")), ["errata"]);
            assert_eq!(rules(&format!("0 <{way}>:\n 0: msr S3_1_C15_C2_0, x2\n 4: ret\n")), Vec::<&str>::new());
        }
    }

    #[test]
    fn maintenance_by_set_and_way_is_an_error() {
        assert_eq!(rules("0 <f>:\n 0: dc cisw, x0\n 4: dc civac, x0\n"), ["set_way"]);
    }
}
