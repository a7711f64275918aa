//! Making: a VM that is taken together, part by part, each step bounded. Called by `build` for boot, which does all steps at once, and by
//! `builder` for a VM that is made again while guests run.

use heapless::{String, Vec};
use log::Level;
use strato_abi::addr::{INFO_PAGES_MAX, PAGE_SIZE, RAM_BASE};
use strato_abi::handle::{Kind as HandleKind, Rights};
use strato_abi::plan::CreateVm;

use super::build::{BuildError, Site, name};
use super::handles::{ENTRY_BYTES, Flags, HandleTable, MemRef, Object};
use super::info::{self, Named};
use super::restart::Rule;
use super::spaces::{self, Window};
use super::{VCPUS_MAX, Vm};
use crate::allocator::{Account, AllocError, Allocator, Kind, MemId, Owner, Scrub, ram_of};
use crate::arch::page_box::PageBox;
use crate::arch::page_row::PageRow;
use crate::arch::ram::{FRAME_SIZE, Pages};
use crate::arch::shared::SharedPages;
use crate::console::say;
use crate::events::Port;
use crate::memory::source::Charged;
use crate::memory::stage2::{AddressSpace, Progress};
use crate::vcpu::Vcpu;
use crate::vcpu::timers::TIMERS;

/// Entries of a table of handles: a port's number has ten bits.
const HANDLES_MAX: u16 = 1024;
/// What else a VM is made of, in the order in which it is taken: its object, ports, event area, vCPU area, info pages, handles, root table.
/// They are used in the reverse order.
const PIECES: u32 = 7;

fn order_of(bytes: usize) -> u32 {
    bytes.div_ceil(FRAME_SIZE).next_power_of_two().trailing_zeros()
}

const TORN: BuildError = BuildError::Record("expected a VM that fits its frames");

/// A VM that is being made, in bounded steps.
#[must_use = "frames that are dropped are lost: finish it, or give it up"]
pub struct Making {
    layout: info::Layout,
    pub(super) label: String<31>,
    pub(super) account: Account,
    pub(super) vcpus: PageRow<Vcpu, VCPUS_MAX>,
    pieces: Vec<Pages, { PIECES as usize }>,
    pub(super) own: Option<(AddressSpace, Window)>,
    pub(super) handles: Option<HandleTable>,
    ram: Option<Scrub>,
    pub(super) info: Option<SharedPages>,
}

impl Making {
    /// Returns the VM of `record` at `site` with nothing taken for it.
    ///
    /// # Errors
    /// [`BuildError::Record`].
    pub fn begin(record: &CreateVm, site: &Site<'_>) -> Result<Self, BuildError> {
        let vcpus = usize::from(record.vcpus);
        let layout = info::Layout::new(site.command_line.len(), site.named.saturating_add(1));
        if record.handles > HANDLES_MAX || layout.pages() as u64 > INFO_PAGES_MAX {
            return Err(BuildError::Record("expected at most 1,024 handles and eight info pages"));
        }
        let is_size_good = record.ram_size.is_power_of_two() && record.ram_size >= PAGE_SIZE;
        if vcpus == 0 || vcpus > VCPUS_MAX || !is_size_good || record.handles == 0 || record.priority > 31 {
            return Err(BuildError::Record("expected number of vCPUs, ram, handles or priority"));
        }
        if usize::from(record.timers) > TIMERS {
            return Err(BuildError::Record("expected at most 32 timers"));
        }
        let label = label(&record.label).ok_or(BuildError::Record("expected label"))?;
        let account = Account::new(Owner::Vm(u16::from(site.place)), u64::from(record.quota_pages));
        let (vcpus, pieces) = (PageRow::new(), Vec::new());
        Ok(Self { layout, label, account, vcpus, pieces, own: None, handles: None, ram: None, info: None })
    }

    /// Returns whether it can be finished.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.info.is_some()
    }

    /// Takes or makes one more part. The memory comes last, so that nothing large is given up.
    ///
    /// # Errors
    /// [`BuildError`]; it has to be given up then.
    pub fn step(
        &mut self,
        record: &CreateVm,
        site: &Site<'_>,
        (allocator, own): (&mut Allocator, &mut Account),
    ) -> Result<(), BuildError> {
        let (number, piece) = (self.vcpus.len(), self.pieces.len());
        let is_vcpu = number < usize::from(record.vcpus);
        if is_vcpu || self.own.is_none() && piece < PIECES as usize {
            let (order, kind) =
                if is_vcpu { (PageBox::<Vcpu>::ORDER, Kind::Object) } else { self.piece(piece, record) };
            let pages = allocator.take(order, kind, &mut self.account)?;
            // Each list has the room.
            if is_vcpu {
                let _ = make_vcpu(pages, number, record.priority, site).map(|vcpu| {
                    vcpu.timers.lock_leaf().allow(record.timers);
                    self.vcpus.push(vcpu)
                });
            } else {
                self.pieces.extend([pages]);
            }
        } else if self.own.is_none() {
            self.own = Some(self.map_own_pages(allocator)?);
        } else if self.handles.is_none() {
            let mut handles = HandleTable::new(self.next_piece());
            let generation = site.life.first_generation().wrapping_sub(1);
            if generation != 0 {
                handles.begin_behind(generation);
            }
            self.handles = Some(handles);
        } else if let Some(ram) = &mut self.ram {
            if ram.step() {
                self.describe(record, site, (allocator, own))?;
            }
        } else {
            let size = usize::try_from(record.ram_size).map_err(|_| BuildError::Record("expected ram"))?;
            if Rule::of(record).restarts() {
                allocator.promise(ram_of(site.place), site.place);
            }
            self.ram = Some(allocator.begin_kept(ram_of(site.place), order_of(size), own)?);
        }
        Ok(())
    }

    pub(super) fn next_piece(&mut self) -> Pages {
        let Some(pages) = self.pieces.pop() else { unreachable!("as many frames are used as were taken") };
        pages
    }

    /// Makes the address space with the hypervisor's window in it.
    fn map_own_pages(&mut self, allocator: &mut Allocator) -> Result<(AddressSpace, Window), BuildError> {
        let root = self.next_piece();
        let pa = |piece: usize| self.pieces.get(piece).map_or(root.pa(), Pages::pa);
        let window = Window { area: pa(2), records: pa(3), info: pa(4), info_pages: self.layout.pages() as u64 };
        let mut source = Charged::new(allocator, &mut self.account, || false);
        Ok((spaces::make(root, window, &mut source)?, window))
    }

    /// Gives it its memory, which is zero, and writes what it is told about itself.
    fn describe(
        &mut self,
        record: &CreateVm,
        site: &Site<'_>,
        (allocator, own): (&mut Allocator, &mut Account),
    ) -> Result<(), BuildError> {
        let ram = self.ram.take().and_then(|ram| ram.finish().ok()).and_then(|pages| allocator.mem_finish(pages).ok());
        let info = self.next_piece();
        let info = &*self.info.insert(SharedPages::new(info));
        let (Some(handles), Some(ram)) = (&mut self.handles, ram) else { return Err(TORN) };
        allocator.mem_hand_over(ram, own, &mut self.account)?;
        let named = add_ram(handles, record, allocator, ram)?;
        let label = &self.label;
        if let Some(mem) = allocator.mem_info(ram) {
            say(Level::Debug, format_args!("vm {label}: ram at pa {:#x}, {} bytes", mem.base.bytes(), record.ram_size));
        }
        if !info::write(info.frames(), self.layout, record, site) || !info::add(info.frames(), &named) {
            return Err(BuildError::Full);
        }
        Ok(())
    }

    /// Returns the VM, which is ready.
    ///
    /// # Errors
    /// [`BuildError`]: the record and the site contradict each other, so that the same is said of every VM of the record.
    pub fn finish(&mut self, record: &CreateVm, site: &Site<'_>) -> Result<PageBox<Vm>, BuildError> {
        self.assemble(record, site).ok_or(TORN)
    }

    /// Gives everything back that was taken.
    ///
    /// But no memory: behind the step that takes it one alone fails, by the quota, and leaves it to the promise that it was taken by.
    pub fn give_up(&mut self, allocator: &mut Allocator) {
        while let Some(pages) = self.take_any() {
            give_back(pages, allocator, &mut self.account);
        }
        let Some((mut space, _)) = self.own.take() else { return };
        let mut source = Charged::new(allocator, &mut self.account, || false);
        while space.teardown_step(&mut source) == Progress::More {}
        if space.finish(&mut source).is_err() {
            unreachable!("the teardown is done")
        }
    }

    /// Returns frames that are held, if any are besides the address space.
    fn take_any(&mut self) -> Option<Pages> {
        if let Some(pages) = self.pieces.pop() {
            return Some(pages);
        }
        if let Some(vcpu) = self.vcpus.pop() {
            return Some(vcpu.into_pages());
        }
        self.handles.take().map(HandleTable::into_pages)
    }

    /// Returns the size of piece `number` of the VM of `record`, as an order, and what it is for.
    fn piece(&self, number: usize, record: &CreateVm) -> (u32, Kind) {
        let handles = usize::from(record.handles);
        let bytes = match number {
            0 => PageBox::<Vm>::PAGES.saturating_mul(FRAME_SIZE),
            1 => handles.saturating_mul(size_of::<Port>()),
            4 => self.layout.pages().saturating_mul(FRAME_SIZE),
            5 => handles.saturating_mul(ENTRY_BYTES),
            _ => FRAME_SIZE,
        };
        (order_of(bytes), if number == 6 { Kind::Table } else { Kind::Object })
    }
}

fn give_back(pages: Pages, allocator: &mut Allocator, account: &mut Account) {
    if allocator.give_back(pages, account).is_err() {
        unreachable!("frames go back to the account they were taken on");
    }
}

/// Makes vCPU `number`. By itself, so that no vCPU stands on the stack beside the VM.
#[inline(never)]
fn make_vcpu(pages: Pages, number: usize, priority: u8, site: &Site<'_>) -> Option<PageBox<Vcpu>> {
    let name = u16::from(site.place).wrapping_mul(8).wrapping_add(u16::try_from(number).ok()?);
    let home = site.homes.get(number).copied().unwrap_or(0);
    // The room is there: exactly what a vCPU takes.
    PageBox::new(pages, Vcpu::new(home, priority, name)).ok()
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
