//! The ledger's file: opened, proven, and replaced where it is broken.
//!
//! Knows tables, not quotas. A file that is no ledger is renamed, one that cannot
//! be written is done without; each time a warning says so.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, TransactionBehavior, ffi};

/// How many seconds another process may hold the lock. Its transactions take milliseconds.
const BUSY: u64 = 5;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS spent (
        origin TEXT NOT NULL, project TEXT NOT NULL, counter TEXT NOT NULL,
        tick INTEGER NOT NULL, last INTEGER NOT NULL, requests INTEGER NOT NULL,
        PRIMARY KEY (origin, project, counter, tick)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS blocked (
        origin TEXT NOT NULL, project TEXT NOT NULL, counter TEXT NOT NULL,
        since INTEGER NOT NULL, until INTEGER NOT NULL, probing INTEGER NOT NULL,
        PRIMARY KEY (origin, project, counter)
    ) STRICT, WITHOUT ROWID;";

/// The database, and where it lives.
#[derive(Debug)]
pub(super) struct Store {
    /// None for one in memory.
    path: Option<PathBuf>,
    connection: Connection,
}

impl Store {
    /// Opens the file; sets it aside where it is broken, does without where it
    /// cannot be written.
    pub(super) fn open(path: Option<PathBuf>) -> rusqlite::Result<Self> {
        let Some(path) = path else { return Self::in_memory() };
        let opened = match connect(&path) {
            Err(error) if is_broken(&error) => {
                set_aside(&path, &error).and_then(|()| connect(&path))
            }
            other => other,
        };
        match opened {
            Ok(connection) => Ok(Self { path: Some(path), connection }),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "keeping the quota ledger in memory");
                Self::in_memory()
            }
        }
    }

    fn in_memory() -> rusqlite::Result<Self> {
        let connection = prepared(Connection::open_in_memory()?)?;
        Ok(Self { path: None, connection })
    }

    /// Begins again after `cause`. The broken file is let go first: SQLite removes
    /// a log by name when it closes, and would take the new file's.
    pub(super) fn reopen(&mut self, cause: &rusqlite::Error) -> rusqlite::Result<()> {
        tracing::warn!(error = %cause, "opening the quota ledger again");
        let path = self.path.take();
        self.connection = Connection::open_in_memory()?;
        *self = Self::open(path)?;
        Ok(())
    }

    pub(super) fn transaction<T>(
        &mut self,
        work: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&tx)?;
        tx.commit()?;
        Ok(done)
    }
}

/// Opens the file at `path` and proves that it can be read.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    if let Some(folder) = path.parent() {
        // Where this fails, so does opening the file, with the better message.
        std::fs::create_dir_all(folder).ok();
    }
    let mut connection = Connection::open(path)?;
    connection.busy_handler(Some(crate::stop::wait_seconds::<BUSY>))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let found: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    if found != "ok" {
        return Err(rusqlite::Error::SqliteFailure(
            ffi::Error::new(ffi::SQLITE_CORRUPT),
            Some(found),
        ));
    }
    prepared(connection)
}

/// Makes the tables, and proves that they have the columns we use.
fn prepared(connection: Connection) -> rusqlite::Result<Connection> {
    connection.execute_batch(SCHEMA)?;
    connection.prepare("SELECT origin, project, counter, tick, last, requests FROM spent")?;
    connection.prepare("SELECT origin, project, counter, since, until, probing FROM blocked")?;
    Ok(connection)
}

/// Renames a broken ledger and its log, so that a fresh one can take the place.
fn set_aside(path: &Path, cause: &rusqlite::Error) -> rusqlite::Result<()> {
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    tracing::warn!(
        path = %path.display(), error = %cause,
        "the quota ledger cannot be read: set aside as `.broken`, begun again"
    );
    // The log is gone already where the last process closed it.
    std::fs::rename(beside("-wal"), beside(".broken-wal")).ok();
    std::fs::remove_file(beside("-shm")).ok();
    std::fs::rename(path, beside(".broken"))
        .map_err(|_| rusqlite::Error::InvalidPath(path.to_path_buf()))
}

pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Whether the file itself is no ledger. `Unknown` is SQLite's plain error: other
/// tables than ours are in it.
fn is_broken(error: &rusqlite::Error) -> bool {
    use ErrorCode::{DatabaseCorrupt, NotADatabase, Unknown};
    matches!(error, rusqlite::Error::SqlInputError { .. })
        || matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase | Unknown))
}
