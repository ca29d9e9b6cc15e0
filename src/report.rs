//! What the user sees while a run goes on and after it ended.
//!
//! The only module that prints. Results go to stdout, progress and failures to
//! stderr, and every byte of either passes the redactor first.

mod compaction;
mod facts;
mod figures;
mod metrics;
mod page;
mod series;
mod table;
mod verification;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::config::Mode;
use crate::config::secret::redact;
use crate::cursor::Timestamp;
use crate::error::Failure;
use crate::http::Meter;
use crate::record::repair::Repairs;
use crate::target::Written;

pub use compaction::compaction;
pub use facts::{Facts, Freshness, as_json};
pub use figures::took;
pub use metrics::metrics;
pub use page::page;
pub use series::Series;
pub use table::Table;
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
    let written = writeln!(out, "{}", redact(text)).and_then(|()| out.flush());
    // Nobody is left to tell.
    drop(written);
}

/// A stderr for logs that hides secrets.
#[derive(Debug, Clone, Copy)]
pub struct RedactedStderr;

impl Write for RedactedStderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(redact(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Rows by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Rows {
    /// Not there before.
    pub new: u64,
    /// There with other content.
    pub updated: u64,
    /// There with the same content.
    pub unchanged: u64,
    /// Of the new ones, those that arrived behind the cursor.
    pub late: u64,
    /// Taken out, or marked, because PostHog no longer has them.
    pub deleted: u64,
}

impl Rows {
    fn add(&mut self, other: Self) {
        self.new += other.new;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.late += other.late;
        self.deleted += other.deleted;
    }

    /// All that were delivered.
    pub fn seen(self) -> u64 {
        self.new + self.updated + self.unchanged
    }
}

/// Counts what happens to a stream while it is replicated.
#[derive(Debug)]
pub struct Tally {
    stream: String,
    /// When the run began, that of all its streams.
    since: Instant,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    begun: Option<Instant>,
    ended: bool,
    path: Option<String>,
    rows: Rows,
    page: Rows,
    repairs: Repairs,
    page_repairs: Repairs,
    reached: Option<Timestamp>,
    keys_beyond: usize,
    series: Series,
}

impl Tally {
    /// Begins to count for a stream.
    pub fn of(stream: &str) -> Arc<Self> {
        let (stream, since) = (stream.to_owned(), Instant::now());
        Arc::new(Self { stream, since, counts: Mutex::default() })
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self) {
        self.counts().begun = Some(Instant::now());
        tell(&format!("{}: begins", self.stream));
    }

    pub(crate) fn end(&self, complete: bool) {
        let line = self.line();
        self.counts().ended = true;
        let outcome = if complete { "complete" } else { "stopped" };
        tell(&format!("{}: {outcome}, {line}", self.stream));
    }

    pub(crate) fn read_by(&self, path: &str) {
        self.counts().path = Some(path.to_owned());
    }

    pub(crate) fn add(&self, written: &Written, arrived: &Repairs, late: bool) {
        let Written { new, updated, unchanged, repairs, .. } = written;
        let late = if late { *new } else { 0 };
        let rows = Rows { new: *new, updated: *updated, unchanged: *unchanged, late, deleted: 0 };
        let mut counts = self.counts();
        counts.page.add(rows);
        counts.page_repairs.add(repairs);
        counts.page_repairs.add(arrived);
    }

    /// Notes how many keys of a flattened column have no column of their own.
    pub(crate) fn leave_keys(&self, beyond: usize) {
        let mut counts = self.counts();
        counts.keys_beyond = counts.keys_beyond.max(beyond);
    }

    /// Counts rows that PostHog no longer has.
    pub(crate) fn remove(&self, rows: u64) {
        self.counts().rows.deleted += rows;
    }

    pub(crate) fn commit_page(&self) {
        let mut counts = self.counts();
        let (page, repairs) =
            (std::mem::take(&mut counts.page), std::mem::take(&mut counts.page_repairs));
        counts.rows.add(page);
        counts.repairs.add(&repairs);
        let (rows, begun) = (counts.rows.seen(), counts.begun.unwrap_or(self.since));
        counts.series.note(begun.elapsed(), rows);
    }

    pub(crate) fn void_page(&self) {
        let mut counts = self.counts();
        counts.page = Rows::default();
        counts.page_repairs = Repairs::default();
    }

    pub(crate) fn reach(&self, at: Option<Timestamp>) {
        let mut counts = self.counts();
        counts.reached = at.or(counts.reached);
    }

    /// Rows and speed so far, in a line.
    fn line(&self) -> String {
        let counts = self.counts();
        let rows = counts.rows.seen();
        let seconds = counts.begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
        let at = counts.reached.map(|at| format!(", at {at}")).unwrap_or_default();
        let unit = if rows == 1 { "row" } else { "rows" };
        format!("{rows} {unit} in {seconds:.1} s{at}")
    }

    fn is_running(&self) -> bool {
        let counts = self.counts();
        counts.begun.is_some() && !counts.ended
    }
}

/// Tells every half minute how far each running stream is, until dropped.
pub async fn watch_progress(tallies: &[Arc<Tally>]) {
    let mut ticks = tokio::time::interval(Duration::from_secs(30));
    ticks.tick().await;
    loop {
        ticks.tick().await;
        for tally in tallies.iter().filter(|tally| tally.is_running()) {
            tell(&format!("{}: {}", tally.stream, tally.line()));
        }
    }
}

/// How a stream's replication ended.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The stream.
    pub stream: String,
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
    pub(crate) fn new(
        (stream, object): (String, String),
        mode: Mode,
        tally: Arc<Tally>,
        meter: &Meter,
        took: Duration,
        complete_to: Option<Timestamp>,
        failure: Option<Failure>,
    ) -> Self {
        let counts = tally.counts();
        Self {
            stream,
            object,
            mode: mode.name(),
            read_by: counts.path.clone(),
            rows: counts.rows,
            repairs: counts.repairs.iter().map(|(name, n)| (name.to_owned(), n)).collect(),
            keys_beyond: counts.keys_beyond,
            requests: meter.requests(),
            waited_seconds: meter.waited().as_secs_f64(),
            seconds: took.as_secs_f64(),
            begun_seconds: counts
                .begun
                .map_or(0.0, |begun| begun.duration_since(tally.since).as_secs_f64()),
            series: counts.series.clone(),
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
            outcome.stream.clone(),
            outcome.mode.into(),
            outcome.read_by.clone().unwrap_or_else(|| "–".into()),
            outcome.rows.new.to_string(),
            outcome.rows.updated.to_string(),
            outcome.rows.unchanged.to_string(),
            outcome.rows.late.to_string(),
            outcome.repairs.values().sum::<u64>().to_string(),
            outcome.requests.to_string(),
            format!("{:.1} s", outcome.waited_seconds),
            match (&outcome.failure, outcome.complete_to) {
                (None, Some(to)) => format!("complete to {}Z", &to.text().as_str()[..19]),
                (None, None) if outcome.mode == Mode::DefinitionOnly.name() => "defined".into(),
                (None, None) => "ended at the limit".into(),
                (Some(_), _) => "stopped".into(),
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
        let (count, stream) = (outcome.rows.deleted, &outcome.stream);
        let rows = if count == 1 { "row" } else { "rows" };
        notes.push(format!("deleted: {count} {rows} of {stream} that PostHog no longer has"));
    }
    for outcome in outcomes.iter().filter(|outcome| outcome.keys_beyond > 0) {
        let (count, stream) = (outcome.keys_beyond, &outcome.stream);
        let keys = if count == 1 { "key" } else { "keys" };
        notes.push(format!(
            "flattened: {count} {keys} of {stream} beyond the limit stay in their JSON column only"
        ));
    }
    for outcome in outcomes {
        for (column, count) in &outcome.repairs {
            let values = if *count == 1 { "value" } else { "values" };
            notes.push(format!("repaired: {count} {values} of {}.{column}", outcome.stream));
        }
    }
    notes
}
