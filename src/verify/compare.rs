//! Reading a stream again as a run would, and holding every record against its row.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::frozen::Frozen;
use super::scratch::Scratch;
use super::{Checking, Counts, Day, Verified};
use crate::config::Mode;
use crate::cursor::{Interval, Position};
use crate::error::Failure;
use crate::fetch::{Delivery, FetchError};
use crate::plan::Wish;
use crate::runner::{self, Job, JobView, Reading};
use crate::target::{Scan, TargetError};

/// Copies of a record that are not merged yet differ by milliseconds: one of them may lie
/// outside of a span whose edge is between them.
const EDGE: Duration = Duration::from_secs(60);

/// What reading a span again found.
pub(super) struct Found {
    pub(super) scratch: Scratch,
    pub(super) days: Vec<Day>,
}

impl Checking<'_> {
    /// Reads spans of a stream, or all of a list, and compares.
    pub(super) async fn compare(
        &self,
        job: Job,
        frozen: &Frozen,
        spans: &[Interval],
        verified: &mut Verified,
    ) -> Result<(Job, Found), Failure> {
        let stream = job.endpoint.stream.clone();
        let (job, scratch) = self.load(job, frozen.clone(), spans.to_vec()).await?;
        let view = JobView {
            endpoint: Arc::clone(&job.endpoint),
            wish: whole(&job.wish, spans),
            position: Position::default(),
            project: Arc::clone(&job.project),
        };
        let Self { meter, tally, .. } = self;
        let reading = Reading { job: view, bound: frozen.mark, meter, tally };
        let (out, deliveries) = mpsc::channel(4);
        let scratch = self.hold_against(scratch, deliveries, &stream, reading.read(out)).await?;
        verified.read_by = scratch.path().map(str::to_owned);
        verified.compared.get_or_insert_with(|| "row by row".into());
        let days = scratch.days().map_err(|err| failed(&stream, &err))?;
        let mut seen = Counts::default();
        days.iter().for_each(|day| seen.add(&day.counts));
        verified.take(&days, seen);
        Ok((job, Found { scratch, days }))
    }

    /// The target's rows of the spans, ready to be compared with.
    async fn load(
        &self,
        mut job: Job,
        frozen: Frozen,
        spans: Vec<Interval>,
    ) -> Result<(Job, Scratch), Failure> {
        let stream = job.endpoint.stream.clone();
        let loaded = tokio::task::spawn_blocking(move || {
            let mut scratch = Scratch::new(&job.endpoint, frozen, &spans)?;
            let scans = scratch.wanted(EDGE);
            for within in scans {
                let by = scratch.by().map(str::to_owned);
                let within = by.as_deref().zip(within);
                let scan = Scan { within, keys_only: false, only: None };
                job.target.scan(&scan, &mut |row| scratch.add(row))?;
            }
            scratch.loaded()?;
            Ok((job, scratch))
        });
        runner::finished(loaded.await).map_err(|err| failed(&stream, &err))
    }

    /// Compares while records arrive. A stop wins over both.
    pub(super) async fn hold_against(
        &self,
        scratch: Scratch,
        deliveries: mpsc::Receiver<Delivery>,
        stream: &str,
        reading: impl Future<Output = Result<(), FetchError>>,
    ) -> Result<Scratch, Failure> {
        let comparing = tokio::task::spawn_blocking(move || consume(scratch, deliveries));
        let mut stop = self.stop.clone();
        let read = tokio::select! {
            biased;
            signal = runner::stopped(&mut stop) => {
                Err(runner::interrupted(&format!("verifying stream `{stream}`"), signal))
            }
            read = reading => read.map_err(|err| Failure::of_fetch(stream, &err)),
        };
        // Where both sides failed, the comparing side is the cause.
        let scratch = runner::finished(comparing.await).map_err(|err| failed(stream, &err))?;
        read.map(|()| scratch)
    }
}

pub(super) fn failed(stream: &str, err: &TargetError) -> Failure {
    Failure::of_target_read(stream, err)
}

/// The wish for everything there is, of spans where there are any.
fn whole(wish: &Wish, spans: &[Interval]) -> Wish {
    let mode = if spans.is_empty() { Mode::FullRefresh } else { Mode::Backfill };
    Wish { mode, ranges: spans.to_vec(), ..wish.clone() }
}

/// Takes deliveries as a run's writer would, but compares.
fn consume(
    mut scratch: Scratch,
    mut deliveries: mpsc::Receiver<Delivery>,
) -> Result<Scratch, TargetError> {
    while let Some(delivery) = deliveries.blocking_recv() {
        match delivery {
            Delivery::Begin { path, .. } => scratch.begin(path),
            Delivery::Rows(batch) => scratch.meet(&batch)?,
            Delivery::Page { committed, .. } => {
                scratch.keep_page()?;
                // A reader that was stopped meanwhile need not hear of it.
                committed.send(()).unwrap_or_default();
            }
            Delivery::Abandon => scratch.forget_page()?,
            Delivery::EndLeg { .. } => {}
            Delivery::EndRun => scratch.end()?,
        }
    }
    Ok(scratch)
}
