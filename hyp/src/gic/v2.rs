//! GICv2 (Arm IHI 0048), also a GIC-400: a distributor and, per core, an interface at one and the same address.
//!
//! Own register blocks, because arm-gic 0.10 lacks what EL2 needs of version 2: it has no EOImode and no GICC_DIR, no
//! target registers, its priority setter overwrites three neighbors, and its set-up enables a group that the
//! non-secure view of a Raspberry Pi's GIC does not have. Here bit 0 of both control registers is written: group 1 in
//! that view, group 0 in the view of a GIC without security, so that the same writes work on both (platforms, 5).

use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::registers::ReadWrite;

use super::{Bit, GicError, IntId, Masked, Priority};
use crate::arch::core_base::{CoreIndex, MAX_CORES};
use crate::arch::gicv2::{Distributor, Interface};
use crate::arch::maintenance;
use crate::arch::mmio::{Device, Registers};
use crate::sync::{AtomicU8, Ordering};

/// GICC_CTLR: enable and EOImode, in the view without security (bit 9 is EOImodeS there) and in the non-secure one.
const INTERFACE_ON: u32 = 1 << 9 | 1;
/// The bits of GICC_IAR that are the interrupt's number; above them an SGI has its sender.
pub(super) const NUMBERS: u32 = 0x3ff;

/// A GICv2.
#[derive(Debug)]
pub(super) struct GicV2 {
    distributor: Registers<Distributor>,
    interface: Registers<Interface>,
    base: usize,
    /// Bit of each core in target fields, learned by the core itself. Relaxed: each is set once, before the core can be
    /// called, and published with the machine.
    targets: [AtomicU8; MAX_CORES],
}

impl GicV2 {
    /// Returns the controller with every shared interrupt off; `None` when a frame is too small.
    pub(super) fn new(distributor: Device, interface: Device) -> Option<Self> {
        let base = distributor.address();
        let gic = Self {
            distributor: distributor.shared()?,
            interface: interface.shared()?,
            base,
            targets: [const { AtomicU8::new(0) }; MAX_CORES],
        };
        let registers = &gic.distributor;
        registers.ctlr.set(0);
        for word in 1..gic.words() {
            for clear in [&registers.icenabler, &registers.icpendr, &registers.icactiver] {
                if let Some(register) = clear.get(word) {
                    register.set(u32::MAX);
                }
            }
        }
        for register in registers.ipriorityr.iter().take(gic.words() * 32).skip(32) {
            register.set(Priority::Usual as u8);
        }
        registers.ctlr.set(1);
        Some(gic)
    }

    /// Returns the address of the distributor's registers.
    pub(super) fn distributor(&self) -> usize {
        self.base
    }

    /// Words of one bit per interrupt: GICD_TYPER.ITLinesNumber counts them, less one.
    fn words(&self) -> usize {
        (self.distributor.typer.get() as usize & 31) + 1
    }

    pub(super) fn init_core(&self, core: CoreIndex) -> Result<(), GicError> {
        // The first eight target registers are read-only and show the accessing core's own bit.
        let own = self.distributor.itargetsr.iter().take(32).map(ReadWrite::get).find(|&bit| bit != 0);
        // A controller for one core reads as zero there (IHI 0048, GICD_ITARGETSR).
        let own = own.unwrap_or(1);
        let target = self.targets.get(core.index()).ok_or(GicError::NoInterface)?;
        target.store(own, Ordering::Relaxed);
        let registers = &self.distributor;
        let (private, timer) = (registers.icenabler.first(), registers.isenabler.first());
        let (Some(disable), Some(enable)) = (private, timer) else { return Err(GicError::NoInterface) };
        disable.set(0xffff_0000);
        for clear in [registers.icpendr.first(), registers.icactiver.first()].into_iter().flatten() {
            clear.set(u32::MAX);
        }
        for register in registers.ipriorityr.iter().take(32) {
            register.set(Priority::Usual as u8);
        }
        enable.set(1 << super::HYP_TIMER | 1 << super::VIRTUAL_TIMER | 0xffff);
        self.set_masked(Masked::Nothing);
        self.interface.bpr.set(0);
        for register in &self.interface.apr {
            register.set(0); // a priority that a loader left active would mask all others
        }
        self.interface.ctlr.set(INTERFACE_ON);
        maintenance::dsb_sy(); // the interface is on before this core waits for anything
        Ok(())
    }

    #[inline]
    pub(super) fn acknowledge(&self) -> u32 {
        let value = self.interface.iar.get();
        maintenance::dsb_sy(); // active before the handler touches the device
        value & 0x1fff
    }

    /// Takes the value that IAR gave, since the sender of an SGI belongs to it.
    #[inline]
    pub(super) fn end(&self, value: u32) {
        let interface = &*self.interface; // looked up once
        interface.eoir.set(value);
        interface.dir.set(value);
        maintenance::dsb_sy(); // a level line that is low by now is seen low
    }

    #[inline]
    pub(super) fn send_sgi(&self, to: CoreIndex, id: u8) {
        let target = self.targets.get(to.index()).map_or(0, |bit| bit.load(Ordering::Relaxed));
        maintenance::dsb_sy(); // what was written before is visible to the core that is called
        self.distributor.sgir.set(u32::from(target) << 16 | u32::from(id & 15));
    }

    /// Drops the running priority; the interrupt stays active.
    #[inline]
    pub(super) fn drop_priority(&self, value: u32) {
        self.interface.eoir.set(value);
    }

    pub(super) fn route(&self, intid: IntId, core: CoreIndex) -> Result<(), GicError> {
        let target = self.targets.get(core.index()).ok_or(GicError::NoInterface)?.load(Ordering::Relaxed);
        self.distributor.itargetsr.get(self.index(intid)?).ok_or(GicError::NoSuchInterrupt)?.set(target);
        Ok(())
    }

    pub(super) fn set_priority(&self, intid: IntId, priority: Priority) -> Result<(), GicError> {
        let register = self.distributor.ipriorityr.get(self.index(intid)?).ok_or(GicError::NoSuchInterrupt)?;
        register.set(priority as u8);
        Ok(())
    }

    pub(super) fn set_masked(&self, masked: Masked) {
        self.interface.pmr.set(u32::from(masked as u8));
    }

    /// The caller has the interrupt disabled, and nobody else sets the trigger of a neighbor.
    pub(super) fn set_trigger(&self, intid: IntId, is_edge: bool) -> Result<(), GicError> {
        let number = self.index(intid)?;
        let trigger = self.distributor.icfgr.get(number / 16).ok_or(GicError::NoSuchInterrupt)?;
        let bit = 2 << (number % 16 * 2);
        trigger.set(if is_edge { trigger.get() | bit } else { trigger.get() & !bit });
        Ok(())
    }

    pub(super) fn set(&self, bit: Bit, intid: IntId) -> Result<(), GicError> {
        let (number, registers) = (self.index(intid)?, &self.distributor);
        let registers = match bit {
            Bit::Enable => &registers.isenabler,
            Bit::Mask => &registers.icenabler,
            Bit::ClearPending => &registers.icpendr,
            Bit::ClearActive => &registers.icactiver,
        };
        registers.get(number / 32).ok_or(GicError::NoSuchInterrupt)?.set(1 << (number % 32));
        maintenance::dsb_sy(); // it has reached the distributor before the guest goes on
        Ok(())
    }

    pub(super) fn is_pending(&self, intid: IntId) -> bool {
        let number = intid.number() as usize;
        let word = self.distributor.icpendr.get(number / 32).map_or(0, ReadWrite::get);
        word >> (number % 32) & 1 != 0 || self.interface.hppir.get() & 0x3ff == intid.number()
    }

    /// Returns the number of an interrupt that the controller has.
    fn index(&self, intid: IntId) -> Result<usize, GicError> {
        let number = intid.number() as usize;
        if number < self.words() * 32 { Ok(number) } else { Err(GicError::NoSuchInterrupt) }
    }
}
