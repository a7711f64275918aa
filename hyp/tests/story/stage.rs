//! Stage: a machine with its cores on one thread, and guests that do what a story tells them, each from a list of its own.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

use strato_hyp::arch::el1::El1;
use strato_hyp::arch::epoch::{Stay, Visitor};
use strato_hyp::arch::frame::{Frame, RawExit};
use strato_hyp::arch::page_box::PageBox;
use strato_hyp::arch::stage2::{Vttbr, current_vttbr, set_vttbr};
use strato_hyp::arch::{Deed, guest, script, timer, watch};
use strato_hyp::boot::{replay, start};
use strato_hyp::dispatcher::traced::Traced;
use strato_hyp::dispatcher::{self, Unseen, Witness};
use strato_hyp::lock::Held;
use strato_hyp::machine::{Cpu, Machine};
use strato_hyp::vm::Vm;
use strato_hyp::vm::spaces::SPACES_MAX;

use crate::plan::{SLICE, System};

/// A vCPU: place of its VM, and its number.
pub(crate) type Who = (u8, u8);
type Step = Box<dyn FnOnce(&mut Frame) -> Deed>;

/// What the machine's counter shows when the VMs of a story begin, and theirs show 0: a little after a period of any reservation begins.
pub(crate) const BORN: u64 = 1_251_000;

/// Returns what the counter of a guest shows.
pub(crate) fn shown() -> u64 {
    timer::now() - BORN
}

/// An exit in which nothing is asked.
pub(crate) const INTERRUPT: RawExit = RawExit { vector: 1, esr: 0, far: 0, hpfar: 0 };

#[derive(Default)]
struct Actors {
    is_directed: bool,
    /// The root tables of each VM's address spaces, and its place: tells who is on the core.
    roots: HashMap<u64, u8>,
    steps: HashMap<Who, VecDeque<Step>>,
    /// Whether the last thing one did was a step.
    busy: HashMap<Who, bool>,
    seen: HashMap<Who, Frame>,
    /// Everybody who ran, in order.
    ran: Vec<Who>,
}

thread_local! {
    static ACTORS: RefCell<Actors> = RefCell::default();
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Plays whoever is on the core: its next step, or an interrupt when it has none.
fn direct(frame: &mut Frame) -> Deed {
    script(direct);
    let root = current_vttbr().root().bytes();
    let step = ACTORS.with_borrow_mut(|actors| {
        // One that was made and selected since the guest was entered is the same VM's.
        let place = actors.roots.get(&root).copied().or(actors.ran.last().map(|&(place, _)| place));
        let who = (place.expect("a VM of this story is on the core"), (guest::mpidr() & 7) as u8);
        actors.ran.push(who);
        let has_more = actors.steps.get(&who).is_some_and(|steps| !steps.is_empty());
        if actors.busy.insert(who, false) == Some(true) && !has_more {
            actors.seen.insert(who, frame.clone());
        }
        let step = actors.steps.get_mut(&who).and_then(VecDeque::pop_front);
        actors.busy.insert(who, step.is_some());
        step
    });
    step.map_or(Deed::Exit(INTERRUPT), |step| step(frame))
}

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOG.with_borrow_mut(|lines| lines.push(record.args().to_string()));
    }

    fn flush(&self) {}
}

/// A core, and what its registers hold while another core has the thread.
struct Core {
    cpu: PageBox<Cpu>,
    visitor: Visitor<'static>,
    el1: El1,
    space: Vttbr,
    line: bool,
    fp_traps: bool,
    offset: u64,
}

/// A machine in the middle of a story.
pub(crate) struct Story {
    pub(crate) machine: &'static Machine,
    cores: Vec<Core>,
    active: usize,
    /// Ticks from one turn to the next; a slice at first, so that equals take turns.
    pub(crate) pace: u64,
}

impl Story {
    /// Returns the machine of one core that has carried out the plan of `system`.
    pub(crate) fn new(system: &System) -> Self {
        Self::on(system, 1)
    }

    /// Returns the machine of `cores` cores that has carried out the plan of `system`.
    pub(crate) fn on(system: &System, cores: usize) -> Self {
        let _ = log::set_logger(&Capture); // the error says that it is set
        LOG.take();
        watch::forget_all();
        timer::set_now(BORN);
        let mut parts = system.parts(cores);
        let mask = ((1 << cores) - 1) as u8;
        let plan = start::plan(&mut parts, mask);
        let machine: &'static Machine = Box::leak(Box::new(start::machine(parts, plan, mask)));
        replay::replay(machine);
        let cores = (0..cores).map(|n| {
            let mut cpu = machine.cpus[n].lock_leaf().take().expect("each core has its part");
            dispatcher::beat::start(machine, &mut cpu);
            let visitor = machine.epochs.join(n).expect("each core joins once");
            let space = Vttbr::from_bits(0);
            Core { cpu, visitor, el1: El1::RESET, space, line: false, fp_traps: true, offset: 0 }
        });
        let story = Self { machine, cores: cores.collect(), active: 0, pace: SLICE };
        guest::init_core();
        let was_directed = ACTORS.with_borrow_mut(|actors| {
            let is_directed = std::mem::replace(&mut actors.is_directed, true);
            *actors = Actors { is_directed: true, ..Actors::default() };
            is_directed
        });
        if !was_directed {
            script(direct);
        }
        story
    }

    /// Returns what `look` sees of the VM in a place.
    pub(crate) fn vm<R>(&mut self, place: u8, look: impl FnOnce(&Vm) -> R) -> R {
        self.try_vm(place, look).expect("the VM is there")
    }

    /// Returns what `look` sees of the VM in a place, if there is one.
    pub(crate) fn try_vm<R>(&mut self, place: u8, look: impl FnOnce(&Vm) -> R) -> Option<R> {
        let machine = self.machine;
        let stay = self.cores[self.active].visitor.begin();
        machine.vms[usize::from(place)].get(&stay).map(look)
    }

    /// Adds a step for `who`.
    pub(crate) fn step(&mut self, who: Who, step: impl FnOnce(&mut Frame) -> Deed + 'static) {
        ACTORS.with_borrow_mut(|actors| {
            actors.steps.entry(who).or_default().push_back(Box::new(step));
            actors.seen.remove(&who);
        });
    }

    /// Returns `who`'s registers after its last step, if it got so far.
    pub(crate) fn seen(&self, who: Who) -> Option<Frame> {
        ACTORS.with_borrow(|actors| actors.seen.get(&who).cloned())
    }

    /// Returns and forgets who ran.
    pub(crate) fn ran(&self) -> Vec<Who> {
        ACTORS.with_borrow_mut(|actors| std::mem::take(&mut actors.ran))
    }

    /// Does one turn on core `n`. Returns whether the core had nothing to do.
    pub(crate) fn turn_on(&mut self, n: usize) -> bool {
        self.switch(n);
        timer::set_now(timer::now() + self.pace);
        let machine = self.machine;
        let Core { cpu, visitor, .. } = &mut self.cores[n];
        let roots = roots(machine, &visitor.begin());
        ACTORS.with_borrow_mut(|actors| actors.roots = roots);
        if cpu.tracer.is_some() {
            return one_turn::<Traced>(machine, cpu, visitor);
        }
        one_turn::<Unseen>(machine, cpu, visitor)
    }

    /// Returns what core `n` has to itself.
    pub(crate) fn cpu(&mut self, n: usize) -> &mut Cpu {
        &mut self.cores[n].cpu
    }

    /// Lets core `n`, which sleeps, take the interrupts that woke it.
    pub(crate) fn take_interrupts(&mut self, n: usize) {
        self.switch(n);
        dispatcher::irq::take(self.machine, &mut self.cores[n].cpu);
    }

    fn switch(&mut self, n: usize) {
        if self.active == n {
            return;
        }
        let old = &mut self.cores[self.active];
        guest::save(&mut old.el1);
        old.el1.mpidr = guest::mpidr();
        (old.space, old.line, old.fp_traps) = (current_vttbr(), guest::is_line_up(), guest::fp_traps());
        old.offset = timer::offset();
        self.active = n;
        let new = &self.cores[n];
        guest::load(&new.el1);
        set_vttbr(new.space);
        guest::set_line(new.line);
        guest::trap_fp(new.fp_traps);
        timer::set_offset(new.offset);
    }

    /// Does `count` turns on every core.
    pub(crate) fn turns(&mut self, count: usize) {
        for _ in 0..count {
            for n in 0..self.cores.len() {
                self.turn_on(n);
            }
        }
    }

    /// Does turns until `who` was seen after its last step; `None` when it is not within 50.
    pub(crate) fn until_seen(&mut self, who: Who) -> Option<Frame> {
        (0..50).find_map(|_| {
            self.turns(1);
            self.seen(who)
        })
    }

    /// Lets `who` do one step. Returns its registers when it goes on.
    pub(crate) fn deed(&mut self, who: Who, step: impl FnOnce(&mut Frame) -> Deed + 'static) -> Option<Frame> {
        self.step(who, step);
        self.until_seen(who)
    }

    /// Returns the lines that the hypervisor said.
    pub(crate) fn log(&self) -> Vec<String> {
        LOG.with_borrow(Clone::clone)
    }

    /// Ends every VM that has not ended and checks that all memory came back, and before that what each reaches.
    pub(crate) fn close(mut self) {
        assert_eq!(self.strays(), []);
        let places: Vec<u8> = (0..8).filter(|&place| self.try_vm(place, |_| ()).is_some()).collect();
        for &place in &places {
            let stay = self.cores[self.active].visitor.begin();
            if let Some(found) = self.machine.vms[usize::from(place)].get(&stay) {
                dispatcher::service::end_vm(self.machine, found, strato_hyp::vm::Ending::Exit(0));
            }
        }
        for _ in 0..3000 {
            self.turns(1);
            if places.iter().all(|&place| self.try_vm(place, |_| ()).is_none()) {
                break;
            }
        }
        assert!(places.iter().all(|&place| self.try_vm(place, |_| ()).is_none()), "a VM does not come to its end");
        self.audit();
    }

    /// Checks that the allocator holds what it held before the first VM, once no core gives anything back.
    pub(crate) fn audit(&mut self) {
        while self.cores.iter().any(|core| core.cpu.reaping != 0) {
            self.turns(1);
        }
        let mut none = Held::for_example();
        let (pool, _held) = self.machine.memory.lock(&mut none);
        assert_eq!(Some(pool.allocator.audit().expect("the ledger adds up")), pool.baseline);
    }
}

fn one_turn<W: Witness>(machine: &Machine, cpu: &mut Cpu, visitor: &mut Visitor<'_>) -> bool {
    let is_idle = dispatcher::turn::<W>(machine, cpu, &visitor.begin());
    if is_idle {
        W::sleeps(cpu);
        visitor.outside(|| ());
        W::woke(machine, cpu);
    }
    is_idle
}

/// Returns the root tables of all address spaces, and the places of their VMs.
fn roots(machine: &Machine, stay: &Stay<'_>) -> HashMap<u64, u8> {
    let vms = (0u8..).zip(&machine.vms).filter_map(|(place, slot)| Some((place, slot.get(stay)?)));
    let of_vm = |(place, vm): (u8, &Vm)| {
        let mut none = Held::for_example();
        let (inner, _held) = vm.inner.lock(&mut none);
        let spaces = (0..SPACES_MAX as u8).filter_map(|slot| inner.spaces.get(slot));
        spaces.map(|space| (space.selector().vttbr.root().bytes(), place)).collect::<Vec<_>>()
    };
    vms.flat_map(of_vm).collect()
}
