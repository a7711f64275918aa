//! Local: the virtual timer of a vCPU, CNTV_*, which cannot be trapped.

use strato_abi::Handle;

use super::Public;
use crate::sync::Ordering;

/// The virtual timer of a vCPU that has asked for it (TIME.LOCAL, [`super::Extras::LOCAL`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// Whether its deadline stands among those of the core.
    pub is_parked: bool,
    /// CNTV_CTL_EL0 while the vCPU is not on its core.
    pub control: u64,
    /// CNTV_CVAL_EL0.
    pub deadline: u64,
}

impl Local {
    /// What a vCPU starts with.
    pub const RESET: Self = Self { is_parked: false, control: 0, deadline: 0 };
}

impl Public {
    /// Returns the port that the vCPU's virtual timer raises; one that names nothing when it raises none.
    #[inline]
    #[must_use]
    pub fn local(&self) -> Handle {
        Handle::from_bits(self.local.load(Ordering::Relaxed))
    }

    /// Sets the port that the vCPU's virtual timer raises. The word is looked at by the home core, which holds it against the port's own.
    #[inline]
    pub fn set_local(&self, port: Handle) {
        self.local.store(port.bits(), Ordering::Relaxed);
    }
}
