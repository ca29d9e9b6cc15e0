//! What happens to a stream while it is replicated, counted.
//!
//! A tally is shared: the reader and the writer of a stream count, what shows progress looks,
//! and at the end the outcome takes it all. Rows of a page count once the page is committed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::progress::is_drawn;
use super::{Series, tell};
use crate::cursor::{Interval, Leg, Timestamp};
use crate::record::repair::Repairs;
use crate::target::Written;

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
    walk: Option<Walk>,
}

/// A walk through a range of time.
#[derive(Debug, Clone, Copy)]
struct Walk {
    range: Interval,
    begun: Instant,
    /// Where it began: further on where it goes on with an interrupted one.
    from: Timestamp,
    at: Timestamp,
}

impl Walk {
    /// How much of the range lies behind `at`.
    fn share(self, at: Timestamp) -> f64 {
        let whole = self.range.length().as_secs_f64();
        (at.since(self.range.from).as_secs_f64() / whole).clamp(0.0, 1.0)
    }

    /// How long the rest takes, if it takes as long as what is done.
    fn to_go(self) -> Option<Duration> {
        let (done, rest) = (self.share(self.at) - self.share(self.from), 1.0 - self.share(self.at));
        // Of next to nothing nothing follows.
        (done > 0.001).then(|| self.begun.elapsed().mul_f64(rest / done))
    }
}

/// What a stream has come to.
pub(super) struct Totals {
    pub(super) path: Option<String>,
    pub(super) rows: Rows,
    pub(super) repairs: Repairs,
    pub(super) keys_beyond: usize,
    /// How long after the run's beginning it began.
    pub(super) begun_after: Duration,
    pub(super) series: Series,
}

/// How far a stream is, at a glance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Glance {
    pub(super) rows: u64,
    pub(super) took: Duration,
    /// Where in time it is, and how much of what it walks through that is.
    pub(super) reached: Option<Timestamp>,
    pub(super) share: Option<f64>,
    /// How long the walk will take.
    pub(super) to_go: Option<Duration>,
}

impl Tally {
    /// Begins to count for a stream.
    pub fn of(stream: &str) -> Arc<Self> {
        let (stream, since) = (stream.to_owned(), Instant::now());
        Arc::new(Self { stream, since, counts: Mutex::default() })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self) {
        self.counts().begun = Some(Instant::now());
        if !is_drawn() {
            tell(&format!("{}: begins", self.stream));
        }
    }

    pub(crate) fn end(&self, outcome: &str) {
        let line = self.line();
        self.counts().ended = true;
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
        let Some(at) = at else { return };
        let mut counts = self.counts();
        counts.reached = Some(at);
        if let Some(walk) = &mut counts.walk {
            walk.at = at;
        }
    }

    /// Notes that a walk begins, or goes on at a place.
    pub(crate) fn walk(&self, leg: Leg, at: Option<Timestamp>) {
        self.counts().walk = match leg {
            Leg::Range { range, .. } | Leg::Audit { range, .. } => {
                let at = at.unwrap_or(range.from);
                Some(Walk { range, begun: Instant::now(), from: at, at })
            }
            Leg::List { .. } => None,
        };
    }

    /// Rows and speed so far, in a line.
    pub(super) fn line(&self) -> String {
        let counts = self.counts();
        let rows = counts.rows.seen();
        let seconds = counts.begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
        let at = counts.reached.map(|at| format!(", at {at}")).unwrap_or_default();
        let unit = if rows == 1 { "row" } else { "rows" };
        format!("{rows} {unit} in {seconds:.1} s{at}")
    }

    /// What it has come to.
    pub(super) fn totals(&self) -> Totals {
        let counts = self.counts();
        let begun = counts.begun.unwrap_or(self.since);
        Totals {
            path: counts.path.clone(),
            rows: counts.rows,
            repairs: counts.repairs.clone(),
            keys_beyond: counts.keys_beyond,
            begun_after: begun.duration_since(self.since),
            series: counts.series.clone(),
        }
    }

    /// How far it is; nothing where it is not running.
    pub(super) fn glance(&self) -> Option<Glance> {
        let counts = self.counts();
        let begun = counts.begun.filter(|_| !counts.ended)?;
        Some(Glance {
            rows: counts.rows.seen(),
            took: begun.elapsed(),
            reached: counts.reached,
            share: counts.walk.map(|walk| walk.share(walk.at)),
            to_go: counts.walk.and_then(Walk::to_go),
        })
    }

    /// The stream.
    pub(super) fn stream(&self) -> &str {
        &self.stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Purpose;

    #[test]
    fn a_walk_knows_how_much_of_it_is_done() {
        let at = |text| Timestamp::parse(text);
        let range = Interval::parse("2026-01-01,2026-01-11").unwrap();
        let leg = Leg::Range { purpose: Purpose::New, range, arrived: None };
        let tally = Tally::of("events");
        let glance = || tally.glance().unwrap();
        tally.begin();
        assert_eq!((glance().share, glance().to_go), (None, None));

        tally.walk(leg, at("2026-01-06"));
        assert_eq!((glance().share, glance().to_go), (Some(0.5), None));
        tally.reach(at("2026-01-10"));
        assert_eq!((glance().share, glance().reached), (Some(0.9), at("2026-01-10")));
        assert!(glance().to_go.unwrap() <= glance().took);
        tally.walk(Leg::List { since: None }, None);
        assert_eq!(glance().share, None);
        tally.end("complete");
        assert!(tally.glance().is_none());
    }
}
