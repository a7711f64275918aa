//! Reports: what is said when a VM is stopped for what it did. One report per VM, then it is gone.

use log::Level;
use strato_abi::Ipa;
use strato_abi::address_space::Attributes;

use super::abort::{Abort, Refusal};
use crate::arch::frame::Frame;
use crate::arch::guest;
use crate::console::say;
use crate::machine::Cx;

/// Reports the access that ends the VM: who, where, what, and what is mapped nearby.
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
    let Some(ipa) = Ipa::new(abort.ipa) else { return };
    let (inner, _held) = cx.vm.inner.lock(&mut cx.locks);
    let Some(space) = inner.spaces.get(cx.context.space.slot) else { return };
    let (below, mut above) = space.nearest(ipa);
    // An address inside a region, which refused the access: what stands above is looked for behind it.
    if let Some(end) = below.and_then(|region| region.start.checked_add(region.bytes)).filter(|&end| end > ipa) {
        above = space.nearest(end).1;
    }
    for (side, region) in [("at or below", below), ("above", above)] {
        match region {
            Some(region) => say(
                Level::Error,
                format_args!(
                    "vm {label}: nearest region {side}: {:#x}, {} bytes, {}",
                    region.start.bytes(),
                    region.bytes,
                    if region.attr.is_answered() { "registers with a filter" } else { rights(region.attr.rights()) }
                ),
            ),
            None => say(Level::Error, format_args!("vm {label}: nearest region {side}: none")),
        }
    }
}

/// Reports the exception in whose vector the last one happened.
#[cold]
#[inline(never)]
pub(super) fn first_of_two(cx: &Cx<'_>) {
    let (label, [esr, elr, far]) = (&cx.vm.label, guest::last_exception());
    say(
        Level::Error,
        format_args!("vm {label}: it was in its vectors for: syndrome {esr:#x}, pc {elr:#x}, address {far:#x}"),
    );
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
