//! `print!` and `println!`: text to the console, in as few calls as it takes. Works from the first instruction.
//!
//! A line that fits into one call is never torn, whoever else prints. Errors are dropped: there is nowhere to tell them.

use ::core::fmt::{self, Write};

use strato_abi::console::CONSOLE_BYTES;

use crate::conduit::Conduit;
use crate::console;

/// Text on its way to the console: gathers [`CONSOLE_BYTES`] before it makes a call.
#[derive(Debug)]
pub struct Printer<'c, C: Conduit + ?Sized> {
    conduit: &'c C,
    bytes: [u8; CONSOLE_BYTES],
    used: usize,
}

impl<'c, C: Conduit + ?Sized> Printer<'c, C> {
    /// Returns a printer with nothing gathered.
    #[must_use]
    pub const fn new(conduit: &'c C) -> Self {
        Self { conduit, bytes: [0; CONSOLE_BYTES], used: 0 }
    }

    /// Writes out what is gathered.
    pub fn flush(&mut self) {
        let _ = console::write_all(self.conduit, self.bytes.get(..self.used).unwrap_or(&self.bytes));
        self.used = 0;
    }
}

impl<C: Conduit + ?Sized> Write for Printer<'_, C> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let room = self.bytes.get_mut(self.used..).unwrap_or(&mut []);
            let now = room.len().min(rest.len());
            let (head, tail) = rest.split_at(now);
            room.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
            self.used += now;
            rest = tail;
            // A full buffer waits for more: a text of exactly one call's length makes one call.
            if !rest.is_empty() {
                self.flush();
            }
        }
        Ok(())
    }
}

/// Prints to the hypervisor's console; [`print!`](crate::print!) is the way to call it.
pub fn print(text: fmt::Arguments<'_>) {
    let mut printer = Printer::new(&crate::Hvc);
    let _ = printer.write_fmt(text);
    printer.flush();
}

/// Prints formatted text to the console.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => { $crate::print::print(::core::format_args!($($text)*)) };
}

/// Prints formatted text and a line end to the console.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($text:tt)*) => { $crate::print::print(::core::format_args!("{}\n", ::core::format_args!($($text)*))) };
}

#[cfg(test)]
mod tests {
    use std::string::String;
    use std::vec::Vec;

    use strato_abi::call::ConWriteReply;
    use strato_abi::console::ConsoleData;
    use strato_abi::{Argument, Call, Code, Reply};

    use super::*;
    use crate::Recorder;

    /// Returns a recorder that takes everything it is given, and what it was given, call by call.
    fn printed(recorder: Recorder, text: &str) -> Vec<String> {
        let mut printer = Printer::new(&recorder);
        printer.write_str(text).unwrap();
        printer.flush();
        let writes = recorder.calls().into_iter().filter(|(id, _)| *id == Call::ConWrite.function_id());
        let texts = writes.map(|(_, regs)| {
            let bytes = ConsoleData::take(&regs[1..]).unwrap().to_bytes();
            String::from_utf8(bytes[..usize::try_from(regs[0]).unwrap()].to_vec()).unwrap()
        });
        texts.collect()
    }

    fn taking(counts: &[u64]) -> Recorder {
        counts.iter().fold(Recorder::new(), |recorder, &written| recorder.answer(ConWriteReply { written }))
    }

    #[test]
    fn a_line_that_fits_is_one_call() {
        assert_eq!(printed(taking(&[6]), "hello\n"), ["hello\n"]);
        let full = "x".repeat(112);
        assert_eq!(printed(taking(&[112]), &full), [full]);
    }

    #[test]
    fn a_longer_text_goes_out_in_full_calls_and_a_rest() {
        let text = "y".repeat(113);
        assert_eq!(printed(taking(&[112, 1]), &text), ["y".repeat(112), "y".repeat(2).split_off(1)]);
    }

    #[test]
    fn nothing_makes_no_call() {
        assert_eq!(printed(Recorder::new(), ""), [] as [&str; 0]);
    }

    #[test]
    fn what_was_not_taken_is_written_again() {
        assert_eq!(printed(taking(&[2, 4]), "hello\n"), ["hello\n", "llo\n"]);
    }

    #[test]
    fn a_full_console_is_yielded_to_and_tried_again() {
        let recorder = Recorder::new()
            .refuse(strato_abi::Error::bare(Code::Again), 0)
            .raw(0, [0; 15])
            .raw(0, ConWriteReply { written: 3 }.to_regs());
        assert_eq!(printed(recorder, "abc"), ["abc", "abc"]);
    }

    #[test]
    fn a_forbidden_console_swallows_the_text() {
        let recorder = Recorder::new().refuse(strato_abi::Error::bare(Code::Denied), 0);
        assert_eq!(printed(recorder, "abc"), ["abc"]);
    }
}
