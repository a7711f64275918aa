//! Time of a VM: its counter begins with 0 when it first starts, and goes on with the machine's. The only place where ticks of a guest
//! become the machine's, which EL2 counts by, and the machine's a guest's.

use super::Vm;
use crate::sync::Ordering;
use crate::timer::Wall;

impl Vm {
    /// Begins the VM's time at `now`, in ticks of the machine, of which there are `hz` in a second; and says in its records what time of
    /// day that is. Called once, before its first vCPU is started: it never changes again.
    pub fn begin_time(&self, now: u64, wall: Option<Wall>, hz: u64) {
        self.base.store(now, Ordering::Relaxed); // whoever starts a vCPU tells its core behind this
        if let Some(wall) = wall {
            (0..self.vcpu_count()).for_each(|vcpu| self.note_wall(vcpu, wall.at(now, hz)));
        }
    }

    /// Returns what the machine's counter showed when the VM's time began: CNTVOFF_EL2 wherever a vCPU of it runs.
    #[inline(always)]
    #[must_use]
    pub fn time_base(&self) -> u64 {
        self.base.load(Ordering::Relaxed)
    }

    /// Returns the moment, in ticks of the machine, at which the VM's counter shows `ticks`. What is beyond the end of time never comes, as
    /// [`crate::timer::NEVER`] does not.
    #[inline(always)]
    #[must_use]
    pub fn moment_of(&self, ticks: u64) -> u64 {
        ticks.saturating_add(self.time_base())
    }

    /// Returns what the VM's counter shows at `moment`, in ticks of the machine, which is not before its time began.
    #[inline(always)]
    #[must_use]
    pub fn ticks_at(&self, moment: u64) -> u64 {
        moment.wrapping_sub(self.time_base())
    }
}
