//! The bars that are missed, how far that is accepted, and why. `strato bench --check` fails above these ceilings, so that a
//! figure that misses its bar does not get worse unnoticed. Called by `bench`; a figure that is not here has its bar alone.

/// A bar that is missed.
#[derive(Clone, Copy, Debug)]
pub struct Miss {
    /// Name of the figure.
    pub name: &'static str,
    /// The most that is accepted.
    pub ceiling: u64,
    /// Why the bar is missed.
    pub why: &'static str,
}

/// Every accepted miss.
pub const ACCEPTED: &[Miss] = &[
    Miss {
        name: "share_accept_map",
        ceiling: 510,
        why: "ACCEPT and MAP take two calls and two locks: the floor is about 410",
    },
    Miss {
        name: "event_to_idle_core",
        ceiling: 670,
        why: "to the interrupt 151: entry 12, the event 61, request, letter and SGI 78; from there 507: awake and acknowledged 63, mail 112, made ready 93, chosen 70, its times, line, selector and timer 127, entry 42",
    },
    Miss {
        name: "event_round_trip_two_vms_one_core",
        ceiling: 999,
        why: "two SENDs of 153 (entry and exit 24, the event 58, waking and queueing 71), two WAITs of 302 (entry 13, the call 15, frame and EL1 out 43 and in 46, \
              the pass 185), and the guests: 398 without anything that chooses, queues, or adds up times",
    },
    Miss {
        name: "signal_wait_round_trip",
        ceiling: 753,
        why: "two calls of 349 (entry 13, the event 58, whether its receiver takes over 33, frame and EL1 out 43 and in 46, blocking 25, queue and turn 23, leases 15, \
              times 21, address space 9, the answer 20, the rest of the pass 43), and the guests: 320 without anything that chooses, queues, or adds up times",
    },
    Miss {
        name: "text_bytes",
        ceiling: 260 << 10,
        why: "all calls of ABI 1.2, devices, timers, shares of cores, two boards, guests with an MMU of their own, guarded vectors, VMs that are made again with their shares of time and their memory, single bits of registers, the last lines and a value over a reset, a watchdog, and the loop once more for traces",
    },
];

/// Returns the miss that is accepted of the figure `name`.
#[must_use]
pub fn miss(name: &str) -> Option<&'static Miss> {
    ACCEPTED.iter().find(|miss| miss.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::FIGURES;

    #[test]
    fn an_accepted_miss_is_of_a_figure_and_above_its_bar() {
        for miss in ACCEPTED {
            let figure = FIGURES.iter().find(|figure| figure.name == miss.name).unwrap();
            assert!(figure.bar.is_some_and(|bar| bar < miss.ceiling), "{} misses nothing", miss.name);
        }
    }
}
