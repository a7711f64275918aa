//! Sizes as people write them: `64KiB`, `1MiB`. Owns both directions; used by the reader and by messages.

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Returns the number of bytes that `text` names, such as `64KiB`, `1 MiB` or `4096`.
///
/// # Errors
/// What is wrong with the text.
pub fn parse(text: &str) -> Result<u64, String> {
    let compact = text.replace(['_', ' '], "");
    let (digits, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| compact.strip_suffix(name).map(|digits| (digits, *unit)))
        .unwrap_or((compact.as_str(), 1));
    let number: u64 = digits.parse().map_err(|_| "is not a size".to_string())?;
    number.checked_mul(unit).ok_or_else(|| "is more than 64 bits can count".to_string())
}

/// Returns the size in the largest unit that divides it: `64KiB`, `3B`.
#[must_use]
pub fn show(bytes: u64) -> String {
    let (name, unit) =
        UNITS.iter().find(|(_, unit)| bytes != 0 && bytes.is_multiple_of(*unit)).copied().unwrap_or(("B", 1));
    format!("{}{name}", bytes.checked_div(unit).unwrap_or(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_unit() {
        for (text, bytes) in [("64KiB", 65536), ("1 MiB", 1 << 20), ("2GiB", 2 << 30), ("4096", 4096), ("1_024B", 1024)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "KiB", "-1KiB", "1.5MiB", "1MB", "99999999999GiB"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_is_shown_in_its_largest_whole_unit() {
        assert_eq!(
            [show(65536), show(1 << 20), show(1_049_600), show(3), show(0)],
            ["64KiB", "1MiB", "1025KiB", "3B", "0B"]
        );
    }
}
