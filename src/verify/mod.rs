//! Whether a target holds what PostHog holds, and making it so.
//!
//! A stream is compared as far as its checkpoint vouches for it (`frozen`). Where the
//! store can hash, sums of identities show which days to look at (`suspects`); those
//! days, or everything, are then read again as a run would read them and held against the
//! target row by row (`compare`, `scratch`). What differs is reported, and with
//! `--repair` read again by the runner (`repair`). Only the runner ever writes.

mod compare;
mod frozen;
mod repair;
mod scratch;
mod suspects;

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

use crate::config::Mode;
use crate::cursor::{Interval, Timestamp};
use crate::error::Failure;
use crate::http::Meter;
use crate::report::Tally;
use crate::runner::{Job, Shared};

use frozen::Frozen;

/// How many rows are compared value by value where sums agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// So many, chosen at random.
    Rows(usize),
    /// All of them.
    All,
}

/// What is to be verified.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// Only what happened in this range, of streams that have an order in time.
    pub range: Option<Interval>,
    /// How many rows are compared value by value.
    pub sample: Sample,
    /// Whether what differs is to be healed.
    pub repair: bool,
}

/// What a comparison looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records that PostHog shows.
    pub source: u64,
    /// Rows of the target.
    pub target: u64,
    /// Records that the target does not have.
    pub missing: u64,
    /// Records whose row has other values.
    pub differing: u64,
    /// Rows that PostHog does not have.
    pub extra: u64,
    /// Records that came or changed since the last run: the next ones bring them.
    pub pending: u64,
}

impl Counts {
    /// Whether the target is not what it should be.
    pub fn differ(&self) -> bool {
        self.missing + self.differing + self.extra > 0
    }

    fn add(&mut self, other: &Self) {
        self.source += other.source;
        self.target += other.target;
        self.missing += other.missing;
        self.differing += other.differing;
        self.extra += other.extra;
        self.pending += other.pending;
    }
}

/// A row that is not right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    /// `missing`, `differing` or `extra`.
    pub kind: &'static str,
    /// Its key.
    pub key: Vec<String>,
    /// The columns whose values differ.
    pub columns: Vec<String>,
}

/// A UTC day of a stream, or all of one that has no order in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Day {
    /// The day.
    pub day: Option<String>,
    /// What was found.
    #[serde(flatten)]
    pub counts: Counts,
    /// A few of the rows that are not right.
    pub examples: Vec<Example>,
}

/// What a stream's verification came to.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// The stream.
    pub stream: String,
    /// The same for people, who may know several of that name.
    #[serde(skip)]
    pub label: String,
    /// Where its rows are.
    pub object: String,
    /// The way it was read.
    pub read_by: Option<String>,
    /// How it was compared.
    pub compared: Option<String>,
    /// Why not by sums, where it might have been.
    pub note: Option<String>,
    /// How many rows were compared value by value at random.
    pub sampled: u64,
    /// All that was looked at; after a repair, as it then was.
    pub counts: Counts,
    /// Of that, what sums cleared or an earlier look found right.
    #[serde(skip)]
    agreed: Counts,
    /// The days that differ, or will change with the next run.
    pub days: Vec<Day>,
    /// The days that differed before they were repaired.
    pub repaired: Vec<Day>,
    /// Up to when the stream is vouched for.
    pub complete_to: Option<Timestamp>,
    /// Requests sent, retries included.
    pub requests: u64,
    /// Why it could not be verified.
    #[serde(skip)]
    pub failure: Option<Failure>,
    /// The same, as text.
    pub error: Option<String>,
}

impl Verified {
    fn of(job: &Job) -> Self {
        let (stream, object) = job.name();
        Self {
            stream,
            label: job.label(),
            object,
            read_by: None,
            compared: None,
            note: None,
            sampled: 0,
            counts: Counts::default(),
            agreed: Counts::default(),
            days: Vec::new(),
            repaired: Vec::new(),
            complete_to: job.checkpoint.position.mark,
            requests: 0,
            failure: None,
            error: None,
        }
    }

    /// Takes over what was found.
    fn take(&mut self, days: &[Day], seen: Counts) {
        let is_told = |day: &&Day| day.counts.differ() || day.counts.pending > 0;
        self.days = days.iter().filter(is_told).cloned().collect();
        self.counts = self.agreed;
        self.counts.add(&seen);
    }

    /// Whether the target is proven to hold what it should.
    pub fn is_right(&self) -> bool {
        self.failure.is_none() && !self.counts.differ()
    }
}

/// Verifies a stream.
pub async fn verify(
    job: Job,
    shared: &Shared,
    ask: &Ask,
    stop: watch::Receiver<Option<u8>>,
) -> Verified {
    let mut verified = Verified::of(&job);
    let tally = Tally::of(&verified.stream);
    let checking = Checking { shared, ask, stop, tally, meter: Meter::default() };
    if let Err(failure) = checking.check(job, &mut verified).await {
        verified.error = Some(failure.to_string());
        verified.failure = Some(failure);
    }
    verified.requests = checking.meter.requests();
    verified
}

/// What the stages of one stream's verification share.
struct Checking<'a> {
    shared: &'a Shared,
    ask: &'a Ask,
    stop: watch::Receiver<Option<u8>>,
    tally: Arc<Tally>,
    meter: Meter,
}

impl Checking<'_> {
    async fn check(&self, job: Job, verified: &mut Verified) -> Result<(), Failure> {
        if matches!(job.wish.mode, Mode::Snapshot | Mode::DefinitionOnly) {
            verified.compared = Some(format!("nothing: its mode is {}", job.wish.mode));
            return Ok(());
        }
        let frozen = Frozen::of(&job)?;
        let spans = frozen.spans(self.ask.range);
        if frozen.is_timed() && spans.is_empty() {
            verified.compared = Some("nothing: the range holds nothing that was loaded".into());
            return Ok(());
        }
        let (job, suspects) = self.suspects(job, &frozen, &spans, verified).await?;
        let (job, found) = match suspects {
            Some(suspects) if suspects.is_empty() => return Ok(()),
            suspects => {
                let spans = suspects.unwrap_or(spans);
                self.compare(job, &frozen, &spans, verified).await?
            }
        };
        if !self.ask.repair || !verified.counts.differ() {
            return Ok(());
        }
        self.repair(job, &frozen, found, verified).await
    }
}
