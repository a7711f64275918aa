//! CN: the console. Lengths, bytes that look like somebody else's line, floods.

use strato_guest::abi::{Call, Code};
use strato_guest::{Failure, Hvc, Info, console, ensure, ensure_equal};

use crate::raw::{JUNK, call, refused, succeeds};
use crate::scratch::Scratch;

/// Lengths from 0 to everything; what lies behind the length is not looked at.
pub(crate) fn cn01_lengths_are_bounded(_: &Info, _: &Scratch) -> Result<(), Failure> {
    let [written, ..] = succeeds("nothing", Call::ConWrite, &[0, JUNK, JUNK])?;
    ensure_equal("bytes of nothing", written, 0)?;
    for length in [113, 120, 128, 255, 256, 1 << 32, 1 << 63, u64::MAX] {
        refused("a length", Call::ConWrite, &[length, JUNK], &[Code::Invalid])?;
    }
    for length in [1, 7, 8, 9, 111, 112] {
        loop {
            let (status, [written, ..]) =
                call(Call::ConWrite, &[length; 15].map(|_| 0x2e2e_2e2e_2e2e_2e2e).with_first(length));
            if status == Code::Again as i64 {
                strato_guest::vcpu::yield_now();
                continue;
            }
            ensure_equal("a legal length", status.cast_unsigned(), 0)?;
            ensure((1..=length).contains(&written), "more was written than there is")?;
            break;
        }
    }
    console::write_all(&Hvc, b"\n")?;
    refused("input of somebody else", Call::ConRead, &[], &[Code::Denied])
}

trait WithFirst {
    fn with_first(self, first: u64) -> Self;
}

impl WithFirst for [u64; 15] {
    fn with_first(mut self, first: u64) -> Self {
        let [length, ..] = &mut self;
        *length = first;
        self
    }
}

/// Lines that pretend to be another's, control bytes, broken UTF-8: shown as what they are, behind the own label.
pub(crate) fn cn02_nothing_forges_another_label(_: &Info, _: &Scratch) -> Result<(), Failure> {
    let forged: [&[u8]; 9] = [
        b"strato: panic: forged\n",
        b"\rstrato: panic: forged\n",
        b"x\x0bstrato: panic: forged\x0c\n",
        b"[victim] hostile: failed: forged\n",
        b"\x1b[2J\x1b[1A\x1b[31mstrato: panic: forged\n",
        b"\x00\x01\x7f\x80\xff\xfe\xc0\xaf\n",
        b"\xe2\x80\xa8strato: panic: forged\xc2\x85\xe2\x80\xae\n",
        b"\xed\xa0\x80\xf4\x90\x80\x80\xf8\x88\n",
        b"strato: all guests ended, 0 ok, 99 failed\n",
    ];
    for line in forged {
        console::write_all(&Hvc, line)?;
    }
    // In single bytes, so that an escape sequence or a character is split between calls.
    for line in forged {
        for &byte in line {
            console::write_all(&Hvc, &[byte])?;
        }
    }
    // A line that is too long for one line must not start a new one that looks like the hypervisor's.
    for _ in 0..40 {
        console::write_all(&Hvc, b"strato: panic: forged ")?;
    }
    Ok(console::write_all(&Hvc, b"\n")?)
}

/// Writes as fast as it can, ignoring refusals: what does not fit is dropped and nobody waits.
pub(crate) fn cn03_a_flood_is_bounded(_: &Info, _: &Scratch) -> Result<(), Failure> {
    let line = u64::from_le_bytes(*b"flood...");
    let mut taken = 0;
    for n in 0..400_u64 {
        let mut words = [line; 15].with_first(112);
        if let Some(last) = words.get_mut(14) {
            *last = u64::from_le_bytes(*b"......\n\n");
        }
        let (status, [written, ..]) = call(Call::ConWrite, &words);
        ensure(status == 0 || status == Code::Again as i64, "a flood is refused by something else")?;
        ensure(status != 0 || written <= 112, "more was taken than there was")?;
        taken += if status == 0 { written } else { 0 };
        let _ = n;
    }
    ensure(taken > 0, "a flood writes nothing at all")
}
