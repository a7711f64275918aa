//! Virtual CPUs: a private half that its core leases, and a public half that every core may touch.
//!
//! Owns what a vCPU is and which moves between its states are legal. Only the home core changes a run state; others set a
//! request bit and send an interrupt. Never decides when a vCPU runs.

mod context;
mod local;
pub mod orders;
mod share;
pub mod state;
pub mod timers;

use strato_abi::vcpu::RunState;

use crate::arch::frame::Frame;
use crate::arch::lease::{First, Leased, Second};
use crate::events::Sink;
use crate::lock::{CONSOLE, Lock};
use crate::sync::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
pub use context::{Context, Current, Extras, reset};
pub use local::Local;
pub use orders::Orders;
use timers::Timers;

/// The guest's general registers, while this core has them.
pub type FrameLease<'l> = First<'l, Frame, Context>;
/// The rest of what one core alone touches, while this core has it.
pub type ContextLease<'l> = Second<'l, Frame, Context>;

/// What every core may read, and change one word at a time.
#[derive(Debug)]
#[repr(C)]
pub struct Public {
    /// Line and overflow of its events. First, since every sender is after it.
    pub sink: Sink,
    state: AtomicU8,
    /// Which core alone changes the run state, and what others want of it.
    pub orders: Orders,
    /// Whether VI is used: upcall mode.
    pub has_upcalls: AtomicBool,
    /// Level at which it is queued: its priority, and [`RESERVED`](crate::scheduler::RESERVED) more with a reservation.
    pub level: AtomicU8,
    /// Place of its reservation among those of the home core, plus one.
    reservation: AtomicU8,
    /// Budget and period of its reservation, which it takes to the core to which it moves.
    pub supply: [AtomicU64; 2],
    /// Place of its VM, and its number there in the low three bits.
    pub name: u16,
    /// When it lost the core, and when it was ready for it again, in ticks. Touched by the home core alone.
    pub left: AtomicU64,
    /// See `left`.
    pub ready: AtomicU64,
    /// When its VM is stopped unless it is set anew, in ticks; touched by the home core alone.
    pub watchdog: AtomicU64,
    // Bits of the handle to the port that the virtual timer raises; 0 is none.
    local: AtomicU32,
    is_starting: AtomicBool,
    start_entry: AtomicU64,
    start_argument: AtomicU64,
}

/// A virtual CPU.
#[derive(Debug)]
#[repr(C)]
pub struct Vcpu {
    /// The public half.
    pub public: Public,
    /// The private half: what only the core that holds the lease touches.
    pub owned: Leased<Frame, Context>,
    /// Of the first vCPU: the timers of the VM. They stand here because a vCPU's frame has the room.
    pub timers: Lock<Timers, CONSOLE>,
}

impl Vcpu {
    /// Returns a vCPU that is off, at home on core `home`; see [`Public::name`].
    #[must_use]
    pub fn new(home: u8, priority: u8, name: u16) -> Self {
        let public = Public {
            state: AtomicU8::new(state::number(RunState::Off)),
            orders: Orders::new(home),
            has_upcalls: AtomicBool::new(false),
            sink: Sink::default(),
            level: AtomicU8::new(priority),
            reservation: AtomicU8::new(0),
            supply: [const { AtomicU64::new(0) }; 2],
            name,
            left: AtomicU64::new(0),
            ready: AtomicU64::new(0),
            watchdog: AtomicU64::new(u64::MAX),
            local: AtomicU32::new(0),
            is_starting: AtomicBool::new(false),
            start_entry: AtomicU64::new(0),
            start_argument: AtomicU64::new(0),
        };
        Self { public, owned: Leased::new(Frame::ZERO, Context::RESET), timers: Lock::new(Timers::new()) }
    }
}

impl Public {
    /// Returns the run state.
    #[inline]
    #[must_use]
    pub fn state(&self) -> RunState {
        state::from_number(self.state.load(Ordering::SeqCst))
    }

    /// Returns the run state for one who has just set something and then a fence: either that core sees what was set, or we
    /// see the state that it noted before its own fence.
    #[inline]
    #[must_use]
    pub fn state_behind_fence(&self) -> RunState {
        state::from_number(self.state.load(Ordering::Relaxed))
    }

    /// Returns, as [`Public::state_behind_fence`] does, the number of the state.
    #[inline(always)]
    #[must_use]
    pub fn number_behind_fence(&self) -> u8 {
        self.state.load(Ordering::Relaxed)
    }

    /// Returns whether the vCPU, in the state of `number`, must be told that its line is up, and `was_up` before or not.
    #[inline(always)]
    #[must_use]
    pub fn is_told(&self, number: u8, was_up: bool) -> bool {
        if !state::is_attentive(number) {
            return false; // by far the most frequent
        }
        // It blocks; or a line that was up already has been told of, or is looked at before the guest goes on.
        number != state::number(RunState::Running) || !was_up && self.has_upcalls.load(Ordering::Relaxed)
    }

    /// Moves to `to`; called by the home core alone. Returns whether the move is legal; if not, nothing changed.
    #[inline]
    pub fn enter(&self, to: RunState) -> bool {
        let is_legal = state::is_legal(self.state(), to);
        if is_legal {
            self.state.store(state::number(to), Ordering::SeqCst);
        }
        is_legal
    }

    /// Moves from running to blocked, without a deadline; called by the home core alone, for the vCPU that runs there. The caller has a
    /// fence behind it.
    #[inline(always)]
    pub fn block(&self) {
        debug_assert!(self.state() == RunState::Running, "who has the core runs");
        self.state.store(state::BLOCKED_PLAIN, Ordering::Relaxed);
    }

    /// Returns whether the vCPU is where [`Public::block`] led; for the home core alone.
    #[inline(always)]
    #[must_use]
    pub fn is_blocked_plain(&self) -> bool {
        state::is_blocked_plain(self.state.load(Ordering::Relaxed))
    }

    /// Moves from where [`Public::block`] led to runnable; called by the home core alone.
    #[inline(always)]
    pub fn wake_plain(&self) {
        debug_assert!(self.is_blocked_plain(), "its home core alone wakes it");
        self.state.store(state::number(RunState::Runnable), Ordering::Relaxed); // as in `step`
    }

    /// Moves from blocked to running: there was news; called by the home core alone. Returns whether it did.
    #[inline]
    pub fn stay(&self) -> bool {
        self.step(RunState::Blocked, RunState::Running)
    }

    /// Moves from runnable to running, or from blocked when it takes over from who wakes it: it comes out of the queue; called by the home core alone. The caller has a fence behind it,
    /// before it looks at the line.
    #[inline(always)]
    pub fn run(&self) {
        debug_assert!(state::is_legal(self.state(), RunState::Running), "what is queued is ready, or is about to be");
        self.state.store(state::number(RunState::Running), Ordering::Relaxed); // as in `step`
    }

    /// Moves from running to runnable, for the vCPU that has the core; called by its home core alone.
    #[inline(always)]
    pub fn give_way(&self) {
        debug_assert!(self.state() == RunState::Running, "who has the core runs");
        self.state.store(state::number(RunState::Runnable), Ordering::Relaxed); // as in `step`
    }

    /// Moves from runnable to running; called by the home core alone. Returns whether it did: it runs already otherwise. The caller
    /// has a fence behind it, before it looks at the line.
    #[inline]
    pub fn begin(&self) -> bool {
        self.step(RunState::Runnable, RunState::Running)
    }

    /// Moves from running to runnable; called by the home core alone. Returns whether it did.
    #[inline]
    pub fn leave(&self) -> bool {
        self.step(RunState::Running, RunState::Runnable)
    }

    /// Moves from blocked to runnable; called by the home core alone. Returns whether it did.
    #[inline]
    pub fn wake(&self) -> bool {
        self.step(RunState::Blocked, RunState::Runnable)
    }

    #[inline(always)]
    fn step(&self, from: RunState, to: RunState) -> bool {
        // Nobody else writes it, so what this core reads is what it wrote.
        let is_there = state::from_number(self.state.load(Ordering::Relaxed)) == from;
        if is_there {
            // Relaxed: who sees the old state tells this core once too often, or its fence comes before ours (`begin`).
            self.state.store(state::number(to), Ordering::Relaxed);
        }
        is_there
    }

    /// Notes where the vCPU is to start. Returns whether the caller is the one that starts it; a second one is not.
    pub fn claim_start(&self, entry: u64, argument: u64) -> bool {
        if self.state() != RunState::Off || self.is_starting.swap(true, Ordering::AcqRel) {
            return false;
        }
        // Acquire by the swap: when an earlier claim ended between the look and the swap, the state says so now.
        if self.state() != RunState::Off {
            self.end_start();
            return false;
        }
        self.start_entry.store(entry, Ordering::Relaxed);
        self.start_argument.store(argument, Ordering::Relaxed);
        true
    }

    /// Returns whether a start was claimed and has not happened yet.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        self.is_starting.load(Ordering::Acquire)
    }

    /// Returns entry and argument of the start that was claimed.
    #[must_use]
    pub fn start_values(&self) -> (u64, u64) {
        (self.start_entry.load(Ordering::Relaxed), self.start_argument.load(Ordering::Relaxed))
    }

    /// Ends the claim. Only after the vCPU left `Off`: otherwise a second one could claim the same start.
    pub fn end_start(&self) {
        self.is_starting.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_start_of_a_vcpu_wins() {
        let vcpu = Vcpu::new(0, 1, 0);
        assert!(vcpu.public.claim_start(0x4000_0000, 7));
        assert!(!vcpu.public.claim_start(0x4000_1000, 8));
        assert_eq!(vcpu.public.start_values(), (0x4000_0000, 7));
        assert!(vcpu.public.enter(RunState::Runnable));
        vcpu.public.end_start();
        assert!(!vcpu.public.claim_start(0x4000_1000, 8), "it is not off");
    }

    #[test]
    fn a_single_step_is_taken_from_its_own_state_alone_and_is_a_legal_one() {
        use RunState::{Blocked, Off, Runnable, Running, Stopped};
        type Step = (fn(&Public) -> bool, RunState, RunState);
        let steps: [Step; 4] = [
            (Public::begin, Runnable, Running),
            (Public::leave, Running, Runnable),
            (Public::wake, Blocked, Runnable),
            (Public::stay, Blocked, Running),
        ];
        for (step, from, to) in steps {
            assert!(state::is_legal(from, to));
            for now in [Off, Runnable, Running, Blocked, Stopped] {
                let vcpu = Vcpu::new(0, 1, 0);
                vcpu.public.state.store(state::number(now), Ordering::Relaxed);
                assert_eq!(step(&vcpu.public), now == from);
                assert_eq!(vcpu.public.state(), if now == from { to } else { now });
            }
        }
    }
}
