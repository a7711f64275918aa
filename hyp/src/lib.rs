//! Strato's rooms, in layer order: what stands lower never imports what stands higher.
#![cfg_attr(target_os = "none", no_std)]

pub mod allocator;
pub mod arch;
pub mod board;
pub mod boot;
pub mod builder;
pub mod console;
pub mod dispatcher;
pub mod events;
pub mod gic;
pub mod hypercall;
pub mod interpreter;
pub mod lock;
pub mod machine;
pub mod memory;
pub mod plan;
pub mod scheduler;
pub mod series;
pub mod sync;
pub mod timer;
pub mod trace;
pub mod vcpu;
pub mod vm;
