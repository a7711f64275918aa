//! Pins: the registers by which a BCM2711 routes its pins ("BCM2711 ARM Peripherals", chapter "General Purpose I/O"). Who uses them is
//! `board`'s business.

use tock_registers::register_structs;
use tock_registers::registers::ReadWrite;

use super::mmio::Block;

register_structs! {
    /// The registers that say what each pin is for.
    pub Pins {
        (0x00 => _reserved0),
        /// GPFSEL1
        (0x04 => pub function1: ReadWrite<u32, GPFSEL1::Register>),
        (0x08 => _reserved1),
        /// GPIO_PUP_PDN_CNTRL_REG0
        (0xe4 => pub pull0: ReadWrite<u32, PULL0::Register>),
        (0xe8 => @END),
    }
}

#[allow(missing_docs, reason = "the macro makes items that cannot be documented")]
mod fields {
    tock_registers::register_bitfields! { u32,
        pub GPFSEL1 [
            /// Pin 14: 4 is the PL011's TXD, 2 the mini UART's.
            FSEL14 OFFSET(12) NUMBITS(3) [Alt0 = 4],
            /// Pin 15, RXD.
            FSEL15 OFFSET(15) NUMBITS(3) [Alt0 = 4]
        ],
        /// GPIO_PUP_PDN_CNTRL_REG0.
        pub PULL0 [
            PIN14 OFFSET(28) NUMBITS(2) [None = 0],
            PIN15 OFFSET(30) NUMBITS(2) [Up = 1]
        ]
    }
}
pub use fields::{GPFSEL1, PULL0};

// SAFETY: every field is a tock-registers field, and every bit pattern is a value of it.
unsafe impl Block for Pins {}
