//! Counts the instructions of a case: a run of its own, because the run that is judged has real parallelism. Called by `test`.

use std::time::Duration;

use super::place::Place;
use super::{Ready, boot};
use crate::qemu::{Qemu, Virt};
use crate::system::System;

/// How often a case that passed is run again to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// Nobody asks for the number.
    No,
    /// Once, for the record, or for the lines that are expected of counted runs alone.
    Once,
    /// Twice, and the numbers have to agree.
    Twice,
}

impl Counting {
    /// Returns what `system` wants, and what records need.
    #[must_use]
    pub fn of(system: &System, is_recorded: bool) -> Self {
        if system.is_counted {
            Self::Twice
        } else if is_recorded || !system.expect.counted.is_empty() {
            Self::Once
        } else {
            Self::No
        }
    }
}

/// Returns the instructions of the case, or `None` when it cannot be counted or need not be.
///
/// # Errors
/// A counted run is not as the system expects, or two of them differ: the reason.
pub fn count(
    qemu: &Qemu,
    machine: &Virt,
    image: &[u8],
    ready: &Ready,
    counting: Counting,
) -> Result<Option<u64>, String> {
    let place = Place::Qemu(qemu.clone(), Virt { is_counted: true, ..machine.clone() });
    // All cores share one thread of the host, and the limit is that of a run in parallel.
    let limit = Duration::from_secs(4 * u64::from(ready.system.time_limit_s));
    let once = || {
        let run = boot::boot_unseen(&place, image, ready, limit).map_err(|error| format!("{error:#}"))?;
        match run.reasons.first() {
            None => Ok(run.instructions),
            Some(reason) => Err(format!("the counted run: {reason}")),
        }
    };
    match counting {
        Counting::No => Ok(None),
        Counting::Once => once(),
        Counting::Twice => agree(once()?, once()?).map(Some),
    }
}

fn agree(first: Option<u64>, second: Option<u64>) -> Result<u64, String> {
    match (first, second) {
        (Some(first), Some(second)) if first == second => Ok(first),
        (Some(first), Some(second)) => Err(format!("two counted runs differ: {first} and {second} instructions")),
        (None, _) | (_, None) => Err("a counted run has no count".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_counted_runs_have_to_give_the_same_number() {
        assert_eq!(agree(Some(7), Some(7)), Ok(7));
        assert_eq!(agree(Some(7), Some(8)).unwrap_err(), "two counted runs differ: 7 and 8 instructions");
        assert!(agree(None, Some(7)).is_err() && agree(Some(7), None).is_err() && agree(None, None).is_err());
    }
}
