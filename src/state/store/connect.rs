//! Opening the database: is it ours, whole, and of a form we know?

use std::path::Path;

use rusqlite::Connection;

use crate::state::store::StateError;

/// The form of the database, kept in `user_version`.
const VERSION: i64 = 2;

const TABLES: &str = "
CREATE TABLE checkpoints (
  origin TEXT NOT NULL, project TEXT NOT NULL, stream TEXT NOT NULL, object TEXT NOT NULL,
  epoch TEXT NOT NULL, sequence INTEGER NOT NULL, position TEXT NOT NULL,
  witnesses TEXT NOT NULL, reset INTEGER NOT NULL, updated_at TEXT NOT NULL,
  PRIMARY KEY (origin, project, stream, object)
);
CREATE TABLE runs (
  id INTEGER PRIMARY KEY, started TEXT NOT NULL, ended TEXT NOT NULL,
  exit_code INTEGER NOT NULL, streams TEXT NOT NULL
);
PRAGMA user_version = 1;";

/// From form 1, which knew of no change by hand but the reset, to form 2.
const EDITS: &str = "
ALTER TABLE checkpoints ADD COLUMN edits TEXT NOT NULL DEFAULT '[]';
UPDATE checkpoints SET edits = json_array(json_object('epoch', epoch, 'change', 'reset')) WHERE reset;
ALTER TABLE checkpoints DROP COLUMN reset;
PRAGMA user_version = 2;";

/// Why the database is not used.
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    Damaged(String),
    Foreign,
    Newer(i64),
}

impl From<rusqlite::Error> for Fault {
    fn from(err: rusqlite::Error) -> Self {
        Self::Sqlite(err)
    }
}

impl Fault {
    /// The error to tell of the database at `path`.
    pub(super) fn at(self, path: &Path) -> StateError {
        let (cause, hint) = match self {
            Self::Sqlite(err) => (err.to_string(), hint(&err)),
            Self::Damaged(what) => (format!("it is damaged: {what}"), RESTORE),
            Self::Foreign => {
                let hint = "name another file with --state";
                ("this database is not hogline's".into(), hint)
            }
            Self::Newer(version) => {
                let hint = "run that version of hogline, or a later one";
                (format!("it has the form {version}, made by a newer hogline"), hint)
            }
        };
        StateError { path: path.to_owned(), cause, hint: hint.to_owned() }
    }
}

/// The folder of the database at `path` could not be made.
pub(super) fn no_folder(path: &Path, err: &std::io::Error) -> StateError {
    StateError {
        path: path.to_owned(),
        cause: format!("its folder cannot be made: {err}"),
        hint: "check that you may write there, or name another place with --state".into(),
    }
}

const RESTORE: &str = "restore it, or move it away: the next run adopts the targets' checkpoints";

fn hint(err: &rusqlite::Error) -> &'static str {
    use rusqlite::ErrorCode as Code;
    match err.sqlite_error_code() {
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
            "another program uses it; let it finish, then run again"
        }
        Some(Code::DiskFull) => "free space on the disk, then run again: nothing is lost",
        Some(Code::NotADatabase | Code::DatabaseCorrupt) => RESTORE,
        Some(_) => "check the path, and that you may write the file and its folder",
        // Not SQLite's: a row this program did not write so.
        None => RESTORE,
    }
}

/// Opens the database, or makes it.
pub(super) fn connect(path: &Path) -> Result<Connection, Fault> {
    let mut db = Connection::open(path)?;
    crash_point!("state opened");
    db.busy_handler(Some(crate::stop::wait_for_lock::<10>))?;
    db.execute_batch("PRAGMA synchronous = FULL")?;
    let health: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if health != "ok" {
        return Err(Fault::Damaged(health));
    }
    // In a transaction of its own: two processes may open a new state at once.
    let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (version, tables) {
        (VERSION, _) => {}
        (0, 0) => transaction.execute_batch(&format!("{TABLES}{EDITS}"))?,
        (1, _) => transaction.execute_batch(EDITS)?,
        (0, _) => return Err(Fault::Foreign),
        (newer, _) => return Err(Fault::Newer(newer)),
    }
    crash_point!("state being made");
    transaction.commit()?;
    crash_point!("state made");
    Ok(db)
}
