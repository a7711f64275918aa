//! The report's comparison: two sources that agree have no contradiction, and each that can be is found and named.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::path::Path;

use strato_abi::Rights;
use strato_abi::address_space::Attributes;
use strato_cli::report::facts::{self, Extent, Facts, Owner, Use};
use strato_cli::report::predict::{self, Backing, Holding, Promise, Promises, RegionPromise, VmPromises};
use strato_cli::report::{Report, join, show};
use strato_cli::system::{self, Source};

const RX: Attributes = Attributes::READ.union(Attributes::EXECUTE);
const RW: Attributes = Attributes::READ.union(Attributes::WRITE);

/// Two VMs with 64 KiB each, and a page of `a` that `b` may read.
fn promises() -> Promises {
    let vm = |label: &str, at: u64, rights: Attributes, held| VmPromises {
        label: label.into(),
        memory: 0x1_0000,
        ranges: vec![
            Promise { ipa: 0x3fe0_0000..0x3fe0_1000, rights: Attributes::READ, backing: Backing::Window("info page") },
            Promise { ipa: 0x4000_0000..0x4000_2000, rights: RX, backing: Backing::Ram(0, "code") },
            Promise { ipa: 0x4000_2000..0x4000_3000, rights: RW, backing: Backing::Ram(0x2000, "data") },
            Promise { ipa: at..at + 0x1000, rights, backing: Backing::Region(0) },
        ],
        holdings: vec![
            Holding { region: None, rights: Rights::all() },
            Holding { region: Some(0), rights: Rights::from_bits_truncate(held) },
        ],
    };
    Promises {
        vms: vec![vm("a", 0x8000_0000, RW, 11), vm("b", 0x9000_0000, Attributes::READ, 1)],
        regions: vec![RegionPromise { name: "shared".into(), bytes: 0x1000, owner: 0 }],
        devices: Vec::new(),
        sections: vec![("image", 0..0x4000), ("text", 0..0x2000)],
    }
}

/// What a hypervisor says that keeps the promises.
const SAID: &str = "\
report: ram 100000 180000
report: image 100000 104000
report: text 100000 102000
report: payload 104000 105000
report: carved 105000 106000
report: ledger 106000 108000
report: extent 108000 8 0 0 0 0
report: extent 110000 10 2 4 3 1
report: extent 120000 10 3 4 3 1
report: extent 130000 1 2 4 2 2
report: extent 131000 1 2 3 0 0
report: extent 132000 1 3 3 0 0
report: extent 133000 1 1 3 0 0
report: extent 134000 4 2 2 0 0
report: extent 138000 8 3 2 0 0
report: extent 140000 40 0 0 0 0
report: vm 0
report: label a
report: map 0 3fe00000 1000 1 131000
report: map 0 40000000 2000 5 110000
report: map 0 40002000 1000 3 112000
report: map 0 80000000 1000 3 130000
report: handle 0 0 110000 10 f
report: handle 0 1 130000 1 b
report: vm 1
report: label b
report: map 1 3fe00000 1000 1 132000
report: map 1 40000000 2000 5 120000
report: map 1 40002000 1000 3 122000
report: map 1 90000000 1000 1 130000
report: handle 1 0 120000 10 f
report: handle 1 1 130000 1 1
report: end";

fn report(said: &str) -> Report {
    join::join("two", "a board", &promises(), &facts::read(said.lines()).unwrap())
}

/// Returns the contradictions when `from` is said as `to`.
fn wrong(from: &str, to: &str) -> Vec<String> {
    assert_eq!(SAID.matches(from).count(), 1, "{from}");
    report(&SAID.replace(from, to)).contradictions
}

/// Checks that one of the contradictions has this text in it.
fn finds(from: &str, to: &str, text: &str) {
    let found = wrong(from, to);
    assert!(found.iter().any(|line| line.contains(text)), "{from} as {to}: {found:#?}");
}

#[test]
fn sources_that_agree_have_no_contradiction() {
    let report = report(SAID);
    assert_eq!(report.contradictions, Vec::<String>::new());
    assert_eq!((report.vms[0].owned_bytes, report.vms[0].overhead_bytes), (0x1_0000 + 0x6000, 0x5000));
    assert_eq!((report.vms[1].overhead_bytes, report.hypervisor_bytes), (0x9000, 0x4000 + 0x1000 * 5));
    let owners: Vec<_> = report.vms[1].stage2.iter().map(|row| (row.rights.as_str(), row.owner.as_str())).collect();
    assert_eq!(owners, [("r--", "b"), ("r-x", "b"), ("rw-", "b"), ("r--", "a")]);
    assert!(show::verdict(&report).ends_with("8 ranges of 2 VMs are as promised, no contradiction"));
}

#[test]
fn the_owner_of_each_range_has_to_be_the_promised_one() {
    let stolen = "map 1 40002000 1000 3 112000";
    finds("map 1 40002000 1000 3 122000", stolen, "`b` maps memory of a at 0x40002000..0x40003000");
    finds("map 1 40002000 1000 3 122000", "map 1 40002000 1000 3 133000", "`b` maps memory of strato at");
    finds("map 1 40002000 1000 3 122000", "map 1 40002000 1000 3 140000", "`b` maps memory of nobody at");
    finds("extent 120000 10 3 4 3 1", "extent 120000 10 2 4 3 1", "`b` maps memory of a at");
    finds("extent 130000 1 2 4 2 2", "extent 130000 1 3 4 2 2", "the region shared belongs to b, the file says a");
}

#[test]
fn the_hypervisors_own_memory_is_in_no_stage_2() {
    for (pa, name) in [("101000", "image"), ("104000", "payload"), ("105000", "carved"), ("107000", "ledger")] {
        let mapped = format!("map 0 40002000 1000 3 {pa}");
        finds("map 0 40002000 1000 3 112000", &mapped, &format!("`a` maps the hypervisor's {name} at 0x40002000"));
    }
}

#[test]
fn each_range_is_promised_and_each_promise_kept() {
    let data = "map 0 40002000 1000 3 112000";
    finds(data, "map 0 40002000 2000 3 112000", "`a` maps 0x40003000..0x40004000, where the file gives it nothing");
    finds(data, "map 0 40002000 1000 7 112000", "with rwx, the file says rw-");
    finds(data, "map 0 40002000 1000 3 113000", "its handle says 0x112000");
    finds("report: map 0 40002000 1000 3 112000\n", "", "`a` maps 0x0 bytes of data at 0x40002000..0x40003000");
    finds(
        "map 0 3fe00000 1000 1 131000",
        "map 0 3fe00000 1000 1 134000",
        "info page at 0x3fe00000..0x3fe01000 to tables",
    );
    finds("map 0 40000000 2000 5 110000", "map 0 40000000 2000 5 11f000", "in 2 extents instead of one");
}

#[test]
fn the_sharing_matrix_is_the_files() {
    finds("handle 1 1 130000 1 1", "handle 1 1 130000 1 3", "`b` holds shared with rw-, the file says r--");
    finds("handle 1 1 130000 1 1", "handle 1 1 140000 1 1", "`b` holds shared at 0x140000..0x141000, another VM at");
    finds("report: handle 1 1 130000 1 1\n", "", "`b` holds 1 handles to memory, the file gives it 2");
    finds("handle 0 0 110000 10 f", "handle 0 0 110000 8 f", "the file says 0x10000 bytes");
    let extra = "handle 1 1 130000 1 1\nreport: handle 1 2 110000 10 1";
    finds("handle 1 1 130000 1 1", extra, "`b` holds 3 handles to memory");
}

#[test]
fn every_byte_of_ram_is_accounted_for_once() {
    finds("extent 140000 40 0 0 0 0", "extent 140000 20 0 0 0 0", "nobody accounts for the RAM at 0x160000..0x180000");
    finds("report: extent 133000 1 1 3 0 0\n", "", "nobody accounts for the RAM at 0x133000..0x134000");
    finds("extent 134000 4 2 2 0 0", "extent 134000 5 2 2 0 0", "0x138000..0x139000 has two owners: tables of a");
    finds("extent 140000 40 0 0 0 0", "extent 140000 41 0 0 0 0", "is not in RAM");
    finds("carved 105000 106000", "carved 105000 107000", "0x106000..0x107000 has two owners");
}

#[test]
fn the_ledger_counts_what_is_mapped_and_held() {
    finds("extent 110000 10 2 4 3 1", "extent 110000 10 2 4 4 1", "counts 4 pages of 0x110000..0x120000 as mapped");
    finds(
        "extent 130000 1 2 4 2 2",
        "extent 130000 1 2 4 2 3",
        "counts 3 handles to 0x130000..0x131000, the VMs hold 2",
    );
    finds("handle 0 0 110000 10 f", "handle 0 0 111000 10 f", "which is no extent of the ledger");
}

#[test]
fn the_vms_and_the_image_are_the_ones_that_were_packed() {
    finds("label b", "label c", "VM 1 is `c`, the file says `b`");
    finds(
        "text 100000 102000",
        "text 100000 103000",
        "text stands at 0x100000..0x103000, its ELF file says 0x100000..0x102000",
    );
    finds("report: text 100000 102000\n", "", "does not say where its text stands");
    finds("report: image 100000 104000\n", "", "does not say where its image stands");
    finds("report: end", "report: vm 2\nreport: label z\nreport: end", "runs `z` as VM 2, the file has none");
    let cut = SAID.split("report: vm 1").next().unwrap();
    let found = report(&format!("{cut}report: end")).contradictions;
    assert!(found.contains(&"the hypervisor says nothing about `b`".to_owned()), "{found:#?}");
}

#[test]
fn the_json_has_the_fields_that_tools_read() {
    let value = serde_json::to_value(report(SAID)).unwrap();
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let top = [
        "board",
        "contradictions",
        "devices",
        "hypervisor",
        "hypervisor_bytes",
        "physical",
        "sharing",
        "system",
        "vms",
    ];
    assert_eq!(keys(&value), top);
    for list in ["physical", "hypervisor"] {
        assert_eq!(keys(&value[list][0]), ["bytes", "owner", "start", "what"]);
    }
    assert_eq!(keys(&value["vms"][0]), ["memory_bytes", "name", "overhead_bytes", "owned_bytes", "stage2"]);
    let row = serde_json::json!({ "ipa": 0x9000_0000_u64, "bytes": 0x1000, "rights": "r--", "pa": 0x13_0000,
        "what": "region shared", "owner": "a" });
    assert_eq!(value["vms"][1]["stage2"][3], row);
    let shared = serde_json::json!({ "region": "shared", "pa": 0x13_0000, "bytes": 0x1000, "owner": "a",
        "rights": { "a": "rw-o", "b": "r--" } });
    assert_eq!(value["sharing"], serde_json::json!([shared]));
}

#[test]
fn the_text_shows_the_way_from_guest_physical_to_the_owner() {
    let text = show::text(&report(SAID));
    assert!(
        text.contains("0x90000000..0x90001000  ->  0x00130000..0x00131000  4KiB  r--     region shared  a\n"),
        "{text}"
    );
    assert!(text.contains("shared  0x00130000..0x00131000  4KiB  a      rw-o  r--\n"), "{text}");
}

#[test]
fn a_fact_is_what_a_line_says() {
    let Facts { extents, .. } = facts::read(SAID.lines()).unwrap();
    let expected =
        Extent { range: 0x11_0000..0x12_0000, owner: Owner::Vm(0), used_for: Use::Memory, mapped_pages: 3, handles: 1 };
    assert_eq!(extents[1], expected);
}

#[test]
fn a_trusted_device_is_shown_with_the_promise_that_is_lost_by_it() {
    let text = "[[vm]]\nname = \"disk\"\nimage = \"x\"\nmemory = \"1MiB\"\n\n[[board.qemu-virt.device]]\nname = \"blk\"\n\
        vm = \"disk\"\nregisters = [{ address = 0x0a00_3000, size = \"4KiB\" }]\ninterrupts = [{ spi = 47 }]\ndma = \"trusted\"\n";
    let source = Source { path: "system.toml".into(), text: text.into() };
    let system = system::parse(&source, Path::new("."), "x").unwrap();
    let devices = predict::assigned(&system);
    assert_eq!((devices[0].interrupts.as_slice(), devices[0].registers[0]), (&[79][..], (0x0a00_3000, 0x1000)));
    let shown = show::text(&Report { devices, ..report(SAID) });
    assert!(shown.contains("promise lost: that memory is its owner's alone: by blk the program in disk"), "{shown}");
    assert!(shown.contains("blk     0x0a003000..0x0a004000  disk"), "{shown}");
    assert!(!show::text(&report(SAID)).contains("promise lost"));
}

#[test]
fn bits_of_registers_are_shown_without_their_page() {
    let text = "[[vm]]\nname = \"led\"\nimage = \"x\"\nmemory = \"1MiB\"\n\n[[board.qemu-virt.device]]\nname = \"gpio\"\n\
        vm = \"led\"\nregisters = [{ address = 0x0903_0000, size = \"4KiB\", allow = [{ offset = 0x400, mask = 6 }] }]\n";
    let source = Source { path: "system.toml".into(), text: text.into() };
    let devices = predict::assigned(&system::parse(&source, Path::new("."), "x").unwrap());
    assert_eq!((devices[0].registers.len(), devices[0].allowed.as_slice()), (0, &[(0x0903_0400, 6)][..]));
    let shown = show::text(&Report { devices, ..report(SAID) });
    assert!(shown.contains("gpio    0x9030400, bits 0x6  led"), "{shown}");
}
