//! LC: VMs that fail and are made again: what each life finds, what those beside it see, and one that fails without end.

use ::core::sync::atomic::{AtomicU64, Ordering};

use strato_guest::abi::core::ExitKind;
use strato_guest::abi::info_page::{BOOT_FAILURE, BOOT_FIRST, BOOT_REQUEST};
use strato_guest::abi::{Call, Code, Handle, PortHandle};
use strato_guest::memory::{self, READ_WRITE, Window};
use strato_guest::{Failure, Info, core, ensure, ensure_equal, event, println, time, vcpu};

use crate::crew::STACKS;
use crate::raw::{call, refused, succeeds};
use crate::scratch::{Scratch, ipa, peek};
use crate::shares::{RW, object};

/// Lives of a case.
const LIVES: u64 = 6;
/// Pages beside the image that each life finds empty, and fills.
const PAGES: u64 = 32;
const TRACE: u64 = 0x0dd_1e77e4;

/// As the image has them at each start.
static DATA: AtomicU64 = AtomicU64::new(TRACE);
static ZERO: AtomicU64 = AtomicU64::new(0);

fn life(info: &Info) -> u64 {
    u64::from(info.header().boot_count)
}

/// Fails in each life in another way, and finds each time a VM as at first: memory, image, handles, events, its channel.
pub(crate) fn lc10_each_life_begins_as_the_first(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let life = life(info);
    let reason = [BOOT_FIRST, BOOT_FAILURE, BOOT_FAILURE, BOOT_REQUEST, BOOT_FAILURE, BOOT_FAILURE];
    let expected = reason.get(life as usize - 1).copied().unwrap_or(BOOT_FAILURE);
    ensure_equal("why this life began", info.header().boot_reason.into(), expected.into())?;
    ensure_equal("the exit code before", info.header().last_exit, if life == 2 { 7 } else { 0 })?;
    ensure_equal("a variable of the image", DATA.swap(life, Ordering::Relaxed), TRACE)?;
    ensure_equal("a variable without a value", ZERO.swap(life, Ordering::Relaxed), 0)?;
    empty(info, scratch, life)?;
    handles(info, life)?;
    // Whoever is at the other end has said nothing to this life, and hears of it.
    let port = info.port("witness")?;
    ensure(!event::wait_until(port, time::deadline_in(200))?, "an event for the life before")?;
    event::send(port)?;
    event::wait(port)?;
    println!("life {life}");
    match life {
        1 => core::shutdown(7),
        2 | 5 => core::crash(life, 0, 0, 0),
        3 => Ok(core::exit(0, ExitKind::Reboot)?),
        4 => crate::crashes::cc02_vectors_on_nothing_stop_the_vm(info, scratch),
        _ => ensure_equal("lives", life, LIVES),
    }
}

/// Finds free memory empty, and fills it.
fn empty(info: &Info, scratch: &Scratch, life: u64) -> Result<(), Failure> {
    let free = scratch.free;
    memory::map_ram(info.mem("ram")?.handle, ipa(free)?, PAGES, READ_WRITE)?;
    let pages = Window::new(ipa(free)?, PAGES * 4096).ok_or("the pages lie in the image")?;
    for offset in (0..PAGES * 4096).step_by(8) {
        ensure_equal("free memory", pages.load(offset)?, 0)?;
        pages.store(offset, TRACE ^ life << 32 ^ offset)?;
    }
    Ok(())
}

/// Finds its handles in the first generation of this life, and those of the life before stale.
fn handles(info: &Info, life: u64) -> Result<(), Failure> {
    for entry in info.handles() {
        let handle = Handle::from_bits(entry.handle);
        ensure_equal("the generation of a handle", handle.generation().into(), life)?;
        if life > 1 {
            let before = Handle::new(handle.index(), handle.generation() - 1);
            let bits = u64::from(before.bits());
            refused("a handle of the life before", Call::CoreHandleInfo, &[bits], &[Code::Stale])?;
            refused("a port of the life before", Call::EvtSend, &[bits], &[Code::Stale])?;
        }
    }
    Ok(())
}

/// Answers each life of the VM behind its port once: that sends when it has begun, and fails when it was answered.
pub(crate) fn lc14_a_peer_meets_each_life_at_its_port(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let port = info.port("failing")?;
    for life in 1..=LIVES {
        event::wait(port)?;
        event::send(port)?;
        println!("met life {life}");
    }
    gone(port)
}

/// Waits until nobody is behind `port`, whatever is sent.
fn gone(port: PortHandle) -> Result<(), Failure> {
    loop {
        match event::send(port) {
            Ok(()) => vcpu::wait(time::deadline_in(1000)).map(|_| ())?,
            Err(error) if error.code() == Code::PeerGone => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn spin(number: usize) {
    loop {
        ZERO.fetch_add(number as u64, Ordering::Relaxed);
        if number == 1 {
            vcpu::yield_now();
        }
    }
}

/// Crashes in each life, with all its vCPUs busy on their cores: its manifest has enough of it.
pub(crate) fn lc11_a_crash_loop_is_ended(info: &Info, _: &Scratch) -> Result<(), Failure> {
    for (number, stack) in (1..info.header().vcpus as usize).zip(&STACKS) {
        vcpu::launch(number, stack, spin, number).map_err(|_| "a vCPU is not launched")?;
    }
    while ZERO.load(Ordering::Relaxed) < 1000 && info.header().vcpus > 1 {
        vcpu::yield_now();
    }
    let _ = peek(0x7000_0000);
    core::crash(life(info), 0, 0, 0)
}

/// Fails in each life: at once, or when it has used up what it has of the core in a period, and more.
pub(crate) fn rt06_each_life_takes_its_share_and_fails(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let life = life(info);
    let end = time::deadline_in(life % 3 * 1000);
    while time::counter() < end {}
    core::crash(life, 0, 0, 0)
}

/// The region that a failing VM has together with its peer, where both have it.
const BOTH: u64 = 0x9000_0000;
/// Where the peer maps what each life lends it, a page behind the other.
const LENT: u64 = 0xa000_0000;

fn window(address: u64, pages: u64) -> Result<Window, Failure> {
    Ok(Window::new(ipa(address)?, pages * 4096).ok_or("the window lies in the image")?)
}

fn map(address: u64, mem: u64, pages: u64) -> Result<(), Failure> {
    succeeds("MAP", Call::AsMap, &[0, address, mem, 0, pages, RW]).map(|_| ())
}

/// Fails in each life with a region mapped at its peer, which also holds memory of each life: the region is the same for the next one, its own
/// region is empty, and nothing else is the peer's.
pub(crate) fn lc02o_a_region_waits_for_its_owner(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let (life, peer) = (life(info), info.peer("holder")?.0.bits());
    let (both, port) = (window(BOTH, 1)?, info.port("holder")?);
    ensure_equal("what the peer wrote to the region", both.load(0)?, life - 1)?;
    ensure_equal("what the life before wrote to it", both.load(8)?, if life == 1 { 0 } else { TRACE ^ (life - 1) })?;
    let own = info.mem("alone")?.handle;
    map(LENT, own.0.bits().into(), 4)?;
    let alone = window(LENT, 4)?;
    for offset in (0..4 * 4096).step_by(8) {
        ensure_equal("a region of its own", alone.load(offset)?, 0)?;
        alone.store(offset, TRACE ^ life)?;
    }
    let lent = object(1)?;
    map(LENT + 0x4000, lent, 1)?;
    window(LENT + 0x4000, 1)?.store(0, TRACE ^ life)?;
    let [_, key, ..] = succeeds("OFFER", Call::ShareOffer, &[peer.into(), lent, 0, 1, RW, 0])?;
    both.store(8, TRACE ^ life)?;
    both.store(16, key)?;
    event::send(port)?;
    event::wait(port)?;
    println!("life {life}");
    if life == LIVES { Ok(()) } else { core::crash(life, 0, 0, 0) }
}

/// Keeps what each life of its peer shares with it, and the region, over the peer's ends: nothing of it changes but by who has it.
pub(crate) fn lc02p_what_a_peer_left_stays_as_it_is(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let (peer, port) = (info.peer("failing")?.0.bits(), info.port("failing")?);
    let both = window(BOTH, 1)?;
    for life in 1..=LIVES {
        event::wait(port)?;
        ensure_equal("what the peer wrote", both.load(8)?, TRACE ^ life)?;
        let [mem, ..] = succeeds("ACCEPT", Call::ShareAccept, &[peer.into(), both.load(16)?, 0])?;
        map(LENT + (life - 1) * 4096, mem, 1)?;
        let lent = window(LENT, LIVES)?;
        for before in 0..life {
            ensure_equal("what a life left", lent.load(before * 4096)?, TRACE ^ (before + 1))?;
        }
        both.store(0, life)?;
        event::send(port)?;
    }
    gone(port)?;
    ensure_equal("the region behind its owner's end", both.load(8)?, TRACE ^ LIVES)
}

/// The VMs of a ring.
const RING: [&str; 8] = ["v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7"];

/// Fails as often as it is told to, no sooner than every 4 milliseconds, so that no span of its manifest has too many restarts. Each life finds
/// its image, its region and its generation of handles, and leaves memory of its own and a port behind.
pub(crate) fn lc08_restarts_without_end_leave_nothing(info: &Info, scratch: &Scratch) -> Result<(), Failure> {
    let lives = info.option("lives").and_then(|count| count.parse().ok()).unwrap_or(100);
    let next = info.option("next").and_then(|number| RING.get(number.parse::<usize>().ok()?)).ok_or("no next one")?;
    let life = life(info);
    ensure_equal("a variable of the image", DATA.swap(life, Ordering::Relaxed), TRACE)?;
    ensure_equal("a variable without a value", ZERO.swap(life, Ordering::Relaxed), 0)?;
    let port = info.port("ring")?.0;
    ensure_equal("the generation of a handle", port.generation().into(), (life - 1) % 65_535 + 1)?;
    let both = window(BOTH, 1)?;
    if info.option("counts").is_some() {
        // When the other one fails at the same time, nobody has it, and it is zeroed.
        let found = both.load(0)?;
        ensure(found == 0 || found == life - 1, "a region with what no life has written")?;
        both.store(0, life)?;
    }
    memory::map_ram(scratch.ram, ipa(scratch.free)?, 1, READ_WRITE)?;
    let free = window(scratch.free, 1)?;
    ensure_equal("free memory", free.load(0)?, 0)?;
    free.store(0, TRACE)?;
    object(2)?;
    call(Call::EvtOffer, &[info.peer(next)?.0.bits().into()]); // to whom may be gone just now
    let _ = event::send(PortHandle(port)); // whoever is there, or not
    if life > lives {
        println!("{lives} restarts");
        return Ok(());
    }
    vcpu::wait(time::deadline_in(4200))?;
    core::crash(life, 0, 0, 0)
}
