//! Guest-physical addresses: what every address argument of a call is.

/// Bytes in a page: the only granule of this ABI.
pub const PAGE_SIZE: u64 = 4096;

/// Bits of a guest-physical address; an address space covers `0..1 << IPA_BITS`.
pub const IPA_BITS: u32 = 39;

/// A guest-physical byte address (intermediate physical address) below `1 << IPA_BITS`.
///
/// There are no operators: arithmetic is by checked, named functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipa(u64);

impl Ipa {
    /// Returns the address, or `None` when `bytes` does not fit [`IPA_BITS`].
    #[must_use]
    pub const fn new(bytes: u64) -> Option<Self> {
        if bytes >> IPA_BITS == 0 { Some(Self(bytes)) } else { None }
    }

    /// Returns the address as a number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Returns the address `bytes` further on, or `None` past the end of the address space.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Self::new(sum),
            None => None,
        }
    }

    /// Returns whether the address starts a page.
    #[must_use]
    pub const fn is_page_aligned(self) -> bool {
        self.0 & (PAGE_SIZE - 1) == 0
    }

    /// Returns the first byte of the page that holds this address.
    #[must_use]
    pub const fn page_base(self) -> Self {
        Self(self.0 & !(PAGE_SIZE - 1))
    }
}

impl ::core::fmt::Display for Ipa {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Where a VM's memory `ram` is mapped when it starts, the same on every board.
pub const RAM_BASE: u64 = 0x4000_0000;
/// First byte of the hypervisor's window in every address space; nothing else can be mapped there.
pub const WINDOW_BASE: u64 = 0x3fe0_0000;
/// Bytes of the hypervisor's window.
pub const WINDOW_SIZE: u64 = 0x0020_0000;
/// The info page(s), read-only.
pub const INFO_PAGE: u64 = WINDOW_BASE;
/// Most pages of the info area.
pub const INFO_PAGES_MAX: u64 = 8;
/// The vCPU area, read-only, one page.
pub const VCPU_AREA: u64 = WINDOW_BASE + 0x1_0000;
/// The event area, read-write, one page.
pub const EVENT_AREA: u64 = WINDOW_BASE + 0x2_0000;

const _: () = assert!(INFO_PAGE + INFO_PAGES_MAX * PAGE_SIZE <= VCPU_AREA);
const _: () = assert!(WINDOW_BASE + WINDOW_SIZE == RAM_BASE);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_any_bit_above_the_limit_is_refused() {
        for bit in IPA_BITS..64 {
            assert_eq!(Ipa::new(1 << bit), None);
            assert_eq!(Ipa::new(1 << bit | 0x4000_0000), None);
        }
        assert!(Ipa::new((1 << IPA_BITS) - 1).is_some());
    }

    #[test]
    fn addition_stops_at_the_end_of_the_address_space() {
        let last = Ipa::new((1 << IPA_BITS) - 1).unwrap();
        assert_eq!(last.checked_add(1), None);
        assert_eq!(last.checked_add(u64::MAX), None);
        assert_eq!(last.checked_add(0), Some(last));
    }
}
