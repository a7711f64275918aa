//! Any bytes as the device tree that boot is given: the rules are in `hyp/tests/fuzz/device_tree.rs`. Called by cargo-fuzz.
#![no_main]

#[path = "../../tests/fuzz/device_tree.rs"]
mod device_tree;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = device_tree::check(bytes);
});
