//! Where a fault is tried: a target, a mode and a way of paging; and what must hold after it.

use std::collections::BTreeSet;
use std::fmt;

use hogline::sandbox::Options;
use rusqlite::Connection;
use serde_json::Value;

use crate::support::{PostHog, Project};

/// The targets, as `HOGLINE_GRID` names them.
pub(crate) const TARGETS: &[(&str, Kind)] = &[
    ("sqlite", Kind::Sqlite),
    #[cfg(feature = "postgres")]
    ("postgres", Kind::Postgres),
    ("jsonl", Kind::Files("format: jsonl")),
    ("csv", Kind::Files("format: csv, compression: gzip")),
    #[cfg(feature = "parquet")]
    ("parquet", Kind::Files("format: parquet")),
    #[cfg(feature = "object-storage")]
    ("s3", Kind::Bucket),
];

const MODES: [&str; 4] = ["full-refresh", "truncate", "incremental", "backfill"];

/// The ways of paging, each with a stream that is read so.
const PAGINGS: [(&str, &str); 6] = [
    ("keyset", "events"),
    ("keyset and join", "persons"),
    ("time window", "events"),
    ("cursor", "session_recordings"),
    ("offset", "insights"),
    ("whole", "actions"),
];

/// All of the sandbox's history.
const RANGE: &str = "2026-01-01,2026-12-01";

/// What a target is to those who look into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    /// Files, written with these options.
    Files(&'static str),
    /// JSON lines in a bucket, whose objects are files where those of a folder would be.
    #[cfg(feature = "object-storage")]
    Bucket,
}

impl Kind {
    /// A project that replicates into it.
    pub(crate) fn of(self, project: Project) -> Project {
        match self {
            Self::Sqlite => project,
            Self::Postgres => project.into_a_database(),
            Self::Files(options) => project.into_files_of(options),
            #[cfg(feature = "object-storage")]
            Self::Bucket => project.into_a_bucket(),
        }
    }
}

/// A place for a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ground {
    pub(crate) target: &'static str,
    pub(crate) kind: Kind,
    pub(crate) mode: &'static str,
    pub(crate) paging: &'static str,
    /// The stream that is replicated.
    pub(crate) stream: &'static str,
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t{}\t{}", self.target, self.mode, self.paging)
    }
}

impl Ground {
    /// Every place, those that cannot be included.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (paging, stream) in PAGINGS {
            for mode in MODES {
                let on = |&(target, kind)| Self { target, kind, mode, paging, stream };
                all.extend(TARGETS.iter().map(on));
            }
        }
        all
    }

    /// Every target's name.
    pub(crate) fn targets() -> Vec<&'static str> {
        TARGETS.iter().map(|(name, _)| *name).collect()
    }

    /// Whether the target is a folder of files, or one of objects.
    pub(crate) fn is_files(&self) -> bool {
        !self.is_database()
    }

    /// Whether the target is a database.
    pub(crate) fn is_database(&self) -> bool {
        matches!(self.kind, Kind::Sqlite | Kind::Postgres)
    }

    /// Whether the target's server refuses requests of another hour than its own.
    pub(crate) fn minds_the_clock(&self) -> bool {
        self.target == "s3"
    }

    /// Why nothing can be tried here.
    pub(crate) fn why_empty(&self) -> Option<&'static str> {
        let has_time = matches!(self.stream, "events" | "session_recordings");
        (self.mode == "backfill" && !has_time).then_some("a list has no range of time")
    }

    /// A PostHog that is read in this way, with several pages of the stream.
    pub(crate) fn posthog(&self) -> PostHog {
        self.posthog_playing(|_| {})
    }

    /// The same, different in some options.
    pub(crate) fn posthog_playing(&self, change: impl FnOnce(&mut Options)) -> PostHog {
        PostHog::playing(|options| {
            options.events = 200;
            options.persons = 60;
            options.recordings = 30;
            options.days = 8;
            options.sql = self.paging != "time window";
            options.sql_cap = 60;
            options.event_cap = 100;
            change(options);
        })
    }

    /// A folder that replicates the stream from this PostHog.
    pub(crate) fn project(&self, posthog: &PostHog) -> Project {
        let mode = if self.mode == "backfill" { "incremental" } else { self.mode };
        let project = Project::in_mode(posthog, mode, &[self.stream]);
        self.kind.of(project)
    }

    /// The options of a run in this mode.
    pub(crate) fn options(&self) -> &'static [&'static str] {
        if self.mode == "backfill" { &["--mode", "backfill", "--range", RANGE] } else { &[] }
    }

    /// Runs to the end and holds the copy against every promise: no row lost, no key twice,
    /// values equal, the state not ahead of the data, and a second run changes nothing.
    #[track_caller]
    pub(crate) fn settles(&self, posthog: &PostHog, project: &Project) {
        self.state_is_not_ahead(project);
        project.run_with(self.options()).succeeds();
        self.holds(posthog, project);
        let before = self.contents(project);
        project.run_with(self.options()).succeeds();
        self.holds(posthog, project);
        assert_eq!(self.contents(project), before, "a second run changed something");
    }

    /// Every row, as text.
    fn contents(&self, project: &Project) -> BTreeSet<String> {
        if let Some(database) = project.database() {
            // What is not copied whole is not rewritten either.
            let is_copied = matches!(self.mode, "full-refresh" | "truncate");
            let written = if is_copied { "" } else { "xmin, " };
            let sql = format!("SELECT {written}t.* FROM posthog.{} AS t", self.stream);
            return database.sql(&sql).into_iter().collect();
        }
        match self.is_files() {
            true => project.lines_of(self.stream),
            false => project.copy().everything().into_values().flatten().collect(),
        }
    }

    /// Readers of the copy see what PostHog holds.
    #[track_caller]
    pub(crate) fn readers_see_all(&self, posthog: &PostHog, project: &Project) {
        if let Some(database) = project.database() {
            return database.holds_exactly(posthog, self.stream);
        }
        match self.is_files() {
            true => project.files_show_exactly(posthog, self.stream),
            false => project.holds_exactly(posthog, self.stream),
        }
    }

    /// The copy is what PostHog holds, and state and target know of the same commits.
    #[track_caller]
    pub(crate) fn holds(&self, posthog: &PostHog, project: &Project) {
        match self.is_files() {
            // Of files also those that no manifest names.
            true => project.files_hold_exactly(posthog, self.stream),
            false => self.readers_see_all(posthog, project),
        }
        let (state, target) = (self.in_state(project), self.in_target(project));
        assert!(target.is_some(), "the target has no checkpoint");
        assert_eq!(state, target, "state and target know of other commits");
    }

    /// What the state knows of is in the target.
    #[track_caller]
    pub(crate) fn state_is_not_ahead(&self, project: &Project) {
        let Some((epoch, sequence)) = self.in_state(project).filter(|(_, n)| *n > 0) else {
            return;
        };
        let target = self.in_target(project);
        let knows = |(other, n): &(String, i64)| *other == epoch && *n >= sequence;
        assert!(
            target.as_ref().is_some_and(knows),
            "the state knows commit {sequence} of {epoch}, the target {target:?}"
        );
    }

    /// State and target know of the same commits: a run that was stopped left neither behind.
    #[track_caller]
    pub(crate) fn state_is_with_the_target(&self, project: &Project) {
        assert_eq!(self.in_state(project), self.in_target(project), "they know of other commits");
    }

    /// Epoch and sequence of the stream's checkpoint in the state.
    fn in_state(&self, project: &Project) -> Option<(String, i64)> {
        // What waits for a reset is no claim any more.
        let held = "checkpoints WHERE edits = '[]' AND";
        checkpoint(&project.path("state/hogline.db"), held, self.stream)
    }

    /// The same in the target.
    fn in_target(&self, project: &Project) -> Option<(String, i64)> {
        if let Some(database) = project.database() {
            let sql = format!(
                "SELECT epoch, sequence FROM posthog._hogline_checkpoints WHERE stream = '{}'",
                self.stream
            );
            let found = database.try_sql(&sql).ok()?;
            let (epoch, sequence) = found.first()?.split_once('|')?;
            return Some((epoch.to_owned(), sequence.parse().unwrap()));
        }
        if self.kind == Kind::Sqlite {
            return checkpoint(
                &project.path("posthog.db"),
                "_hogline_checkpoints WHERE",
                self.stream,
            );
        }
        let path = project.path(&format!("out/posthog/{}/_manifest.json", self.stream));
        let manifest: Value = serde_json::from_slice(&std::fs::read(path).ok()?).unwrap();
        let checkpoint = &manifest["checkpoint"];
        Some((checkpoint["epoch"].as_str()?.to_owned(), checkpoint["sequence"].as_i64()?))
    }
}

/// Epoch and sequence of a stream's checkpoint in a table of a database, of such rows; nothing where there
/// is no database, no table or no row.
fn checkpoint(path: &std::path::Path, of: &str, stream: &str) -> Option<(String, i64)> {
    if !path.exists() {
        return None;
    }
    let database = Connection::open(path).unwrap();
    let sql = format!("SELECT epoch, sequence FROM {of} stream = ?");
    let mut statement = database.prepare(&sql).ok()?;
    statement.query_row([stream], |row| Ok((row.get(0)?, row.get(1)?))).ok()
}
