//! Two VMs pass a counter to and fro: the number is in memory that both map, the turn is an event.
#![cfg_attr(target_os = "none", no_std, no_main)]

use strato_guest::memory::Window;
use strato_guest::{Failure, Info, Needs, ensure_equal, event, println};

strato_guest::entry!(ping_pong, Needs::new().port("to_peer").mem("shared"));

/// Rounds; each adds two to the counter.
const ROUNDS: u64 = 1000;

fn ping_pong(info: &'static Info) -> Result<(), Failure> {
    let peer = info.port("to_peer")?;
    let shared = info.mem("shared")?;
    let address = shared.address.ok_or("the manifest maps \"shared\" nowhere")?;
    let counter = Window::new(address, shared.size).ok_or("\"shared\" lies in the image")?;
    let begins = info.option("role") == Some("ping");
    println!("the counter is at {address}");

    // Whoever begins finds even numbers, the other one odd ones; each checks what it finds before it adds one.
    for round in 0..ROUNDS {
        if !begins || round > 0 {
            event::wait(peer)?;
        }
        let found = counter.load(0)?;
        ensure_equal("the counter", found, 2 * round + u64::from(!begins))?;
        counter.store(0, found + 1)?;
        event::send(peer)?;
    }
    if begins {
        event::wait(peer)?;
        ensure_equal("the counter", counter.load(0)?, 2 * ROUNDS)?;
        println!("{ROUNDS} rounds took it from 0 to {}", 2 * ROUNDS);
    }
    println!("ping_pong: ok");
    Ok(())
}
