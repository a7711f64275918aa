//! TR: instructions and registers that a guest does not have. Every encoding is undefined, or in the lists below.

use strato_guest::abi::info_page::FEATURE_NATIVE;
use strato_guest::{Failure, Info, ensure, ensure_equal, println};

use crate::raw::undefined;
use crate::registers::{READ_ONLY, READABLE, STAGE1, is_identification, is_in};
use crate::scratch::{Scratch, WORDS, is_marked, seen};
use crate::words::{ERET, RET, ZERO_X0, hvc, mrs, msr, register};

fn is_native(info: &Info) -> bool {
    info.header().features & FEATURE_NATIVE != 0
}

fn report(what: &str, which: u16) {
    println!(
        "{what} S{}_{}_C{}_C{}_{} is not in the list",
        which >> 14,
        which >> 11 & 7,
        which >> 7 & 15,
        which >> 3 & 15,
        which & 7
    );
}

/// Reads every system register encoding of op0 2 and 3: only what the list names answers.
pub(crate) fn tr02_no_register_reads_but_the_listed(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    const BATCH: u16 = WORDS as u16 - 8;
    let (mut strange, mut undefined) = (0, 0_u64);
    let mut next = 2 << 14;
    while next != 0 {
        let count = BATCH.min(u16::MAX - next + 1).max(1);
        scratch.write((0..count).map(|n| mrs(next + n)))?;
        let seen = Scratch::run(&mut [0; 30]);
        undefined += seen.count;
        for n in 0..count {
            let which = next + n;
            if !is_marked(u64::from(n)) && !is_in(READABLE, which) && !is_identification(which) {
                report("a read of", which);
                strange += 1;
            }
        }
        next = next.wrapping_add(count);
    }
    println!("{undefined} reads are undefined");
    ensure(undefined > 30_000, "too few reads are undefined")?;
    ensure_equal("registers that can be read and are not in the list", strange, 0)
}

/// Writes to every system register encoding what it reads, or zero: only what the lists leave writable takes it.
pub(crate) fn tr03_no_register_writes_but_the_listed(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    const BATCH: u16 = WORDS as u16 / 3 - 4;
    let (mut strange, mut next) = (0, 2_u16 << 14);
    while next != 0 {
        let count = BATCH.min(u16::MAX - next + 1).max(1);
        scratch.write((0..count).flat_map(|n| [ZERO_X0, mrs(next + n), msr(next + n)]))?;
        Scratch::run(&mut [0; 30]);
        for n in 0..count {
            let which = next + n;
            let is_own = is_native(info) && is_in(STAGE1, which);
            let is_listed = is_own || is_in(READABLE, which) && !is_in(READ_ONLY, which);
            let is_written = !is_marked(u64::from(n) * 3 + 2);
            if is_written && !is_listed {
                report("a write of", which);
                strange += 1;
            }
        }
        next = next.wrapping_add(count);
    }
    ensure_equal("registers that can be written and are not in the list", strange, 0)
}

/// Debug, performance, trace, profiling, interrupt controller and translation registers, one by one.
pub(crate) fn tr05_what_is_the_machines_is_undefined(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let machine = [
        (2, 0, 0, 2, 2),
        (2, 0, 1, 0, 4),
        (2, 0, 0, 0, 4),
        (2, 0, 0, 0, 6),
        (2, 3, 0, 4, 0), // MDSCR, OSLAR, DBGBVR0, DBGWVR0, DBGDTR
        (3, 3, 9, 12, 0),
        (3, 3, 9, 13, 0),
        (3, 3, 14, 8, 0),
        (3, 0, 9, 9, 0),
        (2, 1, 0, 0, 1), // PMCR, PMCCNTR, PMEVCNTR0, PMSCR, TRCTRACEID
        (3, 0, 12, 11, 5),
        (3, 0, 12, 12, 1),
        (3, 0, 4, 6, 0),
        (3, 0, 12, 12, 7), // ICC_SGI1R, SRE, EOIR1, PMR, IGRPEN1
        (3, 4, 1, 1, 0),
        (3, 4, 12, 0, 0),
        (3, 4, 2, 1, 0),
        (3, 6, 1, 1, 0),
        (3, 5, 1, 0, 0), // HCR_EL2, VBAR_EL2, VTTBR_EL2, SCR_EL3, SCTLR_EL12
        (3, 1, 11, 0, 2),
        (3, 1, 15, 2, 0),
        (3, 0, 15, 0, 0), // L2CTLR, CPUACTLR, implementation defined
        (3, 0, 5, 3, 0),
        (3, 0, 5, 3, 1),
        (3, 0, 5, 4, 1), // ERRIDR, ERRSELR, ERXCTLR
        (3, 0, 10, 4, 0),
        (3, 0, 10, 4, 2),
        (3, 0, 10, 4, 3), // LORSA, LORN, LORC
        (3, 3, 13, 2, 0),
        (3, 3, 13, 2, 4), // AMCR, AMCNTENCLR0
        (3, 0, 10, 5, 0),
        (3, 0, 10, 5, 1), // MPAM1, MPAM0
    ];
    for (op0, op1, crn, crm, op2) in machine {
        let which = register(op0, op1, crn, crm, op2);
        for word in [mrs(which), msr(which)] {
            scratch.execute(word, &mut [0; 30])?;
            undefined("a register of the machine")?;
        }
    }
    if is_native(info) {
        return Ok(()); // TR08 and TR09 try what follows
    }
    // Stage 1 stays off: its registers cannot be written, and read what they are.
    for &(op0, op1, crn, crm, op2) in STAGE1 {
        let which = register(op0, op1, crn, crm, op2);
        for value in [0, 1, u64::MAX] {
            scratch.execute(msr(which), &mut [value; 30])?;
            undefined("a register of stage 1")?;
        }
    }
    Ok(())
}

/// Every SYS and SYSL encoding (cache, TLB and address translation instructions): no panic, set and way undefined.
pub(crate) fn tr10_system_instructions_stay_inside(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let target = crate::scratch::map_free(scratch, info, 0x8000_0000, 1)?;
    target.store(8, 0x1234)?;
    const BATCH: u16 = WORDS as u16 - 8;
    for is_read in [false, true] {
        let mut next = 1_u16 << 14;
        while next < 2 << 14 {
            let count = BATCH.min((2 << 14) - next);
            scratch.write((0..count).map(|n| if is_read { mrs(next + n) } else { msr(next + n) }))?;
            // DC ZVA and its like write at x0.
            Scratch::run(&mut [0x8000_0040; 30]);
            next += count;
        }
    }
    ensure_equal("a word beside the target", target.load(8)?, 0x1234)?;
    for crm in [6, 10, 14] {
        scratch.execute(msr(register(1, 0, 7, crm, 2)), &mut [0; 30])?;
        undefined("DC by set and way")?;
    }
    // VMALLE1IS, VAE1IS, ASIDE1IS, VMALLE1, VAE1, VAALE1: with stage 1 off none is of use, and every core waits for a broadcast.
    for (crm, op2) in [(3, 0), (3, 1), (3, 2), (7, 0), (7, 1), (7, 7)] {
        let seen = scratch.execute(msr(register(1, 0, 8, crm, op2)), &mut [0; 30])?;
        if is_native(info) {
            ensure_equal("exceptions of a TLB instruction of EL1", seen.count, 0)?;
        } else {
            undefined("a TLB instruction of EL1")?;
        }
    }
    for (op1, crm, op2) in [(4, 7, 0), (4, 3, 4), (6, 7, 0), (4, 7, 4)] {
        scratch.execute(msr(register(1, op1, 8, crm, op2)), &mut [0; 30])?;
        undefined("a TLB instruction of EL2 or EL3")?;
    }
    scratch.execute(msr(register(1, 4, 7, 8, 4)), &mut [0; 30])?;
    undefined("AT S12E1R")?;
    // What AT S1E1R says of an address is the address, never where it is in the machine.
    for (at, expected) in [(0x4000_0000_u64, Some(0x4000_0000)), (0x8000_0000, Some(0x8000_0000)), (0x7000_0000, None)]
    {
        let mut registers = [at; 30];
        scratch.execute(msr(register(1, 0, 7, 8, 0)), &mut registers)?;
        scratch.execute(mrs(register(3, 0, 7, 4, 0)), &mut registers)?;
        let par = registers.first().copied().unwrap_or(0);
        let place = par & 0xffff_ffff_f000;
        let is_own = par & 1 != 0 || expected == Some(place) || place == at;
        ensure(is_own, "PAR_EL1 shows an address that is not the guest's")?;
    }
    strato_guest::memory::unmap(target.base(), 1).map_err(Into::into)
}

/// SMC, HLT, DCPS, SVC, BRK, and returns to levels that a guest does not have.
pub(crate) fn tr13_exceptions_stay_in_the_guest(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    for word in
        [0, 0xd440_0000, 0xd45e_0000, 0xd4a0_0001, 0xd4a0_0002, 0xd4a0_0003, 0xd6bf_03e0, 0xd4c0_0000, 0x0000_ffff]
    {
        let seen = scratch.execute(word, &mut [0; 30])?;
        ensure(seen.count >= 1, "an instruction of the debugger does something")?;
        ensure(seen.syndrome == 0x0200_0000, "an instruction of the debugger is not undefined")?;
    }
    for (word, class) in [(0xd400_0001, 0x15), (0xd400_ffe1, 0x15), (0xd420_0000, 0x3c), (0xd43f_ffe0, 0x3c)] {
        let seen = scratch.execute(word, &mut [0; 30])?;
        ensure_equal("the class of SVC or BRK", seen.syndrome >> 26, class)?;
    }
    Ok(())
}

/// An undefined instruction arrives as the specification says.
pub(crate) fn tr07_undefined_arrives_as_documented(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    scratch.execute(mrs(register(3, 4, 1, 1, 0)), &mut [0; 30])?;
    undefined("a read of HCR_EL2")?;
    ensure_equal("ELR_EL1", seen().pc, crate::scratch::CODE)
}

/// Returns by ERET to the level that `spsr=` on the command line says, where CORE.EXIT with success would follow.
///
/// To EL2, EL3 or a mode that is none, the processor goes on at EL1 in the illegal state; at EL0, AArch32 or not, HVC is
/// undefined. Either way the library gives up, so that the VM is stopped and does not end well.
pub(crate) fn tr14_returns_to_other_levels_stay_in_the_guest(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    const SPSR: u16 = register(3, 0, 4, 0, 0);
    const ELR: u16 = register(3, 0, 4, 0, 1);
    const TARGET: u64 = 4;
    let text = info.option("spsr").ok_or("no spsr= on the command line")?;
    let spsr = u64::from_str_radix(text, 16).map_err(|_| "spsr= is no number")?;
    // msr SPSR_EL1, x0; msr ELR_EL1, x1 (Rt is the lowest field); eret; then CORE.EXIT(0, off), or A32 `b .` for ever.
    let exit = [0x5280_00a0, 0x72b8_c000, 0xd280_0001, 0xd280_0002, hvc(0)];
    let exit = if info.option("loop") == Some("a32") { [0xeaff_fffe; 5] } else { exit };
    let words = [msr(SPSR), msr(ELR) | 1, ERET, RET].into_iter().chain(exit);
    scratch.write(words)?;
    crate::scratch::give_up_on_illegal_state();
    let mut registers = [0; 30];
    for (register, value) in registers.iter_mut().zip([spsr, crate::scratch::CODE + TARGET * 4]) {
        *register = value;
    }
    Scratch::run(&mut registers);
    Err("an illegal return came back".into())
}
