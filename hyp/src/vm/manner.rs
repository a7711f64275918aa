//! Manner: what of a VM decides how a core goes over to it. A core that goes from one VM to another of the same manner has
//! nothing to choose anew: the table of handlers, the vectors, and whose stage 1 is on it.

use super::speculation::Speculation;

/// What of a VM decides how a core goes over to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner(u8);

const OPEN: u8 = 1;
const NATIVE: u8 = 2;
const SPECULATION_AT: u32 = 2;
/// The first bit above those that a core chooses by.
const ALONE: u8 = 16;

impl Manner {
    /// Returns the manner of a VM of `vcpus` vCPUs that enters EL2 by `speculation`; `is_open` says that it may make every call.
    #[must_use]
    pub const fn new(is_open: bool, is_native: bool, speculation: Speculation, vcpus: usize) -> Self {
        let open = if is_open { OPEN } else { 0 };
        let native = if is_native { NATIVE } else { 0 };
        let alone = if vcpus == 1 { ALONE } else { 0 };
        Self(open | native | alone | (speculation as u8) << SPECULATION_AT)
    }

    /// Returns whether a core chooses nothing anew that goes from one to the other.
    #[inline(always)]
    #[must_use]
    pub const fn is_like(self, other: Self) -> bool {
        (self.0 ^ other.0) & (ALONE - 1) == 0
    }

    /// Returns whether the VM has one vCPU, so that nobody but that one can look at what is said of it.
    #[inline(always)]
    #[must_use]
    pub const fn is_alone(self) -> bool {
        self.0 & ALONE != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_core_chooses_tells_manners_apart_and_the_number_of_vcpus_does_not() {
        let plain = Manner::new(true, false, Speculation::ByCore, 1);
        let others = [
            Manner::new(false, false, Speculation::ByCore, 1),
            Manner::new(true, true, Speculation::ByCore, 1),
            Manner::new(true, false, Speculation::Plain, 1),
            Manner::new(true, false, Speculation::Guarded, 1),
        ];
        assert!(others.iter().all(|other| !plain.is_like(*other)));
        let many = Manner::new(true, false, Speculation::ByCore, 2);
        assert!(plain.is_like(many) && plain.is_alone() && !many.is_alone());
    }
}
