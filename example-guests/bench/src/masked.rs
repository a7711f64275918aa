//! The longest of the other calls, and of what traps: each with the worst arguments that reading the hypervisor gave. Memory calls are
//! in `longest.rs` and `lending.rs`.

use strato_guest::abi::addr::PAGE_SIZE;
use strato_guest::abi::event::DeliveryMode;
use strato_guest::abi::limit::LimitKey;
use strato_guest::abi::time::{ClockKind, TIMERS_PER_VM};
use strato_guest::abi::vcpu::YieldHint;
use strato_guest::abi::{Group, Handle, Ipa, PeerHandle, PortHandle, Regs};
use strato_guest::conduit::Conduit;
use strato_guest::console::via as console;
use strato_guest::event::via as event;
use strato_guest::memory::Window;
use strato_guest::time::via as timers;
use strato_guest::vcpu::via as vcpu;
use strato_guest::{Failure, Hvc, core, time, upcall};

use crate::meter::Meter;

/// PSCI_VERSION, SMCCC_VERSION, SMCCC_ARCH_FEATURES, PV_TIME_FEATURES and a function that nobody has.
const SERVICES: [u32; 5] = [0x8400_0000, 0x8000_0000, 0x8000_0001, 0xc500_0020, 0x8400_ffff];
/// An address at which nothing is.
const NOWHERE: Ipa = Ipa::new(0x9000_0000).unwrap();
const TIMERS: usize = 32;
const _: () = assert!(TIMERS as u64 == TIMERS_PER_VM);

/// Makes every call of the other groups that comes back at once.
pub(crate) fn run(meter: &Meter, peer: PeerHandle) -> Result<(), Failure> {
    meter.case("by itself");
    core::via::nop(meter)?;
    core::via::info(meter)?;
    for group in Group::ALL {
        core::via::group(meter, *group as u64)?;
    }
    for key in LimitKey::ALL {
        core::via::limit(meter, *key)?;
    }
    vcpu::state(meter, 0)?;
    vcpu::kick(meter, 1)?;
    vcpu::watchdog(meter, 1 << 40)?;
    vcpu::watchdog(meter, 0)?;
    meter.case("of a deadline that has passed");
    vcpu::wait(meter, 1)?;
    vcpu::wait(meter, 1)?;
    text(meter)?;
    ports(meter, peer)?;
    due(meter)?;
    traps(meter)
}

/// The most text that a call takes: of one line, of many, and of bytes that are no text.
fn text(meter: &Meter) -> Result<(), Failure> {
    let characters = [[0xf0, 0x9f, 0xa6, 0x80]; 28];
    let none = [[0xf0, 0x80, 0x80, 0x80]; 28];
    for (case, bytes) in [
        ("112 bytes of one line", &[b'x'; 112][..]),
        ("112 empty lines", &[b'\n'; 112]),
        ("112 bytes that are no text", &[0xff; 112]),
        ("112 controls", &[0x1b; 112]),
        ("112 bytes that begin characters", &[0xf0; 112]),
        ("28 characters of four bytes", characters.as_flattened()),
        ("112 bytes that are almost characters", none.as_flattened()),
    ] {
        meter.case(case);
        for _ in 0..3 {
            console::write(meter, bytes)?;
        }
    }
    console::write(meter, b"\n")?;
    meter.case("by itself");
    let _ = console::read(meter); // one VM has the keyboard
    settle();
    Ok(())
}

/// Waits until the console has sent what was printed, whose interrupts would be counted too.
fn settle() {
    let _ = strato_guest::vcpu::wait(time::deadline_in(3_000_000));
}

/// Ports, of a table that is full of them.
fn ports(meter: &Meter, peer: PeerHandle) -> Result<(), Failure> {
    meter.case("a table of 1,024, full of ports");
    let own = event::own_port(meter)?;
    let mut last = own;
    while let Ok(port) = event::own_port(meter) {
        last = port;
    }
    let _ = event::offer(meter, peer);
    let _ = event::connect(meter, peer, 5);
    for port in [own, last] {
        event::send(meter, port)?;
        event::send(meter, port)?;
        event::recheck(meter, port)?;
        event::bind_vcpu(meter, port, 0)?;
    }
    event::mode(meter, 0, DeliveryMode::Upcall)?;
    event::mode(meter, 0, DeliveryMode::Poll)?;
    event::ack(meter)?;
    meter.case("to itself");
    vcpu::signal_wait(meter, own, 1)?;
    vcpu::yield_to(meter, YieldHint::Vcpu, 0)?;
    meter.case("a table of 1,024, full of ports");
    for index in 0..1024 {
        // Whatever generation a port has: the first two of each.
        for generation in 1..3 {
            let _ = event::close(meter, PortHandle(Handle::new(index, generation)));
        }
    }
    // One more, while all that were closed rest.
    let _ = event::own_port(meter);
    Ok(())
}

/// All timers of a VM at one tick, told by upcalls.
fn due(meter: &Meter) -> Result<(), Failure> {
    let mut ports = [PortHandle(Handle::from_bits(0)); TIMERS];
    for port in &mut ports {
        *port = loop {
            // A port that was closed can be used once every core has left its guest.
            match strato_guest::event::own_port() {
                Ok(port) => break port,
                Err(_) => strato_guest::vcpu::yield_now(),
            }
        };
    }
    upcall::set_handler(|_| {});
    for (case, is_told) in [("the interrupt of 32 timers", false), ("the interrupts of 32 timers, with upcalls", true)]
    {
        meter.case("32 timers");
        let at = time::counter() + 100_000;
        for port in ports {
            timers::timer_set(meter, port, at, 0, 0)?;
        }
        if is_told {
            upcall::enable()?;
        }
        meter.gap(case, at + 100_000);
        settle();
        if is_told {
            upcall::disable()?;
        }
        timers::timer_cancel(meter, ports[TIMERS - 1])?;
    }
    timers::clock(meter, ClockKind::Monotonic)?;
    timers::clock(meter, ClockKind::Run)?;
    let _ = timers::clock(meter, ClockKind::Wall);
    timers::local(meter, Some(ports[0]))?;
    timers::local(meter, None)?;
    Ok(())
}

/// What traps without a call of the ABI.
fn traps(meter: &Meter) -> Result<(), Failure> {
    for id in SERVICES {
        meter.trap("a standard service", || {
            let _ = Hvc.call(id, Regs::default());
        });
        settle();
    }
    // Its event is there, so that it goes on at once.
    let port = strato_guest::event::own_port()?;
    strato_guest::event::send(port)?;
    meter.trap("WFI with an event", strato_guest::vcpu::wfi);
    settle();
    let nowhere = Window::new(NOWHERE, PAGE_SIZE).ok_or("no room")?;
    meter.trap("a load that is refused, and its delivery", || {
        let _ = nowhere.load(0);
    });
    settle();
    Ok(())
}

/// How long the core is kept at most while the VM at the far end of `port` is given back, which takes turns with this one.
pub(crate) fn end_of_vm(meter: &Meter, port: PortHandle) {
    while strato_guest::event::send(port).is_ok() {
        strato_guest::vcpu::yield_now();
    }
    meter.gap("the end of a VM", time::counter() + 1_000_000_000);
}
