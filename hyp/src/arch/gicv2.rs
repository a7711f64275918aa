//! GICv2: the register frames (Arm IHI 0048, "Programmers' Model"). Layout alone; the room `gic` says what is written.

use tock_registers::register_structs;
use tock_registers::registers::{ReadOnly, ReadWrite, WriteOnly};

use super::mmio::Block;

register_structs! {
    /// The distributor.
    pub Distributor {
        /// GICD_CTLR
        (0x000 => pub ctlr: ReadWrite<u32>),
        /// GICD_TYPER
        (0x004 => pub typer: ReadOnly<u32>),
        (0x008 => _reserved0),
        /// GICD_ISENABLER
        (0x100 => pub isenabler: [ReadWrite<u32>; 32]),
        /// GICD_ICENABLER
        (0x180 => pub icenabler: [ReadWrite<u32>; 32]),
        (0x200 => _reserved1),
        /// GICD_ICPENDR
        (0x280 => pub icpendr: [ReadWrite<u32>; 32]),
        (0x300 => _reserved2),
        /// GICD_ICACTIVER
        (0x380 => pub icactiver: [ReadWrite<u32>; 32]),
        /// GICD_IPRIORITYR, byte accessible
        (0x400 => pub ipriorityr: [ReadWrite<u8>; 1024]),
        /// GICD_ITARGETSR, byte accessible
        (0x800 => pub itargetsr: [ReadWrite<u8>; 1024]),
        /// GICD_ICFGR
        (0xc00 => pub icfgr: [ReadWrite<u32>; 64]),
        (0xd00 => _reserved3),
        /// GICD_SGIR
        (0xf00 => pub sgir: WriteOnly<u32>),
        (0xf04 => _reserved4),
        (0x1000 => @END),
    },
    /// The interface of the core that accesses it.
    pub Interface {
        /// GICC_CTLR
        (0x0000 => pub ctlr: ReadWrite<u32>),
        /// GICC_PMR
        (0x0004 => pub pmr: ReadWrite<u32>),
        /// GICC_BPR
        (0x0008 => pub bpr: ReadWrite<u32>),
        /// GICC_IAR
        (0x000c => pub iar: ReadOnly<u32>),
        /// GICC_EOIR
        (0x0010 => pub eoir: WriteOnly<u32>),
        (0x0014 => _reserved0),
        /// GICC_HPPIR
        (0x0018 => pub hppir: ReadOnly<u32>),
        (0x001c => _reserved2),
        /// GICC_APR
        (0x00d0 => pub apr: [ReadWrite<u32>; 4]),
        (0x00e0 => _reserved1),
        /// GICC_DIR
        (0x1000 => pub dir: WriteOnly<u32>),
        (0x1004 => @END),
    }
}

// SAFETY: made by `register_structs!` of nothing but tock-registers fields and padding.
unsafe impl Block for Distributor {}
// SAFETY: as above.
unsafe impl Block for Interface {}
