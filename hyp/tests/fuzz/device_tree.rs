//! Device tree: what boot makes of any blob keeps these rules. Called by the tests beside it, and by cargo-fuzz (`hyp/fuzz`).

use strato_hyp::arch::layout::{Access, Image, Layout, LayoutError};
use strato_hyp::arch::region::{LIMIT, PAGE, Region};
use strato_hyp::board::{BoardInfo, CoreMethod};
use strato_hyp::boot::device_tree::parse;
use strato_hyp::boot::own_devices;

/// Where the image stands on each board.
const PLACES: [u64; 2] = [0x4008_0000, 0x8_0000];

/// Reads `blob` and holds what comes of it against the rules; returns whether a machine and a layout came of it.
///
/// # Panics
/// A rule is broken.
pub(crate) fn check(blob: &[u8]) -> bool {
    match parse(blob, 0) {
        Err(why) => {
            assert!(why.to_string().starts_with("the device tree"), "{why:?}");
            false
        }
        Ok(board) => {
            machine(&board);
            // Each place is looked at, whatever the other gives.
            PLACES.map(|place| layout(&board, place)).contains(&true)
        }
    }
}

fn machine(board: &BoardInfo) {
    assert!(!board.ram.is_empty());
    assert!(board.ram.iter().chain(&board.reserved).all(|region| region.start < region.end));
    assert_eq!(board.cores.first(), Some(&0), "the booted core comes first");
    for (at, core) in board.cores.iter().enumerate() {
        assert!(!board.cores.iter().skip(at + 1).any(|other| other == core), "{:x?}", board.cores);
    }
    if let CoreMethod::SpinTable(table) = board.method {
        let mut words: Vec<u64> =
            table.offsets.iter().skip(1).flatten().map(|&offset| table.start + u64::from(offset)).collect();
        assert!(words.iter().all(|word| word.is_multiple_of(8) && *word != 0 && word / PAGE == table.start / PAGE));
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count, "two cores wait for one word");
    }
    assert!((32..1020).contains(&board.uart.intid));
    let (devices, others) = own_devices(board);
    assert!(devices.iter().chain(others.iter().flatten()).all(|device| device.bytes() > 0), "{devices:x?}");
}

fn layout(board: &BoardInfo, start: u64) -> bool {
    let image = Image {
        start,
        text_end: start + 0x3_0000,
        rodata_end: start + 0x4_0000,
        data_end: start + 0x4_8000,
        emergency: Region::new(start + 0x4_9000, PAGE),
        stack: Region::new(start + 0x4_b000, 4 * PAGE),
        end: start + 0x5_0000,
    };
    let payload = 0x1_2348;
    let (devices, others) = own_devices(board);
    let devices: Vec<Region> = devices.into_iter().chain(others.into_iter().flatten()).collect();
    let layout = match Layout::plan(&board.ram, &board.reserved, &image, payload, board.cores.len(), &devices) {
        Ok(layout) => layout,
        Err(LayoutError::PayloadOutsideRam | LayoutError::ImageOutsideRam | LayoutError::NoRoom) => return false,
        Err(LayoutError::TooManyRegions | LayoutError::DevicesOverlap | LayoutError::DeviceOutOfReach) => return false,
    };
    apart(layout.ranges().iter().map(|(region, _)| *region));
    let used =
        |region: &Region, access| layout.ranges().iter().any(|(other, a)| other.contains(*region) && *a == access);
    for device in &devices {
        assert!(used(device, Access::Device), "{device:x?}");
    }
    let (carve, tables) = layout.carved();
    assert!(carve.contains(tables));
    let whole = Region { start, end: (image.end + payload).next_multiple_of(PAGE) };
    let taken: Vec<Region> = board.reserved.iter().chain(&devices).map(|region| region.outer_pages()).collect();
    let taken: Vec<Region> = taken.into_iter().chain([whole, carve, Region::new(0, PAGE)]).collect();
    let Ok(free) = layout.free(carve.end) else { return false };
    apart(free.iter().copied());
    for region in &free {
        assert!(taken.iter().all(|other| other.bytes() == 0 || !region.overlaps(*other)), "{region:x?} of {taken:x?}");
        assert!(is_memory(board, *region), "{region:x?} is no memory");
        assert!(used(region, Access::Write), "{region:x?} is not mapped as memory");
    }
    assert!(is_memory(board, carve) && !carve.overlaps(whole));
    true
}

/// Asserts that regions are whole pages within reach, and apart from each other.
fn apart(regions: impl Iterator<Item = Region>) {
    let mut regions: Vec<Region> = regions.collect();
    regions.sort_unstable();
    for region in &regions {
        assert!(region.start < region.end && region.end <= LIMIT, "{region:x?}");
        assert!(region.start.is_multiple_of(PAGE) && region.end.is_multiple_of(PAGE), "{region:x?}");
    }
    assert!(regions.windows(2).all(|pair| pair[0].end <= pair[1].start), "{regions:x?}");
}

/// Returns whether every byte of a region is memory by the device tree, in one node or in several.
fn is_memory(board: &BoardInfo, region: Region) -> bool {
    let mut at = region.start;
    while at < region.end {
        let Some(next) = board.ram.iter().filter(|ram| ram.start <= at && at < ram.end).map(|ram| ram.end).max() else {
            return false;
        };
        at = next;
    }
    true
}
