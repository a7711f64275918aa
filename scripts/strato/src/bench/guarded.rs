//! The figures with entries guarded against branch history (`speculation = "guarded"`), and how much more each may be.
//! Called by `bench`.

/// Instructions that the guard may add to an entry from a guest.
const GUARD: u64 = 29;

/// A figure of the system `bench` or `bench_cores`, taken in the system `bench_guarded` or `bench_cores_guarded`.
#[derive(Clone, Copy, Debug)]
pub struct Guarded {
    /// Name.
    pub name: &'static str,
    /// Name of the same without the guard.
    pub plain: &'static str,
    /// Entries from a guest that it counts, or of a batch its whole length and more: rounded up to one.
    pub entries: u64,
}

impl Guarded {
    /// Returns the most that the figure may be where the plain one is `plain`.
    #[must_use]
    pub const fn bar(&self, plain: u64) -> u64 {
        plain + GUARD * self.entries
    }
}

const fn guarded(name: &'static str, plain: &'static str, entries: u64) -> Guarded {
    Guarded { name, plain, entries }
}

/// Every figure that counts entries from a guest.
pub const GUARDED: &[Guarded] = &[
    guarded("null_call_guarded", "null_call", 1),
    guarded("event_send_guarded", "event_send", 1),
    guarded("event_send_to_handler_self_guarded", "event_send_to_handler_self", 2),
    guarded("event_to_idle_core_guarded", "event_to_idle_core", 1),
    guarded("event_round_trip_two_vms_one_core_guarded", "event_round_trip_two_vms_one_core", 4),
    guarded("signal_wait_round_trip_guarded", "signal_wait_round_trip", 2),
    guarded("preempt_to_first_instruction_guarded", "preempt_to_first_instruction", 1),
    guarded("yield_alone_guarded", "yield_alone", 1),
    guarded("yield_round_trip_two_vms_one_core_guarded", "yield_round_trip_two_vms_one_core", 2),
    guarded("timer_to_handler_guarded", "timer_to_handler", 1),
    guarded("local_timer_to_handler_guarded", "local_timer_to_handler", 1),
    guarded("map_4k_guarded", "map_4k", 1),
    guarded("map_4k_batch_guarded", "map_4k_batch", 1),
    guarded("unmap_4k_guarded", "unmap_4k", 1),
    guarded("unmap_4k_batch_guarded", "unmap_4k_batch", 1),
    guarded("map_2m_guarded", "map_2m", 1),
    guarded("page_fault_map_return_guarded", "page_fault_map_return", 2),
    guarded("share_accept_map_guarded", "share_accept_map", 2),
    guarded("share_relinquish_guarded", "share_relinquish", 1),
    guarded("ring_message_64b_guarded", "ring_message_64b", 1),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{FIGURES, Figure, From};

    #[test]
    fn every_figure_of_a_guest_is_taken_with_the_guard_too() {
        let is_of_guest = |figure: &&Figure| matches!(figure.from, From::Guest | From::Cores);
        let plain: Vec<_> = FIGURES.iter().filter(is_of_guest).map(|figure| figure.name).collect();
        assert_eq!(GUARDED.iter().map(|figure| figure.plain).collect::<Vec<_>>(), plain);
        for figure in GUARDED {
            assert_eq!(figure.name, format!("{}_guarded", figure.plain));
            assert!(figure.bar(100) > 100);
        }
    }
}
