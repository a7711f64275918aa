//! Stories: the whole way of a trap, from a guest's instruction to what the guest sees afterwards, on a PC. `arch::fake`
//! plays the guests; everything else is what runs on metal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]
#![allow(clippy::cast_possible_truncation, reason = "numbers of a test are small")]

mod parts;
mod plan;
mod stage;
mod talk;

mod channel_calls;
mod console_calls;
mod core_calls;
mod device_calls;
mod event_calls;
mod fault_reports;
mod faults;
mod filters;
mod fp;
mod handle_calls;
mod irq_calls;
mod irq_shares;
mod kinds;
mod lifecycle;
mod mem_calls;
mod memory_calls;
mod memory_limits;
mod native;
mod random;
mod reach;
mod refusals;
mod report;
mod restart;
mod restart_fails;
mod restart_peers;
mod restart_regions;
mod restart_shares;
mod services;
mod share_calls;
mod share_ends;
mod share_kinds;
mod share_overlaps;
mod share_pages;
mod share_settled;
mod space_calls;
mod space_sync;
mod switch;
mod time_backlog;
mod time_base;
mod time_calls;
mod time_clocks;
mod time_local;
mod time_preempt;
mod time_vector;
mod traced;
mod turns;
mod vcpu_calls;
mod vcpu_kicks;
mod vcpu_letters;
mod vcpu_moves;
mod vcpu_schedule;
mod vcpu_signal;
mod watchdog;
