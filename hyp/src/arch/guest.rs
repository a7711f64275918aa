//! Guest registers: moves a vCPU's state between memory and the core at a switch, and sets what traps while it runs.
//! Called by `dispatcher::enter` and when a vCPU leaves its core. Never decides which vCPU that is.

use aarch64_cpu::registers::{
    CPTR_EL2, ELR_EL1, ELR_EL2, ESR_EL1, FAR_EL1, HCR_EL2, ID_AA64MMFR0_EL1, ID_AA64PFR0_EL1, Readable, SPSR_EL1,
    VBAR_EL1, Writeable,
};

use super::el1::{El1, FpState};
use super::{el2, maintenance, native, stage2};
use crate::sync::{AtomicU32, Ordering};

/// Not 0 where a core has FEAT_RAS; `registers.S` reads it with one instruction. Relaxed: each core sets it before its
/// own first guest, and looks at its identification registers again before it relies on it.
pub(super) static HAS_RAS: AtomicU32 = AtomicU32::new(0);

core::arch::global_asm!(include_str!("guest.S"));

unsafe extern "C" {
    fn arch_el1_save(to: *mut El1);
    fn arch_el1_load(from: *const El1);
    fn arch_fp_save(to: *mut FpState);
    fn arch_fp_load(from: *const FpState);
}

/// HCR_EL2.DC: stage 1 is off, and what it would say is Normal cacheable memory.
pub(super) const HCR_DC: u64 = 1 << 12;
/// HCR_EL2.TTLB: TLBI traps. With stage 1 off a guest has nothing to invalidate, and a storm of it stalls all cores.
const HCR_TTLB: u64 = 1 << 25;
/// HCR_EL2.TVM: writes of EL1's translation registers trap.
const HCR_TVM: u64 = 1 << 26;
/// HCR_EL2.PTW: a walk of stage 1 that stage 2 leads into device memory is refused; it would read what reading changes.
const HCR_PTW: u64 = 1 << 2;
/// HCR_EL2 while a guest with `mmu = "strato"` runs. DC makes stage 1, which is off, Normal cacheable; the traps report
/// what such a guest has no business with; FB and BSU spread its own maintenance to the cores its siblings run on.
pub(super) const HCR_STRATO: u64 = 1          // VM: stage 2 on
    | 1 << 1                      // SWIO: set/way invalidation cleans too
    | 1 << 3 | 1 << 4 | 1 << 5    // FMO, IMO, AMO: physical interrupts come here
    | 1 << 9 | 1 << 10            // FB; BSU = inner shareable
    | HCR_DC
    | 1 << 13                     // TWI
    | 1 << 18                     // TID3: identification registers
    | 1 << 19                     // TSC: SMC
    | 1 << 20 | 1 << 21 | 1 << 22 // TIDCP, TACR, TSW
    | HCR_TTLB
    | HCR_TVM
    | 1 << 31                     // RW: EL1 is AArch64
    // RES0 before FEAT_LOR and FEAT_RAS:
    | 1 << 35                     // TLOR: limited ordering regions
    | 1 << 36 | 1 << 37; // TERR, TEA: error records; synchronous external aborts come here
/// HCR_EL2 while a guest with `mmu = "native"` runs: its translation registers are its own, and so is its TLB maintenance, which
/// the architecture keeps to the current VMID. Every other trap stays: docs/silicon.md goes through them.
pub(super) const HCR_NATIVE: u64 = HCR_STRATO & !(HCR_DC | HCR_TTLB | HCR_TVM) | HCR_PTW;
/// HCR_EL2.VI: a virtual interrupt is pending.
const HCR_VI: u64 = 1 << 7;

/// Sets on this core what is the same for every guest: stage 1 off at EL1, with every translation register constant.
///
/// Called once per core, before its first guest.
pub fn init_core() {
    native::reset();
    // SAFETY: registers of EL1; EL2 does not depend on any of them.
    unsafe {
        core::arch::asm!(
            "msr actlr_el1, xzr",
            "msr mdscr_el1, xzr", // no single step and no breakpoint that a debugger left
            options(nomem, nostack, preserves_flags)
        );
    }
    if ID_AA64PFR0_EL1.get() >> 28 & 0xf != 0 {
        HAS_RAS.store(1, Ordering::Relaxed);
    }
    trap_fp(true);
    stage2::set_vtcr(stage2::vtcr(ID_AA64MMFR0_EL1.read(ID_AA64MMFR0_EL1::PARange)));
    maintenance::isb(); // the invalidation acts under these controls
    maintenance::tlbi_alle1(); // what the TLB holds after reset is unknown
    maintenance::dsb_nsh();
    maintenance::isb(); // the next guest entry relies on all of it
}

/// Sets or clears the virtual interrupt of the guest that runs next. Its traps stay as the switch has set them.
#[inline]
pub fn set_line(raised: bool) {
    // SAFETY: changes HCR_EL2.VI alone, which is about EL1.
    unsafe {
        core::arch::asm!(
            "mrs {hcr}, hcr_el2",
            "bfi {hcr}, {raised}, #{vi}, #1",
            "msr hcr_el2, {hcr}",
            hcr = out(reg) _,
            raised = in(reg) u64::from(raised),
            vi = const HCR_VI.trailing_zeros(),
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// Sets whether FP and SIMD instructions of the guest trap (CPTR_EL2.TFP).
#[inline]
pub fn trap_fp(on: bool) {
    CPTR_EL2.set(if on { el2::CPTR } else { el2::CPTR & !(1 << 10) });
}

/// Clears the virtual interrupt of the guest that runs next: the same as `set_line(false)`, without a register for that.
#[inline(always)]
pub fn clear_line() {
    // SAFETY: as in `set_line`.
    unsafe {
        core::arch::asm!(
            "mrs {hcr}, hcr_el2",
            "bic {hcr}, {hcr}, #{vi}",
            "msr hcr_el2, {hcr}",
            hcr = out(reg) _,
            vi = const HCR_VI,
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// Returns whether the virtual interrupt of the guest that runs next is set.
#[must_use]
#[inline]
pub fn is_line_up() -> bool {
    HCR_EL2.get() & HCR_VI != 0
}

/// Returns whether FP and SIMD instructions trap.
#[must_use]
#[inline]
pub fn fp_traps() -> bool {
    CPTR_EL2.get() & 1 << 10 != 0
}

/// Saves what EL1 has on this core into `to`.
#[inline]
pub fn save(to: &mut El1) {
    // SAFETY: follows AAPCS64 and writes 112 bytes of `to` only.
    unsafe { arch_el1_save(to) };
}

/// Loads `from` into this core.
#[inline]
pub fn load(from: &El1) {
    // SAFETY: follows AAPCS64 and reads the 120 bytes of `from`; no register of EL1 or EL0 affects EL2.
    unsafe { arch_el1_load(from) };
}

/// Saves the FP registers into `to` and makes FP trap again.
pub fn save_fp(to: &mut FpState) {
    // SAFETY: follows AAPCS64 and writes the 528 bytes of `to`; called while FP does not trap.
    unsafe { arch_fp_save(to) };
    trap_fp(true);
}

/// Lets the guest use FP, with its registers loaded from `from`.
pub fn load_fp(from: &FpState) {
    trap_fp(false);
    maintenance::isb(); // the loads below must not trap to EL2 itself
    // SAFETY: follows AAPCS64 and reads the 528 bytes of `from`; code at EL2 keeps nothing in FP registers.
    unsafe { arch_fp_load(from) };
}

/// Writes what EL1 sees of an exception that it is made to take: ESR_EL1, FAR_EL1 if the exception has an address,
/// ELR_EL1 and SPSR_EL1. Returns VBAR_EL1.
pub fn take_exception(syndrome: u64, far: Option<u64>, pc: u64, pstate: u64) -> u64 {
    ESR_EL1.set(syndrome);
    if let Some(far) = far {
        FAR_EL1.set(far);
    }
    ELR_EL1.set(pc);
    SPSR_EL1.set(pstate);
    VBAR_EL1.get()
}

/// Returns where the guest goes on (ELR_EL2). It holds until the guest is entered again.
#[must_use]
#[inline]
pub fn return_address() -> u64 {
    ELR_EL2.get()
}

/// Returns VBAR_EL1 of the resident vCPU.
#[must_use]
pub fn vector_base() -> u64 {
    VBAR_EL1.get()
}

/// Returns ESR_EL1, ELR_EL1 and FAR_EL1: the exception that the resident vCPU was last made to take.
#[must_use]
pub fn last_exception() -> [u64; 3] {
    [ESR_EL1.get(), ELR_EL1.get(), FAR_EL1.get()]
}
