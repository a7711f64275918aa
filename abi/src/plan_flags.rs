//! Flags and bounds of the packed image: what the fields of its header and records may say. `plan` has it all under its own name.

/// Bytes of a scenario's name, padded with zeros.
pub const SCENARIO_NAME_LEN: usize = 64;
/// Systems of a series, at most.
pub const SERIES_MAX: usize = 128;
/// [`Expect::outcome`](crate::plan::Expect::outcome): the VM exits.
pub const EXPECT_EXIT: u32 = 1;
/// [`Expect::outcome`](crate::plan::Expect::outcome): the VM is stopped, or reports a crash.
pub const EXPECT_STOP: u32 = 2;
/// Scenario flag: the report on those before it is printed first, and what it prints itself is part of it.
pub const SCENARIO_REPORT: u32 = 1;

/// Bytes of a board's name, padded with zeros.
pub const BOARD_NAME_LEN: usize = 16;
/// Device flag: the manifest trusts the driver not to reach other memory by the device.
pub const DEVICE_DMA_TRUSTED: u32 = 1;
/// Device flag: nothing of it is mapped. The hypervisor does what [`AllowRegister`](crate::plan::AllowRegister) allows.
pub const DEVICE_FILTERED: u32 = 2;
/// Every device flag of this version.
pub const DEVICE_FLAGS: u32 = DEVICE_DMA_TRUSTED | DEVICE_FILTERED;
/// Interrupt flag: it is a pulse, not a level.
pub const INTERRUPT_EDGE: u32 = 1;
/// Every interrupt flag of this version.
pub const INTERRUPT_FLAGS: u32 = INTERRUPT_EDGE;

/// Header flag: before the first guest runs, boot says where everything stands and whose it is.
pub const HEADER_REPORT: u32 = 1;
/// Header flag: the cores' cycle counters count, and every guest may read them.
pub const HEADER_CYCLES: u32 = 2;
/// Header flag: the system is one of a series, of which one is run after the other, with a reset in between.
pub const HEADER_SERIES: u32 = 4;
/// Header flag: another system of the series follows, right behind the records. The lengths of both reach to the end of all.
pub const HEADER_FOLLOWED: u32 = 8;
/// Header flag: the console is the mini UART of a Raspberry Pi 4, not its PL011; of no effect on another board. That of the first system
/// counts in a series.
pub const HEADER_MINI_UART: u32 = 16;
/// Header flags: log2 of the frames of each core's trace ring, plus one; all zero when nothing is traced. See [`crate::trace::trace_order`].
pub const HEADER_TRACE: u32 = 0x1f00;
/// Header flags: seconds after which the board's watchdog resets a machine of which a core hangs in the hypervisor, from bit 16 on; zero, and on
/// a board without one: never.
pub const HEADER_WATCHDOG: u32 = 0xf_0000;
/// Every header flag of this version.
pub const HEADER_FLAGS: u32 =
    HEADER_REPORT | HEADER_CYCLES | HEADER_SERIES | HEADER_FOLLOWED | HEADER_MINI_UART | HEADER_TRACE | HEADER_WATCHDOG;

/// VM flag: FP and SIMD may be used; otherwise they trap as undefined.
pub const VM_FP: u32 = 1;
/// VM flag: mappings may be writable and executable at once.
pub const VM_JIT: u32 = 2;
/// VM flag: the image has a fault handler; refused accesses are delivered to it.
pub const VM_FAULT_HANDLER: u32 = 4;
/// VM flag: what is typed on the console is for this VM.
pub const VM_CONSOLE_INPUT: u32 = 8;
/// VM flag: the guest runs stage 1 of the translation itself.
pub const VM_NATIVE: u32 = 16;
/// VM flag: entries from the guest are guarded against its branch history, whether the core needs it or not.
pub const VM_GUARDED: u32 = 32;
/// VM flag: they are not, whether the core needs it or not. Without either flag the core decides.
pub const VM_PLAIN: u32 = 64;
/// VM flag: after an end that is none with exit code 0 it is made again from its records.
pub const VM_RESTART: u32 = 128;
/// VM flag, together with [`VM_RESTART`]: also when it asks for it.
pub const VM_REBOOT: u32 = 256;
/// Every VM flag of this version.
pub const VM_FLAGS: u32 =
    VM_FP | VM_JIT | VM_FAULT_HANDLER | VM_CONSOLE_INPUT | VM_NATIVE | VM_GUARDED | VM_PLAIN | VM_RESTART | VM_REBOOT;
