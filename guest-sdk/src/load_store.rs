//! How many bytes an instruction loads or stores. Pure; `fault` asks, since the syndrome of an abort at EL1 does not tell.

/// Returns the bytes that `instruction` moves between registers and memory, or `None` when it is no load or store of general or
/// FP registers: structures of SIMD, prefetches and cache maintenance are none (Arm ARM, "Loads and stores").
#[must_use]
pub(crate) const fn bytes(instruction: u32) -> Option<u64> {
    let (size, is_fp) = (instruction >> 30, instruction & 1 << 26 != 0);
    match (instruction >> 27 & 0b111, is_fp) {
        (0b001, false) if instruction & 1 << 24 == 0 => Some(exclusive(instruction)),
        // LDR of a literal: 0 a word, 1 a doubleword, 2 LDRSW, 3 a prefetch; of FP registers from a word up.
        (0b011, false) if instruction & 1 << 24 == 0 && size < 3 => Some(if size == 1 { 8 } else { 4 }),
        (0b011, false) if instruction & 1 << 24 != 0 && instruction & 1 << 21 == 0 => Some(1 << size), // LDAPUR, STLUR
        (0b011, true) if instruction & 1 << 24 == 0 && size < 3 => Some(4 << size),
        // Pairs: 0 words, 1 LDPSW, 2 doublewords; of FP registers from words up.
        (0b101, false) if size < 3 => Some(if size == 2 { 16 } else { 8 }),
        (0b101, true) if size < 3 => Some(8 << size),
        // One register; opc, bits 23:22: 2 of a doubleword is a prefetch, 2 and 3 of an FP byte are a quadword.
        (0b111, false) if size == 3 && instruction >> 22 & 3 == 2 => None,
        (0b111, true) if size == 0 && instruction & 1 << 23 != 0 => Some(16),
        (0b111, _) => Some(1 << size),
        _ => None,
    }
}

/// Returns the bytes of an exclusive or ordered access, or of a compare and swap: bit 21 without bit 23 is a pair.
const fn exclusive(instruction: u32) -> u64 {
    let is_pair = instruction & 1 << 21 != 0 && instruction & 1 << 23 == 0;
    match (is_pair, instruction >> 31) {
        (true, 0) => 8 << (instruction >> 30 & 1), // CASP
        (true, _) => 2 << (instruction >> 30),
        (false, _) => 1 << (instruction >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn the_size_is_that_of_the_registers() {
        for (instruction, expected) in [
            (0x3940_0020, Some(1)),  // ldrb w0, [x1]
            (0x7980_0020, Some(2)),  // ldrsh x0, [x1]
            (0xb900_0020, Some(4)),  // str w0, [x1]
            (0xf840_8c20, Some(8)),  // ldr x0, [x1, #8]!
            (0xf862_6820, Some(8)),  // ldr x0, [x1, x2]
            (0x3dc0_0020, Some(16)), // ldr q0, [x1]
            (0xfd00_0020, Some(8)),  // str d0, [x1]
            (0xf980_0020, None),     // prfm pldl1keep, [x1]
            (0xa940_0440, Some(16)), // ldp x0, x1, [x2]
            (0x2900_0440, Some(8)),  // stp w0, w1, [x2]
            (0x6940_0440, Some(8)),  // ldpsw x0, x1, [x2]
            (0xad00_0440, Some(32)), // stp q0, q1, [x2]
            (0x5800_0040, Some(8)),  // ldr x0, =literal
            (0x9800_0040, Some(4)),  // ldrsw x0, =literal
            (0x9c00_0040, Some(16)), // ldr q0, =literal
            (0xc8df_fc20, Some(8)),  // ldar x0, [x1]
            (0xd940_0020, Some(8)),  // ldapur x0, [x1]
            (0x085f_7c20, Some(1)),  // ldxrb w0, [x1]
            (0xc87f_0440, Some(16)), // ldxp x0, x1, [x2]
            (0x4820_7c62, Some(16)), // casp x0, x1, x2, x3, [x3]
            (0xc8a0_7c41, Some(8)),  // cas x0, x1, [x2]
            (0xb820_0041, Some(4)),  // ldadd w0, w1, [x2]
        ] {
            assert_eq!(bytes(instruction), expected, "{instruction:#x}");
        }
    }

    #[test]
    fn what_is_no_load_or_store_has_no_size() {
        // nop; dc zva, x0; ld1 {v0.16b}, [x0]; b; add x0, x1, x2; an undefined word
        for instruction in [0xd503_201f, 0xd50b_7420, 0x4c40_7000, 0x1400_0000, 0x8b02_0020, 0] {
            assert_eq!(bytes(instruction), None, "{instruction:#x}");
        }
    }
}
