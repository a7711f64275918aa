//! The host tool of Strato, as a library: build, check, pack, run, test, bench, size, report, trace, gdb, sd, doctor, lint.
//!
//! Rooms: [`system`] (TOML to a checked system), [`image`] (a guest's ELF to segments), [`pack`] (one bootable image),
//! [`project`] (the workspace and cargo), [`exit`] (what a status means).

pub mod bench;
pub mod card;
pub mod cli;
pub mod commands;
pub mod exit;
pub mod glob;
pub mod image;
pub mod lint;
pub mod machine;
pub mod pack;
pub mod project;
pub mod qemu;
pub mod report;
pub mod scenario;
pub mod serial;
pub mod system;
pub mod trace;
pub mod transcript;
