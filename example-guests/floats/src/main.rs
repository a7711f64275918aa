//! Two VMs of this image share one core and compute with floating point; each gives the core up in the middle of its sums,
//! with numbers in the registers. Built for `aarch64-unknown-none`, the target with FP.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::hint::black_box;

use strato_guest::abi::Ipa;
use strato_guest::fault::{self, Action, Fault};
use strato_guest::memory::Window;
use strato_guest::{Failure, Info, Needs, ensure_equal, println, vcpu};

strato_guest::entry!(floats, Needs::new().fp().fault_handler());

/// Terms of each sum.
const TERMS: u32 = 2000;

fn floats(info: &'static Info) -> Result<(), Failure> {
    // Different numbers in each VM, or a mix-up could go unnoticed.
    let start = f64::from(1 + info.header().vm);
    let alone = sums(start, || {});
    let disturbed = sums(start, vcpu::yield_now);
    let nothing = Window::new(Ipa::new(0x7000_0000).ok_or("no address")?, 8).ok_or("no room")?;
    fault::set_handler(computes);
    let faulting = sums(start, || {
        let _ = nothing.load(0); // the fault is what it is for
    });
    for ((alone, disturbed), faulting) in alone.into_iter().zip(disturbed).zip(faulting) {
        ensure_equal("a sum, as bits,", disturbed.to_bits(), alone.to_bits())?;
        ensure_equal("a sum over faults, as bits,", faulting.to_bits(), alone.to_bits())?;
    }
    println!("{TERMS} terms of four series are the same with and without a yield after each");
    println!("they are the same with a fault after each, whose handler computes");
    println!("floats: ok");
    Ok(())
}

/// Uses FP registers for sums of its own, and goes on behind the access.
fn computes(_: &Fault) -> Action {
    let sums = black_box([1.5_f64, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5]).map(|number| number * number / 3.0);
    if black_box(sums.iter().sum::<f64>()) > 0.0 { Action::Skip } else { Action::Panic }
}

/// Returns four sums, kept in registers over every call of `between`.
fn sums(start: f64, between: impl Fn()) -> [f64; 4] {
    let mut sums = black_box([start; 4]);
    for n in 1..=TERMS {
        let n = f64::from(n);
        let terms = [1.0 / n, 1.0 / (n * n), start / (n + start), n * start];
        between();
        for (sum, term) in sums.iter_mut().zip(terms) {
            *sum += term;
        }
    }
    sums
}
