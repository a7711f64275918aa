//! The part of the model that is about devices: what a VM is given of a board. Filled by `devices` and `filters`.

use strato_abi::board::Map;

use super::problem::At;

/// A device of a board, assigned to a VM.
#[derive(Clone, Debug)]
pub struct Device {
    /// The board that has it.
    pub board: &'static Map,
    /// Name of its handles.
    pub name: At<String>,
    /// Number of the VM that drives it.
    pub vm: usize,
    /// Its registers.
    pub registers: Vec<Registers>,
    /// Its interrupts.
    pub interrupts: Vec<Interrupt>,
    /// Whether its driver is trusted not to reach other memory by it.
    pub is_trusted: bool,
}

/// A range of registers.
#[derive(Clone, Debug)]
pub struct Registers {
    /// Physical address of the first.
    pub address: At<u64>,
    /// Bytes.
    pub size: At<u64>,
    /// What the VM may do with single registers, when it does not get the whole.
    pub allowed: Option<Vec<Allowed>>,
}

/// Bits of a register.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// Bytes from the first register of the range.
    pub offset: At<u64>,
    /// The bits.
    pub mask: At<u32>,
}

/// An interrupt of a device.
#[derive(Clone, Debug)]
pub struct Interrupt {
    /// Its INTID.
    pub intid: At<u32>,
    /// Whether it is a pulse, not a level.
    pub is_edge: bool,
}

impl Device {
    /// Returns the name of the handle to range, or interrupt, `n`.
    #[must_use]
    pub fn handle_name(&self, n: usize) -> String {
        if n == 0 { self.name.value.clone() } else { format!("{}-{n}", self.name.value) }
    }

    /// Returns each register of which it has but some bits, with the range that it is in.
    pub fn allowed(&self) -> impl Iterator<Item = (&Registers, &Allowed)> {
        self.registers.iter().flat_map(|range| range.allowed.iter().flatten().map(move |allowed| (range, allowed)))
    }

    /// Returns how many handles come with it: a range has one, an interrupt has one, and a port.
    #[must_use]
    pub fn handles(&self) -> usize {
        self.registers.len() + 2 * self.interrupts.len()
    }
}
