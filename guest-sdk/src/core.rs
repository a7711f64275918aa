//! Group CORE: who am I, what may I call, how much is allowed, and the end. One function per call.

use strato_abi::call::{CoreExit, CoreGroup, CoreHandleDrop, CoreHandleInfo, CoreInfo, CoreLimit, CoreNop, CorePanic};
use strato_abi::core::ExitKind;
use strato_abi::limit::LimitKey;
use strato_abi::{Handle, Ipa, Kind, Rights};

use crate::conduit::wrappers;

/// What CORE.INFO tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// ABI version of the hypervisor, `major << 16 | minor`.
    pub abi_version: u32,
    /// Identity of the hypervisor's build.
    pub build_id: u64,
    /// Number of this VM.
    pub vm: u32,
    /// Number of the calling vCPU.
    pub vcpu: u32,
    /// Address of the info page.
    pub info_page: Ipa,
}

/// What CORE.GROUP tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// Version of the group, `major << 16 | minor`.
    pub version: u32,
    /// One bit per call that this VM may make.
    pub calls: u32,
}

/// What CORE.HANDLE_INFO tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandleInfo {
    /// What the handle names; `None` for a kind of a later version.
    pub kind: Option<Kind>,
    /// Rights of memory, else none.
    pub rights: Rights,
    /// Label of the VM at the other end, padded with zeros; all zeros when there is none.
    pub label: [u8; 32],
}

fn describe(kind: u64, rights: u64, words: [u64; 4]) -> HandleInfo {
    let mut label = [0; 32];
    for (to, word) in label.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    let rights = Rights::from_bits_truncate(u16::try_from(rights).unwrap_or(0));
    HandleInfo { kind: u16::try_from(kind).ok().and_then(Kind::from_u16), rights, label }
}

#[allow(clippy::cast_possible_truncation, reason = "the upper half is shifted down, the lower half is meant")]
const fn halves(both: u64) -> (u32, u32) {
    ((both >> 32) as u32, both as u32)
}

wrappers! {
    /// Returns what this hypervisor and this vCPU are (CORE.INFO).
    ///
    /// # Errors
    /// None of its own.
    fn info() -> Identity = CoreInfo {}, |reply| {
        let (vm, vcpu) = halves(reply.vm_vcpu);
        Identity { abi_version: reply.abi_version, build_id: reply.build_id, vm, vcpu, info_page: reply.info_page }
    };
    /// Returns version and calls of the group of number `group` (CORE.GROUP).
    ///
    /// # Errors
    /// `NOT_SUPPORTED` no such group.
    fn group(group: u64) -> GroupInfo = CoreGroup { group },
        |reply| GroupInfo { version: reply.version, calls: reply.calls };
    /// Returns a limit of this hypervisor (CORE.LIMIT).
    ///
    /// # Errors
    /// `INVALID` the hypervisor is older than the key.
    fn limit(key: LimitKey) -> u64 = CoreLimit { key: key as u64 }, |reply| reply.value;
    /// Returns how many NOPs this vCPU has made, this one included: the cheapest call there is (CORE.NOP).
    ///
    /// # Errors
    /// None of its own.
    fn nop() -> u64 = CoreNop {}, |reply| reply.counter;
    /// Ends the VM as failed; the report shows the guest's own number `reason`, the crash's pc, ESR and FAR, or zeros
    /// (CORE.PANIC). Does not return on success: see [`panic`](crate::core::crash) for the form that says so.
    ///
    /// # Errors
    /// None of its own.
    fn panic(reason: u64, pc: u64, esr: u64, far: u64) -> () = CorePanic { reason, pc, esr, far }, |_| ();
    /// Ends the VM with exit code `code` (CORE.EXIT). Does not return on success.
    ///
    /// # Errors
    /// `DENIED` reboot when the manifest does not restart this VM.
    fn exit(code: u64, kind: ExitKind) -> () = CoreExit { code, kind }, |_| ();
    /// Returns what `handle` names (CORE.HANDLE_INFO).
    ///
    /// # Errors
    /// Handle errors.
    fn handle_info(handle: Handle) -> HandleInfo = CoreHandleInfo { handle }, |reply| {
        describe(reply.kind, reply.rights, [reply.label_0, reply.label_1, reply.label_2, reply.label_3])
    };
    /// Gives back a handle to a peer, or to a share or borrowed memory that is over (CORE.HANDLE_DROP).
    ///
    /// # Errors
    /// `STATE` it is in use and ends by a call of its own; handle errors.
    fn handle_drop(handle: Handle) -> () = CoreHandleDrop { handle }, |_| ();
}

/// Ends the VM with exit code `code`; 0 is success. Never returns.
pub fn shutdown(code: u64) -> ! {
    // Off is refused only when the manifest forbids CORE.EXIT altogether; then the report of a panic is the way out.
    let refused = exit(code, ExitKind::Off);
    let _ = refused;
    crash(crate::exception::REASON_REFUSED, 0, 0, 0)
}

/// Ends the VM as failed, with a report. Never returns. Arguments as [`panic`](fn@panic).
pub fn crash(reason: u64, pc: u64, esr: u64, far: u64) -> ! {
    loop {
        let _ = panic(reason, pc, esr, far);
        // Only a VM that may not even make this call comes here: it goes to sleep for good.
        crate::arch::wait_for_interrupt();
    }
}
