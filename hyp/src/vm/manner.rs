//! Manner: what of a VM decides how a core goes over to it. A core that goes from one VM to another of the same manner has
//! nothing to choose anew: the table of handlers, the vectors, and whose stage 1 is on it; nor to clear its predictors.

use super::speculation::Speculation;

/// What of a VM decides how a core goes over to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner(u16);

const OPEN: u16 = 1;
const NATIVE: u16 = 2;
const SPECULATION_AT: u32 = 2;
/// The place of a VM behind which predictors are cleared, and 1: such a one is like itself alone. Else 0.
const APART_AT: u32 = 4;
/// What a core chooses by.
const CHOSEN: u16 = ALONE - 1;
/// What of that is about what a core guesses.
const GUESSES: u16 = CHOSEN & !(OPEN | NATIVE);
/// The first bit above those that a core chooses by.
const ALONE: u16 = 1 << 11;

impl Manner {
    /// That of no VM: every one is entered otherwise.
    pub const NOBODY: Self = Self(3 << SPECULATION_AT);

    /// Returns the manner of a VM of `vcpus` vCPUs that enters EL2 by `speculation`; `is_open` says that it may make every call.
    #[must_use]
    pub const fn new(is_open: bool, is_native: bool, speculation: Speculation, vcpus: usize) -> Self {
        let open = if is_open { OPEN } else { 0 };
        let native = if is_native { NATIVE } else { 0 };
        let alone = if vcpus == 1 { ALONE } else { 0 };
        Self(open | native | alone | (speculation as u16) << SPECULATION_AT)
    }

    /// Returns the same for the VM in `place`, if there is one, behind which predictors are cleared.
    #[must_use]
    pub fn apart(self, place: Option<u8>) -> Self {
        Self(self.0 | place.map_or(0, |place| u16::from(place & 0x3f) + 1) << APART_AT)
    }

    /// Returns whether a core chooses nothing anew that goes from one to the other.
    #[inline(always)]
    #[must_use]
    pub const fn is_like(self, other: Self) -> bool {
        (self.0 ^ other.0) & CHOSEN == 0
    }

    /// Returns whether a core that goes from one to the other has the right vectors, and nothing in its predictors that is to be cleared.
    #[inline(always)]
    #[must_use]
    pub const fn guesses_like(self, other: Self) -> bool {
        (self.0 ^ other.0) & GUESSES == 0
    }

    /// Returns whether predictors are cleared behind the VM.
    #[must_use]
    pub const fn is_apart(self) -> bool {
        (self.0 & CHOSEN) >> APART_AT != 0
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
            plain.apart(Some(0)),
        ];
        assert!(others.iter().all(|other| !plain.is_like(*other)));
        let many = Manner::new(true, false, Speculation::ByCore, 2);
        assert!(plain.is_like(many) && plain.is_alone() && !many.is_alone());
    }

    #[test]
    fn a_vm_behind_which_predictors_are_cleared_is_like_itself_alone() {
        let manner = Manner::new(true, false, Speculation::ByCore, 1);
        let of = |place| manner.apart(Some(place));
        for place in 0..64 {
            assert!(of(place).is_apart() && of(place).is_alone() && of(place).is_like(of(place)));
            let others = (0..64).filter(|other| *other != place).map(of).chain([manner, Manner::NOBODY]);
            assert!(others.into_iter().all(|other| !of(place).is_like(other) && !of(place).guesses_like(other)));
        }
        assert!(!manner.is_apart() && !manner.apart(None).is_apart());
    }

    #[test]
    fn which_calls_a_vm_may_make_says_nothing_of_guesses_and_nobody_is_like_no_vm() {
        let manners = [Speculation::ByCore, Speculation::Plain, Speculation::Guarded]
            .map(|speculation| Manner::new(true, false, speculation, 1));
        assert!(manners.iter().all(|manner| !manner.guesses_like(Manner::NOBODY)) && !Manner::NOBODY.is_apart());
        assert!(manners[0].guesses_like(Manner::new(false, true, Speculation::ByCore, 2)));
        assert!(!manners[0].guesses_like(manners[1]));
    }
}
