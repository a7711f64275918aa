//! The specification agrees with the crate: one section per call, every number, name, layout, error and limit.
//!
//! Reads the tables of SPEC.md; the prose is for people. Every check names what to look for when it fails.

mod layouts;

use std::collections::BTreeSet;

use strato_abi::Group;
use strato_abi::limit::LimitKey;
use strato_abi::{Call, Code, Kind, Reason};

const SPEC: &str = include_str!("../SPEC.md");
const TABLE_OF_CALLS: &str = include_str!("../src/call.rs");
const README: &str = include_str!("../../README.md");

/// Returns the cells of a table row, without the outer bars; an escaped bar belongs to its cell.
fn cells(line: &str) -> Vec<String> {
    let Some(row) = line.strip_prefix('|').and_then(|l| l.strip_suffix('|')) else { return Vec::new() };
    row.replace("\\|", "\u{1}").split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect()
}

/// Returns the text below the heading `heading`, up to the next heading of any depth.
fn section(heading: &str) -> &'static str {
    let start = SPEC.lines().position(|line| line == heading).unwrap_or_else(|| panic!("SPEC.md has no `{heading}`"));
    let begin: usize = SPEC.lines().take(start + 1).map(|line| line.len() + 1).sum();
    let rest = SPEC.get(begin..).unwrap_or("");
    rest.find("\n#").and_then(|end| rest.get(..end + 1)).unwrap_or(rest)
}

/// Returns the rows of all tables in `text`, heads and rulers included.
fn rows(text: &str) -> Vec<Vec<String>> {
    text.lines().map(cells).filter(|row| !row.is_empty()).collect()
}

/// Returns what stands between the first two backticks.
fn code(cell: &str) -> Option<&str> {
    cell.split('`').nth(1)
}

fn number(text: &str) -> Option<u64> {
    let plain = text.replace('_', "");
    plain.strip_prefix("0x").map_or_else(|| plain.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok())
}

/// The rows of a call's table, by kind.
#[derive(Debug, Default)]
struct CallTable {
    head: String,
    id: Option<u64>,
    inputs: Vec<(String, String)>,
    outputs: Vec<(String, String)>,
    errors: Vec<String>,
    others: Vec<String>,
}

fn call_table(call: Call) -> CallTable {
    let mut table = CallTable::default();
    for (at, row) in rows(section(&format!("### {}", call.name()))).into_iter().enumerate() {
        let [item, text] = row.as_slice() else { panic!("{}: a row with other than two cells: {row:?}", call.name()) };
        let register = || item.split(' ').nth(1).unwrap_or("").to_string();
        let name = || code(item).unwrap_or_else(|| panic!("{}: no name in `{item}`", call.name())).to_string();
        match item.split(' ').next() {
            _ if at == 0 => (table.head, table.id) = (item.clone(), code(text).and_then(number)),
            Some("in") => table.inputs.push((register(), name())),
            Some("out") => table.outputs.push((register(), name())),
            Some("error") => table.errors.push(name()),
            Some("---") => {}
            _ => table.others.push(item.clone()),
        }
        assert!(!text.is_empty(), "{}: `{item}` says nothing", call.name());
    }
    table
}

/// Returns `names` with the registers that they travel in: one each, but fourteen for `data`.
fn in_registers(names: &[&str]) -> Vec<(String, String)> {
    let mut next = 1;
    names
        .iter()
        .map(|name| {
            let first = next;
            next += if *name == "data" { 14 } else { 1 };
            let register = if next - first > 1 { format!("x{first}-x{}", next - 1) } else { format!("x{first}") };
            (register, (*name).to_string())
        })
        .collect()
}

fn codes() -> BTreeSet<&'static str> {
    Code::ALL.iter().map(|code| code.name()).collect()
}

#[test]
fn every_call_has_exactly_one_section_and_every_section_a_call() {
    let sections: Vec<&str> = SPEC.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let calls: Vec<&str> = Call::ALL.iter().map(|call| call.name()).collect();
    assert_eq!(sections, calls, "the sections of chapter 11 in the order of the table of calls");
}

#[test]
fn every_section_has_the_number_the_arguments_and_the_results_of_its_call() {
    for call in Call::ALL {
        let table = call_table(*call);
        assert_eq!(table.head, call.name());
        assert_eq!(table.id, Some(u64::from(call.function_id())), "{}", call.name());
        assert_eq!(table.inputs, in_registers(call.arguments()), "{}: arguments", call.name());
        assert_eq!(table.outputs, in_registers(call.results()), "{}: results", call.name());
        assert_eq!(table.others, ["blocks", "repeated", "units", "since"], "{}", call.name());
        let (major, minor) = call.group().version();
        let since = format!("| since | {} {major}.", call.group().name());
        let line = section(&format!("### {}", call.name())).lines().find_map(|l| l.strip_prefix(&since));
        let first: u16 = line.and_then(|l| l.trim_end_matches(" |").parse().ok()).unwrap_or(u16::MAX);
        assert!(first <= minor, "{}: `since` is not a version of its group up to {major}.{minor}", call.name());
    }
}

#[test]
fn every_error_of_a_call_is_in_the_table_of_errors() {
    for call in Call::ALL {
        let errors = call_table(*call).errors;
        for name in &errors {
            assert!(codes().contains(name.as_str()), "{}: {name} is no error code", call.name());
        }
        let distinct: BTreeSet<&String> = errors.iter().collect();
        assert_eq!(distinct.len(), errors.len(), "{}: an error with two rows", call.name());
    }
}

/// Returns the words in backticks that are written like error codes.
fn codes_in(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).filter(|word| codes().contains(word)).collect()
}

#[test]
fn every_error_in_the_comment_of_a_call_is_in_its_section() {
    let mut comment = String::new();
    let mut seen = 0;
    for line in TABLE_OF_CALLS.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            comment.push_str(text);
            continue;
        }
        if let Some(call) = Call::ALL.iter().find(|call| line.contains(&format!("\"{}\"", call.name()))) {
            seen += 1;
            let errors = call_table(*call).errors;
            let refusals = comment.split("Errors:").nth(1).and_then(|text| text.split("Blocks:").next()).unwrap_or("");
            for name in codes_in(refusals) {
                assert!(errors.iter().any(|error| error == name), "{}: SPEC.md lacks {name}", call.name());
            }
            assert!(
                comment.contains(&format!("Spec: {}.", call.name())),
                "{}: the comment names its section",
                call.name()
            );
        }
        comment.clear();
    }
    assert_eq!(seen, Call::ALL.len());
}

#[test]
fn the_table_of_errors_has_every_code_with_its_number_and_no_other() {
    let listed: Vec<(i64, String)> = rows(section("## 15 Errors"))
        .iter()
        .filter_map(|row| Some((row.first()?.parse().ok().filter(|n| *n < 0)?, code(row.get(1)?)?.to_string())))
        .collect();
    let expected: Vec<(i64, String)> = Code::ALL.iter().map(|code| (*code as i64, code.name().to_string())).collect();
    assert_eq!(listed, expected);
}

/// Returns `(number, name)` of the rows in `text` that begin with a number and a name in backticks.
fn numbered(text: &str) -> Vec<(u64, String)> {
    rows(text).iter().filter_map(|row| Some((number(row.first()?)?, code(row.get(1)?)?.to_string()))).collect()
}

#[test]
fn the_table_of_reasons_has_every_reason_with_its_number_and_no_other() {
    let expected: Vec<(u64, String)> =
        (0..=255).filter_map(Reason::from_u8).map(|reason| (reason as u64, format!("{reason:?}"))).collect();
    assert_eq!(numbered(section("## 15 Errors")), expected);
}

#[test]
fn the_table_of_limits_is_what_limit_answers() {
    let listed: Vec<(u64, String, Option<u64>)> = rows(section("## 16 Limits"))
        .iter()
        .filter_map(|row| Some((number(row.first()?)?, code(row.get(1)?)?.to_string(), number(row.get(2)?))))
        .collect();
    let expected: Vec<(u64, String, Option<u64>)> =
        LimitKey::ALL.iter().map(|key| (*key as u64, format!("{key:?}"), Some(key.value()))).collect();
    assert_eq!(listed, expected);
}

#[test]
fn the_table_of_groups_has_every_group_with_its_version() {
    let listed: Vec<(u64, String, String)> = rows(section("## 3 Numbers"))
        .iter()
        .filter_map(|row| Some((number(row.first()?)?, code(row.get(1)?)?.to_string(), row.get(2)?.clone())))
        .collect();
    let expected: Vec<(u64, String, String)> = Group::ALL
        .iter()
        .map(|group| (*group as u64, group.name().to_string(), format!("{}.{}", group.version().0, group.version().1)))
        .collect();
    assert_eq!(listed, expected);
}

#[test]
fn every_layout_that_guests_see_stands_there_field_by_field() {
    for layout in layouts::guest() {
        let listed: Vec<(u64, u64, String)> = rows(section(&format!("#### `{}`", layout.name)))
            .iter()
            .filter_map(|row| Some((number(row.first()?)?, number(row.get(1)?)?, code(row.get(2)?)?.to_string())))
            .collect();
        let expected: Vec<(u64, u64, String)> = layout
            .fields
            .iter()
            .map(|field| (field.offset as u64, field.size as u64, field.name.to_string()))
            .collect();
        assert_eq!(listed, expected, "{}", layout.name);
        let end = listed.last().map(|(offset, size, _)| offset + size);
        assert_eq!(end, Some(layout.size as u64), "{}: what follows the last field", layout.name);
    }
}

#[test]
fn the_table_of_addresses_has_the_constants_of_the_crate() {
    use strato_abi::addr;
    let text = section("## 7 The guest's view of addresses");
    for (name, value) in [
        ("WINDOW_BASE", addr::WINDOW_BASE),
        ("INFO_PAGE", addr::INFO_PAGE),
        ("VCPU_AREA", addr::VCPU_AREA),
        ("EVENT_AREA", addr::EVENT_AREA),
        ("RAM_BASE", addr::RAM_BASE),
    ] {
        let row = rows(text).into_iter().find(|row| row.get(1).and_then(|cell| code(cell)) == Some(name));
        let listed = row.and_then(|row| row.first().and_then(|cell| code(cell)).and_then(number));
        assert_eq!(listed, Some(value), "{name}");
    }
    assert!(text.contains(&format!("`1 << {}`", addr::IPA_BITS)));
}

#[test]
fn every_handle_kind_stands_there_with_its_number() {
    let text = section("## 14 Handles");
    for kind in (0..=u16::MAX).filter_map(Kind::from_u16) {
        assert!(text.contains(&format!("{} `{kind:?}`", kind as u16)), "{kind:?}");
    }
}

#[test]
fn the_identity_of_the_hypervisor_stands_there_as_words_and_as_uuid() {
    use strato_abi::version::{FUNCTION_REVISION, FUNCTION_UID, UID};
    let text = section("## 4 Standard services");
    let words: Vec<String> = UID.iter().map(|word| format!("{word:08x}")).collect();
    assert!(text.contains(&words.join(" ")));
    let bytes: Vec<String> = UID.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("{byte:02x}")).collect();
    assert!(text.replace('-', "").contains(&bytes.concat()));
    for id in [FUNCTION_UID, FUNCTION_REVISION] {
        assert!(text.contains(&format!("`0x{:04X}_{:04X}`", id >> 16, id & 0xffff)));
    }
}

#[test]
fn the_readme_lists_every_call_with_its_number_and_a_link_to_its_section() {
    let listed: Vec<(String, Option<u64>)> = rows(README)
        .iter()
        .filter(|row| row.first().is_some_and(|cell| cell.contains("SPEC.md#")) && row.len() == 3)
        .filter_map(|row| Some((row.first()?.clone(), code(row.get(1)?).and_then(number))))
        .collect();
    let expected: Vec<(String, Option<u64>)> = Call::ALL
        .iter()
        .map(|call| {
            let anchor = call.name().to_lowercase().replace('.', "");
            (format!("[{}](abi/SPEC.md#{anchor})", call.name()), Some(u64::from(call.function_id())))
        })
        .collect();
    assert_eq!(listed, expected);
}
