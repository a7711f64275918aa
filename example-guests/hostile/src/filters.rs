//! IO: registers of a page that several have bits of. Garbage stays in the own bits, and any access but those allowed ends its VM alone.

use strato_guest::{Failure, Info, Mmio, ensure, ensure_equal};

use crate::raw::Random;
use crate::scratch::{Scratch, ipa};

const PLACE: u64 = 0x3000_0000;
const ROUNDS: u32 = 2000;
// Registers of a PL061: the data of pin n is at 4 << n.
const DIRECTION: u64 = 0x400;
/// STRB w0, [x0].
const STORE_BYTE: u32 = 0x3900_0000;
/// STR w0, [x0].
const STORE: u32 = 0xb900_0000;
/// STP w1, w2, [x0].
const STORE_PAIR: u32 = 0x2900_0801;
/// STR w1, [x0], #4.
const STORE_BACK: u32 = 0xb800_4401;

/// Maps the window, and returns it with the pin that the VM has: the one whose direction it can change.
fn pin(info: &'static Info) -> Result<(Mmio<'static>, u32), Failure> {
    let gpio = Mmio::map(info.device("gpio")?, ipa(PLACE)?)?;
    gpio.write(DIRECTION, u32::MAX);
    let bits = gpio.read(DIRECTION);
    ensure_equal("pins that it has", bits.count_ones().into(), 1)?;
    Ok((gpio, bits.trailing_zeros()))
}

/// Garbage in the registers that are allowed: nothing but the own bits is seen, and none but those change.
pub(crate) fn io01_garbage_stays_in_its_own_bits(info: &'static Info, _: &Scratch) -> Result<(), Failure> {
    let (gpio, n) = pin(info)?;
    let mut random = Random(1);
    for _ in 0..ROUNDS {
        let value = random.next() as u32;
        // Its level follows what is written while it is an output.
        gpio.write(DIRECTION, u32::MAX);
        gpio.write(4 << n, value);
        ensure_equal("the level of the pin", gpio.read(4 << n).into(), (value & 1 << n).into())?;
        gpio.write(DIRECTION, value);
        ensure_equal("the direction of the pin", gpio.read(DIRECTION).into(), (value & 1 << n).into())?;
    }
    Ok(())
}

/// A pin that nobody else has stays as it was set, whatever they do.
pub(crate) fn io03_a_pin_stays_as_it_was_set(info: &'static Info, _: &Scratch) -> Result<(), Failure> {
    let (gpio, n) = pin(info)?;
    for round in 0..ROUNDS {
        let value = (round & 1) << n;
        gpio.write(4 << n, value);
        strato_guest::vcpu::yield_now();
        ensure_equal("the level of the pin", gpio.read(4 << n).into(), value.into())?;
        ensure_equal("the direction of the pin", gpio.read(DIRECTION).into(), 1_u64 << n)?;
    }
    Ok(())
}

/// Executes `word` with x0 behind the pin's register by `past` bytes. It ends the VM.
fn stop(info: &'static Info, scratch: &Scratch, word: u32, past: u64) -> Result<(), Failure> {
    let (_gpio, n) = pin(info)?;
    scratch.execute(word, &mut [PLACE + (4 << n) + past; 30])?;
    Err("an access that is not allowed did not end the VM".into())
}

/// A byte of the own register.
pub(crate) fn io02b_a_byte_stops_the_vm(info: &'static Info, scratch: &Scratch) -> Result<(), Failure> {
    stop(info, scratch, STORE_BYTE, 0)
}

/// A word that is not aligned.
pub(crate) fn io02u_an_unaligned_word_stops_the_vm(info: &'static Info, scratch: &Scratch) -> Result<(), Failure> {
    stop(info, scratch, STORE, 2)
}

/// Two words, of which the syndrome does not say more.
pub(crate) fn io02p_a_pair_stops_the_vm(info: &'static Info, scratch: &Scratch) -> Result<(), Failure> {
    stop(info, scratch, STORE_PAIR, 0)
}

/// A store that changes its base, of which the syndrome does not say more either.
pub(crate) fn io02w_a_write_back_stops_the_vm(info: &'static Info, scratch: &Scratch) -> Result<(), Failure> {
    stop(info, scratch, STORE_BACK, 0)
}

/// Garbage at any register of the page: the first that is not allowed ends the VM.
pub(crate) fn io02g_garbage_anywhere_stops_the_vm(info: &'static Info, _: &Scratch) -> Result<(), Failure> {
    let (gpio, _) = pin(info)?;
    let mut random = Random(2);
    for _ in 0..ROUNDS {
        gpio.write(random.next() & 0xffc, random.next() as u32);
    }
    ensure(false, "garbage in the whole page did not end the VM")
}
