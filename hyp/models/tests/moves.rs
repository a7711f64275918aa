//! Loom: a vCPU goes from core 0 to core 1 while a third core asks something of it. Its orders and the letter boxes are the
//! hypervisor's own; the move (`dispatcher::reserve`), the asking and the serving (`dispatcher::service`) are mirrored.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use loom::sync::Arc;
use loom::thread;
use strato_models::machine::Mail;
use strato_models::scheduler::VcpuRef;
use strato_models::sync::Ordering::Relaxed;
use strato_models::sync::Without::{self, Nothing};
use strato_models::sync::{AtomicU32, go_without};
use strato_models::vcpu::orders::{MOVE, Orders, WAKE};

const VCPU: VcpuRef = VcpuRef(3);

struct Machine {
    mail: [Mail; 2],
    orders: Orders,
    /// What core 0 did to the vCPU before: its registers, say.
    value: AtomicU32,
}

/// What is done otherwise.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// The home is read, then something is asked of it.
    HomeFirst,
    /// The core that is left takes what was asked.
    TakenByTheOld,
}

fn send(machine: &Machine, core: u8) {
    machine.mail[usize::from(core)].put(VCPU);
}

/// Core `core` looks into its box once. Returns what it serves.
fn serve(machine: &Machine, core: u8, wrong: Wrong) -> u32 {
    let mail = &machine.mail[usize::from(core)];
    if !mail.is_full() || mail.next().is_none() {
        return 0;
    }
    let of = if wrong == Wrong::TakenByTheOld { machine.orders.home() } else { core };
    let requests = machine.orders.take(of).unwrap_or(0);
    if core == 1 && requests & MOVE != 0 {
        assert_eq!(machine.value.load(Relaxed), 7, "a core takes in a vCPU before the other one was done with it");
    }
    requests
}

fn model(wrong: Wrong, mover_without: Without) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let machine = Arc::new(Machine { mail: Default::default(), orders: Orders::new(0), value: AtomicU32::new(0) });
        let asker = thread::spawn({
            let machine = Arc::clone(&machine);
            move || {
                if wrong == Wrong::HomeFirst {
                    let home = machine.orders.home();
                    machine.orders.ask(WAKE);
                    send(&machine, home);
                } else {
                    send(&machine, machine.orders.ask(WAKE));
                }
            }
        });
        let old = thread::spawn({
            let machine = Arc::clone(&machine);
            move || {
                machine.value.store(7, Relaxed);
                // Its own letter would make up for it; that of another core does not.
                go_without(mover_without);
                machine.orders.move_to(0, 1);
                go_without(Nothing);
                send(&machine, 1);
                serve(&machine, 0, wrong)
            }
        });
        let mut served = serve(&machine, 1, wrong);
        asker.join().unwrap();
        let by_old = old.join().unwrap();
        // The interrupts of letters that came since.
        served |= serve(&machine, 1, wrong);
        let by_old = by_old | serve(&machine, 0, wrong);
        assert_eq!(by_old, 0, "a core serves a vCPU that is not its own");
        assert_eq!(served, WAKE | MOVE, "something is never served");
    });
}

#[test]
fn what_is_asked_of_a_vcpu_that_moves_is_served_where_it_comes() {
    model(Wrong::Nothing, Nothing);
}

#[test]
#[should_panic(expected = "never served")]
fn what_is_asked_of_the_home_of_before_is_lost() {
    model(Wrong::HomeFirst, Nothing);
}

#[test]
#[should_panic(expected = "not its own")]
fn a_core_that_serves_whatever_it_has_a_letter_of_serves_anothers() {
    model(Wrong::TakenByTheOld, Nothing);
}

#[test]
#[should_panic(expected = "before the other one was done")]
fn a_vcpu_that_is_given_away_without_release_comes_too_early() {
    model(Wrong::Nothing, Without::Release);
}
