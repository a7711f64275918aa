//! GICv3 and 4 (Arm IHI 0069): distributor and redistributors by arm-gic; the CPU interface is `arch::gic_cpu`, since
//! arm-gic has neither EOImode 1 nor ICC_DIR.

use arm_gic::gicv3::registers::{Gicd, GicdCtlr, GicrCtlr, GicrSgi};
use arm_gic::gicv3::{GicDistributor, GicRedistributor};
use arm_gic::{IntId as ArmIntId, Trigger};
use heapless::Vec;
use safe_mmio::{UniqueMmioPointer, field};

use super::{Bit, GicError, HYP_TIMER, IntId, Masked, Priority, VIRTUAL_TIMER};
use crate::arch::core_base::MAX_CORES;
use crate::arch::mmio::Device;
use crate::arch::{gic_cpu, maintenance};
use crate::lock::{CONSOLE, Lock};

/// Looks at a register that says when a change is done.
const PATIENCE: u32 = 100_000;
/// Most redistributors that are looked at.
const MAX_REDISTRIBUTORS: usize = 2 * MAX_CORES;

/// A redistributor, with the affinity fields of its core as MPIDR_EL1 has them.
type Redistributor = (u64, UniqueMmioPointer<'static, GicrSgi>);

/// A GICv3. Frames are used by one core at a time; they are leaves among the locks.
#[derive(Debug)]
pub(super) struct GicV3 {
    distributor: Lock<UniqueMmioPointer<'static, Gicd>, CONSOLE>,
    redistributors: Lock<Vec<Redistributor, MAX_REDISTRIBUTORS>, CONSOLE>,
}

impl GicV3 {
    /// Returns the controller with every shared interrupt off; `None` when a frame is too small.
    pub(super) fn new(distributor: Device, redistributors: Device) -> Option<Self> {
        let mut registers = distributor.unique::<Gicd>()?;
        let words = GicDistributor::new(registers.reborrow()).typer().num_spis().div_ceil(32) as usize;
        GicDistributor::new(registers.reborrow()).enable_all_interrupts(false);
        for word in 1..=words {
            if let Some(mut pending) = field!(registers, icpendr).get(word) {
                pending.write(u32::MAX);
            }
            if let Some(mut active) = field!(registers, icactiver).get(word) {
                active.write(u32::MAX);
            }
        }
        GicDistributor::new(registers.reborrow()).configure_default_settings();

        let mut frames = Vec::new();
        let mut rest = Some(redistributors);
        while let Some(device) = rest.take() {
            // A redistributor is two frames of 64 KiB; one that also has virtual LPIs (GICv4) is four.
            let (frame, behind) = match device.split(size_of::<GicrSgi>()) {
                Ok((frame, behind)) => (frame, Some(behind)),
                Err(last) => (last, None),
            };
            let mut frame = frame.unique::<GicrSgi>()?;
            let typer = GicRedistributor::new(frame.reborrow()).typer();
            if frames.push((typer.core_mpidr(), frame)).is_err() || typer.last_redistributor() {
                break;
            }
            rest = match behind {
                Some(behind) if typer.virtual_lpis_supported() => {
                    behind.split(size_of::<GicrSgi>()).ok().map(|(_, next)| next)
                }
                other => other,
            };
        }
        Some(Self { distributor: Lock::new(registers), redistributors: Lock::new(frames) })
    }

    pub(super) fn serves(&self, affinity: u64) -> bool {
        self.redistributors.lock_leaf().iter().any(|(owner, _)| *owner == affinity)
    }

    pub(super) fn init_core(&self, affinity: u64) -> Result<(), GicError> {
        let mut frames = self.redistributors.lock_leaf();
        let (_, frame) = frames.iter_mut().find(|(owner, _)| *owner == affinity).ok_or(GicError::NoInterface)?;
        stop_messages(frame)?;
        let mut redistributor = GicRedistributor::new(frame.reborrow());
        redistributor.power_on();
        // The error says that the core is awake already.
        let _ = redistributor.mark_core_awake();
        redistributor.configure_default_settings();
        let mut registers = frame.reborrow();
        let mut private = field!(registers, sgi);
        field!(private, icpendr).get(0).ok_or(GicError::NoInterface)?.write(u32::MAX);
        field!(private, icactiver).get(0).ok_or(GicError::NoInterface)?.write(u32::MAX);
        let mut redistributor = GicRedistributor::new(frame.reborrow());
        let no_such = |_| GicError::NoInterface;
        for intid in (0..16).map(ArmIntId::sgi).chain([HYP_TIMER, VIRTUAL_TIMER].map(|intid| ArmIntId::ppi(intid - 16)))
        {
            redistributor.set_interrupt_priority(intid, Priority::Usual as u8).map_err(no_such)?;
            redistributor.enable_interrupt(intid, true).map_err(no_such)?;
        }
        gic_cpu::init();
        Ok(())
    }

    pub(super) fn route(&self, intid: IntId, affinity: u64) -> Result<(), GicError> {
        let mut registers = self.distributor.lock_leaf();
        let mut distributor = GicDistributor::new(registers.reborrow());
        let intid = spi(&distributor, intid)?;
        distributor.set_routing(intid, Some(affinity)).map_err(|_| GicError::NoSuchInterrupt)
    }

    pub(super) fn set_priority(&self, intid: IntId, priority: Priority) -> Result<(), GicError> {
        let mut registers = self.distributor.lock_leaf();
        let mut distributor = GicDistributor::new(registers.reborrow());
        let intid = spi(&distributor, intid)?;
        distributor.set_interrupt_priority(intid, priority as u8).map_err(|_| GicError::NoSuchInterrupt)
    }

    pub(super) fn set_trigger(&self, intid: IntId, is_edge: bool) -> Result<(), GicError> {
        let mut registers = self.distributor.lock_leaf();
        let mut distributor = GicDistributor::new(registers.reborrow());
        let intid = spi(&distributor, intid)?;
        let trigger = if is_edge { Trigger::Edge } else { Trigger::Level };
        distributor.set_trigger(intid, trigger).map_err(|_| GicError::NoSuchInterrupt)
    }

    pub(super) fn set(&self, bit: Bit, intid: IntId) -> Result<(), GicError> {
        let mut registers = self.distributor.lock_leaf();
        spi(&GicDistributor::new(registers.reborrow()), intid)?;
        let (word, value) = (intid.number() as usize / 32, 1 << (intid.number() % 32));
        match bit {
            Bit::Enable => field!(registers, isenabler).get(word).map(|mut register| register.write(value)),
            Bit::Mask => field!(registers, icenabler).get(word).map(|mut register| register.write(value)),
            Bit::ClearPending => field!(registers, icpendr).get(word).map(|mut register| register.write(value)),
            Bit::ClearActive => field!(registers, icactiver).get(word).map(|mut register| register.write(value)),
        };
        if matches!(bit, Bit::Mask) {
            // Until RWP clears the interrupt may still be signaled (IHI 0069, GICD_CTLR.RWP).
            let is_done = |_| !field!(registers, ctlr).read().contains(GicdCtlr::RWP);
            let _ = (0..PATIENCE).any(is_done);
        }
        maintenance::dsb_sy(); // it has reached the distributor before the guest goes on
        Ok(())
    }

    pub(super) fn is_pending(&self, intid: IntId) -> bool {
        let mut registers = self.distributor.lock_leaf();
        let word = field!(registers, ispendr).get(intid.number() as usize / 32).map_or(0, |register| register.read());
        word >> (intid.number() % 32) & 1 != 0 || gic_cpu::highest_pending() == intid.number()
    }
}

/// Returns the number of an interrupt that the controller has, as arm-gic has it.
fn spi(distributor: &GicDistributor<'_>, intid: IntId) -> Result<ArmIntId, GicError> {
    let index = intid.number() - 32;
    if index < distributor.typer().num_spis() { Ok(ArmIntId::spi(index)) } else { Err(GicError::NoSuchInterrupt) }
}

/// Turns message-based interrupts off, as a loader may have left them on: the redistributor would write their pending bits
/// to memory that has another owner by now. There are controllers on which they stay on (IHI 0069, GICR_CTLR).
fn stop_messages(frame: &mut UniqueMmioPointer<'static, GicrSgi>) -> Result<(), GicError> {
    let mut registers = frame.reborrow();
    let mut redistributor = field!(registers, gicr);
    let mut control = field!(redistributor, ctlr);
    let found = control.read();
    if !found.contains(GicrCtlr::EnableLPIs) {
        return Ok(());
    }
    control.write(found - GicrCtlr::EnableLPIs);
    let is_done = (0..PATIENCE).any(|_| {
        crate::arch::relax();
        !control.read().contains(GicrCtlr::RWP)
    });
    if is_done && !control.read().contains(GicrCtlr::EnableLPIs) { Ok(()) } else { Err(GicError::MessagesOn) }
}

/// Returns what ICC_SGI1R_EL1 takes for SGI 0 to one core: the affinity above Aff0, and Aff0 as a range of sixteen with a bit in it.
pub(super) fn call_of(affinity: u64) -> u64 {
    // As MPIDR_EL1 has them.
    let [aff0, aff1, aff2, aff3] =
        [affinity & 0xff, affinity >> 8 & 0xff, affinity >> 16 & 0xff, affinity >> 32 & 0xff];
    aff3 << 48 | (aff0 >> 4) << 44 | aff2 << 32 | aff1 << 16 | 1 << (aff0 & 15)
}

#[inline]
pub(super) fn acknowledge() -> u32 {
    gic_cpu::acknowledge()
}

#[inline]
pub(super) fn end(intid: u32) {
    gic_cpu::end(intid);
}

#[inline]
pub(super) fn drop_priority(intid: u32) {
    gic_cpu::drop_priority(intid);
}

pub(super) fn set_masked(masked: Masked) {
    gic_cpu::set_mask(masked as u8);
}

#[inline]
pub(super) fn send_sgi(call: u64, id: u8) {
    gic_cpu::send_sgi(call | u64::from(id & 15) << 24);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sgi_names_its_core_by_affinity() {
        assert_eq!(call_of(0), 1);
        assert_eq!(call_of(3), 1 << 3);
        assert_eq!(call_of(0x12_0034_5617), 0x12 << 48 | 1 << 44 | 0x34 << 32 | 0x56 << 16 | 1 << 7);
    }
}
