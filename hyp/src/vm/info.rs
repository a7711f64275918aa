//! Info page: what a VM is told about itself. Written by `vm::build` while the VM is made, read by the guest alone.

use core::mem::size_of;

use strato_abi::Group;
use strato_abi::addr::{EVENT_AREA, RAM_BASE, VCPU_AREA};
use strato_abi::handle::{Handle, Kind};
use strato_abi::info_page::{
    FEATURE_CONSOLE_INPUT, FEATURE_CYCLES, FEATURE_FP, FEATURE_JIT, FEATURE_NATIVE, GroupEntry, HandleEntry, InfoPage,
    MAGIC, NAME_LEN, TableRef,
};
use strato_abi::plan::{CreateVm, VM_CONSOLE_INPUT, VM_FP, VM_JIT, VM_NATIVE};
use strato_abi::version::ABI_VERSION;
use zerocopy::{FromZeros, IntoBytes};

use super::build::Site;
use crate::arch::ram::FRAME_SIZE;
use crate::arch::shared::SharedFrames;

const GROUPS_AT: usize = size_of::<InfoPage>();
const COMMAND_LINE_AT: usize = GROUPS_AT + Group::ALL.len() * size_of::<GroupEntry>();

/// Where the parts of one VM's info page stand.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    handles_at: usize,
    bytes: usize,
}

impl Layout {
    /// Returns the layout for a command line of `command_line` bytes and up to `handles` named handles.
    #[must_use]
    pub const fn new(command_line: usize, handles: usize) -> Self {
        let handles_at = (COMMAND_LINE_AT + command_line).next_multiple_of(8);
        Self { handles_at, bytes: handles_at + handles * size_of::<HandleEntry>() }
    }

    /// Returns how many pages it takes.
    #[must_use]
    pub const fn pages(&self) -> usize {
        self.bytes.div_ceil(FRAME_SIZE)
    }
}

fn table(offset: usize, stride: usize, count: usize) -> TableRef {
    TableRef {
        offset: u32::try_from(offset).unwrap_or(0),
        stride: u16::try_from(stride).unwrap_or(0),
        count: u16::try_from(count).unwrap_or(0),
    }
}

/// Writes everything but the handles. Returns whether it fitted.
#[must_use]
pub fn write(page: SharedFrames<'_>, layout: Layout, record: &CreateVm, site: &Site<'_>) -> bool {
    let Site { command_line, life, .. } = *site;
    let mut features = if site.has_cycles { FEATURE_CYCLES } else { 0 };
    for (flag, feature) in [
        (VM_FP, FEATURE_FP),
        (VM_JIT, FEATURE_JIT),
        (VM_CONSOLE_INPUT, FEATURE_CONSOLE_INPUT),
        (VM_NATIVE, FEATURE_NATIVE),
    ] {
        features |= if record.flags & flag != 0 { feature } else { 0 };
    }
    let mut header = InfoPage::new_zeroed();
    header.magic = MAGIC;
    header.version = ABI_VERSION;
    header.header_size = u32::try_from(size_of::<InfoPage>()).unwrap_or(0);
    header.total_size = u32::try_from(layout.bytes).unwrap_or(0);
    header.vm = u32::from(record.header.vm);
    header.vcpus = u32::from(record.vcpus);
    header.features = features;
    header.label = record.label;
    header.ram_base = RAM_BASE;
    header.ram_size = record.ram_size;
    header.image_base = record.image_base;
    header.image_size = record.image_size;
    header.command_line = table(COMMAND_LINE_AT, 1, command_line.len());
    header.counter_hz = site.counter_hz;
    header.vcpu_area = VCPU_AREA;
    header.event_area = EVENT_AREA;
    (header.boot_reason, header.boot_count, header.last_exit) = (life.reason, life.number, life.last_exit);
    header.groups = table(GROUPS_AT, size_of::<GroupEntry>(), Group::ALL.len());
    header.handles = table(layout.handles_at, size_of::<HandleEntry>(), 0);
    let mut fits = page.write(0, header.as_bytes()) && page.write(COMMAND_LINE_AT, command_line);
    for (n, group) in Group::ALL.iter().enumerate() {
        let (major, minor) = group.version();
        let calls = record.calls.get(*group as usize).copied().unwrap_or(0);
        let entry = GroupEntry { group: *group as u16, major, minor, reserved: 0, calls, reserved2: 0 };
        fits &= page.write(GROUPS_AT + n * size_of::<GroupEntry>(), entry.as_bytes());
    }
    fits
}

/// A handle as the guest finds it by name.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// The handle.
    pub handle: Handle,
    /// What it names.
    pub kind: Kind,
    /// Rights of memory.
    pub rights: u16,
    /// Bytes of memory.
    pub size: u64,
    /// Where memory is mapped at the start, or 0.
    pub address: u64,
    /// The name, padded with zeros.
    pub name: [u8; NAME_LEN],
}

/// Adds a handle behind the others. Returns whether there was room.
#[inline(never)]
#[must_use]
pub fn add(page: SharedFrames<'_>, named: &Named) -> bool {
    let mut header = InfoPage::new_zeroed();
    if !page.read(0, header.as_mut_bytes()) {
        return false;
    }
    let Named { handle, kind, rights, size, address, name } = *named;
    let entry = HandleEntry { handle: handle.bits(), kind: kind as u16, rights, size, address, name };
    let at = header.handles.offset as usize + usize::from(header.handles.count) * size_of::<HandleEntry>();
    let end = at + size_of::<HandleEntry>();
    if end > header.total_size as usize {
        return false;
    }
    header.handles.count = header.handles.count.saturating_add(1);
    page.write(at, entry.as_bytes()) && page.write(0, header.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::backing;
    use crate::arch::shared::SharedPages;
    use crate::vm::restart::Life;
    use std::mem::ManuallyDrop;

    #[test]
    fn handles_are_added_until_the_announced_size_is_full() {
        let mut frames = backing::ram(1, 1);
        frames.scrub();
        let pages = ManuallyDrop::new(SharedPages::new(frames));
        let layout = Layout::new(5, 1);
        let mut record = CreateVm::new_zeroed();
        record.vcpus = 2;
        let mut life = Life::FIRST;
        (life.reason, life.number, life.last_exit) = (2, 7, 3);
        let site = Site {
            place: 0,
            life,
            homes: [0; 8],
            named: 1,
            counter_hz: 62_500_000,
            has_cycles: true,
            has_to_clear: false,
            command_line: b"a=b c",
        };
        assert!(write(pages.frames(), layout, &record, &site));
        let named = Named {
            handle: Handle::new(0, 1),
            kind: Kind::Mem,
            rights: 3,
            size: 4096,
            address: 0,
            name: [b'r'; NAME_LEN],
        };
        assert!(add(pages.frames(), &named));
        assert!(!add(pages.frames(), &named), "only one was announced");
        let mut header = InfoPage::new_zeroed();
        assert!(pages.frames().read(0, header.as_mut_bytes()));
        assert_eq!((header.magic, header.vcpus, header.handles.count), (MAGIC, 2, 1));
        assert_eq!(header.features, FEATURE_CYCLES, "of the record there is none");
        assert_eq!((header.boot_reason, header.boot_count, header.last_exit), (2, 7, 3));
        let mut text = [0; 5];
        assert!(pages.frames().read(header.command_line.offset as usize, &mut text));
        assert_eq!(&text, b"a=b c");
    }

    #[test]
    fn many_handles_take_more_pages() {
        assert_eq!(Layout::new(0, 4).pages(), 1);
        assert_eq!(Layout::new(0, 64).pages(), 2);
    }
}
