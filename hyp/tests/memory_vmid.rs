//! VMIDs: generations through the real allocator on one thread, and every interleaving of a core that selects with one that
//! begins a generation, with a TLB that a core may fill at any moment; mutants leave out what the protocol needs. What two
//! cores see of each other's stores is loom's (`models/tests/vmid.rs`).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod memory_common;

use std::collections::HashSet;

use memory_common::{allocator, pa};
use strato_hyp::allocator::{Selector, Vmids};
use strato_hyp::arch::{CoreIndex, stage2, watch};

fn core(n: usize) -> CoreIndex {
    CoreIndex::new(n).unwrap()
}

#[test]
fn a_number_is_its_own_for_a_generation_and_lost_with_the_next() {
    watch::forget_all();
    let (mut allocator, vmids) = (allocator(100), Vmids::default());
    let mut first = Selector::without_vmid(pa(0x1000));
    assert!(!vmids.claim(core(0), first), "it has none yet");
    first = allocator.renew_vmid(&vmids, core(0), first);
    assert!(vmids.claim(core(1), first) && vmids.claim(core(0), first));
    vmids.release(core(1));
    vmids.release(core(0));
    for n in 1..=255u8 {
        let other = allocator.renew_vmid(&vmids, core(1), Selector::without_vmid(pa(0x1000 + u64::from(n))));
        assert_eq!((other.generation, other.vttbr.vmid()), if n == 255 { (2, 1) } else { (1, n + 1) });
    }
    assert!(!vmids.claim(core(0), first));
    let again = allocator.renew_vmid(&vmids, core(0), first);
    assert_eq!((again.generation, again.vttbr.vmid(), again.vttbr.root()), (2, 2, first.vttbr.root()));
}

#[test]
fn what_cores_translate_by_keeps_its_number_over_generations() {
    watch::forget_all();
    let (mut allocator, vmids) = (allocator(100), Vmids::default());
    let live: Vec<Selector> =
        (0..7).map(|n| allocator.renew_vmid(&vmids, core(n), Selector::without_vmid(pa(0x1000 + n as u64)))).collect();
    let mut given = HashSet::new();
    for n in 0..3000 {
        let other = allocator.renew_vmid(&vmids, core(7), Selector::without_vmid(pa(0x2000 + n)));
        assert!(live.iter().all(|live| live.vttbr.vmid() != other.vttbr.vmid()));
        given.insert((other.generation, other.vttbr.vmid()));
        vmids.release(core(7));
    }
    assert_eq!(given.len(), 3000, "no number twice in a generation");
    let generations = given.iter().map(|&(generation, _)| generation).max().unwrap();
    assert_eq!(generations, 1 + 2999 / 248, "a generation has 255 numbers, 7 of which are kept");
    for (n, old) in live.into_iter().enumerate() {
        let again = allocator.renew_vmid(&vmids, core(n), old);
        assert_eq!((again.vttbr, again.generation), (old.vttbr, generations));
    }
}

#[test]
fn a_claim_of_a_number_that_another_has_by_now_keeps_nothing() {
    watch::forget_all();
    let (mut allocator, vmids) = (allocator(100), Vmids::default());
    let stale = allocator.renew_vmid(&vmids, core(0), Selector::without_vmid(pa(0x1000)));
    vmids.release(core(0));
    let fill = |allocator: &mut strato_hyp::allocator::Allocator, from: u64| {
        (0..255).map(|n| allocator.renew_vmid(&vmids, core(1), Selector::without_vmid(pa(from + n)))).last().unwrap()
    };
    let heir = fill(&mut allocator, 0x2000);
    assert_eq!((heir.generation, heir.vttbr.vmid()), (2, stale.vttbr.vmid()));
    // In the middle of its claim, another generation begins; the heir still is on its core.
    assert!(!vmids.claim(core(0), stale));
    assert!(vmids.claim(core(2), heir));
    fill(&mut allocator, 0x3000);
    let renewed = allocator.renew_vmid(&vmids, core(0), stale);
    assert_ne!(renewed.vttbr.vmid(), heir.vttbr.vmid());
    assert_eq!(allocator.renew_vmid(&vmids, core(2), heir).vttbr, heir.vttbr);
    stage2::park();
}

/// What a run of the model leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// `Vmids::claim` does not say what the core is about to translate by.
    Live,
    /// `Vmids::claim` looks at the generation before it says so.
    Order,
    /// Nothing is invalidated, neither by who begins a generation nor by who meets it.
    Flush,
    /// A core does not forget what is in its TLB when it meets a generation.
    Here,
    /// A core is not parked while it gets a number.
    Park,
}

/// The one VMID that matters; another one.
const V: u8 = 1;
const OTHER: u8 = 2;
/// Address spaces: P is on core A, S is about to be; X gets a number on core B, and then runs on A.
const P: u8 = b'P';
const S: u8 = b'S';
const X: u8 = b'X';

/// Core A goes from P to S to X, core B begins a generation and gives X a number; `p` and `s` are the numbers before.
#[derive(Clone, PartialEq, Eq, Hash)]
struct World {
    steps: [u8; 2],
    generation: u8,
    live: [(u8, u8); 2],
    /// VTTBR_EL2 of core A: space and number.
    vttbr: (u8, u8),
    /// A's TLB: whose entries stand under which number.
    tlb: Vec<(u8, u8)>,
    met: u8,
    claimed: bool,
    saw: u8,
    s: (u8, u8),
    x: (u8, u8),
}

impl World {
    fn new(s_number: u8) -> Self {
        let p = if s_number == V { OTHER } else { V };
        Self {
            steps: [0; 2],
            generation: 1,
            live: [(P, p), (0, 0)],
            vttbr: (P, p),
            tlb: Vec::new(),
            met: 1,
            claimed: false,
            saw: 0,
            s: (s_number, 1),
            x: (0, 0),
        }
    }

    /// Begins a generation: X gets the number that nobody translates by, V if it can.
    fn give_x(&mut self, without: Without) {
        self.generation += 1;
        let is_kept = self.live[0].1 == V;
        self.x = (if is_kept { OTHER } else { V }, self.generation);
        if without != Without::Flush {
            self.tlb.clear();
        }
    }

    /// Core A gets a number for space `who` under the lock, in a generation that it has not met.
    fn renew(&mut self, who: u8, without: Without) {
        if without != Without::Park {
            self.vttbr = (0, 0);
        }
        if who == S {
            let is_own = self.live[0] == (S, self.s.0) && self.x.0 != self.s.0;
            self.s = (if is_own { self.s.0 } else { 3 }, self.generation);
            self.live[0] = (S, self.s.0);
        }
        if !matches!(without, Without::Here | Without::Flush) && self.met != self.generation {
            self.tlb.clear();
        }
        self.met = self.generation;
    }

    /// Does the next step of core `n`; returns whether there was one.
    fn step(&mut self, n: usize, without: Without) -> bool {
        let step = self.steps[n];
        self.steps[n] += 1;
        if n == 1 {
            if step == 0 {
                self.give_x(without);
            }
            return step == 0;
        }
        match step {
            0 if without == Without::Order => self.saw = self.generation,
            0 if without == Without::Live => {}
            0 => self.live[0] = (S, self.s.0),
            1 if without == Without::Order => self.live[0] = (S, self.s.0),
            1 => self.saw = self.generation,
            2 => {
                if self.saw != self.s.1 {
                    self.renew(S, without);
                }
            }
            3 => self.vttbr = (S, self.s.0),
            // Then X, which has a number of the second generation, from another core.
            4 if self.x.1 == 0 => {
                self.steps[0] -= 1;
                return self.steps[1] == 0;
            }
            4 => self.renew(X, without),
            5 => self.live[0] = (X, self.x.0),
            6 => self.vttbr = (X, self.x.0),
            _ => return false,
        }
        true
    }

    /// The core may walk by what VTTBR_EL2 selects, at any moment.
    fn walk(&mut self) {
        if self.vttbr.0 != 0 && !self.tlb.contains(&self.vttbr) {
            self.tlb.push(self.vttbr);
            self.tlb.sort_unstable();
        }
    }

    fn is_sound(&self) -> bool {
        let (space, number) = self.vttbr;
        let own = self.tlb.iter().all(|&(other, under)| space == 0 || under != number || other == space);
        // X runs on B under its number from the moment it has it: nobody else may run under it on A.
        own && (space == X || self.x.1 == 0 || self.steps[0] < 4 || number != self.x.0)
    }
}

/// Returns how many states there are, or `None` when one of them is unsound.
fn explore(without: Without) -> Option<usize> {
    let (mut seen, mut open) = (HashSet::new(), vec![World::new(V), World::new(OTHER)]);
    while let Some(world) = open.pop() {
        if !seen.insert(world.clone()) {
            continue;
        }
        if !world.is_sound() {
            return None;
        }
        let mut walked = world.clone();
        walked.walk();
        open.push(walked);
        for n in 0..2 {
            let mut next = world.clone();
            if next.step(n, without) {
                open.push(next);
            }
        }
    }
    Some(seen.len())
}

#[test]
fn no_order_of_two_cores_and_no_walk_lets_a_guest_translate_by_anothers_entries() {
    let states = explore(Without::Nothing);
    assert!(states.is_some_and(|states| states > 50), "{states:?}");
}

#[test]
fn each_part_of_the_protocol_is_needed() {
    for (n, without) in [Without::Live, Without::Order, Without::Flush, Without::Here, Without::Park].iter().enumerate()
    {
        assert_eq!(explore(*without), None, "mutant {n} goes unnoticed");
    }
}
