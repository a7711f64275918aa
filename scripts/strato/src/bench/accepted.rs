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
        ceiling: 465,
        why: "ACCEPT 235, MAP 191 and the guest 39: two calls, each with the VM's lock, and the other VM's or the allocator's behind it; the floor is about 390, with an ACCEPT that keeps nothing and makes no frame",
    },
    Miss {
        name: "text_bytes",
        ceiling: 270 << 10,
        why: "all calls of ABI 1.2, devices, timers, shares of cores, two boards, guests with an MMU of their own, guarded vectors, VMs that are made again with their shares of time and their memory, single bits of registers, the last lines and a value over a reset, a watchdog, series of systems with their report, a second kind of UART, calls to the firmware against speculation, and the loop once more for traces",
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
