//! The `hogline` program: parses, calls the library, picks the exit code.

use std::process::ExitCode;

use clap::Parser;
use hogline::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    ExitCode::from(hogline::command::main(cli).code())
}
