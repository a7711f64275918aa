//! TL, LK of a VM with an MMU of its own: invalidations without end, and memory of the pool read with the caches off.

use strato_guest::abi::info_page::FEATURE_NATIVE;
use strato_guest::memory;
use strato_guest::{Failure, Info, ensure, ensure_equal};

use crate::native::{SCTLR, read};
use crate::objects::{alloc, free};
use crate::raw::Random;
use crate::scratch::{Scratch, ipa};
use crate::shares::{SECRET, THERE};
use crate::stale::map;
use crate::storms::is_over;
use crate::words::{LOAD_X0, msr, register};

const DSB_SY: u32 = 0xd503_3f9f;
const ISB: u32 = 0xd503_3fdf;
const PAGES: u64 = 16;

/// Every TLBI of EL1, with any operand, without end until the victim, which shares the core, has had its share: what this VM
/// invalidates is its own, and costs its own time.
pub(crate) fn tl09_invalidations_without_end_are_ones_own(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    ensure(info.header().features & FEATURE_NATIVE != 0, "this VM has no MMU of its own")?;
    // VMALLE1, VAE1, ASIDE1, VAAE1, VALE1 and VAALE1 of the Inner Shareable domain (CRm 3) and of this core (CRm 7).
    let words = [3, 7].into_iter().flat_map(|domain| [0, 1, 2, 3, 5, 7].map(|op| msr(register(1, 0, 8, domain, op))));
    scratch.write(words.cycle().take(240).chain([DSB_SY, ISB]))?;
    let mut random = Random(0x7159_0a11);
    loop {
        let mut registers = [random.next(); 30];
        ensure_equal("exceptions of invalidations", Scratch::run(&mut registers).count, 0)?;
        if is_over(info)? {
            return Ok(());
        }
    }
}

/// Memory that was filled through the caches and given back: with the MMU, and so the caches, off there are zeros in it when it
/// comes again, and a guest that wrote with them off finds nothing of it either.
pub(crate) fn lk08_memory_of_the_pool_holds_zeros_behind_the_caches(
    _: &Info,
    scratch: &Scratch,
) -> Result<(), Failure> {
    let before = read(scratch, SCTLR)?;
    // x1 is SCTLR_EL1 with the MMU and the caches off, x2 as it was.
    let off = before & !(1 | 1 << 2 | 1 << 12);
    for _ in 0..4 {
        let mem = alloc(PAGES).map_err(|_| "an object is refused")?;
        let window = map(mem, THERE, PAGES)?;
        scratch.write([msr(SCTLR) | 1, ISB, LOAD_X0, msr(SCTLR) | 2, ISB].into_iter())?;
        for at in (0..PAGES * 4096).step_by(256) {
            let mut registers = [0; 30];
            for (register, value) in registers.iter_mut().zip([THERE + at, off, before]) {
                *register = value;
            }
            ensure_equal("exceptions with the caches off", Scratch::run(&mut registers).count, 0)?;
            ensure_equal("a word behind the caches", registers.first().copied().unwrap_or(1), 0)?;
        }
        for at in (0..PAGES * 4096).step_by(8) {
            window.store(at, SECRET ^ at)?;
        }
        memory::unmap(ipa(THERE)?, PAGES)?;
        free(mem)?;
    }
    Ok(())
}
