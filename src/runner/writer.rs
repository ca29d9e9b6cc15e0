//! The writing side of a stream: deliveries into the target, then the checkpoint.
//!
//! Runs on a thread of its own, because targets block. The order is the promise:
//! rows, then the checkpoint beside them in one commit, then the state store. A
//! channel that closes before the run's end means that the reader failed or was
//! stopped: the open page is forgotten.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Job;
use crate::config::Mode;
use crate::cursor::{Leg, Purpose};
use crate::error::{Exit, Failure};
use crate::fetch::Delivery;
use crate::record::batch::Batch;
use crate::report::Tally;
use crate::state::store::StateStore;
use crate::target::TargetError;

/// How many delivered rows a checkpoint names, to be found again at the next start.
const WITNESSES: usize = 3;

/// Writes one stream of one run.
pub(super) struct Writer {
    job: Job,
    state: Arc<StateStore>,
    tally: Arc<Tally>,
    late: bool,
    /// The key of the last row written since the last commit.
    last_key: Option<String>,
}

impl Writer {
    pub(super) fn new(job: Job, state: Arc<StateStore>, tally: Arc<Tally>) -> Self {
        Self { job, state, tally, late: false, last_key: None }
    }

    /// Writes until the channel closes, and gives the job back as it then stands.
    pub(super) fn write(
        mut self,
        mut deliveries: mpsc::Receiver<Delivery>,
    ) -> Result<Job, Failure> {
        while let Some(delivery) = deliveries.blocking_recv() {
            let last = matches!(delivery, Delivery::EndRun);
            self.take(delivery)?;
            if last {
                return Ok(self.job);
            }
        }
        self.target(|job| job.target.abandon())?;
        Ok(self.job)
    }

    fn take(&mut self, delivery: Delivery) -> Result<(), Failure> {
        let position = &mut self.job.checkpoint.position;
        match delivery {
            Delivery::Begin { leg, path } => {
                self.late = is_late(leg);
                position.path = Some(path);
                position.begin(leg);
                Ok(())
            }
            Delivery::Rows(batch) => self.rows(&batch),
            Delivery::Abandon => {
                self.last_key = None;
                self.tally.void_page();
                self.target(|job| job.target.abandon())
            }
            Delivery::Page { at, committed } => {
                position.reach(at);
                self.tally.reach(self.job.checkpoint.position.reached());
                self.commit()?;
                // A reader that was stopped meanwhile need not hear of it.
                committed.send(()).unwrap_or_default();
                Ok(())
            }
            Delivery::EndLeg { requests } => {
                position.complete_leg(requests);
                self.commit()
            }
            Delivery::EndRun => self.end_run(),
        }
    }

    fn rows(&mut self, batch: &Batch) -> Result<(), Failure> {
        let written = self.target(|job| job.target.write(batch))?;
        self.tally.add(&written, batch.repairs(), self.late);
        self.last_key = batch.last().map(|row| row.key());
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.stamp();
        self.target(|job| job.target.commit(&job.checkpoint))?;
        crash_point!("between COMMIT and state");
        self.tally.commit_page();
        self.follow()
    }

    /// Shows what was loaded and closes the run.
    fn end_run(&mut self) -> Result<(), Failure> {
        let incremental = self.job.endpoint.incremental.as_ref();
        let lookback = incremental.and_then(|order| order.lookback(self.job.wish.lookback));
        let position = &mut self.job.checkpoint.position;
        match self.job.wish.mode {
            Mode::Backfill => position.complete_backfill(),
            _ => position.complete_run(lookback),
        }
        self.stamp();
        self.target(|job| job.target.publish(&job.checkpoint))?;
        crash_point!("between the last COMMIT and state");
        self.follow()
    }

    /// Makes the checkpoint that the next commit stores.
    fn stamp(&mut self) {
        let checkpoint = &mut self.job.checkpoint;
        checkpoint.sequence += 1;
        if let Some(key) = self.last_key.take() {
            checkpoint.witnesses.retain(|witness| *witness != key);
            checkpoint.witnesses.push(key);
            let surplus = checkpoint.witnesses.len().saturating_sub(WITNESSES);
            checkpoint.witnesses.drain(..surplus);
        }
    }

    /// The state store follows the target, never the other way.
    fn follow(&self) -> Result<(), Failure> {
        self.state.save(&self.job.checkpoint).map_err(|err| Failure {
            what: format!("the checkpoint of stream `{}` cannot be stored", self.stream()),
            cause: err.to_string(),
            fix: "free or repair the state folder, then run again: the rows are in the target \
                  and the run goes on from there"
                .into(),
            exit: Exit::Target,
        })?;
        crash_point!("after state");
        Ok(())
    }

    fn target<T>(
        &mut self,
        act: impl FnOnce(&mut Job) -> Result<T, TargetError>,
    ) -> Result<T, Failure> {
        act(&mut self.job).map_err(|err| Failure::of_target(self.stream(), &err))
    }

    fn stream(&self) -> &str {
        &self.job.endpoint.stream
    }
}

/// Whether the rows of a walk arrived behind the cursor.
fn is_late(leg: Leg) -> bool {
    matches!(leg, Leg::Range { purpose: Purpose::Late, .. } | Leg::Audit { .. })
}
