//! The library that a guest of Strato links against: entry, console, typed calls, events, faults.
//!
//! A guest is a program with an entry function and the line `entry!(function, NEEDS)`. Modules named after groups of
//! calls ([`core`], [`vcpu`], [`mem`], [`address_space`], [`share`], [`event`], [`time`], [`console`]) hold one safe function per call; each has a twin
//! in the module's `via`, which takes the [`Conduit`] to use, so that code above it runs on a PC against a [`Recorder`].
//! Everything else makes those calls convenient: [`info`] (what the VM is told), [`entry`](mod@entry) and [`needs`],
//! [`print!`]/[`println!`] and `log`, [`event_area`] and [`upcall`], [`fault`], [`memory`], [`native`], [`owned`], [`granted`], [`borrowed`],
//! [`mapped`], [`ring`], [`device`], [`time`], [`timer`].
#![no_std]
#![deny(missing_docs)]

#[cfg(not(target_os = "none"))]
extern crate std;

pub mod address_space;
mod arch;
pub mod borrowed;
pub mod conduit;
pub mod console;
pub mod core;
pub mod device;
pub mod entry;
pub mod error;
pub mod event;
pub mod event_area;
#[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "nothing causes an exception on a PC"))]
pub mod exception;
pub mod failure;
pub mod fault;
pub mod granted;
mod image;
pub mod info;
mod load_store;
mod logger;
pub mod mapped;
pub mod mem;
pub mod memory;
pub mod native;
pub mod needs;
pub mod owned;
mod panic;
pub mod print;
#[cfg(not(target_os = "none"))]
pub mod recorder;
pub mod ring;
pub mod share;
pub mod smccc;
pub mod space;
pub mod time;
pub mod timer;
pub mod upcall;
pub mod vcpu;
pub mod vcpu_area;

pub use arch::{Hvc, MmuStart, StackMemory};
pub use borrowed::Borrowed;
pub use conduit::{Conduit, make};
pub use device::{Irq, Mmio};
pub use error::{Error, Result};
pub use failure::{Failure, ensure, ensure_equal};
pub use granted::{Donation, Granted, Lent, Shared};
pub use info::Info;
pub use mapped::Mapped;
pub use needs::Needs;
pub use owned::Owned;
#[cfg(not(target_os = "none"))]
pub use recorder::Recorder;
pub use space::Space;
pub use strato_abi as abi;
pub use timer::{LocalTimer, Timer};
pub use vcpu::Stack;
