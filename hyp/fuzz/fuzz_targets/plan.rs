//! Any bytes as the packed system behind the image: the rules are in `hyp/tests/fuzz/plan.rs`. Called by cargo-fuzz.
#![no_main]

#[path = "../../tests/fuzz/plan.rs"]
mod plan;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = plan::check(bytes);
});
