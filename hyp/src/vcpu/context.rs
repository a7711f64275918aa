//! Context: what a vCPU has besides its frame, which one core alone touches.

use super::Local;
use crate::allocator::Selector;
use crate::arch::el1::{El1, FpState, PSTATE_START, Stage1};
use crate::arch::frame::Frame;

/// The current address space of a vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    /// Its slot among those of the VM.
    pub slot: u8,
    /// What selects it, as this core got it last.
    pub selector: Selector,
}

impl Current {
    /// The first one of the VM, which no core has selected for the vCPU yet.
    pub const FIRST: Self = Self { slot: 0, selector: Selector::NONE };
}

bitflags::bitflags! {
    /// What there is to do besides moving the frame, each time that a vCPU gets or loses the core. Most have none of it, which is
    /// one look.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Extras: u8 {
        /// WAIT answers when the vCPU runs again.
        const WAITING = 1;
        /// The guest runs stage 1 of the translation itself: `stage1` goes with it.
        const NATIVE = 2;
        /// It has asked for its virtual timer: `local` goes with it.
        const LOCAL = 4;
        /// It has asked where its stolen time stands (DEN 0057).
        const STOLEN = 8;
        /// Its FP registers are on the core.
        const FP = 16;
        /// What it runs is charged to a reservation: its own, or one that is lent to it.
        const CHARGED = 32;
        /// Its VM has devices: what it wrote to them late is its own trouble, and is looked for before it leaves a core.
        const DEVICES = 128;
        /// It has a watchdog, whose deadline stands where that of a wait does.
        const WATCHED = 64;
        /// Takes more than a watchdog does, which runs on whoever has the core.
        const BUSY = !Self::WATCHED.bits();
        /// Takes more than the short ways do.
        const SPECIAL = Self::NATIVE.bits() | Self::CHARGED.bits();
    }
}

/// What a vCPU has besides its frame; the frame stays apart so that a call in progress cannot reach it.
#[derive(Debug)]
pub struct Context {
    /// What there is to do besides moving the frame, each time that the vCPU gets or loses the core.
    pub extras: Extras,
    /// What a native vCPU translates by while it is not resident on its core.
    pub stage1: Stage1,
    /// FP registers while they are not loaded.
    pub fp: FpState,
    /// What the guest translates by.
    pub space: Current,
    /// Its virtual timer.
    pub local: Local,
    /// Calls of CORE.NOP.
    pub nops: u64,
    /// Address and reason of the last fault that was delivered or reported, for AS.QUERY.
    pub last_fault: (u64, u64),
}

impl Context {
    /// What a vCPU starts with.
    pub const RESET: Self = Self {
        extras: Extras::empty(),
        stage1: Stage1::RESET,
        fp: FpState::RESET,
        space: Current::FIRST,
        local: Local::RESET,
        nops: 0,
        last_fault: (u64::MAX, 0),
    };
}

/// Makes everything as it is for vCPU `number` of a VM that starts at `entry` with these x0 to x3.
pub fn reset(frame: &mut Frame, context: &mut Context, number: u8, entry: u64, arguments: [u64; 4]) {
    *frame = Frame::ZERO;
    frame.pc = entry;
    frame.pstate = PSTATE_START;
    frame.el1.mpidr = El1::mpidr_of(number);
    if let Some(first) = frame.x.first_chunk_mut::<4>() {
        *first = arguments;
    }
    *context = Context::RESET;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vcpu::Vcpu;

    #[test]
    fn a_started_vcpu_sees_its_arguments_and_nothing_else() {
        let vcpu = Vcpu::new(0, 1, 0);
        let (mut frame, mut context) = vcpu.owned.lease().unwrap();
        frame.x.fill(0xdead);
        frame.el1.tpidr_el1 = 0xdead;
        context.fp.v[3] = [1, 2];
        reset(&mut frame, &mut context, 3, 0x4000_0000, [1, 2, 3, 4]);
        assert_eq!(&frame.x[..5], &[1, 2, 3, 4, 0]);
        assert!(frame.x[5..].iter().all(|&x| x == 0));
        assert_eq!((frame.pc, frame.pstate), (0x4000_0000, 0x3c5));
        assert_eq!(frame.el1, El1 { mpidr: 0x8000_0003, ..El1::RESET });
        assert_eq!(context.fp, FpState::RESET);
        frame.end(context);
    }
}
