//! Room `image`: a guest's ELF flattened to segments that boot only has to copy; the hypervisor parses no ELF.
//! Owns what an image may be. Called by the commands through `load`; never looks at a system (that is `fit`).

use std::fmt;

use object::LittleEndian;
use object::elf::{
    EM_AARCH64, ET_DYN, ET_EXEC, FileHeader64, PF_R, PF_W, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD, PT_NOTE,
};
use object::read::elf::{FileHeader, ProgramHeader};
use strato_abi::addr::{IPA_BITS, PAGE_SIZE, RAM_BASE};
use strato_abi::address_space::Attributes;

pub mod fit;
pub mod load;
pub mod note;

pub use note::Note;

type Elf = FileHeader64<LittleEndian>;

/// A part of an image that is mapped with one set of permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Page-aligned address.
    pub address: u64,
    /// The bytes to copy.
    pub bytes: Vec<u8>,
    /// Bytes to occupy; those behind `bytes` are zero.
    pub mem_len: u64,
    /// Permissions.
    pub attributes: Attributes,
}

impl Segment {
    /// Returns the first address behind the segment.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.address.saturating_add(self.mem_len)
    }
}

/// A guest's image, ready to be packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where vCPU 0 starts.
    pub entry: u64,
    /// Segments by rising address, on pages of their own.
    pub segments: Vec<Segment>,
    /// What the image says it needs.
    pub note: Note,
}

impl Image {
    /// Returns the first address and the number of bytes to the last.
    #[must_use]
    pub fn extent(&self) -> (u64, u64) {
        let base = self.segments.first().map_or(RAM_BASE, |segment| segment.address);
        let end = self.segments.last().map_or(base, Segment::end);
        (base, end.saturating_sub(base))
    }
}

/// Why a file is not a guest's image, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// What is wrong, to follow "the image".
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the image {}; {}", self.what, self.fix)
    }
}

const REBUILD: &str = "build it for aarch64-unknown-none-softfloat with the guest library's linker script";

fn flaw(what: impl Into<String>) -> Flaw {
    Flaw { what: what.into(), fix: REBUILD.into() }
}

/// Returns the image that the bytes of an ELF file hold.
///
/// # Errors
/// It is not a static AArch64 ELF with page-aligned segments in `ram` and a Strato note.
pub fn read(file: &[u8]) -> Result<Image, Flaw> {
    let header = Elf::parse(file).map_err(|_| flaw("is not a 64-bit ELF file"))?;
    let endian = header.endian().map_err(|_| flaw("is not little-endian"))?;
    if header.e_machine(endian) != EM_AARCH64 {
        return Err(flaw("is for another processor than AArch64"));
    }
    match header.e_type(endian) {
        ET_EXEC => {}
        ET_DYN => return Err(flaw("is position independent, it has to be linked to its address")),
        _ => return Err(flaw("is not an executable")),
    }
    let programs = header.program_headers(endian, file).map_err(|_| flaw("has damaged program headers"))?;
    let kinds: Vec<_> = programs.iter().map(|program| program.p_type(endian)).collect();
    if kinds.contains(&PT_INTERP) || kinds.contains(&PT_DYNAMIC) {
        return Err(flaw("is linked dynamically, it has to be static"));
    }
    let mut segments = Vec::new();
    let mut note = None;
    for program in programs {
        let bytes = || program.data(endian, file).map_err(|()| flaw("is cut short"));
        match program.p_type(endian) {
            PT_LOAD if program.p_memsz(endian) != 0 => segments.push(segment(program, bytes()?)?),
            PT_NOTE => note = note.or(Note::find(bytes()?).map_err(flaw)?),
            _ => {}
        }
    }
    segments.sort_by_key(|segment| segment.address);
    let entry = header.e_entry(endian);
    check(&segments, entry)?;
    let note = note.ok_or_else(|| Flaw {
        what: "has no Strato note".into(),
        fix: "build it with the guest library, whose `entry!` writes the note".into(),
    })?;
    Ok(Image { entry, segments, note })
}

fn segment(program: &<Elf as FileHeader>::ProgramHeader, bytes: &[u8]) -> Result<Segment, Flaw> {
    let endian = LittleEndian;
    let flags = program.p_flags(endian);
    let mut attributes = Attributes::empty();
    for (flag, attribute) in [(PF_R, Attributes::READ), (PF_W, Attributes::WRITE), (PF_X, Attributes::EXECUTE)] {
        attributes.set(attribute, (flags & flag).0 != 0);
    }
    let (address, mem_len) = (program.p_vaddr(endian), program.p_memsz(endian));
    if !address.is_multiple_of(PAGE_SIZE) {
        return Err(flaw(format!("has a segment at {address:#x}, which is not page-aligned")));
    }
    if u64::try_from(bytes.len()).is_ok_and(|len| len > mem_len) {
        return Err(flaw(format!("has a segment at {address:#x} with more bytes in the file than in memory")));
    }
    Ok(Segment { address, bytes: bytes.to_vec(), mem_len, attributes })
}

fn check(segments: &[Segment], entry: u64) -> Result<(), Flaw> {
    let Some(first) = segments.first() else {
        return Err(flaw("has nothing to load"));
    };
    if first.address < RAM_BASE {
        return Err(flaw(format!("is linked to {:#x}, below a guest's memory at {RAM_BASE:#x}", first.address)));
    }
    for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
        if segment.end().next_multiple_of(PAGE_SIZE) > next.address {
            return Err(flaw(format!("has two segments on the page {:#x}", next.address)));
        }
    }
    if segments.iter().any(|segment| segment.mem_len > 1 << IPA_BITS || segment.end() > 1 << IPA_BITS) {
        return Err(flaw("reaches beyond the address space"));
    }
    let has_entry = |segment: &Segment| {
        segment.attributes.contains(Attributes::EXECUTE) && (segment.address..segment.end()).contains(&entry)
    };
    if segments.iter().any(has_entry) {
        Ok(())
    } else {
        Err(flaw(format!("starts at {entry:#x}, where it has no code")))
    }
}
