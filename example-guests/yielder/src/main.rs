//! Four vCPUs share one core: two give it up by themselves, two never do and lose it when their time slice ends. Nobody
//! is done before everybody has got on, so all must be given their share.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::sync::atomic::{AtomicU64, Ordering};

use strato_guest::abi::vcpu::RunState;
use strato_guest::vcpu::{self, Stack};
use strato_guest::{Failure, Info, ensure, println};

strato_guest::entry!(yielder);

const VCPUS: usize = 4;
/// Steps that each vCPU must have made before any of them stops.
const GOAL: u64 = 1000;

static STACKS: [Stack; VCPUS - 1] = [const { Stack::new() }; VCPUS - 1];
static STEPS: [AtomicU64; VCPUS] = [const { AtomicU64::new(0) }; VCPUS];

fn yielder(info: &'static Info) -> Result<(), Failure> {
    ensure(info.vcpus() == VCPUS, "the manifest must give this VM four vCPUs")?;
    for (number, stack) in (1..VCPUS).zip(&STACKS) {
        vcpu::launch(number, stack, run, number)?;
    }
    run(0);

    for (number, steps) in STEPS.iter().enumerate() {
        let way = if yields(number) { "yielded" } else { "never yielded" };
        ensure(steps.load(Ordering::Relaxed) >= GOAL, "a vCPU got too little time")?;
        println!("vCPU {number} {way} and made its {GOAL} steps");
    }
    for number in 1..VCPUS {
        while vcpu::state(number as u64)? != Some(RunState::Off) {
            vcpu::yield_now();
        }
    }
    println!("yielder: ok");
    Ok(())
}

const fn yields(vcpu: usize) -> bool {
    vcpu < 2
}

/// Makes steps on vCPU `vcpu` until every vCPU has made enough of them.
fn run(vcpu: usize) {
    while STEPS.iter().any(|steps| steps.load(Ordering::Relaxed) < GOAL) {
        if let Some(steps) = STEPS.get(vcpu) {
            steps.fetch_add(1, Ordering::Relaxed);
        }
        if yields(vcpu) {
            vcpu::yield_now();
        }
    }
}
