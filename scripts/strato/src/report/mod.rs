//! Room `report`: the map of a system's memory from two sources that know nothing of each other, compared: what the file and
//! the images promise (`predict`), and what the running hypervisor says (`facts`). Owns the comparison and how it is shown.
//! Called by the command of that name. Never runs anything.

use std::collections::BTreeMap;

use serde::Serialize;

pub mod facts;
pub mod follow;
pub mod join;
mod physical;
pub mod predict;
pub mod show;
mod trace;

/// A range of a VM's stage 2, followed to its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// First guest-physical address.
    pub ipa: u64,
    /// Bytes.
    pub bytes: u64,
    /// Rights, such as `r-x`.
    pub rights: String,
    /// First physical address.
    pub pa: u64,
    /// What it is.
    pub what: String,
    /// Whom the memory belongs to.
    pub owner: String,
}

/// What one VM has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VmReport {
    /// Its name.
    pub name: String,
    /// Bytes of its own memory.
    pub memory_bytes: u64,
    /// Bytes that it owns altogether.
    pub owned_bytes: u64,
    /// Bytes that it owns beside its memory and its regions: tables and the hypervisor's structures for it.
    pub overhead_bytes: u64,
    /// Its stage 2, by rising address.
    pub stage2: Vec<Row>,
}

/// A row of the sharing matrix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shared {
    /// Name of the region.
    pub region: String,
    /// First physical address; `null` when nobody holds it.
    pub pa: Option<u64>,
    /// Bytes.
    pub bytes: u64,
    /// The VM that owns it.
    pub owner: String,
    /// Rights of each VM that holds it.
    pub rights: BTreeMap<String, String>,
}

/// A device that a VM is assigned, as the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Assigned {
    /// Its name.
    pub name: String,
    /// The VM that drives it.
    pub vm: String,
    /// Ranges of registers: physical address and bytes.
    pub registers: Vec<(u64, u64)>,
    /// Registers of which it has but some bits: physical address, and the bits.
    pub allowed: Vec<(u64, u32)>,
    /// INTIDs.
    pub interrupts: Vec<u32>,
    /// The promise that is lost by it, if one is.
    pub lost: Option<String>,
}

/// A range of physical memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// First physical address.
    pub start: u64,
    /// Bytes.
    pub bytes: u64,
    /// What it is used for.
    pub what: String,
    /// Whom it belongs to.
    pub owner: String,
}

/// The whole report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Name of the system.
    pub system: String,
    /// The board it ran on.
    pub board: String,
    /// RAM from its first byte to its last.
    pub physical: Vec<Piece>,
    /// The hypervisor's own memory, its parts in detail.
    pub hypervisor: Vec<Piece>,
    /// Bytes of it altogether.
    pub hypervisor_bytes: u64,
    /// The VMs.
    pub vms: Vec<VmReport>,
    /// Who may do what with which region.
    pub sharing: Vec<Shared>,
    /// Devices that VMs are assigned.
    pub devices: Vec<Assigned>,
    /// What does not go together; nothing when all is well.
    pub contradictions: Vec<String>,
}
