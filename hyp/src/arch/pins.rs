//! Pins: fields of the registers by which a BCM2711 routes its pins ("BCM2711 ARM Peripherals", chapter "General Purpose I/O"). Who uses
//! them is `board`'s business.

/// Bytes from the first register to GPFSEL1.
pub const FUNCTION1: u64 = 0x04;
/// Bytes from the first register to GPIO_PUP_PDN_CNTRL_REG0.
pub const PULL: u64 = 0xe4;

#[allow(missing_docs, reason = "the macro makes items that cannot be documented")]
mod fields {
    tock_registers::register_bitfields! { u32,
        pub GPFSEL1 [
            /// Pin 14: 4 is the PL011's TXD, 2 the mini UART's.
            FSEL14 OFFSET(12) NUMBITS(3) [Alt0 = 4, Alt5 = 2],
            /// Pin 15, RXD.
            FSEL15 OFFSET(15) NUMBITS(3) [Alt0 = 4, Alt5 = 2]
        ],
        /// GPIO_PUP_PDN_CNTRL_REG0.
        pub PULL0 [
            PIN14 OFFSET(28) NUMBITS(2) [None = 0],
            PIN15 OFFSET(30) NUMBITS(2) [Up = 1]
        ]
    }
}
pub use fields::{GPFSEL1, PULL0};
