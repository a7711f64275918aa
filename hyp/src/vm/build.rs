//! Building a VM: a plan record becomes a VM. Boot replays the plan through this; what a VM is given later is `attach`'s.
//!
//! A VM is taken together first: when anything is missing, everything is given back and nothing was made.

use core::fmt;

use heapless::{String, Vec};
use log::Level;
use strato_abi::addr::{INFO_PAGES_MAX, PAGE_SIZE, RAM_BASE};
use strato_abi::handle::{Kind as HandleKind, Rights};
use strato_abi::info_page::NAME_LEN;
use strato_abi::plan::CreateVm;

use super::handles::{Flags, HandleTable, MemRef, Object};
use super::info::{self, Named};
use super::parts::Parts;
use super::spaces::{self, Window};
use super::{VCPUS_MAX, Vm};
use crate::allocator::{Account, AllocError, Allocator, Kind, MemId, Owner};
use crate::arch::page_box::{PageBox, PageSlice};
use crate::arch::page_row::PageRow;
use crate::arch::ram::{FRAME_SIZE, Pages};
use crate::arch::shared::SharedPages;
use crate::console::say;
use crate::events::Port;
use crate::memory::source::Charged;
use crate::memory::stage2::{AddressSpace, SpaceError};
use crate::vcpu::Vcpu;

/// Why something cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// A field of the record is outside its bounds; what was expected of it.
    Record(&'static str),
    /// No memory, or the VM's quota is too small.
    Memory(AllocError),
    /// A mapping is refused.
    Space(SpaceError),
    /// A table of the VM is full: handles, or the info page.
    Full,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Record(what) => what,
            Self::Memory(AllocError::Quota) => "the VM's quota is too small",
            Self::Memory(_) => "there is not enough memory",
            Self::Space(SpaceError::Exists) => "its pages overlap others",
            Self::Space(SpaceError::Quota) => "the VM's quota is too small for its tables",
            Self::Space(SpaceError::NoMemory) => "there is no memory for tables",
            Self::Space(_) => "its pages lie outside what can be mapped",
            Self::Full => "the VM's table of handles, or its info page, is full",
        })
    }
}

impl From<AllocError> for BuildError {
    fn from(error: AllocError) -> Self {
        Self::Memory(error)
    }
}

impl From<SpaceError> for BuildError {
    fn from(error: SpaceError) -> Self {
        Self::Space(error)
    }
}

/// What a VM is made of besides its record.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// Place in the machine's table.
    pub place: u8,
    /// Never the same for two VMs of one place; below 2^30.
    pub incarnation: u32,
    /// Home core of each vCPU.
    pub homes: [u8; VCPUS_MAX],
    /// How many named handles the plan gives the VM.
    pub named: usize,
    /// Ticks per second.
    pub counter_hz: u64,
    /// Command line.
    pub command_line: &'a [u8],
}

/// Entries of a table of handles: a port's number has ten bits.
const HANDLES_MAX: u16 = 1024;

/// Frames that were taken for a VM that is being made.
struct Stock<'a> {
    allocator: &'a mut Allocator,
    account: Account,
    taken: Vec<Pages, 24>,
}

impl Stock<'_> {
    fn take(&mut self, order: u32, kind: Kind) -> Result<(), AllocError> {
        let pages = self.allocator.take(order, kind, &mut self.account)?;
        self.taken.push(pages).map_err(|pages| self.return_one(pages))
    }

    fn return_one(&mut self, pages: Pages) -> AllocError {
        if self.allocator.give_back(pages, &mut self.account).is_err() {
            unreachable!("frames go back to the account they were taken on");
        }
        AllocError::NoMemory
    }

    fn return_all(&mut self) {
        while let Some(pages) = self.taken.pop() {
            self.return_one(pages);
        }
    }

    fn next(&mut self) -> Pages {
        let Some(pages) = self.taken.pop() else { unreachable!("as many frames are used as were taken") };
        pages
    }
}

fn order_of(bytes: usize) -> u32 {
    bytes.div_ceil(FRAME_SIZE).next_power_of_two().trailing_zeros()
}

/// Returns the VM of `record` at `site`, with its memory `ram` under the first handle, its own pages mapped and all vCPUs
/// off.
///
/// # Errors
/// [`BuildError`]; everything taken is given back then.
#[inline(never)] // what it has on the stack is gone when the rest of the plan is carried out
pub fn create(record: &CreateVm, site: Site<'_>, allocator: &mut Allocator) -> Result<PageBox<Vm>, BuildError> {
    let vcpus = usize::from(record.vcpus);
    let layout = info::Layout::new(site.command_line.len(), site.named.saturating_add(1));
    if record.handles > HANDLES_MAX || layout.pages() as u64 > INFO_PAGES_MAX {
        return Err(BuildError::Record("expected at most 1,024 handles and eight info pages"));
    }
    let is_size_good = record.ram_size.is_power_of_two() && record.ram_size >= PAGE_SIZE;
    if vcpus == 0 || vcpus > VCPUS_MAX || !is_size_good || record.handles == 0 || record.priority > 31 {
        return Err(BuildError::Record("expected number of vCPUs, ram, handles or priority"));
    }
    let label = label(&record.label).ok_or(BuildError::Record("expected label"))?;
    let account = Account::new(Owner::Vm(u16::from(site.place)), u64::from(record.quota_pages));
    let mut stock = Stock { allocator, account, taken: Vec::new() };
    let made = take_all(&mut stock, record, layout).and_then(|ram| {
        let own = map_own_pages(&mut stock, layout)?;
        Ok((ram, own))
    });
    let (ram, (space, window, info_pages, records, area)) = match made {
        Ok(parts) => parts,
        Err(error) => {
            stock.return_all();
            return Err(error);
        }
    };
    let mut handles = HandleTable::new(stock.next());
    let ports = PageSlice::<Port>::zeroed(stock.next());
    ports.masked(0).close_first();
    let own = stock.next();
    let boxes = make_vcpus(&mut stock, site.homes.iter().take(vcpus), record.priority, site.place);
    let named = add_ram(&mut handles, record, stock.allocator, ram)?;
    if let Some(mem) = stock.allocator.mem_info(ram) {
        say(Level::Debug, format_args!("vm {label}: ram at pa {:#x}, {} bytes", mem.base.bytes(), record.ram_size));
    }
    let fits = info::write(info_pages.frames(), layout, record, site.counter_hz, site.command_line);
    if !fits || !info::add(info_pages.frames(), &named) {
        return Err(BuildError::Full);
    }
    let parts = Parts {
        vcpus: boxes,
        ports,
        label,
        pages: [info_pages, records],
        area,
        space,
        window,
        account: stock.account,
        handles,
    };
    parts.assemble(own, record, &site).map_err(|()| BuildError::Record("expected a VM that fits its frames"))
}

/// Makes vCPUs at `homes`. By itself, so that no vCPU stands on the stack beside the VM.
#[inline(never)]
fn make_vcpus<'h>(
    stock: &mut Stock<'_>,
    homes: impl Iterator<Item = &'h u8>,
    priority: u8,
    place: u8,
) -> PageRow<Vcpu, VCPUS_MAX> {
    // The room is there: at most VCPUS_MAX of exactly one frame each.
    let named = homes.zip(u16::from(place) * 8..);
    named.filter_map(|(home, name)| PageBox::new(stock.next(), Vcpu::new(*home, priority, name)).ok()).collect()
}

/// Takes everything a VM is made of, in the reverse order of use; returns its memory.
fn take_all(stock: &mut Stock<'_>, record: &CreateVm, layout: info::Layout) -> Result<MemId, BuildError> {
    let handles = usize::from(record.handles);
    for _ in 0..record.vcpus {
        stock.take(PageBox::<Vcpu>::ORDER, Kind::Object)?;
    }
    stock.take(PageBox::<Vm>::ORDER, Kind::Object)?;
    stock.take(order_of(handles.saturating_mul(size_of::<Port>())), Kind::Object)?;
    stock.take(order_of(handles.saturating_mul(super::handles::ENTRY_BYTES)), Kind::Object)?;
    stock.take(0, Kind::Object)?; // event area
    stock.take(0, Kind::Object)?; // vCPU area
    stock.take(order_of(layout.pages().saturating_mul(FRAME_SIZE)), Kind::Object)?; // info pages
    stock.take(0, Kind::Table)?; // root table
    let order = order_of(usize::try_from(record.ram_size).map_err(|_| BuildError::Record("expected ram"))?);
    Ok(stock.allocator.mem_create(order, &mut stock.account)?)
}

type OwnPages = (AddressSpace, Window, SharedPages, SharedPages, SharedPages);

/// Makes the address space with the hypervisor's window in it.
fn map_own_pages(stock: &mut Stock<'_>, layout: info::Layout) -> Result<OwnPages, BuildError> {
    let root = stock.next();
    let info = SharedPages::new(stock.next());
    let records = SharedPages::new(stock.next());
    let area = SharedPages::new(stock.next());
    let window = Window { info: info.pa(), info_pages: layout.pages() as u64, records: records.pa(), area: area.pa() };
    let mut source = Charged::new(stock.allocator, &mut stock.account, || false);
    match spaces::make(root, window, &mut source) {
        Ok(space) => Ok((space, window, info, records, area)),
        Err(error) => {
            for pages in [info, records, area] {
                stock.return_one(pages.into_pages());
            }
            Err(error.into())
        }
    }
}

fn label(bytes: &[u8]) -> Option<String<31>> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    let text = core::str::from_utf8(bytes.get(..end)?).ok()?;
    String::try_from(text).ok().filter(|text| !text.is_empty())
}

fn add_ram(
    handles: &mut HandleTable,
    record: &CreateVm,
    allocator: &mut Allocator,
    id: MemId,
) -> Result<Named, BuildError> {
    let mem = allocator.mem_info(id).ok_or(AllocError::Stale)?;
    allocator.mem_add_reference(id)?;
    let rights = Rights::READ | Rights::WRITE | Rights::EXECUTE | Rights::OWNER;
    let object = Object::Mem(MemRef { id, base: mem.base, pages: mem.pages, rights, flags: Flags::empty() });
    let handle = handles.insert(object, record.handles).map_err(|_| BuildError::Full)?;
    let (size, address) = (record.ram_size, RAM_BASE);
    Ok(Named { handle, kind: HandleKind::Mem, rights: rights.bits(), size, address, name: name("ram") })
}

/// Returns a name as the info page has it.
#[must_use]
pub fn name(text: &str) -> [u8; NAME_LEN] {
    let mut name = [0; NAME_LEN];
    name.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    name
}
