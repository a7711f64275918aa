//! Tests of the device tree's reading, with trees built by hand.

use super::*;
use crate::arch::layout::{Image, Layout};
use trees::{Virt, pi};

#[path = "device_tree_lie_tests.rs"]
mod lies;
#[path = "../../tests/fuzz/trees.rs"]
mod trees;

impl Virt {
    fn parse(&self, affinity: u64) -> Result<BoardInfo, TreeError> {
        parse(&self.blob(), affinity)
    }
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
    assert_eq!(board.shared(), Some(Region::new(0x0903_0000, 0x1000)));
}

#[test]
fn a_page_that_is_shared_is_there_or_not_mapped() {
    let board = Virt { gpio: "disabled", ..Virt::default() }.parse(0).unwrap();
    assert_eq!((board.gpio, board.shared()), (None, None));
    let elsewhere = BoardInfo { gpio: Some(Region::new(0x0a00_0000, 0x1000)), ..board };
    assert_eq!(elsewhere.shared(), None);
    assert_eq!(crate::board::rpi4::without_tree().shared(), Some(Region::new(0xfe20_0000, 0x1000)));
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
    let board = parse(&pi(&[0xd8, 0xe0]), 1).unwrap();
    assert_eq!(board.known.name, "rpi4");
    assert_eq!(board.cores.as_slice(), [1, 0], "the booted one first");
    let CoreMethod::SpinTable(table) = board.method else { panic!("{:?}", board.method) };
    assert_eq!((table.start, &table.offsets[..3]), (0xd8, [Some(8), Some(0), None].as_slice()));
    assert_eq!(board.uart, UartInfo { registers: Region::new(0xfe20_1000, 0x200), intid: 153 });
    let cpu = Region::new(0xff84_2000, 0x2000);
    assert_eq!(board.gic, GicInfo::V2 { distributor: Region::new(0xff84_1000, 0x1000), cpu });
}

#[test]
fn a_pi_of_any_size_has_all_the_memory_that_its_firmware_names() {
    // What the firmware writes for 1, 4 and 8 GiB: addresses of two cells, sizes of one (boot logs of these models).
    let low = [0, 0, 0x3b40_0000];
    let parts = [low, [0, 0x4000_0000, 0xbc00_0000], [1, 0, 0x8000_0000], [1, 0x8000_0000, 0x8000_0000]];
    for (count, end) in [(1, 0x3b40_0000), (2, 0xfc00_0000), (4, 0x2_0000_0000)] {
        let mut tree = trees::pi_tree(&[0xd8, 0xe0]);
        tree.root.remove_child("memory@0");
        tree.root.add_child(trees::node("memory@0", &[("reg", trees::cells(&parts[..count].concat()))]));
        let board = parse(&tree.to_dtb(), 0).unwrap();
        assert_eq!(board.ram.len(), count);
        assert_eq!((board.ram[0], board.ram[count - 1].end), (Region::new(0, 0x3b40_0000), end));
        let layout = Layout::plan(&board.ram, &[], &Image::simulated(0x8_0000), 0, 2, &[]).unwrap();
        let bytes: u64 = layout.free(layout.carved().0.end).unwrap().iter().map(|region| region.bytes()).sum();
        let named: u64 = board.ram.iter().map(|region| region.bytes()).sum();
        assert!(bytes > named - (2 << 20), "{bytes:#x} of {named:#x}");
    }
}

#[test]
fn the_firmwares_version_is_what_is_plain_of_it() {
    assert_eq!(parse(&pi(&[0xd8, 0xe0, 0xe8, 0xf0]), 0).unwrap().firmware, "7f6ad0e3");
    assert_eq!(Virt::default().parse(0).unwrap().firmware, "");
    assert_eq!(text(&[b'x'; 100]).len(), board::FIRMWARE_BYTES);
    assert_eq!(text(b"\x1b[2J"), "");
}
