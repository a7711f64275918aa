//! Tests of the interrupt controller over frames that are plain memory: what is written can be read back.

use super::*;
use crate::arch::region::Region;
use crate::board::{CoreMethod, UartInfo};

fn board(gic: GicInfo) -> BoardInfo {
    BoardInfo {
        known: crate::board::find([b"linux,dummy-virt".as_slice()].into_iter()),
        ram: heapless::Vec::new(),
        reserved: heapless::Vec::new(),
        cores: heapless::Vec::from_slice(&[0, 1]).unwrap(),
        cores_left_out: 0,
        method: CoreMethod::PsciSmc,
        gic,
        uart: UartInfo { registers: Region::new(0x0900_0000, 0x1000), intid: 33 },
        clock: None,
        gpio: None,
        firmware: heapless::String::new(),
    }
}

fn v2(distributor: Device, interface: Device) -> Result<Gic, GicError> {
    let none = Region::new(0, 0);
    Gic::new(&board(GicInfo::V2 { distributor: none, cpu: none }), distributor, interface)
}

/// Frames of a GICv2 as memory, and a way to look at them while the driver owns them.
fn frames() -> (Device, Device, impl Fn(usize) -> u32, impl Fn(usize, u32)) {
    let (distributor, interface) = (Device::simulated(0x1000), Device::simulated(0x2000));
    let (d, i) = (distributor.address(), interface.address());
    // Offsets from 0x10000 on are those of the interface.
    let place = move |offset: usize| if offset >= 0x10000 { i + offset - 0x10000 } else { d + offset };
    let read = move |offset| crate::arch::mmio::peek(place(offset));
    let write = move |offset, value| crate::arch::mmio::poke(place(offset), value);
    (distributor, interface, read, write)
}

#[test]
fn numbers_are_told_apart() {
    let (distributor, interface, ..) = frames();
    let gic = v2(distributor, interface).unwrap();
    assert_eq!(gic.classify(0), Irq::Sgi(0));
    assert_eq!(gic.classify(15), Irq::Sgi(15));
    assert_eq!(gic.classify(3 << 10 | 15), Irq::Sgi(15));
    assert_eq!(gic.classify(26), Irq::HypTimer);
    assert_eq!(gic.classify(27), Irq::VirtualTimer);
    assert_eq!(gic.classify(28), Irq::Other(IntId(28)));
    assert_eq!(gic.classify(33), Irq::Uart);
    assert_eq!(gic.classify(34), Irq::Other(IntId(34)));
    for special in [1020, 1021, 1022, 1023] {
        assert_eq!(gic.classify(special), Irq::Spurious);
    }
}

#[test]
fn a_number_below_32_or_from_1020_on_is_no_shared_interrupt() {
    assert_eq!(IntId::shared(31), None);
    assert_eq!(IntId::shared(32).map(IntId::number), Some(32));
    assert_eq!(IntId::shared(1020), None);
}

#[test]
fn version_2_starts_with_every_shared_interrupt_off() {
    let (distributor, interface, read, write) = frames();
    write(0x004, 2); // 96 interrupts
    let gic = v2(distributor, interface).unwrap();
    assert_eq!(gic.version(), 2);
    for word in 1..3 {
        for register in [0x180, 0x280, 0x380] {
            assert_eq!(read(register + 4 * word), u32::MAX);
        }
    }
    assert_eq!((read(0x18c), read(0x180)), (0, 0));
    assert_eq!((read(0x420), read(0x45c), read(0x460)), (0x8080_8080, 0x8080_8080, 0));
    assert_eq!(read(0x000), 1);
}

#[test]
fn version_2_gives_the_sender_of_an_sgi_back_when_it_ends() {
    let (distributor, interface, read, write) = frames();
    let gic = v2(distributor, interface).unwrap();
    write(0x800, 0x0202_0202);
    write(0x100d0, 1);
    write(0x100dc, 1);
    gic.init_core(CoreIndex::BOOT).unwrap();
    assert_eq!((read(0x100d0), read(0x100dc)), (0, 0), "no priority is left active");
    assert_eq!(read(0x10000), 1 << 9 | 1);
    assert_eq!(read(0x100), 1 << 27 | 1 << 26 | 0xffff);
    write(0x1000c, 1 << 10);
    let (irq, token) = gic.acknowledge();
    assert_eq!(irq, Irq::Sgi(0));
    gic.end(token);
    assert_eq!((read(0x10010), read(0x11000)), (1 << 10, 1 << 10));
    write(0x1000c, 2 << 10 | 3);
    assert!(gic.take_sgi(3).is_ok());
    assert_eq!((read(0x10010), read(0x11000)), (2 << 10 | 3, 2 << 10 | 3));
}

#[test]
fn an_interrupt_that_is_not_the_wanted_sgi_is_left_to_be_ended() {
    let (distributor, interface, read, write) = frames();
    let gic = v2(distributor, interface).unwrap();
    for other in [1023, 33, 1 << 10 | 3] {
        write(0x1000c, other);
        let token = gic.take_sgi(0).unwrap_err();
        assert_eq!(gic.irq(&token), gic.classify(other));
        assert_eq!((read(0x10010), read(0x11000)), (0, 0));
    }
}

#[test]
fn version_2_never_ends_a_spurious_interrupt() {
    let (distributor, interface, read, write) = frames();
    let gic = v2(distributor, interface).unwrap();
    write(0x1000c, 1023);
    let (irq, token) = gic.acknowledge();
    assert_eq!(irq, Irq::Spurious);
    gic.end(token);
    assert_eq!((read(0x10010), read(0x11000)), (0, 0));
}

#[test]
fn version_2_calls_a_core_by_the_bit_that_core_learned() {
    let (distributor, interface, read, write) = frames();
    write(0x004, 1);
    let gic = v2(distributor, interface).unwrap();
    write(0x800, 0x0404_0404);
    let core = CoreIndex::new(1).unwrap();
    gic.init_core(core).unwrap();
    gic.send_sgi(core, STOP_SGI);
    assert_eq!(read(0xf00), 4 << 16 | 15);
    write(0xc08, u32::MAX);
    gic.enable_uart(core).unwrap();
    assert_eq!(read(0xc08), !(1 << 3), "level");
    assert_eq!((read(0x820) >> 8 & 0xff, read(0x104)), (4, 1 << 1));
}

#[test]
fn an_interrupt_beyond_the_controller_is_refused() {
    let (distributor, interface, _, write) = frames();
    write(0x004, 1);
    let gic = v2(distributor, interface).unwrap();
    let beyond = IntId::shared(64).unwrap();
    assert_eq!(gic.route(beyond, CoreIndex::BOOT), Err(GicError::NoSuchInterrupt));
    assert_eq!(gic.set_trigger(beyond, true), Err(GicError::NoSuchInterrupt));
}

#[test]
fn frames_that_are_too_small_are_refused() {
    assert_eq!(v2(Device::simulated(0x800), Device::simulated(0x2000)).unwrap_err(), GicError::Registers);
    assert_eq!(v2(Device::simulated(0x1000), Device::simulated(0x1000)).unwrap_err(), GicError::Registers);
}

#[test]
fn version_3_finds_each_core_its_redistributor_and_refuses_a_core_without() {
    let distributor = Device::simulated(0x10000);
    crate::arch::mmio::poke(distributor.address() + 4, 1);
    let redistributors = Device::simulated(0x40000);
    let base = redistributors.address();
    crate::arch::mmio::poke(base + 0x0c, 1); // core 1 first
    crate::arch::mmio::poke(base + 0x2_0008, 1 << 4); // GICR_TYPER.Last
    let none = Region::new(0, 0);
    let mut facts = board(GicInfo::V3 { distributor: none, redistributors: none });
    facts.cores.push(2).unwrap();
    let gic = Gic::new(&facts, distributor, redistributors).unwrap();
    assert_eq!(gic.version(), 3);
    crate::arch::mmio::poke(base + 0x2_0000, 1); // GICR_CTLR.EnableLPIs
    gic.init_core(CoreIndex::BOOT).unwrap();
    assert_eq!(crate::arch::mmio::peek(base + 0x2_0000), 0, "no LPI is left on");
    let enabled = crate::arch::mmio::peek(base + 0x3_0100);
    assert_eq!(enabled, 1 << 27, "each write sets its own bit; memory keeps the last");
    gic.init_core(CoreIndex::new(1).unwrap()).unwrap();
    assert_eq!(gic.init_core(CoreIndex::new(2).unwrap()), Err(GicError::NoInterface));
    assert_eq!([0, 1, 2].map(|core| gic.serves(CoreIndex::new(core).unwrap())), [true, true, false]);
}

#[test]
fn version_3_ends_what_it_acknowledged() {
    let distributor = Device::simulated(0x10000);
    let redistributors = Device::simulated(0x20000);
    let none = Region::new(0, 0);
    let facts = board(GicInfo::V3 { distributor: none, redistributors: none });
    let gic = Gic::new(&facts, distributor, redistributors).unwrap();
    crate::arch::gic_cpu::pend(33);
    let (irq, token) = gic.acknowledge();
    assert_eq!(irq, Irq::Uart);
    gic.end(token);
    let (irq, token) = gic.acknowledge();
    assert_eq!(irq, Irq::Spurious);
    gic.end(token);
    assert_eq!(gic.classify(8192 + 26), Irq::Other(IntId(8218)), "an LPI is not the timer");
    assert_eq!(gic.classify(8192 + 1023), Irq::Other(IntId(9215)), "and is to be ended");
    assert_eq!(crate::arch::gic_cpu::take_ended(), [33]);
    crate::arch::gic_cpu::pend(8192);
    crate::arch::gic_cpu::pend(0);
    assert!(gic.take_sgi(0).is_err() && gic.take_sgi(0).is_ok() && gic.take_sgi(0).is_err());
    assert_eq!(crate::arch::gic_cpu::take_ended(), [0]);
    gic.send_sgi(CoreIndex::new(1).unwrap(), RESCHEDULE_SGI);
    assert_eq!(crate::arch::gic_cpu::take_sent(), [1 << 1]);
}
