//! Told: the barriers and invalidations of [`super::stage2`] in a checked image. Each executes its instruction and tells the
//! page-table monitor. A release image has [`super::maintenance`] itself in this place.
//!
//! Each is a function of its own, so that a scenario can take one away (`damage` of a system file).

use super::maintenance;
use super::watch::{self, Barrier, Reach};

/// Makes one function that tells after the instruction, whose end it waits for.
macro_rules! barrier {
    ($name:ident, $told:expr) => {
        #[inline(never)]
        pub(super) fn $name() {
            maintenance::$name();
            $told;
        }
    };
}

/// Makes one function that tells before the instruction: what comes in between is not sure to be reached.
macro_rules! invalidation {
    ($name:ident, $reach:expr $(, $argument:ident)?) => {
        #[inline(never)]
        pub(super) fn $name($($argument: u64)?) {
            watch::invalidated($reach);
            maintenance::$name($($argument)?);
        }
    };
}

barrier!(isb, watch::synchronized());
barrier!(dsb_ish, watch::completed(Barrier::All));
barrier!(dsb_ishst, watch::completed(Barrier::Stores));
barrier!(dsb_nsh, watch::completed(Barrier::Here));
invalidation!(tlbi_ipas2e1is, Reach::Stage2(ipa), ipa);
invalidation!(tlbi_vmalle1is, Reach::Combined);
invalidation!(tlbi_vmalls12e1is, Reach::All);
invalidation!(tlbi_alle1is, Reach::Everything);
invalidation!(tlbi_alle1, Reach::Here);
