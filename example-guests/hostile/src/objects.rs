//! Memory objects: sizes that are none, objects without end, what is half freed, and what others left behind.

use strato_guest::abi::{Call, Code};
use strato_guest::{Failure, Info, ensure, ensure_equal};

use crate::raw::{call, refused, succeeds};
use crate::scratch::{Scratch, ipa};

/// Where nothing is mapped.
const FREE: u64 = 0x9000_0000;
/// Pages of an object that is zeroed in several calls.
const PAGES: u64 = 32;

/// Repeats MEM.ALLOC to its end. Returns the handle, or the status that refused it.
pub(crate) fn alloc(pages: u64) -> Result<u64, u64> {
    loop {
        match call(Call::MemAlloc, &[pages, 0]) {
            (0, results) if results.first() == Some(&0) => {}
            (0, results) => return Ok(results.first().copied().unwrap_or(0)),
            (status, _) => return Err(status.cast_unsigned()),
        }
    }
}

/// Repeats MEM.FREE to its end.
pub(crate) fn free(mem: u64) -> Result<(), Failure> {
    loop {
        let (status, results) = call(Call::MemFree, &[mem]);
        ensure_equal("MEM.FREE", status.cast_unsigned(), 0)?;
        if results.first() == Some(&0) {
            return Ok(());
        }
    }
}

fn code(code: Code) -> u64 {
    (code as i64).cast_unsigned()
}

/// Numbers of pages and types that are none: refused, and nothing is under way behind them.
pub(crate) fn pm05_sizes_and_types_are_bounded(_: &Info, _: &Scratch) -> Result<(), Failure> {
    for order in 0..64 {
        for pages in [(1u64 << order).wrapping_sub(1), (1u64 << order).wrapping_add(1), 1 << order] {
            if !pages.is_power_of_two() || pages > 1 << 18 {
                refused("MEM.ALLOC", Call::MemAlloc, &[pages, 0], &[Code::Invalid])?;
            }
        }
    }
    for kind in 1..256 {
        refused("a type", Call::MemAlloc, &[1, kind], &[Code::Invalid])?;
    }
    let mem = alloc(4).map_err(|_| "an object of 4 pages is refused")?;
    for offset in [0, 1, 0x1000, 0x1fff, 0x3000, 0x4000, 1 << 63, u64::MAX] {
        refused("MEM.SPLIT", Call::MemSplit, &[mem, offset], &[Code::Invalid])?;
    }
    free(mem)
}

/// Objects until the quota or the table ends them; then everything is given back, and is there again.
pub(crate) fn ds01_objects_end_at_the_quota(_: &Info, _: &Scratch) -> Result<(), Failure> {
    for _ in 0..2 {
        let mut objects = [0; 512];
        let mut count = 0;
        let end = loop {
            match (alloc(1), objects.get_mut(count)) {
                (Ok(mem), Some(place)) => *place = mem,
                (Ok(_), None) => return Err("objects have no end".into()),
                (Err(status), _) => break status,
            }
            count += 1;
        };
        ensure(count > 2 && (end == code(Code::Quota) || end == code(Code::Full)), "another end")?;
        ensure_equal("a huge object at the end", alloc(1 << 18).unwrap_or_else(|status| status), end)?;
        for mem in objects.iter().take(count) {
            free(*mem)?;
        }
    }
    Ok(())
}

/// What is half allocated or half freed: nothing else can be done meanwhile, and the object is gone at the end.
pub(crate) fn pm05f_half_freed_memory_is_out_of_reach(_: &Info, _: &Scratch) -> Result<(), Failure> {
    let mem = alloc(PAGES).map_err(|_| "an object is refused")?;
    succeeds("MAP", Call::AsMap, &[0, FREE, mem, 0, 1, 3])?;
    refused("FREE of what is mapped", Call::MemFree, &[mem], &[Code::Busy])?;
    refused("SPLIT of what is mapped", Call::MemSplit, &[mem, PAGES / 2 * 4096], &[Code::Busy])?;
    succeeds("UNMAP", Call::AsUnmap, &[0, FREE, 1, 0])?;
    let (status, results) = call(Call::MemFree, &[mem]);
    ensure_equal("the first FREE", status.cast_unsigned(), 0)?;
    ensure(results.first().is_some_and(|&left| left != 0), "an object of several parts is freed at once")?;
    refused("MAP of what is freed", Call::AsMap, &[0, FREE, mem, 0, 1, 1], &[Code::State])?;
    refused("INFO of what is freed", Call::MemInfo, &[mem], &[Code::State])?;
    refused("ALLOC meanwhile", Call::MemAlloc, &[1, 0], &[Code::Busy])?;
    free(mem)?;
    refused("what is gone", Call::MemFree, &[mem], &[Code::Stale])
}

/// Memory that was filled, cut and given back, in any sizes: zeros when it comes again.
pub(crate) fn lk09p_memory_of_the_pool_holds_zeros(_: &Info, _: &Scratch) -> Result<(), Failure> {
    for pages in [PAGES, 1, 8, 16, PAGES] {
        let mem = alloc(pages).map_err(|_| "an object is refused")?;
        strato_guest::memory::map(handle(mem), 0, ipa(FREE)?, pages, strato_guest::memory::READ_WRITE)?;
        let window = strato_guest::memory::Window::new(ipa(FREE)?, pages * 4096).ok_or("no window")?;
        for offset in (0..pages * 4096).step_by(8) {
            ensure_equal("a word of the pool", window.load(offset)?, 0)?;
            window.store(offset, 0x5ec2_e700 | offset << 32)?;
        }
        strato_guest::memory::unmap(ipa(FREE)?, pages)?;
        if pages > 1 {
            let (status, results) = call(Call::MemSplit, &[mem, pages / 2 * 4096]);
            ensure_equal("MEM.SPLIT", status.cast_unsigned(), 0)?;
            free(results.first().copied().unwrap_or(0))?;
        }
        free(mem)?;
    }
    Ok(())
}

pub(crate) fn handle(bits: u64) -> strato_guest::abi::MemHandle {
    strato_guest::abi::MemHandle(strato_guest::abi::Handle::from_bits(bits as u32))
}
