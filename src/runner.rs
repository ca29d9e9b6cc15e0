//! Where stages meet: streams are read and written side by side.
//!
//! Every stream has one task that reads and one thread that writes, with a bounded
//! channel between them: rows are written while their page still arrives, and neither
//! side runs ahead of the other. The writer alone moves the checkpoint,
//! after the rows. A stop drops the readers; writers then forget the open page and
//! leave what is committed.

mod drift;
#[cfg(test)]
mod model;
mod preview;
mod sweep;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinError, JoinSet};

use crate::checkpoint::{Checkpoint, StreamKey};
use crate::config::Mode;
use crate::cursor::{Copying, Leg, Open, Position, Purpose, Timestamp};
use crate::error::{Exit, Failure};
use crate::fetch::{Delivery, FetchError, Reader, Source, SqlDialect};
use crate::http::{Client, Meter};
use crate::plan::{self, Wish};
use crate::report::{Outcome, Tally};
use crate::spec::endpoint::{Endpoint, ReadPath};
use crate::state::store::StateStore;
use crate::target::{Load, Target, TargetError};

pub use drift::Drift;
pub use preview::{Preview, preview};
pub use sweep::Wrong;
pub(crate) use sweep::no_scratch;
use writer::{Writer, Written};

/// Batches between reader and writer: enough to overlap them, at a megabyte each.
const HANDED_OVER: usize = 2;

/// An unfinished copy older than this is begun anew: its first rows would be too old.
const FRESH_COPY: Duration = Duration::from_secs(6 * 3600);

/// A `Date` header has whole seconds: of two readings of one clock the later may be earlier by so much.
const DATES_APART: Duration = Duration::from_secs(1);

/// A stream that is ready to be replicated.
pub struct Job {
    /// What to read.
    pub endpoint: Arc<Endpoint>,
    /// How the user wants it.
    pub wish: Wish,
    /// Where its rows end up.
    pub target: Box<dyn Target>,
    /// How far it has come.
    pub checkpoint: Checkpoint,
    /// Rows of the target that give way to what is read.
    pub wrong: Option<Wrong>,
    /// Whether the target lacks rows or a column that its checkpoint names.
    pub(crate) is_damaged: bool,
    /// What is known of its columns.
    pub drift: Drift,
    /// Where it is read.
    pub project: Arc<Project>,
}

/// A project that streams are read from.
pub struct Project {
    /// The connection.
    pub client: Client,
    /// The project's id.
    pub id: String,
    /// Whether it is one of several.
    pub is_one_of_several: bool,
    /// What is known of the server's SQL.
    pub dialect: SqlDialect,
}

impl Project {
    /// What a stream is read with, whose costs `meter` counts.
    pub(crate) fn source<'a>(&'a self, meter: &'a Meter) -> Source<'a> {
        Source { client: &self.client, meter, project: &self.id, dialect: &self.dialect }
    }
}

/// What all streams of a run share.
pub struct Shared {
    /// Where checkpoints follow.
    pub state: Arc<StateStore>,
    /// How long a row may take to become visible: no run reads closer to now.
    pub safety_lag: Duration,
    /// How many streams are read at once.
    pub concurrency: usize,
}

/// Replicates every job and tells how each went, in the order of the jobs.
pub async fn replicate(
    jobs: Vec<Job>,
    shared: Arc<Shared>,
    stop: watch::Receiver<Option<u8>>,
    tallies: &[Arc<Tally>],
) -> Vec<Outcome> {
    let places = Arc::new(Semaphore::new(shared.concurrency.max(1)));
    let mut running = JoinSet::new();
    for ((n, job), tally) in jobs.into_iter().enumerate().zip(tallies.iter().cloned()) {
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        // Taken before the stream is spawned: streams begin in the order of the file.
        let place = Arc::clone(&places).acquire_owned().await;
        running.spawn(async move {
            let outcome = replicate_one(job, &shared, stop, tally).await;
            drop(place);
            (n, outcome)
        });
    }
    let mut outcomes = Vec::new();
    while let Some(joined) = running.join_next().await {
        outcomes.push(finished(joined));
    }
    outcomes.sort_by_key(|(n, _)| *n);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// What a task came to; a panic in it goes on here.
pub(crate) fn finished<T>(task: Result<T, JoinError>) -> T {
    task.unwrap_or_else(|err| std::panic::resume_unwind(err.into_panic()))
}

async fn replicate_one(
    job: Job,
    shared: &Shared,
    stop: watch::Receiver<Option<u8>>,
    tally: Arc<Tally>,
) -> Outcome {
    let begun = Instant::now();
    let (name, mode) = (job.name(), job.wish.mode);
    tally.begin();
    let meter = Meter::default();
    let result = run_to_the_bound(job, shared, stop, &tally, &meter).await;
    tally.end(match &result {
        Err(_) => "stopped",
        Ok((_, Some(_))) => "complete",
        Ok((_, None)) if mode == Mode::DefinitionOnly => "defined",
        Ok((_, None)) => "ended at the limit",
    });
    let (to, failure) = match result {
        Ok((_, to)) => (to, None),
        Err(failure) => (None, Some(failure)),
    };
    Outcome::new(name, mode, tally, &meter, begun.elapsed(), to, failure)
}

/// Runs a stream up to a bound frozen now, after finishing a run that was interrupted. Tells up
/// to when it is complete; nothing where it ended at the limit of its rows, or read none.
pub(crate) async fn run_to_the_bound(
    mut job: Job,
    shared: &Shared,
    stop: watch::Receiver<Option<u8>>,
    tally: &Arc<Tally>,
    meter: &Meter,
) -> Result<(Job, Option<Timestamp>), Failure> {
    loop {
        let now = job.project.client.server_time().minus(shared.safety_lag);
        let start = job.start(now);
        let bound = start.bound;
        let what = format!("stream `{}`", job.endpoint.stream);
        job = unless_stopped(&stop, &what, job.prepare(start).await)?;
        let written = run_once(job, start, shared, stop.clone(), tally, meter).await?;
        job = written.job;
        if written.is_full || job.wish.mode == Mode::DefinitionOnly {
            return Ok((job, None));
        }
        if !start.resumes || job.wish.mode != Mode::Incremental {
            // A backfill vouches for its range alone.
            let last = match job.wish.mode {
                Mode::Backfill => job.wish.ranges_to(bound).last().copied(),
                _ => None,
            };
            return Ok((job, Some(last.map_or(bound, |range| range.to))));
        }
    }
}

impl Job {
    /// The stream, and the project where there are several.
    pub(crate) fn label(&self) -> String {
        let (stream, project) = (&self.endpoint.stream, &self.project);
        match project.is_one_of_several {
            true => format!("{stream} of {}", project.id),
            false => stream.clone(),
        }
    }

    /// The stream, and the table or folder it goes to.
    pub(crate) fn name(&self) -> (String, String) {
        let key = &self.checkpoint.key;
        (key.stream.clone(), key.object.clone())
    }

    /// How to load, and up to where: an interrupted run keeps its bound.
    fn start(&self, now: Timestamp) -> Start {
        let position = &self.checkpoint.position;
        let open = position.open.as_ref().filter(|open| open.bound <= now.plus(DATES_APART));
        let goes_on_copying = |staged| {
            position.copying.is_some_and(|copying| {
                copying.staged == staged && now.since(copying.begun) < FRESH_COPY
            })
        };
        let (load, goes_on) = match self.wish.mode {
            Mode::FullRefresh => (Load::ResumeReplace, goes_on_copying(true)),
            // Emptied already: what is there is this copy's.
            Mode::Truncate => (Load::Merge, goes_on_copying(false)),
            Mode::Backfill => (Load::Merge, open.is_some_and(|open| self.backfills(open))),
            Mode::DefinitionOnly => (Load::Merge, false),
            Mode::Incremental | Mode::Snapshot => (Load::Merge, position.copying.is_none()),
        };
        match open.filter(|_| goes_on) {
            Some(open) => Start { load, bound: open.bound, resumes: true },
            None => Start { load: fresh_load(self.wish.mode), bound: now, resumes: false },
        }
    }

    /// Whether an interrupted run was reading the ranges that are wanted now.
    fn backfills(&self, open: &Open) -> bool {
        let wanted = self.wish.ranges_to(open.bound);
        let reads = |leg: &Leg| matches!(leg, Leg::Range { purpose: Purpose::Backfill, range, .. } if wanted.contains(range));
        open.leg.iter().chain(&open.done).any(reads)
    }

    /// Makes the target ready, and the position.
    async fn prepare(self, start: Start) -> Result<Self, Failure> {
        let stream = self.endpoint.stream.clone();
        let prepared = tokio::task::spawn_blocking(move || self.prepare_blocking(start)).await;
        finished(prepared).map_err(|err| Failure::of_target(&stream, &err))
    }

    fn prepare_blocking(mut self, start: Start) -> Result<Self, TargetError> {
        let Start { load, bound, mut resumes } = start;
        if let Some(statements) = &self.wish.sql.before {
            self.target.execute(statements)?;
        }
        if !self.target.begin(load)? {
            self.target.begin(Load::Replace)?;
            resumes = false;
        }
        crash_point!("a load is begun");
        if self.wish.mode == Mode::DefinitionOnly {
            return Ok(self);
        }
        let is_snapshot = self.wish.mode == Mode::Snapshot;
        let position = &mut self.checkpoint.position;
        if self.endpoint.columns.iter().any(|(_, spec)| spec.is_of_run()) {
            Arc::make_mut(&mut self.endpoint).loaded_at = Some(bound);
        }
        if is_snapshot && !resumes {
            // What earlier copies have says nothing of this one.
            position.start_over();
        }
        // A copy that was never whole tells nothing of what is in the target.
        if !resumes && (load != Load::Merge || position.copying.is_some()) {
            position.start_over();
            self.checkpoint.witnesses.clear();
            let copying = Copying { begun: bound, staged: load != Load::Truncate };
            position.copying = (load != Load::Merge).then_some(copying);
        }
        position.begin_run(bound);
        position.condition.clone_from(&self.wish.condition);
        position.anchor = Some(self.wish.anchor);
        Ok(self)
    }
}

/// How a mode loads when it does not go on with anything.
fn fresh_load(mode: Mode) -> Load {
    match mode {
        Mode::FullRefresh => Load::Replace,
        Mode::Truncate => Load::Truncate,
        Mode::Incremental | Mode::Backfill | Mode::Snapshot | Mode::DefinitionOnly => Load::Merge,
    }
}

/// How a run begins.
#[derive(Debug, Clone, Copy)]
struct Start {
    load: Load,
    bound: Timestamp,
    /// It goes on with a run that was interrupted.
    resumes: bool,
}

/// One run of a stream: reads in the best way that is open, writes as rows come.
async fn run_once(
    job: Job,
    start: Start,
    shared: &Shared,
    mut stop: watch::Receiver<Option<u8>>,
    tally: &Arc<Tally>,
    meter: &Meter,
) -> Result<Written, Failure> {
    let (deliver, deliveries) = mpsc::channel(HANDED_OVER);
    let reading = Reading { job: JobView::of(&job), bound: start.bound, meter, tally };
    let what = format!("stream `{}`", job.endpoint.stream);
    let writer = Writer::new(job, start, Arc::clone(&shared.state), Arc::clone(tally))
        .map_err(|err| Failure::of_target(&reading.job.endpoint.stream, &err))?;
    let writing = tokio::task::spawn_blocking(move || writer.write(deliveries));
    let read = tokio::select! {
        // A stop wins: what is in hand is void, what is committed stays.
        biased;
        signal = stopped(&mut stop) => Err(interrupted(&what, signal)),
        read = reading.read(deliver) => read.map_err(|err| Failure::of_fetch(&reading.job.endpoint.stream, &err)),
    };
    // Where both sides failed, the writer's error is the cause: the reader only lost its peer.
    let written = unless_stopped(&stop, &what, finished(writing.await))?;
    if written.is_full {
        return Ok(written);
    }
    read.map(|()| written)
}

/// What is said of something that a signal stopped.
pub(crate) fn interrupted(what: &str, signal: u8) -> Failure {
    Failure {
        what: format!("{what} was stopped"),
        cause: "the process was asked to stop".into(),
        fix: "run again: it goes on after the last page that was committed".into(),
        exit: Exit::Interrupted(signal),
    }
}

/// A failure, unless a stop was asked for: then SQLite no longer waited for a lock.
pub(crate) fn unless_stopped<T>(
    stop: &watch::Receiver<Option<u8>>,
    what: &str,
    result: Result<T, Failure>,
) -> Result<T, Failure> {
    let signal = *stop.borrow();
    result.map_err(|failure| signal.map_or(failure, |signal| interrupted(what, signal)))
}

/// Waits for a signal; for ever where none comes.
pub(crate) async fn stopped(stop: &mut watch::Receiver<Option<u8>>) -> u8 {
    loop {
        if let Some(signal) = *stop.borrow_and_update() {
            return signal;
        }
        if stop.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What the reading side needs of a job; the rest goes to the writer.
pub(crate) struct JobView {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) wish: Wish,
    pub(crate) position: Position,
    pub(crate) project: Arc<Project>,
}

impl JobView {
    fn of(job: &Job) -> Self {
        let Job { endpoint, wish, checkpoint, project, .. } = job;
        Self {
            endpoint: Arc::clone(endpoint),
            wish: wish.clone(),
            position: checkpoint.position.clone(),
            project: Arc::clone(project),
        }
    }
}

/// The reading side of one run.
pub(crate) struct Reading<'a> {
    pub(crate) job: JobView,
    pub(crate) bound: Timestamp,
    pub(crate) meter: &'a Meter,
    pub(crate) tally: &'a Tally,
}

impl Reading<'_> {
    /// Reads in the first way that is open to us.
    pub(crate) async fn read(&self, out: mpsc::Sender<Delivery>) -> Result<(), FetchError> {
        let JobView { endpoint, wish, position, project } = &self.job;
        if wish.mode == Mode::DefinitionOnly {
            return out.send(Delivery::EndRun).await.map_err(|_| FetchError::Stopped);
        }
        let mut closed = None;
        let mut paths = plan::paths(endpoint, wish, position, self.bound).into_iter().peekable();
        while let Some(path) = paths.next() {
            match self.read_path(path, &out).await {
                Err((err, true)) if err.is_closed_door() && !self.is_passing(path, &err) => {
                    match paths.peek() {
                        Some(next) => project.dialect.tell_once(path, &err, next),
                        // Not refused but broken: mending the first way would not help here.
                        None if err.is_fault() => return Err(err),
                        None => {}
                    }
                    // The first refusal names what is missing; later ones follow from it.
                    closed.get_or_insert(err);
                }
                Err((err, _)) => return Err(err),
                Ok(()) => {
                    return out.send(Delivery::EndRun).await.map_err(|_| FetchError::Stopped);
                }
            }
        }
        Err(closed.unwrap_or(FetchError::Stopped))
    }

    /// Whether PostHog failed in a way of reading that it has been read in before. Another way
    /// may know less, of an event for one which of its copies is the newer: it comes back.
    fn is_passing(&self, path: &ReadPath, err: &FetchError) -> bool {
        let was_open = self.job.position.path.as_ref() == Some(&path.name);
        err.is_fault() && (was_open || (path.is_sql() && self.job.project.dialect.has_answered()))
    }

    /// Walks every leg; tells with an error whether nothing was delivered before it.
    async fn read_path(
        &self,
        path: &ReadPath,
        out: &mpsc::Sender<Delivery>,
    ) -> Result<(), (FetchError, bool)> {
        let JobView { endpoint, wish, position, project } = &self.job;
        let schema = endpoint.schema(path, &|name| wish.wants(name));
        let source = project.source(self.meter);
        let mut reader =
            Reader::new(&source, path, &Arc::new(schema), wish.wants_all(), out.clone());
        self.tally.read_by(&path.name);
        for (n, leg) in
            plan::legs(endpoint, path, wish, position, self.bound).into_iter().enumerate()
        {
            let at = position.resume(leg, self.bound);
            reader.walk(leg, at).await.map_err(|err| (err, n == 0 && !reader.has_delivered()))?;
        }
        Ok(())
    }
}

/// Names the stream of a job in state and target.
pub fn stream_key(origin: &str, project: &str, endpoint: &Endpoint, object: String) -> StreamKey {
    StreamKey {
        origin: origin.to_owned(),
        project: project.to_owned(),
        stream: endpoint.stream.clone(),
        object,
    }
}
