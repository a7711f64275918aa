//! Why a guest gives up: one type that everything here converts into by `?`, for programs that need no finer one.

use ::core::fmt;

use crate::error::Error;
use crate::info::Missing;
use crate::memory::AccessError;
use crate::ring::RingError;
use crate::vcpu::LaunchError;

/// A reason to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The guest's own words.
    Because(&'static str),
    /// A number is not what it has to be.
    Number {
        /// What the number is.
        what: &'static str,
        /// What it is.
        found: u64,
        /// What it has to be.
        expected: u64,
    },
    /// A call was refused.
    Call(Error),
    /// A window's access was refused.
    Access(AccessError),
    /// A ring does not go on.
    Ring(RingError),
    /// A handle is not in the manifest.
    Missing(Missing<'static>),
    /// A vCPU was not launched.
    Launch(LaunchError),
}

/// Returns the failure `reason` unless the condition `holds`.
///
/// # Errors
/// It does not hold.
pub const fn ensure(holds: bool, reason: &'static str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::Because(reason)) }
}

/// Returns a failure that names `what` unless `found` is what was `expected`.
///
/// # Errors
/// They differ.
pub const fn ensure_equal(what: &'static str, found: u64, expected: u64) -> Result<(), Failure> {
    if found == expected { Ok(()) } else { Err(Failure::Number { what, found, expected }) }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Because(reason) => f.write_str(reason),
            Self::Number { what, found, expected } => write!(f, "{what} is {found}, not {expected}"),
            Self::Call(error) => error.fmt(f),
            Self::Access(error) => error.fmt(f),
            Self::Ring(error) => error.fmt(f),
            Self::Missing(missing) => missing.fmt(f),
            Self::Launch(error) => error.fmt(f),
        }
    }
}

impl ::core::error::Error for Failure {}

macro_rules! from {
    ($($type:ty => $variant:ident),* $(,)?) => { $(
        impl From<$type> for Failure {
            fn from(reason: $type) -> Self {
                Self::$variant(reason)
            }
        }
    )* };
}

from! {
    &'static str => Because,
    Error => Call,
    AccessError => Access,
    RingError => Ring,
    Missing<'static> => Missing,
    LaunchError => Launch,
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn a_number_that_differs_is_named_with_both_values() {
        assert_eq!(ensure_equal("the counter", 3, 3), Ok(()));
        assert_eq!(ensure_equal("the counter", 3, 4).unwrap_err().to_string(), "the counter is 3, not 4");
    }

    #[test]
    fn a_condition_that_does_not_hold_is_the_reason() {
        assert_eq!(ensure(true, "never"), Ok(()));
        assert_eq!(ensure(false, "no room").unwrap_err().to_string(), "no room");
    }

    #[test]
    fn what_the_library_refuses_keeps_its_own_words() {
        let launch = Failure::from(LaunchError::StackInUse);
        assert_eq!(launch.to_string(), "the stack serves a vCPU already");
        assert_eq!(Failure::from(AccessError::Outside).to_string(), "no aligned word of the window");
    }
}
