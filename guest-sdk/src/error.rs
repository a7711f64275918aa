//! The refusal of a call as a guest sees it: which call, which argument by name, why, and the limit.

use ::core::fmt;

use strato_abi::{Call, Code, Reason};

/// What a wrapper returns.
pub type Result<T> = ::core::result::Result<T, Error>;

/// A refused call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// The call that was refused.
    pub call: Call,
    /// Code and detail.
    pub error: strato_abi::Error,
    /// Units that were done before the refusal, for the calls that work in units (pages); else zero.
    pub done: u64,
}

impl Error {
    /// Returns the code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.error.code
    }

    /// Returns the name of the refused argument (of the strange result when the code is `VERSION`), or `None`.
    #[must_use]
    pub fn argument(&self) -> Option<&'static str> {
        let names = if self.error.code == Code::Version { self.call.results() } else { self.call.arguments() };
        let number = self.error.detail.argument().checked_sub(1)?;
        // The last argument may take several registers.
        names.get(number).or(names.last()).copied()
    }
}

impl fmt::Display for Error {
    /// Writes `AS.MAP: MISALIGNED: address is not aligned (4096)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call.name(), self.error.code.name())?;
        let detail = self.error.detail;
        let reason = detail.reason();
        match (self.argument(), reason) {
            (None, Some(Reason::None)) => return Ok(()),
            (None, Some(reason)) => write!(f, ": the call {}", reason.text())?,
            (Some(name), Some(reason)) => write!(f, ": {name} {}", reason.text())?,
            (name, None) => write!(f, ": {} is refused for a reason of a later version", name.unwrap_or("the call"))?,
        }
        match detail.quantity() {
            0 => Ok(()),
            quantity => write!(f, " ({quantity})"),
        }
    }
}

impl ::core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn refused(call: Call, error: strato_abi::Error) -> std::string::String {
        Error { call, error, done: 0 }.to_string()
    }

    #[test]
    fn a_refusal_names_the_call_the_argument_the_reason_and_the_limit() {
        let error = strato_abi::Error::of(Code::Misaligned, 2, Reason::Misaligned, 4096);
        assert_eq!(refused(Call::AsMap, error), "AS.MAP: MISALIGNED: address is not aligned (4096)");
    }

    #[test]
    fn a_refusal_without_detail_names_call_and_code_only() {
        assert_eq!(refused(Call::ConWrite, strato_abi::Error::bare(Code::Again)), "CON.WRITE: AGAIN");
    }

    #[test]
    fn a_refusal_of_the_call_itself_says_so() {
        let error = strato_abi::Error::of(Code::Denied, 0, Reason::NotAllowed, 0);
        assert_eq!(refused(Call::ConRead, error), "CON.READ: DENIED: the call is not allowed by the manifest");
    }

    #[test]
    fn a_register_of_a_wide_argument_has_the_arguments_name() {
        let error = strato_abi::Error::of(Code::Invalid, 9, Reason::ReservedBits, 0);
        assert_eq!(refused(Call::ConWrite, error), "CON.WRITE: INVALID: data has reserved bits set");
    }

    #[test]
    fn a_reason_of_a_later_version_is_admitted() {
        let detail = strato_abi::Detail::from_bits(1 | 0xfe << 8);
        let text = refused(Call::EvtSend, strato_abi::Error { code: Code::Invalid, detail });
        assert_eq!(text, "EVT.SEND: INVALID: port is refused for a reason of a later version");
    }

    #[test]
    fn a_strange_result_has_the_results_name() {
        let error = strato_abi::Error::of(Code::Version, 2, Reason::UnknownValue, 0);
        assert_eq!(refused(Call::VcpuWait, error), "VCPU.WAIT: VERSION: now has an unknown value");
    }
}
