//! Selftest: the turn of a system among those of a series, and the report on all of them. Called once by `start`, before anything is built; what
//! becomes of the system that is chosen is noted as it ends.

use core::fmt::{self, Write};

use log::Level;
use strato_abi::plan::SCENARIO_REPORT;
use strato_abi::version::{ABI_VERSION, major, minor};

use super::{Parts, refuse, secondary};
use crate::arch::core_base::{CoreIndex, MAX_CORES};
use crate::arch::{firmware, panic, timer};
use crate::console::say;
use crate::plan::{self, Plan};
use crate::series::{self, Progress, REPORT_ENDS};

/// Returns the plan of the series that begins with `first` whose turn it is on `cores`, a bit for each that runs. When all had their turns it
/// reports, and powers the machine off.
pub(super) fn choose(parts: &mut Parts, first: &Plan<'static>, cores: u8) -> Plan<'static> {
    let Some(record) = parts.record.take() else {
        refuse(&"no memory of this machine survives a reset, as a series needs it")
    };
    let count = u32::try_from(plan::series(parts.payload).count()).unwrap_or(0);
    let progress = series::begin(record, first.header.build_id, count);
    let Some(bytes) = plan::series(parts.payload).nth(progress.turn()) else {
        report(parts, cores, &progress);
        line(parts, format_args!("{REPORT_ENDS}"));
        firmware::system_off();
        panic::park()
    };
    let plan = super::start::check(parts, bytes);
    if let Some(scenario) = plan.scenario() {
        if scenario.flags & SCENARIO_REPORT != 0 {
            report(parts, cores, &progress);
        }
        let turn = progress.turn().saturating_add(1);
        line(parts, format_args!("self-test: {turn} of {}: {}", u64::from(count), Name(&scenario.name)));
    }
    plan
}

/// A name as a record has it.
struct Name<'n>(&'n [u8]);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take_while(|&&byte| byte != 0).try_for_each(|&byte| f.write_char(char::from(byte)))
    }
}

/// Says a line, and sends it before the next is made: none is lost, and nothing else waits for the UART yet.
#[cold]
#[inline(never)]
fn line(parts: &Parts, text: fmt::Arguments<'_>) {
    say(Level::Info, text);
    parts.console.drain();
}

/// Says what ran, where, and how each system ended that had its turn.
#[cold]
#[inline(never)]
fn report(parts: &Parts, cores: u8, progress: &Progress) {
    secondary::identify(CoreIndex::BOOT);
    line(parts, format_args!("self-test: report begins"));
    super::greet(&parts.board, &parts.gic);
    let firmware = if parts.board.firmware.is_empty() { "not told" } else { &parts.board.firmware };
    let [abi, sub] = [major(ABI_VERSION), minor(ABI_VERSION)].map(u64::from);
    line(parts, format_args!("self-test: ABI {abi}.{sub}, counter {} Hz, firmware {firmware}", timer::frequency()));
    for core in (0..MAX_CORES).filter(|core| cores >> core & 1 != 0) {
        let (midr, revidr) = secondary::identity(core);
        line(parts, format_args!("self-test: core {core}: MIDR {midr:#x}, REVIDR {revidr:#x}"));
    }
    let (mut passed, mut failed) = (0_u64, 0_u64);
    for (bytes, verdict) in plan::series(parts.payload).zip(progress.verdicts).take(progress.turn()) {
        *(if verdict.is_pass() { &mut passed } else { &mut failed }) += 1;
        let plan = Plan::check(bytes).ok();
        let scenario = plan.as_ref().and_then(Plan::scenario);
        let name = Name(scenario.map_or(&[], |scenario| &scenario.name));
        line(parts, format_args!("self-test: {name}: {verdict}"));
    }
    line(parts, format_args!("self-test: {passed} passed, {failed} failed"));
}
