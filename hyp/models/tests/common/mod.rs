//! What the models of events share.
#![allow(dead_code, reason = "each model takes what it needs")]

use loom::sync::Arc;
use strato_abi::Handle;
use strato_models::events::Link;
use strato_models::events::port::End;
use strato_models::sync::Ordering::{AcqRel, Relaxed};
use strato_models::sync::{AtomicU64, Without, go_without};
use strato_models::vm::Vm;
use strato_models::vm::raise::Raised;

/// A port that receives, bound to vCPU 0, and its bit.
pub(crate) const PORT: u16 = 1;
pub(crate) const BIT: u64 = 1 << PORT;
/// Another one.
pub(crate) const OTHER_PORT: u16 = 2;

/// A VM with two open ports.
pub(crate) fn receiver(vcpus: usize) -> Arc<Vm> {
    let vm = Vm::new(0, 1, vcpus);
    let end = End { vm: 1, incarnation: 1, port: 1 };
    for port in [PORT, OTHER_PORT] {
        vm.ports.get(usize::from(port)).unwrap().open(Handle::new(port, 1), 0, Link::Connected(end));
    }
    Arc::new(vm)
}

/// Raises `port` as SEND does. Returns the vCPU that is told.
pub(crate) fn send(vm: &Vm, port: u16, without: Without) -> Option<u8> {
    go_without(without);
    match vm.raise_once(u64::from(port)) {
        Raised::Quiet => None,
        Raised::Blocked(vcpu) | Raised::Tell(vcpu) => {
            (0..).zip(vm.vcpus.iter()).find(|(_, at)| std::ptr::eq(*at, vcpu)).map(|(number, _)| number)
        }
        Raised::Again => vm.raise_again(port),
    }
}

/// Word `index` of the record of vCPU `number`, as the guest sees it.
pub(crate) fn word(vm: &Vm, number: u8, index: usize) -> &AtomicU64 {
    &vm.area.pages().first()[usize::from(number) * 64 + index]
}

pub(crate) fn pending(vm: &Vm, number: u8) -> u64 {
    word(vm, number, 0).load(Relaxed)
}

/// The guest takes its pending bits after it took the selector.
pub(crate) fn take_pending(vm: &Vm, number: u8) -> u64 {
    go_without(Without::Nothing);
    word(vm, number, 0).swap(0, AcqRel)
}

/// The guest acknowledges (`EVT.ACK`).
pub(crate) fn acknowledge(vm: &Vm, number: u8) -> u64 {
    let sink = &vm.vcpu(number).unwrap().public.sink;
    vm.area.take_once(number, sink).unwrap_or_else(|| vm.area.take(number, sink))
}

/// Runs a model of three threads: each order with at most three switches that no thread asked for, since all of them take hours.
pub(crate) fn model_of_three(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}
