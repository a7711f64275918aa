//! Talk: guests make calls, and every answer is held against the convention: a documented status, zeros where nothing is
//! answered, and everything else untouched.

use strato_abi::Call;
use strato_abi::error::{Code, Detail, Reason};
use strato_hyp::arch::Deed;
use strato_hyp::arch::frame::{Frame, RawExit};
use strato_hyp::lock::Held;
use strato_hyp::vm::Vm;
use strato_hyp::vm::audit::{self, Stray};

use crate::plan::CODE;
use crate::refusals;
use crate::stage::{Story, Who};

/// What a refusal says: the code, the argument's register, why.
pub(crate) type Refusal = (Code, usize, Reason);

/// The first vCPU of the first VM, and of the second.
pub(crate) const A: Who = (0, 0);
pub(crate) const B: Who = (1, 0);

/// Returns the handle that entry `index` of a table was first given out as.
pub(crate) fn handle(index: u64) -> u64 {
    1 << 16 | index
}

fn junk(n: usize) -> u64 {
    0xdead_beef_0000_0000 | n as u64
}

/// Fills the registers as a guest that makes `id` with `arguments` and has its own values everywhere else.
pub(crate) fn fill(frame: &mut Frame, id: u64, arguments: &[u64]) {
    for (n, x) in frame.x.iter_mut().enumerate() {
        *x = junk(n);
    }
    frame.x[0] = id;
    frame.x[1..=arguments.len()].copy_from_slice(arguments);
    frame.pc = CODE + 4;
}

/// Registers that carry results of `call`.
fn results(call: Call) -> usize {
    if call == Call::ConRead { 15 } else { call.results().len() }
}

impl Story {
    /// Returns what VMs reach and nothing lets them.
    pub(crate) fn strays(&mut self) -> Vec<Stray> {
        let machine = self.machine;
        let mut stray = |place| {
            let look = |vm: &Vm| {
                let mut none = Held::for_example();
                let (inner, mut held) = vm.inner.lock(&mut none);
                let (pool, _held) = machine.memory.lock(&mut held);
                audit::audit(place, &inner, &pool.allocator).err()
            };
            self.try_vm(place, look).flatten()
        };
        (0..8).filter_map(&mut stray).collect()
    }

    /// Begins a call of `who`, which may not come back.
    pub(crate) fn begin(&mut self, who: Who, call: Call, arguments: &[u64]) {
        self.begin_id(who, u64::from(call.function_id()) | 0xffff_ffff_0000_0000, arguments);
    }

    /// Begins the call of function `id`.
    pub(crate) fn begin_id(&mut self, who: Who, id: u64, arguments: &[u64]) {
        let arguments = arguments.to_vec();
        self.step(who, move |frame| {
            fill(frame, id, &arguments);
            Deed::Hvc
        });
    }

    /// Returns x0 to x17 when the call that was begun has come back by now.
    pub(crate) fn answer(&mut self, who: Who, call: Call) -> Option<[u64; 18]> {
        let frame = self.seen(who)?;
        check(&frame, call);
        frame.x.first_chunk().copied()
    }

    /// Makes a call and returns x0 to x17, or `None` when it does not come back soon.
    pub(crate) fn ask(&mut self, who: Who, call: Call, arguments: &[u64]) -> Option<[u64; 18]> {
        self.begin(who, call, arguments);
        self.until_seen(who)?;
        self.answer(who, call)
    }

    /// Makes a call that succeeds; returns x1 to x3.
    pub(crate) fn call(&mut self, who: Who, call: Call, arguments: &[u64]) -> [u64; 3] {
        let x = self.ask(who, call, arguments).unwrap_or_else(|| panic!("{} does not come back", call.name()));
        assert_eq!(x[0], 0, "{}: {:?}", call.name(), refusal(&x));
        [x[1], x[2], x[3]]
    }

    /// Makes a call that is refused; returns why.
    pub(crate) fn refused(&mut self, who: Who, call: Call, arguments: &[u64]) -> Refusal {
        let x = self.ask(who, call, arguments).unwrap_or_else(|| panic!("{} does not come back", call.name()));
        refusal(&x).unwrap_or_else(|| panic!("{} succeeds: {x:x?}", call.name()))
    }

    /// Makes a standard service by HVC, or by SMC; returns x0 to x3. All others are as before.
    pub(crate) fn service(&mut self, who: Who, id: u64, arguments: &[u64], is_smc: bool) -> [u64; 4] {
        let arguments = arguments.to_vec();
        let class = if is_smc { 0x17 } else { 0x16 };
        let step = move |frame: &mut Frame| {
            fill(frame, id, &arguments);
            Deed::Exit(RawExit { esr: class << 26 | 1 << 25, ..RawExit::default() })
        };
        let frame = self.deed(who, step).expect("a service comes back");
        assert!((4..31).all(|n| frame.x[n] == junk(n)), "x4 to x30 are the guest's");
        assert_eq!(frame.pc, CODE + if is_smc { 8 } else { 4 });
        [frame.x[0], frame.x[1], frame.x[2], frame.x[3]]
    }

    /// Leaves for the exception of `exit`, at `pc`. Returns the registers when the guest goes on.
    pub(crate) fn trap(&mut self, who: Who, pc: u64, exit: RawExit) -> Option<Frame> {
        self.deed(who, move |frame| {
            frame.pc = pc;
            Deed::Exit(exit)
        })
    }
}

pub(crate) fn refusal(x: &[u64; 18]) -> Option<Refusal> {
    let code = Code::from_i64(x[0].cast_signed())?;
    let detail = Detail::from_bits(x[1]);
    Some((code, detail.argument(), detail.reason().expect("a documented reason")))
}

/// Holds an answer against sections 2 and 15 of the specification.
pub(crate) fn check(frame: &Frame, call: Call) {
    let status = frame.x[0].cast_signed();
    let used = if status == 0 { results(call) } else { 2 };
    if status != 0 {
        let code = Code::from_i64(status).unwrap_or_else(|| panic!("{}: status {status}", call.name()));
        let reason = Detail::from_bits(frame.x[1]).reason().expect("a documented reason");
        refusals::note(call, code, reason);
    }
    let rest = &frame.x[used + 1..18];
    assert!(rest.iter().all(|&x| x == 0), "{}: x{} on: {rest:x?}", call.name(), used + 1);
    assert!((18..31).all(|n| frame.x[n] == junk(n)), "{}: x18 to x30 are the guest's", call.name());
    assert_eq!(frame.pc, CODE + 4, "{}: goes on behind the HVC", call.name());
}
