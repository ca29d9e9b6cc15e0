//! What the user sees while a run goes on and after it ended.
//!
//! The only module that prints. Results go to stdout, progress and failures to
//! stderr, and every byte of either passes the redactor first.

mod compaction;
mod facts;
mod figures;
mod metrics;
mod page;
mod progress;
mod prometheus;
mod sending;
mod series;
mod syncing;
mod table;
mod tally;
mod verification;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::config::Mode;
use crate::config::secret::redact;
use crate::cursor::Timestamp;
use crate::error::Failure;
use crate::http::Meter;

pub use compaction::compaction;
pub use facts::{Facts, Freshness, as_json};
pub use figures::{to_the_second, took};
pub use metrics::metrics;
pub use page::page;
pub use progress::{Progress, never_draw};
pub use prometheus::Text;
pub use sending::{Sent, sending, sending_as_json};
pub use series::Series;
pub use syncing::{Synced, syncing, syncing_as_json};
pub use table::Table;
use tally::Totals;
pub use tally::{Rows, Tally};
pub use verification::{verification, verification_as_json};

/// Writes a result to stdout. A reader that went away is no failure of ours.
pub fn print(text: &str) {
    write_all(&mut io::stdout().lock(), text);
}

/// Writes progress or a failure to stderr.
pub fn tell(text: &str) {
    write_all(&mut io::stderr().lock(), text);
}

fn write_all(out: &mut dyn Write, text: &str) {
    let text = redact(text);
    let written = progress::aside(|| writeln!(out, "{text}").and_then(|()| out.flush()));
    // Nobody is left to tell.
    drop(written);
}

/// A stderr for logs that hides secrets.
#[derive(Debug, Clone, Copy)]
pub struct RedactedStderr;

impl Write for RedactedStderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        progress::aside(|| io::stderr().write_all(redact(&text).as_bytes()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// How a stream's replication ended.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The stream.
    pub stream: String,
    /// The same for people, who may know several of that name.
    #[serde(skip)]
    pub label: String,
    /// Where its rows went.
    pub object: String,
    /// How it was loaded.
    pub mode: &'static str,
    /// The way it was read.
    pub read_by: Option<String>,
    /// What became of its rows.
    pub rows: Rows,
    /// Values changed to fit, by column.
    pub repairs: BTreeMap<String, u64>,
    /// Keys of a flattened column that have no column of their own, because there are too many.
    pub keys_beyond: usize,
    /// Requests sent, retries included.
    pub requests: u64,
    /// Seconds spent waiting for quotas and after refusals.
    pub waited_seconds: f64,
    /// Seconds from beginning to end.
    pub seconds: f64,
    /// Seconds from the run's beginning to the stream's.
    pub begun_seconds: f64,
    /// How many rows were committed when.
    pub series: Series,
    /// Up to when the stream is complete, where it is.
    pub complete_to: Option<Timestamp>,
    /// Why it is not.
    #[serde(skip)]
    pub failure: Option<Failure>,
    /// The same, as text.
    pub error: Option<String>,
}

impl Outcome {
    /// What became of a stream that is not vouched for.
    fn incomplete(&self) -> &'static str {
        match &self.failure {
            Some(_) => "stopped",
            None if self.mode == Mode::DefinitionOnly.name() => "defined",
            None => "ended at the limit",
        }
    }

    pub(crate) fn new(
        (stream, object): (String, String),
        mode: Mode,
        tally: Arc<Tally>,
        meter: &Meter,
        took: Duration,
        complete_to: Option<Timestamp>,
        failure: Option<Failure>,
    ) -> Self {
        let Totals { path, rows, repairs, keys_beyond, begun_after, series } = tally.totals();
        Self {
            stream,
            label: tally.stream().to_owned(),
            object,
            mode: mode.name(),
            read_by: path,
            rows,
            repairs: repairs.iter().map(|(name, n)| (name.to_owned(), n)).collect(),
            keys_beyond,
            requests: meter.requests(),
            waited_seconds: meter.waited().as_secs_f64(),
            seconds: took.as_secs_f64(),
            begun_seconds: begun_after.as_secs_f64(),
            series,
            complete_to,
            error: failure.as_ref().map(|failure| redact(&failure.to_string()).into_owned()),
            failure,
        }
    }
}

/// Tells of every stream that failed.
pub fn tell_failures(outcomes: &[Outcome]) {
    for failure in outcomes.iter().filter_map(|outcome| outcome.failure.as_ref()) {
        tell(&format!("error: {failure}"));
    }
}

/// The summary of a run, as a table and what there is to say below it.
pub fn summary(outcomes: &[Outcome]) -> String {
    let mut table = Table::new(&[
        "stream",
        "mode",
        "read by",
        "new",
        "updated",
        "unchanged",
        "late",
        "repaired",
        "requests",
        "waited",
        "outcome",
    ]);
    for outcome in outcomes {
        table.row(vec![
            outcome.label.clone(),
            outcome.mode.into(),
            outcome.read_by.clone().unwrap_or_else(|| "–".into()),
            outcome.rows.new.to_string(),
            outcome.rows.updated.to_string(),
            outcome.rows.unchanged.to_string(),
            outcome.rows.late.to_string(),
            outcome.repairs.values().sum::<u64>().to_string(),
            outcome.requests.to_string(),
            format!("{:.1} s", outcome.waited_seconds),
            match outcome.complete_to {
                Some(to) => format!("complete to {}", to_the_second(to)),
                None => outcome.incomplete().into(),
            },
        ]);
    }
    let notes = notes(outcomes);
    notes.iter().fold(table.to_string(), |text, note| text + "\n" + note)
}

/// What there is to say besides: deleted rows, keys without a column, repaired values.
fn notes(outcomes: &[Outcome]) -> Vec<String> {
    let mut notes = Vec::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.rows.deleted > 0) {
        let (count, stream) = (outcome.rows.deleted, &outcome.label);
        let rows = if count == 1 { "row" } else { "rows" };
        notes.push(format!("deleted: {count} {rows} of {stream} that PostHog no longer has"));
    }
    for outcome in outcomes.iter().filter(|outcome| outcome.keys_beyond > 0) {
        let (count, stream) = (outcome.keys_beyond, &outcome.label);
        let keys = if count == 1 { "key" } else { "keys" };
        notes.push(format!(
            "flattened: {count} {keys} of {stream} beyond the limit stay in their JSON column only"
        ));
    }
    for outcome in outcomes {
        for (column, count) in &outcome.repairs {
            let values = if *count == 1 { "value" } else { "values" };
            notes.push(format!("repaired: {count} {values} of {}.{column}", outcome.label));
        }
    }
    notes
}
