//! Shared: what is done to the shared peripheral interrupts, one at a time, by the distributor. Called by boot for the UART's
//! and by [`super::Line`] for those of devices.

use super::{Gic, GicError, IntId, Token, Version, v3};
use crate::arch::core_base::CoreIndex;
use crate::arch::maintenance;

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
