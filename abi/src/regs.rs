//! Typed arguments and results to registers and back, both directions in one place.

use crate::addr::Ipa;
use crate::call::Call;
use crate::error::{Code, Error, Reason};

/// Registers x1 to x15 of a call, in order: arguments on the way in, results on the way out.
pub type Regs = [u64; 15];

/// A value that travels in one or more consecutive registers.
pub trait Argument: Sized {
    /// How many registers it takes.
    const REGS: usize;

    /// Returns the value in the first [`REGS`](Self::REGS) of `regs`.
    ///
    /// # Errors
    /// Why the registers hold no such value, and the limit that they break.
    fn take(regs: &[u64]) -> Result<Self, (Reason, u64)>;

    /// Writes the value into the first [`REGS`](Self::REGS) of `regs`.
    fn put(&self, regs: &mut [u64]);
}

/// The arguments of one call.
pub trait Request: Sized {
    /// Which call this is.
    const CALL: Call;
    /// What the call answers when it succeeds.
    type Reply: Reply;

    /// Returns x1 to x15 as the caller sets them; unused registers are zero.
    fn to_regs(&self) -> Regs;

    /// Returns the arguments that registers from x1 on hold; `regs` may end behind the last argument.
    ///
    /// # Errors
    /// `INVALID` with the argument's number and why.
    fn from_regs(regs: &[u64]) -> Result<Self, Error>;
}

/// The results of one call.
pub trait Reply: Sized {
    /// How many of x1 to x15 carry results; the others are zero.
    const REGS: usize;

    /// Returns x1 to x15 as the hypervisor sets them on success.
    fn to_regs(&self) -> Regs {
        let mut regs = [0; 15];
        self.put(&mut regs);
        regs
    }

    /// Writes the results into registers from x1 on and leaves the others; `regs` has room for [`REGS`](Self::REGS).
    fn put(&self, regs: &mut [u64]);

    /// Returns the results that x1 to x15 hold.
    ///
    /// # Errors
    /// The number of the register that holds no such value: the hypervisor is of another version.
    fn from_regs(regs: &Regs) -> Result<Self, usize>;
}

impl Argument for u64 {
    const REGS: usize = 1;

    fn take(regs: &[u64]) -> Result<Self, (Reason, u64)> {
        regs.first().copied().ok_or((Reason::None, 0))
    }

    fn put(&self, regs: &mut [u64]) {
        if let Some(first) = regs.first_mut() {
            *first = *self;
        }
    }
}

macro_rules! narrow {
    ($($kind:ty),*) => { $(
        impl Argument for $kind {
            const REGS: usize = 1;

            // Bits above the type's width are refused, not ignored: they are room to grow.
            fn take(regs: &[u64]) -> Result<Self, (Reason, u64)> {
                let wide = u64::take(regs)?;
                <$kind>::try_from(wide).map_err(|_| (Reason::TooLarge, u64::from(<$kind>::MAX)))
            }

            fn put(&self, regs: &mut [u64]) {
                u64::from(*self).put(regs);
            }
        }
    )* };
}
narrow!(u32, u16, u8);

impl Argument for i64 {
    const REGS: usize = 1;

    fn take(regs: &[u64]) -> Result<Self, (Reason, u64)> {
        u64::take(regs).map(u64::cast_signed)
    }

    fn put(&self, regs: &mut [u64]) {
        self.cast_unsigned().put(regs);
    }
}

impl Argument for bool {
    const REGS: usize = 1;

    fn take(regs: &[u64]) -> Result<Self, (Reason, u64)> {
        match u64::take(regs)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err((Reason::TooLarge, 1)),
        }
    }

    fn put(&self, regs: &mut [u64]) {
        u64::from(*self).put(regs);
    }
}

impl Argument for Ipa {
    const REGS: usize = 1;

    fn take(regs: &[u64]) -> Result<Self, (Reason, u64)> {
        Self::new(u64::take(regs)?).ok_or((Reason::TooLarge, 1 << crate::addr::IPA_BITS))
    }

    fn put(&self, regs: &mut [u64]) {
        self.bytes().put(regs);
    }
}

impl<const N: usize> Argument for [u64; N] {
    const REGS: usize = N;

    fn take(regs: &[u64]) -> Result<Self, (Reason, u64)> {
        regs.first_chunk::<N>().copied().ok_or((Reason::None, 0))
    }

    fn put(&self, regs: &mut [u64]) {
        if let Some(first) = regs.first_chunk_mut::<N>() {
            *first = *self;
        }
    }
}

/// Implements [`Argument`] for an enum whose numbers are listed.
macro_rules! argument_enum {
    ($name:ident { $($number:literal => $variant:ident),* }) => {
        impl Argument for $name {
            const REGS: usize = 1;

            fn take(regs: &[u64]) -> Result<Self, (Reason, u64)> {
                match u64::take(regs)? {
                    $( $number => Ok(Self::$variant), )*
                    _ => Err((Reason::UnknownValue, 0)),
                }
            }

            fn put(&self, regs: &mut [u64]) {
                (*self as u64).put(regs);
            }
        }
    };
}
pub(crate) use argument_enum;

/// Reads typed values from consecutive registers; the generated code of the call table uses it.
#[derive(Debug)]
pub struct Reader<'r> {
    regs: &'r [u64],
    next: usize,
}

impl<'r> Reader<'r> {
    /// Returns a reader at x1.
    #[must_use]
    pub const fn new(regs: &'r [u64]) -> Self {
        Self { regs, next: 0 }
    }

    /// Returns the next value.
    ///
    /// # Errors
    /// The register's number (1 for x1), why, and the limit.
    #[inline(always)]
    pub fn take<A: Argument>(&mut self) -> Result<A, (usize, Reason, u64)> {
        let at = self.next;
        self.next = at.saturating_add(A::REGS);
        let rest = self.regs.get(at..).unwrap_or(&[]);
        A::take(rest).map_err(|(reason, quantity)| (at.saturating_add(1), reason, quantity))
    }
}

/// Writes typed values into consecutive registers; the generated code of the call table uses it.
#[derive(Debug)]
pub struct Writer<'r> {
    regs: &'r mut [u64],
    next: usize,
}

impl<'r> Writer<'r> {
    /// Returns a writer at x1.
    pub const fn new(regs: &'r mut [u64]) -> Self {
        Self { regs, next: 0 }
    }

    /// Appends a value.
    #[inline(always)]
    pub fn put<A: Argument>(&mut self, value: &A) {
        if let Some(rest) = self.regs.get_mut(self.next..) {
            value.put(rest);
        }
        self.next = self.next.saturating_add(A::REGS);
    }
}

/// Returns the refusal of a register that holds no value of its argument's type.
///
/// An address beyond the address space is `BAD_ADDR`, anything else `INVALID`.
#[must_use]
pub fn refused(argument: usize, reason: Reason, quantity: u64) -> Error {
    let is_address = reason == Reason::TooLarge && quantity == 1 << crate::addr::IPA_BITS;
    let code = if is_address { Code::BadAddress } else { Code::Invalid };
    Error::of(code, u8::try_from(argument).unwrap_or(0), reason, quantity)
}
