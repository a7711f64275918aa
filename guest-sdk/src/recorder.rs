//! A scripted conduit for a PC: answers as told and records what was asked. Called by tests; never reaches a hypervisor.

use ::core::cell::RefCell;
use std::collections::VecDeque;
use std::vec::Vec;

use strato_abi::{Code, Regs, Reply};

use crate::conduit::Conduit;

/// A conduit that plays back answers and keeps the calls.
///
/// Once the script is used up every call answers `NOT_SUPPORTED`.
#[derive(Debug, Default)]
pub struct Recorder {
    script: RefCell<VecDeque<(i64, Regs)>>,
    calls: RefCell<Vec<(u32, Regs)>>,
}

impl Recorder {
    /// Returns a recorder without answers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the recorder with a successful answer appended.
    #[must_use]
    pub fn answer(self, reply: impl Reply) -> Self {
        self.raw(0, reply.to_regs())
    }

    /// Returns the recorder with a refusal appended; x2 reports `done` units.
    #[must_use]
    pub fn refuse(self, error: strato_abi::Error, done: u64) -> Self {
        self.raw(error.code as i64, [error.detail.bits(), done, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    /// Returns the recorder with x0 and x1 to x15 of an answer appended.
    #[must_use]
    pub fn raw(self, status: i64, regs: Regs) -> Self {
        self.script.borrow_mut().push_back((status, regs));
        self
    }

    /// Returns the function ids and x1 to x15 of all calls made, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<(u32, Regs)> {
        self.calls.borrow().clone()
    }
}

impl Conduit for Recorder {
    fn call(&self, id: u32, regs: Regs) -> (i64, Regs) {
        self.calls.borrow_mut().push((id, regs));
        self.script.borrow_mut().pop_front().unwrap_or((Code::NotSupported as i64, [0; 15]))
    }
}
