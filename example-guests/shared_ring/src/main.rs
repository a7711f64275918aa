//! A stream of messages from one VM to another, through a ring in a page that the first one shares.
#![cfg_attr(target_os = "none", no_std, no_main)]

use strato_guest::abi::{Ipa, PeerHandle, PortHandle};
use strato_guest::memory::READ_WRITE;
use strato_guest::ring::{Consumer, Producer, Receiver, Sender};
use strato_guest::{Borrowed, Error, Failure, Info, Needs, Owned, ensure_equal, println, time};

const NEEDS: Needs = Needs::new().port("to_peer").port("steps");
strato_guest::entry!(shared_ring, NEEDS);

/// Messages, and how many of them are sent at once.
const COUNT: u64 = 16_384;
const BATCH: usize = 32;
/// Where each VM maps the page.
const PLACE: Ipa = Ipa::new(0x8000_0000).unwrap();

/// 64 bytes.
type Message = [u64; 8];

/// Returns message `n`, of which each word differs from those of the others.
fn message(n: u64) -> Message {
    [0, 1, 2, 3, 4, 5, 6, 7].map(|word| n.rotate_left(8 * word) ^ u64::from(word))
}

fn without<T>((_, error): (T, Error)) -> Failure {
    error.into()
}

fn shared_ring(info: &'static Info) -> Result<(), Failure> {
    let (port, steps) = (info.port("to_peer")?, info.port("steps")?);
    match info.option("role") {
        Some("source") => source(info.peer("sink")?, port, steps)?,
        _ => sink(info.peer("source")?, port, steps)?,
    }
    println!("shared_ring: ok");
    Ok(())
}

fn source(peer: PeerHandle, port: PortHandle, steps: PortHandle) -> Result<(), Failure> {
    // The ring is made before it is offered: whoever accepts the page finds it.
    let page = Owned::new(1)?.map(PLACE, READ_WRITE).map_err(without)?;
    let ring = Producer::create(page.window().ok_or("the place is the image's")?)?;
    let mut to = Sender::<8>::new(ring, port);
    println!("the ring holds {} messages, in memory that I share", to.capacity());
    let shared = page.share(peer, READ_WRITE, 0).map_err(without)?;

    let mut batch = [[0; 8]; BATCH];
    for first in (0..COUNT).step_by(BATCH) {
        for (n, into) in (first..).zip(&mut batch) {
            *into = message(n);
        }
        to.send(&batch)?;
    }
    println!("sent {COUNT} messages in batches of {BATCH}");

    // What is in the ring is the sink's to read; it gives the page back when it has.
    shared.wait_returned(steps)?;
    drop(shared.end().map_err(without)?);
    println!("the memory is mine again");
    Ok(())
}

fn sink(peer: PeerHandle, port: PortHandle, steps: PortHandle) -> Result<(), Failure> {
    let borrowed = Borrowed::wait(peer, steps)?.map(PLACE, READ_WRITE).map_err(without)?;
    let ring = Consumer::attach(borrowed.window().ok_or("the place is the image's")?)?;
    let mut from = Receiver::<8>::new(ring, port);
    println!("accepted {} page, and found the ring in it", borrowed.object().pages());

    let mut batch = [[0; 8]; BATCH];
    let (mut seen, mut start) = (0, 0);
    while seen < COUNT {
        let count = from.receive(&mut batch)?;
        if seen == 0 {
            start = time::counter();
        }
        for found in batch.iter().take(count) {
            for (word, expected) in found.iter().zip(message(seen)) {
                ensure_equal("a word", *word, expected)?;
            }
            seen += 1;
        }
    }
    let ticks = time::counter() - start;
    println!("{seen} messages came, whole and in order");
    println!("{} ticks per message", ticks.div_ceil(seen));
    drop(borrowed);
    Ok(())
}
