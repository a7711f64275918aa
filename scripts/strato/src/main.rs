//! The program `strato`: the command line to the library, the library's errors to an exit status.

use std::process::ExitCode;

use clap::Parser;
use strato_cli::{cli::Cli, commands, exit};

fn main() -> ExitCode {
    match commands::run(Cli::parse()) {
        Ok(status) => ExitCode::from(status),
        Err(error) => exit::report(&error),
    }
}
