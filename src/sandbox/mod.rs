//! A PostHog look-alike, as treacherous as the real one.
//!
//! [`Sandbox::start`] serves a made-up project on a local port, the way PostHog
//! would: with its rights, its ways of paging, its SQL, its limits, and all that
//! loses rows there (posthog-api.md §6 to §10). What it holds follows from
//! [`Options`] and from the events that were sent to it, and [`Sandbox::truth`] tells it exactly, so a copy can be
//! compared with it. Tests change the project and break its answers from inside
//! the process; over HTTP nothing of that can be reached.
//!
//! `server`, `route`, `answer` and `wire` speak HTTP; `key`, `throttle` and `fault`
//! say no; `list` and `sql` show what `data` holds, `capture` lets events into it. Nothing here knows how hogline
//! asks.

mod answer;
mod capture;
mod data;
mod fault;
mod key;
mod list;
mod project;
mod route;
mod server;
mod sql;
mod throttle;
mod time;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub use self::capture::Captured;
use self::data::chance;
use self::data::event::Event;
pub use self::data::intake::{Group, Warning};
pub use self::fault::{Fault, FaultKind};
use self::project::Project;
use self::wire::Port;
use crate::cursor::Timestamp;

/// The project.
pub const PROJECT: u64 = 12345;
/// A project that exists, of somebody else's organization.
pub const FOREIGN_PROJECT: u64 = 54321;
/// The project's token, with which events are sent.
pub const PROJECT_TOKEN: &str = "phc_sandbox_project_key";
/// A personal key that may read everything.
pub const KEY: &str = "phx_sandbox_key_that_may_read_everything";
/// A key without the scope `cohort:read`.
pub const KEY_WITHOUT_COHORTS: &str = "phx_sandbox_key_without_cohorts";
/// A key without the scope `query:read`: neither SQL nor the events list.
pub const KEY_WITHOUT_QUERY: &str = "phx_sandbox_key_without_query";
/// A key without the scope `person:read`.
pub const KEY_WITHOUT_PERSONS: &str = "phx_sandbox_key_without_persons";
/// A key limited to the project: it may not list projects.
pub const KEY_PROJECT_ONLY: &str = "phx_sandbox_key_of_one_project";

/// The largest request body that is read, as on the real server.
const LARGEST_BODY: usize = 20 * 1024 * 1024;

/// Which rate limits are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limits {
    /// None, as on most self-hosted servers.
    Off,
    /// Those of PostHog's cloud, on its paid plan.
    Real,
    /// The same in miniature: windows shorter and allowances smaller by these factors.
    Scaled {
        /// How often an hour fits into the window that plays it.
        faster: u32,
        /// How often a real allowance is what is allowed.
        fewer: u32,
    },
}

impl Limits {
    /// By what windows and allowances are divided; nothing where there are none.
    fn factors(self) -> Option<(u32, u32)> {
        match self {
            Self::Off => None,
            Self::Real => Some((1, 1)),
            Self::Scaled { faster, fewer } => Some((faster.max(1), fewer.max(1))),
        }
    }
}

/// What kind of PostHog is played, and how much it holds.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// How many events the history has, copies not counted.
    pub events: usize,
    /// How many persons, ghosts included.
    pub persons: usize,
    /// How many session recordings, over the last 60 days.
    pub recordings: usize,
    /// Over how many days, up to `now`, the events are spread.
    pub days: u32,
    /// What time it is where the server stands, when it starts.
    pub now: Timestamp,
    /// The project's time zone, in minutes east of UTC.
    pub timezone_offset_minutes: i32,
    /// The most rows that the events list answers: 1,000 today, 50,000 before 2026.
    pub event_cap: usize,
    /// Whether there is an SQL endpoint.
    pub sql: bool,
    /// The LIMIT to which SQL lowers any larger one: 50,000 today, 10,000 in 2023.
    pub sql_cap: usize,
    /// The most event rows that a query may read before it is 504, counted as the store reads:
    /// whole days, narrowed by the event and the hash of the distinct id. 0 is no limit.
    pub sql_read_limit: u64,
    /// A server of 2023: SQL knows no `modifiers` and fewer functions and answers in
    /// milliseconds, recordings are paged by offset, `/api/environments` is unknown.
    pub old_sql: bool,
    /// Which rate limits are kept.
    pub limits: Limits,
    /// How long it takes until an event that capture has answered is to be seen.
    pub ingestion_delay: Duration,
    /// The project's setting of that name: events older than this when they arrive are dropped
    /// without a word to the sender. Nothing and zero mean off.
    pub drop_events_older_than: Option<Duration>,
    /// The project's setting `person_processing_opt_out`: no event makes or changes a person.
    pub without_persons: bool,
    /// Whether a personal key may list ingestion warnings, as in the newest versions.
    pub open_warnings: bool,
    /// How many events more are within the plan; those beyond are answered with 200 and dropped.
    pub event_quota: Option<usize>,
    /// A server whose capture is Django: it answers `{"status":1}`, drops bad events of a batch
    /// without a word, and has no newer protocol.
    pub old_capture: bool,
    /// What everything is made from: the same seed gives the same project.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            events: 20_000,
            persons: 2_000,
            recordings: 1_000,
            days: 60,
            now: Timestamp::now(),
            timezone_offset_minutes: 0,
            event_cap: 1000,
            sql: true,
            sql_cap: 50_000,
            sql_read_limit: 0,
            old_sql: false,
            limits: Limits::Off,
            ingestion_delay: Duration::ZERO,
            drop_events_older_than: None,
            without_persons: false,
            open_warnings: false,
            event_quota: None,
            old_capture: false,
            seed: 1,
        }
    }
}

/// A request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `GET`, `POST`…
    pub method: String,
    /// The path and what follows `?`, as it was sent.
    pub path_and_query: String,
    /// The status it was answered with.
    pub status: u16,
    /// What was posted; to capture, decompressed.
    pub body: String,
    /// When it came.
    pub at: Instant,
}

/// A running look-alike; it stops when dropped.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    project: Arc<Project>,
    server: JoinHandle<()>,
}

impl Sandbox {
    /// Starts a sandbox.
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let made = tokio::task::spawn_blocking(move || Project::new(options));
        let project = Arc::new(made.await.map_err(io::Error::other)?.map_err(io::Error::other)?);
        let server = tokio::spawn(server::serve(Port(listener), Arc::clone(&project)));
        Ok(Self { address, project, server })
    }

    /// Scheme, host and port, as a connection names them.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What time it is at the server: it started at `Options::now`.
    pub fn now(&self) -> Timestamp {
        self.project.now()
    }

    /// Lets time pass at the server, for its answers, its limits and its `Date`.
    pub fn advance(&self, span: Duration) {
        self.project.advance(span);
    }

    /// What a complete copy of a stream holds. Of an event it is the copy that wins; a property
    /// definition has its `type` and `group_type_index`, a recording is the whole session.
    pub fn truth(&self, stream: &str) -> Vec<Value> {
        self.project.data().truth(stream, self.now())
    }

    /// Adds events that arrive `now` and happened `late_by` earlier, all at one instant; returns their ids.
    pub fn add_events(&self, n: usize, late_by: Duration, now: Timestamp) -> Vec<String> {
        let added = self.project.data().add_events(n, now.minus(late_by), now);
        self.project.store(&added);
        added.iter().map(|event| chance::uuid_text(event.uuid)).collect()
    }

    /// Changes records of a stream, as edits do: the first ones; of recordings, the session goes
    /// on; of events, a changed copy of the newest arrives beside the old one.
    pub fn touch(&self, stream: &str, n: usize) {
        let now = self.now();
        if stream == "events" {
            let copies = self.project.data().resend_events(n, now);
            self.project.store(&copies);
        } else {
            self.project.data().touch(stream, n, now);
            self.project.persons_changed(stream);
        }
    }

    /// Deletes the last records of a stream (of events the newest copies).
    pub fn delete(&self, stream: &str, n: usize) {
        let gone = self.project.data().delete(stream, n);
        self.project.forget(&gone);
        self.project.persons_changed(stream);
    }

    /// Every event that was let in, as often as it came, in that order.
    pub fn captured(&self) -> Vec<Captured> {
        self.project.data().arrivals.iter().filter_map(Event::captured).collect()
    }

    /// Lets the newer protocol answer `retry` for these events when they come next.
    pub fn fail_once(&self, events: &[Uuid]) {
        held(&self.project.failing).extend(events);
    }

    /// Lets the store merge the copies of events, as it does in its own time: what was sent
    /// again unchanged is there once.
    pub fn merge_copies(&self) {
        let gone = self.project.data().merge_copies();
        self.project.forget(&gone);
    }

    /// What was noticed about them and told to no sender, in that order.
    pub fn warnings(&self) -> Vec<Warning> {
        self.project.data().warnings.clone()
    }

    /// The groups that events told of, by when they were first told.
    pub fn groups(&self) -> Vec<Group> {
        self.project.data().groups.clone()
    }

    /// How many requests came to the capture endpoints, whatever they were answered.
    pub fn capture_requests(&self) -> usize {
        let log = held(&self.project.log);
        let path = |asked: &Asked| asked.path_and_query.split('?').next().map(str::to_owned);
        log.iter().filter_map(path).filter(|path| capture::is_place(path)).count()
    }

    /// Puts a fault in force, beside those that are.
    pub fn fault(&self, fault: Fault) {
        held(&self.project.faults).add(fault);
    }

    /// Lifts all faults.
    pub fn clear_faults(&self) {
        held(&self.project.faults).clear();
    }

    /// Every request since the start or the last [`Self::clear_log`], in the order of their answers.
    pub fn log(&self) -> Vec<Asked> {
        held(&self.project.log).clone()
    }

    /// Forgets the requests so far.
    pub fn clear_log(&self) {
        held(&self.project.log).clear();
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Locks, whatever happened to others who held it.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod client;
