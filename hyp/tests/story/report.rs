//! Report: what boot says before the first guest runs, when the packed system asks for it.

use strato_abi::addr::{EVENT_AREA, INFO_PAGE, VCPU_AREA};
use strato_abi::plan::HEADER_REPORT;

use crate::plan::{CODE, DATA, Guest, SHARED, System};
use crate::stage::Story;

/// Returns the lines about `what` in the report of two VMs with a page of `a` that `b` may read; numbers as said.
fn said(flags: u32) -> (Story, Vec<(String, Vec<u64>)>) {
    let mut system = System::new([Guest::new("a"), Guest::new("b")]);
    system.share(0, 1, &[(0, 1 | 2 | 8), (1, 1)]);
    system.flags = flags;
    let story = Story::new(&system);
    let lines = story.log();
    let lines = lines.iter().filter_map(|line| line.strip_prefix("report: ")).map(|line| {
        let mut words = line.split(' ');
        let what = words.next().unwrap().to_owned();
        (what, words.filter_map(|word| u64::from_str_radix(word, 16).ok()).collect())
    });
    let lines = lines.collect();
    (story, lines)
}

fn about<'l>(lines: &'l [(String, Vec<u64>)], what: &str) -> Vec<&'l [u64]> {
    lines.iter().filter(|(word, _)| word == what).map(|(_, numbers)| numbers.as_slice()).collect()
}

#[test]
fn a_system_that_does_not_ask_gets_no_report() {
    let (story, lines) = said(0);
    assert_eq!(lines, []);
    story.close();
}

#[test]
fn the_report_says_what_each_vm_maps_and_ends_before_a_guest_runs() {
    let (story, lines) = said(HEADER_REPORT);
    assert_eq!(story.ran(), []);
    assert_eq!(lines.last().unwrap(), &("end".to_owned(), vec![]));
    for place in [0, 1] {
        let maps: Vec<_> =
            about(&lines, "map").into_iter().filter(|map| map[0] == place).map(|map| &map[1..4]).collect();
        let rights = if place == 0 { 3 } else { 1 };
        let expected = [
            [INFO_PAGE, 0x1000, 1],
            [VCPU_AREA, 0x1000, 1],
            [EVENT_AREA, 0x1000, 3],
            [CODE, 0x1000, 5],
            [DATA, 0x1000, 3],
            [SHARED, 0x1000, rights],
        ];
        assert_eq!(maps, expected);
    }
    story.close();
}

#[test]
fn the_report_names_the_owner_of_every_frame_that_is_mapped() {
    let (story, lines) = said(HEADER_REPORT);
    let extents = about(&lines, "extent");
    let around = |pa: u64| -> Vec<_> {
        extents.iter().filter(|extent| (extent[0]..extent[0] + (extent[1] << 12)).contains(&pa)).collect()
    };
    for map in about(&lines, "map") {
        let owners = around(map[4]);
        assert_eq!(owners.len(), 1, "one extent holds each frame");
        let owner = if map[1] == SHARED { 2 } else { map[0] + 2 };
        assert_eq!(owners[0][2], owner);
    }
    let frames: u64 = extents.iter().map(|extent| extent[1]).sum();
    let ledger = about(&lines, "ledger")[0];
    assert_eq!(frames + ((ledger[1] - ledger[0]) >> 12), 512);
    story.close();
}

#[test]
fn the_report_says_which_handles_to_memory_each_vm_holds() {
    let (story, lines) = said(HEADER_REPORT);
    let handles = about(&lines, "handle");
    let rights: Vec<_> = handles.iter().map(|handle| (handle[0], handle[1], handle[3], handle[4])).collect();
    assert_eq!(rights, [(0, 0, 16, 15), (0, 1, 1, 11), (1, 0, 16, 15), (1, 1, 1, 1)]);
    let shared: Vec<_> = about(&lines, "map").into_iter().filter(|map| map[1] == SHARED).map(|map| map[4]).collect();
    assert_eq!(shared, [handles[1][2], handles[3][2]], "both hold and map the same page");
    story.close();
}
