//! The one table of calls: the enum, the typed requests and replies, names and the hypervisor's handler list come from it.

use crate::addr::Ipa;
use crate::address_space::{Attributes, UnmapFlags};
use crate::calls::calls;
use crate::console::ConsoleData;
use crate::core::ExitKind;
use crate::error::{Error, Reason};
use crate::event::{DeliveryMode, IrqFlags};
use crate::group::Group;
use crate::handle::{
    AddressSpaceHandle, Handle, IrqHandle, MemHandle, PeerHandle, PortHandle, SchedHandle, ShareHandle,
};
use crate::mem::MemoryType;
use crate::regs::{self, Argument, Reader, Regs, Reply, Request, Writer};
use crate::share::{RevokePolicy, Steps, Terms};
use crate::time::ClockKind;
use crate::vcpu::YieldHint;
use crate::version::{FUNCTION_BASE, FUNCTION_SVE_HINT};

calls! { ($)
    /// Returns what this hypervisor and this vCPU are.
    ///
    /// Out: x1 ABI version (`major << 16 | minor`), x2 build id, x3 `vm << 32 | vcpu`, x4 address of the info page.
    /// Errors: none. Blocks: never. Spec: CORE.INFO.
    CoreInfo = (Core, 0) "CORE.INFO" () -> CoreInfoReply(abi_version: u32, build_id: u64, vm_vcpu: u64, info_page: Ipa);
    /// Returns version and calls of a group.
    ///
    /// In: x1 group number. Out: x1 `major << 16 | minor`, x2 bitmap of the calls this VM may make.
    /// Errors: `NOT_SUPPORTED` no such group. Blocks: never. Spec: CORE.GROUP.
    CoreGroup = (Core, 1) "CORE.GROUP" (group: u64) -> CoreGroupReply(version: u32, calls: u32);
    /// Returns a limit; guests take limits from here and never from constants.
    ///
    /// In: x1 key, see [`crate::limit::LimitKey`]. Out: x1 value. Errors: `INVALID` unknown key. Blocks: never. Spec: CORE.LIMIT.
    CoreLimit = (Core, 2) "CORE.LIMIT" (key: u64) -> CoreLimitReply(value: u64);
    /// Does nothing but count: the cheapest call there is.
    ///
    /// Out: x1 how many NOPs this vCPU has made, this one included. Errors: none. Blocks: never. Spec: CORE.NOP.
    CoreNop = (Core, 3) "CORE.NOP" () -> CoreNopReply(counter: u64);
    /// Ends the VM as failed, with a report that shows the arguments.
    ///
    /// In: x1 reason (the guest's own number), x2 pc, x3 ESR, x4 FAR of the crash, or zero. Does not return.
    /// Errors: none. Spec: CORE.PANIC.
    CorePanic = (Core, 4) "CORE.PANIC" (reason: u64, pc: u64, esr: u64, far: u64) -> CorePanicReply();
    /// Ends the VM.
    ///
    /// In: x1 exit code (0 is success), x2 kind: 0 off, 1 reboot. Does not return on success.
    /// Errors: `INVALID` unknown kind; `DENIED` reboot when the manifest does not restart this VM. Spec: CORE.EXIT.
    CoreExit = (Core, 5) "CORE.EXIT" (code: u64, kind: ExitKind) -> CoreExitReply();
    /// Returns what a handle names.
    ///
    /// In: x1 handle. Out: x1 [`crate::handle::Kind`], x2 rights, x3 to x6 the label of the VM at its other end, zero when there is none.
    /// Errors: handle errors. Blocks: never. Spec: CORE.HANDLE_INFO.
    CoreHandleInfo = (Core, 6) "CORE.HANDLE_INFO" (handle: Handle)
        -> CoreHandleInfoReply(kind: u64, rights: u64, label_0: u64, label_1: u64, label_2: u64, label_3: u64);
    /// Gives back a handle to a peer, or to a share or borrowed memory that is over.
    ///
    /// In: x1 handle. Errors: `STATE` what it names is not over and ends by a call of its own. Blocks: never. Spec: CORE.HANDLE_DROP.
    CoreHandleDrop = (Core, 7) "CORE.HANDLE_DROP" (handle: Handle) -> CoreHandleDropReply();

    /// Gives the core to another vCPU of the same or a higher priority, or to the target of the hint.
    ///
    /// In: x1 hint, x2 its target. The vCPU stays runnable and goes behind its equals.
    /// Errors: `INVALID` unknown hint or target. Blocks: never. Spec: VCPU.YIELD.
    VcpuYield = (Vcpu, 0) "VCPU.YIELD" (hint: YieldHint, target: u64) -> VcpuYieldReply();
    /// Waits for an event on this vCPU, or for a time.
    ///
    /// In: x1 deadline in ticks of CNTVCT_EL0, all ones for none. Out: x1 the selector, taken (0 when the deadline passed), x2 CNTVCT_EL0.
    /// A deadline in the past is success. Errors: none. Blocks: yes. Spec: VCPU.WAIT.
    VcpuWait = (Vcpu, 1) "VCPU.WAIT" (deadline: u64) -> VcpuWaitReply(selector: u64, now: u64);
    /// EVT.SEND, then VCPU.WAIT, in one trap.
    ///
    /// In: x1 port, x2 deadline. Out and errors: as the two calls; when SEND is refused nothing is waited for. Blocks: yes. Spec: VCPU.SIGNAL_WAIT.
    VcpuSignalWait = (Vcpu, 2) "VCPU.SIGNAL_WAIT" (port: PortHandle, deadline: u64) -> VcpuSignalWaitReply(selector: u64, now: u64);
    /// Starts a vCPU of this VM that is off.
    ///
    /// In: x1 vCPU, x2 entry address, x3 argument for its x0. Errors: `INVALID` no such vCPU; `BAD_ADDR`, `MISALIGNED` entry;
    /// `STATE` it is not off. Blocks: never. Spec: VCPU.START.
    VcpuStart = (Vcpu, 3) "VCPU.START" (vcpu: u64, entry: Ipa, arg: u64) -> VcpuStartReply();
    /// Turns the calling vCPU off; the VM ends with exit code 0 when it was the last.
    ///
    /// Does not return. Errors: none. Spec: VCPU.STOP.
    VcpuStop = (Vcpu, 4) "VCPU.STOP" () -> VcpuStopReply();
    /// Returns the state of a vCPU of this VM.
    ///
    /// In: x1 vCPU. Out: x1 [`crate::vcpu::RunState`]. Errors: `INVALID` no such vCPU. Blocks: never. Spec: VCPU.STATE.
    VcpuState = (Vcpu, 5) "VCPU.STATE" (vcpu: u64) -> VcpuStateReply(state: u64);
    /// Wakes vCPUs of this VM and sets [`crate::event_area::SELECTOR_KICK`] in their selectors, whatever they mask.
    ///
    /// In: x1 one bit per vCPU. Errors: `INVALID` no bit, or one without a vCPU. Blocks: never. Spec: VCPU.KICK.
    VcpuKick = (Vcpu, 6) "VCPU.KICK" (vcpus: u64) -> VcpuKickReply();
    /// Makes this vCPU run by a scheduling handle, at once: on the handle's core, by its budget and at a priority up to its own.
    ///
    /// In: x1 Sched handle, 0 for none: on the core where it is, in what is left; x2 priority, x3 ticks of CNTVCT_EL0 in each period and x4 ticks of
    /// a period, 0 for those of the handle. Errors: `INVALID`; `DENIED` more than the handle or the manifest allows; handle errors.
    /// Blocks: never, but the vCPU may have used up its budget. Spec: VCPU.SCHED_SET.
    VcpuSchedSet = (Vcpu, 7) "VCPU.SCHED_SET" (sched: SchedHandle, priority: u64, budget: u64, period: u64) -> VcpuSchedSetReply();
    /// Sets, renews or ends the watchdog of this vCPU: when it runs out, the VM is stopped with a report.
    ///
    /// In: x1 ticks of CNTVCT_EL0 from now, 0 to end it. Errors: none. Blocks: never. Spec: VCPU.WATCHDOG.
    VcpuWatchdog = (Vcpu, 8) "VCPU.WATCHDOG" (timeout: u64) -> VcpuWatchdogReply();

    /// Returns a new Mem object of zeroed memory.
    ///
    /// In: x1 pages, a power of two, x2 memory type. Out: x1 Mem handle, 0 while pages are still to be zeroed: the caller repeats; x2 pages zeroed.
    /// Errors: `INVALID`, `QUOTA`, `NO_MEMORY`, `FULL`, `BUSY`. Blocks: never. Spec: MEM.ALLOC.
    MemAlloc = (Mem, 0) "MEM.ALLOC" (pages: u64, kind: MemoryType) -> MemAllocReply(mem: Handle, done: u64);
    /// Gives a Mem object back to the pool.
    ///
    /// In: x1 Mem handle. Out: x1 pages still to be scrubbed: the caller repeats until it is 0; x2 pages scrubbed.
    /// Errors: `DENIED` not the owner; `BUSY` mapped, shared, or another object is under way. Blocks: never. Spec: MEM.FREE.
    MemFree = (Mem, 1) "MEM.FREE" (mem: MemHandle) -> MemFreeReply(left: u64, done: u64);
    /// Cuts a Mem object into halves.
    ///
    /// In: x1 Mem handle, x2 offset of the second half in bytes. Out: x1 Mem handle of the second half.
    /// Errors: `INVALID`, `DENIED`, `BUSY`, `STATE`, `FULL`, `NO_MEMORY`. Blocks: never. Spec: MEM.SPLIT.
    MemSplit = (Mem, 2) "MEM.SPLIT" (mem: MemHandle, offset: u64) -> MemSplitReply(second: MemHandle);
    /// Returns what is known of a Mem object.
    ///
    /// In: x1 Mem handle. Out: x1 pages, x2 [`crate::mem::MemState`], x3 pages of it that are mapped, in all VMs together.
    /// Errors: `STATE` it is being freed; handle errors. Blocks: never. Spec: MEM.INFO.
    MemInfo = (Mem, 3) "MEM.INFO" (mem: MemHandle) -> MemInfoReply(pages: u64, state: u64, mapped: u64);

    /// Maps pages of a Mem object.
    ///
    /// In: x1 address space, x2 address, x3 Mem handle, x4 offset in bytes, x5 pages, x6 attributes. Out: x1 level of the first leaf, x2 pages done.
    /// Errors: `BAD_ADDR`, `MISALIGNED`, `OVERFLOW`, `EXISTS`, `BAD_ATTR`, `DENIED`, `QUOTA`, `NO_MEMORY`. Blocks: never. Spec: AS.MAP.
    AsMap = (AddressSpace, 0) "AS.MAP" (space: AddressSpaceHandle, address: Ipa, mem: MemHandle, offset: u64, pages: u64, attributes: Attributes)
        -> AsMapReply(level: u64, done: u64);
    /// Unmaps pages. When it returns no vCPU can reach them any more.
    ///
    /// In: x1 address space, x2 address, x3 pages, x4 flags. Out: x2 pages done.
    /// Errors: `BAD_ADDR`, `MISALIGNED`, `OVERFLOW`, `NOT_MAPPED`, `NO_MEMORY`, `QUOTA`. Blocks: never. Spec: AS.UNMAP.
    AsUnmap = (AddressSpace, 1) "AS.UNMAP" (space: AddressSpaceHandle, address: Ipa, pages: u64, flags: UnmapFlags)
        -> AsUnmapReply(reserved: u64, done: u64);
    /// Changes the permissions of mapped pages, without a moment in which they are unmapped.
    ///
    /// In: x1 address space, x2 address, x3 pages, x4 attributes, x5 flags. Out: x2 pages done.
    /// Errors: as AS.UNMAP, `BAD_ATTR`, `DENIED`. Blocks: never. Spec: AS.PROTECT.
    AsProtect = (AddressSpace, 2) "AS.PROTECT" (space: AddressSpaceHandle, address: Ipa, pages: u64, attributes: Attributes, flags: UnmapFlags)
        -> AsProtectReply(reserved: u64, done: u64);
    /// Returns what is mapped at an address.
    ///
    /// In: x1 address space, x2 address. Out: x1 Mem handle, x2 offset, x3 attributes, x4 level, x5 why it last faulted.
    /// Errors: `BAD_ADDR`, `NOT_MAPPED`, `STATE`. Blocks: never. Spec: AS.QUERY.
    AsQuery = (AddressSpace, 3) "AS.QUERY" (space: AddressSpaceHandle, address: Ipa)
        -> AsQueryReply(mem: MemHandle, offset: u64, attributes: Attributes, level: u64, fault: u64);
    /// Returns a new address space in which only the hypervisor's window is mapped.
    ///
    /// Out: x1 address space. Errors: `FULL`, `QUOTA`, `NO_MEMORY`. Blocks: never. Spec: AS.CREATE.
    AsCreate = (AddressSpace, 4) "AS.CREATE" () -> AsCreateReply(space: AddressSpaceHandle);
    /// Ends an address space.
    ///
    /// In: x1 address space. Out: x1 1 while tables are left: the caller repeats until it is 0; x2 pages unmapped.
    /// Errors: `BUSY` it is the current one of a vCPU; `DENIED` it is the VM's first. Blocks: never. Spec: AS.DESTROY.
    AsDestroy = (AddressSpace, 5) "AS.DESTROY" (space: AddressSpaceHandle) -> AsDestroyReply(left: u64, done: u64);
    /// Makes an address space the calling vCPU's current one.
    ///
    /// In: x1 address space. Out: x1 the previous one. Errors: `STATE` it is being ended. Blocks: never. Spec: AS.SWITCH.
    AsSwitch = (AddressSpace, 6) "AS.SWITCH" (space: AddressSpaceHandle) -> AsSwitchReply(previous: AddressSpaceHandle);
    /// Completes what AS.UNMAP and AS.PROTECT left to be invalidated under `NO_SYNC`.
    ///
    /// In: x1 address space. Errors: handle errors. Blocks: never. Spec: AS.SYNC.
    AsSync = (AddressSpace, 7) "AS.SYNC" (space: AddressSpaceHandle) -> AsSyncReply();

    /// Offers memory to a peer.
    ///
    /// In: x1 peer, x2 Mem handle, x3 offset in bytes, x4 pages, x5 terms, x6 tag, any number. Out: x1 share, x2 key for the peer.
    /// Errors: `DENIED`, `MISALIGNED`, `OVERFLOW`, `INVALID`, `BUSY`, `FULL`, `PEER_GONE`. Blocks: never. Spec: SHARE.OFFER.
    ShareOffer = (Share, 0) "SHARE.OFFER" (peer: PeerHandle, mem: MemHandle, offset: u64, pages: u64, terms: Terms, tag: u64)
        -> ShareOfferReply(share: ShareHandle, key: u64);
    /// Accepts memory that a peer offers.
    ///
    /// In: x1 peer, x2 key, or 0 for the first open offer of the peer, x3 rights wanted. Out: x1 Mem handle, x2 pages, x3 tag.
    /// Errors: `INVALID` no such offer; `EMPTY` no open offer; `DENIED`, `QUOTA`, `FULL`, `PEER_GONE`. Blocks: never. Spec: SHARE.ACCEPT.
    ShareAccept = (Share, 1) "SHARE.ACCEPT" (peer: PeerHandle, key: u64, rights: Attributes)
        -> ShareAcceptReply(mem: MemHandle, pages: u64, tag: u64);
    /// Gives borrowed memory back; what is mapped of it is unmapped.
    ///
    /// In: x1 Mem handle. Out: x1 1 while something is left to do: the caller repeats until it is 0; x2 pages unmapped.
    /// Errors: `DENIED` the memory is the caller's own. Blocks: never. Spec: SHARE.RELINQUISH.
    ShareRelinquish = (Share, 2) "SHARE.RELINQUISH" (mem: MemHandle) -> ShareRelinquishReply(left: u64, done: u64);
    /// Takes an offer back, or asks or makes the borrower give the memory back.
    ///
    /// In: x1 share, x2 policy. Out: x1 [`crate::share::ShareState`], x2 pages unmapped at the borrower.
    /// Errors: `STATE` it is over. Blocks: never. Spec: SHARE.REVOKE.
    ShareRevoke = (Share, 3) "SHARE.REVOKE" (share: ShareHandle, policy: RevokePolicy) -> ShareRevokeReply(state: u64, done: u64);
    /// Returns how a share stands.
    ///
    /// In: x1 share. Out: x1 [`crate::share::ShareState`], x2 terms, x3 pages. Errors: handle errors. Blocks: never. Spec: SHARE.INFO.
    ShareInfo = (Share, 4) "SHARE.INFO" (share: ShareHandle) -> ShareInfoReply(state: u64, terms: u64, pages: u64);

    /// Raises the port's other end and wakes the vCPU bound to it.
    ///
    /// In: x1 port. Errors: `PEER_GONE` the other end is closed; `STATE` the port is not connected. Blocks: never. Spec: EVT.SEND.
    EvtSend = (Event, 0) "EVT.SEND" (port: PortHandle) -> EvtSendReply();
    /// Lowers the calling vCPU's line and takes its selector.
    ///
    /// Out: x1 the selector as it was; it is zero now. Errors: none. Blocks: never. Spec: EVT.ACK.
    EvtAck = (Event, 1) "EVT.ACK" () -> EvtAckReply(selector: u64);
    /// Looks at a port again after the guest cleared its mask bit, so that no event that came meanwhile is lost.
    ///
    /// In: x1 port. Out: x1 1 when it was pending. Errors: handle errors. Blocks: never. Spec: EVT.UNMASK.
    EvtUnmask = (Event, 2) "EVT.UNMASK" (port: PortHandle) -> EvtUnmaskReply(pending: bool);
    /// Binds a port to a vCPU of this VM; a pending bit moves with it.
    ///
    /// In: x1 port, x2 vCPU. Errors: `INVALID` no such vCPU. Blocks: never. Spec: EVT.BIND_VCPU.
    EvtBindVcpu = (Event, 3) "EVT.BIND_VCPU" (port: PortHandle, vcpu: u64) -> EvtBindVcpuReply();
    /// Makes a port that the peer can connect to.
    ///
    /// In: x1 peer, or 0: then the port is its own other end. Out: x1 port, x2 key for the peer, else 0. Errors: `FULL`, `AGAIN`, `PEER_GONE`. Blocks: never. Spec: EVT.OFFER.
    EvtOffer = (Event, 4) "EVT.OFFER" (peer: PeerHandle) -> EvtOfferReply(port: PortHandle, key: u64);
    /// Connects to a port that a peer offers.
    ///
    /// In: x1 peer, x2 key. Out: x1 port. Errors: `INVALID` no such offer to this VM; `FULL`, `AGAIN`, `PEER_GONE`. Blocks: never. Spec: EVT.CONNECT.
    EvtConnect = (Event, 5) "EVT.CONNECT" (peer: PeerHandle, key: u64) -> EvtConnectReply(port: PortHandle);
    /// Makes a device interrupt an event: it raises a port of the caller, and is unmasked.
    ///
    /// In: x1 interrupt, x2 port, x3 [`IrqFlags`]. Errors: handle errors; `INVALID` flags. Blocks: never. Spec: EVT.BIND_IRQ.
    EvtBindIrq = (Event, 6) "EVT.BIND_IRQ" (irq: IrqHandle, port: PortHandle, flags: IrqFlags) -> EvtBindIrqReply();
    /// Says that the device of an interrupt was served: it may come again.
    ///
    /// In: x1 interrupt. Errors: handle errors; `STATE` it has not come, or it is masked because its line does not fall.
    /// Blocks: never. Spec: EVT.IRQ_DONE.
    EvtIrqDone = (Event, 7) "EVT.IRQ_DONE" (irq: IrqHandle) -> EvtIrqDoneReply();
    /// Binds a port to what happens to an object: it is raised at each step of the mask.
    ///
    /// In: x1 handle of a peer, a share or borrowed memory, x2 port, x3 [`Steps`]; no step ends the binding.
    /// Errors: handle errors; `INVALID` steps that the object does not know. Blocks: never. Spec: EVT.BIND_OBJECT.
    EvtBindObject = (Event, 8) "EVT.BIND_OBJECT" (object: Handle, port: PortHandle, steps: Steps) -> EvtBindObjectReply();
    /// Closes a port; its other end answers `PEER_GONE` from then on.
    ///
    /// In: x1 port. Errors: handle errors. Blocks: never. Spec: EVT.CLOSE.
    EvtClose = (Event, 9) "EVT.CLOSE" (port: PortHandle) -> EvtCloseReply();
    /// Sets how a vCPU of this VM learns of events.
    ///
    /// In: x1 vCPU, x2 mode: 0 poll, 1 upcall. Errors: `INVALID`; `STATE` when it is neither the caller nor off. Blocks: never. Spec: EVT.MODE.
    EvtMode = (Event, 10) "EVT.MODE" (vcpu: u64, mode: DeliveryMode) -> EvtModeReply();

    /// Sets a timer, which raises a port of this VM; one that the port has already is replaced.
    ///
    /// In: x1 port, x2 deadline in ticks of CNTVCT_EL0 (one that has passed raises at once, all ones never), x3 period in ticks, 0 for once,
    /// x4 slack: how many ticks late it may be. Errors: `INVALID` a period that is too short; `FULL`. Blocks: never. Spec: TIME.TIMER_SET.
    TimeTimerSet = (Time, 0) "TIME.TIMER_SET" (port: PortHandle, deadline: u64, period: u64, slack: u64) -> TimeTimerSetReply();
    /// Ends the timer of a port. What it raised before stays pending.
    ///
    /// In: x1 port. Out: x1 1 when there was one, else 0. Errors: handle errors. Blocks: never. Spec: TIME.TIMER_CANCEL.
    TimeTimerCancel = (Time, 1) "TIME.TIMER_CANCEL" (port: PortHandle) -> TimeTimerCancelReply(was_set: bool);
    /// Reads a clock.
    ///
    /// In: x1 [`ClockKind`]. Out: x1 nanoseconds, x2 CNTVCT_EL0 at that moment, x3 epoch: changes when the clock jumps.
    /// Errors: `STATE` the machine has no such clock. Blocks: never. Spec: TIME.CLOCK.
    TimeClock = (Time, 2) "TIME.CLOCK" (kind: ClockKind) -> TimeClockReply(ns: u64, counter: u64, epoch: u64);
    /// Gives the calling vCPU its own virtual timer, CNTV_*: when it expires the port is raised and the timer masked.
    ///
    /// In: x1 port, bound to this vCPU; 0 ends it. Errors: handle errors. Blocks: never. Spec: TIME.LOCAL.
    TimeLocal = (Time, 3) "TIME.LOCAL" (port: PortHandle) -> TimeLocalReply();

    /// Writes to the console. Works with no memory set up.
    ///
    /// In: x1 length (at most 112), x2 to x15 the bytes, first byte lowest. Out: x1 bytes taken, fewer when the console is full or they end many lines.
    /// Errors: `INVALID` length; `AGAIN` nothing could be taken. Blocks: never. Spec: CON.WRITE.
    ConWrite = (Console, 0) "CON.WRITE" (length: u64, data: ConsoleData) -> ConWriteReply(written: u64);
    /// Reads what was typed for this VM.
    ///
    /// Out: x1 length (0 to 112), x2 to x15 the bytes. Errors: `DENIED` when the console input is another VM's. Blocks: never. Spec: CON.READ.
    ConRead = (Console, 1) "CON.READ" () -> ConReadReply(length: u64, data: ConsoleData);
}

impl Call {
    /// Returns the function id that w0 carries.
    #[must_use]
    pub const fn function_id(self) -> u32 {
        FUNCTION_BASE | self as u32
    }

    /// Returns the call of a function id, or `None` when it is not a Strato call that exists.
    #[must_use]
    pub const fn from_function_id(id: u32) -> Option<Self> {
        let number = (id & !FUNCTION_SVE_HINT) ^ FUNCTION_BASE;
        if number >= 1 << 10 {
            return None;
        }
        #[allow(clippy::cast_possible_truncation, reason = "checked above")]
        Self::from_number(number as u16)
    }

    /// Returns the number of the call within its group.
    #[must_use]
    pub const fn op(self) -> u32 {
        self as u32 & 31
    }
}
