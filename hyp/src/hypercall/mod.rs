//! Hypercalls: checks what a guest asks, calls one mechanism, and says what the guest gets.
//!
//! `decode` is the door (guest-chosen registers become checked values), `reply` is the exit (results and refusals become
//! registers), and there is one file per group of calls in between. Every call has its handler here or the crate does not
//! build: the table is made from the contract's one list. Never switches a vCPU; it returns what follows.

mod address_space;
mod bind;
mod console;
mod core;
pub mod decode;
mod device;
mod event;
mod handles;
mod irq;
mod mem;
mod page;
pub mod reply;
mod schedule;
mod share;
mod space;
mod time;
mod vcpu;
mod withdraw;

pub use irq::follow_vcpu;
use strato_abi::Call;
use strato_abi::error::{Code, Detail, Error, Reason};
use strato_abi::regs::Request;

use crate::arch::frame::{Answered, Frame};
use crate::machine::{Cx, Next};
use crate::vcpu::Vcpu;
use crate::vm::Vm;
use crate::vm::handles::HandleError;

/// What a handler says.
#[derive(Debug)]
pub enum Outcome<R> {
    /// The call is done; these are its results.
    Reply(R),
    /// The call is done or goes on in another way: the guest is left.
    Leave(Next),
}

/// What the short way of a call came to.
pub enum Short<'s, R> {
    /// All of it is done.
    Done(Outcome<R>),
    /// The event that it raises is in its place. What is left is to tell this vCPU, and to do what [`Handle::RAISES`] says. Of one that
    /// blocks without a deadline, the VM comes with it.
    Tell(Option<&'s Vm>, &'s Vcpu),
    /// It does not lead there: [`Handle::handle`] does it from the start, or says why not.
    Long,
}

/// Why a call is refused. Rooms say it in their own words; `reply` turns it into what the ABI says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// An argument is refused as the contract says.
    Argument(Error),
    /// A handle in argument register `.0` is refused.
    Handle(u8, HandleError),
    /// `.1` units were done before the refusal.
    After(Error, u64),
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        Self::Argument(error)
    }
}

impl CallError {
    /// Returns a refusal without detail.
    #[must_use]
    pub const fn bare(code: Code) -> Self {
        Self::Argument(Error::bare(code))
    }

    /// Returns the refusal of argument register `argument`.
    #[must_use]
    pub const fn of(code: Code, argument: u8, reason: Reason, quantity: u64) -> Self {
        Self::Argument(Error::of(code, argument, reason, quantity))
    }

    /// Returns what x0, x1 and x2 say.
    #[must_use]
    pub fn to_abi(self) -> (Error, u64) {
        match self {
            Self::Argument(error) => (error, 0),
            Self::After(error, done) => (error, done),
            Self::Handle(argument, error) => {
                let (code, reason, quantity) = match error {
                    HandleError::Bad => (Code::BadHandle, Reason::None, 0),
                    HandleError::Stale => (Code::Stale, Reason::None, 0),
                    HandleError::WrongKind => (Code::WrongKind, Reason::None, 0),
                    HandleError::Full(limit) => (Code::Full, Reason::TableFull, limit),
                };
                (Error { code, detail: Detail::new(argument, reason, quantity) }, 0)
            }
        }
    }
}

/// The handler of one call.
pub trait Handle: Request {
    /// Does what the call asks for.
    ///
    /// # Errors
    /// Why it is refused; nothing changed beyond the units that the refusal reports.
    fn handle(self, cx: &mut Cx<'_>) -> Result<Outcome<Self::Reply>, CallError>;

    /// What the vector calls: for any VM, and for one that may make every call, where nobody looks whether it may.
    const ANSWERERS: [Handler; 2] = [reply::answer::<Self>, reply::answer::<Self>];

    /// Does what the call asks for in its most frequent case, with x1 to x6 as the guest left them. Where this does anything,
    /// [`Handle::ANSWERERS`] are [`reply::short`].
    #[inline(always)]
    fn short<'s>(_arguments: &[u64; 6], _cx: &mut Cx<'s>) -> Short<'s, Self::Reply> {
        Short::Long
    }

    /// What follows for the caller when its short way ends at [`Short::Tell`]: success without results, or what it leaves for; none when it does not.
    const RAISES: Option<Next> = None;
}

/// A handler as the vector calls it, for a context of any lifetime.
pub type Handler = for<'a, 's> extern "C" fn(&'a mut Cx<'s>, u64, u64, u64, u64, u64, u64) -> Answered<'a>;

/// The handlers by call number, for `arch::run`: each looks whether the VM may make the call.
pub const HANDLERS: &[Handler; 256] = &table::<false>();
/// The same for VMs that may make every call: those with a short way do not look.
pub const OPEN_HANDLERS: &[Handler; 256] = &table::<true>();

macro_rules! fill_table {
    ($($call:ident),*) => {
        /// Makes the table of handlers: one entry per number, `unknown` where there is no call.
        const fn table<const IS_OPEN: bool>() -> [Handler; 256] {
            let mut table = [unknown as Handler; 256];
            $(
                #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
                {
                    table[strato_abi::Call::$call as usize] =
                        <strato_abi::call::$call as Handle>::ANSWERERS[IS_OPEN as usize];
                }
            )*
            table
        }
    };
}
strato_abi::for_each_call!(fill_table);

/// Answers a call that the vector does not: those of the console, which use more registers, and numbers without a call.
pub fn console_call(cx: &mut Cx<'_>, frame: &Frame) -> Next {
    #[allow(clippy::cast_possible_truncation, reason = "the function id is w0")]
    match Call::from_function_id(frame.read(0) as u32) {
        Some(Call::ConWrite) => reply::full::<strato_abi::call::ConWrite>(cx, frame),
        Some(Call::ConRead) => reply::full::<strato_abi::call::ConRead>(cx, frame),
        // Every other call has a number that the vector answers.
        Some(_) | None => reply::put_refusal(cx, Error::bare(Code::NotSupported), 0),
    }
}

extern "C" fn unknown<'a>(cx: &'a mut Cx<'_>, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64) -> Answered<'a> {
    reply::refuse(cx, Error::bare(Code::NotSupported), 0)
}
