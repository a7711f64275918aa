//! PM, GS, LK: what a guest may learn, and of whom. Guessed handles, questions about other addresses, the bytes around what it is
//! told, calls that do not exist.

use strato_guest::abi::addr::{EVENT_AREA, INFO_PAGE, INFO_PAGES_MAX, VCPU_AREA};
use strato_guest::abi::version::FUNCTION_BASE;
use strato_guest::abi::{Call, Code, Group};
use strato_guest::memory::Window;
use strato_guest::{Failure, Info, ensure, ensure_equal};

use crate::raw::{JUNK, call, id, refused, succeeds};
use crate::scratch::{Scratch, ipa, peek};
use crate::shares::{HERE, R, RW, object, pair};

const PAGE: u64 = 4096;
const MEM: u64 = 2;
const SPACE: u64 = 4;
/// A hole that nothing else of this program uses.
const HOLE: u64 = 0x30_0000_0000;

/// Every handle that could be: what can be mapped is this VM's own memory, and what can be asked its own address space.
pub(crate) fn pm04_memory_of_others_has_no_name(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let mut found = 0;
    for index in 0..1100 {
        for generation in [0, 1, 2, 3, 0xffff] {
            let guess = index | generation << 16;
            let kind = match call(Call::CoreHandleInfo, &[guess]) {
                (0, [kind, ..]) => kind,
                _ => 0,
            };
            let is_mapped = call(Call::AsMap, &[0, HERE, guess, 0, 1, R]).0 == 0;
            ensure(is_mapped == (kind == MEM), "something is mapped that is no memory of this VM's")?;
            let is_asked = call(Call::AsQuery, &[guess, HERE]).0 == 0;
            ensure(!is_asked || guess == 0 || kind == SPACE, "an address space of another's answers")?;
            if is_mapped {
                ensure(info.handles().any(|own| u64::from(own.handle) == guess), "a handle from nowhere")?;
                succeeds("UNMAP", Call::AsUnmap, &[0, HERE, 1, 0])?;
                found += 1;
            }
        }
    }
    ensure_equal("memory found", found, info.handles().filter(|own| u64::from(own.kind) == MEM).count() as u64)?;
    // Whatever an offset means to the machine, it ends with the object.
    let mem = object(1)?;
    for offset in [PAGE, 0x0800_0000, 0x0900_0000, 0x4000_0000, 0x4008_0000, 1 << 39, 1 << 47, !0xfff] {
        refused("an offset", Call::AsMap, &[0, HERE, mem, offset, 1, R], &[Code::Overflow])?;
    }
    crate::objects::free(mem)
}

/// What stands at addresses of the machine's, the hypervisor's and the victim's is answered as any hole of one's own is.
pub(crate) fn pm17_questions_about_others_have_one_answer(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let hole = call(Call::AsQuery, &[0, HOLE]);
    ensure_equal("QUERY of a hole", hole.0.cast_unsigned(), (Code::NotMapped as i64).cast_unsigned())?;
    ensure(peek(HOLE).is_err(), "a hole loads")?;
    let faulted = call(Call::AsQuery, &[0, HOLE]);
    // The interrupt controller, the UART, RAM behind one's own, and where the victim maps a page with each beat.
    let end = info.ram().end;
    for address in
        [PAGE, 0x0800_0000, 0x0900_0000, end, end + 0x100_0000, 0x5800_0000, 0x70_0000_0000, (1 << 39) - PAGE]
    {
        ensure(call(Call::AsQuery, &[0, address]) == hole, "QUERY tells of another's address")?;
        ensure(peek(address).is_err(), "another's address loads")?;
        ensure(call(Call::AsQuery, &[0, address]) == faulted, "QUERY tells why another's address does not load")?;
        let (status, [detail, done, rest @ ..]) = call(Call::AsProtect, &[0, address, 1, R, 0]);
        ensure_equal("PROTECT", status.cast_unsigned(), (Code::NotMapped as i64).cast_unsigned())?;
        let (_, [other, ..]) = call(Call::AsProtect, &[0, HOLE, 1, R, 0]);
        ensure(detail == other && done == 0 && rest == [0; 13], "PROTECT tells of another's address")?;
    }
    Ok(())
}

/// The areas of the window are under no object and in every address space: no call takes them away while they are written.
pub(crate) fn pm10_the_areas_outlast_every_call(_: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let ram = u64::from(scratch.ram.0.bits());
    let [space, ..] = succeeds("CREATE", Call::AsCreate, &[])?;
    for space in [0, space] {
        for area in [INFO_PAGE, VCPU_AREA, EVENT_AREA] {
            refused("UNMAP", Call::AsUnmap, &[space, area, 1, 0], &[Code::BadAddress])?;
            refused("UNMAP later", Call::AsUnmap, &[space, area, 1, 1], &[Code::BadAddress])?;
            refused("PROTECT", Call::AsProtect, &[space, area, 1, RW, 0], &[Code::BadAddress])?;
            refused("MAP", Call::AsMap, &[space, area, ram, 0, 1, RW], &[Code::BadAddress])?;
        }
    }
    refused(
        "DESTROY of the first",
        Call::AsDestroy,
        &[0],
        &[Code::BadHandle, Code::Stale, Code::WrongKind, Code::Denied],
    )?;
    while succeeds("DESTROY", Call::AsDestroy, &[space])?.first() != Some(&0) {}
    let area = Window::new(ipa(EVENT_AREA)?, PAGE).ok_or("no window")?;
    area.store(PAGE - 8, JUNK)?;
    ensure_equal("a word of the event area", area.load(PAGE - 8)?, JUNK)?;
    area.store(PAGE - 8, 0)?;
    ensure(peek(INFO_PAGE).is_ok() && peek(VCPU_AREA).is_ok(), "an area is gone with an address space")
}

/// No version and no format of sharing can be chosen: every number of its group that is no call is none, and changes nothing.
pub(crate) fn gs15_sharing_has_no_version_to_switch(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let pair = pair(info, 1, RW)?;
    let before = succeeds("INFO", Call::ShareInfo, &[pair.share])?;
    let group = FUNCTION_BASE | u32::from(Group::Share as u16) << 5;
    for op in 0..32 {
        if Call::ALL.iter().any(|call| call.function_id() == group | op) {
            continue;
        }
        for argument in [0, 1, 2, pair.share, u64::MAX] {
            let (status, _) = id(group | op, &[argument, argument, 1]);
            ensure_equal("a number of no call", status.cast_unsigned(), (Code::NotSupported as i64).cast_unsigned())?;
        }
    }
    ensure(succeeds("INFO", Call::ShareInfo, &[pair.share])? == before, "a share is another one now")?;
    pair.revoke()?;
    pair.end()
}

/// Returns the byte at `offset`.
fn byte(window: &Window, offset: u64) -> Result<u64, Failure> {
    Ok(window.load(offset & !7)? >> (offset % 8 * 8) & 0xff)
}

/// A table of the info page: where it begins, from one entry to the next, entries.
fn table(window: &Window, at: u64) -> Result<[u64; 3], Failure> {
    let word = window.load(at)?;
    Ok([word & 0xffff_ffff, word >> 32 & 0xffff, word >> 48])
}

/// Every byte of the window's pages that no structure of the specification has is zero, and so is what pads a name.
pub(crate) fn lk10_what_pads_a_structure_is_zero(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let first = Window::new(ipa(INFO_PAGE)?, PAGE).ok_or("no window")?;
    let [line, groups, handles] = [table(&first, 96)?, table(&first, 208)?, table(&first, 216)?];
    let mut pages = 1;
    while pages < INFO_PAGES_MAX && peek(INFO_PAGE + pages * PAGE).is_ok() {
        pages += 1;
    }
    let window = Window::new(ipa(INFO_PAGE)?, pages * PAGE).ok_or("no window")?;
    let within = |[start, stride, count]: [u64; 3], at: u64| {
        (at >= start && at < start + stride * count).then(|| (at - start) % stride.max(1))
    };
    // A name of 32 or 40 bytes: behind its first zero there are zeros.
    let mut is_past = false;
    for at in 0..pages * PAGE {
        let name = match (at, within(handles, at)) {
            (32..64, _) => Some(at - 32),
            (_, Some(place @ 24..64)) => Some(place - 24),
            _ => None,
        };
        let is_told = match (within(line, at), within(groups, at), within(handles, at)) {
            (Some(_), _, _) | (_, Some(0..6 | 8..12), _) | (_, _, Some(0..24)) => true,
            _ => at < 224 && !(32..64).contains(&at),
        };
        let found = byte(&window, at)?;
        if let Some(place) = name {
            is_past = place != 0 && is_past || found == 0;
            ensure(!is_past || found == 0, "a name is padded with something")?;
        } else {
            ensure(is_told || found == 0, "a byte beside the structures of the info page is not zero")?;
        }
    }
    let vcpus = u64::from(info.header().vcpus);
    let area = Window::new(ipa(VCPU_AREA)?, PAGE).ok_or("no window")?;
    for at in (0..PAGE).step_by(8) {
        // Up to the wall clock's moment, the deadline and the exits; no vCPU here has asked for its stolen time.
        let is_told = at / 256 < vcpus && matches!(at % 256, 0..72 | 80..120);
        ensure(is_told || area.load(at)? == 0, "a word beside the records of the vCPU area is not zero")?;
    }
    let area = Window::new(ipa(EVENT_AREA)?, PAGE).ok_or("no window")?;
    for at in (0..PAGE).step_by(8) {
        let is_told = at / 512 < vcpus && at % 512 < 264;
        ensure(is_told || area.load(at)? == 0, "a word beside the records of the event area is not zero")?;
    }
    // What a guest puts there itself stays its own: no call touches it.
    for at in (264..512).step_by(8) {
        area.store(at, JUNK)?;
    }
    strato_guest::event::send(info.port("victim")?)?;
    let _ = strato_guest::vcpu::wait(1)?;
    for at in (264..512).step_by(8) {
        ensure_equal("what this VM put beside its record", area.load(at)?, JUNK)?;
        area.store(at, 0)?;
    }
    Ok(())
}
