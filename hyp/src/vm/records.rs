//! vCPU area: what is said about each vCPU to its VM, by a sequence lock that only the vCPU's home core writes.

use core::mem::offset_of;

use strato_abi::vcpu::RunState;
use strato_abi::vcpu_area::{VCPU_RECORD_STRIDE, VcpuRecord};

use super::Vm;
use crate::sync::{AtomicU64, Ordering, fence};

impl Vm {
    fn record_word(&self, vcpu: u8, offset: usize) -> Option<&AtomicU64> {
        let [_, records] = &self.pages;
        let stride = usize::try_from(VCPU_RECORD_STRIDE).unwrap_or(0);
        records.word(usize::from(vcpu).wrapping_mul(stride).wrapping_add(offset) / 8)
    }

    /// Says that `vcpu` is in `state` since `now`, and waits until `deadline` if it waits (both in ticks).
    #[inline]
    pub fn note_state(&self, vcpu: u8, state: RunState, now: u64, deadline: u64) {
        let Some(sequence) = self.record_word(vcpu, offset_of!(VcpuRecord, sequence)) else { return };
        let before = sequence.load(Ordering::Relaxed);
        sequence.store(before.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release); // a reader that sees a new field sees the odd number first
        let fields = [
            (offset_of!(VcpuRecord, run_state), state as u64),
            (offset_of!(VcpuRecord, since), now),
            (offset_of!(VcpuRecord, deadline), deadline),
        ];
        for (offset, value) in fields {
            if let Some(word) = self.record_word(vcpu, offset) {
                word.store(value, Ordering::Relaxed);
            }
        }
        sequence.store(before.wrapping_add(2), Ordering::Release);
    }
}
