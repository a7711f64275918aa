//! vCPU area: what is said about each vCPU to its VM, by a sequence lock that only the vCPU's home core writes.

use core::mem::{offset_of, size_of};

use strato_abi::vcpu::RunState;
use strato_abi::vcpu_area::{VCPU_RECORD_STRIDE, VcpuRecord};

use super::{VCPUS_MAX, Vm};
use crate::arch::ram::FRAME_SIZE;
use crate::sync::{Ordering, fence};

const WORDS: usize = size_of::<VcpuRecord>() / 8;
const SEQUENCE: usize = offset_of!(VcpuRecord, sequence) / 8;
const RUN_STATE: usize = offset_of!(VcpuRecord, run_state) / 8;
const SINCE: usize = offset_of!(VcpuRecord, since) / 8;
const DEADLINE: usize = offset_of!(VcpuRecord, deadline) / 8;

const _: () = assert!(VCPU_RECORD_STRIDE == size_of::<VcpuRecord>() as u64 && VCPUS_MAX * WORDS <= FRAME_SIZE / 8);

impl Vm {
    /// Says that `vcpu` is in `state` since `now`, and waits until `deadline` if it waits (both in ticks).
    #[inline]
    #[allow(clippy::indexing_slicing, reason = "the product of the two moduli is the length of a page")]
    pub fn note_state(&self, vcpu: u8, state: RunState, now: u64, deadline: u64) {
        let [_, records] = &self.pages;
        let record = usize::from(vcpu) % VCPUS_MAX * WORDS;
        let word = |index: usize| &records.first()[record + index % WORDS];
        let before = word(SEQUENCE).load(Ordering::Relaxed);
        word(SEQUENCE).store(before.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release); // a reader that sees a new field sees the odd number first
        word(RUN_STATE).store(state as u64, Ordering::Relaxed);
        word(SINCE).store(now, Ordering::Relaxed);
        word(DEADLINE).store(deadline, Ordering::Relaxed);
        word(SEQUENCE).store(before.wrapping_add(2), Ordering::Release);
    }
}
