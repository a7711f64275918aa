//! Words: what a record says, for people: the trap, the room that answers it, and what came of it. Names and arguments of calls
//! come from the one table of the ABI.

use strato_abi::console::CONSOLE_BYTES;
use strato_abi::trace::{CAUSE_MAIL, CAUSE_TIMER, Crossing, Decision, Record};
use strato_abi::{Call, Code, Detail, Group};

use super::Trace;

/// Exception classes, ESR_ELx.EC (Arm ARM DDI 0487).
const WFX: u64 = 0x01;
const FP: u64 = 0x07;
const HVC: u64 = 0x16;
const SMC: u64 = 0x17;
const REGISTER: u64 = 0x18;
const INSTRUCTION_ABORT: u64 = 0x20;

/// Functions of PSCI and SMCCC that guests call (Arm DEN 0022, DEN 0028), without the bit for 64-bit arguments.
const SERVICES: [(u32, &str); 9] = [
    (0x8000_0000, "SMCCC_VERSION"),
    (0x8400_0000, "PSCI_VERSION"),
    (0x8400_0002, "CPU_OFF"),
    (0x8400_0003, "CPU_ON"),
    (0x8400_0004, "AFFINITY_INFO"),
    (0x8400_0008, "SYSTEM_OFF"),
    (0x8400_0009, "SYSTEM_RESET"),
    (0x8400_000a, "PSCI_FEATURES"),
    (0x8600_ff01, "UID"),
];

/// Returns the call that a record is about.
#[must_use]
pub fn call(record: &Record) -> Option<Call> {
    let crossing = Crossing::from_u8(record.crossing)?;
    if crossing == Crossing::Call {
        return Call::from_number(u16::try_from(record.number).ok()?);
    }
    let is_own = crossing == Crossing::Trap && class(record) == HVC && record.syndrome & 0xffff == 0;
    if is_own { Call::from_function_id(record.number) } else { None }
}

fn class(record: &Record) -> u64 {
    record.syndrome >> 26 & 0x3f
}

/// Returns the address of the instruction that left.
#[must_use]
pub fn pc(record: &Record) -> u64 {
    let crossing = Crossing::from_u8(record.crossing);
    let is_hvc = crossing == Some(Crossing::Call) || (crossing == Some(Crossing::Trap) && class(record) == HVC);
    if is_hvc { record.pc.wrapping_sub(4) } else { record.pc }
}

/// Returns the trap in a word: the call's name, `abort`, `interrupt`.
#[must_use]
pub fn name(record: &Record) -> String {
    if let Some(call) = call(record) {
        return call.name().into();
    }
    match Crossing::from_u8(record.crossing) {
        Some(Crossing::Call) => "unknown call".into(),
        Some(Crossing::Abort) => "abort".into(),
        Some(Crossing::Trap) => trap(record),
        Some(Crossing::Interrupt) => "interrupt".into(),
        Some(Crossing::SystemError) => "SError".into(),
        Some(Crossing::Aarch32) => "AArch32".into(),
        Some(Crossing::Wake) => "wake".into(),
        None => format!("crossing {}", record.crossing),
    }
}

fn trap(record: &Record) -> String {
    let iss = record.syndrome;
    match class(record) {
        HVC | SMC if iss & 0xffff != 0 => format!("HVC or SMC #{}", iss & 0xffff),
        HVC | SMC => {
            let id = record.number & !(1 << 30);
            let known = SERVICES.iter().find(|(known, _)| *known == id || *known == record.number);
            known.map_or_else(|| format!("service {:#x}", record.number), |(_, name)| (*name).into())
        }
        WFX => "WFI".into(),
        FP => "first use of FP".into(),
        REGISTER => {
            let [op0, op2, op1, crn, crm] =
                [(20, 3), (17, 7), (14, 7), (10, 15), (1, 15)].map(|(shift, mask)| iss >> shift & mask);
            let verb = if iss & 1 == 1 { "MRS" } else { "MSR" };
            format!("{verb} S{op0}_{op1}_C{crn}_C{crm}_{op2}")
        }
        class => format!("exception class {class:#x}"),
    }
}

/// Returns the trap with its arguments.
#[must_use]
pub fn full(record: &Record) -> String {
    if let Some(call) = call(record) {
        return format!("{}({})", call.name(), arguments(call, record).join(", "));
    }
    let [first, second, third, ..] = record.arguments;
    match Crossing::from_u8(record.crossing) {
        Some(Crossing::Abort) => {
            let is_fetch = class(record) == INSTRUCTION_ABORT;
            // ESR_ELx.ISS: WnR is bit 6, CM bit 8.
            let is_write = record.syndrome & 1 << 6 != 0 && record.syndrome & 1 << 8 == 0;
            let what = if is_fetch {
                "fetch"
            } else if is_write {
                "write"
            } else {
                "read"
            };
            format!("{what} of {first:#x}")
        }
        Some(Crossing::Interrupt | Crossing::Wake) => format!("{} ({})", name(record), cause(record.number)),
        Some(Crossing::Trap) if [HVC, SMC].contains(&class(record)) => {
            format!("{}({})", name(record), [first, second, third].map(number).join(", "))
        }
        _ => name(record),
    }
}

fn cause(bits: u32) -> &'static str {
    match (bits & CAUSE_TIMER != 0, bits & CAUSE_MAIL != 0) {
        (true, true) => "timer, request",
        (true, false) => "timer",
        (false, true) => "request",
        (false, false) => "device",
    }
}

fn arguments(call: Call, record: &Record) -> Vec<String> {
    let mut shown = Vec::new();
    for (at, (name, value)) in call.arguments().iter().zip(record.arguments).enumerate() {
        if call == Call::ConWrite && at == 1 {
            let kept = record.arguments.get(1..).unwrap_or_default();
            let bytes: Vec<u8> = kept.iter().flat_map(|word| word.to_le_bytes()).collect();
            let [length, ..] = record.arguments;
            let length = usize::try_from(length).unwrap_or(CONSOLE_BYTES);
            let text = String::from_utf8_lossy(bytes.get(..length.min(bytes.len())).unwrap_or_default()).into_owned();
            let more = if length > bytes.len() { "..." } else { "" };
            shown.push(format!("{name}={text:?}{more}"));
        } else {
            shown.push(format!("{name}={}", number(value)));
        }
    }
    shown
}

/// Returns a number as it is best read.
fn number(value: u64) -> String {
    match value {
        u64::MAX => "all ones".into(),
        0..4096 => value.to_string(),
        _ => format!("{value:#x}"),
    }
}

/// Returns the room that answers.
#[must_use]
pub fn room(record: &Record) -> &'static str {
    match call(record).map(Call::group) {
        Some(Group::Vcpu) => "scheduler",
        Some(Group::Mem) => "allocator",
        Some(Group::AddressSpace) => "memory",
        Some(Group::Share) => "vm",
        Some(Group::Event) => "events",
        Some(Group::Console) => "console",
        Some(_) => "hypercall",
        None => match Crossing::from_u8(record.crossing) {
            Some(Crossing::Call) => "hypercall",
            Some(Crossing::Interrupt | Crossing::Wake) => "dispatcher",
            _ => "interpreter",
        },
    }
}

/// Returns what was decided, whom it woke, and who has the core then if that is somebody else.
#[must_use]
pub fn decision(trace: &Trace, record: &Record) -> String {
    let mut text = decided(record);
    let woken = (0..8).filter(|bit| record.woken_vcpus >> bit & 1 != 0).map(|bit| trace.who(record.woken_vm, bit));
    let woken: Vec<String> = woken.collect();
    if !woken.is_empty() {
        text.push_str(&format!(", wakes {}", woken.join(" ")));
    }
    if (record.to_vm, record.to_vcpu) != (record.from_vm, record.from_vcpu) {
        text.push_str(&format!(", core to {}", trace.who(record.to_vm, record.to_vcpu)));
    }
    text
}

fn decided(record: &Record) -> String {
    let [x0, x1, x2, x3] = record.results;
    match Decision::from_u8(record.decision) {
        Some(Decision::Stay) if record.crossing == Crossing::Abort as u8 => match x0 {
            0 => "tried again".into(),
            _ => "delivered to the guest".into(),
        },
        Some(Decision::Stay) if record.crossing == Crossing::Wake as u8 => "goes on".into(),
        Some(Decision::Stay | Decision::Reply) => answer(record),
        Some(Decision::Resume) => "goes on".into(),
        Some(Decision::Service) => format!("answers {}", signed(x0)),
        Some(Decision::Yield) => "gives way".into(),
        Some(Decision::Wait) if x0 != u64::MAX => format!("waits, at most until {x0}"),
        Some(Decision::Wait | Decision::Halt) => "waits".into(),
        Some(Decision::Schedule) if x1 == 0 => format!("runs by no share, on core {x0}"),
        Some(Decision::Schedule) => format!("runs by a share of core {x0}, {x2} of each {x3} ticks"),
        Some(Decision::Off) => "turns itself off".into(),
        Some(Decision::Exit) => format!("ends its VM, code {x0}"),
        Some(Decision::Crash) => format!("reports a crash at {x1:#x}"),
        Some(Decision::Stop) => "its VM is stopped".into(),
        None => format!("decision {}", record.decision),
    }
}

fn signed(value: u64) -> String {
    let value = value.cast_signed();
    if (-4096..0).contains(&value) { value.to_string() } else { number(value.cast_unsigned()) }
}

/// Returns results by name, or why the call is refused.
fn answer(record: &Record) -> String {
    let call = call(record);
    let [x0, x1, ..] = record.results;
    if x0 == 0 {
        let names = call.map(Call::results).unwrap_or_default();
        let values = record.results.iter().skip(1);
        let results: Vec<String> =
            names.iter().zip(values).map(|(name, value)| format!("{name}={}", number(*value))).collect();
        return if results.is_empty() { "ok".into() } else { format!("ok {}", results.join(" ")) };
    }
    let code = Code::from_i64(x0.cast_signed()).map_or_else(|| signed(x0), |code| code.name().into());
    let detail = Detail::from_bits(x1);
    let argument = detail.argument().checked_sub(1);
    let argument = argument.and_then(|at| call.and_then(|call| call.arguments().get(at)));
    match (argument, detail.reason()) {
        (Some(argument), Some(reason)) => format!("{code}: {argument} {}", reason.text()),
        _ => code,
    }
}
