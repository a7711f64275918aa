//! PM15: ranges that end inside blocks, begin behind them and lie across them, in both orders, while tables come and go and the
//! memory that they stood in is the guest's own to fill.

use strato_guest::abi::{Call, Code};
use strato_guest::memory::Window;
use strato_guest::{Failure, Info, ensure, ensure_equal, memory};

use crate::objects::{alloc, free};
use crate::raw::{Random, call};
use crate::scratch::{Scratch, ipa};
use crate::shares::{R, RW, THERE};
use crate::stale::map;

const PAGE: u64 = 4096;
const BLOCK: u64 = 512;
/// Pages of the range: three blocks.
const SLOTS: usize = 1536;
/// Where it is mapped, naturally aligned, so that blocks are made.
const BASE: u64 = 0x9000_0000;
/// Pages whose memory is taken from the pool between two steps: some of it was a table before.
const FORGED: u64 = 8;

/// The attributes of each page; 0 where nothing is mapped.
type Model = [u8; SLOTS];

#[derive(Clone, Copy)]
struct Step {
    which: Call,
    attributes: u64,
}

/// Makes the call again and again until it has done the pages or is refused, and does the same to the model.
fn apply(step: Step, first: u64, pages: u64, ram: (u64, u64), model: &mut Model) -> Result<(), Failure> {
    let (mut at, end) = (first, first + pages);
    while at < end {
        let address = BASE + at * PAGE;
        let (handle, offset) = (ram.0, ram.1 + at * PAGE);
        let (status, [_, done, ..]) = if step.which == Call::AsMap {
            call(Call::AsMap, &[0, address, handle, offset, end - at, step.attributes])
        } else {
            // UNMAP has its flags where PROTECT has the attributes, and 0 is none.
            call(step.which, &[0, address, end - at, step.attributes, 0])
        };
        let wants_hole = step.which == Call::AsMap;
        let slots = model.get_mut(at as usize..end as usize).ok_or("the model is too small")?;
        let fits = slots.iter().position(|&slot| (slot == 0) != wants_hole).unwrap_or(slots.len()) as u64;
        ensure(done <= fits, "a call did what it could not")?;
        for slot in slots.iter_mut().take(done as usize) {
            *slot = if step.which == Call::AsUnmap { 0 } else { step.attributes as u8 };
        }
        at += done;
        if status != 0 {
            let code = if wants_hole { Code::Exists } else { Code::NotMapped };
            ensure_equal("a refusal", status.cast_unsigned(), (code as i64).cast_unsigned())?;
            return ensure(fits < end - at + done, "a refusal without reason");
        }
        ensure(done > 0, "a success did nothing")?;
    }
    Ok(())
}

/// Fills memory of the pool, which must hold zeros, with entries that would lead anywhere, and gives it back.
fn forge() -> Result<(), Failure> {
    let mem = alloc(FORGED).map_err(|_| "an object is refused")?;
    let window = map(mem, THERE, FORGED)?;
    for word in 0..FORGED * BLOCK {
        if word % 8 == 0 {
            ensure_equal("a word of the pool", window.load(word * 8)?, 0)?;
        }
        window.store(word * 8, 0x4000_0000 | word << 12 | 0x7ff)?;
    }
    memory::unmap(ipa(THERE)?, FORGED)?;
    free(mem)
}

fn probe(model: &Model, slot: u64, window: &Window, base: u64) -> Result<(), Failure> {
    let expected = u64::from(model.get(slot as usize).copied().unwrap_or(0));
    let (status, [_, offset, attributes, ..]) = call(Call::AsQuery, &[0, BASE + slot * PAGE]);
    let loaded = window.load(slot * PAGE);
    let stored = window.store(slot * PAGE + 8, slot);
    ensure((status == 0) == (expected != 0), "QUERY does not agree")?;
    ensure(loaded.is_ok() == (expected != 0), "a load does not agree")?;
    ensure(stored.is_ok() == (expected == RW), "a store does not agree")?;
    if expected != 0 {
        ensure_equal("the offset", offset, base + slot * PAGE)?;
        ensure_equal("the attributes", attributes, expected)?;
        ensure_equal("the page", loaded?, slot)?;
    }
    Ok(())
}

/// Ranges across the ends of blocks, upwards and downwards, against a model; entries in freed tables lead nowhere.
pub(crate) fn pm15_cuts_across_blocks_walk_no_freed_table(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let base = (scratch.free - info.ram().start).next_multiple_of(BLOCK * PAGE);
    let ram = (u64::from(scratch.ram.0.bits()), base);
    let window = Window::new(ipa(BASE)?, SLOTS as u64 * PAGE).ok_or("no window")?;
    let mut model: Model = [0; SLOTS];
    let [fill, clear] = [(Call::AsMap, RW), (Call::AsUnmap, 0)].map(|(which, attributes)| Step { which, attributes });
    apply(fill, 0, SLOTS as u64, ram, &mut model)?;
    for slot in 0..SLOTS as u64 {
        window.store(slot * PAGE, slot)?;
    }
    let mut random = Random(0x0c07_ac05);
    for round in 0..400_u64 {
        // One end of the range stands a few pages beside a block's end, the other one there too or anywhere.
        let near =
            |random: &mut Random| (random.below(4) * BLOCK + random.below(7)).saturating_sub(3).min(SLOTS as u64);
        let one = near(&mut random);
        let other = if random.below(2) == 0 { near(&mut random) } else { random.below(SLOTS as u64) };
        let (first, end) = (one.min(other), one.max(other).max(one.min(other) + 1).min(SLOTS as u64));
        let step = match random.below(5) {
            0 | 1 => clear,
            2 | 3 => Step { which: Call::AsMap, attributes: RW },
            _ => Step { which: Call::AsProtect, attributes: if random.below(2) == 0 { R } else { RW } },
        };
        let middle = first + (end - first) / 2;
        let parts = if round % 2 == 0 { [(first, middle), (middle, end)] } else { [(middle, end), (first, middle)] };
        for (first, end) in parts {
            apply(step, first, end - first, ram, &mut model)?;
        }
        if round % 8 == 0 {
            forge()?;
        }
        for slot in [first, end - 1, first.saturating_sub(1), end.min(SLOTS as u64 - 1), random.below(SLOTS as u64)] {
            probe(&model, slot, &window, base)?;
        }
    }
    for slot in 0..SLOTS as u64 {
        probe(&model, slot, &window, base)?;
        if model.get(slot as usize).is_some_and(|&attributes| attributes != 0) {
            memory::unmap(ipa(BASE + slot * PAGE)?, 1)?;
        }
    }
    Ok(())
}
