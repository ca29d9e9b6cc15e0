//! What went wrong at the server, and what the user can do about it.

use std::error::Error as _;
use std::fmt::Write;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::checkpoint::Unreadable;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The server refused, or could not be reached.
    #[error("{}", described(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The certificates to trust cannot be used.
    #[error("{0}")]
    Tls(String),
    /// It did not even greet.
    #[error("the server did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// The process was asked to stop.
    #[error("the process was asked to stop")]
    Stopped,
    /// This machine cannot run a connection.
    #[error("{0}")]
    Runtime(std::io::Error),
    /// The stored checkpoint is not to be used.
    #[error("in `_hogline_checkpoints`, {0}")]
    Unreadable(#[from] Unreadable),
    /// Something that only we check, with what can be done about it.
    #[error("{0}")]
    Refused(String, String),
}

impl Fault {
    /// What the user can do.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Refused(_, hint) => hint.clone(),
            Self::Tls(_) => "name a file with the CA's certificate (PEM) as sslrootcert, or leave \
                             it out to trust the system's"
                .into(),
            Self::Unreadable(Unreadable::Newer(_)) => {
                "run that version of hogline, or a later one".into()
            }
            Self::Unreadable(_) => {
                "restore the database, or delete the stream's row there and reset the stream".into()
            }
            Self::Postgres(err) => match err.code() {
                Some(code) => of_code(code).into(),
                None if is_about_tls(err) => {
                    "check sslmode and sslrootcert, and the server's certificate".into()
                }
                None => "check host and port, and that the server runs; what was committed is \
                         safe, and a run goes on from there"
                    .into(),
            },
            Self::Silent(_) => "check host and port, and the network between".into(),
            Self::Stopped | Self::Runtime(_) => SAFE.into(),
        }
    }
}

impl Fault {
    /// What the user can do where rows were read only.
    pub(crate) fn reading_hint(&self) -> String {
        match self {
            Self::Postgres(err) if err.code().is_some_and(|code| code.code().starts_with("42")) => {
                "check the query or the table of the sync, and that the user may read it".into()
            }
            _ => self.hint(),
        }
    }
}

const SAFE: &str = "what was committed is safe; when the cause is gone, run again";

/// What can be done about the server's error.
fn of_code(code: &SqlState) -> &'static str {
    match code.code() {
        "28P01" | "28000" => "check user and password, and that pg_hba.conf lets them in",
        "3D000" => "create the database, or name another one",
        "42501" => {
            "grant what is missing: USAGE and CREATE on the schema, ownership of the table for new \
             columns, or SELECT, INSERT, UPDATE, DELETE where it stays as it is"
        }
        "25006" => "name the primary server, or a user who may write",
        "53300" => "let other sessions end, or raise max_connections; then run again",
        "53100" | "53200" => "free space on the server, then run again: nothing is lost",
        "55P03" => {
            "another session holds the table; let it finish, then run again: nothing is lost"
        }
        "57014" => {
            "a timeout ended the statement: raise statement_timeout for this user \
             (ALTER ROLE … SET statement_timeout), then run again: nothing is lost"
        }
        "40001" | "40P01" => "another session was in the way; run again: nothing is lost",
        "54000" => "a key is too long for PostgreSQL's index; name another primary_key",
        "2BP01" | "0A000" => {
            "something uses this table: drop it (a view, usually), run again, and make it anew"
        }
        "23502" | "23503" | "23505" | "23514" => {
            "a constraint of the table refuses a row: drop the constraint, or name another object"
        }
        _ => SAFE,
    }
}

/// The server's message with its code, or the chain of causes; never a row's values.
fn described(err: &tokio_postgres::Error) -> String {
    if let Some(refusal) = err.as_db_error() {
        return format!("{} (SQLSTATE {})", refusal.message(), refusal.code().code());
    }
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        write!(text, ": {cause}").unwrap_or_default();
        source = cause.source();
    }
    text
}

fn is_about_tls(err: &tokio_postgres::Error) -> bool {
    let text = err.to_string();
    text.contains("TLS")
}
