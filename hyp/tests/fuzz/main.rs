//! What boot reads before anything is known to be right: device trees and packed systems. Ten thousand damaged ones of each keep the
//! rules that cargo-fuzz holds against as many as it has time for (`hyp/fuzz`, which uses `device_tree` and `plan` of this folder).
//!
//! `STRATO_FUZZ_SEEDS=hyp/fuzz/corpus cargo test -p strato-hyp --test fuzz` writes what cargo-fuzz begins with.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::wildcard_enum_match_arm,
    reason = "a test may panic"
)]

use std::path::Path;

use strato_abi::plan::KINDS;

mod device_tree;
mod plan;
mod plans;
mod trees;

/// Damaged copies of the seeds that each test tries.
const RUNS: usize = 10_000;

/// Numbers that look random and are the same in each run (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end.max(1)
    }

    /// Changes bytes or words, and now and then takes out, doubles or cuts off a piece.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let (length, at) = (bytes.len(), self.below(bytes.len()));
            let piece = at..(at + 4 * self.below(16)).min(length);
            match self.below(8) {
                _ if length == 0 => return,
                0 => bytes[at] = self.below(256) as u8,
                1 => bytes[at] ^= 1 << self.below(8),
                2 => drop(bytes.drain(piece)),
                3 => {
                    let copy = bytes[piece].to_vec();
                    let to = self.below(length / 4) * 4;
                    bytes.splice(to..to, copy);
                }
                4 if self.below(4) == 0 => bytes.truncate(at),
                _ => {
                    let odd = [0, 1, 2, 3, 4, 8, 9, 0x1000, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, u32::MAX];
                    let word = odd[self.below(odd.len())].to_be_bytes();
                    let at = at & !3;
                    let end = (at + 4).min(length);
                    bytes[at..end].copy_from_slice(&word[..end - at]);
                }
            }
        }
    }
}

fn trees_to_begin_with() -> Vec<Vec<u8>> {
    use trees::{Virt, pi, with_tokens};
    let virt = Virt::default;
    let deep = [b"\0\0\0\x01a\0\0\0".repeat(20), b"\0\0\0\x02".repeat(20)].concat();
    vec![
        virt().blob(),
        Virt { gic: "arm,gic-400", method: "hvc", secure_uart: true, ..virt() }.blob(),
        Virt {
            memory: vec![(0, 0x6000_0000), (0x4000_0000, 0x1000_0000)],
            reserved: vec![(0x4100_0800, 0x1000)],
            ..virt()
        }
        .blob(),
        Virt { cores: (0..12).collect(), ..virt() }.blob(),
        pi(&[0xd8, 0xe0, 0xe8, 0xf0]),
        pi(&[0x0200_00d8, 0x0200_00d8, 0x0300_00d8]),
        pi(&[0xd8, 0xe0, 0xe0]),
        with_tokens(&virt().blob(), &deep),
    ]
}

/// Damages the seeds again and again. Returns how many of the damaged came through.
fn damaged(seeds: &[Vec<u8>], check: impl Fn(&[u8]) -> bool) -> usize {
    let mut random = Random(0x5eed);
    let tries = (0..RUNS).map(|n| {
        let mut bytes = seeds[n % seeds.len()].clone();
        random.damage(&mut bytes);
        check(&bytes)
    });
    tries.filter(|is_good| *is_good).count()
}

fn keep(name: &str, seeds: &[Vec<u8>]) {
    let Some(folder) = std::env::var_os("STRATO_FUZZ_SEEDS") else { return };
    // Tests run in their package's folder, and the path is given from the workspace's.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    for (n, seed) in seeds.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{n}")), seed).unwrap();
    }
}

#[test]
fn any_device_tree_gives_a_sound_machine_or_a_reason() {
    let seeds = trees_to_begin_with();
    keep("device_tree", &seeds);
    assert!(seeds.iter().all(|seed| device_tree::check(seed)), "what is not damaged boots");
    let good = damaged(&seeds, device_tree::check);
    assert!((RUNS / 20..RUNS).contains(&good), "{good}: both outcomes have to come up");
}

#[test]
fn any_packed_system_gives_records_or_a_reason() {
    let seeds = plans::all();
    let kinds = plan::kinds(&seeds[0]);
    assert!(KINDS.iter().all(|kind| kinds.contains(kind)), "a kind of record is in no seed: {kinds:?}");
    keep("plan", &seeds);
    assert!(seeds.iter().all(|seed| plan::check(seed)), "what is not damaged is read");
    let good = damaged(&seeds, plan::check);
    assert!((RUNS / 20..RUNS).contains(&good), "{good}: both outcomes have to come up");
}
