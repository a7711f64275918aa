//! The lines of config.txt that Strato needs: one table, from which the file is written and with which one is compared.
//! Called by `Card::of` and `doctor`.

use super::{CONFIG, Finding, KERNEL, config::Config};

/// A line of config.txt.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// What is set.
    pub key: &'static str,
    /// To what.
    pub value: &'static str,
    /// Why, as the file says it above the line.
    pub why: &'static str,
    /// What happens without the line, if it is bad.
    pub without: Option<&'static str>,
    /// What another value does.
    pub otherwise: &'static str,
}

/// Every line that each card has, in the order of the file (Raspberry Pi documentation, "config.txt").
static SETTINGS: [Setting; 8] = [
    Setting {
        key: "arm_64bit",
        value: "1",
        why: "The cores start in AArch64, at EL2.",
        without: Some("older firmware starts the cores in AArch32"),
        otherwise: "the cores start in AArch32",
    },
    Setting {
        key: "kernel",
        value: KERNEL,
        why: "What is started: the hypervisor with the packed system behind it.",
        without: None,
        otherwise: "another file is started",
    },
    Setting {
        key: "kernel_address",
        value: "0x80000",
        why: "Where it is loaded, which its header asks for too.",
        without: Some("firmware that passes over the header loads it elsewhere"),
        otherwise: "it is loaded elsewhere than its header says",
    },
    Setting {
        key: "device_tree",
        value: super::TREE,
        why: "The board's device tree, which says how much memory there is.",
        without: None,
        otherwise: "Strato is given another device tree, or none",
    },
    Setting {
        key: "enable_gic",
        value: "1",
        why: "Interrupts go through the GIC-400, which Strato drives.",
        without: None,
        otherwise: "interrupts do not reach the GIC-400",
    },
    Setting {
        key: "enable_uart",
        value: "1",
        why: "The serial console is on GPIO 14 and 15, pins 8 and 10.",
        without: Some("the firmware does not set the serial console up"),
        otherwise: "the firmware does not set the serial console up",
    },
    Setting {
        key: "init_uart_clock",
        value: "48000000",
        why: "The clock in Hz that Strato divides to 115200 baud.",
        without: None,
        otherwise: "the console has another speed than 115200 baud",
    },
    Setting {
        key: "uart_2ndstage",
        value: "1",
        why: "The firmware says on the same line what it loads.",
        without: None,
        otherwise: "the firmware is silent, and so is a card that does not boot",
    },
];

/// What there is more for a console on the mini UART, whose speed is the core clock divided.
static MINI_UART: [Setting; 2] = [
    Setting {
        key: "core_freq",
        value: "500",
        why: "The core clock in MHz, which Strato divides to 115200 baud for the mini UART.",
        without: Some("the firmware may choose another core clock, and the console another speed"),
        otherwise: "the console has another speed than 115200 baud",
    },
    Setting {
        key: "core_freq_min",
        value: "500",
        why: "It is never less.",
        without: Some("the core clock falls when there is little to do, and the console's speed with it"),
        otherwise: "the core clock falls when there is little to do, and the console's speed with it",
    },
];

/// Returns the lines of a card, in the order of the file.
fn lines(has_mini_uart: bool) -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().chain(MINI_UART.iter().filter(move |_| has_mini_uart))
}

/// Returns config.txt, for a console on the PL011 or on the mini UART.
#[must_use]
pub fn text(has_mini_uart: bool) -> String {
    let mut text = String::from(
        "# Strato on a Raspberry Pi 4, written by `cargo strato sd`.\n\
         # `cargo strato doctor --board rpi4` says what is wrong with a card.\n\
         \n\
         [all]\n",
    );
    for setting in lines(has_mini_uart) {
        text += &format!("# {}\n{}={}\n", setting.why, setting.key, setting.value);
    }
    text
}

/// Returns which of the lines are missing or say something else.
#[must_use]
pub fn compare(config: &Config, has_mini_uart: bool) -> Vec<Finding> {
    lines(has_mini_uart).filter_map(|setting| compared(config, setting)).collect()
}

fn compared(config: &Config, setting: &Setting) -> Option<Finding> {
    let Setting { key, value, without, otherwise, .. } = setting;
    let expected = format!("{key}={value}");
    let Some(last) = config.last(key) else {
        let finding = |why: &str| {
            let fix = format!("add the line `{expected}` at the end of {CONFIG}, under `[all]`");
            Finding::error(CONFIG, format!("{CONFIG} has no `{key}`: {why}"), &expected, fix)
        };
        return match without {
            Some(why) => Some(finding(why)),
            None if *key == "uart_2ndstage" => Some(finding(otherwise).as_warning()),
            None => None,
        };
    };
    // Which file is started, and which device tree is taken, is judged by what that file is.
    let is_file = ["kernel", "device_tree"].contains(key) && !last.value.is_empty();
    if is_file || is_same(&last.value, value) {
        return None;
    }
    let before = config.all(key).into_iter().rev().find(|line| is_same(&line.value, value));
    let overridden = before.map_or(String::new(), |line| format!(" (line {} is overridden)", line.number));
    let finding = Finding::error(
        format!("{CONFIG}:{}", last.number),
        format!("`{key}={}`: {otherwise}{overridden}", last.value),
        &expected,
        format!("write `{expected}`; of several lines the last counts"),
    );
    let is_harmless = ["uart_2ndstage", "device_tree"].contains(key);
    Some(if is_harmless { finding.as_warning() } else { finding })
}

/// Returns whether two values say the same: numbers by what they are.
fn is_same(a: &str, b: &str) -> bool {
    a == b || number(a).is_some_and(|a| number(b) == Some(a))
}

/// Returns a number as config.txt has it, decimal or hexadecimal.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        compare(&Config::read(text), true).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn what_is_written_has_nothing_wrong_and_a_comment_above_each_line() {
        assert_eq!(said(&text(true)), Vec::<String>::new());
        let text = text(true);
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[1].contains('=')) {
            assert!(pair[0].starts_with("# "), "{pair:?}");
        }
    }

    #[test]
    fn a_number_is_the_same_however_it_is_written() {
        assert_eq!(said(&text(true).replace("0x80000", "524288")), Vec::<String>::new());
        assert_eq!(said(&text(true).replace("0x80000", "0x200000")).len(), 1);
    }

    #[test]
    fn each_line_that_says_something_else_is_found() {
        for setting in lines(true).filter(|setting| !["kernel", "device_tree"].contains(&setting.key)) {
            let line = format!("{}={}", setting.key, setting.value);
            let found = said(&text(true).replace(&line, &format!("{}=7", setting.key)));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(&format!("`{}=7`", setting.key)), "{found:?}");
        }
    }

    #[test]
    fn the_core_clock_is_fixed_for_the_mini_uart_alone() {
        assert!(!text(false).contains("core_freq"));
        assert_eq!(compare(&Config::read(&text(false)), false), []);
        assert_eq!(said(&text(false)).len(), 2);
    }
}
