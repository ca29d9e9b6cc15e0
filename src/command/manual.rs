//! `hogline completions` and `hogline man`: what shells and readers of manuals need.

use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::error::{Exit, Failure};
use crate::report;

/// Prints a shell's script.
pub(super) fn completions(shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hogline", &mut script);
    report::print(String::from_utf8_lossy(&script).trim_end());
    Ok(Exit::Complete)
}

/// Prints the manual page, or writes those of all commands into a folder.
pub(super) fn pages(dir: Option<&Path>) -> Result<Exit, Failure> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(|err| not_written(&err))?;
        report::print(String::from_utf8_lossy(&page).trim_end());
        return Ok(Exit::Complete);
    };
    let written =
        std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    written.map_err(|err| not_written(&err))?;
    report::print(&format!("The pages are in {}.", dir.display()));
    Ok(Exit::Complete)
}

fn not_written(err: &io::Error) -> Failure {
    let fix = "name a folder that can be written with --dir";
    Failure::usage("the manual cannot be written", err.to_string(), fix)
}
