//! Shared: what is done to the shared peripheral interrupts, one at a time, by the distributor. Called by boot for the UART's
//! and by [`super::Line`] for those of devices.

use super::{Gic, GicError, IntId, Token, Version, v3};
use crate::arch::core_base::CoreIndex;
use crate::arch::maintenance;

/// How urgent an interrupt is (GICD_IPRIORITYR): what has the lower value comes first.
///
/// Where firmware keeps interrupts of its own, the controller moves what is written here into the lower half of the priorities, and there is
/// firmware under which it does so in the distributor and not in a core's mask, or the other way around (IHI 0069, "Non-secure accesses to
/// register fields for Secure interrupt priorities"). The order of these two and of [`Masked::Low`] is the same in each case, and within the
/// four bits that every controller has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Priority {
    /// That of all interrupts but these:
    Usual = 0x80,
    /// That of devices, while they may not take time that is reserved.
    Low = 0xe0,
}

/// Which interrupts a core does not take (GICC_PMR, ICC_PMR_EL1): those whose priority is not below the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Masked {
    /// None.
    Nothing = 0xff,
    /// Those of [`Priority::Low`].
    Low = 0xe0,
}

/// What a write to a register with a bit for each interrupt does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bit {
    Enable,
    Mask,
    ClearPending,
    ClearActive,
}

impl Gic {
    /// Ends an interrupt by half: priority drop. It stays active, and does not come again, until [`Gic::deactivate`].
    #[inline]
    pub fn drop_priority(&self, token: Token) {
        match &self.version {
            Version::V2(gic) => gic.drop_priority(token.0),
            Version::V3(_) => v3::drop_priority(token.0),
        }
    }

    /// Deactivates a shared interrupt, from any core, active or not.
    ///
    /// By the distributor: GICC_DIR for an interrupt that is not active, or that another core has acknowledged, is not what all
    /// controllers do (IHI 0048, GICC_DIR).
    pub fn deactivate(&self, intid: IntId) {
        maintenance::dsb_sy(); // what was written to the device comes before, and lowers its line
        self.set(Bit::ClearActive, intid);
    }

    /// Lets a shared interrupt through.
    pub fn unmask(&self, intid: IntId) {
        self.set(Bit::Enable, intid);
    }

    /// Keeps a shared interrupt back. A core that was signaled before may still acknowledge it.
    pub fn mask(&self, intid: IntId) {
        self.set(Bit::Mask, intid);
    }

    /// Forgets an edge that was latched.
    pub fn forget_pending(&self, intid: IntId) {
        self.set(Bit::ClearPending, intid);
    }

    /// Returns whether a shared interrupt waits: its line is raised, or an edge of it is latched.
    ///
    /// By the distributor (a pending bit shows the line of a level interrupt, IHI 0048 and 0069, GICD_ISPENDR), and by what waits
    /// at this core: QEMU's GICv3 leaves the line out of the bit.
    #[must_use]
    pub fn is_pending(&self, intid: IntId) -> bool {
        match &self.version {
            Version::V2(gic) => gic.is_pending(intid),
            Version::V3(gic) => gic.is_pending(intid),
        }
    }

    /// Sends a shared interrupt to `core`.
    ///
    /// # Errors
    /// [`GicError::NoSuchInterrupt`].
    pub fn route(&self, intid: IntId, core: CoreIndex) -> Result<(), GicError> {
        match &self.version {
            Version::V2(gic) => gic.route(intid, core),
            Version::V3(gic) => gic.route(intid, self.affinity(core)),
        }
    }

    /// Says how urgent a shared interrupt is from the next time on that it comes.
    pub fn set_priority(&self, intid: IntId, priority: Priority) {
        // Refused for interrupts that the controller does not have, of which none is given.
        let _ = match &self.version {
            Version::V2(gic) => gic.set_priority(intid, priority),
            Version::V3(gic) => gic.set_priority(intid, priority),
        };
    }

    /// Says which interrupts the calling core does not take. What it takes again comes late at most.
    pub fn set_masked(&self, masked: Masked) {
        match &self.version {
            Version::V2(gic) => gic.set_masked(masked),
            Version::V3(_) => v3::set_masked(masked),
        }
    }

    /// Says what raises a shared interrupt, which is masked: an edge or a level.
    ///
    /// # Errors
    /// [`GicError::NoSuchInterrupt`].
    pub fn set_trigger(&self, intid: IntId, is_edge: bool) -> Result<(), GicError> {
        match &self.version {
            Version::V2(gic) => gic.set_trigger(intid, is_edge),
            Version::V3(gic) => gic.set_trigger(intid, is_edge),
        }
    }

    /// An interrupt that the controller does not have was refused by [`Gic::set_trigger`] before.
    fn set(&self, bit: Bit, intid: IntId) {
        let _ = match &self.version {
            Version::V2(gic) => gic.set(bit, intid),
            Version::V3(gic) => gic.set(bit, intid),
        };
    }

    /// Enables the UART's interrupt (level) and routes it to a core.
    ///
    /// # Errors
    /// [`GicError::NoSuchInterrupt`].
    pub fn enable_uart(&self, core: CoreIndex) -> Result<(), GicError> {
        let intid = IntId::shared(self.uart).ok_or(GicError::NoSuchInterrupt)?;
        self.route(intid, core)?;
        self.set_trigger(intid, false)?;
        self.unmask(intid);
        Ok(())
    }

    /// Returns whether the hypervisor keeps the interrupt for itself.
    #[must_use]
    pub fn keeps(&self, intid: IntId) -> bool {
        intid.number() == self.uart
    }
}
