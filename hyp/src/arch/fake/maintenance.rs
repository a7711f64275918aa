//! Maintenance on a PC: the same names as on metal, with nothing to do, since a PC's caches and TLBs are its own affair.

/// Makes functions that do nothing.
macro_rules! nothing {
    ($($name:ident),*) => {
        $(
            /// Does nothing on a PC.
            #[inline(always)]
            pub fn $name() {}
        )*
    };
}

nothing!(
    isb,
    dsb_sy,
    dsb_ish,
    dsb_ishst,
    dsb_nsh,
    sev,
    tlbi_vmalle1is,
    tlbi_vmalle1,
    tlbi_vmalls12e1is,
    tlbi_alle1is,
    tlbi_alle1,
    ic_iallu_is
);

/// Does nothing on a PC.
#[inline(always)]
pub fn tlbi_ipas2e1is(_ipa: u64) {}

/// Returns 64, the line of the cores that Strato runs on.
#[inline(always)]
pub fn data_line() -> usize {
    64
}

/// Does nothing on a PC.
pub fn clean_to_poc(_start: usize, _bytes: usize) {}

/// Does nothing on a PC.
pub fn clean_and_invalidate_to_poc(_start: usize, _bytes: usize) {}

/// Does nothing on a PC.
pub fn clean_to_pou(_start: usize, _bytes: usize) {}
