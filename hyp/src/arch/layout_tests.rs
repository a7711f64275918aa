//! Tests of the layout: the claims that `mmu` and `entry` rest on.

use super::*;

const MIB: u64 = 1 << 20;

fn image() -> Image {
    Image::simulated(0x4008_0000)
}

fn plan(reserved: &[Region], payload: u64, cores: usize) -> Layout {
    let devices = [Region::new(0x0900_0000, 0x1000), Region::new(0x0800_0000, 0x10000)];
    Layout::plan(&[Region::new(0x4000_0000, 512 * MIB)], reserved, &image(), payload, cores, &devices).unwrap()
}

fn access(layout: &Layout, address: u64) -> Option<Access> {
    let byte = Region::new(address, 1);
    let mut found = layout.ranges.iter().filter(|(region, _)| region.contains(byte));
    let access = found.next().map(|&(_, access)| access);
    assert!(found.next().is_none(), "{address:#x} is mapped twice");
    access
}

#[test]
fn no_two_ranges_overlap() {
    for cores in 1..=8 {
        let layout = plan(&[Region::new(0x4400_0000, 0x1234)], 5 * MIB + 8, cores);
        for (at, (region, _)) in layout.ranges.iter().enumerate() {
            assert!(region.start % PAGE == 0 && region.end % PAGE == 0);
            assert!(layout.ranges.iter().skip(at + 1).all(|(other, _)| !region.overlaps(*other)));
        }
    }
}

#[test]
fn code_is_not_written_and_data_are_not_executed() {
    let (layout, image) = (plan(&[], 4096, 2), image());
    assert_eq!(access(&layout, image.start), Some(Access::Execute));
    assert_eq!(access(&layout, image.text_end), Some(Access::Read));
    assert_eq!(access(&layout, image.rodata_end), Some(Access::Write));
    assert_eq!(access(&layout, image.end), Some(Access::Read));
    assert_eq!(layout.ranges.iter().filter(|(_, access)| *access == Access::Execute).count(), 1);
}

#[test]
fn the_page_below_each_stack_is_not_mapped() {
    let layout = plan(&[], 0, 8);
    assert_eq!(layout.stacks.len(), 8);
    for stacks in &layout.stacks {
        for stack in [stacks.emergency, stacks.stack] {
            assert_eq!(access(&layout, stack.start - 1), None);
            assert_eq!(access(&layout, stack.start - PAGE), None);
            assert_eq!(access(&layout, stack.start), Some(Access::Write));
            assert_eq!(access(&layout, stack.end - 1), Some(Access::Write));
        }
    }
}

#[test]
fn free_memory_is_neither_image_nor_payload_nor_reserved_nor_carved() {
    let reserved = [Region::new(0x4800_0000, 3 * MIB), Region::new(0x5000_0800, 0x1000)];
    let layout = plan(&reserved, 5 * MIB + 8, 4);
    let tables_end = layout.tables.start + 5 * PAGE;
    let free = layout.free(tables_end).unwrap();
    let taken = [
        Region { start: image().start, end: layout.payload.end },
        Region { start: layout.carve.start, end: tables_end },
        reserved[0],
        reserved[1],
    ];
    for region in &free {
        assert!(taken.iter().all(|other| !region.overlaps(*other)));
        assert_eq!(access(&layout, region.start), Some(Access::Write));
        assert_eq!(access(&layout, region.end - 1), Some(Access::Write));
    }
    let bytes: u64 = free.iter().map(|region| region.bytes()).sum();
    let image_and_payload = layout.payload.outer_pages().end - image().start;
    assert_eq!(bytes, 512 * MIB - image_and_payload - (tables_end - layout.carve.start) - 3 * MIB - 2 * PAGE);
    assert_eq!(access(&layout, 0x4800_0000), None);
    assert_eq!(access(&layout, 0x5000_0000), None);
}

#[test]
fn page_zero_is_left_to_the_firmware() {
    let low = Image::simulated(0x8_0000);
    let layout = Layout::plan(&[Region::new(0, 948 * MIB)], &[], &low, 0, 4, &[]).unwrap();
    assert_eq!(access(&layout, 0xd8), None);
    assert_eq!(layout.free(layout.carve.end).unwrap()[0].start, PAGE);
}

#[test]
fn an_image_outside_the_memory_of_the_device_tree_is_refused() {
    let error = Layout::plan(&[Region::new(0x8000_0000, MIB)], &[], &image(), 0, 1, &[]).unwrap_err();
    assert_eq!(error, LayoutError::ImageOutsideRam);
}

#[test]
fn a_payload_longer_than_the_memory_is_refused() {
    let ram = [Region::new(0x4000_0000, MIB)];
    let error = Layout::plan(&ram, &[], &image(), MIB, 1, &[]).unwrap_err();
    assert_eq!(error, LayoutError::PayloadOutsideRam);
    let error = Layout::plan(&ram, &[], &image(), u64::MAX, 1, &[]).unwrap_err();
    assert_eq!(error, LayoutError::PayloadOutsideRam);
}

#[test]
fn memory_without_room_for_stacks_is_refused() {
    let ram = [Region { start: 0x4008_0000, end: image().end + 4 * PAGE }];
    assert_eq!(Layout::plan(&ram, &[], &image(), 0, 8, &[]).unwrap_err(), LayoutError::NoRoom);
}

#[test]
fn what_survives_a_reset_is_mapped_and_handed_to_nobody() {
    let region = Region::new(0x4007_0000, 0x1_0000);
    let mut layout = plan(&[], 4096, 4);
    layout.retain(region);
    assert_eq!(layout.retained, Some(region));
    assert_eq!(access(&layout, region.start), Some(Access::Write));
    assert!(layout.free(layout.tables.end).unwrap().iter().all(|free| !free.overlaps(region)));
}

#[test]
fn what_is_used_does_not_survive_a_reset() {
    // Reserved, not memory, the image's, the payload's, stacks and tables.
    let reserved = Region::new(0x4007_f000, 1);
    for start in [0x4007_0000, 0x3fff_f000, 0x4008_0000, 0x400a_7000, 0x400a_8000] {
        let mut layout = plan(&[reserved], 4096, 4);
        let free = layout.free(layout.tables.end).unwrap();
        layout.retain(Region::new(start, 0x1_0000));
        assert_eq!((layout.retained, layout.free(layout.tables.end).unwrap()), (None, free), "{start:#x}");
    }
}
