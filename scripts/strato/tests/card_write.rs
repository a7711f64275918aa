//! What `strato sd` writes, and what it refuses: over what is there, too small, without firmware. Other programs agree on what a card is.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

#[path = "common/card.rs"]
mod card;
#[path = "common/elf.rs"]
mod elf;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use card::{PLAIN, firmware};
use strato_cli::card::{CONFIG, KERNEL, START, write};
use strato_cli::exit::Usage;

const IMAGE: u64 = 64 << 20;

/// A folder that goes with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("strato-write-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn strato(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strato"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn refusal(result: anyhow::Result<()>) -> String {
    result.unwrap_err().downcast::<Usage>().unwrap().to_string()
}

fn firmware_folder(scratch: &Scratch) -> String {
    let folder = scratch.path("firmware");
    write::folder(&firmware(), &folder, false).unwrap();
    folder.to_string_lossy().into_owned()
}

#[test]
fn a_card_has_the_firmware_as_it_stands_and_nothing_else_of_its_folder() {
    let mut from = firmware();
    from.files.insert("start.elf".into(), b"of another model".to_vec());
    let card = strato_cli::card::Card::of(vec![1, 2, 3], &mut from).unwrap();
    let names: Vec<&str> = card.files.keys().map(String::as_str).collect();
    let expected =
        ["LICENCE.broadcom", "bcm2711-rpi-4-b.dtb", CONFIG, "fixup4.dat", KERNEL, "overlays/disable-bt.dtbo", START];
    assert_eq!(names, expected);
    for name in names.iter().filter(|name| ![KERNEL, CONFIG].contains(name)) {
        assert_eq!(card.files[*name], from.files[*name], "{name}");
    }
}

#[test]
fn what_is_there_is_not_written_over_unless_it_is_said() {
    let scratch = Scratch::new("there");
    let card = card::card(PLAIN);
    let (folder, image) = (scratch.path("folder"), scratch.path("card.img"));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    write::folder(&card, &folder, false).unwrap();
    assert!(refusal(write::folder(&card, &folder, false)).contains("or say --force"));
    fs::write(folder.join(KERNEL), "old").unwrap();
    write::folder(&card, &folder, true).unwrap();
    assert_eq!(fs::read(folder.join(KERNEL)).unwrap(), card.files[KERNEL]);
    assert_eq!(fs::read(folder.join("notes.txt")).unwrap(), b"mine");
    fs::write(&image, "old").unwrap();
    assert!(refusal(write::image(&card, &image, IMAGE, false)).ends_with("or say --force to write over it"));
    assert_eq!(fs::read(&image).unwrap(), b"old");
    write::image(&card, &image, IMAGE, true).unwrap();
    assert_eq!(fs::metadata(&image).unwrap().len(), IMAGE);
    // A folder, and a device, such as the card itself.
    for place in [folder.as_path(), Path::new("/dev/null")] {
        assert_eq!(write::is_image(place), place != folder);
        assert!(refusal(write::image(&card, place, IMAGE, true)).contains("is no file\nhelp: write a file, and copy"));
    }
}

#[test]
fn an_image_that_is_too_small_is_refused_with_a_size_that_is_enough() {
    let scratch = Scratch::new("small");
    let image = scratch.path("card.img");
    let mut card = card::card(PLAIN);
    for bytes in [0, 1 << 20, 33 << 20, (34 << 20) + 512, 64 << 30] {
        assert!(refusal(write::image(&card, &image, bytes, false)).contains("whole MiB from 34MiB to 32GiB"));
    }
    fs::write(&image, "old").unwrap();
    card.files.insert(START.into(), vec![0x5a; 34 << 20]);
    let refused = refusal(write::image(&card, &image, 34 << 20, true));
    assert!(refused.starts_with("the files need ") && refused.contains("help: say --size 64MiB"), "{refused}");
    let names: Vec<_> = fs::read_dir(&scratch.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!((names.len(), fs::read(&image).unwrap()), (1, b"old".to_vec()));
    write::image(&card, &image, write::image_size(write::bytes(&card)), true).unwrap();
}

#[test]
fn the_same_files_make_the_same_image() {
    let scratch = Scratch::new("same");
    let images = ["a.img", "b.img"].map(|name| scratch.path(name));
    images.iter().for_each(|image| write::image(&card::card(PLAIN), image, IMAGE, false).unwrap());
    assert!(fs::read(&images[0]).unwrap() == fs::read(&images[1]).unwrap());
}

#[test]
fn fsck_finds_nothing_in_images_of_several_sizes() {
    let places = ["/sbin/fsck.fat", "/usr/sbin/fsck.fat", "/opt/homebrew/sbin/fsck.fat"];
    let Some(fsck) = places.iter().find(|place| Path::new(place).exists()) else {
        return eprintln!("SKIPPED: fsck.fat is not here; it comes with the package dosfstools");
    };
    let scratch = Scratch::new("fsck");
    let (image, part) = (scratch.path("card.img"), scratch.path("part"));
    let mut card = card::card(PLAIN);
    card.files.insert("empty.txt".into(), Vec::new());
    for number in 0..60 {
        card.files.insert(format!("overlays/one of many parts of trees, number {number}.dtbo"), vec![7; number * 50]);
    }
    for mebibytes in [34, 64, 260, 261] {
        write::image(&card, &image, mebibytes << 20, true).unwrap();
        let volume = fs::read(&image).unwrap().split_off(1 << 20);
        fs::write(&part, volume).unwrap();
        let output = Command::new(fsck).arg("-nv").arg(&part).output().unwrap();
        let (status, text) = said(&output);
        assert_eq!(status, Some(0), "{text}");
        let problems = ["differences", "wrong", "Wrong", "Orphan", "Reclaimed", "Bad", "Expected"];
        assert!(!problems.iter().any(|word| text.contains(word)), "{mebibytes} MiB: {text}");
        // 7 and 61 of ours, and the two folders.
        assert!(text.contains(": 70 files"), "{text}");
    }
}

#[test]
fn sd_says_what_is_missing_before_it_builds_anything() {
    let scratch = Scratch::new("sd");
    let folder = firmware_folder(&scratch);
    let output = scratch.path("card.img").to_string_lossy().into_owned();
    let there = scratch.path("there.img").to_string_lossy().into_owned();
    fs::write(&there, "old").unwrap();
    for (place, more, what) in [
        (there.as_str(), &[][..], "is there\nhelp: name another place with -o, or say --force"),
        ("/dev/null", &[], "/dev/null is no file\nhelp: write a file, and copy that to the card"),
        (&output, &["--size", "1MiB"], "an image cannot have 1MiB\nhelp: say a --size of whole MiB"),
    ] {
        let whole = [&["sd", "hello", "--firmware", folder.as_str(), "-o", place], more].concat();
        let (status, text) = said(&strato(&whole));
        assert_eq!((status, text.contains(what), text.contains("building")), (Some(2), true, false), "{text}");
    }
    let sd = |firmware: &str, more: &[&str]| {
        let whole = [&["sd", "hello", "--firmware", firmware, "-o", output.as_str()], more].concat();
        said(&strato(&whole))
    };
    let (status, text) = sd("/no/such/folder", &[]);
    assert_eq!(status, Some(69));
    assert!(text.contains("there is no folder /no/such/folder with the firmware\nhelp: take them from"), "{text}");
    fs::remove_file(scratch.path("firmware").join("fixup4.dat")).unwrap();
    let (status, text) = sd(&folder, &[]);
    assert_eq!(status, Some(69));
    assert!(text.contains("has no fixup4.dat\nhelp: take them from the Debian packages"), "{text}");
    let (status, text) = sd(&folder, &["--board", "qemu-virt"]);
    assert_eq!((status, text.contains("help: say --board rpi4")), (Some(2), true), "{text}");
    assert_eq!(strato(&["sd", "hello", "-o", &output]).status.code(), Some(2));
    assert!(!scratch.path("card.img").exists());
}

#[test]
fn doctor_tells_a_good_card_from_a_bad_one_by_its_status() {
    let scratch = Scratch::new("doctor");
    let image = scratch.path("card.img").to_string_lossy().into_owned();
    write::image(&card::card(PLAIN), Path::new(&image), IMAGE, false).unwrap();
    let (status, text) = said(&strato(&["doctor", "--board", "rpi4", &image]));
    assert_eq!(status, Some(0), "{text}");
    assert!(text.ends_with("nothing is wrong that can be told from outside\n"), "{text}");
    let (status, text) = said(&strato(&["doctor", &firmware_folder(&scratch)]));
    assert_eq!(status, Some(1), "{text}");
    assert!(text.starts_with("error: config.txt is missing\n --> config.txt\n"), "{text}");
    assert!(text.ends_with("firmware: 2 error(s), 0 warning(s)\n"), "{text}");
    let (status, text) = said(&strato(&["doctor", "/no/such/card"]));
    assert_eq!((status, text.contains("error: there is no /no/such/card\nhelp: ")), (Some(2), true), "{text}");
    assert_eq!(strato(&["doctor", "--board", "qemu-virt", &image]).status.code(), Some(2));
}
