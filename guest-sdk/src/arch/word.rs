//! Loads and stores of words at guest-physical addresses, which report a fault instead of dying of it.

use ::core::arch::{asm, global_asm};

use strato_abi::Ipa;

use crate::fault::Fault;

// In: x0 address, x1 value (store). Out: x0 value (load); x3 0, or 1 when the access faulted and x0 to x2 are ESR, FAR and
// the PC. Clobbers nothing else. The exception handler sends a fault at one of the two accesses to `arch_word_fault`.
global_asm!(
    ".pushsection .text.arch_word, \"ax\"",
    ".global arch_word_load, arch_word_store, arch_word_fault",
    "arch_word_load: ldar x0, [x0]",
    "mov x3, #0",
    "ret",
    "arch_word_store: stlr x1, [x0]",
    "mov x3, #0",
    "ret",
    "arch_word_fault: mov x3, #1",
    "ret",
    ".popsection",
);

unsafe extern "C" {
    fn arch_word_load();
    fn arch_word_store();
    fn arch_word_fault();
}

/// Returns where to go on when the access at `pc` faulted, or `None` when it is none of the two here.
pub(super) fn recovery(pc: u64) -> Option<u64> {
    let known = [arch_word_load as *const () as u64, arch_word_store as *const () as u64];
    known.contains(&pc).then_some(arch_word_fault as *const () as u64)
}

const fn fault(syndrome: u64, address: u64, pc: u64) -> Fault {
    Fault { syndrome, address, pc, status: 0 }
}

/// Returns the word at `address`, loaded with acquire order.
pub(crate) fn load(address: Ipa) -> Result<u64, Fault> {
    let (value, far, pc, failed): (u64, u64, u64, u64);
    // SAFETY: a load has no effect on the program; where it is not allowed the handler makes it return. Alignment faults
    // are faults too. The branch overwrites x30 alone.
    unsafe {
        asm!("bl {load}", load = sym arch_word_load, inlateout("x0") address.bytes() => value, lateout("x1") far,
            lateout("x2") pc, lateout("x3") failed, lateout("x30") _, options(nostack, preserves_flags));
    }
    if failed == 0 { Ok(value) } else { Err(fault(value, far, pc)) }
}

/// Stores `value` at `address` with release order. The caller has checked that the word is not the program's own.
pub(crate) fn store(address: Ipa, value: u64) -> Result<(), Fault> {
    let (esr, far, pc, failed): (u64, u64, u64, u64);
    // SAFETY: `memory::Window` is the one caller; it keeps out of the image, so no value of the program changes. The rest
    // as for `load`.
    unsafe {
        asm!("bl {store}", store = sym arch_word_store, inlateout("x0") address.bytes() => esr, inlateout("x1") value => far,
            lateout("x2") pc, lateout("x3") failed, lateout("x30") _, options(nostack, preserves_flags));
    }
    if failed == 0 { Ok(()) } else { Err(fault(esr, far, pc)) }
}
