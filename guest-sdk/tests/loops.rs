//! What makes several calls: mapping in portions, waiting for one port, and windows that keep out of the image.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

use strato_guest::abi::address_space::LastFault;
use strato_guest::abi::call::{AsMapReply, AsUnmapReply, VcpuWaitReply};
use strato_guest::abi::{Call, Code, Handle, Ipa, MemHandle, PortHandle, Reason};
use strato_guest::event_area::EventCells;
use strato_guest::memory::{self, AccessError, READ_WRITE, Window};
use strato_guest::vcpu::NO_DEADLINE;
use strato_guest::{Recorder, address_space, event};

const MEM: MemHandle = MemHandle(Handle::new(4, 1));
const PORT: PortHandle = PortHandle(Handle::new(3, 1));

fn ipa(bytes: u64) -> Ipa {
    Ipa::new(bytes).unwrap()
}

#[test]
fn mapping_goes_on_where_the_hypervisor_stopped() {
    let recorder = Recorder::new().answer(AsMapReply { level: 3, done: 128 }).answer(AsMapReply { level: 3, done: 72 });
    memory::map_on(&recorder, MEM, 0x1000, ipa(0x8000_0000), 200, READ_WRITE).unwrap();
    let calls = recorder.calls();
    let portions: Vec<[u64; 3]> = calls.iter().map(|(_, regs)| [regs[1], regs[3], regs[4]]).collect();
    assert_eq!(portions, [[0x8000_0000, 0x1000, 200], [0x8008_0000, 0x8_1000, 72]]);
}

#[test]
fn a_refused_portion_ends_the_loop_with_that_refusal() {
    let gone = strato_guest::abi::Error::of(Code::NotMapped, 2, Reason::None, 0);
    let recorder = Recorder::new().answer(AsUnmapReply { reserved: 0, done: 16 }).refuse(gone, 3);
    let error = memory::unmap_on(&recorder, ipa(0x8000_0000), 64).unwrap_err();
    assert_eq!((error.code(), error.done, recorder.calls().len()), (Code::NotMapped, 3, 2));
}

#[test]
fn no_page_makes_no_call() {
    let recorder = Recorder::new();
    memory::protect_on(&recorder, ipa(0x8000_0000), 0, READ_WRITE).unwrap();
    assert!(recorder.calls().is_empty());
}

#[test]
fn the_reason_of_a_fault_is_told_whether_the_page_is_mapped_or_not() {
    let not_mapped = |why| strato_guest::abi::Error::of(Code::NotMapped, 2, Reason::None, why);
    let stale = strato_guest::abi::Error::of(Code::State, 1, Reason::None, 0);
    let mapped = [4, 0, 1, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]; // AS.QUERY: a read-only page that was written to
    let recorder = Recorder::new().raw(0, mapped).refuse(not_mapped(3), 0).refuse(not_mapped(9), 0).refuse(stale, 0);
    let reason = || address_space::last_fault_on(&recorder, ipa(0x8000_0000)).map_err(|error| error.code());
    assert_eq!(reason(), Ok(Some(LastFault::Permission)));
    assert_eq!(reason(), Ok(Some(LastFault::Revoked)));
    assert_eq!(reason(), Ok(None), "a reason of a later version");
    assert_eq!(reason(), Err(Code::State));
}

#[test]
fn a_wait_for_a_port_that_is_pending_makes_no_call() {
    let (recorder, cells) = (Recorder::new(), EventCells::new());
    cells.raise(3);
    assert_eq!(event::wait_on(&recorder, &cells, PORT, NO_DEADLINE), Ok(true));
    assert!(recorder.calls().is_empty() && !cells.is_pending(3));
}

#[test]
fn a_wait_for_a_port_ends_when_its_deadline_passes() {
    let cells = EventCells::new();
    let recorder =
        Recorder::new().answer(VcpuWaitReply { selector: 1, now: 50 }).answer(VcpuWaitReply { selector: 0, now: 100 });
    assert_eq!(event::wait_on(&recorder, &cells, PORT, 100), Ok(false));
    let calls = recorder.calls();
    assert!(calls.len() == 2 && calls.iter().all(|(id, regs)| *id == Call::VcpuWait.function_id() && regs[0] == 100));
}

#[test]
fn a_wait_for_several_ports_takes_the_first_in_the_list_and_leaves_the_others() {
    let (recorder, cells) = (Recorder::new(), EventCells::new());
    let ports = [5, 70, 3].map(|index| PortHandle(Handle::new(index, 1)));
    cells.raise(3);
    cells.raise(70);
    assert_eq!(event::wait_any_on(&recorder, &cells, &ports), Ok(ports[1]));
    assert_eq!(event::wait_any_on(&recorder, &cells, &ports), Ok(ports[2]));
    assert!(event::wait_any_on(&recorder, &cells, &ports).is_err() && recorder.calls().len() == 1);
}

#[test]
fn a_forbidden_wait_is_reported_instead_of_spinning() {
    let denied = strato_guest::abi::Error::of(Code::Denied, 0, Reason::NotAllowed, 0);
    let recorder = Recorder::new().refuse(denied, 0);
    let error = event::wait_on(&recorder, &EventCells::new(), PORT, NO_DEADLINE).unwrap_err();
    assert_eq!(error.to_string(), "VCPU.WAIT: DENIED: the call is not allowed by the manifest");
}

#[test]
fn a_window_keeps_out_of_the_image_and_inside_the_address_space() {
    assert_eq!(Window::new(ipa(0x4000_0000), 8), None);
    assert_eq!(Window::new(ipa(0x3fff_f000), 0x1001), None);
    assert_eq!(Window::new(ipa(0x8000_0001), 8), None);
    assert_eq!(Window::new(ipa(0x8000_0000), 0), None);
    assert_eq!(Window::new(ipa(0x7f_ffff_f000), 0x1001), None);
    assert!(Window::new(ipa(0x3fff_f000), 0x1000).is_some() && Window::new(ipa(0x4001_0000), 8).is_some());
}

#[test]
fn a_window_gives_out_aligned_words_inside_it_only() {
    let window = Window::new(ipa(0x8000_0000), 16).unwrap();
    for offset in [4, 9, 16, 12, u64::MAX] {
        assert_eq!(window.load(offset), Err(AccessError::Outside));
        assert_eq!(window.store(offset, 1), Err(AccessError::Outside));
    }
    assert!(
        matches!(window.load(8), Err(AccessError::Fault(fault)) if fault.address == 0x8000_0008 && !fault.is_write())
    );
    assert!(matches!(window.store(0, 1), Err(AccessError::Fault(fault)) if fault.is_write()));
    assert!(
        matches!(window.copy_from(0, &window, 8, 1), Err(AccessError::Fault(fault)) if fault.address == 0x8000_0008)
    );
}

#[test]
fn one_page_is_one_call_and_the_programs_own_place_is_none() {
    let recorder = Recorder::new().answer(AsMapReply { level: 3, done: 1 });
    memory::map_on(&recorder, MEM, 0, ipa(0x8000_0000), 1, READ_WRITE).unwrap();
    let error = memory::map_on(&recorder, MEM, 0, ipa(0x4000_0000), 1, READ_WRITE).unwrap_err();
    assert_eq!((error.code(), recorder.calls().len()), (Code::BadAddress, 1), "the image is refused without a call");
}
