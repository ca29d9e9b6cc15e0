//! A folder with a replication file: runs the binary there and looks into the tables.

use std::process::Command;

use rusqlite::Connection;
use tempfile::TempDir;

/// Runs a command with little memory and little time to compute: what grows or spins without
/// end is killed.
const BOUNDED: &str = r#"ulimit -v 4000000; ulimit -t 60; exec "$0" "$@""#;

/// A user's folder.
pub(crate) struct Project {
    folder: TempDir,
    origin: String,
    key: String,
    id: String,
    spec: &'static str,
}

/// How a run ended and what it said.
#[must_use]
pub(crate) struct Ran {
    code: Option<i32>,
    said: String,
}

impl Project {
    /// Replicates one stream from project 1; it may be written with options, `events: { … }`.
    pub(crate) fn replicating(stream: &str, mode: &str, origin: &str) -> Self {
        let folder = TempDir::with_prefix("hogline-").unwrap();
        let stream = if stream.contains(':') { stream.into() } else { format!("{stream}:") };
        let replication = format!(
            "source: POSTHOG\ntarget: sqlite://out.db\n\
             defaults: {{ mode: {mode}, object: '{{stream_name}}' }}\nstreams:\n  {stream}\n"
        );
        std::fs::write(folder.path().join("replication.yaml"), replication).unwrap();
        let (key, id) = ("phx_key_of_a_scripted_server".into(), "1".into());
        Self { folder, origin: origin.into(), key, id, spec: "posthog" }
    }

    /// Reads events by their key alone, however wide the range.
    pub(crate) fn without_chunks(mut self) -> Self {
        let spec = include_str!("../../specs/events.yaml").lines();
        let lines: Vec<&str> = spec.filter(|line| !line.contains("chunks:")).collect();
        std::fs::write(self.folder.path().join("events.yaml"), lines.join("\n")).unwrap();
        self.spec = "[posthog, 'file://events.yaml']";
        self
    }

    /// With the key of another project.
    pub(crate) fn of(mut self, id: u64, key: &str) -> Self {
        (self.id, self.key) = (id.to_string(), key.into());
        self
    }

    /// Runs the replication to its end.
    pub(crate) fn run(&self) -> Ran {
        let connection = format!(
            "{{ type: api, spec: {}, \
             secrets: {{ api_key: {}, project_id: '{}', host: '{}' }}, \
             inputs: {{ requests_per_second: 0, safety_lag: 0s, anchor_date: 2026-03-01, \
             max_wait: 1s }} }}",
            self.spec, self.key, self.id, self.origin
        );
        let output = Command::new("sh")
            .args(["-c", BOUNDED, env!("CARGO_BIN_EXE_hogline"), "run", "-r", "replication.yaml"])
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOGLINE_HOME", self.folder.path().join("home"))
            .env("POSTHOG", connection)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let said = text(output.stdout) + &text(output.stderr);
        Ran { code: output.status.code(), said }
    }

    /// The values of the first column that a query finds, as text.
    pub(crate) fn finds(&self, sql: &str) -> Vec<String> {
        let database = Connection::open(self.folder.path().join("out.db")).unwrap();
        let mut query = database.prepare(sql).unwrap();
        let rows = query.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }
}

impl Ran {
    /// Everything came.
    #[track_caller]
    pub(crate) fn succeeds(self) {
        assert_eq!(self.code, Some(0), "{}", self.said);
    }

    /// It stopped because PostHog broke its contract, and said how.
    #[track_caller]
    pub(crate) fn breaks_off(self, cause: &str) {
        let Self { code, said } = self;
        assert_eq!(code, Some(6), "{said}");
        let line = said.lines().find(|line| line.starts_with("  cause: "));
        assert!(line.is_some_and(|line| line.contains(cause)), "not because {cause:?}:\n{said}");
    }
}
