//! Which calls a VM may make: the bitmaps of the plan from the names in `calls_denied`. Called by `manifest`.

use strato_abi::Call;

use super::problem::{At, Problem};
use super::reader::{Problems, nearest};

/// Returns the bitmaps of all calls without the denied ones, one for each of groups 0 to 7.
#[must_use]
pub(super) fn allowed(denied: &[At<String>], problems: &Problems) -> [u32; 8] {
    let mut calls = [0_u32; 8];
    for call in Call::ALL {
        set(&mut calls, *call, true);
    }
    for name in denied {
        match Call::ALL.iter().find(|call| call.name() == name.value) {
            Some(call) => set(&mut calls, *call, false),
            None => problems.add(unknown(name)),
        }
    }
    calls
}

fn set(calls: &mut [u32; 8], call: Call, is_allowed: bool) {
    if let Some(bits) = calls.get_mut(usize::from(call.group() as u8)) {
        let bit = 1_u32 << call.op();
        *bits = if is_allowed { *bits | bit } else { *bits & !bit };
    }
}

fn unknown(name: &At<String>) -> Problem {
    let upper = name.value.to_uppercase();
    let fix = match nearest(&upper, Call::ALL.iter().map(|call| call.name())) {
        Some(known) => format!("did you mean \"{known}\"?"),
        None => "write the name as the specification does, such as \"CON.READ\"".into(),
    };
    Problem::new(format!("there is no call \"{}\"", name.value), &name.span, "unknown call", fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_call_loses_its_bit_and_no_other() {
        let problems = Problems::default();
        let all = allowed(&[], &problems);
        let less = allowed(&[At { value: "CON.READ".into(), span: 0..0 }], &problems);
        assert_eq!(all[7] & !less[7], 1 << Call::ConRead.op());
        assert_eq!(all[..7], less[..7]);
        assert!(problems.into_vec().is_empty());
    }

    #[test]
    fn every_call_is_allowed_by_default() {
        let bits: u32 = allowed(&[], &Problems::default()).iter().map(|bits| bits.count_ones()).sum();
        assert_eq!(usize::try_from(bits).unwrap(), Call::ALL.len());
    }
}
