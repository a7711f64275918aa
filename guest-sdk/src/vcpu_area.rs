//! The vCPU area: what the hypervisor says about each vCPU, read under its sequence lock. Makes no call.

use ::core::sync::atomic::{AtomicU64, Ordering, fence};

use strato_abi::vcpu_area::VcpuRecord;
use zerocopy::{FromBytes, IntoBytes};

/// The record of one vCPU, [`VcpuRecord`], as the words that the hypervisor writes.
pub type VcpuCells = [AtomicU64; 32];

const _: () = assert!(size_of::<VcpuCells>() == size_of::<VcpuRecord>());

/// Returns what the hypervisor says about vCPU `vcpu`, or `None` when there is no such vCPU.
#[must_use]
pub fn record(vcpu: usize) -> Option<VcpuRecord> {
    let cells = crate::arch::vcpu_cells(vcpu)?;
    loop {
        if let Some(record) = read_once(cells) {
            return Some(record);
        }
        crate::arch::relax();
    }
}

/// Returns the record, or `None` when it was being written meanwhile.
#[must_use]
pub fn read_once(cells: &VcpuCells) -> Option<VcpuRecord> {
    let [sequence, ..] = cells;
    let before = sequence.load(Ordering::Acquire);
    if before & 1 != 0 {
        return None;
    }
    let words = cells.each_ref().map(|word| word.load(Ordering::Relaxed));
    // Orders the loads above before the second look at the sequence.
    fence(Ordering::Acquire);
    if sequence.load(Ordering::Relaxed) != before {
        return None;
    }
    VcpuRecord::read_from_bytes(words.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_taken_only_while_nobody_writes_it() {
        let cells: VcpuCells = [const { AtomicU64::new(0) }; 32];
        cells[1].store(2, Ordering::Relaxed);
        cells[10].store(77, Ordering::Relaxed);
        let record = read_once(&cells).unwrap();
        assert_eq!((record.run_state, record.deadline), (2, 77));
        cells[0].store(1, Ordering::Relaxed);
        assert_eq!(read_once(&cells), None);
    }
}
