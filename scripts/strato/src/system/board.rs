//! Board: the machines that QEMU plays.

/// A board that QEMU plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Board {
    /// QEMU's machine `virt`
    QemuVirt,
    /// A Raspberry Pi 4: QEMU's machine `raspi4b`, of four cores and GICv2
    Rpi4,
}
