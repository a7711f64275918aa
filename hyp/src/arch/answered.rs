//! Answered: what a handler of a call says to the vector, in two words. Read by `switch.S`; made by `hypercall::reply`. Holds no policy.

use core::mem::offset_of;

use super::frame::{Answers, Passers};

/// What x0 to x3 hold after a call that is not answered by [`Answered::success`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Results {
    /// x0 to x3; x4 to x17 leave as zero.
    pub x: [u64; 4],
}

/// What a handler of a call answers. Two words, so that it comes back in x0 and x1: most calls have one result or none.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Answered<'r> {
    way: u64,
    value: Value<'r>,
}

/// What goes with [`Answered::way`].
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) union Value<'r> {
    pub(super) x1: u64,
    pub(super) results: &'r Results,
    nothing: (),
}

/// [`Answered::way`]: x0 is zero, and x1 is the value.
pub(super) const SUCCESS: u64 = 0;
/// [`Answered::way`]: x0 to x3 stand where the value says.
pub(super) const STORED: u64 = 1;
// Every other [`Answered::way`] is that of a call that leaves: where in [`Answers`] the passer stands. Not in the value: that is what a guest
// chose of a call that succeeds, and a core that guesses the way wrongly would jump by it.

/// What a call leaves for: each has a passer of its own, so that nobody asks again what a handler knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// What stands in the context.
    Told,
    /// An equal has the core.
    Yield,
    /// The vCPU waits for an event alone.
    Wait,
    /// The same, and whom its event woke takes over.
    Signal,
}

impl Leave {
    /// Returns where in [`Answers`] its passer stands.
    const fn place(self) -> u64 {
        let place = match self {
            Self::Told => offset_of!(Passers<'static, u8, u8>, told),
            Self::Yield => offset_of!(Passers<'static, u8, u8>, yields),
            Self::Wait => offset_of!(Passers<'static, u8, u8>, waits),
            Self::Signal => offset_of!(Passers<'static, u8, u8>, signals),
        };
        let place = offset_of!(Answers<'static, u8, u8>, pass) + place;
        assert!(place.is_multiple_of(2) && place != 0, "the vector tells it from the other ways by bit 0");
        place as u64
    }
}

impl<'r> Answered<'r> {
    /// The call leaves; what follows stands in the context.
    pub const LEAVE: Self = Self::leave(Leave::Told);

    /// The call leaves for this.
    #[inline(always)]
    #[must_use]
    pub const fn leave(to: Leave) -> Self {
        Self { way: to.place(), value: Value { nothing: () } }
    }

    /// Returns what the call leaves for, if it does.
    #[must_use]
    pub fn leaves(self) -> Option<Leave> {
        [Leave::Told, Leave::Yield, Leave::Wait, Leave::Signal].into_iter().find(|to| to.place() == self.way)
    }

    /// Returns success with `x1` as the result: back to the guest, which finds zero in every other register that is not
    /// preserved.
    #[inline(always)]
    #[must_use]
    pub const fn success(x1: u64) -> Self {
        Self { way: SUCCESS, value: Value { x1 } }
    }

    /// Returns these results: back to the guest.
    #[inline(always)]
    #[must_use]
    pub const fn stored(results: &'r Results) -> Self {
        Self { way: STORED, value: Value { results } }
    }

    /// Returns what x0 to x3 hold, or `None` when the call leaves.
    #[must_use]
    pub const fn results(self) -> Option<[u64; 4]> {
        match self.way {
            // SAFETY: the value is what its way says, by the constructors.
            SUCCESS => Some([0, unsafe { self.value.x1 }, 0, 0]),
            // SAFETY: as above.
            STORED => Some(unsafe { self.value.results }.x),
            _ => None,
        }
    }

    /// Returns the two words.
    #[cfg_attr(target_os = "none", expect(dead_code, reason = "the vector takes them as they are"))]
    pub(super) const fn parts(self) -> (u64, Value<'r>) {
        (self.way, self.value)
    }
}
