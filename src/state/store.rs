//! The database under `state/`: a checkpoint of every stream, and a history of runs.
//!
//! It is this module's alone, every change is durable when the call returns, and
//! it may be used from several threads. A checkpoint comes here only after the
//! target made it durable. Positions are kept as their versioned JSON and never
//! interpreted; a form this program does not know is an error, never a guess. A copy from
//! the end of the last run lies beside it, and takes its place when it is damaged.

mod connect;
mod last_good;
mod schema_log;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{self, Checkpoint, StreamKey};
use crate::cursor::{Position, Timestamp};
use crate::state::edit::{Change, Edit};
use crate::state::lock::Lock;

pub use schema_log::{SchemaChange, Why};

const NOW: &str = "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')";

/// How many runs are remembered: twelve weeks of hourly ones. Each run reads them all, to know the
/// state for whole, and copies them: of eleven streams they are 4 MB.
const RUNS_KEPT: u32 = 2_000;

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct StateError {
    /// The database.
    pub path: PathBuf,
    /// What is wrong.
    pub cause: String,
    /// What the user can do.
    pub hint: String,
    /// Whose fault it is.
    pub fault: StateFault,
}

/// What kind of trouble a state is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateFault {
    /// It is another program's, or a newer hogline's: the wrong file was named.
    Misplaced,
    /// It cannot be read or written.
    Unusable,
}

/// A checkpoint as the state keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What was durable in the target, as far as the state knows.
    pub checkpoint: Checkpoint,
    /// What the user changed since and no run has taken up, in order.
    pub edits: Vec<Edit>,
    /// When it was saved.
    pub updated_at: Timestamp,
}

impl Stored {
    /// The checkpoint as the user wants it.
    pub fn edited(&self) -> Checkpoint {
        super::edit::edited(self.checkpoint.clone(), &self.edits)
    }
}

/// What one run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How the process ended.
    pub exit_code: u8,
    /// What it did for each stream.
    pub streams: Vec<RunStream>,
}

impl Run {
    /// What it did for the streams that it left incomplete.
    pub fn failed(&self) -> impl Iterator<Item = &RunStream> {
        self.streams.iter().filter(|done| done.exit_code != 0)
    }
}

/// What one run did for one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStream {
    /// The stream.
    pub stream: String,
    /// Where it went.
    pub object: String,
    /// Rows that were delivered.
    pub rows: u64,
    /// Requests that it took.
    pub requests: u64,
    /// How the process would have ended if this had been its only stream.
    #[serde(default)]
    pub exit_code: u8,
    /// Why it is not complete, without secrets.
    #[serde(default)]
    pub error: Option<String>,
}

/// The store of checkpoints.
#[derive(Debug)]
pub struct StateStore {
    path: PathBuf,
    db: Mutex<Connection>,
}

impl StateStore {
    /// Opens the database, or makes it and its folder.
    ///
    /// # Errors
    /// When it cannot be written, is damaged, is another program's or made by a newer hogline.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        Self::open_by(path, connect::connect)
    }

    /// As [`Self::open`], by the only one who works with it: where the database is damaged,
    /// its last good copy takes its place.
    ///
    /// # Errors
    /// As [`Self::open`]; damaged only where there is no good copy.
    pub fn open_alone(path: &Path, _lock: &Lock) -> Result<Self, StateError> {
        Self::open_by(path, connect::connect_to_write)
    }

    fn open_by(
        path: &Path,
        connect: impl FnOnce(&Path) -> Result<Connection, connect::Fault>,
    ) -> Result<Self, StateError> {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if let Some(folder) = absolute.parent() {
            std::fs::create_dir_all(folder).map_err(|err| connect::no_folder(path, &err))?;
        }
        let db = connect(&absolute).map_err(|fault| fault.at(path))?;
        Ok(Self { path: absolute, db: Mutex::new(db) })
    }

    /// Keeps a copy of the database as it is now, for the day it is damaged.
    ///
    /// # Errors
    /// When the copy cannot be made; an earlier one stays.
    pub fn keep_copy(&self) -> Result<(), StateError> {
        last_good::keep(&self.db(), &self.path).map_err(|fault| fault.at(&self.path))
    }

    /// Copies the database as it is now to a place where there is none.
    ///
    /// # Errors
    /// When it cannot be read, or the copy cannot be made.
    pub fn copy_to(&self, path: &Path) -> Result<(), StateError> {
        last_good::copy(&self.db(), path).map_err(|fault| fault.at(path))
    }

    /// The checkpoint of one stream.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn checkpoint(&self, key: &StreamKey) -> Result<Option<Stored>, StateError> {
        let sql = "SELECT * FROM checkpoints
                   WHERE origin = ? AND project = ? AND stream = ? AND object = ?";
        let of = params![key.origin, key.project, key.stream, key.object];
        let found = self.db().query_row(sql, of, stored).optional();
        self.told(found)
    }

    /// All checkpoints, in the order of their keys.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn all(&self) -> Result<Vec<Stored>, StateError> {
        self.told(read_checkpoints(&self.db()))
    }

    /// Follows the target: this checkpoint is durable there.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<(), StateError> {
        self.told(put(&self.db(), checkpoint, &[]))
    }

    /// Lets the next run take up a change of these streams: of all of them or of none.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn edit(&self, all: &[Stored], change: &Change) -> Result<(), StateError> {
        let edited = all.iter().cloned().map(|mut stored| {
            stored.edits.push(Edit::of(change.clone()));
            stored
        });
        self.replace(&edited.collect::<Vec<_>>())
    }

    /// Takes these for what is known of their streams: all of them or none.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn replace(&self, all: &[Stored]) -> Result<(), StateError> {
        let replace = || {
            let mut db = self.db();
            let transaction = db.transaction()?;
            for stored in all {
                put(&transaction, &stored.checkpoint, &stored.edits)?;
            }
            transaction.commit()
        };
        self.told(replace())
    }

    /// Adds a run to the history; the oldest are forgotten.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn record_run(&self, run: &Run) -> Result<(), StateError> {
        let record = || {
            let mut db = self.db();
            let transaction = db.transaction()?;
            let (started, ended) = (run.started.to_string(), run.ended.to_string());
            transaction.execute(
                "INSERT INTO runs (started, ended, exit_code, streams) VALUES (?, ?, ?, ?)",
                params![started, ended, run.exit_code, json(&run.streams)?],
            )?;
            let forget = "DELETE FROM runs WHERE id <= (SELECT max(id) FROM runs) - ?";
            transaction.execute(forget, [RUNS_KEPT])?;
            transaction.commit()
        };
        self.told(record())
    }

    /// The runs remembered, the last one first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn runs(&self) -> Result<Vec<Run>, StateError> {
        self.told(read_runs(&self.db()))
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere cannot leave a change half done: SQLite takes it back.
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told<T>(&self, result: rusqlite::Result<T>) -> Result<T, StateError> {
        result.map_err(|err| connect::Fault::from(err).at(&self.path))
    }
}

fn json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    let failed = |err| rusqlite::Error::ToSqlConversionFailure(Box::new(err));
    serde_json::to_string(value).map_err(failed)
}

fn put(db: &Connection, checkpoint: &Checkpoint, edits: &[Edit]) -> rusqlite::Result<()> {
    let Checkpoint { key, epoch, sequence, position, witnesses } = checkpoint;
    let sql =
        format!("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?, ?, {NOW}, ?)");
    let row = params![
        key.origin,
        key.project,
        key.stream,
        key.object,
        epoch,
        i64::try_from(*sequence).unwrap_or(i64::MAX),
        json(position)?,
        json(witnesses)?,
        json(&edits)?
    ];
    db.prepare_cached(&sql)?.execute(row).map(|_| ())
}

fn read_checkpoints(db: &Connection) -> rusqlite::Result<Vec<Stored>> {
    let sql = "SELECT * FROM checkpoints ORDER BY origin, project, stream, object";
    db.prepare(sql)?.query_map([], stored)?.collect()
}

/// All runs, the last one first.
const RUNS: &str = "SELECT started, ended, exit_code, streams FROM runs ORDER BY id DESC";

fn read_runs(db: &Connection) -> rusqlite::Result<Vec<Run>> {
    db.prepare(RUNS)?.query_map([], run)?.collect()
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let text = |index: usize| row.get::<_, String>(index);
    let [origin, project, stream, object] = [text(0)?, text(1)?, text(2)?, text(3)?];
    Ok(Stored {
        checkpoint: Checkpoint {
            key: StreamKey { origin, project, stream, object },
            epoch: text(4)?,
            sequence: row.get::<_, i64>(5)?.unsigned_abs(),
            position: position(row, 6)?,
            witnesses: parsed(row, 7)?,
        },
        updated_at: time(row, 8)?,
        edits: parsed(row, 9)?,
    })
}

fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        started: time(row, 0)?,
        ended: time(row, 1)?,
        exit_code: row.get(2)?,
        streams: parsed(row, 3)?,
    })
}

fn position(row: &Row<'_>, index: usize) -> rusqlite::Result<Position> {
    let json: String = row.get(index)?;
    checkpoint::read_position(&json).map_err(|err| unreadable(index, err))
}

fn parsed<T: serde::de::DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    let json: String = row.get(index)?;
    serde_json::from_str(&json).map_err(|err| unreadable(index, err))
}

fn time(row: &Row<'_>, index: usize) -> rusqlite::Result<Timestamp> {
    let text: String = row.get(index)?;
    let no_time = || unreadable(index, std::io::Error::other(format!("`{text}` is no time")));
    Timestamp::parse(&text).ok_or_else(no_time)
}

fn unreadable(
    index: usize,
    err: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(err))
}

#[cfg(test)]
mod tests;
