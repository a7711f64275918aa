//! Restart: whether a VM is made again when it has ended, and what its next life knows of those before. Pure.
//!
//! Asked by the dispatcher's reaper once everything is back; `builder` makes the VM again.

use strato_abi::info_page::{BOOT_FAILURE, BOOT_FIRST, BOOT_REQUEST};
use strato_abi::plan::{CreateVm, VM_REBOOT, VM_RESTART};

use super::Ending;

/// When a VM is made again, as its record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    after_failure: bool,
    on_request: bool,
    /// Restarts in each span of time.
    pub limit: u8,
    /// That span, in seconds.
    pub window_s: u16,
}

/// Which life of a VM it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Why it began: `BOOT_*` of the info page.
    pub reason: u32,
    /// The number of the life, from 1 on.
    pub number: u32,
    /// The exit code of the one before, or 0.
    pub last_exit: u64,
    /// Restarts in the span that runs, this one included.
    pub restarts: u8,
    // When that span began, in ticks.
    since: u64,
    // Pages that the lives before left to other VMs, which hold them or did.
    left: u64,
}

/// What follows the end of a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is over.
    Over,
    /// It is over, though its manifest restarts it: it was restarted as often as may be in this time.
    Often,
    /// It is over, though its manifest restarts it: it left more pages to others, this many in all, than it may have.
    Spent(u64),
    /// It is made again, for this life.
    Again(Life),
}

impl Rule {
    /// The rule of a VM that is never made again.
    pub const NEVER: Self = Self { after_failure: false, on_request: false, limit: 0, window_s: 0 };

    /// Returns the rule of `record`.
    #[must_use]
    pub const fn of(record: &CreateVm) -> Self {
        let after_failure = record.flags & VM_RESTART != 0;
        let on_request = after_failure && record.flags & VM_REBOOT != 0;
        Self { after_failure, on_request, limit: record.restart_limit, window_s: record.restart_window_s }
    }

    /// Returns whether it ever is.
    #[must_use]
    pub const fn restarts(&self) -> bool {
        self.after_failure
    }

    /// Returns whether the VM may ask for a restart.
    #[must_use]
    pub const fn may_ask(&self) -> bool {
        self.on_request
    }
}

impl Life {
    /// The first life of every VM.
    pub const FIRST: Self = Self { reason: BOOT_FIRST, number: 1, last_exit: 0, restarts: 0, since: 0, left: 0 };

    /// Returns the first generation of its handles. It has 16 bits, and is never 0.
    #[must_use]
    pub fn first_generation(&self) -> u16 {
        u16::try_from(self.number.wrapping_sub(1) % u32::from(u16::MAX)).unwrap_or(0).wrapping_add(1)
    }

    /// Returns what follows this life, which had `ending` at `now`, in ticks of `hertz` to a second. It left `left` pages to others, and
    /// its quota is `quota` pages.
    #[must_use]
    pub fn judge(&self, rule: Rule, ending: Ending, (left, quota): (u64, u64), now: u64, hertz: u64) -> Verdict {
        let (is_wanted, reason, last_exit) = match ending {
            Ending::Exit(0) | Ending::Unmade => (false, BOOT_FIRST, 0),
            Ending::Exit(code) => (rule.after_failure, BOOT_FAILURE, code),
            Ending::Panic { .. } | Ending::Stopped | Ending::Watchdog(_) => (rule.after_failure, BOOT_FAILURE, 0),
            Ending::Reboot => (rule.on_request, BOOT_REQUEST, 0),
        };
        let Some(number) = self.number.checked_add(1).filter(|number| is_wanted && *number < NUMBERS) else {
            return Verdict::Over;
        };
        // What they left is charged to nobody: a VM that ends again and again must not fill the memory so.
        let left = self.left.saturating_add(left);
        if left > quota {
            return Verdict::Spent(left);
        }
        let window = hertz.saturating_mul(u64::from(rule.window_s));
        let is_running = self.restarts != 0 && now.saturating_sub(self.since) < window;
        let (since, before) = if is_running { (self.since, self.restarts) } else { (now, 0) };
        match before.checked_add(1).filter(|&restarts| restarts <= rule.limit) {
            Some(restarts) => Verdict::Again(Self { reason, number, last_exit, restarts, since, left }),
            None => Verdict::Often,
        }
    }
}

/// Lives that a VM can have: its incarnation is the number of its life, and has 30 bits.
const NUMBERS: u32 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    const CRASH: Ending = Ending::Panic { reason: 0, pc: 0, esr: 0, far: 0 };
    const HERTZ: u64 = 100;

    fn rule(flags: u32) -> Rule {
        let mut record = CreateVm::new_zeroed();
        (record.flags, record.restart_limit, record.restart_window_s) = (flags, 2, 10);
        Rule::of(&record)
    }

    fn after(life: Life, rule: Rule, ending: Ending, now: u64) -> Verdict {
        life.judge(rule, ending, (0, 100), now, HERTZ)
    }

    fn reason(flags: u32, ending: Ending) -> Option<u32> {
        match after(Life::FIRST, rule(flags), ending, 5) {
            Verdict::Again(life) => Some(life.reason),
            Verdict::Over | Verdict::Often | Verdict::Spent(_) => None,
        }
    }

    #[test]
    fn which_ends_are_restarted_is_what_the_manifest_says_and_a_clean_exit_never_is() {
        let (never, failures, always) = (0, VM_RESTART, VM_RESTART | VM_REBOOT);
        let endings = [Ending::Exit(0), Ending::Exit(3), CRASH, Ending::Stopped, Ending::Reboot, Ending::Unmade];
        assert_eq!(endings.map(|ending| reason(never, ending)), [None; 6]);
        let failed = Some(BOOT_FAILURE);
        assert_eq!(endings.map(|ending| reason(failures, ending)), [None, failed, failed, failed, None, None]);
        let asked = Some(BOOT_REQUEST);
        assert_eq!(endings.map(|ending| reason(always, ending)), [None, failed, failed, failed, asked, None]);
        assert_eq!(reason(VM_REBOOT, Ending::Reboot), None, "the flag means nothing alone");
    }

    #[test]
    fn a_span_begins_with_a_restart_and_holds_so_many() {
        let always = rule(VM_RESTART);
        let again = |life, now| {
            let Verdict::Again(life) = after(life, always, CRASH, now) else { panic!("it is over at {now}") };
            life
        };
        let first = again(Life::FIRST, 50);
        let second = again(first, 60);
        assert_eq!((second.number, second.restarts), (3, 2));
        assert_eq!(after(second, always, CRASH, 1049), Verdict::Often, "a tick less than ten seconds after the first");
        let third = again(second, 1050);
        assert_eq!((third.number, third.restarts), (4, 1), "a new span");
        assert_eq!(again(third, 1051).restarts, 2);
        assert_eq!(after(Life::FIRST, Rule { limit: 0, ..always }, CRASH, 5), Verdict::Often);
    }

    #[test]
    fn the_exit_code_is_handed_on() {
        let code = |ending| {
            let Verdict::Again(life) = after(Life::FIRST, rule(VM_RESTART), ending, 5) else { panic!("it is over") };
            life.last_exit
        };
        assert_eq!((code(Ending::Exit(7)), code(CRASH)), (7, 0));
    }

    #[test]
    fn one_that_leaves_more_than_it_may_have_to_others_is_over() {
        let failures = rule(VM_RESTART);
        let Verdict::Again(second) = Life::FIRST.judge(failures, CRASH, (60, 100), 5, HERTZ) else { unreachable!() };
        assert_eq!(second.judge(failures, CRASH, (41, 100), 6, HERTZ), Verdict::Spent(101));
        assert!(matches!(second.judge(failures, CRASH, (40, 100), 6, HERTZ), Verdict::Again(_)));
    }

    #[test]
    fn each_life_has_another_first_generation_than_the_one_before_and_none_is_0() {
        let first = |number| Life { number, ..Life::FIRST }.first_generation();
        assert_eq!([1, 2, 65_535, 65_536].map(first), [1, 2, 65_535, 1]);
    }

    #[test]
    fn lives_are_counted_to_the_last_number() {
        let last = Life { number: NUMBERS - 1, ..Life::FIRST };
        assert_eq!(after(last, rule(VM_RESTART), CRASH, 5), Verdict::Over);
    }
}
