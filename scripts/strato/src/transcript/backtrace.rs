//! Addresses in reports to functions and lines: `image+0x...` of the hypervisor, and `pc 0x...` of a guest's report.
//! Called by `run` and `test` on failure; reads the ELF files that were packed.

use addr2line::Context;
use gimli::{EndianSlice, LittleEndian, SectionId};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// The debug information of one ELF file.
pub struct Symbols<'f> {
    context: Context<EndianSlice<'f, LittleEndian>>,
    /// Labels of code, by address: assembly has no debug information.
    labels: Vec<(u64, &'f str)>,
}

impl<'f> Symbols<'f> {
    /// Returns the debug information of an ELF file, or `None` when it has none.
    #[must_use]
    pub fn of(file: &'f [u8]) -> Option<Self> {
        let elf = ElfFile64::<object::LittleEndian>::parse(file).ok()?;
        let section = |id: SectionId| {
            let data = elf.section_by_name(id.name()).and_then(|section| section.data().ok()).unwrap_or(&[]);
            Ok::<_, gimli::Error>(EndianSlice::new(data, LittleEndian))
        };
        let context = Context::from_dwarf(gimli::Dwarf::load(section).ok()?).ok()?;
        let is_code = |symbol: &object::read::elf::ElfSymbol64<'f, '_, _>| {
            matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Label | SymbolKind::Unknown)
                && symbol.is_definition()
        };
        let name = |symbol: object::read::elf::ElfSymbol64<'f, '_, _>| Some((symbol.address(), symbol.name().ok()?));
        let mut labels: Vec<_> = elf.symbols().filter(is_code).filter_map(name).collect();
        labels.retain(|(_, name)| !name.is_empty() && !name.starts_with('$'));
        labels.sort_unstable();
        Some(Self { context, labels })
    }

    /// Returns `function at file:line` of the code at `address`, inlined functions from the innermost outwards; of assembly
    /// the label below it.
    #[must_use]
    pub fn resolve(&self, address: u64) -> Vec<String> {
        let frames = self.frames(address);
        if !frames.is_empty() {
            return frames;
        }
        self.label(address).into_iter().collect()
    }

    /// Returns the symbol below `address` and how far behind it that is: `main+0x1c`.
    #[must_use]
    pub fn label(&self, address: u64) -> Option<String> {
        let behind = self.labels.partition_point(|(start, _)| *start <= address);
        let (start, name) = self.labels.get(behind.checked_sub(1)?)?;
        Some(format!("{:#}+{:#x}", rustc_demangle::demangle(name), address - start))
    }

    fn frames(&self, address: u64) -> Vec<String> {
        let mut found = Vec::new();
        let Ok(mut frames) = self.context.find_frames(address).skip_all_loads() else { return found };
        while let Ok(Some(frame)) = frames.next() {
            let name = frame.function.as_ref().and_then(|function| function.raw_name().ok());
            let name = name.map_or("?".into(), |name| format!("{:#}", rustc_demangle::demangle(&name)));
            let place = frame.location.and_then(|place| Some(format!("{}:{}", short(place.file?), place.line?)));
            found.push(place.map_or(name.clone(), |place| format!("{name} at {place}")));
        }
        found
    }
}

// Paths of the standard library and of dependencies begin with folders of the machine that built them.
fn short(path: &str) -> &str {
    if let Some((_, package)) = path.split_once("/registry/src/") {
        return package.split_once('/').map_or(package, |(_, rest)| rest);
    }
    let marks = ["/library/", "/hyp/", "/guest-sdk/", "/example-guests/", "/abi/"];
    let at = marks.iter().find_map(|mark| path.find(mark));
    at.and_then(|at| path.get(at + 1..)).unwrap_or(path)
}

/// Returns the address behind `mark` in a line: `address_after("#1 image+0x1f0", "image+")` is `0x1f0`.
#[must_use]
pub fn address_after(line: &str, mark: &str) -> Option<u64> {
    let (_, rest) = line.split_once(mark)?;
    let digits = rest.strip_prefix("0x")?;
    let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
    u64::from_str_radix(digits.get(..end)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_behind_their_mark() {
        assert_eq!(address_after("panic:   #1 image+0x1f0 (0x400801f0)", "image+"), Some(0x1f0));
        assert_eq!(address_after("vm a: pc 0x40000010, address 0x0", "pc "), Some(0x4000_0010));
        for line in ["", "image+", "image+0x", "image+0xzz", "image+12"] {
            assert_eq!(address_after(line, "image+"), None, "{line}");
        }
    }

    #[test]
    fn paths_begin_where_every_machine_agrees() {
        for (path, expected) in [
            ("/home/me/strato/hyp/src/main.rs", "hyp/src/main.rs"),
            ("/home/me/.cargo/registry/src/index-1949/log-0.4.35/src/lib.rs", "log-0.4.35/src/lib.rs"),
            ("/rustc/5980/library/core/src/fmt/mod.rs", "library/core/src/fmt/mod.rs"),
            ("src/main.rs", "src/main.rs"),
        ] {
            assert_eq!(short(path), expected);
        }
    }

    #[test]
    fn a_function_is_found_by_its_address() {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        // On a host whose programs are not ELF there is nothing to try.
        let Ok(elf) = ElfFile64::<object::LittleEndian>::parse(file.as_slice()) else { return };
        let is_it =
            |name: &str| name.contains("backtrace") && name.contains("address_after") && !name.contains("closure");
        let symbol = elf.symbols().find(|symbol| symbol.name().is_ok_and(is_it)).unwrap();
        let frames = Symbols::of(&file).unwrap().resolve(symbol.address());
        assert!(
            frames.iter().any(|frame| frame.contains("address_after at ") && frame.contains("backtrace.rs:")),
            "{frames:?}"
        );
    }
}
