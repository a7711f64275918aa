//! Cases: a wait that ends by its deadline, upcalls between two VMs, a port that one VM offers and another connects to.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use strato_guest::memory::Window;
use strato_guest::time::{self, Instant};
use strato_guest::{Failure, Info, Timer, ensure, ensure_equal, event, info, upcall, vcpu};

/// Events that each way of waiting has to bring.
const ROUNDS: u64 = 100;

static UPCALLS: AtomicU64 = AtomicU64::new(0);

/// Waits for two milliseconds in which nothing happens; then by timers that may be late, which are never early.
pub(crate) fn deadline() -> Result<(), Failure> {
    let deadline = time::deadline_in(2000);
    let waited = vcpu::wait(deadline)?;
    ensure_equal("the selector", waited.selector, 0)?;
    ensure(waited.now >= deadline && time::counter() >= waited.now, "the wait ended early")?;
    let again = vcpu::wait(deadline)?;
    ensure_equal("the selector after a deadline in the past", again.selector, 0)?;

    let timer = Timer::new()?.with_slack(Duration::from_millis(1));
    let due = Instant::now().after(Duration::from_micros(500));
    timer.once(due)?;
    timer.wait()?;
    ensure(Instant::now() >= due, "a timer with slack came early")?;
    timer.once(Instant::now().after(Duration::from_secs(3600)))?;
    ensure(timer.cancel()? && !timer.cancel()?, "a timer is canceled once")
}

/// Takes events as upcalls: between instructions of a loop that makes no call, out of WFI, and not while they are masked.
pub(crate) fn upcalls(info: &Info) -> Result<(), Failure> {
    let peer = info.port("peer")?;
    upcall::set_handler(answer_upcall);
    upcall::enable()?;
    event::send(peer)?;
    while UPCALLS.load(Ordering::Relaxed) < ROUNDS {
        vcpu::relax();
    }
    event::send(peer)?;
    sleep_until(2 * ROUNDS);
    let (before, sent, after) = upcall::without(|| {
        let before = UPCALLS.load(Ordering::Relaxed);
        let sent = event::send(peer);
        // The answer raises the line, which ends the sleep but cannot interrupt.
        vcpu::wfi();
        (before, sent, UPCALLS.load(Ordering::Relaxed))
    });
    sent?;
    ensure_equal("upcalls while they were masked", after, before)?;
    sleep_until(3 * ROUNDS);
    upcall::disable()?;
    Ok(())
}

/// Sleeps until there were `count` upcalls. They are masked between the look and the sleep, or the last one could come there.
fn sleep_until(count: u64) {
    let is_over = || {
        let is_over = UPCALLS.load(Ordering::Relaxed) >= count;
        if !is_over {
            vcpu::wfi();
        }
        is_over
    };
    while !upcall::without(is_over) {}
}

/// Answers the event that has come, but for the last of each part.
fn answer_upcall(port: u16) {
    let count = UPCALLS.fetch_add(1, Ordering::Relaxed) + 1;
    if let (Ok(peer), true) = (info::get().port("peer"), !count.is_multiple_of(ROUNDS))
        && peer.0.index() == port
    {
        let _ = event::send(peer);
    }
}

/// Answers every event of the VM that takes upcalls.
pub(crate) fn answer(info: &Info) -> Result<(), Failure> {
    let peer = info.port("peer")?;
    for _ in 0..3 * ROUNDS {
        event::wait(peer)?;
        event::send(peer)?;
    }
    Ok(())
}

fn shared(info: &Info) -> Result<Window, Failure> {
    let shared = info.mem("shared")?;
    let address = shared.address.ok_or("\"shared\" is not mapped")?;
    Window::new(address, shared.size).ok_or(Failure::Because("\"shared\" lies in the image"))
}

/// Offers a port to the peer, tells it the key in shared memory, and waits for its event.
pub(crate) fn offer(info: &Info) -> Result<(), Failure> {
    let offer = event::offer(info.peer("connector")?)?;
    let board = shared(info)?;
    board.store(8, offer.key)?;
    board.store(0, 1)?;
    event::wait(offer.port)?;
    event::send(offer.port)?;
    event::close(offer.port)?;
    ensure(event::send(offer.port).is_err(), "a closed port still sends")
}

/// Connects to the port that the peer offers, raises it, and waits for the answer.
pub(crate) fn connect(info: &Info) -> Result<(), Failure> {
    let board = shared(info)?;
    while board.load(0)? == 0 {
        vcpu::yield_now();
    }
    let peer = info.peer("offerer")?;
    let key = board.load(8)?;
    ensure(event::connect(peer, key ^ 1 << 40).is_err(), "a wrong key connects")?;
    let port = event::connect(peer, key)?;
    event::send(port)?;
    event::wait(port)?;
    Ok(())
}
