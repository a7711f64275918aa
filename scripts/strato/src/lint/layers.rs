//! The layer table of the hypervisor: a room uses lower rooms only. Called by `source`.

use super::Finding;

/// Rooms by layer; a room may use what stands in an earlier row.
pub const LAYERS: [&[&str]; 8] = [
    &["sync"],
    &["arch", "lock"],
    &["board", "console", "gic", "plan", "timer", "trace"],
    &["allocator", "memory", "events", "series"],
    &["vm", "vcpu", "scheduler"],
    &["machine"],
    &["builder", "hypercall", "interpreter"],
    &["dispatcher", "boot"],
];

/// Uses inside one layer that are allowed: frames come from the allocator; a lock relaxes with an instruction; the
/// interrupt controller and the console are told where they are by the board; a VM is built of vCPUs; boot ends in the dispatcher's loop.
pub const SIDEWAYS: &[(&str, &str)] = &[
    ("memory", "allocator"),
    ("lock", "arch"),
    ("gic", "board"),
    ("console", "board"),
    ("vm", "vcpu"),
    ("boot", "dispatcher"),
];

/// Returns the layer of a room.
#[must_use]
pub fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

/// Returns the uses in `code` (bare, without tests) of the room `room` that do not go down.
#[must_use]
pub fn check(path: &str, room: &str, code: &str) -> Vec<Finding> {
    let error = |line, message| Finding::error(path, line, "layers", message);
    let Some(own) = layer(room) else {
        return vec![error(
            1,
            format!("`{room}` is in no layer; add it to the table in the host tool's lint/layers.rs"),
        )];
    };
    let mut findings = Vec::new();
    for (line, used) in uses(code) {
        // What is no room is an item of the crate root, such as a macro.
        let Some(other) = layer(&used) else { continue };
        let is_allowed = used == room || other < own || SIDEWAYS.contains(&(room, used.as_str()));
        if !is_allowed {
            let direction = if other == own { "beside" } else { "above" };
            let message =
                format!("`{room}` uses `{used}`, which stands {direction} it; a mechanism returns what follows");
            findings.push(error(line, message));
        }
    }
    findings
}

/// Returns the first name of every path that begins with `crate::`, with its line.
fn uses(code: &str) -> Vec<(usize, String)> {
    let mut uses = Vec::new();
    for (at, mark) in code.match_indices("crate::") {
        let before = code.get(..at).unwrap_or_default();
        // `$crate::` is a macro's own crate, `strato_crate::` another name.
        if before.ends_with(|c: char| c == '$' || c == '_' || c.is_alphanumeric()) {
            continue;
        }
        let line = before.matches('\n').count() + 1;
        let rest = code.get(at + mark.len()..).unwrap_or_default();
        uses.extend(first_names(rest).into_iter().map(|name| (line, name)));
    }
    uses
}

// `a::b` is `a`; `{a::{b, c}, d}` is `a` and `d`.
fn first_names(path: &str) -> Vec<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let name = |text: &str| text.trim().split(|c: char| !is_name(c)).next().unwrap_or_default().to_owned();
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut depth = 0_usize;
    let mut parts = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => parts.push(String::new()),
            _ => {}
        }
        if let Some(part) = parts.last_mut().filter(|_| c != ',') {
            part.push(c);
        }
    }
    parts.iter().map(|part| name(part)).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(room: &str, code: &str) -> Vec<String> {
        check("x.rs", room, code).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_use_that_goes_down_is_fine() {
        assert_eq!(
            messages("dispatcher", "use crate::vm::Vm;\nuse crate::{arch::{a, b}, lock};"),
            Vec::<String>::new()
        );
        assert_eq!(
            messages("memory", "use crate::allocator::Mem; use crate::memory::x; $crate::boot::x"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_use_that_goes_up_is_an_error_with_its_line() {
        let expected =
            "x.rs:2: error: layers: `events` uses `scheduler`, which stands above it; a mechanism returns what follows";
        assert_eq!(messages("events", "use crate::lock::Lock;\nuse crate::scheduler::wake;"), [expected]);
        assert_eq!(messages("arch", "fn f() { crate::machine::x() }").len(), 1);
        assert_eq!(messages("vm", "use crate::{\n  arch::x,\n  hypercall::{y, z},\n};").len(), 1);
    }

    #[test]
    fn a_use_that_goes_sideways_is_an_error() {
        assert_eq!(messages("allocator", "use crate::memory::x;").len(), 1);
        assert_eq!(messages("scheduler", "use crate::vcpu::x;").len(), 1);
    }

    #[test]
    fn a_room_without_a_layer_is_an_error() {
        assert_eq!(messages("helpers", "").len(), 1);
    }
}
