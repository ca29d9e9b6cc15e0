//! Opening the outbox: is it ours, and of a form we know?

use std::path::Path;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::OutboxError;

/// The form of the database, in `user_version`.
const FORM: i64 = 1;

const TABLES: &str = "
CREATE TABLE destinations (
  id INTEGER PRIMARY KEY, origin TEXT NOT NULL, mark TEXT NOT NULL, historical INTEGER NOT NULL,
  UNIQUE (origin, mark, historical)
);
CREATE TABLE events (
  number INTEGER PRIMARY KEY AUTOINCREMENT, destination INTEGER NOT NULL, uuid BLOB NOT NULL,
  event TEXT NOT NULL, distinct_id TEXT NOT NULL, json TEXT NOT NULL, accepted TEXT NOT NULL,
  code TEXT, reason TEXT
);
CREATE UNIQUE INDEX once ON events (destination, uuid, event, distinct_id);
CREATE INDEX refused ON events (destination, code) WHERE code IS NOT NULL;
PRAGMA user_version = 1;";

/// Why the database is not used.
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    Io(std::io::Error),
    Foreign,
    Newer(i64),
}

impl From<rusqlite::Error> for Fault {
    fn from(err: rusqlite::Error) -> Self {
        Self::Sqlite(err)
    }
}

impl Fault {
    /// The error to tell of the outbox at `path`.
    pub(super) fn at(self, path: &Path) -> OutboxError {
        let path_hint = "check the path, and that you may write the file and its folder";
        let (cause, hint) = match self {
            Self::Sqlite(err) => {
                let hint = match err.sqlite_error_code() {
                    Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                        "another program uses it; let it finish, then run again"
                    }
                    Some(ErrorCode::DiskFull) => "free space on the disk, then run again",
                    Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                        "it is damaged: restore it from a backup, or move it away"
                    }
                    _ => path_hint,
                };
                (err.to_string(), hint)
            }
            Self::Io(err) => (err.to_string(), path_hint),
            Self::Foreign => {
                ("it is another program's".to_owned(), "name another place with --state")
            }
            Self::Newer(form) => (
                format!("it has the form {form}, made by a newer hogline"),
                "run that version of hogline, or a later one",
            ),
        };
        OutboxError::Unusable { path: path.to_owned(), cause, hint }
    }
}

/// Opens the database, or makes it.
pub(super) fn connect(path: &Path) -> Result<Connection, Fault> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Fault::Io)?;
    }
    let mut db = Connection::open(path)?;
    db.busy_handler(Some(crate::stop::wait_seconds::<10>))?;
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
    // In a transaction of its own: two processes may open a new outbox at once.
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let form: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (form, tables) {
        (FORM, _) => {}
        (0, 0) => transaction.execute_batch(TABLES)?,
        (0, _) => return Err(Fault::Foreign),
        (form, _) => return Err(Fault::Newer(form)),
    }
    transaction.commit()?;
    Ok(db)
}
