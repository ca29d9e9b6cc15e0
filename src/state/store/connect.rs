//! Opening the database: is it ours, whole, and of a form we know?

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::checkpoint::Unreadable;
use crate::state::store::{RUNS, StateError, StateFault, last_good, read_checkpoints, run};

/// How the database came to its form, step by step. The form's number, in `user_version`,
/// is how many steps were made. A step that was released is never changed: add another.
const STEPS: &[&str] = &["
CREATE TABLE checkpoints (
  origin TEXT NOT NULL, project TEXT NOT NULL, stream TEXT NOT NULL, object TEXT NOT NULL,
  epoch TEXT NOT NULL, sequence INTEGER NOT NULL, position TEXT NOT NULL,
  witnesses TEXT NOT NULL, reset INTEGER NOT NULL, updated_at TEXT NOT NULL,
  PRIMARY KEY (origin, project, stream, object)
);
CREATE TABLE runs (
  id INTEGER PRIMARY KEY, started TEXT NOT NULL, ended TEXT NOT NULL,
  exit_code INTEGER NOT NULL, streams TEXT NOT NULL
);", "
ALTER TABLE checkpoints ADD COLUMN edits TEXT NOT NULL DEFAULT '[]';
UPDATE checkpoints SET edits = json_array(json_object('epoch', epoch, 'change', 'reset')) WHERE reset;
ALTER TABLE checkpoints DROP COLUMN reset;", "
CREATE TABLE schema_changes (
  id INTEGER PRIMARY KEY, origin TEXT NOT NULL, project TEXT NOT NULL, stream TEXT NOT NULL,
  object TEXT NOT NULL, name TEXT NOT NULL, path TEXT NOT NULL, before TEXT, after TEXT NOT NULL,
  why TEXT NOT NULL, at TEXT NOT NULL, bound TEXT NOT NULL, first TEXT
);"];

/// Why the database is not used.
#[derive(Debug)]
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    Io(std::io::Error),
    Damaged(String),
    Foreign,
    Newer(u64),
}

impl From<rusqlite::Error> for Fault {
    fn from(err: rusqlite::Error) -> Self {
        match err.sqlite_error_code() {
            // Without a code: a value that this program did not write so.
            None | Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                newer(&err).map_or_else(|| Self::Damaged(err.to_string()), Self::Newer)
            }
            Some(_) => Self::Sqlite(err),
        }
    }
}

/// The form of a position that this program does not know.
fn newer(err: &rusqlite::Error) -> Option<u64> {
    let rusqlite::Error::FromSqlConversionFailure(_, _, cause) = err else { return None };
    match cause.downcast_ref::<Unreadable>()? {
        Unreadable::Newer(form) => Some(*form),
        Unreadable::Broken(_) => None,
    }
}

impl From<std::io::Error> for Fault {
    fn from(err: std::io::Error) -> Self {
        Self::Io(err)
    }
}

impl Fault {
    /// The error to tell of the database at `path`.
    pub(super) fn at(self, path: &Path) -> StateError {
        let unusable = StateFault::Unusable;
        let (cause, hint, fault) = match self {
            Self::Sqlite(err) => (err.to_string(), hint(&err), unusable),
            Self::Io(err) => (err.to_string(), PATH, unusable),
            Self::Damaged(what) => (format!("it is damaged: {what}"), RESTORE, unusable),
            Self::Foreign => {
                let hint = "name another file with --state";
                ("this database is not hogline's".into(), hint, StateFault::Misplaced)
            }
            Self::Newer(version) => {
                let hint = "run that version of hogline, or a later one";
                let cause = format!("it has the form {version}, made by a newer hogline");
                (cause, hint, StateFault::Misplaced)
            }
        };
        StateError { path: path.to_owned(), cause, hint: hint.to_owned(), fault }
    }
}

/// The folder of the database at `path` could not be made.
pub(super) fn no_folder(path: &Path, err: &std::io::Error) -> StateError {
    StateError {
        path: path.to_owned(),
        cause: format!("its folder cannot be made: {err}"),
        hint: "check that you may write there, or name another place with --state".into(),
        fault: StateFault::Unusable,
    }
}

const RESTORE: &str = "restore it from a backup, or move it away: the next run then goes on from \
     the targets' own checkpoints, without resets that are pending and the history of runs";

const PATH: &str = "check the path, and that you may write the file and its folder";

fn hint(err: &rusqlite::Error) -> &'static str {
    match err.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program uses it; let it finish, then run again"
        }
        Some(ErrorCode::DiskFull) => "free space on the disk, then run again: nothing is lost",
        _ => PATH,
    }
}

/// Opens the database, or makes it.
pub(super) fn connect(path: &Path) -> Result<Connection, Fault> {
    // A database of ours that was ever whole is never empty again.
    let is_empty = path.metadata().is_ok_and(|file| file.len() == 0);
    if is_empty && last_good::place(path).exists() {
        return Err(Fault::Damaged("it is empty".into()));
    }
    let mut db = Connection::open(path)?;
    crash_point!("state opened");
    db.busy_handler(Some(crate::stop::wait_seconds::<10>))?;
    db.execute_batch("PRAGMA synchronous = FULL")?;
    check(&db)?;
    migrate(&mut db, STEPS)?;
    read(&db)?;
    Ok(db)
}

/// Opens the database to be written: where it is damaged, its last good copy.
pub(super) fn connect_to_write(path: &Path) -> Result<Connection, Fault> {
    let db = match connect(path) {
        Err(Fault::Damaged(what)) => connect_restored(path, &what),
        connected => connected,
    }?;
    // SQLite would only say so with the first checkpoint.
    match db.is_readonly("main")? {
        true => Err(Fault::Io(std::io::ErrorKind::ReadOnlyFilesystem.into())),
        false => Ok(db),
    }
}

/// Opens the last good copy in the place of a database with this damage.
fn connect_restored(path: &Path, damage: &str) -> Result<Connection, Fault> {
    let copy = last_good::place(path);
    let is_good = || check(&Connection::open_with_flags(&copy, OpenFlags::SQLITE_OPEN_READ_ONLY)?);
    if !copy.exists() || is_good().is_err() {
        return Err(Fault::Damaged(damage.to_owned()));
    }
    let aside = last_good::restore(path)?;
    tracing::warn!(
        state = %path.display(), damage, aside = %aside.display(),
        "the state was damaged: it is set aside, and its last good copy used; \
         the history of runs, and resets, are as they were when that was made"
    );
    connect(path)
}

/// Looks at every page and index.
fn check(db: &Connection) -> Result<(), Fault> {
    let health: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if health == "ok" { Ok(()) } else { Err(Fault::Damaged(health)) }
}

/// Reads every row once, and so proves that the tables are ours and hold what we wrote.
fn read(db: &Connection) -> Result<(), Fault> {
    let read_runs = || db.prepare(RUNS)?.query_map([], run)?.try_for_each(|run| run.map(drop));
    match read_checkpoints(db).and_then(|_| read_runs()) {
        // Other tables or columns than ours.
        Err(rusqlite::Error::SqlInputError { .. }) => Err(Fault::Foreign),
        read => Ok(read?),
    }
}

/// Makes the steps that are missing.
fn migrate(db: &mut Connection, steps: &[&str]) -> Result<(), Fault> {
    // In a transaction of its own: two processes may open a new state at once.
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if version == 0 && tables > 0 {
        return Err(Fault::Foreign);
    }
    let made = usize::try_from(version).map_err(|_| Fault::Foreign)?;
    let missing = steps.get(made..).ok_or(Fault::Newer(version.unsigned_abs()))?;
    for step in missing {
        transaction.execute_batch(step)?;
    }
    if !missing.is_empty() {
        transaction.execute_batch(&format!("PRAGMA user_version = {}", steps.len()))?;
    }
    crash_point!("state being made");
    transaction.commit()?;
    crash_point!("state made");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(db: &Connection) -> String {
        let sql =
            "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema ORDER BY name)";
        db.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn every_older_form_becomes_todays_with_its_rows() {
        let more = [STEPS, &["ALTER TABLE runs ADD COLUMN note TEXT; UPDATE runs SET note = 'n'"]];
        for steps in [STEPS.to_vec(), more.concat()] {
            let mut fresh = Connection::open_in_memory().unwrap();
            migrate(&mut fresh, &steps).unwrap();
            for made in 1..steps.len() {
                let mut older = Connection::open_in_memory().unwrap();
                migrate(&mut older, &steps[..made]).unwrap();
                let run = "INSERT INTO runs (started, ended, exit_code, streams) VALUES ('', '', 7, '[]')";
                older.execute_batch(run).unwrap();

                migrate(&mut older, &steps).unwrap();

                assert_eq!(shape(&older), shape(&fresh));
                let kept: i64 =
                    older.query_row("SELECT exit_code FROM runs", [], |row| row.get(0)).unwrap();
                assert_eq!(kept, 7);
                assert!(matches!(migrate(&mut older, &steps[..made]), Err(Fault::Newer(_))));
            }
        }
    }
}
