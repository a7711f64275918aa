//! Image: the panic handler, the one static and the jump into boot. On a PC it is an empty program.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}
