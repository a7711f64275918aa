//! Tests of the command line.

use super::*;

fn virt() -> Virt {
    Virt {
        board: Board::QemuVirt,
        gic: 2,
        cores: 4,
        cpu: "cortex-a72".into(),
        device_tree: tree::Given::Nothing,
        has_mini_uart: false,
        is_counted: false,
        is_traced: false,
        reset: None,
        gdb_port: None,
    }
}

#[test]
fn the_command_line_is_the_one_that_is_known_to_work() {
    let expected = "-M virt,virtualization=on,gic-version=2,dtb-randomness=off -cpu cortex-a72 -m 512 -smp 4 -nodefaults \
                    -display none -monitor none -serial stdio -no-reboot";
    assert_eq!(virt().arguments(Level::El2).join(" "), expected);
    let line = virt().arguments(Level::El1).join(" ");
    assert_eq!(line, expected.replace("virtualization=on,", ""));
    assert!(virt().arguments(Level::El3).join(" ").contains("secure=on"));
}

#[test]
fn a_raspberry_pi_has_its_own_memory_and_cores() {
    let machine = Virt { board: Board::Rpi4, is_counted: true, ..virt() };
    let line = machine.arguments(Level::El2).join(" ");
    assert!(line.starts_with("-M raspi4b -cpu cortex-a72,cntfrq=1000000000 -nodefaults "), "{line}");
    assert!(!line.contains("-smp") && !line.contains("-m "));
    assert_eq!(machine.board(), "rpi4");
}

#[test]
fn the_mini_uart_is_the_second_serial_line_of_a_raspberry_pi_alone() {
    let line = |board| Virt { board, has_mini_uart: true, ..virt() }.arguments(Level::El2).join(" ");
    assert!(line(Board::Rpi4).contains(" -serial null -serial stdio "));
    assert!(!line(Board::QemuVirt).contains("null"));
}

#[test]
fn a_counted_machine_makes_a_tick_an_instruction() {
    let line = Virt { is_counted: true, ..virt() }.arguments(Level::El2).join(" ");
    assert!(line.contains("-cpu cortex-a72,cntfrq=1000000000") && line.contains("-icount shift=0,align=off,sleep=off"));
    assert!(line.contains("-S -no-shutdown -chardev socket,id=monitor,fd=0 ") && !line.contains("-serial stdio"));
}

#[test]
fn a_traced_machine_has_a_monitor_and_its_own_time() {
    let line = Virt { is_traced: true, ..virt() }.arguments(Level::El2).join(" ");
    assert!(line.contains("-no-shutdown -chardev socket,id=monitor,fd=0 ") && !line.contains("icount"));
}

#[test]
fn a_machine_that_is_reset_has_a_monitor_for_it_and_its_memory_spoiled_if_that_is_asked_for() {
    let line = |reset| Virt { reset: Some(reset), ..virt() }.arguments(Level::El2).join(" ");
    assert!(line(Reset::Kept).contains("id=monitor,fd=0 "));
    assert!(!line(Reset::Kept).contains("loader"));
    assert!(line(Reset::Spoiled).contains("-device loader,addr=0x40070000,data=0,data-len=8"));
}

#[test]
fn a_machine_with_a_debugger_has_no_monitor() {
    let line = Virt { is_counted: true, gdb_port: Some(1234), ..virt() }.arguments(Level::El2).join(" ");
    assert!(!line.contains("-no-shutdown") && line.contains("-serial stdio"));
}

#[test]
fn semihosting_is_never_asked_for() {
    for is_counted in [false, true] {
        let line = Virt { is_counted, gdb_port: Some(1234), ..virt() }.arguments(Level::El2).join(" ");
        assert!(!line.contains("semihosting") && line.contains("-gdb tcp:127.0.0.1:1234"));
    }
}

#[test]
fn the_message_names_the_command_of_the_system() {
    for (release, command) in [
        ("ID=debian\nVERSION_CODENAME=bookworm", "apt-get install -t bookworm-backports"),
        ("ID=debian\nVERSION_CODENAME=trixie", "apt-get install --no"),
        ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"", "apt-get install --no"),
        ("ID=fedora", "dnf"),
        ("ID=arch", "pacman"),
        ("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"", "zypper"),
        ("", "brew"),
    ] {
        assert!(install(release).starts_with(command), "{release}");
    }
}
