//! A Raspberry Pi 4 whose device tree lies, in QEMU's `raspi4b`: what cannot be is said, and what can run runs. Where that machine, or what
//! builds an image, is missing, a line says that nothing was tested.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use strato_cli::commands::boot::Scratch;
use strato_cli::qemu::{Qemu, tree};

/// Returns this tool's tree with the one place that holds `from` changed to `to`, which is as long.
fn changed(from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut blob = tree::rpi4().unwrap();
    let places: Vec<usize> =
        blob.windows(from.len()).enumerate().filter(|(_, part)| *part == from).map(|(at, _)| at).collect();
    let [place] = places.as_slice() else { panic!("{from:?} stands at {places:?}") };
    blob[*place..*place + to.len()].copy_from_slice(to);
    blob
}

/// Returns this tool's tree with `tokens` in front of the end of its root.
fn with_tokens(tokens: &[u8]) -> Vec<u8> {
    let mut blob = tree::rpi4().unwrap();
    let field = |index: usize| u32::from_be_bytes(*blob[index * 4..].first_chunk().unwrap());
    let (at, more) = (field(2) + field(9) - 8, u32::try_from(tokens.len()).unwrap());
    let moved = [2, 3, 4].into_iter().filter(|&index| field(index) > at).chain([1, 9]);
    let fields: Vec<(usize, u32)> = moved.map(|index| (index * 4, field(index) + more)).collect();
    for (place, value) in fields {
        blob[place..place + 4].copy_from_slice(&value.to_be_bytes());
    }
    blob.splice(at as usize..at as usize, tokens.iter().copied());
    blob
}

/// Boots `hello` with each tree, which has to say these lines; a good one ends by itself, well, and without a panic. One that is refused
/// early cannot power off, so its run is ended when all was said.
fn boots(trees: &[(Vec<u8>, bool, &[&str])]) {
    match Qemu::find().map(|qemu| qemu.needs_rpi4()) {
        Ok(Ok(())) => {}
        Ok(Err(missing)) | Err(missing) => return eprintln!("SKIPPED: device trees that lie: {missing}"),
    }
    for (blob, is_good, lines) in trees {
        let file = Scratch::new(blob).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_strato"));
        let tree = format!("--device-tree={}", file.path().display());
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        command.args(["run", "hello", "--board", "rpi4", &tree]).current_dir(root).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            said.push_str(&line.unwrap());
            said.push('\n');
            if !is_good && lines.iter().all(|line| said.contains(line)) {
                // The shell has it, a small system may not have it as a program.
                Command::new("sh").args(["-c", &format!("kill {}", child.id())]).status().unwrap();
                break;
            }
        }
        let status = child.wait().unwrap();
        if status.code() == Some(69) {
            return eprintln!("SKIPPED: device trees that lie: no image can be built, as is said above");
        }
        for line in *lines {
            assert!(said.contains(line), "`{line}` is missing in:\n{said}");
        }
        assert_eq!(status.success(), *is_good, "{said}");
        assert!(!said.contains("panic"), "{said}");
    }
}

fn word(value: u32) -> Vec<u8> {
    [0_u32.to_be_bytes(), value.to_be_bytes()].concat()
}

const GOOD: &str = "[hello] hello: ok";

#[test]
fn a_core_that_never_comes_is_reported_and_the_rest_run() {
    boots(&[
        (changed(&word(0xf0), &word(0xf8)), true, &["core 3 was started and never came", GOOD]),
        (changed(&word(0xf0), &word(0x10f0)), true, &["core 3 waits where it cannot be released", GOOD]),
        (
            changed(&word(0xf0), &word(0xe8)),
            true,
            &["core 2 waits where it cannot be released", "core 3 waits where it cannot be released", GOOD],
        ),
    ]);
}

#[test]
fn a_tree_of_many_nodes_boots_and_one_that_is_too_large_is_refused() {
    let (begin, end) = (b"\0\0\0\x01node@0\0\0", b"\0\0\0\x02");
    boots(&[
        (with_tokens(&[begin.repeat(10_000), end.repeat(10_000)].concat()), true, &[GOOD]),
        (with_tokens(&[begin.as_slice(), end].concat().repeat(10_000)), true, &[GOOD]),
        (
            with_tokens(&[begin.as_slice(), end].concat().repeat(140_000)),
            false,
            &["strato: the device tree says that it is larger than 2 MiB"],
        ),
    ]);
}

#[test]
fn a_board_that_is_called_almost_like_a_pi_is_another_one() {
    // Its pins are nobody's: the first signs of life end. There is nothing that powers it off.
    let other = changed(b"raspberrypi,4-model-b", b"raspberrypi,4-model-x");
    boots(&[(other, false, &["strato: board unknown, 4 cores", GOOD, "all guests ended, 1 ok"])]);
}

#[test]
fn a_tree_that_lies_about_devices_is_refused() {
    // Where the bus of the interrupt controller is: at 0, so that its registers are memory; then in the image.
    let bus = |to: u32| {
        changed(&[0x40, 0, 0, 0, 0, 0, 0, 0, 0xff, 0x80, 0, 0], &[&[0x40, 0, 0, 0], word(to).as_slice()].concat())
    };
    boots(&[
        (changed(b"arm,gic-400", b"arm,gic-999"), false, &["cannot boot: the device tree has no GICv2 or GICv3"]),
        (changed(b"arm,pl011", b"arm,pl999"), false, &["cannot boot: the device tree has no enabled PL011"]),
        (bus(0x5_0000), false, &["cannot boot: by the device tree a device stands where the image"]),
        (bus(0), false, &["cannot boot: "]),
    ]);
}
