//! Building a VM: what it needs besides its record, and why it cannot be built. `making` takes it together; what it is given later is
//! `attach`'s.

use core::fmt;

use strato_abi::info_page::NAME_LEN;

use super::VCPUS_MAX;
use super::restart::Life;
use crate::allocator::AllocError;
use crate::memory::stage2::SpaceError;

/// Why something cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// A field of the record is outside its bounds; what was expected of it.
    Record(&'static str),
    /// No memory, or the VM's quota is too small.
    Memory(AllocError),
    /// A mapping is refused.
    Space(SpaceError),
    /// A table of the VM is full: handles, or the info page.
    Full,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Record(what) => what,
            Self::Memory(AllocError::Quota) => "the VM's quota is too small",
            Self::Memory(_) => "there is not enough memory",
            Self::Space(SpaceError::Exists) => "its pages overlap others",
            Self::Space(SpaceError::Quota) => "the VM's quota is too small for its tables",
            Self::Space(SpaceError::NoMemory) => "there is no memory for tables",
            Self::Space(_) => "its pages lie outside what can be mapped",
            Self::Full => "the VM's table of handles, or its info page, is full",
        })
    }
}

impl From<AllocError> for BuildError {
    fn from(error: AllocError) -> Self {
        Self::Memory(error)
    }
}

impl From<SpaceError> for BuildError {
    fn from(error: SpaceError) -> Self {
        Self::Space(error)
    }
}

/// What a VM is made of besides its record.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// Place in the machine's table.
    pub place: u8,
    /// Which of its lives it is; the number is its incarnation.
    pub life: Life,
    /// Home core of each vCPU.
    pub homes: [u8; VCPUS_MAX],
    /// How many named handles the plan gives the VM.
    pub named: usize,
    /// Ticks per second.
    pub counter_hz: u64,
    /// Whether guests may read the cycle counter.
    pub has_cycles: bool,
    /// Whether a core needs that its predictors are cleared between two VMs.
    pub has_to_clear: bool,
    /// Command line.
    pub command_line: &'a [u8],
}

/// Returns a name as the info page has it.
#[must_use]
pub fn name(text: &str) -> [u8; NAME_LEN] {
    let mut name = [0; NAME_LEN];
    name.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    name
}
