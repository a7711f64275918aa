//! Maintenance: barriers, TLB invalidation and cache operations, each with its scope and the reason to use it.
//! Every room's memory code ends here. Never decides *when*: callers name the rule they keep.
//!
//! Rules kept (Arm ARM DDI 0487, chapters "TLB maintenance" and "Cache maintenance"): no set/way operation exists here;
//! ranges are cleaned by address, in lines of `CTR_EL0.DminLine`.

use core::arch::asm;

/// Makes one function that executes one instruction without operands.
macro_rules! instruction {
    ($(#[$doc:meta])* $name:ident, $text:literal) => {
        $(#[$doc])*
        #[inline(always)]
        pub fn $name() {
            // SAFETY: a barrier or a cache or TLB invalidation; it changes no register and no memory's contents.
            unsafe { asm!($text, options(nostack, preserves_flags)) };
        }
    };
}

instruction!(
    /// Context synchronization: later instructions see earlier system-register writes (DDI 0487, ISB).
    isb, "isb"
);
instruction!(
    /// Completes all earlier accesses and maintenance for all observers, devices included (DSB SY).
    dsb_sy, "dsb sy"
);
instruction!(
    /// Completes all earlier accesses and maintenance for the inner-shareable cores (DSB ISH).
    dsb_ish, "dsb ish"
);
instruction!(
    /// Completes earlier stores for the inner-shareable cores: after a new table entry, before it is relied on.
    dsb_ishst, "dsb ishst"
);
instruction!(
    /// Completes earlier accesses and maintenance of this core alone (DSB NSH): after a local TLBI.
    dsb_nsh, "dsb nsh"
);
instruction!(
    /// Sends an event to every core: wakes those parked in WFE after their start word was stored.
    sev, "sev"
);
instruction!(
    /// Drops all stage 1+2 entries of the current VMID on all cores (second step of break-before-make).
    tlbi_vmalle1is, "tlbi vmalle1is"
);
instruction!(
    /// Drops all stage 1+2 entries of the current VMID on this core: a sibling vCPU ran here last.
    tlbi_vmalle1, "tlbi vmalle1"
);
instruction!(
    /// Drops stage 1, stage 2 and combined entries of the current VMID on all cores: an address space ends.
    tlbi_vmalls12e1is, "tlbi vmalls12e1is"
);
instruction!(
    /// Drops all EL1&0 entries of every VMID on all cores: VMID rollover.
    tlbi_alle1is, "tlbi alle1is"
);
instruction!(
    /// Drops all EL1&0 entries of every VMID on this core: a core joins with unknown TLB contents.
    tlbi_alle1, "tlbi alle1"
);
instruction!(
    /// Invalidates the instruction caches of all inner-shareable cores: after code was cleaned to the PoU.
    ic_iallu_is, "ic ialluis"
);

/// Drops the stage-2 entry of `ipa` (bytes, page aligned) for the current VMID on all cores; combined stage 1+2
/// entries stay until [`tlbi_vmalle1is`] (DDI 0487, TLBI IPAS2E1IS).
#[inline(always)]
pub fn tlbi_ipas2e1is(ipa: u64) {
    // The operand holds IPA[47:12] in bits 35:0.
    // SAFETY: an invalidation changes no register and no memory's contents.
    unsafe { asm!("tlbi ipas2e1is, {0}", in(reg) ipa >> 12, options(nostack, preserves_flags)) };
}

/// Returns the length in bytes of the smallest data cache line of this core and those below it.
#[inline]
pub fn data_line() -> usize {
    let cache_type: usize;
    // SAFETY: reads CTR_EL0, which says what caches there are.
    unsafe { asm!("mrs {0}, ctr_el0", out(reg) cache_type, options(nomem, nostack, preserves_flags)) };
    4 << (cache_type >> 16 & 0xf) // DminLine: words, as a power of two
}

/// Makes one function that walks a range by cache line.
macro_rules! by_line {
    ($(#[$doc:meta])* $name:ident, $text:literal) => {
        $(#[$doc])*
        #[inline(never)]
        pub fn $name(start: usize, bytes: usize) {
            let line = data_line();
            let end = start.saturating_add(bytes);
            let mut at = start & !(line - 1);
            while at < end {
                // SAFETY: cleaning writes dirty lines back to where they belong; contents as seen stay the same.
                unsafe { asm!($text, in(reg) at, options(nostack, preserves_flags)) };
                match at.checked_add(line) {
                    Some(next) => at = next,
                    None => break,
                }
            }
            dsb_sy();
        }
    };
}

by_line!(
    /// Writes the lines of a range back to the point of coherency, complete at return: whoever reads it next may
    /// have its caches off (a secondary's entry record, a frame for its next owner).
    clean_to_poc, "dc cvac, {0}"
);
by_line!(
    /// Writes the lines of a range back to the point of coherency and drops them, complete at return: whoever looks past the
    /// caches wrote the range, or reads it.
    clean_and_invalidate_to_poc, "dc civac, {0}"
);
by_line!(
    /// Writes the lines of a range back to the point of unification, complete at return: it holds code to be run.
    clean_to_pou, "dc cvau, {0}"
);
