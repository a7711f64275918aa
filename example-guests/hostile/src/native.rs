//! LK, TL, TR for a VM with an MMU of its own (`mmu = "native"`): its translation registers and tables are its own trouble.

use strato_guest::abi::info_page::FEATURE_NATIVE;
use strato_guest::{Failure, Info, ensure, ensure_equal, vcpu};

use crate::arch;
use crate::scratch::{Scratch, Seen};
use crate::words::{LOAD_X0, mrs, msr, register};

const SCTLR: u16 = register(3, 0, 1, 0, 0);
const TTBR0: u16 = register(3, 0, 2, 0, 0);
const TTBR1: u16 = register(3, 0, 2, 0, 1);
const TCR: u16 = register(3, 0, 2, 0, 2);
const MAIR: u16 = register(3, 0, 10, 2, 0);
const CONTEXTIDR: u16 = register(3, 0, 13, 0, 1);
const TLBI_VMALLE1: u32 = 0xd508_871f;
const ISB: u32 = 0xd503_3fdf;
/// Where nothing is mapped.
const NOTHING: u64 = 0x70_0000_0000;
/// Translated by TTBR1_EL1, from level 1 on.
const HIGH: u64 = 0xffff_ffff_8000_0123;
/// TCR_EL1.EPD1, and T1SZ of 39 bits with walks in Write-Back memory.
const NO_HIGH: u64 = 1 << 23;
const HIGH_39: u64 = 25 << 16 | 1 << 24 | 1 << 26 | 3 << 28;

fn is_native(info: &Info) -> bool {
    info.header().features & FEATURE_NATIVE != 0
}

fn read(scratch: &Scratch, which: u16) -> Result<u64, Failure> {
    let mut registers = [0; 30];
    ensure_equal("exceptions of a read", scratch.execute(mrs(which), &mut registers)?.count, 0)?;
    Ok(registers.first().copied().unwrap_or(0))
}

fn write(scratch: &Scratch, which: u16, value: u64) -> Result<(), Failure> {
    scratch.write([msr(which), ISB].into_iter())?;
    ensure_equal("exceptions of a write", Scratch::run(&mut [value; 30]).count, 0)
}

/// What a load from above takes with `table` in TTBR1_EL1 and `control` for it in TCR_EL1.
fn load_high(scratch: &Scratch, table: u64, control: u64) -> Result<Seen, Failure> {
    let before = read(scratch, TCR)?;
    write(scratch, TTBR1, table)?;
    write(scratch, TCR, before & !NO_HIGH | control)?;
    scratch.write([TLBI_VMALLE1, ISB, LOAD_X0].into_iter())?;
    let seen = Scratch::run(&mut [HIGH; 30]);
    write(scratch, TCR, before)?;
    Ok(seen)
}

/// Patterns in the registers of a native VM; the constants of all others in a neighbor on the same core, at the same time.
pub(crate) fn lk05n_translation_registers_are_never_anothers(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let seed = u64::from(info.header().vm) << 12 | 0x0ab0_0000;
    let (sctlr, tcr, ttbr0) = (read(scratch, SCTLR)?, read(scratch, TCR)?, read(scratch, TTBR0)?);
    if !is_native(info) {
        ensure_equal("SCTLR_EL1", sctlr, 0x34d5_d818)?;
        ensure(tcr == 0 && ttbr0 == 0, "TCR_EL1 or TTBR0_EL1 is not zero")?;
    }
    for round in 0..40_u64 {
        let values = match is_native(info) {
            true => [
                (TTBR1, seed ^ round << 32),
                (MAIR, 0xff | (seed ^ round) << 8),
                (CONTEXTIDR, (seed ^ round) & 0xffff_ffff),
            ],
            false => [(TTBR1, 0), (MAIR, 0), (CONTEXTIDR, 0)],
        };
        for (which, value) in values.into_iter().filter(|_| is_native(info)) {
            write(scratch, which, value)?;
        }
        arch::spin(&mut [100_000; 30]);
        vcpu::yield_now();
        for (which, value) in values {
            ensure_equal("a translation register", read(scratch, which)?, value)?;
        }
        ensure_equal("SCTLR_EL1", read(scratch, SCTLR)?, sctlr)?;
        ensure_equal("TCR_EL1", read(scratch, TCR)?, tcr)?;
        ensure_equal("TTBR0_EL1", read(scratch, TTBR0)?, ttbr0)?;
    }
    Ok(())
}

/// A table where the VM has no memory: its own external abort on a walk, with the virtual address.
pub(crate) fn tl14_a_walk_into_nothing_faults_in_its_vm(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    for table in [NOTHING, 0, 1 << 39, 0x3fff_f000] {
        let seen = load_high(scratch, table, HIGH_39)?;
        ensure_equal("faults of a load", seen.count, 1)?;
        ensure_equal("its class and cause", seen.syndrome & !3, 0x25 << 26 | 1 << 25 | 0x14)?;
        ensure_equal("its address", seen.address, HIGH)?;
    }
    Ok(())
}

/// Garbage for addresses from above: each load faults or loads what the VM has, and the VM goes on.
pub(crate) fn tr08_garbage_in_tables_and_controls_stays_inside(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..400 {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        // Half of the tables stand in this VM's own memory, where anything may be an entry.
        let own = info.ram().start | random >> 20 & 0xf_f000;
        let table = if random & 1 << 63 == 0 { own } else { random & 0xffff_ffff_ffff };
        let seen = load_high(scratch, table, random >> 8 & 0x7f3f_0000 & !NO_HIGH)?;
        ensure(seen.count <= 1, "a load faults more than once")?;
    }
    Ok(())
}

/// The table of the program itself goes: nothing can be fetched, not even the vectors, and the VM is stopped with a report.
pub(crate) fn tr09_a_vm_without_tables_is_stopped(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    ensure(is_native(info), "this VM has no tables")?;
    scratch.write([msr(TTBR0), ISB, TLBI_VMALLE1, ISB].into_iter())?;
    Scratch::run(&mut [NOTHING; 30]);
    Err("it runs without tables".into())
}
