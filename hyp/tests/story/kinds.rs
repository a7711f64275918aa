//! Kinds: a handle that names nothing, something that is gone, or something else is refused by that (SPEC 14.4).

use strato_abi::Call;
use strato_abi::error::{Code, Reason};

use crate::plan::{Guest, System};
use crate::stage::Story;
use crate::talk::{A, handle};

#[test]
fn a_call_on_a_port_refuses_memory_and_peers_by_their_kind() {
    let mut s = Story::new(&System::pair(Guest::new("a"), Guest::new("b")));
    for other in [handle(0), handle(1)] {
        for call in [Call::EvtSend, Call::EvtUnmask, Call::EvtClose, Call::EvtBindVcpu, Call::VcpuSignalWait] {
            let why = s.refused(A, call, &[other, 0]);
            assert_eq!(why, (Code::WrongKind, 1, Reason::None), "{}", call.name());
        }
        assert_eq!(s.refused(A, Call::VcpuYield, &[2, other]), (Code::WrongKind, 2, Reason::None));
    }
    s.close();
}

#[test]
fn a_call_on_a_port_tells_a_handle_that_never_was_from_one_that_is_gone() {
    let mut s = Story::new(&System::pair(Guest::new("a"), Guest::new("b")));
    let port = handle(2);
    for call in [Call::EvtSend, Call::EvtUnmask, Call::EvtClose, Call::EvtBindVcpu, Call::VcpuSignalWait] {
        for (wrong, code) in [(handle(9), Code::BadHandle), (port + (1 << 16), Code::Stale)] {
            assert_eq!(s.refused(A, call, &[wrong, 0]), (code, 1, Reason::None), "{}", call.name());
        }
    }
    s.close();
}
