//! Every wrapper over a recorder: the registers that go out, the results that come in, refusals by the argument's name.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

use strato_guest::abi::address_space::{Attributes, LastFault, UnmapFlags};
use strato_guest::abi::call::*;
use strato_guest::abi::console::ConsoleData;
use strato_guest::abi::core::ExitKind;
use strato_guest::abi::event::{DeliveryMode, IrqFlags};
use strato_guest::abi::limit::LimitKey;
use strato_guest::abi::mem::{MemState, MemoryType};
use strato_guest::abi::share::{RevokePolicy, ShareState, Steps, Terms, Verb};
use strato_guest::abi::vcpu::{RunState, YieldHint};
use strato_guest::abi::{
    AddressSpaceHandle, Code, Handle, Ipa, IrqHandle, Kind, MemHandle, PeerHandle, PortHandle, Reason, Regs, Rights,
    SchedHandle, ShareHandle,
};
use strato_guest::time::{ClockKind, Reading};
use strato_guest::{Recorder, address_space, console, core, event, mem, share, smccc, time, vcpu};

const PORT: PortHandle = PortHandle(Handle::new(3, 1));
const MEM: MemHandle = MemHandle(Handle::new(4, 1));
const PEER: PeerHandle = PeerHandle(Handle::new(5, 2));
const HERE: AddressSpaceHandle = AddressSpaceHandle::CURRENT;
const SHARE: ShareHandle = ShareHandle(Handle::new(6, 1));
const SPACE: AddressSpaceHandle = AddressSpaceHandle(Handle::new(7, 1));
const IRQ: IrqHandle = IrqHandle(Handle::new(8, 1));
const SCHED: SchedHandle = SchedHandle(Handle::new(9, 1));
const SCHED_BITS: u64 = 9 | 1 << 16;
const IRQ_BITS: u64 = 0x1_0008;
const PORT_BITS: u64 = 0x1_0003;
const MEM_BITS: u64 = 0x1_0004;
const PEER_BITS: u64 = 0x2_0005;
const SHARE_BITS: u64 = 0x1_0006;
const SPACE_BITS: u64 = 0x1_0007;

fn ipa(bytes: u64) -> Ipa {
    Ipa::new(bytes).unwrap()
}

fn label(text: &[u8]) -> [u8; 32] {
    let mut label = [0; 32];
    label[..text.len()].copy_from_slice(text);
    label
}

fn regs(first: &[u64]) -> Regs {
    let mut regs = [0; 15];
    regs[..first.len()].copy_from_slice(first);
    regs
}

/// Returns x1 to x15 that `call` made, after checking that it was the one call made and was `expected`.
fn sent(recorder: &Recorder, expected: Call) -> Regs {
    let calls = recorder.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].0, expected.function_id());
    calls[0].1
}

/// Each line: call, results that the recorder answers, the wrapper, what it returns, the registers it must have sent.
macro_rules! wrapper_tests {
    ($( $test:ident: $call:ident [$($result:expr),*] $module:ident::$wrapper:ident($($arg:expr),*) == $expected:expr, [$($reg:expr),*]; )*) => {
        $(
            #[test]
            fn $test() {
                let recorder = Recorder::new().raw(0, regs(&[$($result),*]));
                assert_eq!($module::via::$wrapper(&recorder $(, $arg)*).unwrap(), $expected);
                assert_eq!(sent(&recorder, Call::$call), regs(&[$($reg),*]));

                let error = strato_guest::abi::Error::of(Code::Denied, 1, Reason::NoRight, 7);
                let recorder = Recorder::new().refuse(error, 5);
                let refusal = $module::via::$wrapper(&recorder $(, $arg)*).unwrap_err();
                assert_eq!((refusal.call, refusal.error, refusal.done), (Call::$call, error, 5));
                let subject = Call::$call.arguments().first().copied().unwrap_or("the call");
                assert_eq!(refusal.to_string(), format!("{}: DENIED: {subject} lacks a right (7)", Call::$call.name()));
            }
        )*

        #[test]
        fn every_call_has_a_wrapper_test() {
            let tested = [$(Call::$call),*];
            for call in Call::ALL {
                assert!(tested.contains(call), "{} has none", call.name());
            }
        }
    };
}

wrapper_tests! {
    core_info_tells_who_asks: CoreInfo [1 << 16, 77, 3 << 32 | 2, 0x3fe0_0000] core::info() ==
        core::Identity { abi_version: 1 << 16, build_id: 77, vm: 3, vcpu: 2, info_page: ipa(0x3fe0_0000) }, [];
    core_group_tells_version_and_calls: CoreGroup [1 << 16, 0x3f] core::group(5) ==
        core::GroupInfo { version: 1 << 16, calls: 0x3f }, [5];
    core_limit_asks_by_key: CoreLimit [8] core::limit(LimitKey::VcpusPerVm) == 8, [2];
    core_nop_counts: CoreNop [41] core::nop() == 41, [];
    core_panic_carries_four_numbers: CorePanic [] core::panic(1, 2, 3, 4) == (), [1, 2, 3, 4];
    core_exit_carries_code_and_kind: CoreExit [] core::exit(3, ExitKind::Reboot) == (), [3, 1];
    core_handle_info_is_typed: CoreHandleInfo [2, 3, 0x6162_6364, 0, 0, 0] core::handle_info(MEM.0) ==
        core::HandleInfo { kind: Some(Kind::Mem), rights: Rights::READ | Rights::WRITE, label: label(b"dcba") }, [MEM_BITS];
    core_handle_drop_names_the_handle: CoreHandleDrop [] core::handle_drop(PEER.0) == (), [PEER_BITS];
    mem_alloc_returns_the_object_once_it_is_zeroed: MemAlloc [MEM_BITS, 16] mem::alloc(32, MemoryType::Normal) ==
        mem::Allocated { mem: Some(MEM), done: 16 }, [32, 0];
    mem_free_tells_what_is_left: MemFree [48, 16] mem::free(MEM) == mem::Step { left: 48, done: 16 }, [MEM_BITS];
    mem_split_returns_the_second_half: MemSplit [SHARE_BITS] mem::split(MEM, 0x2000) == MemHandle(SHARE.0), [MEM_BITS, 0x2000];
    mem_info_is_typed: MemInfo [8, 5, 2] mem::info(MEM) ==
        mem::Object { pages: 8, state: MemState::OWNED | MemState::LENT, mapped: 2 }, [MEM_BITS];
    as_create_returns_the_space: AsCreate [SPACE_BITS] address_space::create() == SPACE, [];
    as_destroy_tells_what_is_left: AsDestroy [1, 9] address_space::destroy(SPACE) == mem::Step { left: 1, done: 9 },
        [SPACE_BITS];
    as_switch_returns_the_previous: AsSwitch [SPACE_BITS] address_space::switch(SPACE) == SPACE, [SPACE_BITS];
    as_sync_names_the_space: AsSync [] address_space::sync(SPACE) == (), [SPACE_BITS];
    share_offer_carries_all_six: ShareOffer [SHARE_BITS, 99]
        share::offer(PEER, MEM, 0x1000, 2, Terms { verb: Verb::Lend, rights: Attributes::READ }, 7) ==
        share::Offered { share: SHARE, key: 99 }, [PEER_BITS, MEM_BITS, 0x1000, 2, 0x11, 7];
    share_accept_returns_memory_and_tag: ShareAccept [MEM_BITS, 2, 7] share::accept(PEER, 99, Attributes::READ) ==
        share::Accepted { mem: MEM, pages: 2, tag: 7 }, [PEER_BITS, 99, 1];
    share_relinquish_tells_what_is_left: ShareRelinquish [0, 2] share::relinquish(MEM) == mem::Step { left: 0, done: 2 },
        [MEM_BITS];
    share_revoke_tells_the_state: ShareRevoke [6, 2] share::revoke(SHARE, RevokePolicy::Force) ==
        share::Revocation { state: Some(ShareState::Revoked), done: 2 }, [SHARE_BITS, 1];
    share_info_is_typed: ShareInfo [2, 0x11, 2] share::info(SHARE) ==
        share::Share { state: Some(ShareState::Accepted), terms: 0x11, pages: 2 }, [SHARE_BITS];
    evt_bind_irq_carries_the_flags: EvtBindIrq [] event::bind_irq(IRQ, PORT, IrqFlags::OFF) == (), [IRQ_BITS, PORT_BITS, 1];
    evt_irq_done_names_the_interrupt: EvtIrqDone [] event::irq_done(IRQ) == (), [IRQ_BITS];
    evt_bind_object_carries_the_steps: EvtBindObject [] event::bind_object(SHARE.0, PORT, Steps::ACCEPTED) == (),
        [SHARE_BITS, PORT_BITS, 2];
    vcpu_yield_names_hint_and_target: VcpuYield [] vcpu::yield_to(YieldHint::Port, PORT_BITS) == (), [2, PORT_BITS];
    vcpu_wait_returns_selector_and_time: VcpuWait [0b101, 900] vcpu::wait(1000) ==
        vcpu::Waited { selector: 0b101, now: 900 }, [1000];
    vcpu_signal_wait_sends_and_waits: VcpuSignalWait [1, 900] vcpu::signal_wait(PORT, vcpu::NO_DEADLINE) ==
        vcpu::Waited { selector: 1, now: 900 }, [PORT_BITS, u64::MAX];
    vcpu_start_carries_entry_and_argument: VcpuStart [] vcpu::start(1, ipa(0x4000_0000), 9) == (), [1, 0x4000_0000, 9];
    vcpu_stop_has_no_argument: VcpuStop [] vcpu::stop() == (), [];
    vcpu_kick_names_vcpus_by_bits: VcpuKick [] vcpu::kick(0b101) == (), [0b101];
    vcpu_sched_set_carries_all_four: VcpuSchedSet [] vcpu::sched_set(SCHED, 9, 100, 1_000) == (), [SCHED_BITS, 9, 100, 1_000];
    vcpu_watchdog_carries_its_time: VcpuWatchdog [] vcpu::watchdog(7_000) == (), [7_000];
    vcpu_state_is_typed: VcpuState [3] vcpu::state(1) == Some(RunState::Blocked), [1];
    as_map_carries_all_six: AsMap [3, 2]
        address_space::map(HERE, ipa(0x8000_0000), MEM, 0x1000, 2, Attributes::READ | Attributes::WRITE) ==
        address_space::Mapped { level: 3, done: 2 }, [0, 0x8000_0000, MEM_BITS, 0x1000, 2, 3];
    as_unmap_returns_pages_done: AsUnmap [0, 2] address_space::unmap(HERE, ipa(0x8000_0000), 2, UnmapFlags::empty()) == 2,
        [0, 0x8000_0000, 2, 0];
    as_protect_returns_pages_done: AsProtect [0, 1]
        address_space::protect(HERE, ipa(0x8000_0000), 1, Attributes::READ, UnmapFlags::empty()) == 1,
        [0, 0x8000_0000, 1, 1, 0];
    as_query_returns_five_results: AsQuery [MEM_BITS, 0x2000, 1, 3, 2] address_space::query(HERE, ipa(0x8000_0000)) ==
        address_space::Mapping {
            mem: MEM, offset: 0x2000, attributes: Attributes::READ, level: 3, fault: Some(LastFault::Permission)
        }, [0, 0x8000_0000];
    evt_send_names_the_port: EvtSend [] event::send(PORT) == (), [PORT_BITS];
    evt_ack_returns_the_selector: EvtAck [6] event::ack() == 6, [];
    evt_unmask_tells_whether_pending: EvtUnmask [1] event::recheck(PORT) == true, [PORT_BITS];
    evt_bind_vcpu_names_both: EvtBindVcpu [] event::bind_vcpu(PORT, 1) == (), [PORT_BITS, 1];
    evt_offer_returns_port_and_key: EvtOffer [PORT_BITS, 99] event::offer(PEER) ==
        event::Offer { port: PORT, key: 99 }, [PEER_BITS];
    evt_connect_returns_the_port: EvtConnect [PORT_BITS] event::connect(PEER, 99) == PORT, [PEER_BITS, 99];
    evt_close_names_the_port: EvtClose [] event::close(PORT) == (), [PORT_BITS];
    evt_mode_names_vcpu_and_mode: EvtMode [] event::mode(2, DeliveryMode::Upcall) == (), [2, 1];
    con_write_carries_bytes_in_registers: ConWrite [10] console::write(b"0123456789") == 10,
        [10, u64::from_le_bytes(*b"01234567"), u64::from_le_bytes(*b"89\0\0\0\0\0\0")];
    con_read_returns_the_bytes_typed: ConRead [9, u64::from_le_bytes(*b"01234567"), 0x38] console::read() ==
        console::Typed::new(b"012345678"), [];
    a_timer_is_set_with_its_three_times: TimeTimerSet [] time::timer_set(PORT, 7, 8, 9) == (), [PORT_BITS, 7, 8, 9];
    a_timer_is_cancelled: TimeTimerCancel [1] time::timer_cancel(PORT) == true, [PORT_BITS];
    a_clock_is_read: TimeClock [5, 6, 7] time::clock(ClockKind::Run) == Reading { ns: 5, counter: 6, epoch: 7 }, [2];
    a_local_timer_has_a_port: TimeLocal [] time::local(Some(PORT)) == (), [PORT_BITS];
    a_local_timer_is_given_back: TimeLocal [] time::local(None) == (), [0];
    a_port_of_ones_own_has_no_peer: EvtOffer [PORT_BITS, 0] event::own_port() == PORT, [0];
}

#[test]
fn an_object_that_is_not_zeroed_yet_has_no_handle() {
    let recorder = Recorder::new().raw(0, regs(&[0, 16]));
    assert_eq!(mem::via::alloc(&recorder, 32, MemoryType::Normal), Ok(mem::Allocated { mem: None, done: 16 }));
}

#[test]
fn all_fourteen_data_registers_go_out() {
    let recorder = Recorder::new().answer(ConWriteReply { written: 112 });
    let bytes: Vec<u8> = (1..=112).collect();
    assert_eq!(console::via::write(&recorder, &bytes), Ok(112));
    assert_eq!(sent(&recorder, Call::ConWrite)[1..], ConsoleData::from_bytes(&bytes).0);
}

#[test]
fn a_result_that_no_type_of_this_version_has_is_a_version_error() {
    let recorder = Recorder::new().raw(0, regs(&[2]));
    let error = event::via::recheck(&recorder, PORT).unwrap_err();
    assert_eq!(error.to_string(), "EVT.UNMASK: VERSION: pending has an unknown value");
}

#[test]
fn a_code_of_a_later_version_is_an_error_that_keeps_the_number() {
    let recorder = Recorder::new().raw(-99, regs(&[]));
    let error = core::via::nop(&recorder).unwrap_err();
    assert_eq!(error.to_string(), "CORE.NOP: INTERNAL: the call has an unknown value (99)");
}

#[test]
fn a_refused_argument_is_called_by_its_name() {
    let error = strato_guest::abi::Error::of(Code::Misaligned, 2, Reason::Misaligned, 4096);
    let recorder = Recorder::new().refuse(error, 0);
    let refused = address_space::via::map(&recorder, HERE, ipa(0x8000_0001), MEM, 0, 1, Attributes::READ).unwrap_err();
    assert_eq!(refused.to_string(), "AS.MAP: MISALIGNED: address is not aligned (4096)");
}

#[test]
fn standard_services_answer_in_words_from_x0_on() {
    let recorder = Recorder::new().raw(0x1111_1111, regs(&[0xffff_ffff_2222_2222, 0x3333_3333, 0x4444_4444]));
    assert_eq!(smccc::uid(&recorder), [0x1111_1111, 0x2222_2222, 0x3333_3333, 0x4444_4444]);
    let recorder = Recorder::new().raw(1, regs(&[0]));
    assert_eq!(smccc::revision(&recorder), (1, 0));
    let recorder = Recorder::new().raw(0xffff_ffff, regs(&[])).raw(0x1_0001, regs(&[]));
    assert_eq!(smccc::psci_features(&recorder, 0x8400_0000), -1);
    assert_eq!(smccc::psci_version(&recorder), 0x1_0001);
    assert_eq!(smccc::cpu_on(&Recorder::new().raw(-4, regs(&[])), 1, ipa(0x4000_0000), 9), -4);
}

#[test]
fn power_calls_carry_their_function_ids() {
    let recorder = Recorder::new();
    smccc::cpu_on(&recorder, 1, ipa(0x4000_0000), 9);
    smccc::cpu_off(&recorder);
    smccc::system_off(&recorder);
    smccc::system_reset(&recorder);
    smccc::smccc_version(&recorder);
    let ids: Vec<u32> = recorder.calls().iter().map(|call| call.0).collect();
    assert_eq!(ids, [0xc400_0003, 0x8400_0002, 0x8400_0008, 0x8400_0009, 0x8000_0000]);
    assert_eq!(recorder.calls()[0].1, regs(&[1, 0x4000_0000, 9]));
}
