//! Own EL: names an exception that EL2 took from itself and panics. Reached from `own_el.S` on the emergency stack.

use aarch64_cpu::registers::{ELR_EL2, ESR_EL2, FAR_EL2, Readable};

use super::entry;
use super::region::PAGE;

/// Ends in a panic that names the exception; the frame record that `own_el.S` left leads the backtrace into what was
/// interrupted.
#[unsafe(no_mangle)]
extern "C" fn arch_own_el_report(kind: u64, stack: u64) -> ! {
    let (esr, address, far) = (ESR_EL2.get(), ELR_EL2.get(), FAR_EL2.get());
    let base = entry::core_base();
    let guard = base.stack_bottom.saturating_sub(PAGE)..base.stack_bottom;
    let name = match kind {
        0 if guard.contains(&far) => "stack overflow",
        0 => "synchronous exception",
        1 => "interrupt while masked",
        2 => "fast interrupt",
        _ => "SError",
    };
    let offset = address.wrapping_sub(entry::image().start);
    panic!("{name} in the hypervisor: ESR {esr:#x}, ELR +{offset:#x}, FAR {far:#x}, SP {stack:#x}");
}
