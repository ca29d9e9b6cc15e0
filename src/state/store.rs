//! The database under `state/`: a checkpoint of every stream, and a history of runs.
//!
//! It is this module's alone, every change is durable when the call returns, and
//! it may be used from several threads. A checkpoint comes here only after the
//! target made it durable. Positions are kept as their versioned JSON and never
//! interpreted; a form this program does not know is an error, never a guess.

mod connect;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{self, Checkpoint, StreamKey};
use crate::cursor::{Position, Timestamp};

const NOW: &str = "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')";

/// How many runs are remembered: a year of hourly ones.
const RUNS_KEPT: u32 = 9_000;

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
}

/// A checkpoint as the state keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What was durable in the target, as far as the state knows.
    pub checkpoint: Checkpoint,
    /// The user asked to begin anew, in this checkpoint's epoch; no run has done so yet.
    pub reset: bool,
    /// When it was saved.
    pub updated_at: Timestamp,
}

/// What one run did.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if let Some(folder) = absolute.parent() {
            std::fs::create_dir_all(folder).map_err(|err| connect::no_folder(path, &err))?;
        }
        let db = connect::connect(&absolute).map_err(|fault| fault.at(path))?;
        Ok(Self { path: path.to_owned(), db: Mutex::new(db) })
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
        let read = || {
            let db = self.db();
            let sql = "SELECT * FROM checkpoints ORDER BY origin, project, stream, object";
            db.prepare(sql)?.query_map([], stored)?.collect()
        };
        self.told(read())
    }

    /// Follows the target: this checkpoint is durable there.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<(), StateError> {
        self.told(put(&self.db(), checkpoint, false))
    }

    /// Begins a new history of one stream, whether or not it had one.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn reset(&self, key: &StreamKey) -> Result<(), StateError> {
        self.told(put(&self.db(), &fresh(key.clone()), true))
    }

    /// Begins a new history of every stream of this name, and says how many there are.
    ///
    /// # Errors
    /// When the state cannot be written; nothing is reset then.
    pub fn reset_stream(&self, stream: &str) -> Result<usize, StateError> {
        let all = self.all()?.into_iter().map(|stored| stored.checkpoint.key);
        let keys: Vec<StreamKey> = all.filter(|key| key.stream == stream).collect();
        let reset = || {
            let mut db = self.db();
            let transaction = db.transaction()?;
            for key in &keys {
                put(&transaction, &fresh(key.clone()), true)?;
            }
            transaction.commit()
        };
        self.told(reset())?;
        Ok(keys.len())
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
        let read = || {
            let db = self.db();
            let sql = "SELECT started, ended, exit_code, streams FROM runs ORDER BY id DESC";
            db.prepare(sql)?.query_map([], run)?.collect()
        };
        self.told(read())
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere cannot leave a change half done: SQLite takes it back.
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told<T>(&self, result: rusqlite::Result<T>) -> Result<T, StateError> {
        result.map_err(|err| connect::Fault::Sqlite(err).at(&self.path))
    }
}

fn fresh(key: StreamKey) -> Checkpoint {
    Checkpoint {
        key,
        epoch: uuid::Uuid::new_v4().to_string(),
        sequence: 0,
        position: Position::default(),
        witnesses: Vec::new(),
    }
}

fn json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    let failed = |err| rusqlite::Error::ToSqlConversionFailure(Box::new(err));
    serde_json::to_string(value).map_err(failed)
}

fn put(db: &Connection, checkpoint: &Checkpoint, reset: bool) -> rusqlite::Result<()> {
    let StreamKey { origin, project, stream, object } = &checkpoint.key;
    let sql =
        format!("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, {NOW})");
    let sequence = i64::try_from(checkpoint.sequence).unwrap_or(i64::MAX);
    let (position, witnesses) = (json(&checkpoint.position)?, json(&checkpoint.witnesses)?);
    let row = params![
        origin,
        project,
        stream,
        object,
        checkpoint.epoch,
        sequence,
        position,
        witnesses,
        reset
    ];
    db.prepare_cached(&sql)?.execute(row).map(|_| ())
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
        reset: row.get(8)?,
        updated_at: time(row, 9)?,
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
