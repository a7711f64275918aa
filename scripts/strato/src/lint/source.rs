//! The source rules over the files of the workspace. Called by the command; the rules themselves are beside.

use std::path::{Path, PathBuf};

use super::{Finding, code, layers, length, words};

/// Folders with code that runs on the target.
const TARGET: [&str; 4] = ["hyp/src", "abi/src", "guest-sdk/src", "example-guests"];
/// Folders with other code.
const HOST: [&str; 7] = [
    "scripts/strato/src",
    "scripts/strato/tests",
    "hyp/models",
    "hyp/tests",
    "hyp/fuzz/fuzz_targets",
    "abi/tests",
    "guest-sdk/tests",
];

/// Returns what the source under `root` breaks.
///
/// # Errors
/// A file cannot be read.
pub fn check(root: &Path) -> std::io::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (folder, is_target) in TARGET.iter().map(|f| (f, true)).chain(HOST.iter().map(|f| (f, false))) {
        for file in files(&root.join(folder)) {
            let path = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
            let text = std::fs::read_to_string(&file)?;
            findings.extend(length(&path, &text));
            findings.extend(head(&path, &text));
            if is_target {
                findings.extend(target(&path, &text));
            }
        }
    }
    Ok(findings)
}

/// Returns what one file that runs on the target breaks.
#[must_use]
pub fn target(path: &str, text: &str) -> Vec<Finding> {
    if !path.ends_with(".rs") {
        let message = "assembly belongs into an arch folder";
        return if words::in_arch(path) { Vec::new() } else { vec![Finding::error(path, 1, "unsafe", message)] };
    }
    let bare = code::bare(text);
    let mut findings = words::check(path, &bare);
    for word in ["TODO", "FIXME", "XXX"] {
        let lines = code::lines_with_word(text, word);
        findings
            .extend(lines.map(|line| {
                Finding::error(path, line, "unfinished", format!("`{word}`: finish it, or file an issue"))
            }));
    }
    if let Some(room) = room(path) {
        findings.extend(layers::check(path, room, &code::without_tests(&bare)));
    }
    findings
}

// The first line says what the file owns, so that a reader knows whether to go on.
fn head(path: &str, text: &str) -> Option<Finding> {
    let message = "begin with `//! Room: what it owns, who calls it, what it never does.`";
    (path.ends_with(".rs") && !text.starts_with("//!")).then(|| Finding::error(path, 1, "head", message))
}

// `hyp/src/vm/build.rs` and `hyp/src/vm.rs` are of the room `vm`; the crate roots and files of tests are of none.
fn room(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("hyp/src/")?;
    let name = rest.split('/').next()?.trim_end_matches(".rs");
    (!matches!(name, "lib" | "main") && !rest.ends_with("tests.rs") && !rest.contains("/tests/")).then_some(name)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "S") {
            found.push(path);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_the_first_folder_or_file() {
        assert_eq!(room("hyp/src/vm/build.rs"), Some("vm"));
        assert_eq!(room("hyp/src/lock.rs"), Some("lock"));
        for path in ["hyp/src/lib.rs", "hyp/src/main.rs", "hyp/src/boot/device_tree_tests.rs", "abi/src/call.rs"] {
            assert_eq!(room(path), None, "{path}");
        }
    }

    #[test]
    fn words_in_comments_and_uses_in_tests_break_no_rule() {
        let text = "// unsafe\nfn f() {}\n#[cfg(test)]\nmod tests {\n use crate::boot::x;\n}\n";
        assert_eq!(target("hyp/src/vm/mod.rs", text), Vec::new());
        assert_eq!(target("hyp/src/vm/mod.rs", "use crate::boot::x;").len(), 1);
    }

    #[test]
    fn a_file_without_a_head_and_unfinished_work_are_errors() {
        assert_eq!(head("a.rs", "//! Room: x\n"), None);
        assert!(head("a.rs", "// Room: x\n").is_some_and(|finding| finding.rule == "head"));
        assert_eq!(target("hyp/src/vm/mod.rs", "//! x\n// TODO: more\n").len(), 1);
    }

    #[test]
    fn assembly_outside_of_arch_is_an_error() {
        assert_eq!(target("hyp/src/boot/start.S", "nop").len(), 1);
        assert_eq!(target("hyp/src/arch/entry.S", "nop").len(), 0);
    }

    #[test]
    fn this_workspace_is_readable() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert!(check(&root).is_ok());
        assert!(files(&root.join("hyp/src")).len() > 3);
    }
}
