//! `hogline run --stdout`: one stream for other programs to read. Nothing is remembered.

use std::path::Path;

use super::scratch::Scratch;
use super::{Options, attempt, exit_of, jobs, plan};
use crate::cli::StdoutFormat;
use crate::config::{Compression, Connections, FileFormat, Mode, TargetConnection, Written};
use crate::error::{Exit, Failure};
use crate::report;

/// Prints the rows of a stream; what there is to tell goes to stderr.
pub(super) async fn print(
    written: &Written,
    connections: &Connections,
    base: &Path,
    options: Options,
    format: StdoutFormat,
) -> Result<Exit, Failure> {
    let scratch = Scratch::new()?;
    // Whatever the file says: there is nothing to go on with.
    let mode = if options.range.is_some() { Mode::Backfill } else { Mode::FullRefresh };
    let options = Options { mode: Some(mode), ..options };
    let Some(mut plan) = plan(written, connections, base, &options, &scratch.state).await? else {
        return Ok(Exit::Complete);
    };
    let chosen = jobs::chosen(&plan.replication, &plan.options)?;
    if chosen.len() != 1 {
        let names: Vec<&str> = chosen.iter().map(|stream| stream.name.as_str()).collect();
        return Err(Failure::usage(
            "--stdout prints one stream",
            format!("here are {}: {}", names.len(), names.join(", ")),
            "name one of them with --streams",
        ));
    }
    plan.target = TargetConnection::Stdout(match format {
        StdoutFormat::Csv => FileFormat::Csv(Compression::None),
        StdoutFormat::Jsonl => FileFormat::Jsonl(Compression::None),
    });
    for stream in &mut plan.replication.streams {
        // What the file says of files and tables is of its own target.
        (stream.format, stream.by_date) = (None, false);
        (stream.pre_sql, stream.post_sql) = (None, None);
    }
    let outcomes = attempt(&plan).await?;
    report::tell(&report::summary(&outcomes));
    report::tell_failures(&outcomes);
    Ok(exit_of(&outcomes))
}
