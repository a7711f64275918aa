//! Workarounds: what firmware with PSCI does against speculation on the core that asks (Arm DEN 0028, "Arm architecture calls"). A pure
//! decision; `firmware.rs` asks on each core and has it done.

use smccc::arch::{
    SMCCC_ARCH_FEATURES, SMCCC_ARCH_WORKAROUND_1, SMCCC_ARCH_WORKAROUND_2, SMCCC_ARCH_WORKAROUND_3, SMCCC_VERSION,
};
use smccc::psci::PSCI_FEATURES;

/// What a core has its firmware do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workarounds {
    /// The call that clears what the branch predictors hold (Spectre v2), if the core needs one.
    pub clears: Option<u32>,
    /// Whether loads are to be kept from passing older stores (Spectre v4), which the firmware allows unless it is asked.
    pub orders_stores: bool,
}

/// The answer of SMCCC_ARCH_FEATURES by which this core needs the call. 1 is that it does not, though others do; what is negative, that
/// there is none, or that it is done already.
const IS_NEEDED: i32 = 0;
/// The first version with SMCCC_ARCH_FEATURES: 1.1.
const FIRST_VERSION: i32 = 1 << 16 | 1;

/// Returns what the calling core has its firmware do. `psci` is its version of PSCI, major and minor; `ask` calls a function with an argument and
/// returns w0. Nothing is called that the firmware has not said to be there.
#[must_use]
pub fn of(psci: Option<(u16, u16)>, ask: &dyn Fn(u32, u32) -> i32) -> Workarounds {
    if psci.is_none_or(|(major, _)| major < 1)
        || ask(PSCI_FEATURES, SMCCC_VERSION) < 0
        || ask(SMCCC_VERSION, 0) < FIRST_VERSION
    {
        return Workarounds::default();
    }
    let needs = |call: &u32| ask(SMCCC_ARCH_FEATURES, *call) == IS_NEEDED;
    Workarounds {
        // The third does what the first does, and forgets the branch history too.
        clears: [SMCCC_ARCH_WORKAROUND_3, SMCCC_ARCH_WORKAROUND_1].into_iter().find(needs),
        orders_stores: needs(&SMCCC_ARCH_WORKAROUND_2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Returns what comes of a firmware that answers as told, and the functions that were called.
    fn with(psci: Option<(u16, u16)>, answers: &[(u32, u32, i32)]) -> (Workarounds, Vec<u32>) {
        let called = RefCell::new(Vec::new());
        let found = of(psci, &|function, argument| {
            called.borrow_mut().push(function);
            let answer = answers.iter().find(|(f, a, _)| (*f, *a) == (function, argument));
            answer.map_or(-1, |(_, _, answer)| *answer)
        });
        (found, called.into_inner())
    }

    const THERE: [(u32, u32, i32); 2] = [(PSCI_FEATURES, SMCCC_VERSION, 0), (SMCCC_VERSION, 0, 0x1_0002)];

    /// The same of one whose SMCCC_ARCH_FEATURES says this of the three.
    fn of_three(one: i32, two: i32, three: i32) -> Workarounds {
        let says = |call, answer| (SMCCC_ARCH_FEATURES, call, answer);
        let three = says(SMCCC_ARCH_WORKAROUND_3, three);
        let answers = [says(SMCCC_ARCH_WORKAROUND_1, one), says(SMCCC_ARCH_WORKAROUND_2, two), three];
        with(Some((1, 1)), &[&THERE[..], &answers].concat()).0
    }

    #[test]
    fn nothing_is_called_without_psci_or_by_a_psci_that_has_no_features() {
        for psci in [None, Some((0, 2))] {
            assert_eq!(with(psci, &THERE), (Workarounds::default(), vec![]));
        }
    }

    #[test]
    fn the_version_is_asked_for_where_psci_has_it_and_features_from_1_1_on() {
        assert_eq!(with(Some((1, 1)), &[]), (Workarounds::default(), vec![PSCI_FEATURES]));
        for version in [-1, 0x1_0000] {
            let (found, called) = with(Some((1, 0)), &[THERE[0], (SMCCC_VERSION, 0, version)]);
            assert_eq!((found, called), (Workarounds::default(), vec![PSCI_FEATURES, SMCCC_VERSION]));
        }
    }

    #[test]
    fn the_third_is_called_in_place_of_the_first_where_the_core_needs_both() {
        assert_eq!(of_three(0, -1, 0).clears, Some(SMCCC_ARCH_WORKAROUND_3));
        assert_eq!(of_three(0, -1, -1).clears, Some(SMCCC_ARCH_WORKAROUND_1));
        assert_eq!(of_three(0, -1, 1).clears, Some(SMCCC_ARCH_WORKAROUND_1));
    }

    #[test]
    fn a_core_that_needs_none_or_has_it_done_already_asks_for_none() {
        for answer in [1, -1, -2] {
            assert_eq!(of_three(answer, answer, answer), Workarounds::default());
        }
        assert!(of_three(-1, 0, -1).orders_stores);
    }
}
