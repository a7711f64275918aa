//! Groups of calls: each has a number and a version of its own.

macro_rules! groups {
    ($( $(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $major:literal, $minor:literal; )*) => {
        /// A group of calls that has a version of its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Group { $( $(#[$doc])* $name = $number, )* }

        impl Group {
            /// Every group that has calls in this version.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the group of the number, or `None` when it has no calls in this version.
            #[must_use]
            pub const fn from_number(number: u64) -> Option<Self> {
                match number { $( $number => Some(Self::$name), )* _ => None }
            }

            /// Returns the name as call names begin with it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }

            /// Returns major and minor version.
            #[must_use]
            pub const fn version(self) -> (u16, u16) {
                match self { $( Self::$name => ($major, $minor), )* }
            }
        }
    };
}

groups! {
    /// Discovery and the end of a VM.
    Core = 0, "CORE", 1, 1;
    /// Virtual CPUs.
    Vcpu = 1, "VCPU", 1, 2;
    /// Memory objects.
    Mem = 2, "MEM", 1, 0;
    /// Address spaces: the guest's MMU.
    AddressSpace = 3, "AS", 1, 1;
    /// Memory shared between peers.
    Share = 4, "SHARE", 1, 0;
    /// Event channels.
    Event = 5, "EVT", 1, 2;
    /// Clocks and timers.
    Time = 6, "TIME", 1, 0;
    /// The console.
    Console = 7, "CON", 1, 0;
}
