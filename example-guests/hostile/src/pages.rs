//! PM: mapping. The attacker's own address space must be what a model of it says, and bounded by its quota.

use strato_guest::abi::{Call, Code};
use strato_guest::memory::Window;
use strato_guest::{Failure, Info, ensure, ensure_equal, memory};

use crate::raw::{Random, call, refused, succeeds};
use crate::scratch::{self, CODE, READ_EXECUTE, Scratch, ipa, land_on, map_free, peek};
use crate::words::{RET, hvc, pair};

const PAGE: u64 = 4096;
const BLOCK: u64 = 2 << 20;
const LIMIT: u64 = 1 << 39;
const WINDOW: u64 = 0x3fe0_0000;
const FREE: u64 = 0x8000_0000;
/// Readable; readable and writable; all three.
const R: u64 = 1;
const RW: u64 = 3;
const RWX: u64 = 7;
/// What a page is known by.
const MARK: u64 = 0x5ec2_e700_1234_5678;

/// What is mapped cannot be mapped over, page or block, from either side.
pub(crate) fn pm01_nothing_is_mapped_over(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let ram = u64::from(scratch.ram.0.bits());
    let exists = &[Code::Exists];
    succeeds("a page", Call::AsMap, &[0, FREE, ram, BLOCK, 1, R])?;
    refused("the page again", Call::AsMap, &[0, FREE, ram, BLOCK, 1, R], exists)?;
    refused("a block over the page", Call::AsMap, &[0, FREE, ram, BLOCK, 512, R], exists)?;
    succeeds("no page", Call::AsUnmap, &[0, FREE, 1, 0])?;
    let [level, done, ..] = succeeds("a block", Call::AsMap, &[0, FREE, ram, BLOCK, 512, R])?;
    ensure_equal("the level of a block", level, 2)?;
    ensure_equal("the pages of a block", done, 512)?;
    for page in [0, 1, 255, 511] {
        let address = FREE + page * PAGE;
        refused("a page over the block", Call::AsMap, &[0, address, ram, 0, 1, R], exists)?;
    }
    refused("across the block's start", Call::AsMap, &[0, FREE - PAGE, ram, BLOCK, 2, R], exists)?;
    memory::unmap(ipa(FREE)?, 512).map_err(Into::into)
}

/// The ends of the address space, page 0 and the window.
pub(crate) fn pm03_what_is_reserved_stays_reserved(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let ram = u64::from(scratch.ram.0.bits());
    let reserved = &[Code::BadAddress];
    for (address, pages) in [
        (0, 1),
        (0, 2),
        (WINDOW, 1),
        (WINDOW + BLOCK - PAGE, 1),
        (WINDOW - PAGE, 2),
        (WINDOW + 0x5_0000, 1),
        (WINDOW - 16 * PAGE, 512),
        (LIMIT, 1),
    ] {
        refused("MAP", Call::AsMap, &[0, address, ram, 0, pages, R], reserved)?;
        refused("UNMAP", Call::AsUnmap, &[0, address, pages, 0], reserved)?;
        refused("PROTECT", Call::AsProtect, &[0, address, pages, RW, 0], reserved)?;
    }
    refused("QUERY of the window", Call::AsQuery, &[0, WINDOW], reserved)?;
    for address in [PAGE, WINDOW - PAGE, LIMIT - PAGE] {
        succeeds("a page beside", Call::AsMap, &[0, address, ram, BLOCK, 1, R])?;
        ensure(peek(address).is_ok(), "a page beside what is reserved does not load")?;
        succeeds("that page", Call::AsUnmap, &[0, address, 1, 0])?;
    }
    for address in [0, 8, WINDOW + 0x4_0000, LIMIT, 1 << 47] {
        ensure(peek(address).is_err(), "what is not mapped loads")?;
    }
    let info_page = Window::new(ipa(WINDOW)?, PAGE).ok_or("no window")?;
    ensure(info_page.store(0, 0).is_err(), "the info page can be written")
}

/// Permissions: what contradicts itself, the manifest or the handle is refused; what is granted holds.
pub(crate) fn pm07_permissions_never_exceed_the_rights(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let ram = u64::from(scratch.ram.0.bits());
    for bad in [0, 2, 4, 6, RWX] {
        refused("attributes", Call::AsMap, &[0, FREE, ram, BLOCK, 1, bad], &[Code::BadAttribute])?;
    }
    for bit in 3..64 {
        refused("reserved bits", Call::AsMap, &[0, FREE, ram, BLOCK, 1, R | 1 << bit], &[Code::Invalid])?;
    }
    succeeds("a page", Call::AsMap, &[0, FREE, ram, BLOCK, 1, R])?;
    let page = Window::new(ipa(FREE)?, PAGE).ok_or("no window")?;
    ensure(page.store(0, 1).is_err(), "a read-only page can be written")?;
    for bad in [0, 2, 4, RWX] {
        refused("PROTECT", Call::AsProtect, &[0, FREE, 1, bad, 0], &[Code::BadAttribute])?;
    }
    succeeds("writable", Call::AsProtect, &[0, FREE, 1, RW, 0])?;
    page.store(0, pair(RET, RET))?;
    succeeds("executable", Call::AsProtect, &[0, FREE, 1, 5, 0])?;
    ensure(page.store(0, 1).is_err(), "an executable page can be written")?;
    succeeds("no page", Call::AsUnmap, &[0, FREE, 1, 0])?;
    ensure(page.load(0).is_err(), "an unmapped page can be read")?;

    let shared = info.mem("seen")?;
    let handle = u64::from(shared.handle.0.bits());
    for more in [RW, 5] {
        refused("more than the rights", Call::AsMap, &[0, FREE, handle, 0, 1, more], &[Code::Denied])?;
    }
    succeeds("what the rights allow", Call::AsMap, &[0, FREE, handle, 0, 1, R])?;
    for more in [RW, 5] {
        refused("PROTECT beyond the rights", Call::AsProtect, &[0, FREE, 1, more, 0], &[Code::Denied])?;
    }
    ensure(page.store(0, 1).is_err(), "the victim's page can be written")?;
    succeeds("no page", Call::AsUnmap, &[0, FREE, 1, 0]).map(drop)
}

/// Holes, halves of blocks, and the page that is executing.
pub(crate) fn pm09_unmap_hits_what_it_names_alone(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let ram = u64::from(scratch.ram.0.bits());
    refused("a hole", Call::AsUnmap, &[0, FREE, 1, 0], &[Code::NotMapped])?;
    succeeds("a block", Call::AsMap, &[0, FREE, ram, BLOCK, 512, RW])?;
    let block = Window::new(ipa(FREE)?, BLOCK).ok_or("no window")?;
    for page in 0..512 {
        block.store(page * PAGE, page)?;
    }
    for hole in [0, 100, 511] {
        succeeds("a page of the block", Call::AsUnmap, &[0, FREE + hole * PAGE, 1, 0])?;
    }
    for page in 0..512 {
        let loaded = block.load(page * PAGE);
        match [0, 100, 511].contains(&page) {
            true => ensure(loaded.is_err(), "a hole in a block loads")?,
            false => ensure_equal("a page beside a hole", loaded?, page)?,
        }
    }
    refused("a range with a hole", Call::AsUnmap, &[0, FREE + 99 * PAGE, 3, 0], &[Code::NotMapped])?;
    let gone = peek(FREE + 99 * PAGE).is_err();
    let rest = if gone { 100..511 } else { 99..511 };
    memory::unmap(ipa(FREE + PAGE)?, if gone { 98 } else { 99 })?;
    memory::unmap(ipa(FREE + 101 * PAGE)?, rest.end - 101)?;
    ensure(peek(FREE + 300 * PAGE).is_err(), "an unmapped block loads")?;

    // The page that executes: its HVC unmaps it; the fetch behind it faults and the handler maps a page of RET.
    let landing = map_free(scratch, info, FREE, 1)?;
    for offset in (0..PAGE).step_by(8) {
        landing.store(offset, pair(RET, RET))?;
    }
    crate::arch::synchronize_code(FREE, PAGE);
    scratch.write([hvc(0)].into_iter())?;
    land_on(scratch.ram, scratch.free - info.ram().start);
    let mut registers = [0; 30];
    for (register, value) in registers.iter_mut().zip([u64::from(Call::AsUnmap.function_id()), 0, CODE, 1, 0]) {
        *register = value;
    }
    let seen = Scratch::run(&mut registers);
    ensure_equal("faults behind its own unmapping", seen.count, 1)?;
    ensure_equal("where", seen.address, CODE + 4)?;
    let code = u64::from(scratch.ram.0.bits());
    succeeds("the landing", Call::AsUnmap, &[0, CODE, 1, 0])?;
    memory::unmap(ipa(FREE)?, 1)?;
    let offset = scratch.free - PAGE - info.ram().start;
    let attributes = READ_EXECUTE.bits();
    succeeds("the code page", Call::AsMap, &[0, CODE, code, offset, 1, attributes]).map(drop)
}

/// Pages of the random case's range.
const SLOTS: usize = 96;

/// Ten thousand random calls against a model: which page shows which, and with what permission.
pub(crate) fn pm12_random_calls_agree_with_a_model(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let ram = u64::from(scratch.ram.0.bits());
    let base = scratch.free.next_multiple_of(BLOCK) - info.ram().start;
    let objects = Window::new(ipa(FREE)?, SLOTS as u64 * PAGE).ok_or("no window")?;
    memory::map(scratch.ram, base, ipa(FREE)?, SLOTS as u64, memory::READ_WRITE)?;
    for object in 0..SLOTS as u64 {
        objects.store(object * PAGE, object)?;
    }
    memory::unmap(ipa(FREE)?, SLOTS as u64)?;
    let mut model: [Option<(u64, u64)>; SLOTS] = [None; SLOTS];
    let mut random = Random(0x9e37_79b9);
    for _ in 0..10_000 {
        let first = random.below(SLOTS as u64);
        let pages = 1 + random.below((SLOTS as u64 - first).min(40));
        let attributes = [R, RW, 5].get(random.below(3) as usize).copied().unwrap_or(R);
        let object = random.below(SLOTS as u64 - pages + 1);
        let address = FREE + first * PAGE;
        let range = first as usize..(first + pages) as usize;
        let slots = model.get_mut(range).ok_or("the model is too small")?;
        let fits = |want: bool, slots: &[Option<(u64, u64)>]| {
            slots.iter().position(|slot| slot.is_some() != want).unwrap_or(slots.len()) as u64
        };
        let operation = random.below(3);
        let (limit, (status, [_, done, ..])) = match operation {
            0 => (fits(false, slots), call(Call::AsMap, &[0, address, ram, base + object * PAGE, pages, attributes])),
            1 => (fits(true, slots), call(Call::AsUnmap, &[0, address, pages, 0])),
            _ => (fits(true, slots), call(Call::AsProtect, &[0, address, pages, attributes, 0])),
        };
        let error = if operation == 0 { Code::Exists } else { Code::NotMapped };
        match (status == 0, limit == pages) {
            (true, true) => ensure((1..=pages).contains(&done), "a success did nothing")?,
            (true, false) => ensure((1..=limit).contains(&done), "a success went too far")?,
            (false, _) => {
                ensure_equal("a refusal", status.cast_unsigned(), (error as i64).cast_unsigned())?;
                ensure(limit < pages && done <= limit, "a refusal without reason, or one that did too much")?;
            }
        }
        for (page, slot) in (0..done).zip(slots.iter_mut()) {
            *slot = match (operation, *slot) {
                (0, _) => Some((object + page, attributes)),
                (1, _) => None,
                (_, Some((object, _))) => Some((object, attributes)),
                (_, None) => return Err("PROTECT of a hole".into()),
            };
        }
        probe(&model, &objects, random.below(SLOTS as u64), base)?;
    }
    for slot in 0..SLOTS as u64 {
        probe(&model, &objects, slot, base)?;
        if model.get(slot as usize).is_some_and(Option::is_some) {
            memory::unmap(ipa(FREE + slot * PAGE)?, 1)?;
        }
    }
    Ok(())
}

/// Looks at one page by AS.QUERY, by a load and by a store.
fn probe(model: &[Option<(u64, u64)>], objects: &Window, slot: u64, base: u64) -> Result<(), Failure> {
    let (status, [_, offset, attributes, ..]) = call(Call::AsQuery, &[0, FREE + slot * PAGE]);
    let load = objects.load(slot * PAGE);
    let store = objects.store(slot * PAGE + 8, slot);
    match model.get(slot as usize).copied().flatten() {
        None => {
            ensure_equal("QUERY of a hole", status.cast_unsigned(), (Code::NotMapped as i64).cast_unsigned())?;
            ensure(load.is_err() && store.is_err(), "a hole can be reached")
        }
        Some((object, allowed)) => {
            ensure_equal("QUERY", status.cast_unsigned(), 0)?;
            ensure_equal("the offset", offset, base + object * PAGE)?;
            ensure_equal("the attributes", attributes, allowed)?;
            ensure_equal("the page", load?, object)?;
            ensure(store.is_ok() == (allowed == RW), "a store does not follow the permission")
        }
    }
}

/// Sparse pages, whose tables use up the quota; what is there keeps working, and what is given back can be used again.
pub(crate) fn pm16_tables_are_paid_by_the_quota(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    const SPARSE: u64 = 1 << 30;
    let ram = u64::from(scratch.ram.0.bits());
    let mut count = 0;
    loop {
        ensure(count < 400, "the quota has no end")?;
        let (status, results) = call(Call::AsMap, &[0, (count + 4) * SPARSE, ram, BLOCK, 1, R]);
        if status != 0 {
            ensure_equal("the end", status.cast_unsigned(), (Code::Quota as i64).cast_unsigned())?;
            ensure_equal("pages done by a refused MAP", results.get(1).copied().unwrap_or(1), 0)?;
            break;
        }
        count += 1;
    }
    ensure(count > 4, "the quota is used up at once")?;
    let last = (count + 3) * SPARSE;
    ensure(peek(last).is_ok(), "the last page does not load")?;
    refused("what was refused", Call::AsQuery, &[0, last + SPARSE], &[Code::NotMapped])?;
    succeeds("UNMAP at the quota", Call::AsUnmap, &[0, last, 1, 0])?;
    succeeds("MAP again", Call::AsMap, &[0, last, ram, BLOCK, 1, R])?;
    for number in 0..count {
        memory::unmap(ipa((number + 4) * SPARSE)?, 1)?;
    }
    let _ = scratch::seen();
    Ok(())
}

/// A block that cannot be cut, since there is no table for it, stays whole, mapped and owned; as a whole it goes.
pub(crate) fn pm14_a_block_without_a_table_stays_whole(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let ram = u64::from(scratch.ram.0.bits());
    let offset = (scratch.free - info.ram().start).next_multiple_of(BLOCK);
    succeeds("a block", Call::AsMap, &[0, FREE, ram, offset, 512, RW])?;
    Window::new(ipa(FREE)?, BLOCK).ok_or("no window")?.store(0x7000, MARK)?;
    // A table for each page, until there is none.
    let mut tables = 0;
    while call(Call::AsMap, &[0, FREE + (2 + tables) * BLOCK, ram, 0, 1, R]).0 == 0 {
        tables += 1;
        ensure(tables < 4096, "tables have no end")?;
    }
    for _ in 0..2 {
        refused("a page of the block", Call::AsUnmap, &[0, FREE + 0x7000, 1, 0], &[Code::Quota])?;
        refused("its rights", Call::AsProtect, &[0, FREE + 0x7000, 1, R, 0], &[Code::Quota])?;
        ensure_equal("the page", peek(FREE + 0x7000).unwrap_or(0), MARK)?;
        refused("FREE", Call::MemFree, &[ram], &[Code::Busy])?;
    }
    memory::unmap(ipa(FREE)?, 512)?;
    for table in 0..tables {
        memory::unmap(ipa(FREE + (2 + table) * BLOCK)?, 1)?;
    }
    Ok(())
}
