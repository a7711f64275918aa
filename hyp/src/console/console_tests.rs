//! Tests of the console over a PL011 that is plain memory: its flags read as "not full, not busy, nothing received".

use super::own::LOG_BYTES;
use super::*;

fn output(console: &Console) -> std::string::String {
    let mut state = console.state.lock_leaf();
    let bytes: std::vec::Vec<u8> = core::iter::from_fn(|| state.output.take()).collect();
    std::string::String::from_utf8(bytes).unwrap()
}

fn log(console: &Console, level: Level, text: &str) {
    console.log(&Record::builder().level(level).args(format_args!("{text}")).build());
}

fn fill(console: &Console) {
    let mut state = console.state.lock_leaf();
    while state.output.put(&[b'.'; 16]) {}
}

#[test]
fn whole_lines_of_a_guest_carry_its_label() {
    let (console, mut line) = (Console::new(), LineBuffer::new());
    assert_eq!(console.guest_write("ping", &mut line, b"one\ntwo"), 7);
    assert_eq!(output(&console), "[ping] one\n");
    assert_eq!(console.guest_write("ping", &mut line, b" more\n\n"), 7);
    assert_eq!(output(&console), "[ping] two more\n[ping] \n");
}

#[test]
fn lines_of_two_guests_do_not_mix() {
    let console = Console::new();
    let (mut first, mut second) = (LineBuffer::new(), LineBuffer::new());
    console.guest_write("a", &mut first, b"from ");
    console.guest_write("b", &mut second, b"from b\n");
    console.guest_write("a", &mut first, b"a\n");
    assert_eq!(output(&console), "[b] from b\n[a] from a\n");
}

/// Writes all of `bytes` as a guest does, whatever a call takes, and returns how many calls that took.
fn write_all(console: &Console, line: &mut LineBuffer, mut bytes: &[u8]) -> usize {
    let mut calls = 0;
    while !bytes.is_empty() {
        let taken = console.guest_write("a", line, bytes.get(..112).unwrap_or(bytes));
        assert!(taken > 0, "there is room");
        bytes = bytes.get(taken..).unwrap();
        calls += 1;
    }
    calls
}

#[test]
fn a_long_line_is_wrapped_and_keeps_every_byte() {
    let (console, mut line) = (Console::new(), LineBuffer::new());
    let text = "x".repeat(450) + "\n";
    assert_eq!(write_all(&console, &mut line, text.as_bytes()), 5);
    let x = |count| format!("[a] {}\n", "x".repeat(count));
    assert_eq!(output(&console), x(200) + &x(200) + &x(50));
}

#[test]
fn a_call_that_ends_a_full_line_takes_nothing_behind_it() {
    let (console, mut line) = (Console::new(), LineBuffer::new());
    let text = [0xff; 112];
    let x = |count| format!("[a] {}\n", "\\xff".repeat(count));
    assert_eq!(console.guest_write("a", &mut line, &text), 51, "the last one stands in the next line");
    assert_eq!(output(&console), x(50));
    let after = [b"\n", text.as_slice()].concat();
    assert_eq!(console.guest_write("a", &mut line, &after), 51, "nor does it end a full one behind a line feed");
    assert_eq!(output(&console), x(1));
    assert_eq!(write_all(&console, &mut line, &[text, text].concat()), 6);
    assert_eq!(output(&console), x(50).repeat(5));
}

#[test]
fn a_full_ring_keeps_a_character_that_has_begun() {
    let (console, mut line) = (Console::new(), LineBuffer::new());
    assert_eq!(console.guest_write("a", &mut line, &[b"x".repeat(198).as_slice(), b"\xe4\xb8"].concat()), 200);
    fill(&console);
    assert_eq!(console.guest_write("a", &mut line, b"\n"), 0, "no room for the line that this would end");
    assert_eq!(console.guest_write("a", &mut line, b"\x96"), 0);
    assert!(!console.guest_flush("a", &mut line));
    output(&console);
    assert_eq!(write_all(&console, &mut line, b"\x96\n"), 2);
    assert_eq!(output(&console), format!("[a] {}\n[a] 世\n", "x".repeat(198)));
}

#[test]
fn a_character_that_does_not_end_is_shown_with_the_end_of_its_line() {
    let (console, mut line) = (Console::new(), LineBuffer::new());
    console.guest_write("a", &mut line, &[b"x".repeat(198).as_slice(), b"\xe4\xb8"].concat());
    assert!(console.guest_flush("a", &mut line));
    assert_eq!(output(&console), format!("[a] {}\n[a] \\xe4\\xb8\n", "x".repeat(198)));
}

#[test]
fn a_label_is_cut_off_at_its_longest() {
    let (console, mut line) = (Console::new(), LineBuffer::new());
    assert_eq!(console.guest_write(&"l".repeat(41), &mut line, b"\n"), 1);
    assert_eq!(output(&console), format!("[{}] \n", "l".repeat(40)));
}

#[test]
fn a_line_feed_right_at_the_limit_makes_one_line() {
    let (console, mut line) = (Console::new(), LineBuffer::new());
    console.guest_write("a", &mut line, ("x".repeat(200) + "\n").as_bytes());
    assert_eq!(output(&console), format!("[a] {}\n", "x".repeat(200)));
}

#[test]
fn a_full_ring_takes_fewer_bytes_and_loses_none() {
    let (console, mut line) = (Console::new(), LineBuffer::new());
    fill(&console);
    assert_eq!(console.guest_write("a", &mut line, b"kept\nrest\n"), 4);
    assert!(!console.guest_flush("a", &mut line));
    output(&console);
    assert_eq!(console.guest_write("a", &mut line, b"\nrest\n"), 6);
    assert_eq!(output(&console), "[a] kept\n[a] rest\n");
}

#[test]
fn a_flush_sends_a_started_line_and_no_empty_one() {
    let (console, mut line) = (Console::new(), LineBuffer::new());
    assert!(console.guest_flush("a", &mut line));
    console.guest_write("a", &mut line, b"end");
    assert!(console.guest_flush("a", &mut line));
    assert_eq!(output(&console), "[a] end\n");
}

#[test]
fn lines_of_the_hypervisor_say_how_important_they_are() {
    let console = Console::new();
    log(&console, Level::Info, "up");
    log(&console, Level::Warn, "odd");
    log(&console, Level::Error, "two\nlines");
    assert_eq!(output(&console), "strato: up\nstrato: warning: odd\nstrato: error: two lines\n");
}

#[test]
fn a_line_of_the_hypervisor_that_is_too_long_is_cut_off_visibly() {
    let console = Console::new();
    log(&console, Level::Info, &"y".repeat(500));
    let line = output(&console);
    assert!(line.ends_with("yyy...\n") && line.len() == LOG_BYTES);
}

#[test]
fn dropped_lines_are_counted_and_reported_before_the_next() {
    let console = Console::new();
    fill(&console);
    log(&console, Level::Info, "lost");
    log(&console, Level::Info, "lost too");
    output(&console);
    log(&console, Level::Info, "here");
    assert_eq!(output(&console), "strato: 2 lines dropped\nstrato: here\n");
}

#[test]
fn the_uart_takes_a_fifo_full_at_once_and_the_rest_on_its_interrupt() {
    let console = Console::new();
    log(&console, Level::Info, &"z".repeat(131));
    assert!(console.attach(Device::simulated(4096), Wire::Pl011 { clock_hz: 24_000_000 }));
    assert_eq!(console.state.lock_leaf().output.len(), 140 - 64);
    console.on_interrupt();
    assert_eq!(console.state.lock_leaf().output.len(), 140 - 128);
    console.flush_polled();
    assert_eq!(console.state.lock_leaf().output.len(), 0);
}

#[test]
fn input_waits_until_it_is_read() {
    let console = Console::new();
    console.attach(Device::simulated(4096), Wire::Pl011 { clock_hz: 0 });
    // Plain memory as a UART: it never stops receiving zeros, so a FIFO full arrives.
    assert!(console.on_interrupt());
    let mut buffer = [1; 40];
    assert_eq!(console.read(&mut buffer), 32);
    assert_eq!((buffer[31], buffer[32]), (0, 1));
    assert_eq!(console.read(&mut buffer), 0);
}

#[test]
fn a_device_that_is_no_pl011_is_refused() {
    assert!(!Console::new().attach(Device::simulated(16), Wire::Pl011 { clock_hz: 0 }));
}
