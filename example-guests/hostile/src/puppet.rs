//! The puppet: a VM that does what another one writes into a page that both have, so that a case has both ends of a share in its
//! hands, and on another core. Everything in the page is an answer or an order; neither side trusts what it means.

use strato_guest::abi::{Call, Code};
use strato_guest::memory::Window;
use strato_guest::{Failure, Info, ensure_equal, vcpu};

use crate::raw::{Random, id};
use crate::scratch::{ipa, peek};

// Words of the page, in bytes.
const ASKED: u64 = 0;
const DONE: u64 = 8;
const WHAT: u64 = 16;
const ARGUMENTS: u64 = 24;
const RESULTS: u64 = 80;
const PROGRESS: u64 = 144;
const PEER: u64 = 152;
const STOP: u64 = 160;

// What is asked for, besides calls, which are asked for by their number.
const LOAD: u64 = 1;
const STORE: u64 = 2;
const READ_ON: u64 = 3;
const CHURN: u64 = 4;
const END: u64 = 5;
const SCRIBBLE: u64 = 6;

/// A puppet, as the one who moves it sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Puppet {
    page: Window,
    /// Its handle for the VM that moves it.
    pub(crate) peer: u64,
}

/// Returns the page of the strings of this name.
fn page(info: &Info, name: &'static str) -> Result<Window, Failure> {
    let strings = info.mem(name)?.address.ok_or("the strings are mapped nowhere")?;
    Ok(Window::new(strings, 4096).ok_or("the strings lie in the image")?)
}

impl Puppet {
    /// Returns the puppet once it is there.
    pub(crate) fn new(info: &Info) -> Result<Self, Failure> {
        Self::behind(info, "strings")
    }

    /// Returns the one behind these strings.
    pub(crate) fn behind(info: &Info, strings: &'static str) -> Result<Self, Failure> {
        let page = page(info, strings)?;
        while page.load(PEER)? == 0 {
            vcpu::yield_now();
        }
        Ok(Self { page, peer: page.load(PEER)? })
    }

    /// Begins what is asked for.
    fn begin(&self, what: u64, arguments: &[u64]) -> Result<(), Failure> {
        for (n, &argument) in (0..7).zip(arguments.iter().chain([0; 7].iter())) {
            self.page.store(ARGUMENTS + n * 8, argument)?;
        }
        self.page.store(PROGRESS, 0)?;
        self.page.store(STOP, 0)?;
        self.page.store(WHAT, what)?;
        Ok(self.page.store(ASKED, self.page.load(ASKED)? + 1)?)
    }

    /// Waits for the answer to what was begun.
    pub(crate) fn finish(&self) -> Result<[u64; 8], Failure> {
        while self.page.load(DONE)? != self.page.load(ASKED)? {
            vcpu::yield_now();
        }
        let mut results = [0; 8];
        for (n, result) in (0..).zip(&mut results) {
            *result = self.page.load(RESULTS + n * 8)?;
        }
        Ok(results)
    }

    fn ask(&self, what: u64, arguments: &[u64]) -> Result<[u64; 8], Failure> {
        self.begin(what, arguments)?;
        self.finish()
    }

    /// Returns x0 to x7 after the puppet's call.
    pub(crate) fn call(&self, call: Call, arguments: &[u64]) -> Result<[u64; 8], Failure> {
        self.ask(call.function_id().into(), arguments)
    }

    /// Returns x1 to x7 of the puppet's call, which succeeds.
    pub(crate) fn succeeds(&self, what: &'static str, call: Call, arguments: &[u64]) -> Result<[u64; 7], Failure> {
        let [status, results @ ..] = self.call(call, arguments)?;
        ensure_equal(what, status, 0).map(|()| results)
    }

    /// Returns nothing if the puppet's call is refused with `code`.
    pub(crate) fn refused(&self, what: &'static str, call: Call, arguments: &[u64], code: Code) -> Result<(), Failure> {
        let [status, ..] = self.call(call, arguments)?;
        ensure_equal(what, status, (code as i64).cast_unsigned())
    }

    /// Returns what the puppet loads at `address`, or `None` when that faults.
    pub(crate) fn load(&self, address: u64) -> Result<Option<u64>, Failure> {
        let [is_there, value, ..] = self.ask(LOAD, &[address])?;
        Ok((is_there != 0).then_some(value))
    }

    /// Lets the puppet store `value`; returns whether that did not fault.
    pub(crate) fn store(&self, address: u64, value: u64) -> Result<bool, Failure> {
        Ok(self.ask(STORE, &[address, value])?.first() != Some(&0))
    }

    /// Lets the puppet load from `address` without an exit until that faults, and returns once it has begun.
    pub(crate) fn read_on(&self, address: u64, expected: u64) -> Result<(), Failure> {
        self.begin(READ_ON, &[address, expected])?;
        while self.page.load(PROGRESS)? < 100 {
            vcpu::yield_now();
        }
        Ok(())
    }

    /// Lets the puppet accept, map, read and give back `rounds` times, or until [`Puppet::enough`], whatever is offered meanwhile.
    pub(crate) fn churn(&self, rounds: u64, address: u64) -> Result<(), Failure> {
        self.begin(CHURN, &[rounds, address])
    }

    /// Lets the puppet store anything in the page at `address` until [`Puppet::enough`].
    pub(crate) fn scribble(&self, address: u64) -> Result<(), Failure> {
        self.begin(SCRIBBLE, &[address])
    }

    /// Returns how often the puppet has done what it does over and over.
    pub(crate) fn progress(&self) -> Result<u64, Failure> {
        Ok(self.page.load(PROGRESS)?)
    }

    /// Waits until the puppet has done more of what it does over and over.
    pub(crate) fn more(&self) -> Result<(), Failure> {
        let before = self.progress()?;
        while self.progress()? == before {
            vcpu::yield_now();
        }
        Ok(())
    }

    /// Ends what has no end by itself.
    pub(crate) fn enough(&self) -> Result<[u64; 8], Failure> {
        self.page.store(STOP, 1)?;
        self.finish()
    }

    /// Ends the puppet's VM.
    pub(crate) fn end(&self) -> Result<(), Failure> {
        self.begin(END, &[])
    }
}

/// Serves the VM behind the strings until it says that it is enough.
pub(crate) fn serve(info: &Info) -> Result<(), Failure> {
    let strings = if info.option("strings") == Some("other") { "other" } else { "strings" };
    let page = page(info, strings)?;
    page.store(PEER, u64::from(info.peer("attacker")?.0.bits()))?;
    loop {
        let asked = page.load(ASKED)?;
        if asked == page.load(DONE)? {
            vcpu::yield_now();
            continue;
        }
        let mut arguments = [0; 7];
        for (n, argument) in (0..).zip(&mut arguments) {
            *argument = page.load(ARGUMENTS + n * 8)?;
        }
        let what = page.load(WHAT)?;
        if what == END {
            return Ok(());
        }
        for (n, result) in (0..8).zip(answer(&page, what, arguments)?) {
            page.store(RESULTS + n * 8, result)?;
        }
        page.store(DONE, asked)?;
    }
}

fn answer(page: &Window, what: u64, arguments: [u64; 7]) -> Result<[u64; 8], Failure> {
    let [first, second, ..] = arguments;
    match what {
        LOAD => {
            let loaded = peek(first);
            Ok([loaded.is_ok().into(), loaded.unwrap_or(0), 0, 0, 0, 0, 0, 0])
        }
        STORE => {
            let stored = Window::new(ipa(first)?, 8).is_some_and(|word| word.store(0, second).is_ok());
            Ok([stored.into(), 0, 0, 0, 0, 0, 0, 0])
        }
        READ_ON => read_on(page, first, second),
        CHURN => churn(page, first, second),
        SCRIBBLE => scribble(page, first),
        number => {
            let (status, results) = id(number as u32, &arguments);
            let mut all = [status.cast_unsigned(), 0, 0, 0, 0, 0, 0, 0];
            for (to, from) in all.iter_mut().skip(1).zip(results) {
                *to = from;
            }
            Ok(all)
        }
    }
}

/// Loads without an exit until it faults. Returns the loads, and how many were not what was expected.
fn read_on(page: &Window, address: u64, expected: u64) -> Result<[u64; 8], Failure> {
    let word = Window::new(ipa(address)?, 8).ok_or("no window")?;
    let (mut loads, mut strange) = (0_u64, 0_u64);
    while let Ok(value) = word.load(0) {
        loads += 1;
        strange += u64::from(value != expected);
        page.store(PROGRESS, loads)?;
    }
    Ok([loads, strange, 0, 0, 0, 0, 0, 0])
}

/// Stores anything anywhere in a page. Returns how many stores there were, and how many faulted.
fn scribble(page: &Window, address: u64) -> Result<[u64; 8], Failure> {
    let window = Window::new(ipa(address)?, 4096).ok_or("no window")?;
    let mut random = Random(0x5c71_bb1e);
    let (mut stores, mut faults) = (0, 0);
    while page.load(STOP)? == 0 {
        for _ in 0..64 {
            // The words of a header more often than others, and small numbers more often than large ones.
            let words = if random.below(2) == 0 { 32 } else { 512 };
            let (word, value, shift) = (random.below(words), random.next(), random.below(64));
            faults += u64::from(window.store(word * 8, if shift < 32 { value % 128 } else { value }).is_err());
            stores += 1;
        }
        page.store(PROGRESS, stores)?;
        vcpu::yield_now();
    }
    Ok([stores, faults, 0, 0, 0, 0, 0, 0])
}

/// Returns how often something was accepted, and how many answers were none of those that can be, or words not zero.
fn churn(page: &Window, rounds: u64, address: u64) -> Result<[u64; 8], Failure> {
    const LEGAL: [Code; 7] =
        [Code::Empty, Code::Stale, Code::BadHandle, Code::Revoked, Code::NotMapped, Code::State, Code::Denied];
    let peer = page.load(PEER)?;
    let (mut accepted, mut strange, mut seen) = (0, 0, 0);
    let mut legal = |call: Call, arguments: &[u64]| {
        let (status, results) = id(call.function_id(), arguments);
        let is_legal = status == 0 || LEGAL.iter().any(|&code| code as i64 == status);
        strange += u64::from(!is_legal);
        (status == 0).then_some(results)
    };
    for _ in 0..rounds {
        if page.load(STOP)? != 0 {
            break;
        }
        let Some([mem, pages, ..]) = legal(Call::ShareAccept, &[peer, 0, 0]) else {
            vcpu::yield_now();
            continue;
        };
        accepted += 1;
        page.store(PROGRESS, accepted)?;
        legal(Call::AsMap, &[0, address, mem, 0, pages, 1]);
        if accepted % 2 == 0 {
            vcpu::yield_now(); // on one core it can be taken away while it is mapped only if its owner runs now
        }
        seen += u64::from(peek(address).is_ok_and(|word| word != 0));
        for _ in 0..64 {
            if legal(Call::ShareRelinquish, &[mem]).is_none_or(|[left, ..]| left == 0) {
                break;
            }
        }
    }
    Ok([accepted, strange + seen, 0, 0, 0, 0, 0, 0])
}
