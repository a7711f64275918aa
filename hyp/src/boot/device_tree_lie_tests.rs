//! Tests of device trees that lie: about memory, about devices in it, about cores; and of those that would hold boot up.

use super::super::*;
use super::trees::{Virt, cells, node, pi, property, text, uart, with_tokens};
use crate::arch::layout::{Image, Layout, LayoutError};
use crate::arch::region::{LIMIT, PAGE};
use crate::boot::own_devices;
use dtoolkit::model::DeviceTree;

const MIB: u64 = 1 << 20;

/// Returns what would be handed out of `board`, with the image at `start`.
fn free(board: &BoardInfo, start: u64) -> Result<std::vec::Vec<Region>, LayoutError> {
    let (devices, others) = own_devices(board);
    let devices: std::vec::Vec<Region> = devices.into_iter().chain(others.into_iter().flatten()).collect();
    let layout = Layout::plan(&board.ram, &board.reserved, &Image::simulated(start), 0, board.cores.len(), &devices)?;
    Ok(layout.free(layout.carved().0.end)?.to_vec())
}

/// Returns a `virt` with one more node at the root for each of `regs`, a value of two cells each for address and size.
fn with_memory(regs: &[[u32; 4]]) -> std::vec::Vec<u8> {
    let mut tree = Virt::default().tree();
    for (n, reg) in regs.iter().enumerate() {
        tree.root.add_child(node(&format!("memory@{n}"), &[("reg", cells(reg))]));
    }
    tree.to_dtb()
}

#[test]
fn memory_that_is_named_twice_is_handed_out_once() {
    let board = parse(&with_memory(&[[0, 0x4000_0000, 0, 0x1000_0000], [0, 0x5000_0000, 0, 0x2000_0000]]), 0).unwrap();
    let free = free(&board, 0x4008_0000).unwrap();
    assert_eq!(free.last().unwrap().end, 0x7000_0000);
    assert!(free.is_sorted() && free.windows(2).all(|pair| !pair[0].overlaps(pair[1])), "{free:x?}");
}

#[test]
fn memory_beyond_all_addresses_is_cut_off() {
    let most = u32::MAX;
    let board = parse(&with_memory(&[[0, 0x5000_0000, most, most], [most, most - 0xfff, 1, 0], [1 << 8, 0, 1, 0]]), 0);
    let free = free(&board.unwrap(), 0x4008_0000).unwrap();
    assert_eq!(free.last().unwrap().end, LIMIT);
}

#[test]
fn a_memory_node_without_a_byte_says_nothing() {
    let board = parse(&with_memory(&[[0, 0x8000_0000, 0, 0]]), 0).unwrap();
    assert_eq!(board.ram.as_slice(), [Region::new(0x4000_0000, 0x2000_0000)]);
    assert_eq!(Virt { memory: vec![(0x4000_0000, 0)], ..Virt::default() }.parse(0), Err(TreeError::NoMemory));
}

#[test]
fn a_memory_node_that_ends_inside_a_number_or_has_none_is_refused() {
    for value in [vec![], cells(&[0, 0x4000_0000, 0]), vec![0; 15]] {
        let mut tree = Virt::default().tree();
        tree.root.add_child(node("memory@1", &[("reg", value)]));
        assert_eq!(parse(&tree.to_dtb(), 0), Err(TreeError::NoMemory));
    }
}

#[test]
fn numbers_of_no_cells_are_no_end_of_regions() {
    let mut tree = Virt::default().tree();
    let none = [("#address-cells", cells(&[0])), ("#size-cells", cells(&[0]))];
    let mut reserved = node("reserved-memory", &none);
    reserved.add_child(node("keep", &[("reg", cells(&[1]))]));
    tree.root.add_child(reserved);
    assert_eq!(parse(&tree.to_dtb(), 0), Err(TreeError::TooManyRegions));
}

#[test]
fn what_is_said_to_be_memory_and_a_device_is_the_devices() {
    let board = Virt { memory: vec![(0, 0x6000_0000)], ..Virt::default() }.parse(0).unwrap();
    let free = free(&board, 0x4008_0000).unwrap();
    assert!(free[0].start < 0x0800_0000, "the rest is memory");
    for device in [0x0800_0000, 0x080a_0000, 0x0900_0000, 0x0901_0000] {
        assert!(free.iter().all(|region| !region.overlaps(Region::new(device, PAGE))), "{device:#x}");
    }
}

#[test]
fn words_for_which_cores_wait_are_never_handed_out() {
    let board = parse(&pi(&[0x0200_00d8, 0x0200_00e0]), 0).unwrap();
    let free = free(&board, 0x8_0000).unwrap();
    assert!(free.iter().all(|region| !region.overlaps(Region::new(0x0200_0000, PAGE))));
    let bytes: u64 = free.iter().map(|region| region.bytes()).sum();
    assert!(bytes > 900 * MIB, "nothing else is lost");
}

#[test]
fn a_device_in_the_image_or_in_the_page_of_another_is_refused() {
    assert_eq!(free(&parse(&pi(&[0x9_00d8, 0x9_00e0]), 0).unwrap(), 0x8_0000), Err(LayoutError::DevicesOverlap));
    for base in [0x0800_0000, 0x080a_0800, 0x4008_0000, 0x400a_0000] {
        let mut tree = Virt::default().tree();
        tree.root.remove_child("pl011@9000000");
        tree.root.add_child(uart(base, 1, "okay"));
        let board = parse(&tree.to_dtb(), 0).unwrap();
        assert_eq!(free(&board, 0x4008_0000), Err(LayoutError::DevicesOverlap), "{base:#x}");
    }
}

#[test]
fn a_device_at_no_address_or_beyond_all_is_refused() {
    for base in [[0, 0], [0x80, 0], [u32::MAX, u32::MAX]] {
        let mut tree = Virt::default().tree();
        tree.root.remove_child("pl011@9000000");
        let properties = [
            ("compatible", text("arm,pl011")),
            ("reg", cells(&[base[0], base[1], 0, 0x1000])),
            ("interrupts", cells(&[0, 1, 4])),
        ];
        tree.root.add_child(node("pl011@0", &properties));
        let board = parse(&tree.to_dtb(), 0);
        let refused = board.map(|board| free(&board, 0x4008_0000));
        assert!(matches!(refused, Ok(Err(LayoutError::DeviceOutOfReach)) | Err(TreeError::NoUart)), "{refused:?}");
    }
}

#[test]
fn a_device_without_registers_is_none() {
    let mut tree = Virt::default().tree();
    tree.root.remove_child("pl011@9000000");
    let properties =
        [("compatible", text("arm,pl011")), ("reg", cells(&[0, 0x900_0000, 0, 0])), ("interrupts", cells(&[0, 1, 4]))];
    tree.root.add_child(node("pl011@9000000", &properties));
    assert_eq!(parse(&tree.to_dtb(), 0), Err(TreeError::NoUart));
}

#[test]
fn a_core_that_is_named_twice_is_one_core() {
    let board = Virt { cores: vec![1, 0, 1, 0, 2], ..Virt::default() }.parse(0).unwrap();
    assert_eq!((board.cores.as_slice(), board.cores_left_out), ([0, 1, 2].as_slice(), 0));
}

#[test]
fn nodes_without_end_are_walked_without_a_deeper_stack() {
    let (begin, end) = (b"\0\0\0\x01memory@0\0\0\0\0", b"\0\0\0\x02");
    let good = Virt::default().parse(0).unwrap();
    let deep = with_tokens(&Virt::default().blob(), &[begin.repeat(10_000), end.repeat(10_000)].concat());
    // The outermost is at the root, and has no memory.
    assert_eq!(parse(&deep, 0), Err(TreeError::NoMemory));
    let begin = b"\0\0\0\x01node@0\0\0";
    let deep = with_tokens(&Virt::default().blob(), &[begin.repeat(10_000), end.repeat(10_000)].concat());
    assert_eq!(parse(&deep, 0).as_ref(), Ok(&good));
    let wide = with_tokens(&Virt::default().blob(), &[begin.as_slice(), end].concat().repeat(10_000));
    assert_eq!(parse(&wide, 0).as_ref(), Ok(&good));
    let open = with_tokens(&Virt::default().blob(), &begin.repeat(10_000));
    assert_eq!(parse(&open, 0), Err(TreeError::Damaged));
}

#[test]
fn nodes_that_name_each_other_in_a_circle_are_not_followed() {
    let mut tree = Virt::default().tree();
    for (own, other) in [(1, 2), (2, 1), (3, 3)] {
        let links = [("phandle", cells(&[own])), ("interrupt-parent", cells(&[other])), ("clocks", cells(&[other]))];
        tree.root.add_child(node(&format!("circle@{own}"), &links));
    }
    tree.root.add_property(property("interrupt-parent", &cells(&[3])));
    assert_eq!(parse(&tree.to_dtb(), 0).unwrap(), Virt::default().parse(0).unwrap());
}

/// Returns a `virt` whose UART is in a bus in a bus, the outer one with these windows, each of `cells` cells for each number.
fn behind_a_bus(cell_count: u32, windows: std::vec::Vec<u8>) -> Result<BoardInfo, TreeError> {
    let mut tree: DeviceTree = Virt { cores: vec![0], ..Virt::default() }.tree();
    tree.root.remove_child("pl011@9000000");
    tree.root.add_property(property("#address-cells", &cells(&[cell_count])));
    let count = [("#address-cells", cells(&[cell_count])), ("#size-cells", cells(&[cell_count]))];
    let mut outer = node("outer", &count);
    outer.add_property(property("ranges", &windows));
    let mut inner = node("inner", &[("#address-cells", cells(&[2])), ("#size-cells", cells(&[2]))]);
    inner.add_child(uart(0x0900_0000, 1, "okay"));
    outer.add_child(inner);
    tree.root.add_child(outer);
    parse(&tree.to_dtb(), 0)
}

#[test]
fn windows_of_no_cells_do_not_hold_boot_up() {
    // The root's numbers have none either, so that its memory cannot be read: the walk comes to the bus all the same.
    let mut tree = DeviceTree::new();
    tree.root.add_property(property("#address-cells", &cells(&[0])));
    let none = [("#address-cells", cells(&[0])), ("#size-cells", cells(&[0])), ("ranges", cells(&[1]))];
    let mut outer = node("outer", &none);
    let mut inner = node("inner", &[("#address-cells", cells(&[2])), ("#size-cells", cells(&[2]))]);
    inner.add_child(uart(0x0900_0000, 1, "okay"));
    outer.add_child(inner);
    tree.root.add_child(outer);
    assert_eq!(parse(&tree.to_dtb(), 0), Err(TreeError::NoMemory));
}

#[test]
fn a_bus_has_no_more_windows_than_are_looked_at() {
    let window = |child: u32| cells(&[0, child, 0, child, 0, 0x1000]);
    let among = |count: usize| [window(0x1000).repeat(count), window(0x0900_0000)].concat();
    assert_eq!(behind_a_bus(2, among(127)).unwrap().uart.registers.start, 0x0900_0000);
    assert_eq!(behind_a_bus(2, among(128)), Err(TreeError::NoUart));
    assert_eq!(behind_a_bus(2, among(100_000)), Err(TreeError::NoUart));
}

#[test]
fn memory_is_what_stands_at_the_root_whatever_its_parent_is_called() {
    let nameless = b"\0\0\0\x01@1\0\0\0\0\0\x01memory@0\0\0\0\0\0\0\0\x02\0\0\0\x02";
    let blob = with_tokens(&Virt::default().blob(), nameless);
    assert_eq!(parse(&blob, 0).unwrap(), Virt::default().parse(0).unwrap());
}
