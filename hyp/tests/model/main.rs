//! Model: what the contract says of ownership, mappings and shares, as plain maps, beside the hypervisor itself.
//!
//! Three VMs make calls of the groups MEM, AS and SHARE, right and wrong ones, and end. The model (`state` and the files with a
//! call group's name) predicts each answer; after each step all that the hypervisor knows is held against the model (`check`),
//! so a call that changes anything else is caught in the step in which it does. `stage`, `plan` and `talk` are the stories'.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]
#![allow(clippy::cast_possible_truncation, reason = "numbers of a test are small")]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the model is about some of the calls, and asks for one kind of handle"
)]

#[path = "../story/parts.rs"]
mod parts;
#[allow(dead_code, reason = "the stories use the rest")]
#[path = "../story/plan.rs"]
mod plan;
#[allow(dead_code, reason = "the stories use the rest")]
#[path = "../story/stage.rs"]
mod stage;
#[allow(dead_code, reason = "the stories use the rest")]
#[path = "../story/talk.rs"]
mod talk;

mod apt;
mod check;
mod machine;
mod maps;
mod mem;
mod ranges;
mod shares;
mod space;
mod state;
mod steps;
mod takeback;
mod wild;

/// What `talk` tells of refusals; only the stories collect them.
mod refusals {
    use strato_abi::Call;
    use strato_abi::error::{Code, Reason};

    pub(crate) fn note(_: Call, _: Code, _: Reason) {}
}

use proptest::prelude::*;
use proptest_state_machine::prop_state_machine;

use machine::Real;

/// As many sequences as take a few seconds: `STRATO_MODEL_CASES=5000 cargo test -p strato-hyp --test model` looks longer.
fn config() -> ProptestConfig {
    let cases = std::env::var("STRATO_MODEL_CASES").ok().map_or(40, |cases| cases.parse().expect("a number of cases"));
    ProptestConfig { cases, max_shrink_iters: 4000, ..ProptestConfig::default() }
}

prop_state_machine! {
    #![proptest_config(config())]

    #[test]
    fn ownership_mappings_and_shares_of_three_vms_are_the_models_after_every_step(sequential 1..120 => Real);
}
