//! EV03, EV06, EV08, EV10, EV13: ports that come, move and go while siblings on other cores send to them.

use ::core::sync::atomic::{AtomicU64, Ordering};

use strato_guest::abi::vcpu::{NO_DEADLINE, RunState};
use strato_guest::abi::{Call, Code, Handle, PortHandle};
use strato_guest::event_area::EventCells;
use strato_guest::{Error, Failure, Info, ensure, ensure_equal, event, vcpu};

use crate::crew::STACKS;
use crate::raw::{call, refused, succeeds};
use crate::scratch::Scratch;

/// The handle that siblings use; [`OVER`] ends them. What they did, and what was answered that cannot be.
static PUBLISHED: AtomicU64 = AtomicU64::new(0);
static SENT: AtomicU64 = AtomicU64::new(0);
static STRANGE: AtomicU64 = AtomicU64::new(0);
const OVER: u64 = u64::MAX;
const ROUNDS: u64 = 600;

/// A port that raises itself. Numbers of closed ports rest until every core has seen that they are closed: AGAIN says so.
fn own_port() -> Result<PortHandle, Failure> {
    loop {
        match event::own_port() {
            Err(error) if error.code() == Code::Again => vcpu::yield_now(),
            other => return Ok(other?),
        }
    }
}

fn bits(port: PortHandle) -> u64 {
    port.0.bits().into()
}

/// Sends once by each handle that is published, and then by it again and again until there is another one: the port may be
/// closed by then.
fn send_at_once(_: usize) {
    let mut last = 0;
    loop {
        let port = PUBLISHED.load(Ordering::Acquire);
        if port == OVER {
            return;
        }
        if port == 0 {
            vcpu::yield_now();
            continue;
        }
        let status = call(Call::EvtSend, &[port]).0;
        judge(status, port == last);
        if port != last {
            last = port;
            SENT.store(port, Ordering::Release);
        }
    }
}

/// Keeps an answer that cannot be. What is closed at this moment, which `may_close` says, is STALE, or has lost its other end.
fn judge(status: i64, may_close: bool) {
    let is_closed = [Code::Stale as i64, Code::PeerGone as i64].contains(&status);
    if status != 0 && !(may_close && is_closed) {
        STRANGE.store(status.cast_unsigned(), Ordering::Release);
    }
}

/// Launches a sibling, once in the life of its stack.
fn launch(number: usize, body: fn(usize)) -> Result<(), Failure> {
    if let Some(stack) = STACKS.get(number - 1) {
        vcpu::launch(number, stack, body, number)?;
    }
    Ok(())
}

fn join(count: u64) -> Result<(), Failure> {
    for number in 1..=count {
        while vcpu::state(number)? != Some(RunState::Off) {
            vcpu::yield_now();
        }
    }
    ensure_equal("an answer that cannot be", STRANGE.load(Ordering::Acquire), 0)?;
    Ok(())
}

/// A port is made here and sent to on another core in the same moment, and closed while that goes on: its event comes, and none
/// of it is in the next port of its number.
pub(crate) fn ev10_a_fresh_port_is_whole_on_every_core(_: &Info, _: &Scratch) -> Result<(), Failure> {
    launch(1, send_at_once)?;
    for _ in 0..ROUNDS {
        let port = own_port()?;
        let (index, cells) = (port.0.index(), EventCells::of_this_vcpu());
        ensure(!cells.is_pending(index), "a fresh port has an old event")?;
        PUBLISHED.store(bits(port), Ordering::Release);
        event::wait(port)?;
        while SENT.load(Ordering::Acquire) != bits(port) {
            vcpu::yield_now();
        }
        event::close(port)?;
        refused("SEND to a closed port", Call::EvtSend, &[bits(port)], &[Code::Stale])?;
    }
    PUBLISHED.store(OVER, Ordering::Release);
    join(1)
}

/// Binds the port to one vCPU and the other, again and again.
fn bind(_: usize) {
    for turn in 0_u64.. {
        let port = PUBLISHED.load(Ordering::Acquire);
        if port == OVER {
            return;
        }
        if port != 0 {
            let status = call(Call::EvtBindVcpu, &[port, turn & 1]).0;
            judge(status, true);
        }
    }
}

/// Sends and counts whatever is published.
fn send_on(_: usize) {
    loop {
        let port = PUBLISHED.load(Ordering::Acquire);
        if port == OVER {
            return;
        }
        if port != 0 {
            let status = call(Call::EvtSend, &[port]).0;
            judge(status, true);
            SENT.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// A port is closed and made anew while one sibling sends to it and another one moves it between vCPUs.
pub(crate) fn ev08_a_port_closes_while_others_send_and_bind(_: &Info, _: &Scratch) -> Result<(), Failure> {
    SENT.store(0, Ordering::Release);
    launch(1, send_on)?;
    launch(2, bind)?;
    for _ in 0..ROUNDS {
        let port = own_port()?;
        PUBLISHED.store(bits(port), Ordering::Release);
        let before = SENT.load(Ordering::Acquire);
        while SENT.load(Ordering::Acquire) == before {
            vcpu::yield_now();
        }
        event::close(port)?;
        refused("SEND to a closed port", Call::EvtSend, &[bits(port)], &[Code::Stale])?;
        refused("BIND of a closed port", Call::EvtBindVcpu, &[bits(port), 1], &[Code::Stale])?;
    }
    PUBLISHED.store(OVER, Ordering::Release);
    join(2)?;
    // What is left is in order: a port of now works.
    let port = own_port()?;
    event::send(port)?;
    event::wait(port)?;
    Ok(event::close(port)?)
}

/// Masks, looks and closes by the numbers that the far ends of one's own ports have, and by handles of the same number: nothing of
/// another VM's can be named.
pub(crate) fn ev03_ports_of_others_have_no_name(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let own = |guess: u64| info.handles().any(|handle| u64::from(handle.handle) == guess);
    const NAMES_NOTHING: [Code; 3] = [Code::BadHandle, Code::Stale, Code::WrongKind];
    for index in 0..64 {
        for generation in [0, 2, 3, 0xffff] {
            let guess = index | generation << 16;
            if own(guess) {
                continue;
            }
            for which in [Call::EvtUnmask, Call::EvtClose, Call::EvtSend] {
                refused("a guessed port", which, &[guess], &NAMES_NOTHING)?;
            }
            refused("BIND of a guessed port", Call::EvtBindVcpu, &[guess, 0], &NAMES_NOTHING)?;
        }
    }
    // The masks of one's own area are one's own: the victim's beat comes whatever is masked here.
    for index in 0..64 {
        EventCells::of_this_vcpu().mask(index);
    }
    event::send(info.port("victim")?)?;
    for index in 0..64 {
        EventCells::of_this_vcpu().clear_mask(index);
    }
    let _ = event::ack()?;
    Ok(())
}

/// No room for another port: the call is refused, and all ports that are there stay as they are.
pub(crate) fn ev06_a_full_table_undoes_nothing(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let peer = info.peer("victim")?;
    let mut ports = [0_u32; 1024];
    let mut last = None::<Error>;
    for slot in &mut ports {
        match event::own_port() {
            Ok(port) => *slot = port.0.bits(),
            Err(error) if error.code() == Code::Again => vcpu::yield_now(),
            Err(error) => {
                last = Some(error);
                break;
            }
        }
    }
    ensure(last.is_some_and(|error| error.code() == Code::Full), "a full table is not FULL")?;
    for _ in 0..10 {
        let full = event::offer(peer).is_err_and(|error| error.code() == Code::Full);
        ensure(full, "OFFER with a full table")?;
        let peer = u64::from(peer.0.bits());
        refused("CONNECT with a full table", Call::EvtConnect, &[peer, 1], &[Code::Full, Code::Invalid])?;
    }
    for port in ports.into_iter().filter(|&bits| bits != 0).map(|bits| PortHandle(Handle::from_bits(bits))) {
        event::send(port)?;
        event::wait(port)?;
        event::close(port)?;
    }
    event::send(info.port("victim")?).map_err(Into::into)
}

/// Waits for the published port, and says so.
fn wait_once(number: usize) {
    let index = PUBLISHED.load(Ordering::Acquire) as u16;
    let cells = EventCells::of_this_vcpu();
    while !cells.take(index) {
        if vcpu::wait(NO_DEADLINE).is_err() {
            STRANGE.fetch_add(1, Ordering::AcqRel);
            return;
        }
    }
    SENT.store(number as u64, Ordering::Release);
}

/// Events for a vCPU that is off stay, and are there when it starts; one that blocks wakes by them.
pub(crate) fn ev13_events_wait_for_a_vcpu_that_is_off(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let port = own_port()?;
    event::bind_vcpu(port, 1)?;
    for _ in 0..3 {
        event::send(port)?;
    }
    ensure(vcpu::state(1)? == Some(RunState::Off), "an event started a vCPU")?;
    PUBLISHED.store(bits(port), Ordering::Release);
    launch(1, wait_once)?;
    join(1)?;
    ensure_equal("the vCPU that had the event", SENT.load(Ordering::Acquire), 1)?;
    launch(2, wait_once)?;
    event::bind_vcpu(port, 2)?;
    while vcpu::state(2)? != Some(RunState::Blocked) {
        vcpu::yield_now();
    }
    event::send(port)?;
    join(2)?;
    ensure_equal("the vCPU that had the event", SENT.load(Ordering::Acquire), 2)?;
    succeeds("SEND to one that is off again", Call::EvtSend, &[bits(port)])?;
    ensure(vcpu::state(2)? == Some(RunState::Off), "an event started a vCPU")?;
    event::close(port)?;
    event::send(info.port("victim")?).map_err(Into::into)
}
