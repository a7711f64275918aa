//! Sharing: the legal moves of a share, all in one table. Pure. Called by `vm::sharing`, which does what a move needs.

use strato_abi::share::ShareState::{Accepted, Asked, Donated, Offered, Relinquished, Revoked, Revoking};
use strato_abi::share::{RevokePolicy, ShareState, Verb};

/// What happens to a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// The peer accepts.
    Accept(Verb),
    /// The owner takes it back.
    Revoke(RevokePolicy),
    /// Nothing is mapped at the borrower any more, by the calls of the owner.
    Unmapped,
    /// The borrower has given it back, or the peer has ended.
    GiveBack,
}

/// Returns the state after a move, or `None` when the move is not legal.
#[must_use]
pub const fn after(state: ShareState, step: Move) -> Option<ShareState> {
    Some(match (state, step) {
        (Offered, Move::Accept(Verb::Donate)) => Donated,
        (Offered, Move::Accept(Verb::Share | Verb::Lend)) => Accepted,
        (Offered, Move::Revoke(_)) | (Revoking, Move::Unmapped) => Revoked,
        (Accepted | Asked, Move::Revoke(RevokePolicy::Ask)) => Asked,
        // Once begun, a revoke goes on by either policy: a caller that repeats until it is over comes to an end.
        (Accepted | Asked, Move::Revoke(RevokePolicy::Force)) | (Revoking, Move::Revoke(_)) => Revoking,
        (Offered | Accepted | Asked | Revoking, Move::GiveBack) => Relinquished,
        (Offered | Accepted | Asked | Revoking, _) | (Relinquished | Revoked | Donated, _) => return None,
    })
}

/// Returns whether the peer holds what was offered.
#[must_use]
pub const fn is_out(state: ShareState) -> bool {
    matches!(state, Accepted | Asked | Revoking)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [ShareState; 7] = [Offered, Accepted, Asked, Revoking, Relinquished, Revoked, Donated];
    const MOVES: [Move; 7] = [
        Move::Accept(Verb::Share),
        Move::Accept(Verb::Lend),
        Move::Accept(Verb::Donate),
        Move::Revoke(RevokePolicy::Ask),
        Move::Revoke(RevokePolicy::Force),
        Move::Unmapped,
        Move::GiveBack,
    ];

    #[test]
    fn every_move_from_every_state_is_as_the_specification_says() {
        let no = None;
        let table = [
            // share, lend, donate, ask, force, unmapped, given back
            [Some(Accepted), Some(Accepted), Some(Donated), Some(Revoked), Some(Revoked), no, Some(Relinquished)],
            [no, no, no, Some(Asked), Some(Revoking), no, Some(Relinquished)],
            [no, no, no, Some(Asked), Some(Revoking), no, Some(Relinquished)],
            [no, no, no, Some(Revoking), Some(Revoking), Some(Revoked), Some(Relinquished)],
            [no; 7],
            [no; 7],
            [no; 7],
        ];
        for (state, row) in STATES.into_iter().zip(table) {
            assert_eq!(MOVES.map(|step| after(state, step)), row, "{state:?}");
        }
    }

    #[test]
    fn a_share_that_is_out_or_offered_ends_with_its_peer_and_no_other_does() {
        for state in STATES {
            let is_open = is_out(state) || state == Offered;
            assert_eq!(after(state, Move::GiveBack), is_open.then_some(Relinquished));
        }
    }
}
