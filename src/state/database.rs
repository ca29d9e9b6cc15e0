//! Databases that lie beside the state, each in a file of its own: what waits to be sent, what was.
//!
//! They are opened alike: made where there is none, refused where they are another program's or of
//! a form that this one does not know.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

/// Why a database is not used.
pub(crate) enum Fault {
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
    /// The cause, and what to do about it; `if_damaged` where the file is.
    pub(crate) fn told(self, if_damaged: &'static str) -> (String, &'static str) {
        let path_hint = "check the path, and that you may write the file and its folder";
        match self {
            Self::Sqlite(err) => {
                let hint = match err.sqlite_error_code() {
                    Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                        "another program uses it; let it finish, then run again"
                    }
                    Some(ErrorCode::DiskFull) => "free space on the disk, then run again",
                    Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => if_damaged,
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
        }
    }
}

/// Opens the database, or makes it with these `tables`, whose `user_version` is the `form`.
pub(crate) fn open(path: &Path, tables: &str, form: i64) -> Result<Connection, Fault> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Fault::Io)?;
    }
    let mut db = Connection::open(path)?;
    db.busy_handler(Some(crate::stop::wait_seconds::<10>))?;
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
    // In a transaction of its own: two processes may open a new one at once.
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let count: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (found, count) {
        (found, _) if found == form => {}
        (0, 0) => {
            transaction.execute_batch(tables)?;
            transaction.execute_batch(&format!("PRAGMA user_version = {form}"))?;
        }
        (0, _) => return Err(Fault::Foreign),
        (found, _) => return Err(Fault::Newer(found)),
    }
    transaction.commit()?;
    Ok(db)
}
