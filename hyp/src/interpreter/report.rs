//! Reports: what is said when a VM is stopped for what it did. One report per VM, then it is gone; its first line at once, the others as
//! the VM is given back, a line in each step, since each takes as long as a call.

use log::Level;
use strato_abi::Ipa;
use strato_abi::address_space::Attributes;
use strato_abi::plan::VM_FAULT_HANDLER;

use super::abort::{Abort, Refusal};
use crate::arch::frame::Frame;
use crate::arch::guest;
use crate::console::say;
use crate::lock::Held;
use crate::machine::Cx;
use crate::memory::stage2::GoOn;
use crate::vm::{LastWords, Vm};

/// Steps in which the regions beside an address are looked for.
const STEPS: u8 = 128;

/// Reports the access that ends the VM: who, where and what; what is mapped nearby, and in whose vector it happened, follows.
#[cold]
#[inline(never)]
pub(super) fn abort(cx: &mut Cx<'_>, frame: &Frame, abort: &Abort, what: &str) {
    let (label, vcpu) = (&cx.vm.label, u64::from(cx.me.vcpu()));
    say(
        Level::Error,
        format_args!(
            "vm {label}: vcpu {vcpu}: {what} at {:#x}: pc {:#x}, address {:#x}, syndrome {:#x}, lr {:#x}",
            abort.ipa,
            frame.pc,
            abort.far,
            abort.esr,
            frame.read(30)
        ),
    );
    if abort.refusal == Refusal::External {
        return;
    }
    let is_handled = cx.vm.flags & VM_FAULT_HANDLER != 0;
    let vectors = is_handled.then(guest::last_exception);
    let fault = Some((cx.context.space.slot, abort.ipa));
    let words = &mut cx.vm.inner.lock(&mut cx.locks).0.last_words;
    // A sibling that faulted at the same time, on another core, has been first.
    if words.fault.is_none() {
        *words = LastWords { vcpu: cx.me.vcpu(), vectors, fault, at: abort.ipa, is_above: false, steps: STEPS };
    }
}

/// Says one more line of the report of `vm`, which ends: each is as long as a call. Returns whether there was one.
#[cold]
#[inline(never)]
pub fn go_on(vm: &Vm, none: &mut Held<'_, 0>) -> bool {
    let (mut inner, _held) = vm.inner.lock(none);
    let (label, words) = (&vm.label, inner.last_words);
    let vcpu = u64::from(words.vcpu);
    if let Some([esr, elr, far]) = words.vectors {
        inner.last_words.vectors = None;
        say(
            Level::Error,
            format_args!(
                "vm {label}: vcpu {vcpu}: it was in its vectors for: syndrome {esr:#x}, pc {elr:#x}, address {far:#x}"
            ),
        );
        return true;
    }
    let Some((slot, address)) = words.fault else { return false };
    inner.last_words = LastWords { fault: None, ..words };
    let (Some(ipa), Some(space)) = (Ipa::new(address), inner.spaces.get(slot)) else { return false };
    let side = if words.is_above { "above" } else { "at or below" };
    let found = if words.is_above { space.region_from(ipa) } else { space.region_up_to(ipa) };
    let next = match found {
        // What holds the address refused the access: what stands above is looked for behind it.
        Ok(Some(region)) if region.start <= ipa => {
            region.start.checked_add(region.bytes).map_or(address, Ipa::bytes).max(address)
        }
        _ => address,
    };
    if let Err(GoOn(at)) = found
        && let Some(steps) = words.steps.checked_sub(1)
    {
        inner.last_words = LastWords { fault: Some((slot, at.bytes())), steps, ..words };
        return true;
    }
    if !words.is_above {
        inner.last_words = LastWords { fault: Some((slot, words.at.max(next))), is_above: true, ..words };
    }
    match found {
        Ok(Some(region)) => say(
            Level::Error,
            format_args!(
                "vm {label}: vcpu {vcpu}: nearest region {side}: {:#x}, {} bytes, {}",
                region.start.bytes(),
                region.bytes,
                if region.attr.is_answered() { "registers with a filter" } else { rights(region.attr.rights()) }
            ),
        ),
        Ok(None) => say(Level::Error, format_args!("vm {label}: vcpu {vcpu}: nearest region {side}: none")),
        Err(GoOn(_)) => say(Level::Error, format_args!("vm {label}: vcpu {vcpu}: nearest region {side}: none near")),
    }
    true
}

/// Reports something that ends the VM and has no address.
#[cold]
#[inline(never)]
pub(super) fn unusual(cx: &Cx<'_>, frame: &Frame, what: &str) {
    let (label, vcpu) = (&cx.vm.label, u64::from(cx.me.vcpu()));
    say(Level::Error, format_args!("vm {label}: vcpu {vcpu}: {what}: pc {:#x}, pstate {:#x}", frame.pc, frame.pstate));
}

/// Returns rights as three letters.
fn rights(rights: Attributes) -> &'static str {
    match (rights.contains(Attributes::WRITE), rights.contains(Attributes::EXECUTE)) {
        (false, false) => "r--",
        (true, false) => "rw-",
        (false, true) => "r-x",
        (true, true) => "rwx",
    }
}
