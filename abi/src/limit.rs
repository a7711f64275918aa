//! Limits: what CORE.LIMIT answers. A guest asks; it never carries these numbers.

macro_rules! limits {
    ($( $(#[$doc:meta])* $name:ident = $key:literal, $value:expr; )*) => {
        /// What CORE.LIMIT can be asked for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        #[repr(u64)]
        pub enum LimitKey { $( $(#[$doc])* $name = $key, )* }

        impl LimitKey {
            /// Every key of this version.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the key of the number, or `None` when this version has none.
            #[must_use]
            pub const fn from_u64(value: u64) -> Option<Self> {
                match value { $( $key => Some(Self::$name), )* _ => None }
            }

            /// Returns the limit of this version of the hypervisor.
            #[must_use]
            pub const fn value(self) -> u64 {
                match self { $( Self::$name => $value, )* }
            }
        }
    };
}

limits! {
    /// Physical cores.
    Cores = 0, 8;
    /// VMs.
    Vms = 1, 64;
    /// vCPUs of a VM.
    VcpusPerVm = 2, 8;
    /// Ports of a VM, whatever its manifest says.
    PortsPerVm = 3, 1024;
    /// Handles of a VM, whatever its manifest says.
    HandlesPerVm = 4, 1024;
    /// Address spaces of a VM.
    AddressSpacesPerVm = 5, 8;
    /// Pages that one MAP, UNMAP or PROTECT works on.
    PagesPerCall = 6, crate::address_space::PAGES_PER_CALL;
    /// Bytes of one CON.WRITE.
    ConsoleBytes = 7, crate::console::CONSOLE_BYTES as u64;
    /// Priorities; 0 is the lowest.
    Priorities = 8, 32;
    /// Pages of a Mem object.
    MemPages = 9, crate::mem::MEM_PAGES_MAX;
    /// Pages that one MEM.ALLOC or MEM.FREE zeroes.
    ScrubPagesPerCall = 10, crate::mem::SCRUB_PAGES_PER_CALL;
    /// Ranges of addresses at which borrowed memory can be mapped at once.
    BorrowedRanges = 11, crate::share::BORROWED_RANGES;
    /// Objects of borrowed memory that a VM can have mapped at once.
    BorrowedObjects = 12, crate::share::BORROWED_OBJECTS;
    /// Offers of a VM that nobody has accepted yet.
    OpenOffers = 13, crate::share::OPEN_OFFERS;
    /// Timers that a VM can have set at once, whatever its manifest says.
    TimersPerVm = 14, crate::time::TIMERS_PER_VM;
    /// Nanoseconds of the shortest period of a timer.
    TimerPeriodNanoseconds = 15, crate::time::TIMER_PERIOD_MIN_NS;
}
