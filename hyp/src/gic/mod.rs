//! GIC: the machine's interrupt controller, version 2 or 3, as far as EL2 uses it: which interrupt came, that it is done,
//! and one core calling another. Guests never see it. Called by boot and by the dispatcher's interrupt path.
//!
//! Both versions run with EOImode 1: ending an interrupt is a priority drop and a deactivation, so that the interrupt of a
//! device that a VM drives ([`LineState`]) is left active until its owner is done. All interrupts have one group, and one priority but for these.

use core::fmt;

use crate::arch::core_base::{CoreIndex, MAX_CORES};
use crate::arch::mmio::Device;
use crate::arch::panic::SgiRoute;
use crate::board::{BoardInfo, GicInfo};

mod line;
mod lines;
mod shared;
mod v2;
mod v3;

pub use line::{Done, LineState, Owner, Route};
pub use lines::{ClaimError, LINES_MAX, Line, Lines};
use shared::Bit;
pub use shared::{Masked, Priority};

/// SGI by which a core asks another to look at its requests.
pub const RESCHEDULE_SGI: u8 = 0;
/// SGI by which a panicking core stops the others.
pub const STOP_SGI: u8 = crate::arch::panic::STOP_SGI;
/// INTID of the hypervisor's physical timer (PPI 10 of the Base System Architecture, INTID 26).
const HYP_TIMER: u32 = 26;
/// INTID of the guests' virtual timer (PPI 11 of the Base System Architecture, INTID 27).
const VIRTUAL_TIMER: u32 = 27;
/// First INTID of the shared peripheral interrupts.
const FIRST_SPI: u32 = 32;
/// First INTID that is not an interrupt but a message: 1022 and 1023 mean that there is none (any more).
const FIRST_SPECIAL: u32 = 1020;

/// Returns whether the number is a message.
const fn is_special(number: u32) -> bool {
    FIRST_SPECIAL <= number && number < 1024
}

/// Number of a shared peripheral interrupt or of another private one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IntId(u32);

impl IntId {
    /// Returns the shared interrupt with this INTID, or `None` if it is private or special.
    #[must_use]
    pub const fn shared(intid: u32) -> Option<Self> {
        if FIRST_SPI <= intid && intid < FIRST_SPECIAL { Some(Self(intid)) } else { None }
    }

    /// Returns the INTID.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Irq {
    /// A call from another core: [`RESCHEDULE_SGI`] or [`STOP_SGI`].
    Sgi(u8),
    /// This core's hypervisor timer.
    HypTimer,
    /// The virtual timer of the guest that is on this core.
    VirtualTimer,
    /// The console's UART.
    Uart,
    /// An interrupt of a device, or one that nobody here enabled.
    Other(IntId),
    /// None: it went away before it was acknowledged. Not to be ended.
    Spurious,
}

/// Proof of an acknowledged interrupt, to be handed to [`Gic::end`] once; holds what the hardware wants back.
#[must_use = "an interrupt that is not ended blocks all others of this core"]
#[derive(Debug)]
#[repr(transparent)]
pub struct Token(u32);

/// Why the interrupt controller cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GicError {
    /// Its registers are not where or what the device tree says.
    Registers,
    /// It has no interface or redistributor for a core.
    NoInterface,
    /// Message-based interrupts were left on, and it does not let go of them.
    MessagesOn,
    /// It does not have this interrupt.
    NoSuchInterrupt,
}

impl fmt::Display for GicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registers => "the interrupt controller's registers are not what the device tree says",
            Self::NoInterface => "the interrupt controller has no interface for a core",
            Self::MessagesOn => "the interrupt controller was left with LPIs on and does not turn them off",
            Self::NoSuchInterrupt => "the interrupt controller does not have the interrupt",
        })
    }
}

/// The interrupt controller. Every method may be called on any core at any time.
#[derive(Debug)]
pub struct Gic {
    version: Version,
    /// The bits of a value of IAR that are the interrupt's number. In GICv2 that of an SGI has its sender in bits 12:10; in GICv3 all of
    /// it is the number, and an LPI is not what its low bits say.
    numbers: u32,
    uart: u32,
    /// Affinity fields by core.
    affinities: [u64; MAX_CORES],
    /// How GICv3 sends SGI 0 to each core.
    calls: [u64; MAX_CORES],
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one exists in the machine, and there is no heap to put it on")]
enum Version {
    V2(v2::GicV2),
    V3(v3::GicV3),
}

impl Gic {
    /// Returns the board's interrupt controller with every shared interrupt disabled, not pending and not active,
    /// whatever a loader left. `first` and `second` own the register frames in the order of [`GicInfo`]'s fields.
    ///
    /// # Errors
    /// [`GicError::Registers`].
    pub fn new(board: &BoardInfo, first: Device, second: Device) -> Result<Self, GicError> {
        let (version, numbers) = match board.gic {
            GicInfo::V2 { .. } => (Version::V2(v2::GicV2::new(first, second).ok_or(GicError::Registers)?), v2::NUMBERS),
            GicInfo::V3 { .. } => (Version::V3(v3::GicV3::new(first, second).ok_or(GicError::Registers)?), u32::MAX),
        };
        let mut affinities = [0; MAX_CORES];
        for (place, affinity) in affinities.iter_mut().zip(&board.cores) {
            *place = *affinity;
        }
        let calls = affinities.map(v3::call_of);
        Ok(Self { version, numbers, uart: board.uart.intid, affinities, calls })
    }

    /// Returns whether core `core` can receive interrupts: GICv3 has an interface for each core, GICv2 one at the same address for all.
    #[must_use]
    pub fn serves(&self, core: CoreIndex) -> bool {
        match &self.version {
            Version::V2(_) => true,
            Version::V3(gic) => gic.serves(self.affinity(core)),
        }
    }

    /// Prepares the calling core, number `core`, to receive SGIs, the interrupts of its two timers and shared ones.
    ///
    /// # Errors
    /// [`GicError::NoInterface`]; the core then receives nothing and cannot be used.
    pub fn init_core(&self, core: CoreIndex) -> Result<(), GicError> {
        match &self.version {
            Version::V2(gic) => gic.init_core(core),
            Version::V3(gic) => gic.init_core(self.affinity(core)),
        }
    }

    /// Returns the token of the interrupt that came; it is active from here on, unless it is spurious.
    #[inline(always)]
    pub fn take(&self) -> Token {
        Token(match &self.version {
            Version::V2(gic) => gic.acknowledge(),
            Version::V3(_) => v3::acknowledge(),
        })
    }

    /// Acknowledges and ends the interrupt that came, if it is SGI `id` (0 to 15).
    ///
    /// # Errors
    /// The token of another one.
    #[inline(always)]
    pub fn take_sgi(&self, id: u8) -> Result<(), Token> {
        let id = u32::from(id);
        match &self.version {
            Version::V2(gic) => {
                let raw = gic.acknowledge();
                if raw & v2::NUMBERS != id {
                    return Err(Token(raw));
                }
                gic.end(raw);
            }
            Version::V3(_) => {
                let raw = v3::acknowledge();
                if raw != id {
                    return Err(Token(raw));
                }
                v3::end(raw);
            }
        }
        Ok(())
    }

    /// Returns the token of the interrupt that came, and which one it is.
    #[inline]
    pub fn acknowledge(&self) -> (Irq, Token) {
        let token = self.take();
        (self.irq(&token), token)
    }

    /// Returns which interrupt `token` is of.
    #[must_use]
    pub fn irq(&self, token: &Token) -> Irq {
        self.classify(token.0)
    }

    /// Returns whether it is that of this core's hypervisor timer.
    #[inline(always)]
    #[must_use]
    pub const fn is_hyp_timer(&self, token: &Token) -> bool {
        self.number(token.0) == HYP_TIMER
    }

    /// Returns whether it is that of the virtual timer.
    #[inline(always)]
    #[must_use]
    pub const fn is_virtual_timer(&self, token: &Token) -> bool {
        self.number(token.0) == VIRTUAL_TIMER
    }

    #[inline(always)]
    const fn number(&self, raw: u32) -> u32 {
        raw & self.numbers
    }

    /// Returns what a value of IAR means.
    fn classify(&self, raw: u32) -> Irq {
        match self.number(raw) {
            id @ 0..16 => Irq::Sgi(id.to_le_bytes()[0]),
            HYP_TIMER => Irq::HypTimer,
            VIRTUAL_TIMER => Irq::VirtualTimer,
            _ if raw == self.uart => Irq::Uart,
            id if is_special(id) => Irq::Spurious,
            id => Irq::Other(IntId(id)),
        }
    }

    /// Ends an interrupt: priority drop and deactivation. A spurious one is left alone, as it must be.
    #[inline]
    pub fn end(&self, token: Token) {
        if !is_special(self.number(token.0)) {
            self.end_known(token);
        }
    }

    /// Does the same for one that is known not to be spurious.
    #[inline(always)]
    pub fn end_known(&self, token: Token) {
        match &self.version {
            Version::V2(gic) => gic.end(token.0),
            Version::V3(_) => v3::end(token.0),
        }
    }

    /// Sends SGI `id` (0 to 15) to a core. What this core wrote before is visible to that core when it arrives.
    #[inline]
    pub fn send_sgi(&self, to: CoreIndex, id: u8) {
        match &self.version {
            Version::V2(gic) => gic.send_sgi(to, id),
            Version::V3(_) => v3::send_sgi(self.calls.get(to.index()).copied().unwrap_or(0), id),
        }
    }

    /// Returns 2 or 3, the version of the programming model.
    #[must_use]
    pub fn version(&self) -> u8 {
        match self.version {
            Version::V2(_) => 2,
            Version::V3(_) => 3,
        }
    }

    /// Returns how a panic reaches the other cores.
    #[must_use]
    pub fn stop_route(&self) -> SgiRoute {
        match &self.version {
            Version::V2(gic) => SgiRoute::Distributor(gic.distributor()),
            Version::V3(_) => SgiRoute::SystemRegister,
        }
    }

    fn affinity(&self, core: CoreIndex) -> u64 {
        self.affinities.get(core.index()).copied().unwrap_or(0)
    }
}

#[cfg(test)]
#[path = "gic_tests.rs"]
mod tests;
