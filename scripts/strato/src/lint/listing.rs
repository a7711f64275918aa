//! A disassembly by llvm-objdump, read line by line. Called by the rules on programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::exit::Missing;
use crate::project::sysroot;

/// One instruction, or data in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The symbol that it stands under.
    pub symbol: String,
    /// Its address.
    pub address: u64,
    /// Mnemonic, a blank, and its operands as objdump writes them.
    pub text: String,
}

impl Instruction {
    /// Returns the mnemonic.
    #[must_use]
    pub fn mnemonic(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }

    /// Returns whether it is data, or bytes that are no instruction of any extension.
    #[must_use]
    pub fn is_data(&self) -> bool {
        self.text.starts_with('.') || self.text.contains("<unknown>")
    }

    /// Returns the operands, without brackets, braces and what refers to a symbol.
    pub fn operands(&self) -> impl Iterator<Item = &str> {
        let behind = self.text.split_once(' ').map_or("", |(_, operands)| operands);
        let plain = behind.split('<').next().unwrap_or_default();
        plain.split([',', ' ', '[', ']', '{', '}', '!']).filter(|part| !part.is_empty())
    }
}

const DATA: [&str; 7] = [".byte", ".short", ".hword", ".word", ".long", ".xword", ".quad"];

/// Returns the instructions and the data of a listing, in order.
#[must_use]
pub fn parse(listing: &str) -> Vec<Instruction> {
    let mut symbol = String::new();
    let mut instructions = Vec::new();
    for line in listing.lines() {
        if let Some(name) = line.strip_suffix(">:").and_then(|line| line.split_once('<')).map(|(_, name)| name) {
            symbol = name.to_owned();
            continue;
        }
        let Some((address, text)) = line.split_once(':') else { continue };
        let Ok(address) = u64::from_str_radix(address.trim(), 16) else { continue };
        let text = text.split("//").next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        // Data in the text, such as the image's header, comes as bytes and a directive.
        let directive = DATA.iter().find_map(|directive| text.find(directive));
        let text = text.get(directive.unwrap_or(0)..).unwrap_or_default().to_owned();
        if !text.is_empty() {
            instructions.push(Instruction { symbol: symbol.clone(), address, text });
        }
    }
    instructions
}

/// Returns the instructions of an ELF file.
///
/// # Errors
/// [`Missing`]: the toolchain has no llvm-objdump; or it does not understand the file.
pub fn disassemble(file: &Path) -> anyhow::Result<Vec<Instruction>> {
    let output = Command::new(objdump()?)
        .args(["--disassemble", "--demangle", "--no-show-raw-insn", "--mattr=+all"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .context("cannot start llvm-objdump")?;
    ensure!(output.status.success(), "llvm-objdump failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    let instructions = parse(&String::from_utf8_lossy(&output.stdout));
    ensure!(!instructions.is_empty(), "llvm-objdump found no instruction in {}", file.display());
    Ok(instructions)
}

fn objdump() -> anyhow::Result<PathBuf> {
    let hosts = std::fs::read_dir(sysroot()?.join("lib/rustlib")).into_iter().flatten().flatten();
    let found = hosts.map(|entry| entry.path().join("bin/llvm-objdump")).find(|path| path.is_file());
    let missing = Missing {
        what: "the Rust toolchain has no llvm-objdump".into(),
        fix: "install it with `rustup component add llvm-tools`, or run scripts/test, which does".into(),
    };
    found.ok_or_else(|| missing.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "
hyp:	file format elf64-littleaarch64

Disassembly of section .text:

0000000000000000 <_start>:
       0: b      	0x1000 <core::fmt::Write::x>
       4: 00 b0 03 00  	.word	0x0003b000
       8: mrs	x0, CNTVCT_EL0 // comment

0000000000001000 <core::fmt::Write::x>:
    1000: ldp	q0, q1, [sp, #0x20]!
";

    #[test]
    fn instructions_are_found_with_their_symbol() {
        let found = parse(LISTING);
        let texts: Vec<_> = found.iter().map(|i| (i.symbol.as_str(), i.address, i.text.as_str())).collect();
        assert_eq!(
            texts,
            [
                ("_start", 0, "b 0x1000 <core::fmt::Write::x>"),
                ("_start", 4, ".word 0x0003b000"),
                ("_start", 8, "mrs x0, CNTVCT_EL0"),
                ("core::fmt::Write::x", 0x1000, "ldp q0, q1, [sp, #0x20]!"),
            ]
        );
    }

    #[test]
    fn data_and_unknown_bytes_are_told_from_instructions() {
        let listing = "0 <f>:\n 0: 1f 20 03 d5  \t.word\t0xd503201f\n 4: <unknown>\n 8: b.eq\t0x4 <f+4>\n";
        let is_data: Vec<bool> = parse(listing).iter().map(Instruction::is_data).collect();
        assert_eq!(is_data, [true, true, false]);
    }

    #[test]
    fn operands_are_told_apart() {
        let operands = |at: usize| parse(LISTING)[at].operands().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(operands(0), ["0x1000"]);
        assert_eq!(operands(3), ["q0", "q1", "sp", "#0x20"]);
    }
}
