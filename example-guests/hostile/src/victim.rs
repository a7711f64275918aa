//! The victim: pages and registers full of a pattern, and a heartbeat. It ends when its attackers are gone.
//!
//! From the first beats on it sends each attacker an event per beat, which tells those that spin for it to stop.

use strato_guest::abi::{Code, PortHandle};
use strato_guest::memory::{self, READ_WRITE, Window};
use strato_guest::{Failure, Info, ensure, ensure_equal, event, println, time, vcpu};

use crate::arch::{self, Registers, SystemRegisters, Vectors};
use crate::scratch::ipa;

/// Beats before the attackers are told.
const QUIET: u64 = 8;
/// Pages with canaries.
const PAGES: u64 = 16;
/// Ports that attackers may be behind.
const PORTS: [&str; 6] = ["a0", "a1", "a2", "a3", "a4", "a5"];

/// Beats until all attackers are gone, however long that is: how many beats an attacker takes depends on what else the host does, and
/// the time limit of the scenario ends what hangs.
pub(crate) fn suffer(info: &'static Info) -> Result<(), Failure> {
    let mut attackers = PORTS.map(|name| info.port(name).ok());
    ensure(attackers.iter().any(Option::is_some), "no attacker is behind ports a0 to a5")?;
    let has_fp = info.header().features & 1 != 0;
    let free = memory::free_ram(info).start;
    memory::map_ram(info.mem("ram")?.handle, ipa(free)?, PAGES, READ_WRITE)?;
    let canaries = Window::new(ipa(free)?, PAGES * 4096).ok_or("the canaries lie in the image")?;
    let seed = u64::from(info.header().vm) << 40 | 0x00c0_ffee;
    write(&canaries, seed)?;
    let mut beats = 0;
    while attackers.iter().any(Option::is_some) {
        look(&canaries, seed)?;
        registers(seed ^ beats, 3000, has_fp)?;
        move_a_page(info, free + PAGES * 4096)?;
        beats += 1;
        if beats > QUIET {
            for port in &mut attackers {
                tell(port)?;
            }
        }
        let _ = vcpu::wait(time::deadline_in(500))?;
    }
    look(&canaries, seed)?;
    println!("canaries and registers are whole, the heart beat");
    Ok(())
}

/// Tells an attacker to stop; forgets one that is gone.
pub(crate) fn tell(attacker: &mut Option<PortHandle>) -> Result<(), Failure> {
    let Some(port) = *attacker else { return Ok(()) };
    match event::send(port) {
        Ok(()) => Ok(()),
        Err(error) if error.code() == Code::PeerGone => {
            *attacker = None;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn write(canaries: &Window, seed: u64) -> Result<(), Failure> {
    for offset in (0..PAGES * 4096).step_by(8) {
        canaries.store(offset, seed ^ offset)?;
    }
    Ok(())
}

/// Looks at every canary.
fn look(canaries: &Window, seed: u64) -> Result<(), Failure> {
    for offset in (0..PAGES * 4096).step_by(8) {
        ensure_equal("a canary", canaries.load(offset)?, seed ^ offset)?;
    }
    Ok(())
}

/// Maps, writes and unmaps a page: an attacker's quota is its own.
fn move_a_page(info: &Info, offset: u64) -> Result<(), Failure> {
    let place = ipa(0x70_0000_0000)?;
    memory::map(info.mem("ram")?.handle, offset.saturating_sub(info.ram().start), place, 1, READ_WRITE)?;
    let window = Window::new(place, 4096).ok_or("no room")?;
    window.store(8, offset)?;
    ensure_equal("a page mapped for a beat", window.load(8)?, offset)?;
    Ok(memory::unmap(place, 1)?)
}

/// Fills every register with a pattern, spins through a few switches, and looks what is in them then.
pub(crate) fn registers(seed: u64, spins: u64, has_fp: bool) -> Result<(), Failure> {
    let pattern = |number: u64| seed.rotate_left(7) ^ number.wrapping_mul(0x0101_0101_0101_0101);
    let mut general: Registers = [0; 30];
    for (number, register) in (0..).zip(&mut general) {
        *register = if number == 0 { spins } else { pattern(number) };
    }
    arch::spin(&mut general);
    let whole =
        (0..).zip(&general).all(|(number, &register)| register == if number == 0 { 0 } else { pattern(number) });
    ensure(whole, "a general register is not what it was")?;

    // Fields that every core has: CNTKCTL_EL1 enables for EL0, PAR_EL1.PA, CSSELR_EL1 of the first caches, SPSR_EL1 flags.
    let masks = [u64::MAX, u64::MAX, u64::MAX, 0x303, 0xffff_ffff_f000, 0x3, u64::MAX, 0xf000_0000];
    let mut system: SystemRegisters = [0; 8];
    for ((number, register), mask) in (40..).zip(&mut system).zip(masks) {
        *register = pattern(number) & mask;
    }
    let before = system;
    arch::system_registers(&mut system, spins);
    for (found, expected) in system.into_iter().zip(before) {
        ensure_equal("a system register", found, expected)?;
    }
    if has_fp {
        let mut vectors: Vectors = [[0; 2]; 32];
        for (number, [low, high]) in (60..).zip(&mut vectors) {
            (*low, *high) = (pattern(number), !pattern(number));
        }
        let before = vectors;
        arch::vectors(&mut vectors, spins);
        ensure(vectors == before, "an FP register is not what it was")?;
    }
    Ok(())
}
