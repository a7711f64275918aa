//! The mini UART of a Raspberry Pi 4, which is the console where the manifest says so, and no VM's then. Nobody's else: VMs may have it.

use crate::board::Block;

/// The page of its registers, which it has in common with two SPIs ("BCM2711 ARM Peripherals", chapter "Auxiliaries").
pub const PAGE: Block = Block { start: 0xfe21_5000, end: 0xfe21_6000, what: "the console's UART" };
/// Its interrupt, which the SPIs share: 29 of the VideoCore's, the first of which is shared interrupt 64.
pub const INTID: u32 = 32 + 64 + 29;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::RPI4;

    #[test]
    fn it_is_kept_only_where_it_is_chosen() {
        assert!(RPI4.keeps(PAGE.start, PAGE.end).is_none() && !RPI4.kept_interrupts.contains(&INTID));
        assert_eq!(INTID, 125);
    }
}
