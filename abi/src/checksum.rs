//! Checksum of a packed image.

/// Returns the checksum of `bytes`, whose length counts in whole 8-byte words; a rest is taken as if followed by zeros.
///
/// Two running sums over little-endian words (Fletcher's construction): it finds damaged and swapped words, costs less
/// than an instruction per byte, and is no protection against an attacker, who could replace the whole image anyway.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    let (mut low, mut high) = (0x5354_5241_544f_u64, 0_u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        low = low.wrapping_add(u64::from_le_bytes(*word));
        high = high.wrapping_add(low);
    }
    if !rest.is_empty() {
        let mut last = [0u8; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        low = low.wrapping_add(u64::from_le_bytes(last));
        high = high.wrapping_add(low);
    }
    low ^ high.rotate_left(32)
}

#[cfg(test)]
mod tests {
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
    fn a_short_rest_counts_like_a_zero_padded_word() {
        assert_eq!(checksum(&[1, 2, 3]), checksum(&[1, 2, 3, 0, 0, 0, 0, 0]));
    }
}
