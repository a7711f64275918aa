//! Words that may stand in some places only: `unsafe` and assembly, system registers, `spin_loop`, `cfg`.
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
    let message = "debug_assertions chooses the page-table monitor, in hyp/src/arch/mod.rs, and nothing else";
    add("debug_assertions", &mut monitor_lines(path, code), message);
    let message =
        "cfg belongs into crate roots and arch, so that all other code is the same on a PC; and asks for target_os";
    add("cfg", &mut cfg_lines(path, code), message);
    findings
}

// Outside of arch a condition is `test` or the target; and in all but the guest library, which has entry points and test
// doubles in each of its rooms, the target is asked for in crate roots only.
fn cfg_lines(path: &str, code: &str) -> impl Iterator<Item = usize> {
    let is_root = path.ends_with("/src/lib.rs") || path.ends_with("/src/main.rs");
    let may_ask_target = is_root || path.starts_with("guest-sdk/src/");
    let is_allowed = move |condition: &str| {
        let condition = condition.strip_prefix("not(").unwrap_or(condition);
        condition.starts_with("test)") || (may_ask_target && condition.starts_with("target_os"))
    };
    let is_in_arch = in_arch(path);
    let conditions = |line: &str| {
        let starts = ["cfg(", "cfg_attr(", "cfg!("].into_iter();
        starts.flat_map(|start| line.split(start).skip(1).map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let breaks = move |line: &str| !is_in_arch && conditions(line).iter().any(|condition| !is_allowed(condition));
    code.lines().zip(1..).filter(move |(line, _)| breaks(line)).map(|(_, n)| n)
}

// What a checked image has and a release image does not is one decision in one place: else the two would drift apart.
fn monitor_lines(path: &str, code: &str) -> impl Iterator<Item = usize> {
    let is_place = path == "hyp/src/arch/mod.rs";
    lines_with_word(code, "debug_assertions").filter(move |_| !is_place)
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

    #[test]
    fn conditions_stand_in_crate_roots_and_arch_and_ask_for_the_target() {
        for path in ["hyp/src/lib.rs", "hyp/src/main.rs", "hyp/src/arch/mod.rs", "guest-sdk/src/entry.rs"] {
            for code in ["#[cfg(target_os = x)]", "#[cfg(not(target_os = x))]", "#![cfg_attr(target_os = x, no_std)]"] {
                assert_eq!(rules(path, code), Vec::<&str>::new(), "{path}: {code}");
            }
        }
        for path in ["hyp/src/vm/mod.rs", "abi/src/call.rs", "example-guests/bench/src/partner.rs"] {
            assert_eq!(rules(path, "#[cfg(test)]\nmod tests {}"), Vec::<&str>::new(), "{path}");
            assert_eq!(rules(path, "if cfg!(target_os = x) {}"), ["cfg"], "{path}");
        }
        for code in ["#[cfg(feature = x)]", "#[cfg_attr(miri, ignore)]"] {
            assert_eq!(rules("guest-sdk/src/entry.rs", code), ["cfg"], "{code}");
        }
        assert_eq!(rules("hyp/src/arch/fake/backing.rs", "cfg!(miri)"), Vec::<&str>::new());
    }

    #[test]
    fn debug_assertions_choose_the_monitor_in_one_place_and_nothing_else() {
        let code = "#[cfg(all(target_os = x, debug_assertions))]";
        assert_eq!(rules("hyp/src/arch/mod.rs", code), Vec::<&str>::new());
        assert_eq!(rules("hyp/src/arch/stage2.rs", code), ["debug_assertions"]);
        assert_eq!(rules("guest-sdk/src/arch/mod.rs", code), ["debug_assertions"]);
        assert_eq!(rules("hyp/src/vm/mod.rs", "#[cfg(debug_assertions)]"), ["debug_assertions", "cfg"]);
    }
}
