//! Error codes and the detail word that says which argument, why, and which limit.

use ::core::fmt;

macro_rules! codes {
    ($( $(#[$doc:meta])* $name:ident = $value:literal, $text:literal; )*) => {
        /// What x0 holds when a call is refused: a negative number that never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(i64)]
        pub enum Code { $( $(#[$doc])* $name = $value, )* }

        impl Code {
            /// Every code, in the order of the specification.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the code of the number in x0, or `None` for success and for numbers not defined here.
            #[must_use]
            pub const fn from_i64(value: i64) -> Option<Self> {
                match value { $( $value => Some(Self::$name), )* _ => None }
            }

            /// Returns the code's name as the specification writes it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }
        }
    };
}

codes! {
    /// The number was never defined, or belongs to a service that is not here.
    NotSupported = -1, "NOT_SUPPORTED";
    /// An argument has a value that the call does not know.
    Invalid = -3, "INVALID";
    /// The call existed and was removed.
    Obsolete = -16, "OBSOLETE";
    /// The manifest or the handle's rights forbid it.
    Denied = -17, "DENIED";
    /// No such handle.
    BadHandle = -18, "BAD_HANDLE";
    /// The handle's generation has passed.
    Stale = -19, "STALE";
    /// The handle names an object of another kind.
    WrongKind = -20, "WRONG_KIND";
    /// The address is outside what the call may touch.
    BadAddress = -21, "BAD_ADDR";
    /// The address or length is not a multiple of what it must be.
    Misaligned = -22, "MISALIGNED";
    /// Address plus length passes the end.
    Overflow = -23, "OVERFLOW";
    /// Something is there already.
    Exists = -24, "EXISTS";
    /// Nothing is mapped there.
    NotMapped = -25, "NOT_MAPPED";
    /// The attributes contradict each other, the object, or the manifest.
    BadAttribute = -26, "BAD_ATTR";
    /// The machine has no memory left for this.
    NoMemory = -27, "NO_MEMORY";
    /// The VM's own quota is used up.
    Quota = -28, "QUOTA";
    /// The object is in use.
    Busy = -29, "BUSY";
    /// Nothing happened; the same call may succeed later.
    Again = -30, "AGAIN";
    /// The object is not in a state that allows it.
    State = -31, "STATE";
    /// The other end is closed or its VM has ended.
    PeerGone = -32, "PEER_GONE";
    /// The owner took the object back.
    Revoked = -33, "REVOKED";
    /// No room left in a table of the VM.
    Full = -35, "FULL";
    /// Nothing there to take.
    Empty = -36, "EMPTY";
    /// The versions do not fit.
    Version = -37, "VERSION";
    /// The operation was called off.
    Cancelled = -38, "CANCELLED";
    /// A bug of the hypervisor; always traced.
    Internal = -39, "INTERNAL";
}

macro_rules! reasons {
    ($( $(#[$doc:meta])* $name:ident = $value:literal, $text:literal; )*) => {
        /// Why an argument was refused: bits 15:8 of the detail word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Reason { $( $(#[$doc])* $name = $value, )* }

        impl Reason {
            /// Returns the reason of the number, or `None` when it is not defined here.
            #[must_use]
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value { $( $value => Some(Self::$name), )* _ => None }
            }

            /// Returns the reason as a phrase that follows the argument's name.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }
        }
    };
}

reasons! {
    /// No further reason.
    None = 0, "is refused";
    /// Above the limit in the quantity.
    TooLarge = 1, "is too large";
    /// Below the least value, which is in the quantity.
    TooSmall = 2, "is too small";
    /// Not a multiple of the quantity.
    Misaligned = 3, "is not aligned";
    /// Bits that must be zero are not.
    ReservedBits = 4, "has reserved bits set";
    /// Not one of the defined values.
    UnknownValue = 5, "has an unknown value";
    /// Lies in the hypervisor's window or in page 0.
    Reserved = 6, "lies in a reserved range";
    /// The handle lacks a right.
    NoRight = 7, "lacks a right";
    /// Passes the end of the object or the address space.
    PastEnd = 8, "passes the end";
    /// Writable and executable at once.
    WriteExecute = 9, "is writable and executable";
    /// The vCPU does not exist.
    NoVcpu = 10, "names no vCPU";
    /// No room: the quantity is the number of entries.
    TableFull = 11, "finds its table full";
    /// The call is not among those the manifest allows.
    NotAllowed = 12, "is not allowed by the manifest";
    /// Only the owner of the object may do that.
    NotOwner = 13, "belongs to another VM";
    /// The interrupt was masked, because the line of its device did not fall however often it was served.
    LineStuck = 14, "is masked: its line did not fall, however often it was served";
}

/// What x1 holds when a call is refused: `argument[3:0] | reason[15:8] | quantity[63:16]`.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Detail(u64);

impl Detail {
    /// No detail.
    pub const NONE: Self = Self(0);

    /// Returns the detail word of argument `argument` (1 to 15 for x1 to x15, 0 for none), why, and a limit or size.
    ///
    /// Only the low 48 bits of `quantity` are kept.
    #[must_use]
    pub const fn new(argument: u8, reason: Reason, quantity: u64) -> Self {
        Self((argument & 0xf) as u64 | (reason as u64) << 8 | quantity << 16)
    }

    /// Returns the word of the register.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Returns the detail that a register holds.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the number of the argument register, or 0 when none is named.
    #[must_use]
    pub const fn argument(self) -> usize {
        (self.0 & 0xf) as usize
    }

    /// Returns why, or `None` for a number of a later version.
    #[must_use]
    pub const fn reason(self) -> Option<Reason> {
        Reason::from_u8((self.0 >> 8 & 0xff) as u8)
    }

    /// Returns the limit or size that goes with the reason.
    #[must_use]
    pub const fn quantity(self) -> u64 {
        self.0 >> 16
    }
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Detail(x{}, {:?}, {})", self.argument(), self.reason(), self.quantity())
    }
}

/// A refusal: what x0 and x1 say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// x0.
    pub code: Code,
    /// x1.
    pub detail: Detail,
}

impl Error {
    /// Returns the refusal of argument `argument` (1 for x1).
    #[must_use]
    pub const fn of(code: Code, argument: u8, reason: Reason, quantity: u64) -> Self {
        Self { code, detail: Detail::new(argument, reason, quantity) }
    }

    /// Returns a refusal without detail.
    #[must_use]
    pub const fn bare(code: Code) -> Self {
        Self { code, detail: Detail::NONE }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_negative_and_comes_back_from_its_number() {
        for &code in Code::ALL {
            assert!((code as i64) < 0);
            assert_eq!(Code::from_i64(code as i64), Some(code));
        }
        for free in [0, 1, -2, -34, -40, i64::MIN, i64::MAX] {
            assert_eq!(Code::from_i64(free), None);
        }
    }

    #[test]
    fn the_detail_word_keeps_its_three_parts() {
        let detail = Detail::new(3, Reason::TooLarge, 512);
        assert_eq!(detail.bits(), 3 | 1 << 8 | 512 << 16);
        assert_eq!((detail.argument(), detail.reason(), detail.quantity()), (3, Some(Reason::TooLarge), 512));
    }
}
