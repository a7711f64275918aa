//! Steps: what a VM does next, as it reads when a failure has been shrunk, and how likely each is in a state.

use std::fmt;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;
use proptest_state_machine::ReferenceStateMachine;
use strato_abi::Call;
use strato_abi::regs::Request;

use crate::machine;
use crate::state::{Answer, Model, Refusals, VMS};
use crate::{apt, wild};

/// What one VM does.
#[derive(Clone)]
pub(crate) enum Step {
    /// Makes a call, again until it is done if it is `whole`; a handle that it gets has the name `makes` from then on.
    Call { vm: usize, call: Call, arguments: Vec<u64>, whole: bool, makes: u64 },
    /// Ends.
    End { vm: usize },
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |vm: usize| char::from(b'a' + vm as u8);
        match self {
            Self::End { vm } => write!(f, "{} ends", name(*vm)),
            Self::Call { vm, call, arguments, whole, makes } => {
                write!(f, "{} {}", name(*vm), call.name())?;
                for (argument, value) in call.arguments().iter().zip(arguments) {
                    match value.checked_sub(NAMES).filter(|name| *name < 1 << 32) {
                        Some(name) => write!(f, " {argument}=#{name}")?,
                        None => write!(f, " {argument}={value:#x}")?,
                    }
                }
                if MAKERS.contains(call) {
                    write!(f, " -> #{makes}")?;
                }
                if *whole { write!(f, ", to the end") } else { Ok(()) }
            }
        }
    }
}

/// Arguments from here on are names of handles: when a failure is shrunk, what a step makes is still the same if others before
/// it are gone, whatever number its handle has then.
const NAMES: u64 = 0x5a5a << 32;
/// The calls whose first result is a handle.
const MAKERS: [Call; 5] = [Call::MemAlloc, Call::MemSplit, Call::AsCreate, Call::ShareOffer, Call::ShareAccept];

/// Returns what a call comes to: refused by its form (SPEC 5.6), or what the model says.
macro_rules! make {
    ($model:ident.$name:ident($vm:ident, $arguments:ident $(, $whole:ident)?)) => {
        match Request::from_regs($arguments) {
            Ok(request) => $model.$name($vm, &request $(, $whole)?),
            Err(error) => Err(vec![(error.code, error.detail.argument(), error.detail.reason().expect("a reason"))]),
        }
    };
}

impl Model {
    /// Returns the name of a handle, or the handle itself if the VM had it from the start.
    pub(crate) fn name(&self, vm: usize, handle: u64) -> u64 {
        let made = self.made.iter().rev().find(|(_, made)| **made == (vm, handle));
        made.map_or(handle, |(name, _)| NAMES + name)
    }

    /// Returns the handle of a name; one that was never made is 0, and any other value stays.
    fn handle(&self, value: u64) -> u64 {
        match value.checked_sub(NAMES).filter(|name| *name < 1 << 32) {
            Some(name) => self.made.get(&name).map_or(0, |(_, handle)| *handle),
            None => value,
        }
    }

    /// Makes a call on the model.
    fn call(&mut self, vm: usize, call: Call, arguments: &[u64], whole: bool) -> Result<Answer, Refusals> {
        match call {
            Call::MemAlloc => make!(self.mem_alloc(vm, arguments)),
            Call::MemFree => make!(self.mem_free(vm, arguments, whole)),
            Call::MemSplit => make!(self.mem_split(vm, arguments)),
            Call::MemInfo => make!(self.mem_info(vm, arguments)),
            Call::CoreHandleDrop => make!(self.handle_drop(vm, arguments)),
            Call::CoreHandleInfo => make!(self.handle_info(vm, arguments)),
            Call::AsMap => make!(self.as_map(vm, arguments)),
            Call::AsUnmap => make!(self.as_unmap(vm, arguments)),
            Call::AsProtect => make!(self.as_protect(vm, arguments)),
            Call::AsQuery => make!(self.as_query(vm, arguments)),
            Call::AsCreate => make!(self.as_create(vm, arguments)),
            Call::AsDestroy => make!(self.as_destroy(vm, arguments, whole)),
            Call::AsSwitch => make!(self.as_switch(vm, arguments)),
            Call::AsSync => make!(self.as_sync(vm, arguments)),
            Call::ShareOffer => make!(self.share_offer(vm, arguments)),
            Call::ShareAccept => make!(self.share_accept(vm, arguments)),
            Call::ShareRelinquish => make!(self.share_relinquish(vm, arguments, whole)),
            Call::ShareRevoke => make!(self.share_revoke(vm, arguments, whole)),
            Call::ShareInfo => make!(self.share_info(vm, arguments)),
            _ => unreachable!("no step makes it"),
        }
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(machine::model()).boxed()
    }

    fn transitions(model: &Self) -> BoxedStrategy<Step> {
        let vms: Vec<usize> = (0..VMS).filter(|&vm| model.vms[vm].is_alive).collect();
        if vms.is_empty() {
            return Just(Step::End { vm: 0 }).boxed();
        }
        let apt = Union::new(vms.iter().map(|&vm| apt::step(vm, model)));
        let wild = Union::new(vms.iter().map(|&vm| wild::step(vm, model)));
        let end = select(vms).prop_map(|vm| Step::End { vm });
        let name = model.steps;
        let named = move |mut step: Step| {
            if let Step::Call { makes, .. } = &mut step {
                *makes = name;
            }
            step
        };
        prop_oneof![200 => apt, 70 => wild, 2 => end].prop_map(named).boxed()
    }

    /// Leaves out what might reach the bound of a call (SPEC 5.1), which depends on which objects are neighbors in memory: longer
    /// ranges of AS.UNMAP, but for those that have a hole anyway. `memory_bounds.rs` is about that.
    fn preconditions(_: &Self, step: &Step) -> bool {
        match step {
            Step::Call { call: Call::AsUnmap, arguments, .. } => {
                let most = if arguments[3] == 1 { 2 } else { 5 };
                !(most + 1..=10).contains(&arguments[2])
            }
            Step::Call { .. } | Step::End { .. } => true,
        }
    }

    fn apply(mut model: Self, step: &Step) -> Self {
        model.steps += 1;
        match step {
            Step::Call { vm, .. } | Step::End { vm } if !model.vms[*vm].is_alive => model.answer = Answer::Never,
            Step::Call { vm, call, arguments, whole, makes } => {
                let arguments: Vec<u64> = arguments.iter().map(|&value| model.handle(value)).collect();
                model.answer = model.call(*vm, *call, &arguments, *whole).unwrap_or_else(Answer::Refused);
                model.arguments = arguments;
                if let Answer::Reply { results, .. } = &model.answer
                    && MAKERS.contains(call)
                {
                    model.made.insert(*makes, (*vm, results[0].expect("a handle")));
                }
            }
            Step::End { vm } => {
                model.end(*vm);
                model.answer = Answer::Never;
            }
        }
        model
    }
}
