//! A stream of messages of 64 bytes from `a` to `b`, through a ring in a page that `a` shares, in batches of a whole ring.

use strato_guest::abi::{Ipa, PeerHandle, PortHandle};
use strato_guest::memory::READ_WRITE;
use strato_guest::ring::{Consumer, Producer, Receiver, Sender};
use strato_guest::{Borrowed, Error, Failure, Owned, ensure, ensure_equal, println};

use crate::clock::Clock;
use crate::{COUNT, PASSES};

/// Where each VM maps the page.
const PLACE: Ipa = Ipa::new(0x9000_0000).unwrap();
const BATCH: usize = 32;

pub(crate) fn without<T>((_, error): (T, Error)) -> Failure {
    error.into()
}

/// Measures a message, with what it takes `b` to read it: a batch waits until the one before was read.
pub(crate) fn send<C: Clock>(
    clock: C,
    peer: PeerHandle,
    (port, steps): (PortHandle, PortHandle),
) -> Result<(), Failure> {
    let page = Owned::new(1)?.map(PLACE, READ_WRITE).map_err(without)?;
    let mut to = Sender::<8>::new(Producer::create(page.window().ok_or("the page is in the image")?)?, port);
    ensure(to.capacity() == BATCH as u64, "a page holds another number of messages")?;
    let shared = page.share(peer, READ_WRITE, 0).map_err(without)?;
    let mut batch = [[0; 8]; BATCH];
    to.queue(&batch)?;
    let mut ticks = 0;
    for pass in 1..=PASSES {
        batch = [[pass; 8]; BATCH];
        let start = clock.now();
        for _ in 0..COUNT {
            to.queue(::core::hint::black_box(&batch))?;
        }
        ticks = clock.now() - start;
    }
    println!("{} ring_message_64b {}", C::ROW, ticks.div_ceil(COUNT * BATCH as u64));
    to.flush()?;
    shared.wait_returned(steps)?;
    Ok(())
}

/// Reads the stream.
pub(crate) fn receive(peer: PeerHandle, port: PortHandle, steps: PortHandle) -> Result<(), Failure> {
    let page = Borrowed::wait(peer, steps)?.map(PLACE, READ_WRITE).map_err(without)?;
    let mut from = Receiver::<8>::new(Consumer::attach(page.window().ok_or("the page is in the image")?)?, port);
    let mut batch = [[0; 8]; BATCH];
    let mut seen = 0;
    while seen < (PASSES * COUNT + 1) * BATCH as u64 {
        seen += from.receive(::core::hint::black_box(&mut batch))? as u64;
    }
    ensure_equal("the last word", batch[BATCH - 1][7], PASSES)
}
