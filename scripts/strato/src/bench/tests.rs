//! Bench: figures found, held against their bars and written.

use super::*;
use crate::report::facts;

fn transcript(text: &str) -> Transcript {
    Transcript { lines: text.lines().map(Into::into).collect() }
}

fn all_rows(bench: &str) -> anyhow::Result<Vec<Row>> {
    let hello = "strato: vm hello: 1048576 bytes of ram, 40960 bytes of overhead\n\
                 strato: first guest instruction at 612345 ticks";
    let (bench, hello) = (transcript(bench), transcript(hello));
    let reserved = transcript("[control] 9 periods of 100 us: 0 missed, at worst 907 ticks late");
    let longest = transcript(
        "[a] longest 77 MEM.FREE: one\n[a] longest 10000 AS.MAP: 128 pages\n[a] longest 9999 CON.WRITE: text\n[b] bench: ok",
    );
    let memory = facts::read(["report: ledger 1000 9000", facts::END]).unwrap();
    let sources = Sources {
        runs: Runs { bench: &bench, guarded: &bench, wide: &bench, reserved: &reserved, hello: &hello },
        cores: &bench,
        cores_guarded: &bench,
        longest: &longest,
        memory: &memory,
        text_bytes: 70_000,
        image_bytes: 100_000,
    };
    rows("virt-gicv2", &sources)
}

const BENCH: &str = "strato: vm b: 1048576 bytes of ram, 1 bytes of overhead\n\
    strato: vm a: 67108864 bytes of ram, 65536 bytes of overhead\n\
    [a] bench map_4k_batch 18\n[a] bench unmap_4k_batch 2\n[a] bench map_2m 190\n[a] bench page_fault_map_return 600\n[a] bench null_call 47\n[a] bench event_send 90\n[a] bench yield_alone 59\n[b] x\n[a] bench map_4k 1\n\
    [a] bench event_round_trip_two_vms_one_core 850\n[a] bench signal_wait_round_trip 7\n[c] bench preempt_to_first_instruction 8\n[a] bench yield_round_trip_two_vms_one_core 2\n[a] bench unmap_4k 3\n\
     [a] bench share_accept_map 4\n[a] bench share_relinquish 5\n[a] bench ring_message_64b 6\n[a] bench timer_to_handler 7\n[a] bench local_timer_to_handler 8\n[a] bench event_send_to_handler_self 9\n[a] bench event_to_idle_core 10";

#[test]
fn every_figure_is_found_and_held_against_its_bar() {
    let rows = all_rows(BENCH).unwrap();
    assert_eq!(rows.len(), FIGURES.len() + GUARDED.len());
    let missed: Vec<_> = rows.iter().filter(|row| !row.is_within()).map(|row| (row.name, row.value)).collect();
    assert_eq!(missed, [("boot_to_first_guest", 612_345)]);
    assert!(table(&rows).contains("612345    300000  instructions  MISSED"));
}

#[test]
fn a_missed_bar_is_accepted_up_to_its_ceiling_and_no_other_is() {
    for miss in ACCEPTED {
        let row = |value| Row { name: miss.name, value, unit: Unit::Bytes, board: String::new(), bar: Some(1) };
        assert!(row(1).is_accepted() && row(miss.ceiling).is_accepted() && !row(miss.ceiling).is_within());
        assert!(!row(miss.ceiling + 1).is_accepted());
    }
    let rows = all_rows(BENCH).unwrap();
    let refused: Vec<_> = rows.iter().filter(|row| !row.is_accepted()).map(|row| row.name).collect();
    assert_eq!(refused, ["boot_to_first_guest"]);
}

#[test]
fn a_figure_that_is_not_there_is_an_error() {
    let error = all_rows(&BENCH.replace("unmap_4k", "unmap_8k")).unwrap_err();
    assert_eq!(error.to_string(), "virt-gicv2 gave no figure `unmap_4k`");
}

#[test]
fn a_row_is_written_as_results_are_read() {
    let row = Row { name: "null_call", value: 77, unit: Unit::Instructions, board: "virt-gicv2".into(), bar: Some(80) };
    let json = r#"{"name":"null_call","value":77,"unit":"instructions","board":"virt-gicv2"}"#;
    assert_eq!(serde_json::to_string(&row).unwrap(), json);
}
