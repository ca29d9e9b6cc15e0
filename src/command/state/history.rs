//! `state runs`: what runs did, the last one first.

use serde_json::json;

use super::show::print_json;
use crate::cli::Format;
use crate::command::run::unusable_state;
use crate::error::{Exit, Failure, words};
use crate::report::{self, Table};
use crate::state::store::{Run, StateStore};

/// Shows the last runs; of one stream, what they did for it.
pub(super) fn runs(
    store: &StateStore,
    stream: Option<&str>,
    limit: usize,
    format: Format,
) -> Result<Exit, Failure> {
    let all = store.runs().map_err(|err| unusable_state(&err))?;
    let narrowed = all.into_iter().filter_map(|run| narrow(run, stream));
    let runs: Vec<Run> = narrowed.take(limit).collect();
    match format {
        Format::Json => print_json(&json!({ "version": 1, "runs": runs }))?,
        Format::Table => report::print(&table(&runs)),
    }
    Ok(Exit::Complete)
}

/// The run as far as it is about `stream`.
fn narrow(mut run: Run, stream: Option<&str>) -> Option<Run> {
    let Some(stream) = stream else { return Some(run) };
    run.streams.retain(|done| done.stream == stream);
    run.exit_code = run.streams.iter().map(|done| done.exit_code).max()?;
    Some(run)
}

fn table(runs: &[Run]) -> String {
    let mut table = Table::new(&[
        "started", "took", "exit", "outcome", "complete", "failed", "rows", "requests",
    ]);
    for run in runs {
        let failed = run.failed().count();
        table.row(vec![
            run.started.to_string(),
            report::took(run.ended.since(run.started)),
            run.exit_code.to_string(),
            words(run.exit_code).into(),
            (run.streams.len() - failed).to_string(),
            named(run, failed),
            run.streams.iter().map(|done| done.rows).sum::<u64>().to_string(),
            run.streams.iter().map(|done| done.requests).sum::<u64>().to_string(),
        ]);
    }
    table.to_string()
}

/// How many streams failed, and which.
fn named(run: &Run, failed: usize) -> String {
    let names: Vec<&str> = run.failed().map(|done| done.stream.as_str()).collect();
    if names.is_empty() { "0".into() } else { format!("{failed}: {}", names.join(", ")) }
}
