//! Memory: what each address space translates, and with which permissions.
//!
//! Called by `vm` (build, stop), by the calls of group AS and by the handling of aborts, under the lock of the address
//! space. Never decides whose memory it is: callers bring a physical address that the VM's handles prove.
//!
//! - [`descriptor`]: a stage-2 entry as words: address, rights, memory type, level.
//! - [`sharing`]: the legal moves of memory that is shared between VMs.
//! - [`stage2`]: [`stage2::AddressSpace`] with `map`, `unmap`, `protect`, `query`, `teardown_step`.
//! - [`source`]: what an address space needs from outside, [`source::TableSource`].

pub mod descriptor;
pub mod sharing;
pub mod source;
pub mod stage2;
