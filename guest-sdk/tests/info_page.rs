//! The info page: what a guest reads from a good one, and that every broken table is refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

use strato_guest::abi::info_page::{FEATURE_CYCLES, GroupEntry, HandleEntry, InfoPage, MAGIC, TableRef};
use strato_guest::abi::{Group, Handle, PortHandle};
use strato_guest::info::{BrokenInfo, Info};
use strato_guest::time::CycleCounter;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

const HEADER: usize = size_of::<InfoPage>();
const COMMAND_LINE: &str = "role=ping log=debug role=pong";

#[repr(C, align(8))]
struct Page([u8; 4096]);

impl Page {
    fn change(mut self, change: impl FnOnce(&mut InfoPage)) -> Self {
        let (header, _) = InfoPage::mut_from_prefix(&mut self.0).unwrap();
        change(header);
        self
    }

    fn check(&self) -> Result<&Info, BrokenInfo> {
        Info::check(&self.0)
    }
}

fn padded<const N: usize>(name: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}

fn page() -> Page {
    let mut tables = Vec::new();
    let mut table = |bytes: &[u8], stride: usize| {
        let offset = u32::try_from(HEADER + tables.len()).unwrap();
        tables.extend_from_slice(bytes);
        tables.resize(tables.len().next_multiple_of(8), 0);
        let stride = u16::try_from(stride).unwrap();
        TableRef { offset, stride, count: u16::try_from(bytes.len()).unwrap() / stride }
    };
    let group = GroupEntry { group: 5, major: 1, minor: 0, reserved: 0, calls: 0x63f, reserved2: 0 };
    let groups = table(group.as_bytes(), size_of::<GroupEntry>());
    // Entries of a later version are longer: the guest skips what it does not know.
    let mut entries = Vec::new();
    for (handle, kind, name, address) in
        [(0x1_0004, 1, "to_pong", 0), (0x1_0005, 2, "ram", 0x4000_0000), (0x1_0006, 6, "pong", 0)]
    {
        let entry = HandleEntry { handle, kind, rights: 11, size: 0x10_0000, address, name: padded(name) };
        entries.extend_from_slice(entry.as_bytes());
        entries.extend_from_slice(&[0xff; 8]);
    }
    let handles = table(&entries, size_of::<HandleEntry>() + 8);
    let command_line = table(COMMAND_LINE.as_bytes(), 1);
    let mut header = InfoPage::new_zeroed();
    header.magic = MAGIC;
    header.version = 1 << 16 | 3;
    header.header_size = HEADER.try_into().unwrap();
    header.total_size = (HEADER + tables.len()).try_into().unwrap();
    header.vcpus = 2;
    header.label = padded("ping");
    (header.ram_base, header.ram_size, header.counter_hz) = (0x4000_0000, 0x10_0000, 62_500_000);
    (header.groups, header.handles, header.command_line) = (groups, handles, command_line);
    let mut page = Page([0; 4096]);
    page.0[..HEADER].copy_from_slice(header.as_bytes());
    page.0[HEADER..][..tables.len()].copy_from_slice(&tables);
    page
}

#[test]
fn a_good_page_tells_everything_by_name() {
    let page = page();
    let info = page.check().unwrap();
    assert_eq!((info.label(), info.vcpus(), info.counter_hz()), ("ping", 2, 62_500_000));
    assert_eq!(info.ram(), 0x4000_0000..0x4010_0000);
    assert_eq!(info.command_line(), COMMAND_LINE);
    assert_eq!((info.option("role"), info.option("log"), info.option("slice")), (Some("pong"), Some("debug"), None));
    assert_eq!(info.port("to_pong").unwrap(), PortHandle(Handle::new(4, 1)));
    assert_eq!(info.peer("pong").unwrap().0.index(), 6);
    let ram = info.mem("ram").unwrap();
    assert_eq!((ram.size, ram.address.unwrap().bytes(), ram.rights.bits()), (0x10_0000, 0x4000_0000, 11));
    assert_eq!(info.group(Group::Event).unwrap().calls, 0x63f);
    assert_eq!(info.group(Group::Core), None);
}

#[test]
fn a_handle_of_another_kind_or_name_is_missing_and_the_error_names_it() {
    let page = page();
    let info = page.check().unwrap();
    assert_eq!(info.port("ram").unwrap_err().to_string(), "the manifest gives this VM no Port named \"ram\"");
    assert!(info.mem("to_pong").is_err() && info.peer("ping").is_err() && info.port("to_pon").is_err());
}

#[test]
fn a_cycle_counter_is_there_where_the_system_opens_it() {
    assert!(CycleCounter::of(page().check().unwrap()).is_none());
    assert!(CycleCounter::of(page().change(|header| header.features = FEATURE_CYCLES).check().unwrap()).is_some());
}

#[test]
fn a_page_without_magic_is_refused() {
    assert_eq!(page().change(|header| header.magic = 0).check().err(), Some(BrokenInfo::Magic));
}

#[test]
fn a_page_of_another_major_version_is_refused() {
    let broken = page().change(|header| header.version = 2 << 16);
    assert_eq!(broken.check().err(), Some(BrokenInfo::Version(2 << 16)));
}

#[test]
fn a_page_shorter_than_it_says_is_refused() {
    assert_eq!(page().change(|header| header.total_size = 4097).check().err(), Some(BrokenInfo::Short));
    assert_eq!(page().change(|header| header.header_size = 223).check().err(), Some(BrokenInfo::Short));
    assert_eq!(page().change(|header| header.total_size = 100).check().err(), Some(BrokenInfo::Short));
    assert_eq!(Info::check(&page().0[..216]).err(), Some(BrokenInfo::Short));
    assert_eq!(Info::check(&[]).err(), Some(BrokenInfo::Short));
}

#[test]
fn a_table_that_leaves_the_page_or_has_short_entries_is_refused() {
    type Break = fn(&mut TableRef);
    let ways: [Break; 5] = [
        |table| table.offset = 0,
        |table| table.offset = u32::MAX,
        |table| table.offset += 4096,
        |table| table.stride = 0,
        |table| table.count = u16::MAX,
    ];
    for way in ways {
        assert_eq!(page().change(|header| way(&mut header.handles)).check().err(), Some(BrokenInfo::Table("handles")));
        assert_eq!(page().change(|header| way(&mut header.groups)).check().err(), Some(BrokenInfo::Table("groups")));
    }
    let short = page().change(|header| header.handles.stride = 63);
    assert_eq!(short.check().err(), Some(BrokenInfo::Table("handles")));
    let line = page().change(|header| header.command_line.count = 4000);
    assert_eq!(line.check().err(), Some(BrokenInfo::Table("the command line")));
}

#[test]
fn a_command_line_that_is_not_text_is_refused() {
    let mut page = page();
    let at = page.0.windows(5).position(|bytes| bytes == b"role=").unwrap();
    page.0[at] = 0xff;
    assert_eq!(page.check().err(), Some(BrokenInfo::CommandLine));
}

#[test]
fn tables_without_entries_are_fine_wherever_they_are() {
    let empty = TableRef { offset: 0, stride: 0, count: 0 };
    let page = page().change(|header| (header.groups, header.handles, header.command_line) = (empty, empty, empty));
    let info = page.check().unwrap();
    assert_eq!((info.command_line(), info.handles().count()), ("", 0));
}
