//! The corpus of broken cards: the doctor says of each exactly what stands in `tests/cards`, and nothing of a good one.
//! `STRATO_BLESS=1 cargo test -p strato-cli --test cards` writes the messages anew; read them before you commit.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

#[path = "common/card.rs"]
mod card;
#[path = "common/elf.rs"]
mod elf;

use std::fs;
use std::path::{Path, PathBuf};

use card::{PLAIN, firmware, packed, tree};
use strato_cli::card::doctor::{self, Report};
use strato_cli::card::{CONFIG, Card, FIXUP, KERNEL, START, TREE, settings, write};

const DEVICE: &str = "[[board.qemu-virt.device]]\nname = \"rtc\"\nvm = \"main\"\nregisters = [{ address = 0x0901_0000, size = \"4KiB\" }]\n";
const PARTITION: usize = 1 << 20;
const IMAGE: u64 = 64 << 20;

type Change = Box<dyn Fn(&mut Card)>;

fn put(name: &'static str, bytes: impl Into<Vec<u8>>) -> Change {
    let bytes = bytes.into();
    Box::new(move |card| drop(card.files.insert(name.into(), bytes.clone())))
}

fn lose(name: &'static str) -> Change {
    Box::new(move |card| drop(card.files.remove(name)))
}

fn cut(name: &'static str, bytes: usize) -> Change {
    Box::new(move |card| card.files.get_mut(name).unwrap().truncate(bytes))
}

fn patch(name: &'static str, at: usize, bytes: &'static [u8]) -> Change {
    Box::new(move |card| card.files.get_mut(name).unwrap()[at..at + bytes.len()].copy_from_slice(bytes))
}

fn add(lines: &str) -> Change {
    put(CONFIG, settings::text(false) + lines)
}

fn without(key: &str) -> Change {
    let text = settings::text(false);
    put(CONFIG, text.lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n"))
}

fn rename(from: &'static str, to: &'static str) -> Change {
    Box::new(move |card| {
        let bytes = card.files.remove(from).unwrap();
        card.files.insert(to.into(), bytes);
    })
}

/// What is wrong with the files of a card, by name.
fn folders() -> Vec<(&'static str, Change)> {
    vec![
        ("start_missing", lose(START)),
        ("start_empty", put(START, "")),
        ("start_of_zeros", put(START, vec![0; 600 << 10])),
        ("start_not_elf", patch(START, 0, b"<!DOCTYPE html>")),
        ("start_cut_short", cut(START, 600_000)),
        ("start_cut_to_nothing", cut(START, 20)),
        ("start_of_another_machine", patch(START, 0x12, &[183])),
        ("fixup_missing", lose(FIXUP)),
        ("fixup_another_file", patch(FIXUP, 0, b"\x7fELF")),
        ("tree_missing", lose(TREE)),
        ("tree_not_a_tree", patch(TREE, 0, b"/dts-v1/;")),
        ("tree_cut_short", cut(TREE, 3000)),
        ("tree_of_another_board", put(TREE, tree("raspberrypi,3-model-b"))),
        ("config_missing", lose(CONFIG)),
        // The flag of the mini UART in the header of the packed system.
        ("config_without_core_clock", patch(KERNEL, 0x3000 + 52, &[16])),
        ("config_utf16", put(CONFIG, b"\xff\xfea\0r\0m\0".to_vec())),
        ("config_32_bit", add("arm_64bit=0\n")),
        ("config_32_bit_for_this_model", add("[pi3]\nkernel_old=1\n[pi4]\narm_64bit=0\n[pi3]\narm_64bit=1\n")),
        ("config_without_64_bit", without("arm_64bit")),
        ("config_address", add("kernel_address=0x200000\n")),
        ("config_without_address", without("kernel_address")),
        ("config_without_uart", without("enable_uart")),
        ("config_uart_off", add("enable_uart=0\n")),
        ("config_no_gic", add("enable_gic=0\n")),
        ("config_clock", add("init_uart_clock=3000000\n")),
        ("config_astray", add("kernel_old=1\narm_peri_high=1\nos_prefix=strato/\narmstub=bl31.bin\n")),
        ("config_no_tree", add("device_tree=\n")),
        ("config_other_firmware", add("start_x=1\n")),
        ("config_other_kernel", add("kernel=kernel7l.img\n")),
        ("config_include", add("include more.txt\n")),
        ("config_conditional", add("[gpio4=1]\nkernel_address=0x200000\n")),
        ("config_odd", add(&format!("[pi44]\n[all]\nno setting\ncore_freq = 500\ndtparam={}\n", "x".repeat(100)))),
        ("config_overlay_missing", add("dtoverlay=disable-bt\ndtoverlay=vc4-kms-v3d,cma-256\n")),
        ("kernel_missing", lose(KERNEL)),
        ("kernel_under_another_name", rename(KERNEL, "strato.img")),
        ("kernel_elf", put(KERNEL, elf::build(&elf::Guest::default()))),
        ("kernel_compressed", put(KERNEL, vec![0x1f, 0x8b, 8, 0, 1, 2, 3])),
        ("kernel_without_header", patch(KERNEL, 0x38, &[0; 4])),
        ("kernel_of_a_few_bytes", cut(KERNEL, 40)),
        ("kernel_address", patch(KERNEL, 8, &[0, 0, 0x20, 0])),
        ("kernel_size", patch(KERNEL, 16, &[0, 0, 0, 0x70])),
        ("kernel_without_system", cut(KERNEL, 0x3000)),
        ("kernel_cut_short", cut(KERNEL, 0x3100)),
        ("kernel_damaged", patch(KERNEL, 0x3060, b"?")),
        ("kernel_of_another_layout", patch(KERNEL, 0x3008, &[9])),
        ("kernel_for_another_board", put(KERNEL, packed(&format!("{PLAIN}{DEVICE}")))),
        ("several", Box::new(|card| card.files.retain(|name, _| name == CONFIG || name == KERNEL))),
    ]
}

type Damage = fn(&mut Vec<u8>);

fn set(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// What is wrong with an image of a card, by name.
fn images() -> Vec<(&'static str, Damage)> {
    vec![
        ("card_empty", |image| image.clear()),
        ("card_without_table", |image| set(image, 510, &[0, 0])),
        ("card_without_partition", |image| set(image, 0x1be, &[0; 16])),
        ("card_of_a_volume_alone", |image| drop(image.drain(..PARTITION))),
        ("card_linux_partition", |image| set(image, 0x1c2, &[0x83])),
        ("card_gpt", |image| set(image, 0x1c2, &[0xee])),
        ("card_cut_short", |image| image.truncate(48 << 20)),
        ("card_not_formatted", |image| set(image, PARTITION, &[0; 512])),
        ("card_ext4", |image| set(image, PARTITION, &[0; 510])),
        // A third of the sectors: the same files, and clusters for a FAT16 alone.
        ("card_fat16", |image| set(image, PARTITION + 32, &40_000_u32.to_le_bytes())),
        ("card_bigger_than_its_partition", |image| set(image, 0x1ca, &100_000_u32.to_le_bytes())),
        ("card_torn_file", |image| set(image, PARTITION + 32 * 512 + 300 * 4, &0x0fff_ffff_u32.to_le_bytes())),
        ("card_torn_folder", |image| set(image, PARTITION + 44, &[0xff; 4])),
    ]
}

fn shown(report: &Report) -> String {
    report.findings.iter().map(|finding| format!("{finding}\n")).collect()
}

/// A folder that goes with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("strato-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn image(card: &Card, scratch: &Scratch) -> Vec<u8> {
    let path = scratch.0.join("card.img");
    write::image(card, &path, IMAGE, true).unwrap();
    fs::read(path).unwrap()
}

fn of_image(image: &[u8]) -> Report {
    doctor::of_disk(std::io::Cursor::new(image), "card.img").unwrap()
}

#[test]
fn each_broken_card_is_named() {
    let scratch = Scratch::new("cards");
    let good = card::card(PLAIN);
    let mut said: Vec<(&str, Report)> = Vec::new();
    for (name, change) in folders() {
        let mut card = good.clone();
        change(&mut card);
        let folder = scratch.0.join(name);
        write::folder(&card, &folder, false).unwrap();
        said.push((name, doctor::of(&folder).unwrap()));
    }
    let whole = image(&good, &scratch);
    for (name, damage) in images() {
        let mut image = whole.clone();
        damage(&mut image);
        said.push((name, of_image(&image)));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cards");
    let is_blessed = std::env::var_os("STRATO_BLESS").is_some();
    let mut wrong = Vec::new();
    for (name, report) in &said {
        let (path, message) = (folder.join(format!("{name}.txt")), shown(report));
        assert!(!report.findings.is_empty(), "{name}: nothing was found");
        for finding in &report.findings {
            let parts = [&finding.place, &finding.what, &finding.expected, &finding.fix];
            assert!(parts.iter().all(|part| part.len() > 3), "{name}: {finding}");
        }
        if is_blessed {
            fs::write(&path, &message).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != message {
            wrong.push(format!("{name}:\n{message}"));
        }
    }
    assert!(wrong.is_empty(), "messages differ from tests/cards:\n{}", wrong.join("\n"));
    assert_eq!(fs::read_dir(folder).unwrap().count(), said.len(), "a message belongs to no card");
}

#[test]
fn a_good_card_has_no_finding_and_its_vms_are_known() {
    let scratch = Scratch::new("good");
    let both = format!("{PLAIN}{DEVICE}{}", DEVICE.replace("qemu-virt", "rpi4").replace("0x0901_0000", "0xfe20_4000"));
    for text in [PLAIN, &both] {
        let good = card::card(text);
        let folder = scratch.0.join(text.len().to_string());
        write::folder(&good, &folder, false).unwrap();
        for report in [doctor::of(&folder).unwrap(), of_image(&image(&good, &scratch))] {
            assert_eq!(shown(&report), "");
            assert_eq!(report.packed.unwrap().vms, ["main"]);
        }
    }
    // The card is looked at as it is; names have no case on it.
    let mut upper = card::card(PLAIN);
    upper.files = upper.files.into_iter().map(|(name, bytes)| (name.to_uppercase(), bytes)).collect();
    assert_eq!(shown(&doctor::examine(&mut upper)), "");
    write::folder(&upper, &scratch.0.join("upper"), false).unwrap();
    assert_eq!(shown(&doctor::of(&scratch.0.join("upper")).unwrap()), "");
}

#[test]
fn a_kernel_that_does_not_fit_in_memory_is_named() {
    let scratch = Scratch::new("big");
    write::folder(&card::card(PLAIN), &scratch.0, false).unwrap();
    // The disk holds none of it.
    fs::OpenOptions::new().write(true).open(scratch.0.join(KERNEL)).unwrap().set_len(0x3b40_0000).unwrap();
    let report = doctor::of(&scratch.0).unwrap();
    assert!(
        shown(&report).contains("kernel8.img has 994050048 bytes: it does not fit in memory"),
        "{}",
        shown(&report)
    );
}

#[test]
fn a_damaged_card_is_read_or_refused() {
    let scratch = Scratch::new("damaged");
    let good = image(&card::card(PLAIN), &scratch);
    // What says where everything is: the partition table, the first sectors, the two tables, the folders.
    let [table, data] = [PARTITION + 32 * 512, PARTITION + 2032 * 512];
    let areas = [(0x1be, 0x200), (PARTITION, PARTITION + 1024), (table, table + 6000), (data, data + 2048)];
    let (mut state, mut found) = (0x5eed_u64, 0);
    let mut below = |limit: usize| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        usize::try_from(state >> 33).unwrap() % limit
    };
    let mut image = good.clone();
    for _ in 0..300 {
        let mut touched = Vec::new();
        for _ in 0..=below(3) {
            let (start, end) = areas[below(areas.len())];
            let at = start + below(end - start);
            image[at] = [0, 1, 0x0f, 0x80, 0xff][below(5)];
            touched.push(at);
        }
        found += usize::from(!of_image(&image).findings.is_empty());
        for at in touched {
            image[at] = good[at];
        }
    }
    assert!(found > 50, "{found} were noticed");
    assert_eq!(shown(&of_image(&image)), "");
    assert_eq!(firmware().files.len(), 6);
}
