//! What a Rust panic of a guest does: print message, place and callers, then end the VM with a report.

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &::core::panic::PanicInfo<'_>) -> ! {
    use ::core::sync::atomic::{AtomicBool, Ordering};

    static PANICKING: AtomicBool = AtomicBool::new(false);
    crate::arch::mask_interrupts();
    // A panic while printing one ends the VM without a word more. Relaxed: the flag says nothing about other memory.
    if !PANICKING.swap(true, Ordering::Relaxed) {
        match info.location() {
            Some(place) => crate::println!("panic: {} at {place}", info.message()),
            None => crate::println!("panic: {}", info.message()),
        }
        for address in crate::arch::frames() {
            crate::println!("panic:   called from {address:#x}");
        }
    }
    crate::core::crash(crate::exception::REASON_PANIC, 0, 0, 0)
}
