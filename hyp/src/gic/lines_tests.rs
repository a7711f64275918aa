//! Tests of the interrupts of devices, over the frames of a GICv2 that are plain memory: a write of bits is read back as it was.

use super::*;
use crate::arch::core_base::CoreIndex;
use crate::arch::mmio::Device;
use crate::arch::region::Region;
use crate::arch::timer;
use crate::board::{BoardInfo, CoreMethod, GicInfo, UartInfo};
use crate::gic::{Done, Priority, Route};
use crate::lock::Held;
use strato_abi::Handle;
use strato_abi::event::{IRQ_PERIOD_MIN_NS, IRQ_ROUNDS_MAX};

const ME: Owner = Owner { place: 3, incarnation: 7 };
const HERE: Route = Route { core: CoreIndex::BOOT, has_share: false };
const PORT: Handle = Handle::new(5, 2);
const RTC: IntId = IntId(34);
const BIT: u32 = 1 << 2;
// Registers of the word that interrupts 32 to 63 have.
const ENABLE: usize = 0x104;
const MASK: usize = 0x184;
const PENDING: usize = 0x284;
const ACTIVE: usize = 0x384;

/// A GICv2 for 64 interrupts, and a way to look at its distributor.
fn gic() -> (Gic, impl Fn(usize) -> u32, impl Fn(usize, u32)) {
    let none = Region::new(0, 0);
    let board = BoardInfo {
        known: crate::board::find(core::iter::empty()),
        ram: heapless::Vec::new(),
        reserved: heapless::Vec::new(),
        cores: heapless::Vec::from_slice(&[0, 1]).unwrap(),
        cores_left_out: 0,
        method: CoreMethod::None,
        gic: GicInfo::V2 { distributor: none, cpu: none },
        uart: UartInfo { registers: none, intid: 33 },
        clock: None,
        gpio: None,
        firmware: heapless::String::new(),
    };
    let (distributor, interface) = (Device::simulated(0x1000), Device::simulated(0x2000));
    let base = distributor.address();
    crate::arch::mmio::poke(base + 4, 1);
    crate::arch::mmio::poke(base + 0x800, 0x0101_0101);
    let gic = Gic::new(&board, distributor, interface).unwrap();
    gic.init_core(CoreIndex::BOOT).unwrap();
    (gic, move |at| crate::arch::mmio::peek(base + at), move |at, value| crate::arch::mmio::poke(base + at, value))
}

fn claimed(is_edge: bool) -> (Lines, Gic, impl Fn(usize) -> u32, impl Fn(usize, u32)) {
    let (gic, read, write) = gic();
    let lines = Lines::new();
    assert_eq!(lines.claim(RTC, is_edge, ME, &gic, &mut Held::mint()), Ok(0));
    // What the set-up wrote is forgotten: bits that are written are not kept by a controller.
    for at in [ENABLE, MASK, PENDING, ACTIVE] {
        write(at, 0);
    }
    (lines, gic, read, write)
}

fn state(lines: &Lines) -> crate::lock::Guard<'_, LineState> {
    lines.get(0).unwrap().try_lock().unwrap()
}

#[test]
fn an_interrupt_comes_once_for_each_time_its_driver_is_done() {
    let (lines, gic, read, write) = claimed(false);
    let mut line = state(&lines);
    assert_eq!(line.done(&gic), Done::Idle, "not bound");
    line.bind(&gic, PORT, HERE);
    assert_eq!((read(ENABLE), read(ACTIVE), read(0x820) >> 16 & 0xff), (BIT, BIT, 1));
    assert_eq!(line.done(&gic), Done::Idle, "not come");
    write(ACTIVE, 0);
    assert_eq!(line.come(&gic, |owner, port| (owner, port) == (ME, PORT)), Some((ME, PORT)));
    assert_eq!(read(ACTIVE), 0, "it stays active");
    assert_eq!(line.come(&gic, |_, _| true), None, "and does not come again");
    write(PENDING, 0);
    assert_eq!(line.done(&gic), Done::Open);
    assert_eq!(read(ACTIVE), BIT, "deactivated");
    assert_eq!(line.done(&gic), Done::Idle);
}

#[test]
fn an_interrupt_whose_port_is_closed_is_masked_when_it_comes() {
    let (lines, gic, read, _) = claimed(false);
    let mut line = state(&lines);
    line.bind(&gic, PORT, HERE);
    assert_eq!(line.come(&gic, |_, _| false), None);
    assert_eq!((read(MASK), read(ACTIVE), line.port()), (BIT, BIT, None));
    assert_eq!(line.come(&gic, |_, _| unreachable!("nobody is asked")), None);
}

#[test]
fn a_line_that_does_not_fall_is_masked_after_so_many_rounds_and_no_sooner() {
    let (lines, gic, read, write) = claimed(false);
    let mut line = state(&lines);
    line.bind(&gic, PORT, HERE);
    let round = |line: &mut LineState, pending: u32| {
        assert!(line.come(&gic, |_, _| true).is_some());
        write(PENDING, pending);
        line.done(&gic)
    };
    for _ in 1..IRQ_ROUNDS_MAX {
        assert_eq!(round(&mut line, BIT), Done::Open);
    }
    assert_eq!(round(&mut line, 0), Done::Open, "it fell");
    for _ in 1..IRQ_ROUNDS_MAX {
        assert_eq!(round(&mut line, BIT), Done::Open);
    }
    assert_eq!(read(MASK), 0);
    assert_eq!(round(&mut line, BIT), Done::Stuck(true));
    assert_eq!(read(MASK), BIT);
    assert_eq!((line.done(&gic), line.come(&gic, |_, _| true)), (Done::Stuck(false), None));
    line.bind(&gic, PORT, HERE);
    assert_eq!(round(&mut line, BIT), Done::Open, "bound again it begins anew");
}

#[test]
fn edges_are_not_counted_and_another_trigger_is_set() {
    let (lines, gic, read, write) = claimed(true);
    assert_eq!(read(0xc08), 2 << 4);
    let mut line = state(&lines);
    line.bind(&gic, PORT, HERE);
    for _ in 0..=IRQ_ROUNDS_MAX {
        assert!(line.come(&gic, |_, _| true).is_some());
        write(PENDING, BIT);
        assert_eq!(line.done(&gic), Done::Open);
    }
}

#[test]
fn it_waits_for_reserved_time_unless_its_vm_has_a_share_and_it_does_not_come_too_often() {
    let (lines, gic, read, _) = claimed(false);
    let mut line = state(&lines);
    let shared = Route { has_share: true, ..HERE };
    let period = timer::frequency() * IRQ_PERIOD_MIN_NS / 1_000_000_000;
    let come = |line: &mut LineState, after: u64| {
        timer::set_now(timer::now() + after);
        assert!(line.come(&gic, |_, _| true).is_some());
        assert_eq!(line.done(&gic), Done::Open);
    };
    let is = |line: &LineState, priority: Priority| {
        assert_eq!((line.priority(), read(0x420) >> 16 & 0xff), (priority, priority as u32));
    };
    line.bind(&gic, PORT, HERE);
    is(&line, Priority::Low);
    come(&mut line, 10 * period);
    is(&line, Priority::Low);
    line.reroute(&gic, shared);
    is(&line, Priority::Usual);
    for (after, priority) in [
        (period, Priority::Usual),
        (period - 1, Priority::Low),
        (period - 1, Priority::Low),
        (period, Priority::Usual),
        (0, Priority::Low),
    ] {
        come(&mut line, after);
        is(&line, priority);
    }
    line.close(&gic);
    line.bind(&gic, PORT, shared);
    is(&line, Priority::Low); // to bind it anew is no way around
    come(&mut line, period);
    is(&line, Priority::Usual);
    assert_eq!(line.come(&gic, |_, _| false), None);
    line.bind(&gic, PORT, shared);
    is(&line, Priority::Low); // nor is a port that is closed as it comes
    come(&mut line, period);
    is(&line, Priority::Usual);
    line.reroute(&gic, HERE);
    is(&line, Priority::Low);
}

#[test]
fn what_is_active_stays_so_when_it_is_bound_again() {
    let (lines, gic, read, write) = claimed(false);
    let mut line = state(&lines);
    line.bind(&gic, PORT, HERE);
    assert!(line.come(&gic, |_, _| true).is_some());
    write(ACTIVE, 0);
    line.bind(&gic, Handle::new(6, 1), HERE);
    assert_eq!((read(ACTIVE), line.port()), (0, Some(Handle::new(6, 1))));
    write(PENDING, 0);
    assert_eq!(line.done(&gic), Done::Open);
}

#[test]
fn an_interrupt_of_a_vm_that_ended_is_clean_for_the_next() {
    let (lines, gic, read, write) = claimed(false);
    let next = Owner { place: 4, incarnation: 1 };
    assert_eq!(lines.claim(RTC, false, next, &gic, &mut Held::mint()), Err(ClaimError::Taken));
    let mut line = state(&lines);
    line.bind(&gic, PORT, HERE);
    assert!(line.come(&gic, |_, _| true).is_some());
    for at in [MASK, PENDING, ACTIVE] {
        write(at, 0);
    }
    assert!(!line.release(&gic));
    assert_eq!((read(MASK), read(PENDING), read(ACTIVE)), (BIT, BIT, BIT));
    assert_eq!((line.owner(), line.port()), (None, None));
    assert_eq!(line.come(&gic, |_, _| true), None, "a core acknowledged it just then");
    drop(line);
    assert_eq!(lines.claim(RTC, true, next, &gic, &mut Held::mint()), Ok(0));
    assert_eq!(state(&lines).done(&gic), Done::Idle);
}

#[test]
fn the_hypervisors_and_unknown_interrupts_are_not_given_and_the_table_ends() {
    let (gic, _, write) = gic();
    let lines = Lines::new();
    assert_eq!(lines.claim(IntId(33), false, ME, &gic, &mut Held::mint()), Err(ClaimError::Kept));
    assert_eq!(lines.claim(IntId(64), false, ME, &gic, &mut Held::mint()), Err(ClaimError::Unknown));
    assert_eq!((lines.find(IntId(64)), lines.iter().count()), (None, 0));
    write(4, 7); // 256 interrupts
    for n in 0..u32::try_from(LINES_MAX).unwrap() {
        assert_eq!(lines.claim(IntId(100 + n), false, ME, &gic, &mut Held::mint()).map(u32::from), Ok(n));
    }
    assert_eq!(lines.claim(IntId(200), false, ME, &gic, &mut Held::mint()), Err(ClaimError::Full));
    assert_eq!(lines.find(IntId(131)), Some(31));
}
