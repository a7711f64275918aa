//! Two VMs of this image share one core and compute with floating point; each gives the core up in the middle of its sums,
//! with numbers in the registers. Built for `aarch64-unknown-none`, the target with FP.
#![cfg_attr(target_os = "none", no_std, no_main)]

use core::hint::black_box;

use strato_guest::{Failure, Info, Needs, ensure_equal, println, vcpu};

strato_guest::entry!(floats, Needs::new().fp());

/// Terms of each sum.
const TERMS: u32 = 2000;

fn floats(info: &'static Info) -> Result<(), Failure> {
    // Different numbers in each VM, or a mix-up could go unnoticed.
    let start = f64::from(1 + info.header().vm);
    let alone = sums(start, || {});
    let disturbed = sums(start, vcpu::yield_now);
    for (alone, disturbed) in alone.into_iter().zip(disturbed) {
        ensure_equal("a sum, as bits,", disturbed.to_bits(), alone.to_bits())?;
    }
    println!("{TERMS} terms of four series are the same with and without a yield after each");
    println!("floats: ok");
    Ok(())
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
