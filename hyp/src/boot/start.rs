//! Start: from the parts of a machine to guests that run. Makes the machine and lets every core into the dispatcher's loop;
//! `replay` carries the plan out in between.

use log::{Level, LevelFilter};
use strato_abi::plan::{HEADER_CYCLES, HEADER_REPORT, HEADER_SERIES, PayloadHeader};
use strato_abi::trace::trace_order;
use strato_abi::watchdog::watchdog_seconds;

use super::{Parts, refuse, report, selftest};
use crate::allocator::{Account, Allocator, Kind, Vmids};
use crate::arch::core_base::CoreIndex;
use crate::arch::epoch::{Epochs, Slot};
use crate::arch::frame::Results;
use crate::arch::page_box::PageBox;
use crate::arch::{guest, panic, pmu, timer};
use crate::board::Devices;
use crate::console::say;
use crate::dispatcher;
use crate::dispatcher::service::UNITS_PER_TURN;
use crate::gic::Lines;
use crate::lock::Lock;
use crate::machine::{Cpu, Machine, Mail, Pool, Watchdog};
use crate::plan::Plan;
use crate::scheduler::{Reservations, RunQueue};
use crate::sync::{AtomicBool, AtomicU32};
use crate::timer::{Deadlines, Due, NEVER};
use crate::trace::Tracer;
use crate::vm::Manner;

/// Returns the plan behind the image, whole and undamaged, and shows as much log as it asks for: of a series the one whose turn it is. `cores` has
/// a bit for each that runs.
#[inline(never)]
pub fn plan(parts: &mut Parts, cores: u8) -> Plan<'static> {
    let mut plan = check(parts, parts.payload);
    if plan.header.flags & HEADER_SERIES != 0 {
        plan = selftest::choose(parts, &plan, cores);
    }
    if plan.header.flags & HEADER_CYCLES != 0 && !pmu::is_there() {
        refuse(&"the packed system wants the cycle counter, and this core has none");
    }
    log::set_max_level(level(&plan.header));
    if wants_report(&plan.header) {
        report::ground(parts);
    }
    plan
}

/// Returns the plan in `bytes`, or refuses the machine's.
pub(super) fn check(parts: &Parts, bytes: &'static [u8]) -> Plan<'static> {
    Plan::check(bytes).unwrap_or_else(|error| {
        parts.console.flush_polled(); // whole lines first: the refusal is polled
        refuse(&error)
    })
}

/// Returns the machine of `parts`, with no VM in it yet, to carry out `plan` on `cores`, a bit for each that runs. Large: made where it
/// is to stand.
#[inline(always)]
pub fn machine(parts: Parts, plan: Plan<'static>, cores: u8) -> Machine {
    let allocator =
        Allocator::new(parts.free).unwrap_or_else(|_| refuse(&"no region of memory has room for the ledger"));
    Machine {
        vms: core::array::from_fn(|_| Slot::new()),
        epochs: Epochs::new(),
        vmids: Vmids::default(),
        memory: Lock::new(Pool { allocator, own: Account::hypervisor(), baseline: None }),
        mail: core::array::from_fn(|_| Mail::default()),
        cpus: core::array::from_fn(|_| Lock::new(None)),
        gic: parts.gic,
        lines: Lines::new(),
        board: parts.board.known.name,
        devices: Lock::new(Devices::of(&parts.board, parts.shared)),
        console: parts.console,
        living: AtomicU32::new(plan.header.vms),
        ended: [AtomicU32::new(0), AtomicU32::new(0)],
        slice_ticks: slice(&plan.header),
        wall: parts.wall,
        watchdog: Watchdog::new(watchdog_seconds(plan.header.flags), cores, timer::frequency()),
        plan,
        cores,
        is_ready: AtomicBool::new(false),
        has_started: AtomicBool::new(false),
    }
}

/// Returns whether boot says where everything stands.
pub(super) const fn wants_report(header: &PayloadHeader) -> bool {
    header.flags & HEADER_REPORT != 0
}

fn level(header: &PayloadHeader) -> LevelFilter {
    let level = match header.log_level {
        0 | 1 => LevelFilter::Error,
        2 => LevelFilter::Warn,
        3 => LevelFilter::Info,
        4 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    // These lines are wanted however little else is.
    if header.flags & (HEADER_REPORT | HEADER_SERIES) != 0 || trace_order(header.flags).is_some() {
        level.max(LevelFilter::Info)
    } else {
        level
    }
}

fn slice(header: &PayloadHeader) -> u64 {
    // Exact up to 4 GHz; the architecture fixes 1 GHz (Armv8.6).
    (timer::frequency().saturating_mul(u64::from(header.slice_us.max(1))) / 1_000_000).max(1)
}

/// Makes what each core of `cores` (a bit each) has to itself; [`run`] takes it there.
pub(super) fn make_cpus(machine: &Machine, pool: &mut Pool, cores: u8, header: &PayloadHeader) {
    for (n, place) in machine.cpus.iter().enumerate().filter(|(n, _)| cores >> n & 1 != 0) {
        let Some(index) = CoreIndex::new(n) else { continue };
        let tracer = tracer(header, pool, index);
        let Pool { allocator, own, .. } = &mut *pool;
        let queue = allocator.take(PageBox::<RunQueue>::ORDER, Kind::Object, own).ok();
        let reserved = allocator.take(PageBox::<Reservations>::ORDER, Kind::Object, own).ok();
        let deadlines = allocator.take(PageBox::<Deadlines>::ORDER, Kind::Object, own).ok();
        let queue = queue.and_then(|pages| PageBox::zeroed(pages).ok());
        let deadlines = deadlines.and_then(|pages| PageBox::zeroed(pages).ok());
        let reserved = reserved.and_then(|pages| PageBox::zeroed(pages).ok());
        let Some(((queue, deadlines), reserved)) = queue.zip(deadlines).zip(reserved) else {
            refuse(&"no memory for a core's queue")
        };
        let cpu = Cpu {
            index,
            queue,
            reserved,
            deadlines,
            turn: None,
            resident: None,
            vmid_generation: 0,
            reaping: 0,
            retired: None,
            remains: None,
            rebuild: None,
            departing: None,
            came: 0,
            manner: Manner::NOBODY,
            armed: NEVER,
            tracer,
            reply: [0; 15],
            results: Results::default(),
            rests_until: 0,
            units: UNITS_PER_TURN,
            reaped: 0,
            masks_low: false,
            was_long: false,
            has_reaped: false,
        };
        let page = allocator.take(PageBox::<Cpu>::ORDER, Kind::Object, own).ok();
        let Some(cpu) = page.and_then(|page| PageBox::new(page, cpu).ok()) else { refuse(&"no memory for a core") };
        *place.lock_leaf() = Some(cpu);
    }
}

/// Returns the tracer of a core, when the packed system wants one, and says where its ring stands.
#[cold]
#[inline(never)]
fn tracer(header: &PayloadHeader, pool: &mut Pool, core: CoreIndex) -> Option<PageBox<Tracer>> {
    let order = trace_order(header.flags)?;
    let Pool { allocator, own, .. } = pool;
    let ring = allocator.take(order, Kind::Object, own).ok();
    let page = allocator.take(PageBox::<Tracer>::ORDER, Kind::Object, own).ok();
    let Some((ring, page)) = ring.zip(page) else { refuse(&"no memory for a trace ring of that size on each core") };
    let (at, bytes) = (ring.pa().bytes(), ring.bytes() as u64);
    say(Level::Info, format_args!("trace: core {}: {bytes} bytes at {at:#x}", core.index()));
    PageBox::new(page, Tracer::new(ring, core, header.build_id)).ok()
}

/// Runs the guests of core `index` for ever. Called on that core once the machine is made.
pub fn run(machine: &Machine, index: CoreIndex) -> ! {
    let cpu = machine.cpus.get(index.index()).and_then(|cpu| cpu.lock_leaf().take());
    let Some((mut cpu, mut visitor)) = cpu.zip(machine.epochs.join(index.index())) else {
        // It came after boot had given it up and made the machine without it: the others run on.
        say(Level::Warn, format_args!("core {} came too late and stays off", index.index()));
        panic::park()
    };
    guest::init_core();
    if machine.plan.header.flags & HEADER_CYCLES != 0 {
        pmu::open();
    }
    if let Some(scenario) = machine.plan.scenario().filter(|_| index == CoreIndex::BOOT) {
        let ticks = timer::frequency().saturating_mul(scenario.limit_s.into());
        cpu.set_deadline(Due::Limit, timer::now().saturating_add(ticks));
    }
    dispatcher::beat::start(machine, &mut cpu);
    dispatcher::run_core(machine, &mut cpu, &mut visitor)
}
