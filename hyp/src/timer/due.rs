//! Due: what a deadline is for, and the place where it stands among those of a core. Pure.

use strato_abi::time::TIMERS_PER_VM;
use strato_abi::vcpu::SCHED_PER_CORE;

/// vCPUs of the machine.
const VCPUS: u16 = 512;
/// VMs of the machine.
const VMS: u16 = 64;
#[allow(clippy::cast_possible_truncation, reason = "32")]
const TIMERS: u16 = TIMERS_PER_VM as u16;
#[allow(clippy::cast_possible_truncation, reason = "32")]
const RESERVATIONS: u16 = SCHED_PER_CORE as u16;
const LOCALS_AT: u16 = VCPUS;
const TIMERS_AT: u16 = LOCALS_AT + VCPUS;
const RESERVATIONS_AT: u16 = TIMERS_AT + VMS * TIMERS;
const BEAT_AT: u16 = RESERVATIONS_AT + RESERVATIONS;
const LIMIT_AT: u16 = BEAT_AT + 1;
const SHARES_AT: u16 = LIMIT_AT + 1;
/// Places for deadlines: of every wait, every local timer, every timer of every VM and every reservation of a core, of its beat, of the
/// whole system, and one more.
pub(super) const PLACES: usize = SHARES_AT as usize + 1;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The wait of the vCPU of this number.
    Wait(u16),
    /// The local timer of the vCPU of this number, while it is not on the core.
    Local(u16),
    /// A timer.
    Timer {
        /// Place of its VM, below 64.
        vm: u8,
        /// Its slot there, below 32.
        slot: u8,
    },
    /// The next budget of the reservation in this place of the core, or the end of the one that is being used.
    Reservation(u8),
    /// The core is to say that it does not hang.
    Beat,
    /// The end of the time in which a system of a series has to end.
    Limit,
    /// The earliest of the deadlines that stand by themselves, since they concern who has a share of the core's time.
    Shares,
}

impl Due {
    /// Returns where such a deadline stands.
    #[inline(always)]
    #[must_use]
    pub const fn place(self) -> usize {
        match self {
            Self::Wait(vcpu) => (vcpu % VCPUS) as usize,
            Self::Local(vcpu) => (LOCALS_AT + vcpu % VCPUS) as usize,
            Self::Timer { vm, slot } => (TIMERS_AT + (vm as u16 % VMS) * TIMERS + slot as u16 % TIMERS) as usize,
            Self::Reservation(place) => (RESERVATIONS_AT + place as u16 % RESERVATIONS) as usize,
            Self::Beat => BEAT_AT as usize,
            Self::Limit => LIMIT_AT as usize,
            Self::Shares => SHARES_AT as usize,
        }
    }

    /// Returns whether this is about one of the VMs of `vms`, a bit for each place, or about what no VM may put off: a reservation, the beat, or the end.
    #[inline(always)]
    #[must_use]
    pub const fn is_of(self, vms: u64) -> bool {
        let vm = match self {
            Self::Wait(vcpu) | Self::Local(vcpu) => vcpu / 8,
            Self::Timer { vm, .. } => vm as u16,
            Self::Reservation(_) | Self::Beat | Self::Limit => return true,
            Self::Shares => return false,
        };
        vms >> (vm & 63) & 1 != 0
    }

    /// Returns what the deadline at `place`, below `PLACES`, is for.
    #[inline(always)]
    #[must_use]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "places are below 2^12, and each part is taken modulo its number"
    )]
    pub const fn at(place: usize) -> Self {
        let place = place as u16;
        if place < LOCALS_AT {
            Self::Wait(place)
        } else if place < TIMERS_AT {
            Self::Local(place - LOCALS_AT)
        } else if place >= SHARES_AT {
            Self::Shares
        } else if place >= LIMIT_AT {
            Self::Limit
        } else if place >= BEAT_AT {
            Self::Beat
        } else if place >= RESERVATIONS_AT {
            Self::Reservation((place - RESERVATIONS_AT) as u8)
        } else {
            let number = place - TIMERS_AT;
            Self::Timer { vm: (number / TIMERS % VMS) as u8, slot: (number % TIMERS) as u8 }
        }
    }
}

/// Returns the slot of the timer at `place`, if it is one of the VM in place `vm`: what [`Due::at`] says, in fewer instructions.
#[inline(always)]
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "below 32")]
pub const fn timer_of(place: usize, vm: u8) -> Option<u8> {
    let slot = place.wrapping_sub((TIMERS_AT + (vm as u16 % VMS) * TIMERS) as usize);
    if slot < TIMERS as usize { Some(slot as u8) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_for_one_thing() {
        for place in 0..PLACES {
            assert_eq!(Due::at(place).place(), place);
            for vm in [0, 1, 62, 63] {
                let expected = matches!(Due::at(place), Due::Timer { vm: of, .. } if of == vm);
                let slot = timer_of(place, vm);
                assert_eq!(slot.is_some(), expected);
                assert!(slot.is_none_or(|slot| Due::Timer { vm, slot }.place() == place));
            }
        }
        assert_eq!(Due::at(511), Due::Wait(511));
        assert_eq!(Due::at(512), Due::Local(0));
        assert_eq!(Due::at(3071), Due::Timer { vm: 63, slot: 31 });
        assert_eq!(Due::at(PLACES - 4), Due::Reservation(31));
        assert_eq!(Due::at(PLACES - 3), Due::Beat);
        assert_eq!(Due::at(PLACES - 2), Due::Limit);
        assert_eq!(Due::at(PLACES - 1), Due::Shares);
    }

    #[test]
    fn a_deadline_is_of_the_vm_whose_wait_or_timer_it_is() {
        for place in 0..PLACES {
            for vm in [0, 1, 62, 63] {
                let expected = match Due::at(place) {
                    Due::Wait(vcpu) | Due::Local(vcpu) => vcpu / 8 == vm,
                    Due::Timer { vm: of, .. } => u16::from(of) == vm,
                    due @ (Due::Reservation(_) | Due::Beat | Due::Limit | Due::Shares) => due != Due::Shares,
                };
                assert_eq!(Due::at(place).is_of(1 << vm), expected);
            }
        }
    }
}
