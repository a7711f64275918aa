//! Interpreter: answers what a guest still does the old way: standard services, WFI, trapped registers, refused accesses.
//!
//! Called by the dispatcher with a decoded trap; returns what follows. Never looks at a syndrome's bits (that is `exit` and
//! `abort`) and never switches a vCPU.

pub mod abort;
mod filter;
pub mod inject;
mod psci;
pub mod report;
mod smccc;
pub mod sysreg;

use log::Level;
use strato_abi::Ipa;
use strato_abi::address_space::LastFault;
use strato_abi::plan::{VM_FAULT_HANDLER, VM_FP, VM_NATIVE};

use crate::arch::frame::{Answer, Frame, Place, RawExit};
use crate::arch::{guest, native, stage2};
use crate::console::say;
use crate::machine::{Cx, Next};
use crate::vcpu::Extras;
use crate::vm::records::Cause;
use abort::{Abort, Refusal, Wanted};
use inject::SYNDROME_UNDEFINED;
use sysreg::Access;

pub use smccc::service;

/// Answers a trapped register access: a value that the table defines, or an undefined instruction at EL1.
pub fn register(frame: &mut Frame, cx: &Cx<'_>, access: Access) -> Next {
    match sysreg::read(access.register, cx.vm.flags) {
        Some(value) if access.is_read && !frame.place().is_el0() => {
            frame.write(usize::from(access.rt), value);
            skip(frame);
        }
        Some(_) | None => undefined(frame, cx, "system register"),
    }
    Next::Resume
}

/// Answers WFI: the guest goes on behind it once there is an event.
pub fn wait(frame: &mut Frame) -> Next {
    skip(frame);
    Next::Halt
}

/// Answers the first use of FP since the vCPU got its core: loads its registers, if it may use them.
pub fn fp(frame: &mut Frame, cx: &mut Cx<'_>) -> Next {
    if cx.vm.flags & VM_FP == 0 {
        undefined(frame, cx, "FP or SIMD instruction");
    } else {
        guest::load_fp(&cx.context.fp);
        cx.context.extras.insert(Extras::FP);
    }
    Next::Resume
}

/// Answers an HVC or SMC with a number beside it: NOT_SUPPORTED, the guest goes on.
pub fn odd_immediate(frame: &mut Frame, cx: &mut Cx<'_>, is_smc: bool) -> Next {
    if is_smc {
        skip(frame);
    }
    cx.cpu.keep([smccc::NOT_SUPPORTED, 0, 0, 0]);
    Next::Service
}

/// Answers what no guest may do with an undefined instruction at EL1.
pub fn refuse(frame: &mut Frame, cx: &Cx<'_>, class: u8) -> Next {
    const FROM_AARCH32: u8 = 0x3f;
    if class == FROM_AARCH32 {
        report::unusual(cx, frame, "exception from AArch32, which no guest has");
        return Next::Stop;
    }
    undefined(frame, cx, "instruction");
    Next::Resume
}

/// Answers a system error: the guest that ran is held responsible.
pub fn system_error(frame: &Frame, cx: &Cx<'_>) -> Next {
    report::unusual(cx, frame, "system error (SError)");
    Next::Stop
}

/// Answers a refused access, from the vector: it is tried again when the address space permits it, and delivered to the
/// guest's own fault handler. Else the guest leaves for [`refused`].
pub extern "C" fn abort(cx: &mut Cx<'_>, esr: u64, far: u64, hpfar: u64, place: &mut Place) -> Answer {
    let mut abort = Abort::decode(&RawExit { vector: 0, esr, far, hpfar });
    if place.is_aarch32() || abort.refusal == Refusal::External {
        return Answer::Leave;
    }
    if abort.refusal == Refusal::Permission && !find(cx, &mut abort) {
        return Answer::Stay;
    }
    let mut fault = abort.last_fault();
    // What can be read at all can be walked, but for device memory (HCR_EL2.PTW): there is nothing to try again.
    let is_final = abort.refusal == Refusal::Permission && abort.is_walk();
    if let Some(ipa) = Ipa::new(abort.ipa)
        && !is_final
    {
        let (inner, _held) = cx.vm.inner.lock(&mut cx.locks);
        let leaf = inner.spaces.get(cx.context.space.slot).and_then(|space| space.query(ipa));
        if leaf.as_ref().is_some_and(|leaf| leaf.permits(abort.wish())) {
            // A sibling vCPU has mapped it meanwhile, or this core used an old entry: it is forgotten and tried again.
            stage2::forget_page(ipa.page_base().bytes());
            return Answer::Stay;
        }
        if leaf.is_some_and(|leaf| leaf.attr.is_answered()) {
            return Answer::Leave; // it needs the guest's registers
        }
        if abort.refusal == Refusal::NotMapped && inner.handles.was_revoked(cx.context.space.slot, abort.ipa >> 12) {
            fault = LastFault::Revoked;
        }
    }
    cx.context.last_fault = (abort.ipa & !0xfff, fault as u64);
    if cx.vm.flags & VM_FAULT_HANDLER == 0 || is_vector(*place, &abort) {
        return Answer::Leave;
    }
    cx.vm.count_exit(cx.me.vcpu(), Cause::Fault);
    *place = inject::synchronous(*place, abort.guest_syndrome(place.is_el0()), Some(abort.far));
    Answer::Stay
}

/// Finds the guest-physical address of a permission fault by stage 1 of a guest that has one. Returns false when there is none
/// any more: a sibling vCPU has changed the tables meanwhile, and the guest takes whatever they say by now.
#[inline]
fn find(cx: &Cx<'_>, abort: &mut Abort) -> bool {
    if cx.vm.flags & VM_NATIVE == 0 || !abort.needs_translation() {
        return true;
    }
    let found = native::translate(abort.far);
    abort.ipa = found.unwrap_or(abort.ipa);
    found.is_some()
}

/// Answers a refused access that [`abort()`] did not settle: the hypervisor does it if a filter allows it, else the VM is stopped with a
/// report.
pub fn refused(frame: &mut Frame, cx: &mut Cx<'_>, abort: &mut Abort) -> Next {
    if !find(cx, abort) {
        return Next::Resume;
    }
    let what = match filter::access(frame, cx, abort) {
        Some(Ok(())) => {
            skip(frame);
            return Next::Resume;
        }
        Some(Err(broken)) => broken,
        None => abort.text(),
    };
    report::abort(cx, frame, abort, what);
    Next::Stop
}

/// Returns whether the guest faulted in its own vectors, or could not fetch them: delivering that would go round for ever.
fn is_vector(place: Place, abort: &Abort) -> bool {
    const VECTORS: u64 = 0x800;
    let is_inside = |address: u64| address.wrapping_sub(guest::vector_base()) < VECTORS;
    is_inside(place.pc) || (abort.wanted == Wanted::Fetch && is_inside(abort.far))
}

/// Makes the guest take an undefined instruction exception.
#[cold]
#[inline(never)]
fn undefined(frame: &mut Frame, cx: &Cx<'_>, what: &str) {
    say(Level::Debug, format_args!("{}: undefined {what} at {:#x}", cx.vm.label, frame.pc));
    frame.set_place(inject::synchronous(frame.place(), SYNDROME_UNDEFINED, None));
}

/// Moves the guest behind the instruction that trapped; AArch64 instructions are four bytes.
fn skip(frame: &mut Frame) {
    frame.pc = frame.pc.wrapping_add(4);
}
