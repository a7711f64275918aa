//! CC: crashes. However a guest breaks itself, it breaks alone, and a VM that cannot go on is stopped with a report.

use strato_guest::abi::AddressSpaceHandle;
use strato_guest::memory::{self, Window};
use strato_guest::{Failure, Info, address_space, ensure, ensure_equal};

use crate::arch;
use crate::raw::Random;
use crate::scratch::{CODE, Scratch, ipa, land_on, map_free, seen};
use crate::words::{RET, msr, pair, register};

const VBAR: u16 = register(3, 0, 12, 0, 0);
const PAGE: u64 = 4096;
/// UDF #0.
const UNDEFINED: u32 = 0;
/// LDR x2, [x1].
const LOAD_X2: u32 = 0xf940_0022;
/// LDR x0 from half a MiB before the instruction, where nothing of an image is.
const LOAD_BEFORE: u32 = 0x58c0_0000;

fn crash_with_vectors_at(scratch: &Scratch, vectors: u64) -> Result<(), Failure> {
    scratch.write([msr(VBAR), UNDEFINED, UNDEFINED].into_iter())?;
    Scratch::run(&mut [vectors; 30]);
    Err("an exception without vectors did nothing".into())
}

/// Vectors where nothing is mapped: the first exception stops the VM.
pub(crate) fn cc02_vectors_on_nothing_stop_the_vm(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    crash_with_vectors_at(scratch, 0x7000_0000)
}

/// Vectors in the window, which is never executable.
pub(crate) fn cc02w_vectors_in_the_window_stop_the_vm(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    crash_with_vectors_at(scratch, 0x3fe2_0000)
}

/// Vectors beyond the address space.
pub(crate) fn cc02f_vectors_beyond_the_space_stop_the_vm(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    crash_with_vectors_at(scratch, 1 << 40)
}

/// Vectors whose first instruction faults, as a handler does that has no stack.
pub(crate) fn cc03_vectors_that_fault_stop_the_vm(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let vectors = map_free(scratch, info, 0x8000_0000, 1)?;
    for offset in (0..PAGE).step_by(8) {
        vectors.store(offset, pair(LOAD_X2, LOAD_X2))?;
    }
    memory::protect(vectors.base(), 1, crate::scratch::READ_EXECUTE)?;
    arch::synchronize_code(vectors.base().bytes(), PAGE);
    scratch.write([msr(VBAR), LOAD_X2].into_iter())?;
    let mut registers = [8; 30];
    if let Some(x0) = registers.first_mut() {
        *x0 = vectors.base().bytes();
    }
    Scratch::run(&mut registers);
    Err("a fault in the vectors did nothing".into())
}

/// A VM that overwrites all the memory it can write, itself at last.
pub(crate) fn cc05_a_scribbler_harms_itself_alone(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let pages = (info.ram().end - scratch.free) / PAGE;
    let rest = map_free(scratch, info, 0x9000_0000, pages)?;
    for offset in (0..pages * PAGE).step_by(64) {
        rest.store(offset, u64::MAX)?;
    }
    let area = Window::new(ipa(0x3fe2_0000)?, PAGE).ok_or("no area")?;
    for offset in (0..PAGE).step_by(8) {
        area.store(offset, u64::MAX)?;
    }
    // The program's own pages, by a second mapping of the same memory: the last store hits what is running.
    let image = arch::image();
    let own = (image.end - image.start).div_ceil(PAGE);
    // The library refuses that; the call does not.
    let mut done = 0;
    while done < own {
        let place = ipa(0xa000_0000 + done * PAGE)?;
        let here = AddressSpaceHandle::CURRENT;
        done += address_space::map(here, place, scratch.ram, done * PAGE, own - done, memory::READ_WRITE)?.done;
    }
    let program = Window::new(ipa(0xa000_0000)?, own * PAGE).ok_or("no program")?;
    for offset in (0..own * PAGE).step_by(8) {
        // Zeros would raise undefined instructions at EL1 for ever, which is the VM's own time; this faults in the vectors too.
        program.store(offset, pair(LOAD_BEFORE, LOAD_BEFORE))?;
    }
    arch::synchronize_code(image.start, PAGE);
    Err("a program without code goes on".into())
}

/// Jumps to a thousand places where nothing is; the handler lets each land on a page of RET.
pub(crate) fn cc06_random_jumps_fault_where_they_land(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let landing = map_free(scratch, info, 0x8000_0000, 1)?;
    for offset in (0..PAGE).step_by(8) {
        landing.store(offset, pair(RET, RET))?;
    }
    arch::synchronize_code(0x8000_0000, PAGE);
    memory::unmap(landing.base(), 1)?;
    land_on(scratch.ram, scratch.free - info.ram().start);
    let mut random = Random(0xcc06);
    for _ in 0..1000 {
        let target = random.next() & ((1 << 39) - 1) & !3;
        let near = [0x3fe0_0000..0x4100_0000, CODE..CODE + PAGE, 0..PAGE];
        if near.iter().any(|range| range.contains(&target)) {
            continue;
        }
        let before = seen().count;
        arch::run(target, &mut [0; 30]);
        ensure_equal("faults of a jump", seen().count, before + 1)?;
        ensure_equal("where it landed", seen().address, target)?;
        ensure_equal("ELR_EL1", seen().pc, target)?;
        memory::unmap(ipa(target)?.page_base(), 1)?;
    }
    ensure(seen().count > 900, "too few jumps")
}

/// Jumps into the window, which nothing can make executable: the VM gives up by itself or is stopped.
pub(crate) fn cc06w_a_jump_into_the_window_never_executes(_: &Info, _: &Scratch) -> Result<(), Failure> {
    arch::run(0x3fe2_0000, &mut [0; 30]);
    Err("the window executed".into())
}

/// Returns whether a random word may run: it returns to this program, which keeps its stack, link and vectors.
fn may_run(word: u32) -> bool {
    let is_field_free = |shift: u32| word >> shift & 31 < 30;
    if ![0, 5, 10, 16].into_iter().all(is_field_free) {
        return false; // x30 and SP (or ZR) stay out of it
    }
    let is_branch_or_system = word >> 26 & 7 == 0b101;
    if !is_branch_or_system {
        return true;
    }
    let (op0, op1, crn, crm) = (word >> 19 & 3, word >> 16 & 7, word >> 12 & 15, word >> 8 & 15);
    let is_write = word & 1 << 21 == 0;
    let is_pstate = crn == 4 && (op0 == 0 || op1 == 0 && crm == 2);
    let is_vital = op0 == 3 && op1 == 0 && (crn == 12 || crn == 13) || is_pstate;
    word >> 24 == 0xd5 && !(is_write && is_vital)
}

/// Random words, one at a time, with registers that point nowhere, far away, or into a page that does not matter.
pub(crate) fn cc07_random_instructions_stay_in_the_guest(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    const WORDS: u64 = 12_000;
    let page = map_free(scratch, info, 0x8000_0000, 1)?;
    let places = [0x8000_0800, 0x7000_0000, 0x0f00_0000_0000_0000, 0x8000_0400, 1 << 38, u64::MAX, 0x3fe1_0000, 1];
    let mut random = Random(0x00c0_de07);
    let mut ran = 0;
    while ran < WORDS {
        let any = random.next() as u32;
        // A third of them in the space of system instructions, which random numbers hit seldom.
        let word = if any & 3 == 0 { 0xd500_0000 | random.next() as u32 & 0xff_ffff } else { random.next() as u32 };
        if !may_run(word) {
            continue;
        }
        ran += 1;
        let mut registers = [0; 30];
        for (register, &place) in registers.iter_mut().zip(places.iter().cycle().skip(ran as usize % places.len())) {
            *register = place;
        }
        let seen = scratch.execute(word, &mut registers)?;
        ensure(seen.count <= 1, "one instruction caused two exceptions")?;
    }
    memory::unmap(page.base(), 1).map_err(Into::into)
}
