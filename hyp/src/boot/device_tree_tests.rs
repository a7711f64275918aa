//! Tests of the device tree's reading, with trees built by hand.

use super::*;
use dtoolkit::memreserve::MemoryReservation;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};

fn cells(values: &[u32]) -> std::vec::Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn property(name: &str, value: &[u8]) -> DeviceTreeProperty {
    DeviceTreeProperty::new(name, value.to_vec()).unwrap()
}

fn node(name: &str, properties: &[(&str, std::vec::Vec<u8>)]) -> DeviceTreeNode {
    let mut node = DeviceTreeNode::new(name).unwrap();
    for (name, value) in properties {
        node.add_property(property(name, value));
    }
    node
}

fn text(value: &str) -> std::vec::Vec<u8> {
    format!("{value}\0").into_bytes()
}

struct Virt {
    memory: std::vec::Vec<(u32, u32)>,
    cores: std::vec::Vec<u32>,
    method: &'static str,
    gic: &'static str,
    reserved: std::vec::Vec<(u32, u32)>,
    secure_uart: bool,
}

impl Default for Virt {
    fn default() -> Self {
        Self {
            memory: vec![(0x4000_0000, 0x2000_0000)],
            cores: vec![0, 1],
            method: "smc",
            gic: "arm,gic-v3",
            reserved: vec![],
            secure_uart: false,
        }
    }
}

impl Virt {
    fn blob(&self) -> std::vec::Vec<u8> {
        let mut tree = DeviceTree::new();
        tree.memory_reservations.push(MemoryReservation::new(0x4000_0000, 0x1000));
        let two = [("#address-cells", cells(&[2])), ("#size-cells", cells(&[2]))];
        for (name, value) in &two {
            tree.root.add_property(property(name, value));
        }
        tree.root.add_property(property("compatible", &text("linux,dummy-virt")));
        for (start, bytes) in &self.memory {
            let memory = node(&format!("memory@{start:x}"), &[("reg", cells(&[0, *start, 0, *bytes]))]);
            tree.root.add_child(memory);
        }
        let mut reserved = node("reserved-memory", &two);
        for (start, bytes) in &self.reserved {
            reserved.add_child(node(&format!("keep@{start:x}"), &[("reg", cells(&[0, *start, 0, *bytes]))]));
        }
        tree.root.add_child(reserved);
        let mut cpus = node("cpus", &[("#address-cells", cells(&[1])), ("#size-cells", cells(&[0]))]);
        for affinity in &self.cores {
            cpus.add_child(node(&format!("cpu@{affinity:x}"), &[("reg", cells(&[*affinity]))]));
        }
        tree.root.add_child(cpus);
        tree.root.add_child(node("psci", &[("method", text(self.method))]));
        let frames = cells(&[0, 0x0800_0000, 0, 0x10000, 0, 0x080a_0000, 0, 0xf6_0000]);
        tree.root.add_child(node("intc@8000000", &[("compatible", text(self.gic)), ("reg", frames)]));
        if self.secure_uart {
            tree.root.add_child(uart(0x0904_0000, 8, "disabled"));
        }
        tree.root.add_child(uart(0x0900_0000, 1, "okay"));
        let clock =
            [("compatible", b"arm,pl031\0arm,primecell\0".to_vec()), ("reg", cells(&[0, 0x0901_0000, 0, 0x1000]))];
        tree.root.add_child(node("pl031@9010000", &clock));
        tree.to_dtb()
    }

    fn parse(&self, affinity: u64) -> Result<BoardInfo, TreeError> {
        parse(&self.blob(), affinity)
    }
}

fn uart(base: u32, interrupt: u32, status: &str) -> DeviceTreeNode {
    node(
        &format!("pl011@{base:x}"),
        &[
            ("compatible", b"arm,pl011\0arm,primecell\0".to_vec()),
            ("reg", cells(&[0, base, 0, 0x1000])),
            ("interrupts", cells(&[0, interrupt, 4])),
            ("status", text(status)),
        ],
    )
}

#[test]
fn a_virt_machine_is_read_whole() {
    let board = Virt { reserved: vec![(0x4800_0000, 0x2000)], ..Virt::default() }.parse(0).unwrap();
    assert_eq!(board.known.name, "qemu-virt");
    assert_eq!(board.ram.as_slice(), [Region::new(0x4000_0000, 0x2000_0000)]);
    assert_eq!(board.reserved.as_slice(), [Region::new(0x4000_0000, 0x1000), Region::new(0x4800_0000, 0x2000)]);
    assert_eq!(board.cores.as_slice(), [0, 1]);
    assert_eq!(board.method, CoreMethod::PsciSmc);
    let distributor = Region::new(0x0800_0000, 0x10000);
    assert_eq!(board.gic, GicInfo::V3 { distributor, redistributors: Region::new(0x080a_0000, 0xf6_0000) });
    assert_eq!(board.uart, UartInfo { registers: Region::new(0x0900_0000, 0x1000), intid: 33 });
    assert_eq!(board.clock, Some(Region::new(0x0901_0000, 0x1000)));
}

#[test]
fn a_gic_of_version_2_has_a_cpu_interface() {
    let board = Virt { gic: "arm,cortex-a15-gic", ..Virt::default() }.parse(0).unwrap();
    assert!(matches!(board.gic, GicInfo::V2 { cpu, .. } if cpu.start == 0x080a_0000));
}

#[test]
fn the_booted_core_comes_first_and_doubles_are_taken_once() {
    let board = Virt { cores: vec![0, 1, 0x100, 0x101], ..Virt::default() }.parse(0x100).unwrap();
    assert_eq!(board.cores.as_slice(), [0x100, 0, 1, 0x101]);
}

#[test]
fn cores_beyond_the_eighth_are_left_out_but_never_the_booted_one() {
    let board = Virt { cores: (0..12).collect(), ..Virt::default() }.parse(11).unwrap();
    assert_eq!(board.cores.as_slice(), [11, 0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(board.cores_left_out, 4);
}

#[test]
fn psci_by_hvc_is_not_used() {
    assert_eq!(Virt { method: "hvc", ..Virt::default() }.parse(0).unwrap().method, CoreMethod::None);
}

#[test]
fn a_disabled_uart_is_passed_over() {
    assert_eq!(Virt { secure_uart: true, ..Virt::default() }.parse(0).unwrap().uart.intid, 33);
}

#[test]
fn a_tree_without_memory_is_refused() {
    assert_eq!(Virt { memory: vec![], ..Virt::default() }.parse(0), Err(TreeError::NoMemory));
}

#[test]
fn a_tree_without_the_booted_core_is_refused() {
    assert_eq!(Virt::default().parse(7), Err(TreeError::NoBootCore));
}

#[test]
fn a_tree_without_a_known_interrupt_controller_is_refused() {
    assert_eq!(Virt { gic: "acme,gic", ..Virt::default() }.parse(0), Err(TreeError::NoGic));
}

#[test]
fn too_many_regions_are_refused() {
    let memory = (0..9).map(|at| (0x4000_0000 + at * 0x10_0000, 0x1000)).collect();
    assert_eq!(Virt { memory, ..Virt::default() }.parse(0), Err(TreeError::TooManyRegions));
    let reserved = (0..16).map(|at| (0x4000_0000 + at * 0x10_0000, 0x1000)).collect();
    assert_eq!(Virt { reserved, ..Virt::default() }.parse(0), Err(TreeError::TooManyRegions));
}

#[test]
fn a_truncated_or_overwritten_tree_is_refused_and_never_panics() {
    let blob = Virt::default().blob();
    assert_eq!(parse(&[], 0), Err(TreeError::Damaged));
    // The last block of a blob may be one that boot never needs.
    for length in (0..blob.len() * 3 / 4).step_by(7) {
        assert_eq!(parse(&blob[..length], 0), Err(TreeError::Damaged));
    }
    for at in 0..blob.len() {
        let mut broken = blob.clone();
        broken[at] ^= 0xff;
        let _ = parse(&broken, 0);
    }
}

#[test]
fn devices_behind_a_bus_stand_where_its_ranges_say() {
    let mut tree = DeviceTree::new();
    tree.root.add_property(property("#address-cells", &cells(&[2])));
    tree.root.add_property(property("#size-cells", &cells(&[1])));
    tree.root.add_property(property("compatible", b"raspberrypi,4-model-b\0brcm,bcm2711\0"));
    tree.root.add_child(node("memory@0", &[("reg", cells(&[0, 0, 0x3b40_0000]))]));
    let mut cpus = node("cpus", &[("#address-cells", cells(&[1])), ("#size-cells", cells(&[0]))]);
    for (n, word) in [(0, 0xd8), (1, 0xe0)] {
        let method = ("enable-method", text("spin-table"));
        cpus.add_child(node(
            &format!("cpu@{n}"),
            &[("reg", cells(&[n])), method, ("cpu-release-addr", cells(&[0, word]))],
        ));
    }
    tree.root.add_child(cpus);
    let ranges = cells(&[0x7e00_0000, 0, 0xfe00_0000, 0x180_0000, 0x4000_0000, 0, 0xff80_0000, 0x80_0000]);
    let mut soc = node("soc", &[("#address-cells", cells(&[1])), ("#size-cells", cells(&[1])), ("ranges", ranges)]);
    let frames = cells(&[0x4004_1000, 0x1000, 0x4004_2000, 0x2000]);
    soc.add_child(node("interrupt-controller@40041000", &[("compatible", text("arm,gic-400")), ("reg", frames)]));
    let serial = [
        ("compatible", b"arm,pl011\0arm,primecell\0".to_vec()),
        ("reg", cells(&[0x7e20_1000, 0x200])),
        ("interrupts", cells(&[0, 121, 4])),
    ];
    soc.add_child(node("serial@7e201000", &serial));
    tree.root.add_child(soc);

    let board = parse(&tree.to_dtb(), 1).unwrap();
    assert_eq!(board.known.name, "rpi4");
    assert_eq!(board.cores.as_slice(), [1, 0], "the booted one first");
    let CoreMethod::SpinTable(table) = board.method else { panic!("{:?}", board.method) };
    assert_eq!((table.start, &table.offsets[..3]), (0xd8, [Some(8), Some(0), None].as_slice()));
    assert_eq!(board.uart, UartInfo { registers: Region::new(0xfe20_1000, 0x200), intid: 153 });
    let cpu = Region::new(0xff84_2000, 0x2000);
    assert_eq!(board.gic, GicInfo::V2 { distributor: Region::new(0xff84_1000, 0x1000), cpu });
}
