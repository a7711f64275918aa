//! CORE, handles: what they name, and giving back those that name nothing living.

use strato_abi::Call;
use strato_abi::error::{Code, Reason};

use crate::mem_calls::refused;
use crate::plan::{CODE, Guest, System};
use crate::stage::Story;
use crate::talk::{A, B, handle, refusal};

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

#[test]
fn the_first_space_has_a_handle_that_costs_no_entry() {
    const FIRST: u64 = 1 << 16 | 0xfffe;
    // Entries for `ram`, the peer and the port, as a guest of ABI 1.0 has them; none is left.
    let mut s = Story::new(&System::pair(Guest { handles: 3, ..Guest::new("a") }, Guest::new("b")));
    assert_eq!(s.refused(A, Call::EvtOffer, &[handle(1)]), (Code::Full, 0, Reason::TableFull));
    assert_eq!(s.ask(A, Call::CoreHandleInfo, &[FIRST]).unwrap()[1..7], [4, 0, 0, 0, 0, 0]);
    assert_eq!(s.call(A, Call::AsSwitch, &[FIRST])[0], FIRST);
    assert_eq!(s.ask(A, Call::AsQuery, &[FIRST, CODE]).unwrap()[..2], [0, handle(0)]);
    s.call(A, Call::AsSync, &[FIRST]);
    let x = s.ask(A, Call::CoreHandleDrop, &[FIRST]).unwrap();
    assert_eq!((refusal(&x).unwrap(), x[1] >> 16), ((Code::State, 1, Reason::None), 4), "an address space");
    for call in [Call::EvtSend, Call::EvtClose, Call::EvtOffer, Call::MemFree, Call::MemInfo, Call::ShareInfo] {
        assert_eq!(s.refused(A, call, &[FIRST]), (Code::WrongKind, 1, Reason::None), "{}", call.name());
    }
    for wrong in [0xfffe, FIRST + (1 << 16), FIRST + 1, FIRST - 1, 1 << 16 | 1024] {
        for call in [Call::CoreHandleInfo, Call::CoreHandleDrop, Call::AsSync, Call::AsSwitch, Call::AsDestroy] {
            assert_eq!(s.refused(A, call, &[wrong]), (Code::BadHandle, 1, Reason::None), "{} {wrong:#x}", call.name());
        }
    }
    s.close();
}

#[test]
fn handles_that_name_no_memory_are_refused_by_their_kind() {
    let mut s = Story::new(&System::pair(Guest::new("a"), Guest::new("b")));
    for call in [Call::MemFree, Call::MemSplit, Call::MemInfo] {
        for (mem, code) in [(handle(1), Code::WrongKind), (handle(2), Code::WrongKind), (0, Code::BadHandle)] {
            assert_eq!(refused(&mut s, call, &[mem, 0x1000]), (code, 1, Reason::None), "{}", call.name());
        }
        for (mem, code) in [(2 << 16, Code::Stale), (handle(9), Code::BadHandle), (handle(0xffff), Code::BadHandle)] {
            assert_eq!(refused(&mut s, call, &[mem, 0x1000]), (code, 1, Reason::None), "{}", call.name());
        }
    }
    for call in [Call::CoreHandleInfo, Call::CoreHandleDrop] {
        assert_eq!(refused(&mut s, call, &[0]), (Code::BadHandle, 1, Reason::None));
        assert_eq!(refused(&mut s, call, &[handle(0xffff)]), (Code::BadHandle, 1, Reason::None));
    }
    s.close();
}
