//! vCPU area: what is said about each vCPU to its VM, by a sequence lock that only the vCPU's home core writes.

use core::mem::{offset_of, size_of};
use core::sync::atomic::AtomicU64;

use strato_abi::addr::VCPU_AREA;
use strato_abi::vcpu::RunState;
use strato_abi::vcpu_area::{VCPU_RECORD_STRIDE, VcpuRecord};

use super::{Manner, VCPUS_MAX, Vm};
use crate::arch::attempt;
use crate::arch::ram::FRAME_SIZE;
use crate::sync::{Ordering, fence};
use crate::timer::{NEVER, nanoseconds};
use crate::vcpu::Public;

const WORDS: usize = size_of::<VcpuRecord>() / 8;
const SEQUENCE: usize = offset_of!(VcpuRecord, sequence) / 8;
const RUN_STATE: usize = offset_of!(VcpuRecord, run_state) / 8;
const SINCE: usize = offset_of!(VcpuRecord, since) / 8;
const RUNNING: usize = offset_of!(VcpuRecord, running) / 8;
const RUNNABLE: usize = offset_of!(VcpuRecord, runnable) / 8;
const BLOCKED: usize = offset_of!(VcpuRecord, blocked) / 8;
const OFF: usize = offset_of!(VcpuRecord, off) / 8;
const WALL_BASE: usize = offset_of!(VcpuRecord, wall_base) / 8;
const DEADLINE: usize = offset_of!(VcpuRecord, deadline) / 8;
const EXITS: usize = offset_of!(VcpuRecord, exits) / 8;

const _: () = assert!(RUNNING == SINCE + 1 && BLOCKED == RUNNABLE + 1, "they are read and written in pairs");

/// The stolen time structure of Arm DEN 0057, 64 bytes: revision and attributes, which are zero, and nanoseconds. It stands at the end of
/// each record.
const STOLEN: usize = WORDS - 8;
const STOLEN_NS: usize = STOLEN + 1;

/// Returns the guest-physical address of the stolen time of `vcpu`.
#[must_use]
pub const fn stolen_address(vcpu: u8) -> u64 {
    VCPU_AREA + vcpu as u64 * VCPU_RECORD_STRIDE + STOLEN as u64 * 8
}

const _: () = assert!(VCPU_RECORD_STRIDE == size_of::<VcpuRecord>() as u64 && VCPUS_MAX * WORDS <= FRAME_SIZE / 8);

/// Why a guest left, as the record counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A call that was not answered on the spot.
    Call = 0,
    /// An interrupt of the machine.
    Interrupt = 1,
    /// An access that stage 2 refused.
    Fault = 2,
    /// An instruction that traps.
    Instruction = 3,
}

/// Returns the word that counts the time spent in the state of number `state`: four bits for each.
#[inline(always)]
const fn account_of(state: u64) -> usize {
    const ACCOUNTS: u64 = (OFF | RUNNABLE << 4 | RUNNING << 8 | BLOCKED << 12) as u64;
    (ACCOUNTS >> (state % 4 * 4) & 0xf) as usize
}

type Record = [AtomicU64; WORDS];

/// Returns word `index` of a record, which is taken modulo how many there are.
#[inline(always)]
#[allow(clippy::indexing_slicing, reason = "taken modulo the length")]
fn word(record: &Record, index: usize) -> &AtomicU64 {
    &record[index % WORDS]
}

impl Vm {
    /// Returns the record of `vcpu`. Looked up once by each user: what is stored in between hides from the compiler where it is.
    #[inline(always)]
    #[allow(clippy::indexing_slicing, reason = "a page has more records than a VM has vCPUs")]
    fn record(&self, vcpu: u8) -> &Record {
        let [_, records] = &self.pages;
        let (records, _) = records.first().as_chunks::<WORDS>();
        &records[usize::from(vcpu) % VCPUS_MAX]
    }

    #[inline(always)]
    fn record_word(&self, vcpu: u8, index: usize) -> &AtomicU64 {
        word(self.record(vcpu), index)
    }

    /// Says what time of day it was, in nanoseconds since 1970, when the VM's counter began with 0, which is what stands beside it. The
    /// sequence stays zero: nothing was written.
    pub(super) fn note_wall(&self, vcpu: u8, ns: u64) {
        self.record_word(vcpu, WALL_BASE).store(ns, Ordering::Relaxed);
    }

    /// Says that `vcpu` is in `state` since `now`, and waits until `deadline` if it waits (both in ticks of the machine).
    #[inline(always)]
    pub fn note_state(&self, vcpu: u8, state: RunState, now: u64, deadline: u64) {
        let base = self.time_base();
        self.note_ticks(
            vcpu,
            state,
            now.wrapping_sub(base),
            if deadline == NEVER { NEVER } else { deadline.wrapping_sub(base) },
        );
    }

    /// The same in ticks of the VM.
    #[inline(always)]
    fn note_ticks(&self, vcpu: u8, state: RunState, now: u64, deadline: u64) {
        let record = self.record(vcpu);
        let word = |index: usize| word(record, index);
        let before = word(SEQUENCE).load(Ordering::Relaxed);
        word(SEQUENCE).store(before.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release); // a reader that sees a new field sees the odd number first
        let account = word(account_of(word(RUN_STATE).load(Ordering::Relaxed)));
        let spent = now.wrapping_sub(word(SINCE).load(Ordering::Relaxed));
        account.store(account.load(Ordering::Relaxed).wrapping_add(spent), Ordering::Relaxed);
        word(RUN_STATE).store(state as u64, Ordering::Relaxed);
        word(SINCE).store(now, Ordering::Relaxed);
        word(DEADLINE).store(deadline, Ordering::Relaxed);
        word(SEQUENCE).store(before.wrapping_add(2), Ordering::Release);
    }

    /// Says that `vcpu`, which has lost the core, is ready since `now`. Of a VM with one vCPU, nobody can look before it runs again:
    /// then [`Vm::note_running`] says everything.
    #[inline(always)]
    pub fn note_left(&self, vcpu: u8, public: &Public, now: u64) {
        if self.manner.is_alone() {
            public.left.store(now, Ordering::Relaxed);
            public.ready.store(now, Ordering::Relaxed);
        } else {
            self.note_state(vcpu, RunState::Runnable, now, NEVER);
        }
    }

    /// Says that `vcpu` is blocked since `now`, and until `deadline`. `manner` is the VM's, which the caller has at hand.
    #[inline(always)]
    pub fn note_blocked(&self, vcpu: u8, public: &Public, now: u64, deadline: u64, manner: Manner) {
        if manner.is_alone() {
            public.left.store(now, Ordering::Relaxed);
        } else {
            self.note_state(vcpu, RunState::Blocked, now, deadline);
        }
    }

    /// Says that `vcpu`, which was blocked or off, is ready since `now`. When it `has_core`, others learn next that it runs.
    #[inline(always)]
    pub fn note_ready(&self, vcpu: u8, public: &Public, now: u64, has_core: bool) {
        if self.manner.is_alone() {
            public.ready.store(now, Ordering::Relaxed);
        } else if !has_core {
            self.note_state(vcpu, RunState::Runnable, now, NEVER);
        }
    }

    /// Says that a vCPU has been ready ever since it lost the core.
    pub fn note_kept(&self, public: &Public) {
        if self.manner.is_alone() {
            public.ready.store(public.left.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Says that `vcpu`, which was off, is started at `now`, in so far as nobody can look before it runs.
    pub fn note_start(&self, vcpu: u8, public: &Public, now: u64) {
        if self.manner.is_alone() {
            self.note_state(vcpu, RunState::Running, now, NEVER);
            self.note_left(vcpu, public, now);
        }
    }

    /// Says that `vcpu` runs since `now`, with the times that were noted. `base` is the VM's, which the caller has at hand.
    #[inline(always)]
    pub fn note_running(&self, vcpu: u8, public: &Public, now: u64, base: u64) {
        let shown = now.wrapping_sub(base);
        if !self.manner.is_alone() {
            return self.note_ticks(vcpu, RunState::Running, shown, NEVER);
        }
        let (left, ready) = (public.left.load(Ordering::Relaxed), public.ready.load(Ordering::Relaxed));
        // The only reader is about to run here: it sees everything, or what it read before it lost the core was of an older sequence.
        let record = self.record(0);
        let sequence = word(record, SEQUENCE);
        sequence.store(sequence.load(Ordering::Relaxed).wrapping_add(2), Ordering::Relaxed);
        let (since, running) = attempt::load_pair::<SINCE, WORDS>(record);
        let ran = left.wrapping_sub(base).wrapping_sub(since);
        attempt::store_pair::<SINCE, WORDS>(record, (shown, running.wrapping_add(ran)));
        let (runnable, blocked) = attempt::load_pair::<RUNNABLE, WORDS>(record);
        let (more, waited) = (now.wrapping_sub(ready), ready.wrapping_sub(left));
        attempt::store_pair::<RUNNABLE, WORDS>(record, (runnable.wrapping_add(more), blocked.wrapping_add(waited)));
    }

    /// Counts an exit of `vcpu`, which is on this core.
    #[inline(always)]
    pub fn count_exit(&self, vcpu: u8, cause: Cause) {
        let count = self.record_word(vcpu, EXITS + cause as usize);
        // One writer; each count is a word of its own, so no sequence says when it changes.
        count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Returns how many ticks `vcpu`, which is on this core, has run until `now`, in ticks of the machine.
    #[must_use]
    pub fn time_run(&self, vcpu: u8, now: u64) -> u64 {
        let word = |index: usize| self.record_word(vcpu, index).load(Ordering::Relaxed);
        word(RUNNING).wrapping_add(self.ticks_at(now).wrapping_sub(word(SINCE)))
    }

    /// Says in nanoseconds how long `vcpu` has been ready while its core was busy, by a counter of `hz` ticks a second.
    #[cold]
    pub fn tell_stolen(&self, vcpu: u8, hz: u64) {
        let ticks = self.record_word(vcpu, RUNNABLE).load(Ordering::Relaxed);
        self.record_word(vcpu, STOLEN_NS).store(nanoseconds(ticks, hz), Ordering::Relaxed);
    }
}
