//! vCPU area: what is said about each vCPU to its VM, by a sequence lock that only the vCPU's home core writes.

use core::mem::{offset_of, size_of};

use strato_abi::vcpu::RunState;
use strato_abi::vcpu_area::{VCPU_RECORD_STRIDE, VcpuRecord};

use super::Vm;
use crate::sync::{AtomicU64, Ordering, fence};

const WORDS: usize = size_of::<VcpuRecord>() / 8;
const RUN_STATE: usize = offset_of!(VcpuRecord, run_state) / 8;
const SINCE: usize = offset_of!(VcpuRecord, since) / 8;
const DEADLINE: usize = offset_of!(VcpuRecord, deadline) / 8;

const _: () = assert!(VCPU_RECORD_STRIDE == size_of::<VcpuRecord>() as u64 && offset_of!(VcpuRecord, sequence) == 0);

impl Vm {
    #[inline(always)]
    fn record(&self, vcpu: u8) -> Option<&[AtomicU64; WORDS]> {
        let [_, records] = &self.pages;
        records.frames().words(usize::from(vcpu).wrapping_mul(WORDS))
    }

    /// Says that `vcpu` is in `state` since `now`, and waits until `deadline` if it waits (both in ticks).
    #[inline]
    pub fn note_state(&self, vcpu: u8, state: RunState, now: u64, deadline: u64) {
        let Some(record) = self.record(vcpu) else { return };
        let [sequence, ..] = record;
        let before = sequence.load(Ordering::Relaxed);
        sequence.store(before.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release); // a reader that sees a new field sees the odd number first
        for (index, value) in [(RUN_STATE, state as u64), (SINCE, now), (DEADLINE, deadline)] {
            if let Some(word) = record.get(index) {
                word.store(value, Ordering::Relaxed);
            }
        }
        sequence.store(before.wrapping_add(2), Ordering::Release);
    }
}
