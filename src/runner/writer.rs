//! The writing side of a stream: deliveries into the target, then the checkpoint.
//!
//! Runs on a thread of its own, because targets block. The order is the promise:
//! rows, then the checkpoint beside them in one commit, then the state store. A
//! channel that closes before the run's end means that the reader failed or was
//! stopped: the open page is forgotten.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::sweep::{self, Sweep};
use super::{Job, Start};
use crate::config::Mode;
use crate::cursor::{Leg, Purpose, Timestamp};
use crate::error::{Exit, Failure};
use crate::fetch::Delivery;
use crate::record::batch::Batch;
use crate::report::Tally;
use crate::state::store::{StateError, StateStore};
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
    bound: Timestamp,
    sweep: Option<Sweep>,
    /// Rows of the open page.
    page_rows: u64,
}

/// What a writer came to.
pub(super) struct Written {
    /// The job as it then stands.
    pub(super) job: Job,
    /// Whether it took as many rows as it may, and the run ends there.
    pub(super) is_full: bool,
}

impl Writer {
    pub(super) fn new(
        job: Job,
        start: Start,
        state: Arc<StateStore>,
        tally: Arc<Tally>,
    ) -> Result<Self, TargetError> {
        // What an interrupted run met is not known, and a limited one does not meet all.
        let meets_all = !start.resumes && job.wish.limit.is_none();
        let sweep = if meets_all { Sweep::of(&job)? } else { None };
        let bound = start.bound;
        Ok(Self { job, state, tally, late: false, last_key: None, bound, sweep, page_rows: 0 })
    }

    /// Writes until the channel closes or enough is written.
    pub(super) fn write(
        mut self,
        mut deliveries: mpsc::Receiver<Delivery>,
    ) -> Result<Written, Failure> {
        while let Some(delivery) = deliveries.blocking_recv() {
            let last = matches!(delivery, Delivery::EndRun);
            let is_full = self.take(delivery)? && !last;
            if is_full {
                self.end_short()?;
            }
            if last || is_full {
                return Ok(Written { job: self.job, is_full });
            }
        }
        self.target(|job| job.target.abandon())?;
        Ok(Written { job: self.job, is_full: false })
    }

    /// How many rows may still be taken.
    fn room(&self) -> Option<u64> {
        self.job.wish.limit.map(|limit| limit.saturating_sub(self.page_rows))
    }

    /// Takes a delivery; true where no more is wanted.
    fn take(&mut self, delivery: Delivery) -> Result<bool, Failure> {
        let position = &mut self.job.checkpoint.position;
        match delivery {
            Delivery::Begin { leg, path } => {
                self.late = is_late(leg);
                if let Some(sweep) = &mut self.sweep {
                    sweep.begin(&self.job.endpoint, leg, &path);
                }
                position.path = Some(path);
                position.begin(leg);
                self.tally.walk(leg, position.reached());
            }
            Delivery::Rows(batch) => return self.rows_within(batch),
            Delivery::Abandon => {
                self.last_key = None;
                self.page_rows = 0;
                self.tally.void_page();
                self.target(|job| job.target.abandon())?;
                self.forget_page()?;
            }
            Delivery::Page { at, committed } => {
                position.reach(at);
                self.tally.reach(self.job.checkpoint.position.reached());
                self.commit()?;
                // A reader that was stopped meanwhile need not hear of it.
                committed.send(()).unwrap_or_default();
                return Ok(self.room() == Some(0));
            }
            Delivery::EndLeg { requests } => {
                position.complete_leg(requests);
                self.commit()?;
            }
            Delivery::EndRun => self.end_run()?,
        }
        Ok(false)
    }

    /// Takes as many rows of a batch as may be taken; true where some were left.
    fn rows_within(&mut self, batch: Batch) -> Result<bool, Failure> {
        let all = batch.len() as u64;
        let taken = self.room().unwrap_or(all).min(all);
        if let Some(batch) = batch.first(usize::try_from(taken).unwrap_or(usize::MAX)) {
            self.rows(&batch)?;
        }
        self.page_rows += taken;
        Ok(taken < all)
    }

    /// Ends a run that took as many rows as it may: the open page counts, and where the walk
    /// stands says nothing of it, so that the next run reads it again.
    fn end_short(&mut self) -> Result<(), Failure> {
        self.commit()?;
        if matches!(self.job.wish.mode, Mode::FullRefresh | Mode::Truncate) {
            // A sample: nothing is vouched for.
            self.job.checkpoint.position.start_over();
            self.stamp();
            self.target(|job| job.target.publish(&job.checkpoint))?;
            self.follow()?;
        }
        self.run_sql_after()
    }

    fn rows(&mut self, batch: &Batch) -> Result<(), Failure> {
        let bound = self.bound;
        self.target(|job| match &job.wrong {
            Some(wrong) => wrong.give_way(batch, job.target.as_mut(), bound),
            None => Ok(()),
        })?;
        if let Some(sweep) = &mut self.sweep {
            let met = sweep.meet(batch);
            self.target(|_| met)?;
        }
        let by = self.job.endpoint.incremental.as_ref().map(|order| order.by.as_str());
        self.job.drift.meet(batch, by, bound);
        let written = self.target(|job| job.target.write(batch))?;
        self.job.drift.widened(&written.widened, batch, bound);
        self.tally.add(&written, batch.repairs(), self.late);
        self.tally.leave_keys(batch.keys_beyond());
        self.last_key = batch.last().map(|row| row.key());
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.log_schema()?;
        self.stamp();
        self.target(|job| job.target.commit(&job.checkpoint))?;
        crash_point!("between COMMIT and state");
        self.tally.commit_page();
        self.job.wish.limit = self.room();
        self.page_rows = 0;
        self.keep_page()?;
        self.follow()
    }

    /// What is remembered of the open page stays.
    fn keep_page(&mut self) -> Result<(), Failure> {
        let kept = self.sweep.as_mut().map_or(Ok(()), Sweep::keep_page);
        self.target(|job| kept.and_then(|()| job.wrong.as_ref().map_or(Ok(()), |w| w.keep_page())))
    }

    /// What is remembered of the open page is void.
    fn forget_page(&mut self) -> Result<(), Failure> {
        let forgot = self.sweep.as_mut().map_or(Ok(()), Sweep::forget_page);
        self.target(|job| {
            forgot.and_then(|()| job.wrong.as_ref().map_or(Ok(()), |w| w.forget_page()))
        })
    }

    /// Shows what was loaded and closes the run.
    fn end_run(&mut self) -> Result<(), Failure> {
        self.sweep()?;
        let incremental = self.job.endpoint.incremental.as_ref();
        let lookback = incremental.and_then(|order| order.lookback(self.job.wish.lookback));
        let position = &mut self.job.checkpoint.position;
        match self.job.wish.mode {
            Mode::DefinitionOnly => {}
            Mode::Backfill => position.complete_backfill(),
            _ => position.complete_run(lookback),
        }
        self.log_schema()?;
        self.stamp();
        self.target(|job| job.target.publish(&job.checkpoint))?;
        crash_point!("between the last COMMIT and state");
        self.follow()?;
        self.run_sql_after()
    }

    /// Runs what the user wants after the rows, which are in whatever becomes of it.
    fn run_sql_after(&mut self) -> Result<(), Failure> {
        let Some(statements) = self.job.wish.sql.after.clone() else { return Ok(()) };
        let executed = self.target(|job| job.target.execute(&statements));
        executed.map_err(|failure| Failure {
            what: format!("post_sql of stream `{}` failed; its rows are in", self.stream()),
            ..failure
        })
    }

    /// Takes out what PostHog no longer has, where that is wanted and proven.
    fn sweep(&mut self) -> Result<(), Failure> {
        let Some(sweep) = self.sweep.take().filter(Sweep::is_whole) else { return Ok(()) };
        let (bound, tally) = (self.bound, Arc::clone(&self.tally));
        self.target(|job| {
            let gone = sweep.remove_unmet(job.target.as_mut(), &job.endpoint, bound)?;
            tally.remove(gone.len().map_err(|err| sweep::no_scratch(&err))?);
            sweep::retain(&mut job.checkpoint.witnesses, &gone)
        })?;
        if self.job.endpoint.incremental.is_none() {
            self.job.checkpoint.position.enumerated = Some(bound);
        }
        Ok(())
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
        self.state.save(&self.job.checkpoint).map_err(|err| self.not_stored("checkpoint", &err))?;
        crash_point!("after state");
        Ok(())
    }

    /// What the columns of an open page are called is known before the page is durable.
    fn log_schema(&mut self) -> Result<(), Failure> {
        let changes = self.job.drift.take_changes();
        if changes.is_empty() {
            return Ok(());
        }
        let stored = self.state.add_schema_changes(&self.job.checkpoint.key, &changes);
        stored.map_err(|err| self.not_stored("schema log", &err))
    }

    fn not_stored(&self, what: &str, err: &StateError) -> Failure {
        Failure {
            what: format!("the {what} of stream `{}` cannot be stored", self.stream()),
            cause: err.to_string(),
            fix: "free or repair the state folder, then run again: what was committed is in the \
                  target and the run goes on from there"
                .into(),
            exit: Exit::Target,
        }
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
