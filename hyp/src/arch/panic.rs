//! Panic: what a dying hypervisor needs of the machine: to be the only one that reports, to stop the other cores, to
//! write by polling the UART, and to walk its own stack. What the report says is `boot::panic`'s business.
//!
//! Uses no lock and nothing that another room owns: everything here works when all else is broken.

use core::fmt;

use super::region::native;
use super::{core_base::CoreBase, cpu, entry, maintenance, sign, timer};
use crate::sync::{AtomicUsize, Ordering};

/// Number of the SGI that stops a core.
pub const STOP_SGI: u8 = 15;

/// 0, or one more than the core that reports. AcqRel: the reporter sees what the losers wrote before.
static REPORTER: AtomicUsize = AtomicUsize::new(0);
/// Cores that reached [`stop`]. Release there, Acquire here: their last console lines are in memory.
static STOPPED: AtomicUsize = AtomicUsize::new(0);
/// Cores that run Rust.
static RUNNING: AtomicUsize = AtomicUsize::new(1);
/// Address of the UART's registers, plus 1 if it is a mini UART; 0 before boot knows it. Relaxed: written before other cores run.
static UART: AtomicUsize = AtomicUsize::new(0);
/// How the other cores are reached: 0 not yet, 1 by system register (GICv3), else the address of GICD_SGIR (GICv2).
static SGI: AtomicUsize = AtomicUsize::new(0);

/// How a panic reaches the other cores.
#[derive(Clone, Copy, Debug)]
pub enum SgiRoute {
    /// ICC_SGI1R_EL1.
    SystemRegister,
    /// GICD_SGIR of the distributor at this address.
    Distributor(usize),
}

/// Who a panicking core is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The first: it reports.
    Reporter,
    /// The first, panicking again inside its report.
    Again,
    /// Another core reports already.
    Other,
}

/// Tells where the UART's registers are mapped, once they are, and whether they are a mini UART's.
pub fn set_uart(address: usize, is_mini: bool) {
    UART.store(address | usize::from(is_mini), Ordering::Relaxed);
}

/// Tells how SGIs are sent, once the interrupt controller is up.
pub fn set_sgi_route(route: SgiRoute) {
    let value = match route {
        SgiRoute::SystemRegister => 1,
        SgiRoute::Distributor(base) => base + 0xf00,
    };
    SGI.store(value, Ordering::Relaxed);
}

/// Counts a core that has begun to run.
pub fn count_core() {
    RUNNING.fetch_add(1, Ordering::Relaxed);
}

/// Returns whether some core panicked, so that idle loops can call [`stop`].
#[must_use]
pub fn panicked() -> bool {
    REPORTER.load(Ordering::Relaxed) != 0
}

/// Stops this core if another one panicked. A core calls it when its interrupt interface is up, because the SGI that
/// came before then is lost.
pub fn heed() {
    maintenance::dsb_sy(); // the interface is up before REPORTER is read; the reporter writes it before it sends
    if panicked() {
        stop();
    }
}

/// Returns what the calling core has to do, and makes it the reporter if there is none.
#[must_use]
pub fn enter() -> Role {
    let own = native(entry::core_base().index) + 1;
    match REPORTER.compare_exchange(0, own, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Role::Reporter,
        Err(reporter) if reporter == own => Role::Again,
        Err(_) => Role::Other,
    }
}

/// Stops this core for good, because another one panicked.
pub fn stop() -> ! {
    STOPPED.fetch_add(1, Ordering::Release);
    park()
}

/// Sleeps for ever.
pub fn park() -> ! {
    loop {
        cpu::wait_for_interrupt();
    }
}

/// Stops the other cores and waits up to a second for them: an emulator under load takes 100 ms to run each once.
/// Returns how many did not stop.
pub fn stop_others() -> usize {
    let others = RUNNING.load(Ordering::Relaxed).saturating_sub(1);
    if others == 0 {
        return 0;
    }
    maintenance::dsb_sy(); // REPORTER is seen before the interrupt is
    match SGI.load(Ordering::Relaxed) {
        0 => {}
        1 => super::gic_cpu::send_sgi(1 << 40 | u64::from(STOP_SGI) << 24), // IRM: all but self
        register => store(register, 1 << 24 | u32::from(STOP_SGI)),         // TargetListFilter: all but self
    }
    maintenance::sev(); // those that still wait for boot sleep in WFE, where an SGI may not reach them
    let deadline = timer::now().saturating_add(timer::frequency());
    loop {
        let missing = others.saturating_sub(STOPPED.load(Ordering::Acquire));
        if missing == 0 || timer::now() > deadline {
            return missing;
        }
        cpu::relax();
    }
}

/// Writes to the UART by polling, each character for a bounded time, and adds no carriage return.
#[derive(Debug)]
pub struct Polled;

impl fmt::Write for Polled {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let uart = Registers::of(uart());
        for &byte in text.as_bytes() {
            // A character takes 87 microseconds at 115,200 baud; a UART that is stuck must not hold the report up.
            let mut patience = 100_000_u32;
            while !uart.has_room() && patience > 0 {
                patience -= 1;
                cpu::relax();
            }
            store(uart.data, byte.into());
        }
        Ok(())
    }
}

/// Waits until the UART has sent everything, for a bounded time.
pub fn drain_uart() {
    let uart = Registers::of(uart());
    let mut patience = 1_000_000_u32;
    while !uart.is_idle() && patience > 0 {
        patience -= 1;
        cpu::relax();
    }
}

/// Returns the UART, as [`UART`] holds it: the one that `entry.S` mapped, before the device tree was read.
fn uart() -> usize {
    match UART.load(Ordering::Relaxed) {
        0 => sign::uart(),
        uart => uart,
    }
}

/// What is used of a UART: the addresses of two registers, and bits of the second.
struct Registers {
    data: usize,
    flags: usize,
    /// Bits of `flags` that say "full" and "busy", once those of `inverted` are turned.
    full: u32,
    busy: u32,
    inverted: u32,
}

impl Registers {
    /// Returns those of a PL011 (UARTDR, UARTFR), or of a mini UART (AUX_MU_IO, AUX_MU_LSR).
    fn of(uart: usize) -> Self {
        let base = uart & !1;
        if uart & 1 == 0 {
            Self { data: base, flags: base + 0x18, full: 1 << 5, busy: 1 << 3, inverted: 0 }
        } else {
            Self { data: base + 0x40, flags: base + 0x54, full: 1 << 5, busy: 1 << 6, inverted: u32::MAX }
        }
    }

    fn has_room(&self) -> bool {
        (load(self.flags) ^ self.inverted) & self.full == 0
    }

    fn is_idle(&self) -> bool {
        (load(self.flags) ^ self.inverted) & self.busy == 0
    }
}

fn load(register: usize) -> u32 {
    let pointer = core::ptr::with_exposed_provenance::<u32>(register);
    // SAFETY: a register of the UART that is mapped as a device, before (entry.S) or after the final map; the
    // console's owner of it does not run any more or is this core.
    unsafe { pointer.read_volatile() }
}

fn store(register: usize, value: u32) {
    let pointer = core::ptr::with_exposed_provenance_mut::<u32>(register);
    // SAFETY: as for `load`, or GICD_SGIR, which any core may write at any time.
    unsafe { pointer.write_volatile(value) };
}

/// The return addresses on this core's stack, innermost first.
#[derive(Debug)]
pub struct Backtrace {
    base: &'static CoreBase,
    frame: usize,
    left: usize,
}

/// Returns the walk of the calling core's stack, at most 32 frames deep. It stays inside the core's own two stacks.
#[must_use]
pub fn backtrace() -> Backtrace {
    Backtrace { base: entry::core_base(), frame: entry::frame_pointer(), left: 32 }
}

impl Iterator for Backtrace {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let at = self.frame as u64;
        let inside = |bottom: u64, top: u64| bottom <= at && at.saturating_add(16) <= top;
        let (base, aligned) = (self.base, at.is_multiple_of(16));
        let stack = inside(base.stack_bottom, base.stack_top);
        let emergency = inside(base.emergency_bottom, base.emergency_top);
        if self.left == 0 || !aligned || !(stack || emergency) {
            return None;
        }
        let record = core::ptr::with_exposed_provenance::<[usize; 2]>(self.frame);
        // SAFETY: 16 aligned bytes inside this core's own stack, which is mapped and which no other core writes.
        let [next, address] = unsafe { record.read() };
        self.left -= 1;
        // Frames lie at rising addresses, but for the step from the emergency stack to the interrupted one.
        let rises = next > self.frame || (emergency && base.stack_bottom <= next as u64);
        self.frame = if rises { next } else { 0 };
        (address != 0).then_some(address as u64)
    }
}
