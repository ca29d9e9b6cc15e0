//! A PostHog of the test's own.

use std::ops::Deref;
use std::time::{Duration, Instant};

use hogline::cursor::Timestamp;
use hogline::sandbox::{Asked, Options, Sandbox};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use url::form_urlencoded;

/// Every stream there is, in the order of the example.
pub(crate) const EVERYTHING: [&str; 11] = [
    "projects",
    "persons",
    "events",
    "cohorts",
    "feature_flags",
    "insights",
    "annotations",
    "actions",
    "session_recordings",
    "event_definitions",
    "property_definitions",
];

/// The longest that anything may take before a test is taken for hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A minute.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// A day.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A sandbox with a runtime of its own, so that stories are plain functions.
///
/// Its clock starts at a fixed instant: what it holds is the same in every run.
pub(crate) struct PostHog {
    sandbox: Sandbox,
    runtime: Runtime,
}

impl PostHog {
    /// Today's server, with enough events for several of everything.
    pub(crate) fn start() -> Self {
        Self::playing(|_| {})
    }

    /// A server that differs from today's in some options.
    pub(crate) fn playing(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options {
            events: 2000,
            persons: 400,
            recordings: 300,
            now: Timestamp::parse("2026-03-10T12:00:00.250Z").unwrap(),
            ..Options::default()
        };
        change(&mut options);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sandbox = runtime.block_on(Sandbox::start(options)).unwrap();
        Self { sandbox, runtime }
    }

    /// A server without the SQL endpoint.
    pub(crate) fn without_sql() -> Self {
        Self::playing(|options| options.sql = false)
    }

    /// Lets `n` events arrive now that happened `late_by` before, and a little time pass:
    /// the server's clock is only known to the second.
    pub(crate) fn receives_events(&self, n: usize, late_by: Duration) -> Vec<String> {
        let ids = self.sandbox.add_events(n, late_by, self.sandbox.now());
        self.sandbox.advance(Duration::from_secs(5));
        ids
    }

    /// Lets records of a stream be changed, and a little time pass.
    pub(crate) fn edits(&self, stream: &str, n: usize) {
        self.sandbox.advance(Duration::from_secs(5));
        self.sandbox.touch(stream, n);
        self.sandbox.advance(Duration::from_secs(5));
    }

    /// The requests whose path or body contains `part`.
    pub(crate) fn asked_about(&self, part: &str) -> Vec<Asked> {
        let is_about =
            |asked: &Asked| asked.path_and_query.contains(part) || asked.body.contains(part);
        self.sandbox.log().into_iter().filter(is_about).collect()
    }

    /// The ranges of time that SQL was asked for events in, as `from` and `to`.
    pub(crate) fn ranges_asked(&self) -> Vec<(String, String)> {
        let range = |asked: Asked| {
            let body: Value = serde_json::from_str(&asked.body).unwrap();
            let text = |name: &str| body["query"]["values"][name].as_str().map(str::to_owned);
            Some((text("from")?, text("to")?))
        };
        self.asked_about("FROM events").into_iter().filter_map(range).collect()
    }

    /// The instants from which events were asked for, of the list or else in SQL.
    pub(crate) fn starts_asked(&self) -> Vec<String> {
        let listed = |asked: &Asked| {
            let query = asked.path_and_query.split_once("/events/?")?.1;
            let mut pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
            pairs.find(|(name, _)| name == "after").map(|(_, after)| after)
        };
        let starts: Vec<String> = self.log().iter().filter_map(listed).collect();
        if starts.is_empty() {
            return self.ranges_asked().into_iter().map(|(from, _)| from).collect();
        }
        starts
    }

    /// How many records a stream holds.
    pub(crate) fn count(&self, stream: &str) -> i64 {
        i64::try_from(self.sandbox.truth(stream).len()).unwrap()
    }

    /// Lets time pass: what comes now is after everything before.
    pub(crate) fn later(&self, span: Duration) {
        self.sandbox.advance(span);
    }

    /// Waits until something is so, looking again every few milliseconds.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut(&Sandbox) -> bool) {
        let begun = Instant::now();
        while !is_so(&self.sandbox) {
            assert!(begun.elapsed() < PATIENCE, "still waiting until {what}: {:#?}", self.log());
            let moment = Duration::from_millis(3);
            self.runtime.block_on(async move { tokio::time::sleep(moment).await });
        }
    }
}

impl Deref for PostHog {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}
