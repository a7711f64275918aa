//! Group CORE: who am I, what may I call, how much is allowed, and the end. One function per call.

use strato_abi::Ipa;
use strato_abi::call::{CoreExit, CoreGroup, CoreInfo, CoreLimit, CoreNop, CorePanic};
use strato_abi::core::ExitKind;
use strato_abi::limit::LimitKey;

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
