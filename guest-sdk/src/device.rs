//! Devices that the manifest assigns: registers as words that are read and written once, and interrupts as events. Uses the
//! groups AS and EVT. Dropping either gives it back: registers are unmapped, an interrupt is masked.

use strato_abi::addr::PAGE_SIZE;
use strato_abi::event::IrqFlags;
use strato_abi::{Ipa, IrqHandle, PortHandle};

use crate::conduit::Conduit;
use crate::error::Result;
use crate::event::via::{bind_irq, irq_done};
use crate::info::Registers;
use crate::memory::{READ_WRITE, map_on, unmap_on};
use crate::{Hvc, arch, event, image};

/// Registers of a device, mapped as a whole. Each access is one load or store of 32 bits, in program order with the others.
#[derive(Debug)]
pub struct Mmio<'c, C: Conduit = Hvc> {
    conduit: &'c C,
    base: Ipa,
    bytes: u64,
}

impl Mmio<'static> {
    /// Maps `registers` at `address` in the current address space.
    ///
    /// # Errors
    /// Those of AS.MAP.
    pub fn map(registers: Registers, address: Ipa) -> Result<Self> {
        Self::map_on(&Hvc, registers, address)
    }
}

impl<'c, C: Conduit> Mmio<'c, C> {
    /// Does the same as [`Mmio::map`] over a conduit of the caller's choice.
    ///
    /// # Errors
    /// Those of AS.MAP.
    pub fn map_on(conduit: &'c C, registers: Registers, address: Ipa) -> Result<Self> {
        let pages = registers.size / PAGE_SIZE;
        image::check_place(address, pages)?;
        map_on(conduit, registers.handle, 0, address, pages, READ_WRITE)?;
        Ok(Self { conduit, base: address, bytes: registers.size })
    }

    /// Returns the address of the register `offset` bytes behind the first.
    fn register(&self, offset: u64) -> Option<Ipa> {
        let is_one = offset.is_multiple_of(4) && offset < self.bytes;
        if is_one { self.base.checked_add(offset) } else { None }
    }

    /// Returns the register `offset` bytes behind the first; all ones where there is none.
    #[must_use]
    pub fn read(&self, offset: u64) -> u32 {
        self.register(offset).map_or(u32::MAX, arch::device_load)
    }

    /// Writes the register `offset` bytes behind the first; nothing where there is none.
    pub fn write(&self, offset: u64, value: u32) {
        if let Some(register) = self.register(offset) {
            arch::device_store(register, value);
        }
    }
}

impl<C: Conduit> Drop for Mmio<'_, C> {
    fn drop(&mut self) {
        // A refusal leaves the registers mapped until the VM ends.
        let _ = unmap_on(self.conduit, self.base, self.bytes / PAGE_SIZE);
    }
}

/// An interrupt of a device, bound to a port.
#[derive(Debug)]
pub struct Irq<'c, C: Conduit = Hvc> {
    conduit: &'c C,
    irq: IrqHandle,
    port: PortHandle,
}

impl Irq<'static> {
    /// Lets `irq` raise `port`, which is bound to the vCPU that will wait for it.
    ///
    /// # Errors
    /// Those of EVT.BIND_IRQ.
    pub fn bind(irq: IrqHandle, port: PortHandle) -> Result<Self> {
        Self::bind_on(&Hvc, irq, port)
    }

    /// Waits until the interrupt has come. Call [`Irq::done`] when the device was served.
    ///
    /// # Errors
    /// None but a forbidden VCPU.WAIT.
    pub fn wait(&self) -> Result<()> {
        event::wait(self.port)
    }

    /// Waits as [`Irq::wait`], but no longer than until CNTVCT_EL0 reaches `deadline_ticks`; returns whether it came.
    ///
    /// # Errors
    /// None but a forbidden VCPU.WAIT.
    pub fn wait_until(&self, deadline_ticks: u64) -> Result<bool> {
        event::wait_until(self.port, deadline_ticks)
    }
}

impl<'c, C: Conduit> Irq<'c, C> {
    /// Does the same as [`Irq::bind`] over a conduit of the caller's choice.
    ///
    /// # Errors
    /// Those of EVT.BIND_IRQ.
    pub fn bind_on(conduit: &'c C, irq: IrqHandle, port: PortHandle) -> Result<Self> {
        bind_irq(conduit, irq, port, IrqFlags::empty())?;
        Ok(Self { conduit, irq, port })
    }

    /// Returns the port that it raises.
    #[must_use]
    pub const fn port(&self) -> PortHandle {
        self.port
    }

    /// Says that the device was served, so that its line is low or it has more to say: the interrupt may come again.
    ///
    /// # Errors
    /// `STATE`: it had not come; or, with `LineStuck`, its line did not fall so often that it is masked until it is bound again.
    pub fn done(&self) -> Result<()> {
        irq_done(self.conduit, self.irq)
    }
}

impl<C: Conduit> Drop for Irq<'_, C> {
    fn drop(&mut self) {
        // A refusal leaves it bound until the VM ends.
        let _ = bind_irq(self.conduit, self.irq, self.port, IrqFlags::OFF);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recorder;
    use std::string::ToString;
    use strato_abi::address_space::Attributes;
    use strato_abi::call::{AsMapReply, AsUnmapReply, EvtBindIrqReply, EvtIrqDoneReply};
    use strato_abi::{Call, Code, Handle, MemHandle, Reason};

    const REGISTERS: Registers = Registers { handle: MemHandle(Handle::new(3, 1)), size: 0x2000 };
    const IRQ: IrqHandle = IrqHandle(Handle::new(4, 1));
    const PORT: PortHandle = PortHandle(Handle::new(5, 1));

    fn ids(recorder: &Recorder) -> std::vec::Vec<u32> {
        recorder.calls().iter().map(|(id, _)| *id).collect()
    }

    #[test]
    fn registers_are_mapped_whole_and_unmapped_with_their_value() {
        let recorder =
            Recorder::new().answer(AsMapReply { level: 3, done: 2 }).answer(AsUnmapReply { reserved: 0, done: 2 });
        let mmio = Mmio::map_on(&recorder, REGISTERS, Ipa::new(0x3000_0000).unwrap()).unwrap();
        let at = |offset| mmio.register(offset).map(Ipa::bytes);
        assert_eq!((at(0), at(0x1ffc)), (Some(0x3000_0000), Some(0x3000_1ffc)));
        assert_eq!((at(0x2000), at(2), at(u64::MAX - 3)), (None, None, None));
        drop(mmio);
        let (id, regs) = recorder.calls()[0];
        assert_eq!(id, Call::AsMap.function_id());
        assert_eq!(regs[..6], [0, 0x3000_0000, 0x1_0003, 0, 2, (Attributes::READ | Attributes::WRITE).bits()]);
        assert_eq!(ids(&recorder)[1..], [Call::AsUnmap.function_id()]);
    }

    #[test]
    fn registers_are_not_mapped_over_the_program() {
        let recorder = Recorder::new();
        let place = Ipa::new(strato_abi::addr::RAM_BASE).unwrap();
        assert!(Mmio::map_on(&recorder, REGISTERS, place).is_err());
        assert_eq!(recorder.calls().len(), 0);
    }

    #[test]
    fn an_interrupt_is_masked_with_its_value() {
        let stuck = strato_abi::Error::of(Code::State, 1, Reason::LineStuck, 4096);
        let recorder = Recorder::new()
            .answer(EvtBindIrqReply {})
            .answer(EvtIrqDoneReply {})
            .refuse(stuck, 0)
            .answer(EvtBindIrqReply {});
        let irq = Irq::bind_on(&recorder, IRQ, PORT).unwrap();
        assert_eq!((irq.port(), irq.done()), (PORT, Ok(())));
        let refused = irq.done().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "EVT.IRQ_DONE: STATE: irq is masked: its line did not fall, however often it was served (4096)"
        );
        drop(irq);
        let calls = recorder.calls();
        assert_eq!(calls[0].1[..3], [0x1_0004, 0x1_0005, 0]);
        assert_eq!(calls[3].1[..3], [0x1_0004, 0x1_0005, 1]);
    }
}
