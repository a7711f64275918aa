//! EV: events. Ports that are not the attacker's, a scribbled event area, every number, old events of a reused number.

use strato_guest::abi::{Call, Code, PeerHandle};
use strato_guest::event::Offer;
use strato_guest::memory::Window;
use strato_guest::{Error, Failure, Info, ensure, ensure_equal, event, println, time, vcpu};

use crate::raw::{call, refused, succeeds};
use crate::scratch::{Scratch, ipa};

const AREA: u64 = 0x3fe2_0000;
const REFUSED: [Code; 3] = [Code::BadHandle, Code::Stale, Code::WrongKind];
const PAGE: u64 = 4096;

/// Offers a port. Numbers of closed ports rest until every core has seen that they are closed: AGAIN says so.
fn offer(peer: PeerHandle) -> Result<Offer, Error> {
    loop {
        match event::offer(peer) {
            Err(error) if error.code() == Code::Again => vcpu::yield_now(),
            other => return other,
        }
    }
}

fn area() -> Result<Window, Failure> {
    Window::new(ipa(AREA)?, PAGE).ok_or(Failure::Because("the event area lies in the image"))
}

/// Ports that do not exist, are closed, lead nowhere, and vCPUs that do not exist.
pub(crate) fn ev01_sends_to_nowhere_are_refused(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let offer = event::offer(info.peer("victim")?)?;
    let port = u64::from(offer.port.0.bits());
    refused("SEND to an offer", Call::EvtSend, &[port], &[Code::State])?;
    refused("SIGNAL_WAIT on an offer", Call::VcpuSignalWait, &[port, 0], &[Code::State])?;
    for vcpu in [info.vcpus() as u64, 8, 255, 1 << 31, u64::MAX] {
        refused("BIND_VCPU", Call::EvtBindVcpu, &[port, vcpu], &[Code::Invalid])?;
        refused("MODE", Call::EvtMode, &[vcpu, 0], &[Code::Invalid])?;
    }
    refused("an unknown mode", Call::EvtMode, &[0, 2], &[Code::Invalid])?;
    event::close(offer.port)?;
    for which in [Call::EvtSend, Call::EvtUnmask, Call::EvtClose] {
        refused("a closed port", which, &[port], &[Code::Stale])?;
    }
    for bits in [0_u64, 1023, 1024, 1025, 0xffff, 0x1_0000, 0x1_ffff, 0xffff_0000, 0xffff_ffff] {
        refused("SEND", Call::EvtSend, &[bits], &REFUSED)?;
    }
    let peer = u64::from(info.peer("victim")?.0.bits());
    for key in [0, 1, offer.key, offer.key ^ 1, u64::MAX] {
        refused("CONNECT by a guess", Call::EvtConnect, &[peer, key], &[Code::Invalid])?;
    }
    Ok(())
}

/// A scribbled event area: the attacker loses its own events, and nothing else happens.
pub(crate) fn ev04_a_scribbled_area_harms_its_owner_alone(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let area = area()?;
    let port = info.port("victim")?;
    for value in [u64::MAX, 0x5555_5555_5555_5555, 0, 1 << 63, u64::MAX] {
        for offset in (0..PAGE).step_by(8) {
            area.store(offset, value)?;
        }
        event::send(port)?;
        for number in 0..64 {
            // Whatever port the entry is, a look at it does not depend on what stands in the area.
            let _ = call(Call::EvtUnmask, &[number | 1 << 16]);
        }
        let _ = vcpu::wait(time::deadline_in(200))?;
        let _ = event::ack()?;
        succeeds("MODE", Call::EvtMode, &[0, 1])?;
        succeeds("MODE back", Call::EvtMode, &[0, 0])?;
    }
    for offset in (0..PAGE).step_by(8) {
        area.store(offset, 0)?;
    }
    ensure_equal("the selector of a cleared area", event::ack()? & !0xffff, 0)?;
    Ok(())
}

/// Every port that the handle table has room for, offered at once: each has its bit, the next one is refused, all close.
pub(crate) fn ev05_every_port_number_works_once(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let peer = info.peer("victim")?;
    let mut count = 0;
    let mut ports = [0_u32; 1100];
    loop {
        match offer(peer) {
            Ok(fresh) => {
                let slot = ports.get_mut(count).ok_or("the handle table has no end")?;
                *slot = fresh.port.0.bits();
                count += 1;
            }
            Err(error) => {
                ensure(error.code() == Code::Full, "the table's end is not FULL")?;
                break;
            }
        }
    }
    println!("{count} ports are open");
    ensure(count > 900, "a table of 1024 has no room for 900 ports")?;
    let open = ports.get(..count).unwrap_or(&[]);
    for &port in open {
        refused("SEND", Call::EvtSend, &[u64::from(port)], &[Code::State])?;
        succeeds("BIND_VCPU", Call::EvtBindVcpu, &[u64::from(port), 0])?;
        let [pending, ..] = succeeds("UNMASK", Call::EvtUnmask, &[u64::from(port)])?;
        ensure_equal("pending of a fresh port", pending, 0)?;
    }
    // Its own bits, set by itself at each word's boundary: UNMASK must see exactly those.
    let area = area()?;
    for &port in open {
        let number = u64::from(port & 0xffff);
        if matches!(number % 64, 0 | 1 | 63) {
            area.store(number / 64 * 8, 1 << (number % 64))?;
            let [pending, ..] = succeeds("UNMASK", Call::EvtUnmask, &[u64::from(port)])?;
            ensure_equal("pending of its own bit", pending, 1)?;
            // The victim raises the first word all the time.
            let selector = event::ack()?;
            ensure_equal("the selector", selector & !1 | 1, 1 << (number / 64) | 1)?;
            area.store(number / 64 * 8, 0)?;
        }
    }
    for &port in open {
        succeeds("CLOSE", Call::EvtClose, &[u64::from(port)])?;
    }
    for &port in open {
        refused("a closed port", Call::EvtSend, &[u64::from(port)], &[Code::Stale])?;
    }
    let fresh = offer(peer)?;
    event::close(fresh.port).map_err(Into::into)
}

/// A number that is used again shows nothing of its last port, and its old handle opens nothing.
pub(crate) fn ev07_a_reused_number_has_no_old_events(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let peer = info.peer("victim")?;
    let area = area()?;
    let mut old = 0;
    for round in 0..500 {
        let fresh = offer(peer)?;
        let bits = u64::from(fresh.port.0.bits());
        let number = bits & 0xffff;
        let [pending, ..] = succeeds("UNMASK", Call::EvtUnmask, &[bits])?;
        ensure_equal("pending of a fresh port", pending, 0)?;
        if round > 0 {
            refused("the port before", Call::EvtSend, &[old], &REFUSED)?;
        }
        // A hostile guest leaves its bit set and its port masked when it closes.
        area.store(number / 64 * 8, u64::MAX)?;
        area.store(128 + number / 64 * 8, u64::MAX)?;
        event::close(fresh.port)?;
        old = bits;
    }
    for offset in (0..272).step_by(8) {
        area.store(offset, 0)?;
    }
    Ok(())
}

/// Sends of this case.
const SENDS: u64 = 1000;

/// Two VMs: n sends are at least one and at most n deliveries, masked ones included; then the end is told.
pub(crate) fn ev12_many_sends_are_at_least_one_event(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let other = info.port("other")?;
    if info.option("side") == Some("left") {
        for _ in 0..SENDS {
            event::send(other)?;
        }
        return Ok(());
    }
    event::mask(other);
    let mut count = 0;
    loop {
        let is_gone = event::send(other).is_err_and(|error| error.code() == Code::PeerGone);
        // The other one has sent everything before it went: what is masked is found by unmasking.
        if event::unmask(other)? {
            ensure(event::wait_until(other, 0)?, "the event of a masked port is gone")?;
            count += 1;
        }
        event::mask(other);
        if is_gone {
            break;
        }
        let _ = vcpu::wait(time::deadline_in(300))?;
    }
    ensure((1..=SENDS).contains(&count), "events were lost, or delivered twice")
}
