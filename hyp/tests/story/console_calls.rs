//! CON: lengths, a full console, and whose input it is.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};
use strato_abi::plan::VM_CONSOLE_INPUT;

use crate::plan::{Guest, System};
use crate::stage::Story;
use crate::talk::{A, B};

#[test]
fn a_write_takes_up_to_112_bytes_and_refuses_more() {
    let mut s = Story::new(&System::one(1));
    let text = [0x6161_6161_6161_6161; 14];
    // A line has room for 200: the call that ends it takes one more.
    for (length, taken) in [(0, 0), (1, 1), (7, 7), (112, 112), (80, 80), (8, 1), (111, 111)] {
        let arguments: Vec<u64> = std::iter::once(length).chain(text).collect();
        assert_eq!(s.call(A, Call::ConWrite, &arguments)[0], taken);
    }
    for length in [113, 1 << 32, u64::MAX] {
        let arguments: Vec<u64> = std::iter::once(length).chain(text).collect();
        assert_eq!(s.refused(A, Call::ConWrite, &arguments), (Code::Invalid, 1, Reason::TooLarge));
    }
    s.close();
}

#[test]
fn a_console_that_is_full_takes_less_then_nothing_and_says_so() {
    let mut s = Story::new(&System::one(1));
    let lines: Vec<u64> = std::iter::once(112).chain([0x0a61_6161_6161_6161; 14]).collect();
    let mut least = 112;
    let refused = (0..400).find_map(|_| {
        let x = s.ask(A, Call::ConWrite, &lines).unwrap();
        match x[0] {
            0 => least = least.min(x[1]),
            status => return Some((Code::from_i64(status.cast_signed()), x[1])),
        }
        None
    });
    assert_eq!(refused, Some((Some(Code::Again), 0)));
    assert!(least > 0, "success takes something");
    s.close();
}

#[test]
fn input_is_one_vms_alone() {
    let mut s = Story::new(&System::pair(Guest { flags: VM_CONSOLE_INPUT, ..Guest::new("a") }, Guest::new("b")));
    assert_eq!(s.call(A, Call::ConRead, &[])[0], 0, "nothing was typed");
    assert_eq!(s.refused(B, Call::ConRead, &[]), (Code::Denied, 0, Reason::NotOwner));
    s.close();
}
