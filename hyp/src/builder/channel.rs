//! Channel: a port of each VM of a record, and how the one that is made later finds the other.
//!
//! The other VM's port is named in its info page, so it stays: it has lost its other end, and gets a new one. Which it is follows from the
//! plan: the same records give the same entries of its table, in the generation that its life begins with. One that the other VM has
//! closed since stays closed.

use strato_abi::Handle;
use strato_abi::info_page::NAME_LEN;
use strato_abi::plan::Channel;

use crate::lock::Held;
use crate::vm::build::BuildError;
use crate::vm::{Inner, Vm, attach};

/// Takes a port of `vm` for a channel.
#[inline(never)]
fn port(vm: &Vm, vcpu: u16, name: &[u8; NAME_LEN], none: &mut Held<'_, 0>) -> Result<Handle, BuildError> {
    let (mut inner, _held) = vm.inner.lock(none);
    attach::port(vm, &mut inner, vcpu, *name)
}

/// Makes the port that `record` gives `vm`, and connects it to the one at the other end, if that is there and has none; `peer` finds the VM in a
/// place. `handles` are the indices of the near and the far port.
///
/// # Errors
/// [`BuildError`].
pub(super) fn near_end<'s>(
    vm: &Vm,
    record: &Channel,
    [near, far]: [u16; 2],
    peer: impl Fn(u16) -> Option<&'s Vm>,
    none: &mut Held<'_, 0>,
) -> Result<(), BuildError> {
    let (name, vcpu, other, index) = if record.header.vm == u16::from(vm.place) {
        (&record.name, record.vcpu, record.peer, far)
    } else {
        (&record.peer_name, record.peer_vcpu, record.header.vm, near)
    };
    let near = port(vm, vcpu, name, none)?;
    if let Some(peer) = peer(other).filter(|peer| peer.place != vm.place) {
        // Under its lock the other end stays what it is. Should that VM be made again at this moment too, one of both cores finds the port of the
        // other, since each has made its own before it looks; if both do, they write the same.
        let (theirs, _held) = peer.inner.lock(none);
        if let Some(far) = lost_end(peer, &theirs, index) {
            attach::connect(vm, near, peer, far);
            attach::connect(peer, far, vm, near);
        }
    }
    Ok(())
}

/// Returns the port that the plan gave `vm` as handle `index` of this life, if it is open and has lost its other end.
fn lost_end(vm: &Vm, inner: &Inner, index: u16) -> Option<Handle> {
    let handle = Handle::new(index, vm.life.first_generation());
    inner.handles.port(handle).ok()?;
    let word = vm.ports.get(usize::from(index))?.read();
    (!vm.is_ending() && word.is_of(handle) && word.is_peer_gone()).then_some(handle)
}
