//! Words that may stand in some places only: `unsafe` and assembly, system registers, `spin_loop`, `target_arch`.
//! Called by `source`.

use super::Finding;
use super::code::lines_with_word;

const METHODS: [&str; 5] = ["get", "set", "read", "write", "modify"];

/// Returns what breaks a rule in `code` (bare, tests included).
#[must_use]
pub fn check(path: &str, code: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |rule, lines: &mut dyn Iterator<Item = usize>, message: &str| {
        findings.extend(lines.map(|line| Finding::error(path, line, rule, message)));
    };
    if !in_arch(path) {
        // `#[unsafe(no_mangle)]` is an attribute: rustc's own lint finds it, and a macro for guests may need it.
        let code = &code.replace("#[unsafe(", "#[attribute(");
        for word in ["unsafe", "asm!", "global_asm!", "naked_asm!"] {
            let message = format!("`{word}` belongs into an arch folder, behind a safe function");
            add("unsafe", &mut lines_with_word(code, word), &message);
        }
        let message = "a system register is read and written in arch; other rooms get its value";
        add("registers", &mut register_lines(code), message);
    }
    let message = "spin_loop is ISB on this target and starves counted runs; relax with YIELD, park in WFI";
    add("spin_loop", &mut lines_with_word(code, "spin_loop"), message);
    let message = "ask for `target_os = \"none\"`: a PC may have the same architecture";
    add("target_arch", &mut lines_with_word(code, "target_arch"), message);
    findings
}

/// Returns whether the file is in a folder called `arch`.
#[must_use]
pub fn in_arch(path: &str) -> bool {
    path.split('/').rev().skip(1).any(|folder| folder == "arch")
}

// `HCR_EL2.set(`: aarch64-cpu's accessors are safe functions, so the compiler does not see them.
fn register_lines(code: &str) -> impl Iterator<Item = usize> {
    code.lines()
        .zip(1..)
        .filter(|(line, _)| line.match_indices("_EL").any(|(at, _)| is_access(line, at)))
        .map(|(_, n)| n)
}

fn is_access(line: &str, at: usize) -> bool {
    let rest = line.get(at + 3..).unwrap_or_default();
    let Some(method) = rest.get(1..).and_then(|rest| rest.strip_prefix('.')) else { return false };
    rest.starts_with(['0', '1', '2', '3']) && METHODS.iter().any(|name| method.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, code: &str) -> Vec<&'static str> {
        check(path, code).iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn unsafe_and_assembly_belong_into_arch() {
        assert_eq!(rules("guest-sdk/src/entry.rs", "#[unsafe(no_mangle)]"), Vec::<&str>::new());
        let code = "unsafe { x() }\nglobal_asm!(a);\ncore::arch::asm!(b);";
        assert_eq!(rules("hyp/src/vm/mod.rs", code), ["unsafe", "unsafe", "unsafe"]);
        assert_eq!(rules("hyp/src/arch/run.rs", code), Vec::<&str>::new());
        assert_eq!(rules("hyp/src/arch/fake/run.rs", code), Vec::<&str>::new());
        assert_eq!(rules("hyp/src/arch.rs", "unsafe {}"), ["unsafe"]);
    }

    #[test]
    fn system_registers_belong_into_arch() {
        for code in ["HCR_EL2.set(0)", "ESR_EL2.read(x)", "TCR_EL1.modify(y)", "CNTFRQ_EL0.get()"] {
            assert_eq!(rules("hyp/src/vm/mod.rs", code), ["registers"], "{code}");
            assert_eq!(rules("hyp/src/arch/el2.rs", code), Vec::<&str>::new(), "{code}");
        }
        assert_eq!(rules("hyp/src/vm/mod.rs", "esr.read(ESR_EL2::EC)"), Vec::<&str>::new());
    }

    #[test]
    fn spin_loop_and_target_arch_belong_nowhere() {
        assert_eq!(rules("hyp/src/arch/run.rs", "core::hint::spin_loop();"), ["spin_loop"]);
        assert_eq!(rules("hyp/src/arch/mod.rs", "#[cfg(target_arch = x)]"), ["target_arch"]);
        assert_eq!(rules("hyp/src/arch/mod.rs", "#[cfg(target_os = x)]"), Vec::<&str>::new());
    }
}
