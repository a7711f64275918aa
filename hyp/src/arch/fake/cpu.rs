//! Cpu on a PC: waiting gives the processor to another thread; there is one core, number 0.

/// Gives the processor to another thread.
pub fn relax() {
    std::thread::yield_now();
}

/// Ends the test.
pub fn breakpoint() -> ! {
    panic!("a breakpoint of EL2")
}

/// Returns at once: an interrupt is always about to come.
pub fn wait_for_interrupt() {}

/// Returns at once: an event is always about to come.
pub fn wait_for_event() {}

/// Returns 0, the affinity of the one core.
pub fn affinity() -> u64 {
    0
}

/// Returns the MIDR_EL1 of a Cortex-A72 r0p3, the core that Strato is measured on.
pub fn midr() -> u64 {
    0x410f_d083
}

/// Returns a REVIDR_EL1.
pub fn revidr() -> u64 {
    0
}

/// Returns the end of what EL2's own map can name.
pub fn physical_limit() -> u64 {
    super::region::LIMIT
}

/// Returns an ID_AA64PFR0_EL1 of a core that does not keep branch histories apart.
pub(super) fn features() -> u64 {
    0x2222
}

/// Does nothing: frames are the compiler's business here.
pub fn frame_here() {}

/// Returns `index` if it is below `len`, else 0.
pub fn bounded(index: usize, len: usize) -> usize {
    if index < len { index } else { 0 }
}

std::thread_local! {
    static INTERRUPT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Returns whether [`set_interrupt_pending`] said so.
pub fn interrupt_pending() -> bool {
    INTERRUPT.get()
}

/// Makes an interrupt wait, or not, on this thread.
pub fn set_interrupt_pending(waits: bool) {
    INTERRUPT.set(waits);
}
