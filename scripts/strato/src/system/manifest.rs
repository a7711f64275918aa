//! From the text of a system file to a `System`: which keys there are, their types and their defaults.
//! Called by `system::parse`. Rules that involve more than one value are in `check`.

use std::path::Path;

use strato_abi::time::TIMERS_PER_VM;

use super::board::Board;
use super::model::{Channel, End, Expect, Grant, ImageRef, Level, Outcome, Peer, Region, Reset, System, Vm};
use super::names::Names;
use super::problem::{At, Problem};
use super::reader::{Problems, Table};
use super::{calls, console, devices, restart, sched};
use crate::pack::damage::Damage;

const LOG_LEVELS: [(&str, u32); 5] = [("error", 1), ("warning", 2), ("info", 3), ("debug", 4), ("trace", 5)];
const LEVELS: [(&str, Level); 3] = [("EL1", Level::El1), ("EL2", Level::El2), ("EL3", Level::El3)];
/// The core that Strato is measured on, and all that QEMU knows of later ones.
const CPUS: [(&str, &str); 2] = [("cortex-a72", "cortex-a72"), ("max", "max")];
const RESETS: [(&str, Reset); 4] =
    [("armed", Reset::Armed), ("kept", Reset::Kept), ("spoiled", Reset::Spoiled), ("done", Reset::Done)];
const RIGHTS: [(&str, u16); 4] = [("r", 1), ("rw", 3), ("rx", 5), ("rwx", 7)];
const DEFAULT_QUOTA: u64 = 256 << 10;
const DEFAULT_HANDLES: u64 = 64;

/// Returns the system that `root` describes; `folder` is where its image paths begin and `name` its name if it has none.
///
/// What is missing or wrong becomes a problem and gets a harmless value here, so that the rest can be read too.
pub fn read(root: Table<'_>, folder: &Path, name: &str, problems: &Problems) -> System {
    let mut system = head(root.table("system", "[system]"), name);
    let vm_tables = root.tables("vm", "[[vm]]");
    if vm_tables.is_empty() {
        let fix = "add a table `[[vm]]` with `name`, `image` and `memory`";
        problems.add(Problem::new("the system has no VM", root.span(), "there is no `[[vm]]` in this file", fix));
    }
    system.vms = vm_tables.into_iter().filter_map(|table| vm(table, folder)).collect();
    let names = Names::of(&system);
    system.channels =
        root.tables("channel", "[[channel]]").into_iter().filter_map(|table| channel(table, &names)).collect();
    system.regions =
        root.tables("region", "[[region]]").into_iter().filter_map(|table| region(table, &names)).collect();
    system.peers = root.tables("peer", "[[peer]]").into_iter().filter_map(|table| peer(table, &names)).collect();
    system.devices =
        root.table("board", "[board.NAME]").map(|boards| devices::read(boards, &names)).unwrap_or_default();
    system.expect = root.table("expect", "[expect]").map(|table| expect(table, &names, problems)).unwrap_or_default();
    root.finish();
    system
}

fn head(table: Option<Table<'_>>, name: &str) -> System {
    let mut system = System {
        name: name.to_owned(),
        time_limit_s: 30,
        is_smp: false,
        is_long: false,
        board: None,
        cores: 1,
        cpu: "cortex-a72",
        is_test: true,
        is_counted: false,
        is_followed: false,
        log_level: 3,
        slice_us: 1000,
        has_cycle_counter: false,
        watchdog_s: None,
        has_mini_uart: false,
        entered_at: Level::El2,
        damage: None,
        reset: None,
        vms: Vec::new(),
        channels: Vec::new(),
        regions: Vec::new(),
        peers: Vec::new(),
        devices: Vec::new(),
        expect: Expect::default(),
    };
    let Some(table) = table else { return system };
    let number = |key, range, default: u32| {
        table.integer(key, range).and_then(|at| u32::try_from(at.value).ok()).unwrap_or(default)
    };
    system.name = table.text("name").map_or(system.name, |at| at.value);
    system.time_limit_s = number("time_limit_s", 1..=3600, system.time_limit_s);
    system.slice_us = number("slice_us", 100..=1_000_000, system.slice_us);
    system.watchdog_s = table.integer("watchdog_s", 0..=15).and_then(|at| u32::try_from(at.value).ok());
    system.cores = u8::try_from(number("cores", 1..=8, 1)).unwrap_or(1);
    system.cpu = table.choice("cpu", &CPUS).unwrap_or(system.cpu);
    system.is_smp = table.boolean("smp").unwrap_or(false);
    system.board = table.choice("board", &[("qemu-virt", Board::QemuVirt), ("rpi4", Board::Rpi4)]);
    system.has_mini_uart = console::read(&table, system.board);
    system.is_long = table.boolean("long").unwrap_or(false);
    system.is_test = table.boolean("test").unwrap_or(true);
    system.entered_at = table.choice("entered_at", &LEVELS).unwrap_or(system.entered_at);
    system.is_counted = table.boolean("counted").unwrap_or(false);
    system.is_followed = table.boolean("physical").unwrap_or(false);
    system.has_cycle_counter = table.boolean("cycle_counter").unwrap_or(false);
    system.damage = table.choice("damage", &Damage::ALL);
    system.reset = table.choice("reset", &RESETS);
    system.log_level = table.choice("log", &LOG_LEVELS).unwrap_or(system.log_level);
    table.finish();
    system
}

fn vm(table: Table<'_>, folder: &Path) -> Option<Vm> {
    let label = table.needed_text("name", "\"main\"");
    let image = match table.needed_text("image", "\"hello\"") {
        Some(text) => At { value: image_ref(&text.value, folder), span: text.span },
        None => At { value: ImageRef::Package(String::new()), span: table.span().clone() },
    };
    let memory = table.size("memory").unwrap_or_else(|| {
        table.missing_size("memory", "\"1MiB\"");
        At { value: 1 << 20, span: table.span().clone() }
    });
    let vcpus = table.integer("vcpus", 1..=8).map_or(1, |at| at.value);
    let priority = table.integer("priority", 0..=31).map_or(8, |at| at.value);
    let cores = table.integers("cores", &(0..=7)).unwrap_or_default();
    let timers = table.integer("timers", 0..=TIMERS_PER_VM).map_or(TIMERS_PER_VM, |at| at.value);
    let vm = label.map(|label| Vm {
        label,
        image,
        memory,
        vcpus: u16::try_from(vcpus).unwrap_or(1),
        priority: u8::try_from(priority).unwrap_or(8),
        cores: cores.into_iter().filter_map(|core| u8::try_from(core).ok()).collect(),
        command_line: table.text("command_line").map(|at| at.value).unwrap_or_default(),
        has_fp: table.choice("fp", &[("off", false), ("lazy", true)]).unwrap_or(false),
        is_jit: table.boolean("jit").unwrap_or(false),
        is_guarded: table.choice("speculation", &[("plain", false), ("guarded", true)]),
        is_native: table.choice("mmu", &[("strato", false), ("native", true)]).unwrap_or(false),
        handles: table
            .integer("handles", 1..=1024)
            .unwrap_or(At { value: DEFAULT_HANDLES, span: table.span().clone() }),
        timers: u8::try_from(timers).unwrap_or(0),
        quota: table.size("quota").map_or(DEFAULT_QUOTA, |at| at.value),
        calls: calls::allowed(&table.texts("calls_denied"), table.problems()),
        has_console_input: table.boolean("console_input").unwrap_or(false),
        restart: restart::read(&table),
        scheds: sched::read(&table),
        expect: table.text("expect").and_then(|text| outcome(&text, table.problems())).unwrap_or(Outcome::Exited(0)),
    });
    table.finish();
    vm
}

fn image_ref(text: &str, folder: &Path) -> ImageRef {
    if text.contains('/') || text.ends_with(".elf") {
        // Collecting the components drops every `./`.
        ImageRef::Path(folder.join(text).components().collect())
    } else {
        ImageRef::Package(text.to_owned())
    }
}

fn outcome(text: &At<String>, problems: &Problems) -> Option<Outcome> {
    let outcome = match text.value.as_str() {
        "ok" => Some(Outcome::Exited(0)),
        "stopped" => Some(Outcome::Stopped),
        other => other.strip_prefix("exit:").and_then(|code| code.parse().ok()).map(Outcome::Exited),
    };
    if outcome.is_none() {
        problems.add(Problem::new(
            format!("`expect` cannot be \"{}\"", text.value),
            &text.span,
            "unknown outcome",
            "write \"ok\", \"stopped\" or \"exit:\" and a code, such as \"exit:3\"",
        ));
    }
    outcome
}

fn channel(table: Table<'_>, names: &Names) -> Option<Channel> {
    let (a, b) = (table.text("a"), table.text("b"));
    let (present, absent) = if a.is_some() { ("a", "b") } else { ("b", "a") };
    let ends = match (a, b) {
        (Some(a), Some(b)) => Some((a, b)),
        (None, None) => {
            table.missing("a", "\"vm:port\"` and `b = \"other_vm:port\"");
            None
        }
        (Some(_), None) | (None, Some(_)) if table.has(absent) => None,
        (Some(end), None) | (None, Some(end)) => {
            table.problems().add(Problem::new(
                "a channel has one end",
                &end.span,
                format!("`{present}` is here, `{absent}` is not"),
                format!("add `{absent} = \"vm:port\"`, the VM at the other end and the name of its port"),
            ));
            None
        }
    };
    let problems = table.problems();
    table.finish();
    let (a, b) = ends?;
    let (a, b) = (end(a, names, problems), end(b, names, problems));
    Some(Channel { a: a?, b: b? })
}

fn end(text: At<String>, names: &Names, problems: &Problems) -> Option<At<End>> {
    let parsed = text.value.split_once(':').and_then(|(vm, port)| match port.split_once('@') {
        Some((port, vcpu)) => Some((vm, port, vcpu.parse().ok()?)),
        None => Some((vm, port, 0)),
    });
    let Some((vm, port, vcpu)) = parsed else {
        problems.add(Problem::new(
            format!("\"{}\" is not the end of a channel", text.value),
            &text.span,
            "expected a VM, a colon and the name of a port",
            "write \"vm:port\", or \"vm:port@1\" to bind the port to vCPU 1",
        ));
        return None;
    };
    let vm = names.vm(vm, &text.span, problems)?;
    Some(At { value: End { vm, port: port.to_owned(), vcpu }, span: text.span })
}

fn region(table: Table<'_>, names: &Names) -> Option<Region> {
    let name = table.needed_text("name", "\"shared\"");
    let size = table.size("size");
    if size.is_none() {
        table.missing_size("size", "\"4KiB\"");
    }
    let owner = table.needed_text("owner", "\"vm\"").and_then(|at| names.vm(&at.value, &at.span, table.problems()));
    let tables = table.tables("map", "`map` of [[region]]");
    if tables.is_empty() {
        let fix = "add `map = [{ vm = \"name\", rights = \"rw\" }]`";
        table.problems().add(Problem::new("nobody can see this region", table.span(), "no VM maps it", fix));
    }
    let grants = tables.into_iter().filter_map(|table| grant(table, names)).collect();
    table.finish();
    Some(Region { name: name?, size: size?, owner: owner?, grants })
}

fn grant(table: Table<'_>, names: &Names) -> Option<Grant> {
    let vm = table.needed_text("vm", "\"name\"");
    let rights = table.choice("rights", &RIGHTS);
    if !table.has("rights") {
        table.missing("rights", "\"rw\"");
    }
    let rights_span = table.span_of("rights");
    let address = table.size("address");
    let problems = table.problems();
    table.finish();
    let vm = vm.and_then(|at| Some(At { value: names.vm(&at.value, &at.span, problems)?, span: at.span }));
    Some(Grant { vm: vm?, rights: At { value: rights?, span: rights_span }, address })
}

fn peer(table: Table<'_>, names: &Names) -> Option<Peer> {
    let (of, to) = (table.needed_text("of", "\"vm\""), table.needed_text("to", "\"other_vm\""));
    let (problems, span) = (table.problems(), table.span().clone());
    table.finish();
    let of = of.and_then(|at| names.vm(&at.value, &at.span, problems));
    let to = to.and_then(|at| names.vm(&at.value, &at.span, problems));
    Some(Peer { of: of?, to: to?, span })
}

fn expect(table: Table<'_>, names: &Names, problems: &Problems) -> Expect {
    let texts = |key| table.texts(key).into_iter().map(|at| at.value).collect();
    let expect = Expect {
        lines: of_vms(&table, "lines", names, problems),
        counted: of_vms(&table, "counted", names, problems),
        hypervisor: texts("hypervisor"),
        before: texts("before"),
        different: texts("different"),
        frames: of_vms(&table, "frames", names, problems),
    };
    table.finish();
    expect
}

// Texts that begin with a VM in brackets.
fn of_vms(table: &Table<'_>, key: &'static str, names: &Names, problems: &Problems) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for line in table.texts(key) {
        let parts = line.value.strip_prefix('[').and_then(|rest| rest.split_once("] "));
        match parts {
            Some((label, text)) => {
                found.extend(names.vm(label, &line.span, problems).map(|vm| (vm, text.to_owned())));
            }
            None => problems.add(Problem::new(
                "an expected line names no VM",
                &line.span,
                "expected \"[vm] text\"",
                "begin it with the VM's name in brackets and a space; hypervisor lines go to `hypervisor`",
            )),
        }
    }
    found
}

impl Table<'_> {
    // A size that is there but wrong has been reported by `size` already.
    fn missing_size(&self, key: &'static str, example: &str) {
        if !self.has(key) {
            self.missing(key, example);
        }
    }
}
