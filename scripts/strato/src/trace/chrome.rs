//! Chrome: the trace as Chrome trace events in JSON (the "Trace Event Format"), which Perfetto and chrome://tracing open. A process
//! `cores` has a row per core; each VM is a process with a row per vCPU.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use strato_abi::trace::NOBODY;

use super::{Trace, runs, words};
use crate::transcript::backtrace::Symbols;

/// Process id of the cores; a VM in place `n` has `n + 1`.
const CORES: u64 = 0;

/// Returns the whole file. `symbols` are those of each VM, by place.
#[must_use]
pub fn json(trace: &Trace, symbols: &[Option<Symbols<'_>>]) -> Value {
    let mut events = names(trace);
    let (first, _) = trace.span();
    for core in &trace.cores {
        // Microseconds since the first record. A counted machine has 10^9 ticks a second.
        #[allow(clippy::cast_precision_loss, reason = "53 bits of ticks are months")]
        let micros = |ticks: u64| ticks as f64 * 1e6 / core.counter_hz.max(1) as f64;
        let slice = |name: &str, category: &str, row: (u64, u64), start: u64, ticks: u64, args: Value| {
            json!({ "name": name, "cat": category, "ph": "X", "ts": micros(start - first), "dur": micros(ticks),
                "pid": row.0, "tid": row.1, "args": args })
        };
        let row = (CORES, u64::from(core.core));
        for run in runs::runs(core) {
            let who = trace.who(run.vm, run.vcpu);
            let stopped = run.last.map_or("to the end of the trace", |last| runs::why(last).word());
            let by = run.last.map(words::full);
            let ticks = run.end.saturating_sub(run.start);
            let args = json!({ "stopped": stopped, "by": by, "core": core.core });
            events.push(slice(&who, "guest", row, run.start, ticks, args.clone()));
            events.push(slice(&who, "guest", (u64::from(run.vm) + 1, run.vcpu.into()), run.start, ticks, args));
        }
        for record in core.records.iter().filter(|record| record.from_vm != NOBODY) {
            let pc = words::pc(record);
            let symbol = symbols.get(usize::from(record.from_vm)).and_then(Option::as_ref);
            let args = json!({
                "guest": trace.who(record.from_vm, record.from_vcpu), "trap": words::full(record),
                "decision": words::decision(trace, record), "pc": format!("{pc:#x}"),
                "symbol": symbol.and_then(|symbols| symbols.label(pc)), trace.unit(): record.spent,
            });
            events.push(slice(&words::name(record), words::room(record), row, record.start, record.took.into(), args));
            for vcpu in (0u8..8).filter(|bit| record.woken_vcpus >> bit & 1 != 0) {
                let woken = (u64::from(record.woken_vm) + 1, u64::from(vcpu));
                events
                    .push(json!({ "name": "told of an event", "ph": "i", "s": "t", "ts": micros(record.start - first),
                    "pid": woken.0, "tid": woken.1, "args": { "by": trace.who(record.from_vm, record.from_vcpu) } }));
            }
        }
    }
    let lost: Vec<u64> = trace.cores.iter().map(|core| core.lost).collect();
    json!({ "traceEvents": events, "displayTimeUnit": "ns",
        "otherData": { "system": trace.system, "tick": trace.unit(), "lost": lost } })
}

fn names(trace: &Trace) -> Vec<Value> {
    let process =
        |pid: u64, name: &str| json!({ "name": "process_name", "ph": "M", "pid": pid, "args": { "name": name } });
    let thread = |pid: u64, tid: u64, name: String| json!({ "name": "thread_name", "ph": "M", "pid": pid, "tid": tid, "args": { "name": name } });
    let mut events = vec![process(CORES, "cores")];
    events.extend(trace.cores.iter().map(|core| thread(CORES, core.core.into(), format!("core {}", core.core))));
    events.extend((1..).zip(&trace.vms).map(|(pid, label)| process(pid, label)));
    let vcpus: BTreeSet<(u8, u8)> = trace
        .records()
        .iter()
        .map(|(_, record)| (record.to_vm, record.to_vcpu))
        .filter(|who| who.0 != NOBODY)
        .collect();
    events.extend(vcpus.iter().map(|(vm, vcpu)| thread(u64::from(*vm) + 1, u64::from(*vcpu), trace.who(*vm, *vcpu))));
    events
}
