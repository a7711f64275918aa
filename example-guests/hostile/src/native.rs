//! LK, TL, TR for a VM with an MMU of its own (`mmu = "native"`): its translation registers and tables are its own trouble.

use strato_guest::abi::addr::INFO_PAGE;
use strato_guest::abi::info_page::FEATURE_NATIVE;
use strato_guest::abi::vcpu::RunState;
use strato_guest::memory::{self, READ, READ_WRITE, Window};
use strato_guest::vcpu::Stack;
use strato_guest::{Failure, Info, ensure, ensure_equal, time, vcpu};

use crate::arch;
use crate::raw::Random;
use crate::scratch::{Scratch, Seen, ipa, map_free};
use crate::words::{LOAD_X0, mrs, msr, register};

pub(crate) const SCTLR: u16 = register(3, 0, 1, 0, 0);
const TTBR0: u16 = register(3, 0, 2, 0, 0);
const TTBR1: u16 = register(3, 0, 2, 0, 1);
const TCR: u16 = register(3, 0, 2, 0, 2);
const AFSR0: u16 = register(3, 0, 5, 1, 0);
const AFSR1: u16 = register(3, 0, 5, 1, 1);
const MAIR: u16 = register(3, 0, 10, 2, 0);
const AMAIR: u16 = register(3, 0, 10, 3, 0);
const CONTEXTIDR: u16 = register(3, 0, 13, 0, 1);
const TLBI_VMALLE1: u32 = 0xd508_871f;
const DC_CIVAC_X0: u32 = 0xd50b_7e20;
const DSB_SY: u32 = 0xd503_3f9f;
const ISB: u32 = 0xd503_3fdf;
/// STR x0, [x0].
const STORE_X0: u32 = 0xf900_0000;
/// Makes what tables and controls say now the one thing that counts.
const FORGET: [u32; 4] = [DSB_SY, TLBI_VMALLE1, DSB_SY, ISB];
/// Where nothing is mapped.
const NOTHING: u64 = 0x70_0000_0000;
/// Translated by TTBR1_EL1, from level 1 on.
pub(crate) const HIGH: u64 = 0xffff_ffff_8000_0000;
/// TCR_EL1.EPD1, and T1SZ of 39 bits with walks in Write-Back memory.
const NO_HIGH: u64 = 1 << 23;
pub(crate) const HIGH_39: u64 = 25 << 16 | 1 << 24 | 1 << 26 | 3 << 28 | 2 << 30;
/// Tables of three levels for `HIGH`, a page each, and the page behind them.
pub(crate) const TABLES: u64 = 0x8000_0000;
pub(crate) const PAGE: u64 = 4096;
const LAST: u64 = TABLES + 2 * PAGE;
pub(crate) const DATA: u64 = TABLES + 3 * PAGE;
pub(crate) const VALUE: u64 = 0x0123_4567_89ab_cdef;
/// A page: valid, accessed, Inner Shareable, attribute 0, never executed.
pub(crate) const LEAF: u64 = 3 | 3 << 8 | 1 << 10 | 3 << 53;
pub(crate) const DATA_ABORT: u64 = 0x25 << 26 | 1 << 25;

static STACK: Stack = Stack::new();

fn is_native(info: &Info) -> bool {
    info.header().features & FEATURE_NATIVE != 0
}

pub(crate) fn read(scratch: &Scratch, which: u16) -> Result<u64, Failure> {
    let mut registers = [0; 30];
    ensure_equal("exceptions of a read", scratch.execute(mrs(which), &mut registers)?.count, 0)?;
    Ok(registers.first().copied().unwrap_or(0))
}

fn write(scratch: &Scratch, which: u16, value: u64) -> Result<(), Failure> {
    scratch.write([msr(which), ISB].into_iter())?;
    ensure_equal("exceptions of a write", Scratch::run(&mut [value; 30]).count, 0)
}

/// Lets addresses from above be translated by `table`, with `control` for it in TCR_EL1. Returns TCR_EL1 of before.
pub(crate) fn open(scratch: &Scratch, table: u64, control: u64) -> Result<u64, Failure> {
    let before = read(scratch, TCR)?;
    write(scratch, TTBR1, table)?;
    write(scratch, TCR, before & !NO_HIGH | control)?;
    scratch.write(FORGET.into_iter())?;
    Scratch::run(&mut [0; 30]);
    Ok(before)
}

/// Puts back what [`open`] returned.
pub(crate) fn set_control(scratch: &Scratch, before: u64) -> Result<(), Failure> {
    write(scratch, TCR, before)
}

/// Returns what `word` takes with x0 = `HIGH` and `offset`, and what is in x0 then.
pub(crate) fn high(scratch: &Scratch, word: u32, offset: u64) -> Result<(Seen, u64), Failure> {
    let mut registers = [HIGH | offset; 30];
    let seen = scratch.execute(word, &mut registers)?;
    Ok((seen, registers.first().copied().unwrap_or(0)))
}

/// What a load from above takes with `table` in TTBR1_EL1 and `control` for it in TCR_EL1.
fn load_high(scratch: &Scratch, table: u64, control: u64) -> Result<Seen, Failure> {
    let before = open(scratch, table, control)?;
    let (seen, _) = high(scratch, LOAD_X0, 0x120)?;
    write(scratch, TCR, before)?;
    Ok(seen)
}

/// Returns tables that lead from `HIGH` to a page of this VM, which holds `VALUE`.
pub(crate) fn tables(info: &Info, scratch: &Scratch) -> Result<Window, Failure> {
    let window = map_free(scratch, info, TABLES, 4)?;
    for (place, entry) in [(510 * 8, (TABLES + PAGE) | 3), (PAGE, LAST | 3), (2 * PAGE, DATA | LEAF), (3 * PAGE, VALUE)]
    {
        window.store(place, entry)?;
    }
    Ok(window)
}

/// Maps page `n` of the tables where it was.
fn map_again(
    info: &Info,
    scratch: &Scratch,
    n: u64,
    attributes: strato_guest::abi::address_space::Attributes,
) -> Result<(), Failure> {
    let offset = scratch.free.saturating_sub(info.ram().start) + n * PAGE;
    memory::map(scratch.ram, offset, ipa(TABLES + n * PAGE)?, 1, attributes).map_err(Into::into)
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
        let pattern = seed ^ round << 32 ^ round;
        let mut values = [
            (TTBR1, pattern & !1),
            (MAIR, 0xff | pattern << 8),
            (CONTEXTIDR, pattern & 0xffff_ffff),
            (AMAIR, pattern),
            (AFSR0, pattern),
            (AFSR1, !pattern & 0xffff_ffff),
        ];
        for (which, value) in &mut values {
            if is_native(info) {
                write(scratch, *which, *value)?;
                let kept = read(scratch, *which)?; // a core may have fewer bits
                ensure(kept == *value || matches!(*which, AMAIR | AFSR0 | AFSR1), "a register did not take its value")?;
                *value = kept;
            } else {
                *value = 0;
            }
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

/// What AS.UNMAP and AS.PROTECT take away is gone behind this VM's own tables too, without any TLBI of its own.
pub(crate) fn tl01n_what_is_unmapped_is_gone_behind_ones_own_tables(
    info: &Info,
    scratch: &Scratch,
) -> Result<(), Failure> {
    tables(info, scratch)?;
    let before = open(scratch, TABLES, HIGH_39)?;
    for _ in 0..200 {
        let (seen, value) = high(scratch, LOAD_X0, 0)?;
        ensure_equal("faults of a load", seen.count, 0)?;
        ensure_equal("what it loads", value, VALUE)?;
        memory::unmap(ipa(DATA)?, 1)?;
        let (seen, _) = high(scratch, LOAD_X0, 0)?;
        ensure_equal("faults of a load from what is unmapped", seen.count, 1)?;
        ensure_equal("its cause", seen.syndrome, DATA_ABORT | 0x07)?;
        ensure_equal("its address", seen.address, HIGH)?;
        map_again(info, scratch, 3, READ_WRITE)?;
        ensure_equal("faults of a store", high(scratch, STORE_X0, 8)?.0.count, 0)?;
        memory::protect(ipa(DATA)?, 1, READ)?;
        let (seen, _) = high(scratch, STORE_X0, 8)?;
        ensure_equal("faults of a store to what is protected", seen.count, 1)?;
        ensure_equal("its cause", seen.syndrome, DATA_ABORT | 1 << 6 | 0x0f)?;
        ensure_equal("its address", seen.address, HIGH | 8)?;
        memory::protect(ipa(DATA)?, 1, READ_WRITE)?;
    }
    write(scratch, TCR, before)?;
    memory::unmap(ipa(TABLES)?, 4).map_err(Into::into)
}

/// Tables where the VM has no memory, may not write, or has none any more: its own external abort on a walk.
pub(crate) fn tl14_a_walk_into_nothing_faults_in_its_vm(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    for table in [NOTHING, 0, 1 << 39, 0x3fff_f000] {
        let seen = load_high(scratch, table, HIGH_39)?;
        ensure_equal("faults of a load", seen.count, 1)?;
        ensure_equal("its class and cause", seen.syndrome & !3, DATA_ABORT | 0x14)?;
        ensure_equal("its address", seen.address, HIGH | 0x120)?;
    }
    // The hypervisor's window is memory like any other to a walk, and nothing to a table's owner.
    ensure(load_high(scratch, INFO_PAGE, HIGH_39)?.count <= 1, "a load faults more than once")?;

    tables(info, scratch)?;
    let before = open(scratch, TABLES, HIGH_39)?;
    for attributes in [READ, READ_WRITE] {
        ensure_equal("what a load takes", high(scratch, LOAD_X0, 0)?.1, VALUE)?;
        memory::unmap(ipa(LAST)?, 1)?;
        let (seen, _) = high(scratch, LOAD_X0, 0)?;
        ensure_equal("faults of a load", seen.count, 1)?;
        ensure_equal("its class and cause", seen.syndrome, DATA_ABORT | 0x17)?;
        ensure_equal("its address", seen.address, HIGH)?;
        map_again(info, scratch, 2, attributes)?;
    }
    ensure_equal("what a load takes by a table that came back", high(scratch, LOAD_X0, 0)?.1, VALUE)?;
    write(scratch, TCR, before)?;
    memory::unmap(ipa(TABLES)?, 4).map_err(Into::into)
}

/// The MMU off and on again, both byte orders, and every other bit of SCTLR_EL1 either way, while a load is made.
pub(crate) fn tr08_the_mmu_off_and_every_bit_of_its_control(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    const BIG_ENDIAN: u64 = 1 << 25;
    let window = map_free(scratch, info, DATA, 1)?;
    window.store(0, VALUE)?;
    let before = read(scratch, SCTLR)?;
    let mut random = Random(0x1234_5678_9abc_def1);
    // x1 is the new value, x2 that of before.
    let words = [DC_CIVAC_X0, DSB_SY, msr(SCTLR) | 1, ISB, LOAD_X0, msr(SCTLR) | 2, ISB];
    scratch.write(words.into_iter())?;
    for n in 0..256 {
        let value = if n < 64 { before ^ 1 << n } else { random.next() } & !1;
        let mut registers = [0; 30];
        for (register, value) in registers.iter_mut().zip([DATA, value, before]) {
            *register = value;
        }
        ensure_equal("exceptions with the MMU off", Scratch::run(&mut registers).count, 0)?;
        let expected = if value & BIG_ENDIAN == 0 { VALUE } else { VALUE.swap_bytes() };
        ensure_equal("what a load takes", registers.first().copied().unwrap_or(0), expected)?;
    }
    ensure_equal("SCTLR_EL1", read(scratch, SCTLR)?, before)?;
    memory::unmap(ipa(DATA)?, 1).map_err(Into::into)
}

/// A vCPU that reads its tables in the other byte order finds none, nor its vectors: it uses up its own time, until its VM
/// ends.
pub(crate) fn tr08w_a_vcpu_without_vectors_uses_its_own_time(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let both = read(scratch, SCTLR)? | 1 << 25;
    scratch.write([msr(SCTLR), ISB, TLBI_VMALLE1, DSB_SY, ISB].into_iter())?;
    vcpu::launch(1, &STACK, wedge, usize::try_from(both).unwrap_or(0))?;
    let end = time::deadline_in(20_000);
    while time::counter() < end {
        vcpu::yield_now();
    }
    ensure(vcpu::state(1)? != Some(RunState::Off), "it came to an end")
}

fn wedge(sctlr: usize) {
    Scratch::run(&mut [sctlr as u64; 30]);
}

/// Garbage for addresses from above: each load faults or loads what the VM has, and the VM goes on.
pub(crate) fn tr09_garbage_in_tables_and_controls_stays_inside(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for n in 0..400_u64 {
        let number = random.next();
        // Half of the tables stand in this VM's own memory, where anything may be an entry; the rest has reserved bits and ASIDs.
        let own = info.ram().start | number >> 20 & 0xf_f000;
        let table = if number & 1 << 63 == 0 { own } else { random.next() };
        // First every granule with every size, then anything.
        let control = if n < 256 { (n & 0x3f) << 16 | (n >> 6) << 30 } else { number >> 8 & 0x7f3f_0000 & !NO_HIGH };
        ensure(load_high(scratch, table, control)?.count <= 1, "a load faults more than once")?;
    }
    tables(info, scratch)?.store(2 * PAGE, DATA | LEAF | 1 << 2)?; // attribute 1
    let mair = read(scratch, MAIR)?;
    let before = open(scratch, TABLES, HIGH_39)?;
    for attribute in 0..256 {
        write(scratch, MAIR, mair & 0xff | attribute << 8)?;
        scratch.write(FORGET.into_iter().chain([DC_CIVAC_X0, DSB_SY, LOAD_X0]))?;
        let mut registers = [HIGH; 30];
        ensure_equal("faults of a load", Scratch::run(&mut registers).count, 0)?;
        ensure_equal("what it loads", registers.first().copied().unwrap_or(0), VALUE)?;
    }
    write(scratch, MAIR, mair)?;
    write(scratch, TCR, before)?;
    memory::unmap(ipa(TABLES)?, 4).map_err(Into::into)
}

/// The table of the program itself goes: nothing can be fetched, not even the vectors, and the VM is stopped with a report.
pub(crate) fn tr09w_a_vm_without_tables_is_stopped(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    ensure(is_native(info), "this VM has no tables")?;
    scratch.write([msr(TTBR0), ISB, TLBI_VMALLE1, DSB_SY, ISB].into_iter())?;
    Scratch::run(&mut [NOTHING; 30]);
    Err("it runs without tables".into())
}
