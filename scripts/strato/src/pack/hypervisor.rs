//! The hypervisor's ELF, flattened to the raw image that a boot loader takes. Called by the commands.

use anyhow::{Context, bail, ensure};
use object::elf::{FileHeader64, PT_LOAD};
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{LittleEndian, Object, ObjectSymbol};

const PAGE: usize = 4096;
// "ARM\x64" at 0x38 (Linux Documentation/arch/arm64/booting.rst).
const IMAGE_MAGIC: &[u8] = b"ARM\x64";

/// The flat hypervisor: a whole number of pages, zeroed data and boot stack included.
#[derive(Clone, Debug)]
pub struct Flat {
    /// The bytes from address 0 to `__image_end`.
    pub bytes: Vec<u8>,
}

/// Returns the flat image of the hypervisor's ELF file.
///
/// # Errors
/// It is no position-independent ELF that begins at 0 with an arm64 Image header and ends at `__image_end`.
pub fn flatten(file: &[u8]) -> anyhow::Result<Flat> {
    let elf = ElfFile64::<LittleEndian>::parse(file).context("the hypervisor is not a 64-bit ELF file")?;
    let header: &FileHeader64<LittleEndian> = elf.elf_header();
    let mut bytes = Vec::new();
    for program in header.program_headers(LittleEndian, file)? {
        if program.p_type(LittleEndian) != PT_LOAD {
            continue;
        }
        let start = usize::try_from(program.p_vaddr(LittleEndian))?;
        let end = start + usize::try_from(program.p_memsz(LittleEndian))?;
        let Ok(data) = program.data(LittleEndian, file) else { bail!("the hypervisor's ELF is cut short") };
        ensure!(end < 64 << 20, "the hypervisor is linked to {start:#x}; it has to be linked to 0");
        bytes.resize(bytes.len().max(end), 0);
        bytes.iter_mut().skip(start).zip(data).for_each(|(to, from)| *to = *from);
    }
    ensure!(bytes.get(0x38..0x3c) == Some(IMAGE_MAGIC), "the hypervisor does not begin with an arm64 Image header");
    let end = elf.symbols().find(|symbol| symbol.name() == Ok("__image_end")).map(|symbol| symbol.address());
    let end = usize::try_from(end.context("the hypervisor has no symbol `__image_end`")?)?;
    ensure!(end.is_multiple_of(PAGE), "`__image_end` is {end:#x}, which is not page-aligned");
    ensure!(bytes.len() <= end, "the hypervisor's ELF reaches {:#x}, beyond `__image_end` {end:#x}", bytes.len());
    bytes.resize(end, 0);
    Ok(Flat { bytes })
}

/// Returns the first eight bytes of the build id in a flat image, as the hypervisor prints it, if there is one.
#[must_use]
pub fn build_id(image: &[u8]) -> Option<u64> {
    // An ELF note (System V ABI, "Note Section"): the lengths of owner and id, type 3 (NT_GNU_BUILD_ID), the owner.
    const HEAD: &[u8] = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";
    let start = image.windows(HEAD.len()).position(|bytes| bytes == HEAD)? + HEAD.len();
    image.get(start..)?.first_chunk().map(|id| u64::from_be_bytes(*id))
}

impl Flat {
    /// Overwrites the first instructions of `function`, a path as Rust writes it; `file` is the ELF file that was flattened.
    ///
    /// # Errors
    /// There is no such function, because it was renamed or became part of its callers.
    pub fn overwrite(&mut self, file: &[u8], function: &str, code: &[u32]) -> anyhow::Result<()> {
        let elf = ElfFile64::<LittleEndian>::parse(file)?;
        let is_it = |name: &str| format!("{:#}", rustc_demangle::demangle(name)) == function;
        let symbol = elf.symbols().find(|symbol| symbol.name().is_ok_and(is_it));
        let symbol = symbol.with_context(|| format!("the hypervisor has no function `{function}` to damage"))?;
        let start = usize::try_from(symbol.address())?;
        let end = start + size_of_val(code);
        let place = self.bytes.get_mut(start..end).context("the function lies outside of the image")?;
        let code = code.iter().flat_map(|word| word.to_le_bytes());
        place.iter_mut().zip(code).for_each(|(to, from)| *to = from);
        Ok(())
    }
}
