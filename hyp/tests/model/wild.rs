//! Wild: calls with any arguments, mostly of the right kind: most are refused, each by what it should be.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;
use strato_abi::Call;

use crate::apt::near;
use crate::plan::{CODE, DATA};
use crate::state::{Model, Named, VMS};
use crate::steps::Step;

/// Values of one argument.
type Values = BoxedStrategy<u64>;

/// Mostly one of `good`, if there is one, else one of `odd`.
fn mostly(good: Vec<u64>, odd: Vec<u64>) -> Values {
    if good.is_empty() { select(odd).boxed() } else { prop_oneof![12 => select(good), 1 => select(odd)].boxed() }
}

fn of(values: &[u64]) -> Values {
    select(values.to_vec()).boxed()
}

/// What one VM has in its hands.
struct Hands<'a> {
    model: &'a Model,
    vm: usize,
}

impl Hands<'_> {
    fn handles(&self, vm: usize, is_meant: impl Fn(&Named) -> bool) -> Vec<u64> {
        let vm = &self.model.vms[vm];
        let all = vm.entries.iter().enumerate().filter(|(_, entry)| is_meant(&entry.named));
        all.map(|(index, _)| u64::from(vm.handle(index).bits())).collect()
    }

    /// Handles that are meant, or any other: of another kind, of a generation that has passed, of another VM, forged.
    fn handle(&self, is_meant: impl Fn(&Named) -> bool) -> Values {
        let mine = self.handles(self.vm, |named| !matches!(named, Named::Nothing));
        let foreign = (0..VMS).flat_map(|vm| self.handles(vm, |_| true));
        let passed = mine.iter().flat_map(|handle| [handle - (1 << 16), handle + (1 << 16)]);
        let forged = [0, 1, 0x1_fffe, 0x1_003f, 0x1_0040, 1 << 32 | 1 << 16, u64::MAX];
        let odd = mine.iter().copied().chain(foreign).chain(passed).chain(forged).collect();
        let meant = self.handles(self.vm, is_meant);
        mostly(meant.into_iter().map(|handle| self.model.name(self.vm, handle)).collect(), odd)
    }

    fn mem(&self) -> Values {
        self.handle(|named| matches!(named, Named::Mem(_)))
    }

    fn borrowed(&self) -> Values {
        self.handle(|named| matches!(named, Named::Mem(mem) if mem.borrow.is_some()))
    }

    fn share(&self) -> Values {
        self.handle(|named| matches!(named, Named::Share(_)))
    }

    fn peer(&self) -> Values {
        self.handle(|named| matches!(named, Named::Peer(_)))
    }

    fn space(&self) -> Values {
        let spaces = self.handle(|named| matches!(named, Named::Space(_)));
        prop_oneof![6 => Just(0), 1 => Just(0x1_fffe), 4 => spaces].boxed()
    }

    /// Keys of what the others offer to this VM.
    fn key(&self) -> Values {
        let model = self.model;
        let offers = (0..VMS).flat_map(|from| model.open_offers(from, self.vm).map(move |(index, _)| (from, index)));
        let key = |(from, index): (usize, usize)| model.name(from, u64::from(model.vms[from].handle(index).bits()));
        let keys = offers.map(key).chain([0]).collect();
        mostly(keys, vec![1, 0x1_0003, 0x2_0004, 1 << 40])
    }
}

/// The pages that are mapped, or, rarely, what is never right.
fn address() -> Values {
    let odd = of(&[CODE, DATA, 0, 0x3fe0_0000, 0x3fe1_0000, 0x3fdf_f000, CODE + 4, 0x7f_ffff_f000, 1 << 39, u64::MAX]);
    prop_oneof![16 => near(), 1 => odd].boxed()
}

fn offset() -> Values {
    prop_oneof![8 => (0..8u64).prop_map(|page| page << 12), 1 => of(&[0x1_0000, 0x1f000, 0x2_0000, 7, 1 << 63])].boxed()
}

fn pages() -> Values {
    prop_oneof![20 => 1..5u64, 1 => of(&[0, 8, 128, u64::MAX])].boxed()
}

fn rights() -> Values {
    of(&[1, 3, 1, 3, 5, 7, 2, 0, 8])
}

fn flags() -> Values {
    of(&[0, 0, 0, 1, 1, 2])
}

/// Returns any call of `vm`.
pub(crate) fn step(vm: usize, model: &Model) -> BoxedStrategy<Step> {
    let has = Hands { model, vm };
    let offered = (0..VMS).any(|from| model.open_offers(from, vm).next().is_some());
    let sizes = of(&[1, 2, 4, 8, 16, 32, 1, 2, 4, 3, 0, 1 << 19]);
    let calls = [
        (5, Call::MemAlloc, vec![sizes, of(&[0, 0, 0, 0, 0, 0, 0, 1])]),
        (5, Call::MemFree, vec![has.mem()]),
        (3, Call::MemSplit, vec![has.mem(), of(&[0x1000, 0x2000, 0x4000, 0x8000, 0x1_0000, 0])]),
        (2, Call::MemInfo, vec![has.mem()]),
        (3, Call::CoreHandleDrop, vec![has.handle(|named| matches!(named, Named::Mem(_) | Named::Share(_)))]),
        (2, Call::CoreHandleInfo, vec![has.handle(|named| !matches!(named, Named::Nothing))]),
        (22, Call::AsMap, vec![has.space(), address(), has.mem(), offset(), pages(), rights()]),
        (10, Call::AsUnmap, vec![has.space(), address(), pages(), flags()]),
        (6, Call::AsProtect, vec![has.space(), address(), pages(), rights(), flags()]),
        (3, Call::AsQuery, vec![has.space(), address()]),
        (3, Call::AsCreate, vec![]),
        (3, Call::AsDestroy, vec![has.space()]),
        (4, Call::AsSwitch, vec![has.space()]),
        (2, Call::AsSync, vec![has.space()]),
        (12, Call::ShareOffer, vec![has.peer(), has.mem(), offset(), pages(), terms(), of(&[7, u64::MAX])]),
        (if offered { 30 } else { 2 }, Call::ShareAccept, vec![has.peer(), has.key(), of(&[0, 0, 0, 1, 3, 5, 8])]),
        (4, Call::ShareRelinquish, vec![has.borrowed()]),
        (9, Call::ShareRevoke, vec![has.share(), of(&[1, 1, 0, 1, 2])]),
        (2, Call::ShareInfo, vec![has.share()]),
    ];
    let calls = calls.map(|(weight, call, arguments)| {
        let step = (arguments, prop::bool::weighted(0.4));
        (weight, step.prop_map(move |(arguments, whole)| Step::Call { vm, call, arguments, whole, makes: 0 }).boxed())
    });
    Union::new_weighted(calls.to_vec()).boxed()
}

fn terms() -> Values {
    of(&[3, 1, 7, 0x13, 0x23, 0x11, 0x17, 0x27, 2, 0x33, 8])
}
