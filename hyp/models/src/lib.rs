//! Models: the hypervisor's own files that take no lock, compiled over loom's atomics, so that the tests beside this crate see
//! every order in which two cores can see each other's steps. Around them stand as few stand-ins as they ask for.
//!
//! A change of such a file changes what is checked here; a file that asks for more than `arch` stands in for does not build.
// The unit tests that the files bring run in their own crate; here they would not build.
#![cfg(not(test))]
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    unused_imports,
    reason = "most of it is the hypervisor's, which is linted"
)]
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "stand-ins of tests")]

// `derive(FromZeros)` of the ports becomes `derive(Default)`: all zeros, without a look at loom's atomics as bytes.
extern crate self as zerocopy;
pub use core::default::Default as FromZeros;

pub mod arch;
#[path = "../../src/events/mod.rs"]
pub mod events;
pub mod machine;
pub mod sync;
pub mod vcpu;
pub mod vm;

pub mod lock {
    pub const CONSOLE: u8 = 5;

    /// A lock that no model takes; what is locked is in `tests/lock.rs`.
    #[derive(Debug, Default)]
    pub struct Lock<T, const RANK: u8>(T);
}

pub mod scheduler {
    /// A vCPU as letters name it.
    #[derive(Clone, Copy, Debug)]
    pub struct VcpuRef(pub usize);

    impl VcpuRef {
        pub fn index(self) -> usize {
            self.0
        }
    }
}
