//! Loads and stores of words at guest-physical addresses, which report a fault instead of dying of it.

use ::core::arch::{asm, global_asm};

use strato_abi::Ipa;

use crate::fault::Fault;

// One word. In: x0 address, x1 value (stores). Out: x0 value (loads); x3 0, or 1 when the access faulted and x0 to x2 are
// ESR, FAR and the PC. Clobbers nothing else.
// Words: x0 from, x1 to, x2 how many. Out: x3 as above. Clobbers x0 to x2, x4 to x11 and the flags. No register of a pair is
// loaded or stored twice, and each is single-copy atomic: LDP and STP are two accesses of 8 bytes (Arm ARM DDI 0487, B2.2.1).
// The exception handler sends a fault at an instruction from `arch_word_first` to `arch_word_last` to `arch_word_fault`.
global_asm!(
    ".pushsection .text.arch_word, \"ax\"",
    ".global arch_word_first, arch_word_last, arch_word_fault",
    ".global arch_word_load, arch_word_store, arch_word_peek, arch_word_poke, arch_words_copy",
    "arch_word_first:",
    "arch_word_load: ldar x0, [x0]",
    "mov x3, #0",
    "ret",
    "arch_word_store: stlr x1, [x0]",
    "mov x3, #0",
    "ret",
    "arch_word_peek: ldr x0, [x0]",
    "mov x3, #0",
    "ret",
    "arch_word_poke: str x1, [x0]",
    "mov x3, #0",
    "ret",
    "arch_words_copy: subs x2, x2, #8",
    "b.lo 2f",
    "1: ldp x4, x5, [x0], #64",
    "ldp x6, x7, [x0, #-48]",
    "ldp x8, x9, [x0, #-32]",
    "ldp x10, x11, [x0, #-16]",
    "subs x2, x2, #8",
    "stp x4, x5, [x1], #64",
    "stp x6, x7, [x1, #-48]",
    "stp x8, x9, [x1, #-32]",
    "stp x10, x11, [x1, #-16]",
    "b.hs 1b",
    "2: adds x2, x2, #8",
    "b.eq 4f",
    "3: ldr x4, [x0], #8",
    "subs x2, x2, #1",
    "str x4, [x1], #8",
    "b.ne 3b",
    "arch_word_last:",
    "4: mov x3, #0",
    "ret",
    "arch_word_fault: mov x3, #1",
    "ret",
    ".popsection",
);

unsafe extern "C" {
    fn arch_word_first();
    fn arch_word_last();
    fn arch_word_load();
    fn arch_word_store();
    fn arch_word_peek();
    fn arch_word_poke();
    fn arch_words_copy();
    fn arch_word_fault();
}

/// Returns where to go on when the access at `pc` faulted, or `None` when it is none of those here.
pub(super) fn recovery(pc: u64) -> Option<u64> {
    let known = arch_word_first as *const () as u64..arch_word_last as *const () as u64;
    known.contains(&pc).then_some(arch_word_fault as *const () as u64)
}

const fn fault(syndrome: u64, address: u64, pc: u64) -> Fault {
    Fault { syndrome, address, pc, status: 0 }
}

/// Defines a load or a store of one word by the routine that is named.
macro_rules! word {
    ($(#[$doc:meta])* load $name:ident by $routine:ident) => {
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name(address: Ipa) -> Result<u64, Fault> {
            let (value, far, pc, failed): (u64, u64, u64, u64);
            // SAFETY: a load has no effect on the program; where it is not allowed the handler makes it return. Alignment
            // faults are faults too. The branch overwrites x30 alone.
            unsafe {
                asm!("bl {load}", load = sym $routine, inlateout("x0") address.bytes() => value, lateout("x1") far,
                    lateout("x2") pc, lateout("x3") failed, lateout("x30") _, options(nostack, preserves_flags));
            }
            if failed == 0 { Ok(value) } else { Err(fault(value, far, pc)) }
        }
    };
    ($(#[$doc:meta])* store $name:ident by $routine:ident) => {
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name(address: Ipa, value: u64) -> Result<(), Fault> {
            let (esr, far, pc, failed): (u64, u64, u64, u64);
            // SAFETY: `memory::Window` is the one caller; it keeps out of the image, whose pages are not mapped elsewhere to be
            // written (`image`), so no value of the program changes. The rest as for the loads.
            unsafe {
                asm!("bl {store}", store = sym $routine, inlateout("x0") address.bytes() => esr,
                    inlateout("x1") value => far, lateout("x2") pc, lateout("x3") failed, lateout("x30") _,
                    options(nostack, preserves_flags));
            }
            if failed == 0 { Ok(()) } else { Err(fault(esr, far, pc)) }
        }
    };
}

word! {
    /// Returns the word at `address`, loaded with acquire order.
    load load by arch_word_load
}
word! {
    /// Returns the word at `address`, in no order with other accesses.
    load peek by arch_word_peek
}
word! {
    /// Stores `value` at `address` with release order. The caller has checked that the word is not the program's own.
    store store by arch_word_store
}
word! {
    /// Stores `value` at `address`, in no order with other accesses. The caller has checked as for [`store`].
    store poke by arch_word_poke
}

/// Returns the 32-bit register at `address`, read once.
pub(crate) fn device_load(address: Ipa) -> u32 {
    let value: u32;
    // SAFETY: a load changes nothing of the program; `device::Mmio`, the one caller, has mapped registers there and keeps them
    // mapped. Volatile: what the device does on being read is the reason for it.
    unsafe { asm!("ldr {value:w}, [{at}]", value = out(reg) value, at = in(reg) address.bytes(), options(nostack)) };
    value
}

/// Stores `value` in the 32-bit register at `address`, once.
pub(crate) fn device_store(address: Ipa, value: u32) {
    // SAFETY: as for the load; registers are at no address of the program (`image`). What a device that reads and writes memory
    // by itself is told to do is its driver's affair, whom the manifest has to trust.
    unsafe { asm!("str {value:w}, [{at}]", value = in(reg) value, at = in(reg) address.bytes(), options(nostack)) };
}

/// Copies `words` words.
///
/// # Safety
/// Where `to` is the program's own, it is `words` words long and nobody else looks at it; so is `from`.
unsafe fn copy(from: u64, to: u64, words: usize) -> Result<(), Fault> {
    let (esr, far, pc, failed): (u64, u64, u64, u64);
    // SAFETY: the caller's; memory that is not the program's own is only touched, and a fault makes the routine return. What
    // it overwrites is listed.
    unsafe {
        asm!("bl {copy}", copy = sym arch_words_copy, inlateout("x0") from => esr, inlateout("x1") to => far,
            inlateout("x2") words as u64 => pc, lateout("x3") failed, lateout("x4") _, lateout("x5") _, lateout("x6") _,
            lateout("x7") _, lateout("x8") _, lateout("x9") _, lateout("x10") _, lateout("x11") _, lateout("x30") _,
            options(nostack));
    }
    if failed == 0 { Ok(()) } else { Err(fault(esr, far, pc)) }
}

/// Reads the words at `address`, each once, in no order with other accesses. After a fault some of them were read.
pub(crate) fn read(address: Ipa, into: &mut [u64]) -> Result<(), Fault> {
    // SAFETY: `into` is borrowed for writing and as long as it says; any bits are a word.
    unsafe { copy(address.bytes(), into.as_mut_ptr().expose_provenance() as u64, into.len()) }
}

/// Writes the words at `address`, each once, in no order with other accesses. After a fault some of them were written. The
/// caller has checked that the words are not the program's own.
pub(crate) fn write(address: Ipa, from: &[u64]) -> Result<(), Fault> {
    // SAFETY: `from` is borrowed for reading and as long as it says; `memory::Window`, the one caller, keeps out of the image.
    unsafe { copy(from.as_ptr().expose_provenance() as u64, address.bytes(), from.len()) }
}

/// Copies words, each once, in no order with other accesses. After a fault some of them were copied. The caller has checked that
/// neither those at `from` nor those at `to` are the program's own.
pub(crate) fn copy_words(from: Ipa, to: Ipa, words: usize) -> Result<(), Fault> {
    // SAFETY: neither is the program's own: `memory::Window`, the one caller, keeps out of the image.
    unsafe { copy(from.bytes(), to.bytes(), words) }
}
