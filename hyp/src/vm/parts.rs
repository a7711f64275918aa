//! Parts of a VM that were made, and the VM that they become.

use strato_abi::plan::{CreateVm, VM_JIT, VM_NATIVE};
use strato_abi::{Call, Ipa};

use super::build::Site;
use super::making::Making;
use super::restart::Rule;
use super::spaces::Spaces;
use super::stop::Stage;
use super::{Inner, LastWords, Manner, Speculation, Vm};
use crate::allocator::Account;
use crate::arch::page_box::{PageBox, PageSlice};
use crate::arch::page_row::PageRow;
use crate::arch::shared::SharedPages;
use crate::console::LineBuffer;
use crate::events::{EventArea, Port};
use crate::lock::Lock;
use crate::memory::descriptor::RamAttrs;
use crate::sync::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};

impl Making {
    /// Makes the VM of `record` at `site` of the parts. By itself, so that a VM stands on the stack only while it is moved into its frames.
    /// Returns `None` when a part is missing or the record is no good.
    #[inline(never)]
    pub(super) fn assemble(&mut self, record: &CreateVm, site: &Site<'_>) -> Option<PageBox<Vm>> {
        let (entry, named) = (Ipa::new(record.entry)?, u16::try_from(site.named).ok()?);
        let (is_open, speculation) = (is_open(&record.calls), Speculation::of(record.flags));
        let apart = (site.has_to_clear && speculation != Speculation::Plain).then_some(site.place);
        let vcpus = core::mem::replace(&mut self.vcpus, PageRow::new());
        let ((space, window), info) = self.own.take().zip(self.info.take())?;
        let [records, area] = core::array::from_fn(|_| SharedPages::new(self.next_piece()));
        let handles = self.handles.take()?;
        let ports = PageSlice::<Port>::zeroed(self.next_piece());
        ports.masked(0).close_first();
        let vm = Vm {
            manner: Manner::new(is_open, record.flags & VM_NATIVE != 0, speculation, vcpus.len()).apart(apart),
            vcpus,
            ports,
            place: site.place,
            incarnation: site.life.number,
            label: self.label.clone(),
            flags: record.flags,
            priority: record.priority,
            attrs: RamAttrs::new(record.flags & VM_JIT != 0),
            handle_limit: record.handles,
            area: EventArea::new(area),
            pages: [info, records],
            base: AtomicU64::new(0),
            inner: Lock::new(Inner {
                spaces: Spaces::new(space, window),
                account: core::mem::replace(&mut self.account, Account::hypervisor()),
                handles,
                stage: Stage::Ports(0),
                work: None,
                left: 0,
                last_words: LastWords::default(),
            }),
            line: Lock::new(LineBuffer::new()),
            calls: record.calls,
            is_open,
            speculation,
            entry,
            named,
            rule: Rule::of(record),
            life: site.life,
            is_ending: AtomicBool::new(false),
            ending: Lock::new(None),
            attached: AtomicU32::new(u32::from(record.vcpus).saturating_add(u32::from(site.life.number > 1))),
            awake: AtomicU32::new(0),
            has_run: AtomicBool::new(false),
            has_devices: AtomicBool::new(false),
            share_cores: AtomicU8::new(0),
        };
        PageBox::new(self.next_piece(), vm).ok()
    }
}

/// Returns whether `calls`, a bitmap per group, has every call that there is.
fn is_open(calls: &[u32; 8]) -> bool {
    const EVERY: [u32; 8] = {
        let mut every = [0; 8];
        let mut n = 0;
        while n < Call::ALL.len() {
            #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
            let call = Call::ALL[n];
            #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
            {
                every[call.group() as usize] |= 1u32 << call.op();
            }
            n += 1;
        }
        every
    };
    calls.iter().zip(EVERY).all(|(calls, every)| every & !calls == 0)
}
