//! The trace from bytes in memory to what people see: lines that are known to the letter, JSON that Perfetto takes, a picture that is
//! well-formed; and a ring that is not one is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may panic"
)]

use strato_abi::trace::{
    CAUSE_TIMER, Crossing, Decision, NOBODY, Record, RingHeader, SLOT_BYTES, TRACE_MAGIC, TRACE_VERSION,
};
use strato_abi::{Call, Code, Detail, Reason};
use strato_cli::trace::runs::{self, Why};
use strato_cli::trace::{Core, Trace, announced, chrome, explain, svg};
use zerocopy::IntoBytes;

/// Returns the bytes of a ring of `capacity` records into which `records` were written.
fn ring(core: u32, capacity: u64, records: &[Record]) -> Vec<u8> {
    let header = RingHeader {
        magic: TRACE_MAGIC,
        version: TRACE_VERSION,
        slot_bytes: SLOT_BYTES as u32,
        core,
        reserved: 0,
        capacity,
        written: records.len() as u64,
        counter_hz: 1_000_000_000,
        build_id: 7,
        rest: [0; 9],
    };
    let mut slots = vec![Record::default(); capacity as usize];
    for (n, record) in records.iter().enumerate() {
        slots[n % capacity as usize] = Record { serial: n as u32, ..*record };
    }
    [header.as_bytes(), slots.as_bytes()].concat()
}

fn record(start: u64, from: (u8, u8), to: (u8, u8), crossing: Crossing, decision: Decision) -> Record {
    Record {
        start,
        pc: 0x4000_1004,
        took: 90,
        spent: 50,
        crossing: crossing as u8,
        decision: decision as u8,
        from_vm: from.0,
        from_vcpu: from.1,
        to_vm: to.0,
        to_vcpu: to.1,
        ..Record::default()
    }
}

/// A small system: `ping` with two vCPUs, and `a<b`, whose name is none that XML likes.
fn small() -> Trace {
    let (p0, p1, q, none) = ((0, 0), (0, 1), (1, 0), (NOBODY, 0));
    let call = |start, from, to, call: Call, decision, arguments, results| Record {
        number: call as u32,
        arguments,
        results,
        ..record(start, from, to, Crossing::Call, decision)
    };
    let denied = [(Code::Denied as i64).cast_unsigned(), Detail::new(2, Reason::NoRight, 0).bits(), 0, 0];
    let mut send = call(2_000, p0, q, Call::EvtSend, Decision::Reply, [0x1_0002, 0, 0, 0, 0, 0], [0; 4]);
    (send.woken_vm, send.woken_vcpus) = (1, 1);
    let mut text = [0; 6];
    text.as_mut_bytes()[..13].copy_from_slice(b"\x05\0\0\0\0\0\0\0hell\n");
    let write = Record {
        number: Call::ConWrite.function_id(),
        syndrome: 0x5a00_0000,
        arguments: text,
        results: [0, 5, 0, 0],
        ..record(4_500, p1, p1, Crossing::Trap, Decision::Reply)
    };
    let trap = |start, syndrome, number, decision, results| Record {
        syndrome,
        number,
        results,
        ..record(start, p1, p1, Crossing::Trap, decision)
    };
    let abort = |start, syndrome, decision, to, first| Record {
        syndrome,
        arguments: [0x5000_0010, 0, 0, 0, 0, 0],
        results: [first, 0, 0, 0],
        ..record(start, p1, to, Crossing::Abort, decision)
    };
    let records = [
        record(100, none, p0, Crossing::Wake, Decision::Stay),
        call(1_000, p0, p0, Call::CoreNop, Decision::Stay, [0; 6], [0, 1, 0, 0]),
        call(1_500, p0, p0, Call::AsMap, Decision::Stay, [0, 0x5000_0000, 0x3, 0, 1, 3], denied),
        send,
        call(3_000, q, p1, Call::VcpuWait, Decision::Wait, [u64::MAX, 0, 0, 0, 0, 0], [u64::MAX, 0, 0, 0]),
        write,
        trap(4_700, 0x17 << 26, 0x8400_0000, Decision::Service, [0x1_0001, 0, 0, 0]),
        trap(4_800, 0x18 << 26 | 3 << 20 | 1, 0, Decision::Resume, [0; 4]),
        abort(4_900, 0x24 << 26 | 1 << 6, Decision::Stay, p1, 1),
        Record { number: CAUSE_TIMER, ..record(5_000, p1, p0, Crossing::Interrupt, Decision::Resume) },
        call(5_600, p0, p1, Call::VcpuSchedSet, Decision::Schedule, [0x1_0003, 2, 0, 0, 0, 0], [1, 1, 500, 9_000]),
        call(5_800, p1, p0, Call::VcpuSchedSet, Decision::Schedule, [0; 6], [0, 0, 0, 0]),
        call(6_000, p0, p1, Call::VcpuYield, Decision::Yield, [0; 6], [0; 4]),
        abort(7_000, 0x20 << 26, Decision::Stop, none, 0),
    ];
    let core = Core::read(&ring(0, 40, &records)).unwrap();
    let other = Core::read(&ring(1, 40, &[record(150, none, none, Crossing::Wake, Decision::Stay)])).unwrap();
    Trace { system: "small".into(), vms: vec!["ping".into(), "a<b".into()], is_counted: true, cores: vec![core, other] }
}

#[test]
fn the_explanation_is_the_golden_one() {
    let text = explain::lines(&small(), &[], None).join("\n") + "\n";
    if std::env::var_os("STRATO_BLESS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/explain.txt"), &text).unwrap();
    }
    assert_eq!(text, include_str!("golden/explain.txt"));
}

#[test]
fn one_vm_alone_can_be_explained_and_ticks_are_not_called_instructions() {
    let trace = Trace { is_counted: false, ..small() };
    let lines = explain::lines(&trace, &[], Some("a<b"));
    assert!(lines[0].contains("not instructions") && lines[1].ends_with("ticks"), "{lines:#?}");
    assert!(lines.len() == 3 && lines[2].contains("VCPU.WAIT(deadline=all ones)"), "{lines:#?}");
}

#[test]
fn runs_end_when_the_core_goes_to_somebody_else() {
    let trace = small();
    let runs = runs::runs(&trace.cores[0]);
    let seen: Vec<_> = runs.iter().map(|run| (run.vm, run.vcpu, run.start, run.end, run.last.map(runs::why))).collect();
    let expected = [
        (0, 0, 190, 2_000, Some(Why::Displaced)),
        (1, 0, 2_090, 3_000, Some(Why::Waits)),
        (0, 1, 3_090, 5_000, Some(Why::Displaced)),
        (0, 0, 5_090, 5_600, Some(Why::Moves)),
        (0, 1, 5_690, 5_800, Some(Why::Moves)),
        (0, 0, 5_890, 6_000, Some(Why::Yields)),
        (0, 1, 6_090, 7_000, Some(Why::Stopped)),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn the_json_is_what_the_trace_event_format_wants() {
    let value: serde_json::Value = serde_json::from_str(&chrome::json(&small(), &[]).to_string()).unwrap();
    let events = value["traceEvents"].as_array().unwrap();
    let of = |phase: &str| events.iter().filter(|event| event["ph"] == phase).collect::<Vec<_>>();
    assert_eq!((of("X").len(), of("i").len(), of("X").len() + of("i").len() + of("M").len()), (27, 1, events.len()));
    for event in events {
        assert!(event["name"].is_string() && event["pid"].is_u64() && event["args"].is_object(), "{event}");
        let numbers = ["ts", "dur"].map(|key| event[key].as_f64());
        match event["ph"].as_str().unwrap() {
            "X" => assert!(numbers.iter().all(|number| number.is_some_and(|n| n >= 0.0)), "{event}"),
            "i" => assert!(numbers[0].is_some() && event["s"] == "t", "{event}"),
            _ => assert!(event["args"]["name"].is_string(), "{event}"),
        }
    }
    // Slices of a row nest or follow each other: anything else is drawn wrong.
    let mut slices: Vec<_> = of("X")
        .iter()
        .map(|event| {
            (
                event["pid"].as_u64(),
                event["tid"].as_u64(),
                event["ts"].as_f64().unwrap(),
                event["dur"].as_f64().unwrap(),
            )
        })
        .collect();
    slices.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)).then(b.3.total_cmp(&a.3)));
    for (a, b) in slices.iter().zip(&slices[1..]).filter(|(a, b)| (a.0, a.1) == (b.0, b.1)) {
        let (end, other) = (a.2 + a.3, b.2 + b.3);
        assert!(b.2 >= end - 1e-9 || other <= end + 1e-9, "{a:?} {b:?}");
    }
    let nop = events.iter().find(|event| event["name"] == "CORE.NOP").unwrap();
    assert_eq!((&nop["cat"], nop["args"]["instructions"].as_u64()), (&"hypercall".into(), Some(50)));
    assert_eq!(nop["ts"].as_f64(), Some(0.9), "microseconds since the first record");
    assert_eq!(value["otherData"]["lost"], serde_json::json!([0, 0]));
}

/// Checks that every tag is closed in order and that nothing else has angle brackets.
fn well_formed(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>'), "a bracket in text: {}", &rest[..at]);
        let (tag, behind) = rest[at + 1..].split_once('>').expect("a tag has an end");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        rest = behind;
    }
    assert_eq!(open, Vec::<&str>::new());
    for entity in text.split('&').skip(1) {
        assert!(["amp;", "lt;", "gt;"].iter().any(|known| entity.starts_with(known)), "&{entity}");
    }
}

#[test]
fn the_picture_is_well_formed_and_names_lanes_vms_and_reasons() {
    let text = svg::picture(&small());
    well_formed(&text);
    for word in [
        "core 0",
        "core 1",
        ">ping</text>",
        ">a&lt;b</text>",
        "waits",
        "yields",
        "moves",
        "displaced",
        "stopped",
        "instructions",
    ] {
        assert!(text.contains(word), "no {word}");
    }
    assert!(text.contains("ping.0, 1810 instructions from 90; displaced: EVT.SEND(port=0x10002)"), "{text}");
}

#[test]
fn the_axis_of_a_picture_is_right_for_any_frequency_and_its_numbers_are_short() {
    let (a, b) = ((0, 0), (1, 0));
    let axis = |hz: u64, ticks: u64| {
        let records =
            [record(7, a, b, Crossing::Wake, Decision::Stay), record(7 + ticks, b, a, Crossing::Wake, Decision::Stay)];
        let mut core = Core::read(&ring(0, 200, &records)).unwrap();
        core.counter_hz = hz;
        let cores = vec![core];
        svg::picture(&Trace { system: "s".into(), vms: vec!["a".into(), "b".into()], is_counted: false, cores })
    };
    // A second is not a whole number of ticks in each of its microseconds.
    let second = axis(62_500_000, 62_500_000);
    assert!(
        second.contains("<text x=\"1400.0\" y=\"146.0\" text-anchor=\"middle\">1000</text>")
            && second.contains(">milliseconds</text>"),
        "{second}"
    );
    assert!(axis(54_000_000, 54_000_000 * 40).contains(">seconds</text>"));
    assert!(axis(54_000_000, 5_400).contains(">microseconds</text>"));
}

#[test]
fn runs_that_no_eye_tells_apart_are_drawn_as_one() {
    let (a, b) = ((0, 0), (1, 0));
    let turn = |n: u64, from, to| record(1_000_000 + n * 200, from, to, Crossing::Interrupt, Decision::Resume);
    let mut records: Vec<_> = (0..100).map(|n| if n % 2 == 0 { turn(n, a, b) } else { turn(n, b, a) }).collect();
    records.push(record(100_000_000, a, a, Crossing::Interrupt, Decision::Resume));
    let core = Core::read(&ring(0, 200, &records)).unwrap();
    let trace = Trace { system: "many".into(), vms: vec!["a".into(), "b".into()], is_counted: true, cores: vec![core] };
    let text = svg::picture(&trace);
    well_formed(&text);
    assert!(text.contains(" runs, too short to be drawn</title>") && text.matches("<rect").count() < 12, "{text}");
}

#[test]
fn a_ring_that_went_round_tells_what_is_lost_and_trusts_the_oldest_no_more() {
    let records: Vec<_> =
        (0..25).map(|n| record(n * 100, (0, 0), (0, 0), Crossing::Interrupt, Decision::Resume)).collect();
    let core = Core::read(&ring(3, 10, &records)).unwrap();
    assert_eq!((core.core, core.lost, core.records.len(), core.records[0].start), (3, 16, 9, 1_600));
    let trace = Trace { system: "s".into(), vms: vec![], is_counted: true, cores: vec![core] };
    assert_eq!(trace.summary(), "s: 9 crossings on 1 core, 16 older ones are lost: a larger --ring keeps more");
}

#[test]
fn what_is_no_ring_is_refused() {
    let good = ring(0, 4, &[record(0, (0, 0), (0, 0), Crossing::Interrupt, Decision::Resume)]);
    assert!(Core::read(&good).is_ok());
    let spoiled = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0xff;
        Core::read(&bytes).unwrap_err()
    };
    assert!(spoiled(0).contains("does not begin as a ring"));
    assert!(spoiled(8).contains("layout"), "of another version");
    assert!(spoiled(SLOT_BYTES + 36).contains("record 0 is not there"));
    assert!(Core::read(&good[..64]).is_err() && Core::read(&good[..SLOT_BYTES]).is_err());
}

#[test]
fn where_a_ring_stands_is_read_from_the_hypervisors_line_alone() {
    assert_eq!(announced("strato: trace: core 3: 8192 bytes at 0x5fe00000"), Some((0x5fe0_0000, 8192)));
    for line in
        ["[a] strato: trace: core 0: 1 bytes at 0x1", "strato: trace: core 0", "strato: trace: core 0: x bytes at 0x1"]
    {
        assert_eq!(announced(line), None, "{line}");
    }
}
