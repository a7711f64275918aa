//! SHARE: two shares of the same memory at one borrower, and blocks of it where a table cannot be had.

use strato_abi::Call;
use strato_abi::error::Code;

use crate::memory_calls::{HOLE, R, RAM};
use crate::plan::{Guest, System};
use crate::share_calls::{FORCE, REGION, REVOKED};
use crate::stage::Story;
use crate::talk::{A, B, refusal};

const RW: u64 = 3;
const PEER: u64 = 1 << 16 | 1;
const BLOCK: u64 = 512;
/// A block's own place.
const PLACE: u64 = HOLE & !0x1f_ffff;

/// A has a region of 1,024 pages; B a quota that `b_quota` says.
fn system(b_quota: u32) -> System {
    let guest = |label, quota| Guest { quota, handles: 64, ..Guest::new(label) };
    let mut system = System::pair(guest("a", 1200), guest("b", b_quota));
    system.frames = 4096;
    system.own(0, 2 * BLOCK);
    system
}

/// B's handle to `pages` pages of the region from page `first` on, and the share.
fn share(s: &mut Story, first: u64, pages: u64, rights: u64) -> (u64, u64) {
    let [share, key, _] = s.call(A, Call::ShareOffer, &[PEER, REGION, first << 12, pages, rights, 0]);
    (share, s.call(B, Call::ShareAccept, &[PEER, key, 0])[0])
}

fn is_mapped(s: &mut Story, address: u64) -> bool {
    s.ask(B, Call::AsQuery, &[0, address]).unwrap()[0] == 0
}

/// Takes the memory away by the owner's calls, or gives it back by the borrower's.
fn take(s: &mut Story, by_force: bool, share: u64, mem: u64) {
    if by_force {
        while s.call(A, Call::ShareRevoke, &[share, FORCE])[0] != REVOKED {}
    } else {
        while s.call(B, Call::ShareRelinquish, &[mem])[0] != 0 {}
    }
}

#[test]
fn what_another_share_gives_stays_mapped_where_it_was_mapped() {
    for by_force in [false, true] {
        let mut s = Story::new(&system(200));
        let (first, one) = share(&mut s, 0, 16, RW);
        let (_, two) = share(&mut s, 8, 16, R);
        let at = |page: u64| HOLE + page * 0x1000;
        s.call(B, Call::AsMap, &[0, at(0), one, 0, 16, RW]);
        s.call(B, Call::AsMap, &[0, at(16), two, 0, 16, R]);
        // Where the first was mapped, the second is now.
        s.call(B, Call::AsUnmap, &[0, at(4), 2, 0]);
        s.call(B, Call::AsUnmap, &[0, at(12), 2, 1]);
        s.call(B, Call::AsMap, &[0, at(4), two, 0, 1, R]);
        s.call(B, Call::AsMap, &[0, at(12), two, 0x1000, 1, R]);
        take(&mut s, by_force, first, one);
        for page in 0..32 {
            assert_eq!(is_mapped(&mut s, at(page)), page >= 16 || page == 4 || page == 12, "{page} {by_force}");
        }
        s.close();
    }
}

#[test]
fn a_page_that_cannot_be_told_from_the_shares_own_goes_with_it_and_can_be_mapped_again() {
    for by_force in [false, true] {
        let mut s = Story::new(&system(200));
        let (first, one) = share(&mut s, 0, 16, RW);
        let (_, two) = share(&mut s, 8, 16, R);
        let at = |page: u64| HOLE + page * 0x1000;
        s.call(B, Call::AsMap, &[0, at(0), one, 0, 16, RW]);
        for n in 1..4 {
            s.call(B, Call::AsMap, &[0, at(32 * n), one, 0, 1, RW]);
        }
        // Four ranges, and no fifth for what is behind the hole.
        s.call(B, Call::AsUnmap, &[0, at(4), 3, 0]);
        s.call(B, Call::AsMap, &[0, at(4), two, 0, 1, R]); // page 8 of the region, of both shares
        s.call(B, Call::AsMap, &[0, at(5), two, 0x8000, 1, R]); // page 16, of the second alone
        s.call(B, Call::AsMap, &[0, at(6), RAM, 0, 1, R]);
        take(&mut s, by_force, first, one);
        assert_eq!([4, 5, 6].map(|page| is_mapped(&mut s, at(page))), [false, true, true]);
        s.call(B, Call::AsMap, &[0, at(4), two, 0, 1, R]);
        s.close();
    }
}

#[test]
fn a_borrower_without_quota_cannot_hold_its_owner_up_by_a_block() {
    for by_force in [false, true] {
        let mut s = Story::new(&system(60));
        let (_, one) = share(&mut s, 0, BLOCK, RW);
        let (second, two) = share(&mut s, 256, BLOCK, R);
        // The second is mapped in pages at the block's place, with no range left for what is behind a hole.
        s.call(B, Call::AsMap, &[0, PLACE + 0xff000, two, 0, 128, R]);
        for n in 1..4 {
            s.call(B, Call::AsMap, &[0, PLACE + n * 0x20_0000, two, 0, 1, R]);
        }
        for (first, pages) in [(1, 126), (0, 1), (127, 1)] {
            s.call(B, Call::AsUnmap, &[0, PLACE + 0xff000 + first * 0x1000, pages, 1]);
        }
        s.call(B, Call::AsSync, &[0]);
        assert_eq!(s.call(B, Call::AsMap, &[0, PLACE, one, 0, BLOCK, RW])[..2], [2, BLOCK]);
        // A table for each page, until there is none, nor a spare one.
        let full = (8..100).find_map(|n| {
            let x = s.ask(B, Call::AsMap, &[0, PLACE + n * 0x20_0000, RAM, 0, 1, R]).unwrap();
            refusal(&x).map(|(code, ..)| code)
        });
        assert_eq!(full, Some(Code::Quota));
        take(&mut s, by_force, second, two);
        s.close();
    }
}
