//! Machine: the hypervisor itself, driven by the steps of the model.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use proptest_state_machine::StateMachineTest;
use strato_abi::Call;
use strato_abi::error::{Code, Detail};
use strato_abi::share::ShareState;
use strato_hyp::lock::Held;

use crate::plan::{CODE, DATA, Guest, System};
use crate::space::{Leaf, Space};
use crate::stage::Story;
use crate::state::{Answer, Entry, HANDLES, Model, Named, OWN, RAM, VMS, Vm};
use crate::steps::Step;
use crate::talk::refusal;

/// Pages that each VM may have.
const QUOTA: u64 = 100;

/// The hypervisor, and where the allocations of the model stand in its memory: frame numbers.
pub(crate) struct Real {
    pub(crate) story: Story,
    pub(crate) places: Vec<Option<u64>>,
}

/// Returns the system of three VMs that know each other.
fn system() -> System {
    let guest = |label| Guest { handles: HANDLES as u16, quota: QUOTA as u32, ram_pages: RAM, ..Guest::new(label) };
    let mut system = System::new(["a", "b", "c"].map(guest));
    let pairs = (0..VMS as u16).flat_map(|vm| (0..VMS as u16).map(move |peer| (vm, peer)));
    pairs.filter(|(vm, peer)| vm != peer).for_each(|(vm, peer)| {
        system.peer(vm, peer);
    });
    (0..VMS as u16).for_each(|vm| {
        system.own_region(vm, vm, OWN);
    });
    system
}

/// Returns the model of that system. What a VM costs besides memory and tables is taken from the machine as it is.
pub(crate) fn model() -> Model {
    static FIXED: OnceLock<u64> = OnceLock::new();
    let mut spaces = [const { None }; 8];
    spaces[0] = Some(Space::new(None));
    let entries = vec![Entry { generation: 0, named: Named::Nothing }; HANDLES];
    let vm = Vm { is_alive: true, entries, spaces, late: 0, current: 0, work: None };
    let mut model = Model {
        vms: vec![vm; VMS],
        objects: Vec::new(),
        allocs: 0,
        fixed: 0,
        quota: QUOTA,
        answer: Answer::Never,
        arguments: Vec::new(),
        steps: 0,
        made: BTreeMap::new(),
    };
    for vm in 0..VMS {
        model.born(vm);
        let (_, ram) = model.vms[vm].mems().next().expect("the first handle");
        let (object, first) = (ram.object, ram.first);
        for (address, rights) in [(CODE, 5), (DATA, 3)] {
            let leaf = Leaf { object, frame: first.plus((address - CODE) >> 12), rights, most: 7 };
            model.space(vm, 0).pages.insert(address >> 12, leaf);
        }
    }
    model.fixed = *FIXED.get_or_init(|| {
        let used = Story::new(&system()).vm(0, |vm| vm.inner.lock(&mut Held::for_example()).0.account.used());
        used - model.used(0)
    });
    model
}

/// Returns whether a call that was answered with success has to be made again with the same arguments.
fn is_more(call: Call, x: &[u64; 18]) -> bool {
    match call {
        Call::MemAlloc => x[1] == 0,
        Call::ShareRevoke => x[1] == ShareState::Revoking as u64,
        _ => x[1] != 0,
    }
}

impl Real {
    /// Makes a call and holds what it answers against what it has to.
    fn call(&mut self, vm: usize, call: Call, arguments: &[u64], answer: &Answer) {
        let who = (vm as u8, 0);
        let mut x = self.story.ask(who, call, arguments).expect("it comes back");
        match answer {
            Answer::Never => panic!("a VM that has ended makes no call"),
            Answer::Refused(refusals) => {
                let refused = refusal(&x).unwrap_or_else(|| panic!("not refused, but {:x?}; {refusals:?}", &x[..7]));
                assert!(refusals.contains(&refused), "refused by {refused:?} instead of {refusals:?}");
                assert_eq!(x[2], 0, "nothing is done");
            }
            Answer::NotMapped(fault) => {
                assert_eq!(refusal(&x).map(|refusal| refusal.0), Some(Code::NotMapped));
                assert_eq!(Detail::from_bits(x[1]).quantity(), *fault);
            }
            Answer::Reply { results, repeats } => {
                let mut done = x[2];
                for _ in 0..1000 {
                    if !repeats || x[0] != 0 || !is_more(call, &x) {
                        break;
                    }
                    x = self.story.ask(who, call, arguments).expect("it comes back");
                    done += x[2];
                }
                assert_eq!(x[0], 0, "refused by {:?}, not answered by {results:x?}", refusal(&x));
                x[2] = done;
                let is_equal =
                    results.iter().zip(&x[1..]).all(|(wanted, had)| wanted.is_none_or(|wanted| wanted == *had));
                assert!(is_equal, "answered by {:x?} instead of {results:x?}", &x[1..=results.len()]);
            }
        }
    }

    fn end(&mut self, vm: usize) {
        let place = vm as u8;
        assert_eq!(self.story.ask((place, 0), Call::CoreExit, &[0, 0]), None);
        for _ in 0..3000 {
            if self.story.try_vm(place, |_| ()).is_none() {
                break;
            }
            self.story.turns(1);
        }
        self.story.turns(3); // its own pages go when no core can look at them any more
        assert!(self.story.try_vm(place, |_| ()).is_none(), "a VM does not come to its end");
    }
}

impl StateMachineTest for Real {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(model: &Model) -> Self {
        let mut real = Self { story: Story::new(&system()), places: Vec::new() };
        real.check(model);
        real
    }

    fn apply(mut real: Self, model: &Model, step: Step) -> Self {
        match step {
            Step::Call { vm, .. } | Step::End { vm } if real.story.try_vm(vm as u8, |_| ()).is_none() => {}
            Step::Call { vm, call, .. } => real.call(vm, call, &model.arguments, &model.answer),
            Step::End { vm } => real.end(vm),
        }
        real.check(model);
        real
    }

    fn teardown(real: Self, _: Model) {
        real.story.close();
    }
}
