//! LK: leaks. What a new vCPU finds in its registers and in memory, what another VM can see of either.

use strato_guest::abi::vcpu::RunState;
use strato_guest::abi::version::ABI_VERSION;
use strato_guest::{Failure, Info, ensure, ensure_equal, vcpu};

use crate::arch;
use crate::scratch::Scratch;
use crate::victim;
use crate::words::{FMOV_D0_X0, mrs, msr, register};

/// The first instruction of a new vCPU: every register is what the specification says.
pub(crate) fn lk01_a_new_vcpu_has_the_documented_state(info: &Info, _: &Scratch) -> Result<(), Failure> {
    for round in 0..3 {
        let (entry, record) = arch::first();
        vcpu::start(1, crate::scratch::ipa(entry)?, record)?;
        while vcpu::state(1)? != Some(RunState::Off) {
            vcpu::yield_now();
        }
        let first = arch::first_state();
        let [x0, x1, x2, x3, rest @ ..] = first.x;
        ensure_equal("x0", x0, record)?;
        ensure_equal("x1", x1, ABI_VERSION.into())?;
        ensure_equal("x2", x2, 1)?;
        ensure_equal("x3", x3, 0x3fe0_0000)?;
        ensure(rest.iter().all(|&x| x == 0), "one of x4 to x30 is not zero")?;
        ensure(first.sp == [0, 0], "a stack pointer is not zero")?;
        ensure(first.pstate == [0, 0xf << 6, 1 << 2, 1], "PSTATE is not EL1h with DAIF set")?;
        let [sctlr, vbar, cpacr, mpidr] = first.control;
        ensure_equal("SCTLR_EL1.M, EE and E0E", sctlr & (1 | 1 << 24 | 1 << 25), 0)?;
        ensure_equal("VBAR_EL1", vbar, 0)?;
        let has_fp = info.header().features & 1 != 0;
        ensure_equal("CPACR_EL1.FPEN", cpacr >> 20 & 3, if has_fp { 3 } else { 0 })?;
        ensure_equal("MPIDR_EL1", mpidr, 0x8000_0001)?;
        ensure(first.zeros.iter().all(|&register| register == 0), "a system register of EL1 is not zero")?;
        if has_fp {
            ensure(first.vectors.iter().all(|&register| register == 0), "an FP register is not zero")?;
        }
        // The next round must not find what this VM has left in the core.
        victim::registers(round, 200, has_fp)?;
    }
    Ok(())
}

/// FP is undefined in a VM without it, whatever CPACR_EL1 says; with it, each VM has its own registers.
pub(crate) fn lk03_fp_registers_are_never_anothers(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    if info.header().features & 1 == 0 {
        const CPACR: u16 = register(3, 0, 1, 0, 2);
        for enable in [0, 3 << 20] {
            let mut registers = [enable; 30];
            scratch.execute(msr(CPACR), &mut registers)?;
            let seen = scratch.execute(FMOV_D0_X0, &mut registers)?;
            ensure_equal("exceptions of an FP instruction", seen.count, 1)?;
            let is_own_trap = seen.syndrome >> 26 == 7 && enable == 0;
            ensure(is_own_trap || seen.syndrome == 0x0200_0000, "FP is not undefined")?;
        }
        return Ok(());
    }
    for round in 0..20 {
        victim::registers(0xf00d ^ round << 20, 400_000, true)?;
        vcpu::yield_now();
    }
    Ok(())
}

/// Patterns in every register of EL1 that is a VM's own, while a neighbor on the same core does the same.
pub(crate) fn lk05_system_registers_are_never_anothers(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let has_fp = info.header().features & 1 != 0;
    for round in 0..20 {
        victim::registers(0xbad ^ round << 24, 400_000, has_fp)?;
        vcpu::yield_now();
    }
    Ok(())
}

/// DISR_EL1, which no hypervisor can trap: what this VM wrote there or zero, never another's. Undefined before FEAT_RAS.
pub(crate) fn lk06_a_deferred_error_is_never_anothers(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    const DISR: u16 = register(3, 0, 12, 1, 1);
    let own = 0x00d1_5000 | u64::from(info.header().vm);
    for _ in 0..200 {
        let mut registers = [u64::MAX; 30];
        let seen = scratch.execute(mrs(DISR), &mut registers)?;
        let found = registers.first().copied().unwrap_or(u64::MAX);
        ensure(seen.count == 1 || found == own || found == 0, "DISR_EL1 holds what this VM has not put there")?;
        scratch.execute(msr(DISR), &mut [own; 30])?;
        vcpu::yield_now();
    }
    Ok(())
}

/// Memory that nobody has written: zeros, all of it.
pub(crate) fn lk09_fresh_memory_holds_zeros(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let bytes = info.ram().end - scratch.free;
    let window = crate::scratch::map_free(scratch, info, 0x8000_0000, bytes / 4096)?;
    for offset in (0..bytes).step_by(64) {
        ensure_equal("a word of fresh memory", window.load(offset)?, 0)?;
        window.store(offset, 0x5ec2_e700 | offset << 32)?;
    }
    strato_guest::memory::unmap(window.base(), bytes / 4096).map_err(Into::into)
}
