//! The sections of the hypervisor's ELF file that take memory, and how much of it is code.

use anyhow::{Context, ensure};
use object::elf::{SHF_ALLOC, SHF_EXECINSTR};
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSection, SectionFlags};

/// A section of the hypervisor's ELF that takes memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Name.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// Whether it holds code.
    pub is_text: bool,
}

/// Returns the sections of an ELF file that take memory.
///
/// # Errors
/// It is no ELF file, or has no code.
pub fn sections(file: &[u8]) -> anyhow::Result<Vec<Section>> {
    let elf = ElfFile64::<LittleEndian>::parse(file).context("the hypervisor is not a 64-bit ELF file")?;
    let mut sections = Vec::new();
    for section in elf.sections() {
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
        if (sh_flags & SHF_ALLOC).0 != 0 && section.size() != 0 {
            let name = section.name().unwrap_or("?").to_owned();
            sections.push(Section { name, bytes: section.size(), is_text: (sh_flags & SHF_EXECINSTR).0 != 0 });
        }
    }
    ensure!(sections.iter().any(|section| section.is_text), "the hypervisor has no code");
    Ok(sections)
}

/// Returns the bytes of code in `sections`.
#[must_use]
pub fn text_bytes(sections: &[Section]) -> u64 {
    sections.iter().filter(|section| section.is_text).map(|section| section.bytes).sum()
}
