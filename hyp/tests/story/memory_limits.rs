//! AS: where the quota of a VM, or the memory of the machine, ends.

use strato_abi::Call;
use strato_abi::error::Code;

use crate::memory_calls::{HOLE, R, map};
use crate::plan::{Guest, System};
use crate::stage::Story;
use crate::talk::{A, handle};

#[test]
fn tables_count_against_the_quota_and_the_quota_ends() {
    let mut s = Story::new(&System::new([Guest { quota: 64, ..Guest::new("a") }]));
    let mut mapped = Vec::new();
    let refused = (1..100u64).find_map(|n| {
        let address = n << 30;
        let x = s.ask(A, Call::AsMap, &map(address, 0, 1, R)).unwrap();
        mapped.push(address);
        (x[0] != 0 && Code::from_i64(x[0].cast_signed()) != Some(Code::Exists)).then_some(x)
    });
    let x = refused.expect("the quota ends");
    assert_eq!((Code::from_i64(x[0].cast_signed()), x[1], x[2]), (Some(Code::Quota), 0, 0));
    let last = mapped.pop().unwrap();
    assert_eq!(s.refused(A, Call::AsQuery, &[0, last]).0, Code::NotMapped);
    let first = mapped.into_iter().rev().find(|&at| s.ask(A, Call::AsQuery, &[0, at]).unwrap()[0] == 0).unwrap();
    s.call(A, Call::AsUnmap, &[0, first, 1, 0]);
    s.close();
}

#[test]
fn a_machine_without_memory_says_so() {
    let mut system = System::new([Guest { quota: 5000, ..Guest::new("a") }]);
    system.frames = 96;
    let mut s = Story::new(&system);
    let refused = (1..200u64).find_map(|n| {
        let x = s.ask(A, Call::AsMap, &map(n << 30 | 0x4000_0000 << 2, 0, 1, R)).unwrap();
        Code::from_i64(x[0].cast_signed()).filter(|&code| code != Code::Exists)
    });
    assert_eq!(refused, Some(Code::NoMemory));
    s.close();
}

#[test]
fn protecting_pages_of_ever_other_objects_takes_one_call_as_the_rights_stand_in_the_leaves() {
    let mut system = System::new([Guest::new("a")]);
    system.share(0, 16, &[(0, 3)]);
    let mut s = Story::new(&system);
    for n in 0..16 {
        let mem = handle(n % 2); // ram, region
        s.call(A, Call::AsMap, &[0, HOLE + n * 4096, mem, n * 4096, 1, 3]);
    }
    assert_eq!(s.call(A, Call::AsProtect, &[0, HOLE, 16, R, 0])[1], 16);
    s.close();
}

/// Maps single pages, each of which needs a table of its own, until a call is refused; returns why.
fn use_up(s: &mut Story) -> Code {
    let refused = (1..5000u64).find_map(|n| {
        let x = s.ask(A, Call::AsMap, &map((1 << 32) + (n << 21), 0, 1, R)).unwrap();
        Code::from_i64(x[0].cast_signed())
    });
    refused.expect("it ends")
}

#[test]
fn a_block_that_cannot_be_split_stays_whole() {
    for (quota, why) in [(1100, Code::Quota), (9000, Code::NoMemory)] {
        let mut system = System::new([Guest { ram_pages: 1024, quota, ..Guest::new("a") }]);
        system.frames = 4096;
        let mut s = Story::new(&system);
        s.call(A, Call::AsMap, &map(HOLE, 0, 1024, R));
        assert_eq!(use_up(&mut s), why);
        for (call, arguments) in
            [(Call::AsUnmap, vec![0, HOLE + 0x3000, 1, 0]), (Call::AsProtect, vec![0, HOLE + 0x3000, 1, R | 2, 0])]
        {
            let x = s.ask(A, call, &arguments).unwrap();
            assert_eq!((Code::from_i64(x[0].cast_signed()), x[2]), (Some(why), 0), "{}", call.name());
        }
        assert_eq!(s.ask(A, Call::AsQuery, &[0, HOLE]).unwrap()[4], 2, "it is a block still");
        assert_eq!(s.call(A, Call::AsUnmap, &[0, HOLE, 1024, 0])[1], 1024, "whole blocks need nothing");
        s.close();
    }
}
