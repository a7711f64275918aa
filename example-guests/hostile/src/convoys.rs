//! DS08, DS10, DS11 and VC07: as much as a guest can ask of what it shares with others: words that the hypervisor writes, locks of
//! all, cores. Each goes on until the victim, who sends once per beat, has had its share.

use ::core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use strato_guest::abi::{Call, Code};
use strato_guest::memory::Window;
use strato_guest::{Failure, Info, ensure, ensure_equal, event, vcpu};

use crate::crew::STACKS;
use crate::objects::free;
use crate::raw::{call, refused, succeeds};
use crate::scratch::{Scratch, ipa};
use crate::shares::object;
use crate::storms::is_over;

static IS_OVER: AtomicBool = AtomicBool::new(false);
static TURNS: AtomicU64 = AtomicU64::new(0);
static STRANGE: AtomicU64 = AtomicU64::new(0);
const EVENT_AREA: u64 = 0x3fe2_0000;
/// Beats of the victim's that are waited for.
const BEATS: u64 = 15;

fn launch(info: &Info, body: fn(usize)) -> Result<(), Failure> {
    for (number, stack) in (1..info.vcpus()).zip(&STACKS) {
        vcpu::launch(number, stack, body, number)?;
    }
    Ok(())
}

/// Waits for beats of the victim's, and for the others to have attacked meanwhile, and ends them.
fn outlast(info: &Info) -> Result<(), Failure> {
    let victim = info.port("victim")?;
    let mut beats = 0;
    while beats < BEATS || TURNS.load(Ordering::Acquire) == 0 {
        event::wait(victim)?;
        beats += 1;
    }
    IS_OVER.store(true, Ordering::Release);
    ensure_equal("answers that cannot be", STRANGE.load(Ordering::Acquire), 0)?;
    Ok(())
}

/// Writes every word of the first vCPU's record, which events for it have to be written to, as fast as a core can.
fn hammer(_: usize) {
    let Some(area) = ipa(EVENT_AREA).ok().and_then(|base| Window::new(base, 4096)) else { return };
    while !IS_OVER.load(Ordering::Acquire) {
        for offset in (0..256).step_by(8) {
            let Ok(now) = area.load(offset) else { return };
            let _ = area.store(offset, now);
        }
        TURNS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Siblings hammer the words that the victim's events are written to: who sends is never held up. An event that a sibling's store
/// undoes is lost for this VM alone; it looks again with each wait that times out.
pub(crate) fn ds10_hammered_words_hold_no_sender_up(info: &Info, _: &Scratch) -> Result<(), Failure> {
    launch(info, hammer)?;
    let victim = info.port("victim")?;
    let mut beats = 0;
    while beats < BEATS || TURNS.load(Ordering::Acquire) == 0 {
        let _ = event::wait_until(victim, strato_guest::time::deadline_in(2000))?;
        event::send(victim)?;
        beats += 1;
    }
    IS_OVER.store(true, Ordering::Release);
    Ok(())
}

/// Takes and gives memory back without end, as its neighbors on the other cores do: the lock of all memory. The victim, who maps a
/// page with each beat, gets it in its turn.
pub(crate) fn ds11_a_convoy_lets_everybody_through(info: &Info, _: &Scratch) -> Result<(), Failure> {
    while !is_over(info)? {
        for _ in 0..64 {
            let mem = object(1)?;
            free(mem)?;
        }
    }
    Ok(())
}

/// Falls asleep and is woken as fast as it goes.
fn thrash(number: usize) {
    while !IS_OVER.load(Ordering::Acquire) {
        let all = (1_u64 << 4) - 1;
        STRANGE.fetch_add(vcpu::kick(all & !(1 << number)).is_err().into(), Ordering::Relaxed);
        if number.is_multiple_of(2) {
            vcpu::wfi();
        } else {
            let _ = vcpu::wait(strato_guest::time::deadline_in(20));
        }
        let _ = event::ack();
        TURNS.fetch_add(1, Ordering::Relaxed);
    }
}

/// vCPUs that wake each other and sleep, by WFI and WAIT, at the highest rate there is.
pub(crate) fn ds08_sleeping_and_waking_leaves_the_others_their_share(info: &Info, _: &Scratch) -> Result<(), Failure> {
    launch(info, thrash)?;
    outlast(info)?;
    // Who sleeps by WFI must see that it is over.
    vcpu::kick(0b1110).map_err(Into::into)
}

/// vCPUs of other VMs have no number: what can be kicked and yielded to is one's own. A hint across VMs lifts nobody.
pub(crate) fn vc07_vcpus_of_others_have_no_number(info: &Info, _: &Scratch) -> Result<(), Failure> {
    let count = info.vcpus() as u64;
    for bits in [0, 1 << count, 1 << 8, 1 << 63, u64::MAX, u64::MAX << count] {
        refused("KICK", Call::VcpuKick, &[bits], &[Code::Invalid])?;
    }
    for number in [count, 8, 64, 511, 512, u64::MAX] {
        refused("YIELD to a vCPU", Call::VcpuYield, &[1, number], &[Code::Invalid])?;
    }
    let victim = u64::from(info.port("victim")?.0.bits());
    for _ in 0..500 {
        succeeds("YIELD behind a port", Call::VcpuYield, &[2, victim])?;
    }
    for guess in [victim ^ 1, victim ^ 1 << 16, 0, u64::MAX] {
        let (status, _) = call(Call::VcpuYield, &[2, guess]);
        ensure(status < 0, "YIELD behind a port that is none")?;
    }
    Ok(())
}
