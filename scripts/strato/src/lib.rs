//! The host tool of Strato, as a library: build, check, pack, run, test, bench, size, gdb, lint.
//!
//! Rooms, lower never uses higher: [`system`] (TOML to a checked system).

pub mod system;
