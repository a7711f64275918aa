//! The host tool of Strato, as a library: build, check, pack, run, test, bench, size, report, trace, gdb, sd, doctor, lint.
//!
//! Rooms: [`system`] (TOML to a checked system), [`image`] (a guest's ELF to segments), [`pack`] (one bootable image), [`card`] (what a Raspberry Pi 4
//! boots from), [`machine`] (what each run has) with [`qemu`] and [`serial`], [`transcript`] and [`scenario`] (what was said, and whether that was expected),
//! [`report`], [`trace`], [`bench`](mod@bench), [`lint`]; [`commands`] strings them together. [`project`] (the workspace and cargo), [`exit`] (what a status means), [`cli`].

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
