//! What is in PostgreSQL's tables, and projects that write there.

use hogline::cursor::Timestamp;
use hogline::sandbox::Sandbox;
use serde_json::{Value, json};

use super::Project;
use super::cluster::{Cluster, PASSWORD};
use super::ran::Told;
use super::table::{Comparison, Row};

impl Project {
    /// Into PostgreSQL at a URL; whoever runs it must not see the password in it.
    pub(crate) fn into_postgres(self, url: &str) -> Self {
        self.now_writes_to(url);
        self
    }

    /// Puts another target into the replication file.
    pub(crate) fn now_writes_to(&self, url: &str) {
        let yaml = std::fs::read_to_string(self.path("replication.yaml")).unwrap();
        let line = |line: &str| match line.starts_with("target: ") {
            true => format!("target: {url}\n"),
            false => format!("{line}\n"),
        };
        self.writes("replication.yaml", &yaml.lines().map(line).collect::<String>());
    }
}

impl Told {
    /// It did not tell the password of the database.
    #[track_caller]
    pub(crate) fn keeps_the_password(self) -> Self {
        for secret in [PASSWORD, "pw%20of"] {
            let told = self.stdout.contains(secret) || self.stderr.contains(secret);
            assert!(!told, "the password is told:\n{self}");
        }
        self
    }
}

impl Cluster {
    /// A stream's table holds what PostHog holds: the same rows, the same values.
    #[track_caller]
    pub(crate) fn holds_exactly(&self, posthog: &Sandbox, stream: &str) {
        let position = format!(
            "SELECT position::jsonb ->> 'path' FROM posthog._hogline_checkpoints WHERE stream = '{stream}'"
        );
        let path = self.sql(&position);
        let comparison = Comparison::of_lines(stream, &path[0]);
        let rows = self.sql(&format!("SELECT to_jsonb(t) FROM posthog.{stream} AS t"));
        let rows = rows.iter().map(|json| serde_json::from_str::<Row>(json).unwrap());
        let typed = |(name, value): (String, Value)| {
            let value = match (comparison.kind(&name), &value) {
                ("timestamp", Value::String(text)) => {
                    json!(Timestamp::parse(text).unwrap().to_string())
                }
                _ => value,
            };
            (name, value)
        };
        comparison.judge(rows.map(|row| row.into_iter().map(typed).collect()).collect(), posthog);
    }

    /// How many rows a stream has.
    #[track_caller]
    pub(crate) fn count(&self, stream: &str) -> i64 {
        self.sql(&format!("SELECT count(*) FROM posthog.{stream}"))[0].parse().unwrap()
    }
}
