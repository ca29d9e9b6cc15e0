//! What is in PostgreSQL's tables, and projects that write there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

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

impl Project {
    /// Into a database of its own, in a server that is there as long as somebody has one.
    pub(crate) fn into_a_database(mut self) -> Self {
        let database = Database::new(server());
        self.now_writes_to(&database.url());
        self.database = Some(database);
        self
    }
}

/// A database of one project; it goes with the project.
pub(crate) struct Database {
    cluster: Arc<Cluster>,
    name: String,
}

impl Database {
    fn new(cluster: Arc<Cluster>) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("lake_{}", MADE.fetch_add(1, Ordering::Relaxed));
        cluster.sql(&format!("CREATE DATABASE {name} OWNER loader"));
        Self { cluster, name }
    }

    /// Where it is, as its owner.
    pub(crate) fn url(&self) -> String {
        self.cluster.url().replace("/lake", &format!("/{}", self.name))
    }

    /// The same as the map of a connection.
    pub(crate) fn map(&self) -> String {
        let Self { cluster, name } = self;
        format!(
            "{{ type: postgres, host: 127.0.0.1, port: {}, user: loader, password: \"{PASSWORD}\", \
             database: {name} }}",
            cluster.port
        )
    }

    /// Does something in it as the server's superuser; the texts of what it gives.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> Vec<String> {
        self.try_sql(sql).unwrap_or_else(|err| panic!("{err}: {sql}"))
    }

    /// The same; the error is the server's.
    pub(crate) fn try_sql(&self, sql: &str) -> Result<Vec<String>, String> {
        self.cluster.session_in(&self.name, "").try_sql(sql)
    }

    /// A stream's table holds what PostHog holds: the same rows, the same values.
    #[track_caller]
    pub(crate) fn holds_exactly(&self, posthog: &Sandbox, stream: &str) {
        is_exactly(&|sql| self.sql(sql), posthog, stream);
    }

    /// How many rows a stream has.
    #[track_caller]
    pub(crate) fn count(&self, stream: &str) -> i64 {
        count(&|sql| self.sql(sql), stream)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.cluster.sql(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

/// The server of all databases, there while somebody has it.
pub(crate) fn server() -> Arc<Cluster> {
    static SERVER: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    server.upgrade().unwrap_or_else(|| {
        let cluster = Arc::new(Cluster::start());
        *server = Arc::downgrade(&cluster);
        cluster
    })
}

impl Cluster {
    /// A stream's table holds what PostHog holds: the same rows, the same values.
    #[track_caller]
    pub(crate) fn holds_exactly(&self, posthog: &Sandbox, stream: &str) {
        is_exactly(&|sql| self.sql(sql), posthog, stream);
    }

    /// How many rows a stream has.
    #[track_caller]
    pub(crate) fn count(&self, stream: &str) -> i64 {
        count(&|sql| self.sql(sql), stream)
    }
}

/// Asks a database.
type Ask<'a> = &'a dyn Fn(&str) -> Vec<String>;

#[track_caller]
fn count(ask: Ask<'_>, stream: &str) -> i64 {
    ask(&format!("SELECT count(*) FROM posthog.{stream}"))[0].parse().unwrap()
}

#[track_caller]
fn is_exactly(ask: Ask<'_>, posthog: &Sandbox, stream: &str) {
    let position = format!(
        "SELECT position::jsonb ->> 'path' FROM posthog._hogline_checkpoints WHERE stream = '{stream}'"
    );
    let path = ask(&position);
    let comparison = Comparison::of_lines(stream, &path[0]);
    let rows = ask(&format!("SELECT to_jsonb(t) FROM posthog.{stream} AS t"));
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
