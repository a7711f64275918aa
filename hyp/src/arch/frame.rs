//! Guest frames: the registers that enter and leave with a guest, and the plain bits of why it left.
//! Filled by `switch.S`; read by every room above. Holds no policy.

use core::mem::offset_of;

pub use super::answered::{Answered, Leave, Results};
use super::el1::El1;
use super::lease::First;

/// A guest's general registers, program counter and processor state; and those of EL1, which move when another vCPU gets the core.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Frame {
    /// x0 to x30.
    pub x: [u64; 31],
    /// Where the guest goes on (ELR_EL2).
    pub pc: u64,
    /// Its PSTATE (SPSR_EL2).
    pub pstate: u64,
    /// 0 when x4 to x17 above are zero: a call that leaves needs not clear them again.
    pub is_used: u64,
    /// EL1 registers while the vCPU is not resident on its core.
    pub el1: El1,
}

impl Frame {
    /// A frame of zeros: what a vCPU has before it is started.
    pub const ZERO: Self = Self { x: [0; 31], pc: 0, pstate: 0, is_used: 0, el1: El1::RESET };

    /// Returns register `n` as an instruction sees it: 31 is the zero register.
    #[must_use]
    pub fn read(&self, n: usize) -> u64 {
        self.x.get(n).copied().unwrap_or(0)
    }

    /// Returns where the guest goes on.
    #[must_use]
    pub const fn place(&self) -> Place {
        Place { pc: self.pc, pstate: self.pstate }
    }

    /// Sets where the guest goes on.
    pub const fn set_place(&mut self, place: Place) {
        (self.pc, self.pstate) = (place.pc, place.pstate);
    }

    /// Writes register `n`; a write to the zero register (31) is lost.
    pub fn write(&mut self, n: usize, value: u64) {
        if let Some(register) = self.x.get_mut(n) {
            *register = value;
            self.is_used = 1;
        }
    }
}

/// Whether the guest goes on at once after an abort or an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Answer {
    /// Back to the guest.
    Stay = 0,
    /// `run` returns, with the abort as it came.
    Leave = 1,
    /// After an interrupt: the passer says who goes on, as after a call that leaves. The frame holds all that the guest has.
    Pass = 2,
}

/// A handler of one call: the context, and x1 to x6.
pub type Answerer<C> = for<'a> extern "C" fn(&'a mut C, u64, u64, u64, u64, u64, u64) -> Answered<'a>;

/// The handler of aborts: the context, ESR_EL2, FAR_EL2, HPFAR_EL2, and where the guest goes on, which it may change. `Leave`
/// makes `run` return with the abort as it came.
pub type AbortAnswerer<C> = extern "C" fn(&mut C, u64, u64, u64, &mut Place) -> Answer;

/// What becomes of a frame whose guest made a call that leaves, or was interrupted with [`Answer::Pass`]: the context, and the frame,
/// which holds the guest's registers, with zero in x0 to x17 after a call.
pub type Passer<'l, B, C> = extern "C" fn(&mut C, First<'l, Frame, B>) -> Passed<'l, B>;

/// Who has the core after a call that leaves.
#[derive(Debug)]
#[repr(C)]
pub struct Passed<'l, B> {
    /// The guest that goes on, or the one that leaves.
    pub frame: First<'l, Frame, B>,
    /// Whose frame it is, and whether `run` returns.
    pub leaves: Leaves,
}

/// Whose frame it is, and whether `run` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Leaves {
    /// Another guest goes on, once its registers of EL1 are loaded.
    Other = 0,
    /// The same guest goes on at once.
    Same = 1,
    /// `run` returns the frame with [`ExitKind::Answered`]; what follows stands in the context.
    Yes = 2,
}

/// The handler of interrupts: the context. `Leave` makes `run` return as if there had been no handler; after `Pass` the
/// [passer](Answers::pass) is asked.
pub type IrqAnswerer<C> = extern "C" fn(&mut C) -> Answer;

/// What is answered inside `run`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Answers<'l, B, C> {
    /// Handlers by call number. The vector answers numbers below [`FAST_CALLS`]; it masks the index to the table's length.
    pub calls: [Answerer<C>; 256],
    /// The handler of aborts.
    pub abort: AbortAnswerer<C>,
    /// The handler of interrupts of a guest in AArch64.
    pub irq: IrqAnswerer<C>,
    /// Who goes on after a call that leaves, and after an interrupt that gives the core to another one.
    pub pass: Passers<'l, B, C>,
}

/// Who says who goes on, by what a call leaves for: see [`Leave`].
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Passers<'l, B, C> {
    /// What follows stands in the context.
    pub told: Passer<'l, B, C>,
    /// An equal has the core.
    pub yields: Passer<'l, B, C>,
    /// The vCPU waits for an event alone.
    pub waits: Passer<'l, B, C>,
    /// The same, and whom its event woke takes over.
    pub signals: Passer<'l, B, C>,
    /// It was interrupted, by which another one has got the core.
    pub interrupted: Passer<'l, B, C>,
}

impl<'l, B, C> Passers<'l, B, C> {
    /// Returns who is asked after a call that leaves for `to`.
    #[must_use]
    pub const fn of(&self, to: Leave) -> Passer<'l, B, C> {
        match to {
            Leave::Told => self.told,
            Leave::Yield => self.yields,
            Leave::Wait => self.waits,
            Leave::Signal => self.signals,
        }
    }
}

/// Where a guest goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Place {
    /// ELR_EL2.
    pub pc: u64,
    /// SPSR_EL2.
    pub pstate: u64,
}

impl Place {
    /// Returns whether the guest was in AArch32 (SPSR_EL2.M bit 4).
    #[must_use]
    pub const fn is_aarch32(&self) -> bool {
        self.pstate & 1 << 4 != 0
    }

    /// Returns whether the guest ran at EL0.
    #[must_use]
    pub const fn is_el0(&self) -> bool {
        self.pstate & 0xf == 0
    }
}

/// Calls below this number (groups 0 to 6) are answered inside `run`; all others take the full exit.
pub const FAST_CALLS: u64 = 224;

/// Which way a guest left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitKind {
    /// A synchronous exception; `esr` tells more.
    Sync,
    /// A physical interrupt.
    Irq,
    /// A physical fast interrupt; none is routed to EL2's use.
    Fiq,
    /// A system error.
    SError,
    /// A call was answered with [`Answer::Leave`].
    Answered,
    /// From AArch32, which no guest may use.
    Aarch32,
}

/// [`RawExit::vector`] of [`ExitKind::Answered`], which no vector gives.
pub(super) const ANSWERED: u64 = 4;

/// Why a guest left, as the processor says it; `Answered` leaves all but `vector` zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct RawExit {
    /// Number that the vector gave, see [`RawExit::kind`].
    pub vector: u64,
    /// ESR_EL2.
    pub esr: u64,
    /// FAR_EL2.
    pub far: u64,
    /// HPFAR_EL2.
    pub hpfar: u64,
}

impl RawExit {
    /// Returns which way the guest left.
    #[must_use]
    pub const fn kind(&self) -> ExitKind {
        match self.vector {
            0 => ExitKind::Sync,
            1 => ExitKind::Irq,
            2 => ExitKind::Fiq,
            3 => ExitKind::SError,
            ANSWERED => ExitKind::Answered,
            _ => ExitKind::Aarch32,
        }
    }
}

const _: () = assert!(
    offset_of!(Frame, pc) == 248
        && offset_of!(Frame, pstate) == 256
        && offset_of!(Frame, is_used) == 264
        && offset_of!(Frame, el1) == 272
);
const _: () = assert!(
    size_of::<RawExit>() == 32
        && size_of::<Results>() == 32
        && size_of::<Answered<'_>>() == 16
        && size_of::<Place>() == 16
);
