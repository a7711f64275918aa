//! Native guests: EL1's translation registers, and the one order in which they change together with VTTBR_EL2 and HCR_EL2.
//! Called by the switch for VMs with `mmu = "native"`, and by the abort path. Never decides who runs.
//!
//! Between two owners stage 1 is *closed*: TCR_EL1.EPD0 and EPD1 forbid walks, SCTLR_EL1.M is one and HCR_EL2.DC, under
//! which M counts as zero, is zero, so that no address translates. Erratum 1319367 (Cortex-A72; 1319537 on A57): a core that translates speculatively while
//! these registers belong to different VMs keeps the result, under the VMID of one with the tables of the other.

use core::arch::asm;

use aarch64_cpu::registers::{HCR_EL2, PAR_EL1, Readable, SCTLR_EL1, TCR_EL1, Writeable};

use super::el1::Stage1;
use super::guest::{HCR_DC, HCR_NATIVE, HCR_STRATO};
use super::maintenance::{dsb_nsh, tlbi_vmalle1};
use super::stage2;
use super::stage2_ops::isb;

unsafe extern "C" {
    fn arch_stage1_save(to: *mut Stage1);
    fn arch_stage1_load(from: *const Stage1);
}

/// TCR_EL1.EPD0 and EPD1: no walk by TTBR0_EL1, none by TTBR1_EL1.
const NO_WALKS: u64 = 1 << 7 | 1 << 23;
/// SCTLR_EL1.M: stage 1 is on.
const MMU_ON: u64 = 1;

/// What [`close`] found.
#[derive(Debug)]
pub struct Closed {
    tcr: u64,
    sctlr: u64,
    hcr: u64,
}

/// Lets no address of EL1 and EL0 translate on this core. First no walks, then the MMU on, then DC off.
#[cold]
#[inline(never)]
pub fn close() -> Closed {
    let found = Closed { tcr: TCR_EL1.get(), sctlr: SCTLR_EL1.get(), hcr: HCR_EL2.get() };
    shut(&found);
    found
}

/// Writes the three registers so that nothing translates, whatever they held.
fn shut(from: &Closed) {
    TCR_EL1.set(from.tcr | NO_WALKS);
    isb(); // no walk begins any more
    SCTLR_EL1.set(from.sctlr | MMU_ON);
    isb(); // and without a walk nothing translates, once DC is off
    HCR_EL2.set(from.hcr & !HCR_DC);
    isb();
}

/// Ends [`close`], in the opposite order, with the VTTBR_EL2 of before.
pub(super) fn open(found: &Closed) {
    isb(); // VTTBR_EL2 is that of before
    HCR_EL2.set(found.hcr);
    isb();
    SCTLR_EL1.set(found.sctlr);
    isb();
    TCR_EL1.set(found.tcr);
    isb();
}

/// Makes EL1 translate by `from`, after stage 1 was closed and VTTBR_EL2 written.
///
/// With `has_siblings`, another vCPU of the VM may have been here last: what the core holds of its translations goes, since
/// the two may use one ASID for different things.
#[cold]
#[inline(never)]
pub fn enter(from: &Stage1, has_siblings: bool, _closed: &Closed) {
    HCR_EL2.set(HCR_NATIVE);
    // SAFETY: follows AAPCS64 and reads the 72 bytes of `from`; EL2 does not translate by any of the registers.
    unsafe { arch_stage1_load(from) };
    isb(); // stage 2 and the tables are those of this vCPU before a walk may begin
    if has_siblings {
        tlbi_vmalle1(); // of this VMID, on this core
        dsb_nsh(); // complete before anything translates
        isb();
    }
    SCTLR_EL1.set(from.sctlr);
    isb();
    TCR_EL1.set(from.tcr); // the ERET makes it take effect
}

/// Saves into `to` what EL1 translates by, and leaves the core as [`reset`] does.
#[cold]
#[inline(never)]
pub fn leave(to: &mut Stage1) {
    // SAFETY: follows AAPCS64 and writes the 72 bytes of `to` only.
    unsafe { arch_stage1_save(to) };
    reset();
}

/// Leaves the core with the registers of `strato` guests, and with a stage 2 that translates nothing. Reads none of them: at
/// boot they hold anything.
#[cold]
#[inline(never)]
pub fn reset() {
    let constants = Stage1::RESET;
    shut(&Closed { tcr: constants.tcr, sctlr: constants.sctlr, hcr: HCR_STRATO });
    stage2::park();
    // SAFETY: follows AAPCS64 and reads the 72 bytes of `constants`; EL2 does not translate by any of the registers.
    unsafe { arch_stage1_load(&raw const constants) };
    HCR_EL2.set(HCR_STRATO);
    isb(); // stage 1 is off by DC, in front of a stage 2 without entries
    SCTLR_EL1.set(constants.sctlr);
    isb();
    TCR_EL1.set(constants.tcr);
    isb();
}

/// Returns the guest-physical address of `address`, to which stage 1 of the resident vCPU translates it, or `None` if it
/// does not any more. PAR_EL1 stays the guest's.
///
/// Asked as a read of EL1 whatever the access was: it got past stage 1, and each entry of Armv8.0 that does for anything lets
/// EL1 read. A fault of the walk in stage 2 counts as no translation (DDI 0487, AT S1E1R at EL2).
#[cold]
#[inline(never)]
#[must_use]
pub fn translate(address: u64) -> Option<u64> {
    const FAILED: u64 = 1;
    const PAGE: u64 = 0xffff_ffff_f000;
    let before = PAR_EL1.get();
    // SAFETY: a translation by the guest's tables changes PAR_EL1 alone, which is put back below.
    unsafe { asm!("at s1e1r, {}", in(reg) address, options(nostack, preserves_flags)) };
    isb(); // PAR_EL1 holds the result
    let result = PAR_EL1.get();
    PAR_EL1.set(before);
    (result & FAILED == 0).then_some(result & PAGE | address & 0xfff)
}
