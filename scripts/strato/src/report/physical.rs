//! Physical: whose each byte of RAM is. Every byte has to be accounted for once; what the hypervisor keeps is in no stage 2.

use std::ops::Range;

use super::Piece;
use super::facts::{Facts, Owner, Use};
use super::join::{hex, names};

/// The hypervisor's own ranges that lie in no other of its ranges.
const OUTER: [&str; 5] = ["image", "payload", "carved", "ledger", "retained"];

/// Returns the physical map by rising address, neighbors of one kind joined; adds what is wrong with it.
pub(super) fn map(facts: &Facts, labels: &[String], wrong: &mut Vec<String>) -> Vec<Piece> {
    let mut pieces: Vec<(Range<u64>, String, String)> = Vec::new();
    for (name, range) in facts.own.iter().filter(|(name, range)| OUTER.contains(&name.as_str()) && !range.is_empty()) {
        pieces.push((range.clone(), name.clone(), "strato".into()));
    }
    for extent in &facts.extents {
        let owner = match (extent.owner, extent.used_for) {
            (_, Use::Ledger) => "strato".into(),
            (owner, _) => names(owner, labels),
        };
        pieces.push((extent.range.clone(), extent.used_for.word().into(), owner));
    }
    pieces.sort_by_key(|(range, ..)| (range.start, range.end));
    check(facts, &pieces, wrong);
    let mut map: Vec<Piece> = Vec::new();
    for (range, what, owner) in pieces {
        let bytes = range.end - range.start;
        match map.last_mut() {
            Some(last) if (&last.what, &last.owner, last.start + last.bytes) == (&what, &owner, range.start) => {
                last.bytes += bytes;
            }
            _ => map.push(Piece { start: range.start, bytes, what, owner }),
        }
    }
    map
}

fn check(facts: &Facts, pieces: &[(Range<u64>, String, String)], wrong: &mut Vec<String>) {
    for (low, high) in pieces.iter().zip(pieces.iter().skip(1)).filter(|(low, high)| low.0.end > high.0.start) {
        let ((a, what_a, owner_a), (b, what_b, owner_b)) = (low, high);
        wrong.push(format!(
            "{} has two owners: {what_a} of {owner_a} at {}, {what_b} of {owner_b} at {}",
            hex(&(b.start..a.end.min(b.end))),
            hex(a),
            hex(b)
        ));
    }
    for (range, what, owner) in pieces {
        if !facts.ram.iter().any(|ram| ram.start <= range.start && range.end <= ram.end) {
            wrong.push(format!("{what} of {owner} at {} is not in RAM", hex(range)));
        }
    }
    // Page 0 is left alone: a Raspberry Pi's firmware parks cores there.
    let mut known: Vec<Range<u64>> = pieces.iter().map(|(range, ..)| range.clone()).collect();
    known.extend(facts.reserved.iter().cloned().chain(std::iter::once(0..4096)));
    known.sort_by_key(|range| range.start);
    for ram in &facts.ram {
        let mut at = ram.start;
        for range in known.iter().filter(|range| range.end > ram.start && range.start < ram.end) {
            if range.start > at {
                wrong.push(format!("nobody accounts for the RAM at {}", hex(&(at..range.start))));
            }
            at = at.max(range.end);
        }
        if at < ram.end {
            wrong.push(format!("nobody accounts for the RAM at {}", hex(&(at..ram.end))));
        }
    }
}

/// Returns the hypervisor's own memory in detail, and how many bytes it is altogether.
pub(super) fn hypervisor(facts: &Facts) -> (Vec<Piece>, u64) {
    let piece = |what: &str, range: &Range<u64>| Piece {
        start: range.start,
        bytes: range.end.saturating_sub(range.start),
        what: what.to_owned(),
        owner: "strato".into(),
    };
    let own = facts.own.iter().filter(|(_, range)| !range.is_empty());
    let mut pieces: Vec<Piece> = own.map(|(name, range)| piece(name, range)).collect();
    let extents = facts.extents.iter().filter(|extent| is_hypervisors(extent.owner, extent.used_for));
    pieces.extend(extents.map(|extent| piece(extent.used_for.word(), &extent.range)));
    // The widest first: the parts of a range follow it.
    pieces.sort_by_key(|piece| (piece.start, std::cmp::Reverse(piece.bytes)));
    let outer = |piece: &&Piece| OUTER.contains(&piece.what.as_str()) || piece.what == Use::Object.word();
    let whole: u64 = pieces.iter().filter(outer).map(|piece| piece.bytes).sum();
    (pieces, whole)
}

/// Returns whether an extent is the hypervisor's own.
pub(super) fn is_hypervisors(owner: Owner, used_for: Use) -> bool {
    owner == Owner::Hypervisor || used_for == Use::Ledger
}
