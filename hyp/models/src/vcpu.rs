//! vCPUs as senders see them: the public half, without what starts and schedules. The numbers of states are the hypervisor's.

#[path = "../../src/vcpu/orders.rs"]
pub mod orders;
#[path = "../../src/vcpu/state.rs"]
pub mod state;

use strato_abi::vcpu::RunState;

use crate::events::Sink;
use crate::lock::{CONSOLE, Lock};
use crate::sync::{AtomicBool, AtomicU8, AtomicU32, Ordering};

pub mod timers {
    /// They are behind a lock, and no model sets one.
    #[derive(Debug, Default)]
    pub struct Timers;
}

#[derive(Debug, Default)]
pub struct Public {
    pub sink: Sink,
    pub state: AtomicU8,
    pub has_upcalls: AtomicBool,
    pub requests: AtomicU32,
}

#[derive(Debug, Default)]
pub struct Vcpu {
    pub public: Public,
    pub timers: Lock<timers::Timers, CONSOLE>,
}

impl Public {
    pub fn enter(&self, to: RunState) {
        self.state.store(state::number(to), Ordering::SeqCst);
    }

    pub fn state_behind_fence(&self) -> RunState {
        state::from_number(self.state.load(Ordering::Relaxed))
    }

    pub fn number_behind_fence(&self) -> u8 {
        self.state.load(Ordering::Relaxed)
    }

    pub fn is_told(&self, number: u8, was_up: bool) -> bool {
        if number == state::number(RunState::Running) {
            !was_up && self.has_upcalls.load(Ordering::Relaxed)
        } else {
            state::is_attentive(number)
        }
    }
}
