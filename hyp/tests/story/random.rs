//! Random: two VMs make random calls with arguments near every boundary, fault, wait and end; whatever they do, every answer
//! keeps to the convention and all memory comes back.

use proptest::prelude::*;
use strato_abi::Call;
use strato_abi::error::Code;
use strato_abi::plan::VM_FAULT_HANDLER;
use strato_hyp::arch::Deed;
use strato_hyp::arch::frame::RawExit;
use strato_hyp::sync::Ordering;

use crate::plan::{CODE, DATA, Guest, SHARED, SLICE, System};
use crate::stage::{Story, Who, shown};
use crate::talk::handle;

/// What a guest does next. The numbers choose among what stands below.
#[derive(Clone, Copy, Debug)]
enum Op {
    Call { who: u8, call: usize, choices: [u16; 6] },
    Fault { who: u8, choice: u16, iss: u8 },
    Wfi { who: u8 },
    Scribble { who: u8, word: u8, value: u64 },
    Rest { turns: u8 },
}

fn op() -> impl Strategy<Value = Op> {
    // The calls on address spaces, which stand in a row, come up three times as often.
    let map = Call::ALL.iter().position(|&call| call == Call::AsMap).unwrap();
    let call = prop_oneof![2 => 0..Call::ALL.len(), 1 => map..map + 4];
    let calls = (0..4u8, call, any::<[u16; 6]>());
    prop_oneof![
        60 => calls.prop_map(|(who, call, choices)| Op::Call { who, call, choices }),
        1 => (0..4u8, any::<u16>(), 0..64u8).prop_map(|(who, choice, iss)| Op::Fault { who, choice, iss }),
        1 => (0..4u8).prop_map(|who| Op::Wfi { who }),
        4 => (0..4u8, 0..40u8, any::<u64>()).prop_map(|(who, word, value)| Op::Scribble { who, word, value }),
        4 => (1..9u8).prop_map(|turns| Op::Rest { turns }),
    ]
}

/// Returns the value that `choice` makes of the argument `name`: mostly one that makes sense, sometimes any other.
fn argument(name: &str, choice: u16, known: &[u64]) -> u64 {
    let (kind, pick) = (choice % 16, usize::from(choice / 16));
    let of = |list: &[u64]| list[pick % list.len()];
    let odd = [0, 1, 2, 3, 8, 112, 113, 4095, 4096, 1 << 16, 1 << 32, 1 << 39, 1 << 63, u64::MAX];
    if kind == 0 {
        return of(&odd);
    }
    let all: Vec<u64> = known.iter().copied().chain((0..6).map(handle)).chain([handle(3) + (1 << 16)]).collect();
    match name {
        "space" => 0,
        "address" if kind < 9 => 0x6000_0000 + (pick as u64 % 24) * 0x1000,
        "offset" if kind < 12 => (pick as u64 % 14) * 0x1000,
        "pages" if kind < 12 => 1 + pick as u64 % 4,
        "address" | "entry" => of(&[
            CODE,
            DATA,
            SHARED,
            SHARED + 0x2000,
            CODE + 0x1000,
            CODE + 0x1004,
            0x4020_0000,
            0x403f_f000,
            0x4040_0000,
            0x3fdf_f000,
            0x3fe0_0000,
            0x7f_ffff_f000,
            0,
        ]),
        "mem" | "share" | "object" if kind < 7 => of(&all),
        "terms" => of(&[1, 3, 0x11, 0x13, 0x23, 2]),
        "key" if kind < 8 => 0,
        "mem" => of(&[handle(0), handle(0), handle(3), handle(1)]),
        "offset" => of(&[0, 0x1000, 0x2000, 0xf000, 0x1_0000, 0x20_0000]),
        "pages" => of(&[1, 1, 2, 3, 4, 16, 128, 129, 512, 513]),
        "attributes" => of(&[1, 3, 5, 7, 2]),
        "peer" if kind < 12 => handle(1),
        "port" if kind < 8 => handle(2),
        "port" | "peer" | "key" | "target" => of(&all),
        "flags" => of(&[0, 0, 0, 1]),
        "vcpu" => of(&[0, 1, 1, 2]),
        "deadline" => of(&[0, 1, shown() + SLICE, shown() + 3 * SLICE, shown() + 9 * SLICE]),
        _ => of(&[0, 1, 0, 2]),
    }
}

struct Play {
    s: Story,
    /// What each vCPU has begun and not come back from.
    begun: [Option<Call>; 4],
    known: Vec<u64>,
}

fn who_is(number: u8) -> Who {
    (number / 2, number % 2)
}

impl Play {
    fn new(cores: usize) -> Self {
        let far = if cores > 1 { 1 } else { 0 };
        let guest = |label, flags| {
            let cores = [0, far, 0, 0, 0, 0, 0, 0];
            Guest { vcpus: 2, cores, flags, handles: 8, quota: 80, ..Guest::new(label) }
        };
        let mut system = System::pair(guest("a", VM_FAULT_HANDLER), guest("b", VM_FAULT_HANDLER));
        system.frames = 256;
        system.share(0, 4, &[(0, 11), (1, 1)]);
        Self { s: Story::on(&system, cores), begun: [None; 4], known: Vec::new() }
    }

    /// Takes in what came back.
    fn look(&mut self) {
        for number in 0..4 {
            let who = who_is(number);
            let Some(call) = self.begun[usize::from(number)] else { continue };
            if call == Call::VcpuStop && self.s.seen(who).is_some() {
                self.begun[usize::from(number)] = None; // a sibling has started it again
                continue;
            }
            let Some(x) = self.s.answer(who, call) else { continue };
            self.begun[usize::from(number)] = None;
            match Code::from_i64(x[0].cast_signed()) {
                None if matches!(call, Call::EvtOffer | Call::EvtConnect | Call::ShareOffer | Call::ShareAccept) => {
                    self.known.extend(&x[1..3])
                }
                None if matches!(call, Call::MemAlloc | Call::MemSplit) => self.known.extend(&x[1..2]),
                None => {}
                Some(code) => {
                    use Code::{Cancelled, Internal, Obsolete, Version};
                    let never = [Cancelled, Internal, Obsolete, Version];
                    assert!(!never.contains(&code), "{}: {code:?}", call.name());
                }
            }
        }
    }

    /// Returns whether `number` can do something: its VM is there, and it has come back from what it did before.
    fn is_free(&mut self, number: u8) -> bool {
        self.begun[usize::from(number)].is_none() && self.s.try_vm(number / 2, |_| ()).is_some()
    }

    fn play(&mut self, op: Op) {
        match op {
            Op::Call { who, call, choices } if self.is_free(who) => {
                let call = Call::ALL[call];
                let ends = matches!(call, Call::CoreExit | Call::CorePanic | Call::VcpuStop);
                if ends && !choices[5].is_multiple_of(16) {
                    return;
                }
                let names = call.arguments().iter();
                let arguments: Vec<u64> =
                    names.zip(choices).map(|(name, choice)| argument(name, choice, &self.known)).collect();
                self.begun[usize::from(who)] = Some(call);
                self.s.begin(who_is(who), call, &arguments);
            }
            Op::Fault { who, choice, iss } if self.is_free(who) => {
                let far = argument("address", choice | 1, &[]);
                let exit =
                    RawExit { vector: 0, esr: 0x24 << 26 | 1 << 25 | u64::from(iss), far, hpfar: far >> 12 << 4 };
                self.s.step(who_is(who), move |_| Deed::Exit(exit));
            }
            Op::Wfi { who } if self.is_free(who) => {
                self.s.step(who_is(who), |_| Deed::Exit(RawExit { esr: 1 << 26, ..RawExit::default() }));
            }
            Op::Scribble { who, word, value } => {
                let at = usize::from(who % 2) * 64 + usize::from(word);
                self.s.try_vm(who / 2, |vm| vm.area.pages().word(at).unwrap().store(value, Ordering::Relaxed));
            }
            Op::Rest { turns } => self.s.turns(usize::from(turns)),
            Op::Call { .. } | Op::Fault { .. } | Op::Wfi { .. } => {}
        }
        self.s.turns(2);
        self.look();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 1000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_two_vms_do_answers_are_documented_and_all_memory_comes_back(
        cores in 1..3usize, ops in prop::collection::vec(op(), 1..160),
    ) {
        let mut play = Play::new(cores);
        for vm in 0..2 {
            play.s.call((vm, 0), Call::VcpuStart, &[1, CODE, 0]);
        }
        for op in ops {
            play.play(op);
        }
        play.s.turns(20);
        play.look();
        play.s.close();
    }
}
