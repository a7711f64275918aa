//! Parts of a VM that is being made, and the VM that they become.

use heapless::String;
use strato_abi::Call;
use strato_abi::plan::{CreateVm, VM_JIT, VM_NATIVE};

use super::build::Site;
use super::handles::HandleTable;
use super::spaces::{Spaces, Window};
use super::stop::Stage;
use super::{Inner, Manner, Speculation, VCPUS_MAX, Vm};
use crate::allocator::Account;
use crate::arch::page_box::{PageBox, PageSlice};
use crate::arch::page_row::PageRow;
use crate::arch::ram::Pages;
use crate::arch::shared::SharedPages;
use crate::console::LineBuffer;
use crate::events::{EventArea, Port};
use crate::lock::Lock;
use crate::memory::descriptor::RamAttrs;
use crate::memory::stage2::AddressSpace;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64};
use crate::vcpu::Vcpu;

/// What was made for a VM; the rest of it follows from its record.
pub(super) struct Parts {
    pub vcpus: PageRow<Vcpu, VCPUS_MAX>,
    pub ports: PageSlice<Port>,
    pub label: String<31>,
    pub pages: [SharedPages; 2],
    pub area: SharedPages,
    pub space: AddressSpace,
    pub window: Window,
    pub account: Account,
    pub handles: HandleTable,
}

impl Parts {
    /// Makes the VM of `record` at `site` in `own`. By itself, so that a VM stands on the stack only while it is moved into its frames.
    ///
    /// # Errors
    /// It does not fit.
    #[inline(never)]
    pub(super) fn assemble(self, own: Pages, record: &CreateVm, site: &Site<'_>) -> Result<PageBox<Vm>, ()> {
        let spaces = Spaces::new(self.space, self.window);
        let (is_open, speculation) = (is_open(&record.calls), Speculation::of(record.flags));
        let vm = Vm {
            manner: Manner::new(is_open, record.flags & VM_NATIVE != 0, speculation, self.vcpus.len()),
            vcpus: self.vcpus,
            ports: self.ports,
            place: site.place,
            incarnation: site.incarnation,
            label: self.label,
            flags: record.flags,
            priority: record.priority,
            attrs: RamAttrs::new(record.flags & VM_JIT != 0),
            handle_limit: record.handles,
            area: EventArea::new(self.area),
            pages: self.pages,
            base: AtomicU64::new(0),
            inner: Lock::new(Inner {
                spaces,
                account: self.account,
                handles: self.handles,
                stage: Stage::Ports(0),
                work: None,
            }),
            line: Lock::new(LineBuffer::new()),
            calls: record.calls,
            is_open,
            speculation,
            is_ending: AtomicBool::new(false),
            ending: Lock::new(None),
            attached: AtomicU32::new(u32::from(record.vcpus)),
            awake: AtomicU32::new(0),
            has_run: AtomicBool::new(false),
        };
        PageBox::new(own, vm).map_err(|_| ())
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
