//! CORE, handles: what they name, and giving back those that name nothing living.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};

use crate::plan::{Guest, System};
use crate::stage::Story;
use crate::talk::{A, B, handle};

#[test]
fn a_handle_tells_its_kind_its_rights_and_who_is_at_the_other_end() {
    let mut s = Story::new(&System::pair(Guest::new("a"), Guest::new("a-far-longer-label")));
    let far: Vec<u64> =
        b"a-far-longer-label\0\0\0\0\0\0".chunks(8).map(|c| u64::from_le_bytes(c.try_into().unwrap())).collect();
    assert_eq!(s.ask(A, Call::CoreHandleInfo, &[handle(0)]).unwrap()[1..7], [2, 15, 0, 0, 0, 0]);
    for (index, kind) in [(1, 6), (2, 1)] {
        let x = s.ask(A, Call::CoreHandleInfo, &[handle(index)]).unwrap();
        assert_eq!((x[1], x[2], &x[3..6], x[6]), (kind, 0, &far[..], 0));
    }
    s.begin(B, Call::CoreExit, &[0, 0]);
    s.turns(50);
    for index in [1, 2] {
        assert_eq!(s.ask(A, Call::CoreHandleInfo, &[handle(index)]).unwrap()[3..7], [0; 4], "it has ended");
    }
    s.close();
}

#[test]
fn a_peer_is_dropped_for_good_and_what_lives_is_not() {
    let mut s = Story::new(&System::pair(Guest::new("a"), Guest::new("b")));
    for index in [0, 2] {
        assert_eq!(s.refused(A, Call::CoreHandleDrop, &[handle(index)]), (Code::State, 1, Reason::None));
    }
    s.call(A, Call::CoreHandleDrop, &[handle(1)]);
    for call in [Call::CoreHandleDrop, Call::CoreHandleInfo, Call::EvtOffer] {
        assert_eq!(s.refused(A, call, &[handle(1)]), (Code::Stale, 1, Reason::None), "{}", call.name());
    }
    s.call(A, Call::EvtSend, &[handle(2)]);
    s.close();
}
