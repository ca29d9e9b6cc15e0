//! Where records can go: a SQLite file, a PostgreSQL server, a folder of files or a bucket.
//!
//! Reads a target from a URL or from a connection's map. Knows the names of what
//! Sling writes to and we do not yet, to say so. Opens and creates nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::complaint::{Complaints, suggestion};
use super::duration::parse_duration;
use super::fields::Fields;
use super::files::FileFormat;
use super::node::{Kind, Node};
use super::postgres::Postgres;
use super::posthog::Surroundings;
use super::s3::S3;
use super::variables::Environment;

/// What we write to.
const OURS: [&str; 5] = ["sqlite", "postgres", "postgresql", "file", "s3"];

/// The same, as messages name it.
const KNOWN: [&str; 4] = ["sqlite", "postgres", "file", "s3"];

/// What to do about a target of another kind.
const INSTEAD: &str = "use sqlite, postgres, file or s3";

/// What Sling writes to, by type or URL scheme, and we do not yet.
const SLINGS: [&str; 32] = [
    "abfss",
    "athena",
    "azure",
    "bigquery",
    "bigtable",
    "clickhouse",
    "d1",
    "databricks",
    "duckdb",
    "ducklake",
    "elasticsearch",
    "fabric",
    "ftp",
    "gcs",
    "gdrive",
    "gs",
    "iceberg",
    "mariadb",
    "mongodb",
    "motherduck",
    "mssql",
    "mysql",
    "oracle",
    "proton",
    "r2",
    "redshift",
    "sftp",
    "snowflake",
    "sqlserver",
    "starrocks",
    "trino",
    "wasbs",
];

/// Where a replication's records end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetConnection {
    /// Tables in a SQLite database.
    Sqlite {
        /// The database's file.
        path: PathBuf,
        /// How long another program may keep it from being written, where the user says so.
        busy_timeout: Option<Duration>,
    },
    /// Tables in a database of a PostgreSQL server.
    Postgres(Box<Postgres>),
    /// Files in a folder.
    Files {
        /// The folder that all objects are below.
        dir: PathBuf,
    },
    /// Files in a bucket.
    S3(Box<S3>),
    /// The program's own stdout: chosen on the command line only.
    Stdout(FileFormat),
}

impl TargetConnection {
    /// What to call this target in messages: its URL.
    pub fn label(&self) -> String {
        match self {
            Self::Sqlite { path, .. } => format!("sqlite://{}", path.display()),
            Self::Postgres(server) => server.label(),
            Self::Files { dir } => format!("file://{}", dir.display()),
            Self::S3(place) => place.label(),
            Self::Stdout(_) => "stdout".to_owned(),
        }
    }

    /// Reads `sqlite://path`, `postgresql://…`, `file://folder` or `s3://bucket`; a relative path
    /// starts at `base`. What is wrong with it is said without repeating it: a URL may hold a
    /// password.
    pub(super) fn from_url(
        url: &str,
        base: &Path,
        environment: &Environment,
    ) -> Result<Self, String> {
        let (scheme, place) = url.split_once("://").unwrap_or(("", url));
        if is_postgres(scheme) {
            return Postgres::from_url(url, base).map(|server| Self::Postgres(Box::new(server)));
        }
        if scheme == "s3" {
            return S3::from_url(url, environment).map(|place| Self::S3(Box::new(place)));
        }
        Self::of_type(scheme, place, base)
    }

    /// Reads a connection: a URL, or a map with `type` and what that type needs.
    pub(super) fn read(
        node: &Node,
        path: &str,
        surroundings: &Surroundings<'_>,
        complaints: &Complaints,
    ) -> Option<Self> {
        let Surroundings { environment, cwd: base } = *surroundings;
        let said = |key: &'static str, message: String| (key, message);
        if let Some(url) = node.text() {
            let target = Self::from_url(url, base, environment);
            return target.map_err(|message| complaints.add(node.at, path, message)).ok();
        }
        if matches!(node.kind, Kind::Null | Kind::List(_)) {
            complaints.expected("a URL or a map with type and path", node, path);
            return None;
        }
        let mut fields = Fields::of(node, path, complaints);
        let kind = fields.opt_text("type");
        if kind.is_some_and(is_postgres) {
            let server = Postgres::from_fields(&mut fields, base);
            fields.finish();
            return server.map(|server| Self::Postgres(Box::new(server)));
        }
        if kind == Some("s3") {
            let place = S3::from_fields(&mut fields, environment);
            fields.finish();
            return place.map(|place| Self::S3(Box::new(place)));
        }
        if let Some(message) = kind.and_then(refusal) {
            // Its other keys are not ours to judge.
            fields.complain("type", message);
            return None;
        }
        let places = ["url", "path", "instance"].map(|key| (key, fields.opt_text(key)));
        let given: Vec<_> =
            places.iter().filter_map(|(key, text)| Some((*key, (*text)?))).collect();
        let target = match (given.as_slice(), kind) {
            ([], _) => Err(said("type", "says not where: add path: …".to_owned())),
            ([(key, url)], kind) if url.contains("://") => Self::from_url(url, base, environment)
                .and_then(|target| target.agreeing_with(kind))
                .map_err(|message| said(key, message)),
            ([(key, place)], Some(kind)) => {
                Self::of_type(kind, place, base).map_err(|message| said(key, message))
            }
            ([_], None) => Err(said("type", format!("missing: type: {}", KNOWN.join(", type: ")))),
            ([_, (key, _), ..], _) => {
                Err(said(key, "one of url, path and instance is enough".to_owned()))
            }
        };
        let target = target.map_err(|(key, message)| fields.complain(key, message)).ok();
        fields.finish();
        target
    }

    fn of_type(kind: &str, place: &str, base: &Path) -> Result<Self, String> {
        if let Some(message) = refusal(kind) {
            return Err(message);
        }
        let place = place.strip_prefix("./").unwrap_or(place);
        let (place, parameters) = match place.split_once('?') {
            Some((place, parameters)) => (place, Some(parameters)),
            None => (place, None),
        };
        if place.is_empty() || place == ":memory:" {
            return Err("names no path: write sqlite://posthog.db or file://folder".to_owned());
        }
        let path = base.join(place);
        match (kind, parameters) {
            ("sqlite", None) => Ok(Self::Sqlite { path, busy_timeout: None }),
            ("sqlite", Some(text)) => {
                Ok(Self::Sqlite { path, busy_timeout: Some(busy_timeout(text)?) })
            }
            (_, None) => Ok(Self::Files { dir: path }),
            (_, Some(_)) => Err("parameters (`?…`) are not supported".to_owned()),
        }
    }

    /// The target, if the connection's `type` says the same as its URL.
    fn agreeing_with(self, kind: Option<&str>) -> Result<Self, String> {
        let own = match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres(_) => "postgres",
            Self::Files { .. } => "file",
            Self::S3(_) => "s3",
            Self::Stdout(_) => "stdout",
        };
        if kind.is_some_and(|kind| kind != own) {
            return Err(format!("is a {own}:// URL, which is not what type says"));
        }
        Ok(self)
    }
}

impl fmt::Display for TargetConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label())
    }
}

/// Reads the one parameter that a database takes: `busy_timeout=5s`.
fn busy_timeout(parameters: &str) -> Result<Duration, String> {
    let span = parameters.strip_prefix("busy_timeout=").and_then(parse_duration);
    span.ok_or_else(|| "the only parameter is ?busy_timeout=…, like 5s".to_owned())
}

/// Whether a text is the URL of a target, of Sling's kinds too.
pub(super) fn is_target_url(text: &str) -> bool {
    kind_of_url(text).is_some()
}

/// The type of target that a URL is of, of Sling's kinds too.
pub(super) fn kind_of_url(text: &str) -> Option<&'static str> {
    let (scheme, _) = text.split_once("://")?;
    let known = OURS.into_iter().chain(SLINGS);
    known.into_iter().find(|kind| *kind == scheme)
}

fn is_postgres(kind: &str) -> bool {
    matches!(kind, "postgres" | "postgresql")
}

/// Why there is no writing to targets of this type.
fn refusal(kind: &str) -> Option<String> {
    match kind {
        _ if OURS.contains(&kind) => None,
        _ if SLINGS.contains(&kind) => Some(format!("{kind} is not supported yet: {INSTEAD}")),
        "api" => Some(format!("an API is where records come from: {INSTEAD}")),
        // Not repeated: what stands before `://` may be anything.
        _ => Some(format!("unknown type of target, {}", suggestion(kind, &KNOWN))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    fn sqlite(path: &str) -> Result<TargetConnection, String> {
        Ok(TargetConnection::Sqlite { path: path.into(), busy_timeout: None })
    }

    fn files(dir: &str) -> Result<TargetConnection, String> {
        Ok(TargetConnection::Files { dir: dir.into() })
    }

    fn postgres(url: &str) -> Result<TargetConnection, String> {
        Postgres::from_url(url, Path::new("/"))
            .map(|server| TargetConnection::Postgres(Box::new(server)))
    }

    fn s3(url: &str) -> Result<TargetConnection, String> {
        S3::from_url(url, &Environment::new()).map(|place| TargetConnection::S3(Box::new(place)))
    }

    fn wrong(message: &str) -> Result<TargetConnection, String> {
        Err(message.to_owned())
    }

    /// The target that the YAML defines, or the one line that is said of it.
    fn read(yaml: &str) -> Result<TargetConnection, String> {
        let complaints = Complaints::hiding_values();
        let surroundings = Surroundings { environment: &Environment::new(), cwd: "/srv".as_ref() };
        let target = TargetConnection::read(&parse(yaml).unwrap(), "", &surroundings, &complaints);
        complaints.into_result("f", Some(yaml)).map_err(|error| error.to_string())?;
        target.ok_or_else(|| "nothing".to_owned())
    }

    #[test]
    fn urls_name_a_file_or_a_folder() {
        let nowhere = "names no path: write sqlite://posthog.db or file://folder";
        for (url, expected) in [
            ("sqlite://posthog.db", sqlite("/srv/posthog.db")),
            ("sqlite:///abs/x.db", sqlite("/abs/x.db")),
            ("sqlite://./rel/é.db", sqlite("/srv/rel/é.db")),
            ("file://out", files("/srv/out")),
            ("file:///abs", files("/abs")),
            ("sqlite://", wrong(nowhere)),
            ("sqlite://:memory:", wrong(nowhere)),
            ("sqlite://x.db?mode=ro", wrong("the only parameter is ?busy_timeout=…, like 5s")),
            (
                "sqlite://x.db?busy_timeout=5",
                wrong("the only parameter is ?busy_timeout=…, like 5s"),
            ),
            (
                "sqlite://x.db?busy_timeout=5s",
                Ok(TargetConnection::Sqlite {
                    path: "/srv/x.db".into(),
                    busy_timeout: Some(Duration::from_secs(5)),
                }),
            ),
            ("file://x?busy_timeout=5s", wrong("parameters (`?…`) are not supported")),
            ("postgres://u:pw@h/d", postgres("postgresql://u:pw@h:5432/d")),
            ("gs://bucket", wrong("gs is not supported yet: use sqlite, postgres, file or s3")),
            ("s3://lake/x", s3("s3://lake/x")),
            ("sqlit://x", wrong("unknown type of target, did you mean \"sqlite\"?")),
            ("hunter22://x", wrong("unknown type of target, known: sqlite, postgres, file, s3")),
        ] {
            let target = TargetConnection::from_url(url, Path::new("/srv"), &Environment::new());
            assert_eq!(target, expected, "{url}");
        }
    }

    #[test]
    fn maps_name_a_type_and_a_place() {
        for (yaml, expected) in [
            ("{ type: sqlite, url: sqlite://x.db }", sqlite("/srv/x.db")),
            ("{ type: sqlite, instance: /x.db }", sqlite("/x.db")),
            ("{ type: sqlite, path: ./x.db }", sqlite("/srv/x.db")),
            ("{ type: file, url: file:///out }", files("/out")),
            ("{ type: file, path: out }", files("/srv/out")),
            ("{ url: sqlite://x.db }", sqlite("/srv/x.db")),
            ("sqlite://x.db", sqlite("/srv/x.db")),
            (
                "{ type: postgres, host: h, port: 6432, user: u, password: pw, database: d, sslmode: require }",
                postgres("postgresql://u:pw@h:6432/d?sslmode=require"),
            ),
            (
                "{ type: postgresql, url: postgres://u@h/d, password: pw }",
                postgres("postgresql://u:pw@h/d"),
            ),
            (
                "{ type: postgres, host: h, user: u, databse: d, sslmode: no }",
                wrong(
                    "f:1:1: database: names no database: write \
                     postgresql://user:password@host:5432/database?sslmode=verify-full\n\
                     f:1:37: unknown key \"databse\", did you mean \"database\"?\n\
                     f:1:58: sslmode: unknown sslmode, known: disable, allow, prefer, require, \
                     verify-ca, verify-full",
                ),
            ),
            (
                "{ type: postgres, url: postgres://u@h/d, ssh_tunnel: x }",
                wrong(
                    "f:1:42: ssh_tunnel is not supported: open the tunnel yourself and name its \
                     end as host",
                ),
            ),
            (
                "{ type: api, spec: posthog }",
                wrong(
                    "f:1:9: type: an API is where records come from: use sqlite, postgres, file \
                     or s3",
                ),
            ),
            (
                "{ type: sqlte, path: x }",
                wrong("f:1:9: type: unknown type of target, did you mean \"sqlite\"?"),
            ),
            ("{ type: s3, bucket: lake, prefix: x }", s3("s3://lake/x")),
            ("{ type: s3, url: s3://lake/x }", s3("s3://lake/x")),
            ("{ url: s3://lake/x }", s3("s3://lake/x")),
            ("{ type: sqlite }", wrong("f:1:9: type: says not where: add path: …")),
            (
                "{ path: x }",
                wrong("f:1:1: type: missing: type: sqlite, type: postgres, type: file, type: s3"),
            ),
            (
                "{ type: file, url: sqlite://x }",
                wrong("f:1:20: url: is a sqlite:// URL, which is not what type says"),
            ),
            (
                "{ type: file, url: file://x, path: x }",
                wrong("f:1:36: path: one of url, path and instance is enough"),
            ),
            (
                "{ type: file, path: x, pth: y }",
                wrong("f:1:24: unknown key \"pth\", did you mean \"path\"?"),
            ),
            ("[x]", wrong("f:1:1: expected a URL or a map with type and path, found a list")),
        ] {
            assert_eq!(read(yaml), expected, "{yaml}");
        }
    }

    #[test]
    fn a_target_is_called_by_its_url() {
        assert_eq!(sqlite("/x.db").unwrap().to_string(), "sqlite:///x.db");
        assert_eq!(files("out").unwrap().to_string(), "file://out");
    }
}
