//! HC: the call interface itself. Numbers, immediates, widths, ranges, handles of every wrong sort.

use strato_guest::abi::{Call, Code};
use strato_guest::{Failure, Info, ensure, ensure_equal, event};

use crate::raw::{Random, are_kept, are_zero, call, junk, prepare, refused, succeeds, trap};
use crate::scratch::Scratch;
use crate::words::{hvc, smc};

const LIMIT: u64 = 1 << 39;
const PAGE: u64 = 4096;
/// Where nothing is mapped.
const FREE: u64 = 0x8000_0000;

/// Undefined numbers, 64-bit and 32-bit: NOT_SUPPORTED, and nothing of the hypervisor in any register.
pub(crate) fn hc01_unknown_numbers_are_not_supported(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    prepare(scratch)?;
    let mut random = Random(0x5712_a701);
    for n in 0..20_000_u64 {
        let number = if n < 2048 { n } else { random.next() & 0xff_ffff };
        let is_call = number >> 17 == 0 && Call::from_number((number & 0xffff) as u16).is_some();
        if !is_call {
            let mut registers = junk(0xc600_0000 | number);
            ensure_equal("x0 of a 64-bit number", trap(&mut registers)?.cast_unsigned(), u64::MAX)?;
            ensure(are_zero(&registers, 1), "x1 to x17 of a 64-bit number are not zero")?;
        }
        if !matches!(number & 0xfe_ffff, 0xff01 | 0xff03) {
            let mut registers = junk(0x8600_0000 | number);
            ensure_equal("x0 of a 32-bit number", trap(&mut registers)?.cast_unsigned(), u64::MAX)?;
            ensure(are_kept(&registers, 4), "a 32-bit number changed x4 to x17")?;
        }
    }
    Ok(())
}

/// Every other immediate of HVC and SMC: NOT_SUPPORTED, whatever x0 says.
pub(crate) fn hc02_other_immediates_are_not_supported(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    for n in 0..16 {
        for immediate in [1 << n, u16::MAX >> n, u16::MAX - (1 << n)] {
            for word in [hvc(immediate), smc(immediate)] {
                let mut registers = junk(u64::from(Call::CoreNop.function_id()));
                let seen = scratch.execute(word, &mut registers)?;
                ensure_equal("exceptions of an immediate", seen.count, 0)?;
                let [x0, x1, x2, x3, ..] = registers;
                ensure((x0, x1, x2, x3) == (u64::MAX, 0, 0, 0), "an immediate is not refused by -1 and zeros")?;
                ensure(are_kept(&registers, 4), "an immediate changed x4 to x17")?;
            }
        }
    }
    Ok(())
}

/// Addresses with a bit beyond the address space: refused, never taken for the low bits.
pub(crate) fn hc03_addresses_beyond_the_space_are_refused(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let ram = u64::from(scratch.ram.0.bits());
    let code = info.ram().start;
    for bit in 39..64 {
        let far = FREE | 1 << bit;
        refused("AS.MAP", Call::AsMap, &[0, far, ram, 0, 1, 1], &[Code::BadAddress])?;
        let own = code | 1 << bit;
        refused("AS.UNMAP", Call::AsUnmap, &[0, own, 1, 0], &[Code::BadAddress])?;
        refused("AS.PROTECT", Call::AsProtect, &[0, own, 1, 1, 0], &[Code::BadAddress])?;
        refused("AS.QUERY", Call::AsQuery, &[0, own], &[Code::BadAddress])?;
        refused("VCPU.START", Call::VcpuStart, &[0, own, 0], &[Code::BadAddress])?;
    }
    refused("nothing is mapped", Call::AsQuery, &[0, FREE], &[Code::NotMapped])?;
    succeeds("the program is mapped", Call::AsQuery, &[0, code]).map(drop)
}

/// Rubbish above the width of an argument: refused on every call; above the function id: ignored.
pub(crate) fn hc04_wide_arguments_are_refused(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let ram = u64::from(scratch.ram.0.bits());
    let port = u64::from(info.port("victim")?.0.bits());
    for bit in 32..64 {
        let high = 1 << bit;
        for (which, arguments) in [
            (Call::EvtSend, [port | high, 0, 0, 0, 0, 0]),
            (Call::EvtUnmask, [port | high, 0, 0, 0, 0, 0]),
            (Call::EvtBindVcpu, [port | high, 0, 0, 0, 0, 0]),
            (Call::EvtClose, [port | high, 0, 0, 0, 0, 0]),
            (Call::EvtOffer, [high, 0, 0, 0, 0, 0]),
            (Call::EvtConnect, [high, 0, 0, 0, 0, 0]),
            (Call::EvtMode, [0, high, 0, 0, 0, 0]),
            (Call::EvtMode, [high, 0, 0, 0, 0, 0]),
            (Call::VcpuYield, [high, 0, 0, 0, 0, 0]),
            (Call::VcpuYield, [1, high, 0, 0, 0, 0]),
            (Call::VcpuSignalWait, [port | high, 0, 0, 0, 0, 0]),
            (Call::VcpuStart, [high, 0x4000_0000, 0, 0, 0, 0]),
            (Call::VcpuState, [high, 0, 0, 0, 0, 0]),
            (Call::AsMap, [high, FREE, ram, 0, 1, 1]),
            (Call::AsMap, [0, FREE, ram | high, 0, 1, 1]),
            (Call::AsMap, [0, FREE, ram, 0, 1, 1 | high]),
            (Call::AsUnmap, [0, FREE, 1, high, 0, 0]),
            (Call::AsProtect, [0, FREE, 1, 1 | high, 0, 0]),
            (Call::ConWrite, [1 | high, 0x2020_2020, 0, 0, 0, 0]),
            (Call::CoreExit, [0, high, 0, 0, 0, 0]),
            (Call::CoreLimit, [high, 0, 0, 0, 0, 0]),
        ] {
            refused(which.name(), which, &arguments, &[Code::Invalid])?;
        }
    }
    prepare(scratch)?;
    let mut registers = junk(u64::from(Call::CoreNop.function_id()) | 0xdead_beef << 32 | 1 << 16);
    ensure_equal("a NOP with rubbish above its id", trap(&mut registers)?.cast_unsigned(), 0)
}

/// Counts from nothing to everything: refused before any work, or bounded.
pub(crate) fn hc05_counts_are_bounded(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let ram = u64::from(scratch.ram.0.bits());
    let pages = (info.ram().end - info.ram().start) / PAGE;
    refused("MAP of nothing", Call::AsMap, &[0, FREE, ram, 0, 0, 1], &[Code::Invalid])?;
    refused("UNMAP of nothing", Call::AsUnmap, &[0, FREE, 0, 0], &[Code::Invalid])?;
    refused("PROTECT of nothing", Call::AsProtect, &[0, FREE, 0, 1, 0], &[Code::Invalid])?;
    for huge in [pages + 1, 1 << 32, (1 << 32) - 1, 1 << 52, 1 << 63, u64::MAX] {
        refused("MAP of too much", Call::AsMap, &[0, FREE, ram, 0, huge, 1], &[Code::Overflow])?;
    }
    for huge in [LIMIT / PAGE, 1 << 52, 1 << 63, u64::MAX] {
        refused("UNMAP of too much", Call::AsUnmap, &[0, FREE, huge, 0], &[Code::Overflow])?;
        refused("PROTECT of too much", Call::AsProtect, &[0, FREE, huge, 1, 0], &[Code::Overflow])?;
    }
    // Single pages, because the object's offset is not that of a block.
    let done = |results: [u64; 15]| results.get(1).copied().unwrap_or(0);
    let mapped = done(succeeds("a long MAP", Call::AsMap, &[0, FREE, ram, PAGE, pages - 1, 1])?);
    ensure((1..=128).contains(&mapped), "a MAP did more than its units")?;
    let first = done(succeeds("UNMAP", Call::AsUnmap, &[0, FREE, mapped, 0])?);
    ensure((1..=mapped).contains(&first), "an UNMAP did more than it was asked")?;
    if first < mapped {
        strato_guest::memory::unmap(crate::scratch::ipa(FREE + first * PAGE)?, mapped - first)?;
    }
    refused("CON.WRITE of 113", Call::ConWrite, &[113], &[Code::Invalid])?;
    refused("CON.WRITE of everything", Call::ConWrite, &[u64::MAX], &[Code::Invalid])
}

/// Ranges that end at a boundary work, those that pass it or wrap are refused.
pub(crate) fn hc06_ranges_end_where_they_must(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let ram = u64::from(scratch.ram.0.bits());
    let size = info.ram().end - info.ram().start;
    let last = LIMIT - PAGE;
    succeeds("MAP of the last page", Call::AsMap, &[0, last, ram, size - PAGE, 1, 1])?;
    refused("UNMAP past the end", Call::AsUnmap, &[0, last, 2, 0], &[Code::Overflow])?;
    refused("PROTECT past the end", Call::AsProtect, &[0, last, 2, 1, 0], &[Code::Overflow])?;
    succeeds("PROTECT of the last page", Call::AsProtect, &[0, last, 1, 1, 0])?;
    succeeds("UNMAP of the last page", Call::AsUnmap, &[0, last, 1, 0])?;
    refused("MAP past the end", Call::AsMap, &[0, last, ram, 0, 2, 1], &[Code::Overflow])?;
    for offset in [size, size + PAGE, 1 << 40, 0xffff_ffff_ffff_f000] {
        refused("MAP behind the object", Call::AsMap, &[0, FREE, ram, offset, 1, 1], &[Code::Overflow])?;
    }
    refused("MAP across the object's end", Call::AsMap, &[0, FREE, ram, size - PAGE, 2, 1], &[Code::Overflow])?;
    for odd in [1, 7, 8, 4095] {
        refused("an odd address", Call::AsMap, &[0, FREE + odd, ram, 0, 1, 1], &[Code::Misaligned])?;
        refused("an odd offset", Call::AsMap, &[0, FREE, ram, odd, 1, 1], &[Code::Misaligned])?;
        refused("an odd UNMAP", Call::AsUnmap, &[0, FREE + odd, 1, 0], &[Code::Misaligned])?;
        refused("an odd PROTECT", Call::AsProtect, &[0, FREE + odd, 1, 1, 0], &[Code::Misaligned])?;
    }
    Ok(())
}

/// Handles of another kind, of the past, of the future, of no entry: refused on every call.
pub(crate) fn hc17_wrong_handles_are_refused(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let ram = scratch.ram.0.bits();
    let peer = info.peer("victim")?;
    let closed = event::offer(peer)?.port;
    event::close(closed)?;
    let peer = peer.0.bits();
    let stale = closed.0.bits();
    let live = info.port("victim")?.0.bits();
    let generation = 1 << 16;
    let strange = [
        stale,
        live.wrapping_sub(generation),
        live.wrapping_add(generation),
        live.wrapping_sub(2 * generation),
        live & 0xffff,
        ram & 0xffff,
        peer & 0xffff,
        0,
        1,
        0xffff,
        0x1_ffff,
        u32::MAX,
        0x1_0400,
        0x1_03ff,
    ];
    let refusals = [Code::BadHandle, Code::Stale, Code::WrongKind];
    let handles = |others: [u32; 2]| strange.into_iter().chain(others).map(u64::from);
    for bad in handles([ram, peer]) {
        for which in [Call::EvtSend, Call::EvtUnmask, Call::EvtBindVcpu, Call::EvtClose, Call::VcpuSignalWait] {
            refused(which.name(), which, &[bad, 0], &refusals)?;
        }
        refused("VCPU.YIELD", Call::VcpuYield, &[2, bad], &refusals)?;
    }
    for bad in handles([ram, live]) {
        if bad != 0 {
            refused("EVT.OFFER", Call::EvtOffer, &[bad], &refusals)?; // 0 asks for a port of one's own
        }
        refused("EVT.CONNECT", Call::EvtConnect, &[bad, 1], &refusals)?;
    }
    for bad in handles([live, peer]) {
        refused("AS.MAP", Call::AsMap, &[0, FREE, bad, 0, 1, 1], &refusals)?;
        for which in [Call::MemFree, Call::MemSplit, Call::MemInfo] {
            refused(which.name(), which, &[bad, 4096], &refusals)?;
        }
    }
    refused("a closed port", Call::EvtSend, &[u64::from(stale)], &[Code::Stale])?;
    for space in [1, 0x1_0000, u64::from(live), u64::from(ram), u64::from(u32::MAX)] {
        refused("AS.QUERY", Call::AsQuery, &[space, FREE], &refusals)?;
        refused("AS.UNMAP", Call::AsUnmap, &[space, FREE, 1, 0], &refusals)?;
        refused("AS.PROTECT", Call::AsProtect, &[space, FREE, 1, 1, 0], &refusals)?;
    }
    let (status, _) = call(Call::EvtUnmask, &[u64::from(live)]);
    ensure_equal("the live port", status.cast_unsigned(), 0)
}

/// Calls that the manifest forbids: DENIED, whatever the arguments; the info page says which they are.
pub(crate) fn hc18_forbidden_calls_are_denied(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    prepare(scratch)?;
    let mut count = 0;
    for &call in Call::ALL {
        let entry = info.group(call.group()).ok_or("a group is not in the info page")?;
        if entry.calls & 1 << call.op() != 0 {
            continue;
        }
        count += 1;
        let mut registers = junk(u64::from(call.function_id()));
        let denied = (Code::Denied as i64).cast_unsigned();
        ensure_equal(call.name(), trap(&mut registers)?.cast_unsigned(), denied)?;
        ensure(are_zero(&registers, 3), "a denied call leaves something behind x2")?;
    }
    let (status, _) = crate::raw::id(0xc400_0003, &[1, info.ram().start, 0]);
    ensure_equal("CPU_ON where VCPU.START is forbidden", status.cast_unsigned(), (-3_i64).cast_unsigned())?;
    ensure(count >= 15, "the manifest of this case forbids too little")
}
