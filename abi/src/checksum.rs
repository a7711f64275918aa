//! Checksum of a packed image.

use zerocopy::FromBytes;

/// Returns the checksum of `bytes`, whose length counts in whole 8-byte words; a rest is taken as if followed by zeros.
///
/// Two running sums over little-endian words (Fletcher's construction): it finds damaged and swapped words, costs less
/// than an instruction per byte, and is no protection against an attacker, who could replace the whole image anyway.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    let mut sums = Sums { low: 0x5354_5241_544f, high: 0 };
    let (words, rest) = bytes.as_chunks::<8>();
    match <[u64]>::ref_from_bytes(words.as_flattened()) {
        // As boot has it: a load for each word, where the bytes of one would be loaded by themselves.
        Ok(aligned) => aligned.iter().for_each(|word| sums.add(u64::from_le(*word))),
        Err(_) => words.iter().for_each(|word| sums.add(u64::from_le_bytes(*word))),
    }
    if !rest.is_empty() {
        let mut last = [0u8; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        sums.add(u64::from_le_bytes(last));
    }
    sums.low ^ sums.high.rotate_left(32)
}

struct Sums {
    low: u64,
    high: u64,
}

impl Sums {
    #[inline(always)]
    fn add(&mut self, word: u64) {
        self.low = self.low.wrapping_add(word);
        self.high = self.high.wrapping_add(self.low);
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;

    #[test]
    fn the_checksum_finds_a_flipped_bit_and_swapped_words() {
        let mut bytes = [0u8; 64];
        bytes.iter_mut().zip(1..).for_each(|(byte, n)| *byte = n);
        let good = checksum(&bytes);
        for at in 0..64 {
            bytes[at] ^= 0x10;
            assert_ne!(checksum(&bytes), good);
            bytes[at] ^= 0x10;
        }
        let mut swapped = bytes;
        swapped[..16].rotate_left(8);
        assert_ne!(checksum(&swapped), good);
    }

    #[test]
    fn where_the_bytes_stand_does_not_matter() {
        let words = [0x0102_0304_0506_0708_u64, u64::MAX, 7, 0];
        let bytes = words.map(u64::to_le_bytes);
        let bytes = bytes.as_flattened();
        let mut shifted = [0u64; 5];
        let room = shifted.as_mut_bytes();
        for start in 0..8 {
            room[start..start + 32].copy_from_slice(bytes);
            assert_eq!(checksum(&room[start..start + 32]), checksum(words.as_bytes()));
        }
    }

    #[test]
    fn a_short_rest_counts_like_a_zero_padded_word() {
        assert_eq!(checksum(&[1, 2, 3]), checksum(&[1, 2, 3, 0, 0, 0, 0, 0]));
    }
}
