//! Restart: a VM that has failed, or asks for it, is made again as it was at first, in another life.

use strato_abi::Call;
use strato_abi::addr::INFO_PAGE;
use strato_abi::error::{Code, Reason};
use strato_abi::info_page::InfoPage;
use strato_abi::plan::{VM_REBOOT, VM_RESTART};
use strato_hyp::arch::{Deed, gic_cpu, timer};
use zerocopy::{FromZeros, IntoBytes};

use crate::plan::{CODE, DATA, Guest, RTC_INTID, SLICE, System};
use crate::stage::{INTERRUPT, Story};
use crate::talk::{A, B, handle};

pub(crate) const ALWAYS: u32 = VM_RESTART | VM_REBOOT;
const CRASH: [u64; 4] = [1, 2, 3, 4];
/// Ticks of ten seconds.
const SPAN: u64 = 1000 * SLICE * 10;

pub(crate) fn restarting(label: &'static str, flags: u32) -> Guest {
    Guest { flags, ..Guest::new(label) }
}

/// Returns the handle that entry `index` of a VM in life `life` was first given out as.
pub(crate) fn handle_in(life: u64, index: u64) -> u64 {
    life << 16 | index
}

impl Story {
    /// Lets turns pass until the VM in `place` is in life `life`, and has begun it.
    pub(crate) fn until_life(&mut self, place: u8, life: u32) {
        for _ in 0..400 {
            let has_run = |vm: &strato_hyp::vm::Vm| {
                vm.incarnation == life && vm.has_run.load(strato_hyp::sync::Ordering::Relaxed)
            };
            if self.try_vm(place, has_run) == Some(true) {
                return;
            }
            self.turns(1);
        }
        panic!("VM {place} does not begin life {life}: {:?}", self.log());
    }

    /// Lets turns pass until the place is empty.
    pub(crate) fn until_gone(&mut self, place: u8) {
        for _ in 0..400 {
            if self.try_vm(place, |_| ()).is_none() {
                return;
            }
            self.turns(1);
        }
        panic!("VM {place} does not come to its end");
    }

    /// Returns what the VM in `place` is told about itself.
    pub(crate) fn info(&mut self, place: u8) -> InfoPage {
        self.vm(place, |vm| {
            let mut info = InfoPage::new_zeroed();
            assert!(vm.pages[0].frames().read(0, info.as_mut_bytes()));
            info
        })
    }

    pub(crate) fn said(&self, part: &str) -> bool {
        self.log().iter().any(|line| line.contains(part))
    }
}

#[test]
fn a_vm_that_crashes_begins_anew_in_the_documented_state() {
    let mut s = Story::new(&System::pair(restarting("a", VM_RESTART), Guest::new("b")));
    s.step(A, |frame| {
        frame.x.fill(7);
        Deed::Exit(INTERRUPT)
    });
    s.begin(A, Call::CorePanic, &CRASH);
    s.until_gone(0);
    s.step(A, |frame| {
        assert_eq!((frame.x[0], frame.x[2], frame.pc, frame.pstate), (INFO_PAGE, 0, CODE, 0x3c5));
        assert!(frame.x[3..].iter().all(|&x| x == 0));
        Deed::Exit(INTERRUPT)
    });
    s.until_life(0, 2);
    let why = "vm a: restarted 1 of 5 times in 10 s: stopped: it reported a crash: reason 1, pc 0x2, syndrome 0x3, address 0x4";
    assert!(s.said(why), "{:?}", s.log());
    let info = s.info(0);
    assert_eq!((info.boot_reason, info.boot_count, info.last_exit, info.vm), (2, 2, 0, 0));
    assert_eq!(s.refused(A, Call::CoreHandleInfo, &[handle(1)]).0, Code::Stale, "a handle of its life before");
    s.call(A, Call::CoreHandleInfo, &[handle_in(2, 1)]);
    assert_eq!(s.ask(A, Call::CoreExit, &[0, 0]), None);
    s.until_gone(0);
    s.turns(40);
    assert!(s.said("vm a: ended, exit code 0") && s.try_vm(0, |_| ()).is_none(), "a clean exit is an end");
    s.close();
}

#[test]
fn nothing_of_its_memory_is_there_any_more() {
    let mut s = Story::new(&System::pair(restarting("a", VM_RESTART), Guest::new("b")));
    let write = |s: &mut Story, byte: u8| {
        let machine = s.machine;
        s.vm(0, |vm| {
            let mut none = strato_hyp::lock::Held::for_example();
            let (inner, mut held) = vm.inner.lock(&mut none);
            let (pool, _held) = machine.memory.lock(&mut held);
            let (_, ram) = inner.handles.next_mem(0).unwrap();
            let frames = pool.allocator.mem_frames(ram.id).unwrap();
            let mut before = [0; 4096];
            assert!(frames.read((DATA - CODE + 0x1000) as usize, &mut before));
            assert!(frames.write((DATA - CODE + 0x1000) as usize, &[byte; 4096]));
            (before, pool.allocator.mem_info(ram.id).unwrap().mapped)
        })
    };
    let mapped = write(&mut s, 9).1;
    s.begin(A, Call::CorePanic, &CRASH);
    s.until_life(0, 2);
    assert_eq!(write(&mut s, 9), ([0; 4096], mapped));
    s.close();
}

#[test]
fn a_nonzero_exit_code_is_a_failure_and_the_next_life_knows_it() {
    let mut s = Story::new(&System::new([restarting("a", VM_RESTART)]));
    s.begin(A, Call::CoreExit, &[7, 0]);
    s.until_life(0, 2);
    assert!(s.said("vm a: restarted 1 of 5 times in 10 s: ended, exit code 7"));
    assert_eq!((s.info(0).last_exit, s.info(0).boot_reason), (7, 2));
    s.close();
}

#[test]
fn a_vm_that_is_stopped_for_what_it_did_is_made_again() {
    let mut s = Story::new(&System::new([restarting("a", VM_RESTART)]));
    // An access to where nothing is, of a guest without a handler.
    let abort = strato_hyp::arch::frame::RawExit { vector: 0, esr: 0x9200_0006, far: 0x7000, hpfar: 0x70 };
    assert!(s.trap(A, CODE, abort).is_none());
    s.until_life(0, 2);
    assert!(s.said("vm a: restarted 1 of 5 times in 10 s: stopped: see its report"), "{:?}", s.log());
    s.close();
}

#[test]
fn only_a_vm_that_may_always_restart_may_ask_for_it_by_call_and_by_service() {
    const SYSTEM_RESET: u64 = 0x8400_0009;
    let mut s = Story::new(&System::new([restarting("a", VM_RESTART)]));
    assert_eq!(s.refused(A, Call::CoreExit, &[0, 1]), (Code::Denied, 2, Reason::NotAllowed));
    assert_eq!(s.service(A, SYSTEM_RESET, &[], false)[0].cast_signed(), -3);
    s.close();

    let mut s = Story::new(&System::new([restarting("a", ALWAYS)]));
    assert_eq!(s.ask(A, Call::CoreExit, &[5, 1]), None);
    s.until_life(0, 2);
    assert_eq!((s.info(0).boot_reason, s.info(0).last_exit), (1, 0));
    s.begin_id(A, SYSTEM_RESET, &[]);
    s.until_life(0, 3);
    assert_eq!((s.info(0).boot_reason, s.info(0).boot_count), (1, 3));
    assert!(s.said("vm a: restarted 2 of 5 times in 10 s: stopped: it asked for a restart"));
    s.close();

    let mut calls = [u32::MAX; 8];
    calls[Call::CoreExit.group() as usize] &= !(1 << Call::CoreExit.op());
    let mut s = Story::new(&System::new([Guest { calls, ..restarting("a", ALWAYS) }]));
    assert_eq!(s.service(A, SYSTEM_RESET, &[], false)[0].cast_signed(), -3, "the call is denied by any name");
    s.close();
}

#[test]
fn one_that_fails_too_often_is_over_and_one_that_fails_now_and_then_is_not() {
    let mut s = Story::new(&System::new([Guest { restart_limit: 2, ..restarting("a", VM_RESTART) }]));
    for life in 2..4 {
        s.begin(A, Call::CorePanic, &CRASH);
        s.until_life(0, life);
    }
    timer::set_now(timer::now() + SPAN);
    for life in 4..6 {
        s.begin(A, Call::CorePanic, &CRASH);
        s.until_life(0, life);
    }
    s.begin(A, Call::CorePanic, &CRASH);
    s.until_gone(0);
    s.turns(40);
    assert!(s.said("vm a: not restarted again: 2 times in its span is its limit"));
    assert!(s.said("vm a: stopped: it reported a crash"));
    assert_eq!(s.machine.ended[1].load(strato_hyp::sync::Ordering::Relaxed), 1, "five failures are one VM that failed");
    assert!(s.try_vm(0, |_| ()).is_none());
    s.audit();
}

#[test]
#[should_panic(expected = "the machine was powered off")]
fn the_machine_runs_until_the_last_life_of_the_last_vm_is_over() {
    let mut s = Story::new(&System { powers_off: true, ..System::new([restarting("a", VM_RESTART)]) });
    s.begin(A, Call::CorePanic, &CRASH);
    s.until_life(0, 2);
    s.ask(A, Call::CoreExit, &[0, 0]);
}

#[test]
fn vcpus_of_several_cores_come_back_to_them() {
    let cores = [0, 1, 0, 1, 0, 0, 0, 0];
    let a = Guest { vcpus: 4, cores, ..restarting("a", VM_RESTART) };
    let mut s = Story::on(&System::pair(a, Guest::new("b")), 2);
    for life in 2..6 {
        for vcpu in 1..4 {
            s.call(A, Call::VcpuStart, &[vcpu, CODE, 0]);
        }
        s.begin((0, 1), Call::VcpuWait, &[u64::MAX]);
        s.turns(6);
        s.begin((0, 3), Call::CorePanic, &CRASH);
        s.until_life(0, life);
        let homes = s.vm(0, |vm| vm.vcpus.iter().map(|vcpu| vcpu.public.orders.home()).collect::<Vec<_>>());
        assert_eq!(homes, [0, 1, 0, 1]);
    }
    s.close();
}

#[test]
fn a_driver_gets_its_device_clean() {
    let driver = System::driver(restarting("a", VM_RESTART));
    let mut s = Story::new(&driver);
    for life in 1..4 {
        let [device, irq, port] = [1, 2, 3].map(|index| handle_in(life, index));
        s.call(A, Call::AsMap, &[0, 0x3000_0000, device, 0, 1, 3]);
        assert_eq!(s.refused(A, Call::EvtIrqDone, &[irq]).0, Code::State, "masked, whatever it was");
        s.call(A, Call::EvtBindIrq, &[irq, port, 0]);
        gic_cpu::pend(RTC_INTID);
        s.turns(2);
        assert_eq!(s.call(A, Call::EvtUnmask, &[port])[0], 1);
        // It is active.
        s.begin(A, Call::CorePanic, &CRASH);
        s.until_gone(0);
        // And comes once more, before and after somebody has it again.
        gic_cpu::pend(RTC_INTID);
        s.until_life(0, life as u32 + 1);
        gic_cpu::pend(RTC_INTID);
        s.turns(2);
        assert_eq!(s.call(A, Call::EvtUnmask, &[handle_in(life + 1, 3)])[0], 0, "nothing of it is told");
    }
    s.close();
}

#[test]
fn a_region_of_its_own_is_made_again() {
    let mut system = System::new([restarting("a", VM_RESTART), Guest::new("b")]);
    system.own(1, 4).share(0, 64, &[(0, 11)]);
    // The region of the other VM has number 0.
    let records = system.records.len() - size_of::<strato_abi::plan::GrantRegion>();
    system.records[records + 8] = 1;
    let mut s = Story::new(&system);
    let before = s.vm(0, |vm| vm.inner.lock(&mut strato_hyp::lock::Held::for_example()).0.account.used());
    s.begin(A, Call::CorePanic, &CRASH);
    s.until_life(0, 2);
    assert_eq!(s.ask(A, Call::AsQuery, &[0, crate::plan::SHARED + 0x3f000]).unwrap()[1], handle_in(2, 1));
    let after = s.vm(0, |vm| vm.inner.lock(&mut strato_hyp::lock::Held::for_example()).0.account.used());
    assert_eq!(before, after);
    s.call(B, Call::AsMap, &[0, 0x7000_0000, handle(1), 0, 4, 3]);
    s.close();
}
