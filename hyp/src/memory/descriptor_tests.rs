//! Tests of `descriptor`.

use super::*;

const MEMORIES: [MemoryType; 2] = [MemoryType::Normal, MemoryType::Device];

/// Every combination of rights, memory type and `jit`.
fn all() -> impl Iterator<Item = (Attributes, MemoryType, bool)> {
    let rights = (0..8).map(Attributes::from_bits_truncate);
    rights
        .flat_map(|rights| MEMORIES.into_iter().flat_map(move |memory| [false, true].map(|jit| (rights, memory, jit))))
}

#[test]
fn every_combination_of_rights_is_accepted_or_refused_as_the_abi_says() {
    for (rights, memory, jit) in all() {
        let write = rights.contains(Attributes::WRITE);
        let execute = rights.contains(Attributes::EXECUTE);
        let expected = if !rights.contains(Attributes::READ) {
            Some(AttrError::NotReadable)
        } else if write && execute && !jit {
            Some(AttrError::WriteExecute)
        } else if execute && memory == MemoryType::Device {
            Some(AttrError::ExecutableDevice)
        } else {
            None
        };
        assert_eq!(Attr::new(rights, memory, jit).err(), expected, "{rights:?} {memory:?} {jit}");
    }
}

#[test]
fn every_accepted_attribute_comes_back_out_of_the_entry_at_every_level() {
    let pas = [0, 0x4000_0000, 0xffff_c000_0000];
    for (rights, memory, jit) in all() {
        let Ok(attr) = Attr::new(rights, memory, jit) else { continue };
        assert_eq!((attr.rights(), attr.memory()), (rights, memory));
        for (pa, level) in pas.into_iter().flat_map(|pa| [Level::One, Level::Two, Level::Three].map(|l| (pa, l))) {
            let entry = encode(pa, attr, level);
            assert_eq!(decode(entry), Some((Pa::new(pa).unwrap(), attr)));
            assert_eq!(entry & 0b11, if level == Level::Three { 0b11 } else { 0b01 });
        }
    }
}

#[test]
fn entries_have_the_bits_that_the_manual_gives() {
    let entry = |rights, memory, jit| encode(0x8000_0000, Attr::new(rights, memory, jit).unwrap(), Level::Three);
    let read_write = Attributes::READ | Attributes::WRITE;
    // MemAttr 1111, S2AP 11, SH 11, AF, XN.
    assert_eq!(entry(read_write, MemoryType::Normal, false), 0x0040_0000_8000_07ff);
    assert_eq!(entry(Attributes::READ, MemoryType::Normal, false), 0x0040_0000_8000_077f);
    assert_eq!(entry(Attributes::READ | Attributes::EXECUTE, MemoryType::Normal, false), 0x8000_077f);
    assert_eq!(entry(Attributes::all(), MemoryType::Normal, true), 0x8000_07ff);
    // MemAttr 0001, SH 00.
    assert_eq!(entry(read_write, MemoryType::Device, false), 0x0040_0000_8000_04c7);
}

#[test]
fn the_most_rights_stand_beside_the_rights_and_change_nothing_for_the_walker() {
    let plain = Attr::new(Attributes::READ, MemoryType::Normal, false).unwrap();
    assert_eq!(plain.most(), Attributes::READ);
    for most in (0..8).map(|bits| Attributes::from_bits_truncate(bits | 1)) {
        let attr = plain.up_to(most);
        assert_eq!((attr.rights(), attr.most(), attr.acts_like(plain)), (Attributes::READ, most, true));
        let entry = encode(0x8000_0000, attr, Level::Two);
        assert_eq!(decode(entry), Some((Pa::new(0x8000_0000).unwrap(), attr)));
        // Bits 58:55 are the software's.
        assert_eq!(entry & !(0b1111 << 55), encode(0x8000_0000, plain, Level::Two));
        assert_eq!(attr.up_to(Attributes::READ), plain);
    }
}

#[test]
fn an_entry_that_is_not_valid_or_leads_to_a_table_is_no_leaf() {
    assert_eq!(decode(0), None);
    assert_eq!(decode(0x8000_07fe), None);
    assert_eq!(decode(1 << 58 | 0x8000_0003), None);
}
