//! Timer on a PC: a counter that tests set; one deadline, that of the thread.

use std::cell::Cell;

std::thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
    static DEADLINE: Cell<Option<u64>> = const { Cell::new(None) };
    static LOCAL: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    static OFFSET: Cell<u64> = const { Cell::new(0) };
}

/// Returns what [`set_now`] set, 0 at first.
pub fn now() -> u64 {
    NOW.get()
}

/// Sets the counter of this thread, in ticks.
pub fn set_now(ticks: u64) {
    NOW.set(ticks);
}

/// Returns 62,500,000, the frequency of QEMU's counter.
pub fn frequency() -> u64 {
    62_500_000
}

/// Records a deadline in ticks.
pub fn arm(deadline: u64) {
    DEADLINE.set(Some(deadline));
}

/// Forgets the deadline.
pub fn disarm() {
    DEADLINE.set(None);
}

/// Returns the deadline that is armed, if any.
pub fn armed() -> Option<u64> {
    DEADLINE.get()
}

/// Does nothing on a PC.
pub fn synchronize() {}

/// CNTV_CTL_EL0.ENABLE.
pub const LOCAL_ENABLE: u64 = 1;
/// CNTV_CTL_EL0.IMASK.
pub const LOCAL_MASK: u64 = 2;

/// Remembers CNTVOFF_EL2.
pub fn set_offset(ticks: u64) {
    OFFSET.set(ticks);
}

/// Returns CNTVOFF_EL2.
pub fn offset() -> u64 {
    OFFSET.get()
}

/// Remembers CNTV_CTL_EL0 and CNTV_CVAL_EL0.
pub fn load_local(control: u64, deadline: u64) {
    LOCAL.set((control, deadline));
}

/// Returns and forgets them.
pub fn save_local() -> (u64, u64) {
    LOCAL.replace((0, 0))
}

/// Forgets them.
pub fn stop_local() {
    LOCAL.set((0, 0));
}

/// Masks the virtual timer if it is enabled and its time has come. Returns whether it was.
pub fn mask_local() -> bool {
    let (control, deadline) = LOCAL.get();
    let is_due = control == LOCAL_ENABLE && deadline <= now().wrapping_sub(offset());
    if is_due {
        LOCAL.set((LOCAL_ENABLE | LOCAL_MASK, deadline));
    }
    is_due
}

/// Returns CNTV_CTL_EL0 and CNTV_CVAL_EL0 as remembered.
pub fn local() -> (u64, u64) {
    LOCAL.get()
}
