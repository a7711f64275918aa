//! Beat: a core says that it does not hang in the hypervisor. It is due on every core in turn, also on one that sleeps, which wakes for it; and
//! found at the top of the loop, where a core that hangs does not come. Which cores have said so is [`Watchdog`](crate::machine::Watchdog)'s.

use crate::arch::{firmware, timer};
use crate::machine::{Cpu, Machine};
use crate::timer::Due;

/// Starts the board's watchdog, if the packed system wants it, before this core runs its first guest.
pub fn start(machine: &Machine, cpu: &mut Cpu) {
    if machine.watchdog.seconds != 0 {
        firmware::feed_watchdog(machine.watchdog.seconds); // by each core as it comes: the last one is not late
        beat(machine, cpu, timer::now());
    }
}

/// Serves the beat of this core, which is due: says when the next one is, and feeds the watchdog when all cores have come by.
#[cold]
#[inline(never)]
pub fn beat(machine: &Machine, cpu: &mut Cpu, now: u64) {
    if let Some(next) = machine.watchdog.next(now) {
        cpu.set_deadline(Due::Beat, next);
        if machine.watchdog.beat(cpu.index) {
            firmware::feed_watchdog(machine.watchdog.seconds);
        }
    }
}
