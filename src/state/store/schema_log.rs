//! How the columns of streams came to be as they are: one line for every change.
//!
//! A change is stored before the rows that made it are committed, so that a column's name
//! and key are known whatever happens then; what a crash leaves too much is a column that
//! the next run makes. Lines are only ever added, but by an import.

use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::{StateError, StateStore, json, parsed, time};
use crate::checkpoint::StreamKey;
use crate::cursor::Timestamp;

/// Why a column changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// A record showed it for the first time.
    NewField,
    /// A value did not fit its type.
    Widened,
    /// The replication declares it so.
    Declared,
}

impl Why {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::NewField => "new field",
            Self::Widened => "widened",
            Self::Declared => "declared",
        }
    }
}

/// A change of one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaChange {
    /// The column.
    pub column: String,
    /// The field that fills it; or the column and the keys that lead to what does.
    pub path: Vec<String>,
    /// Its type until then; nothing where it was not there.
    pub before: Option<String>,
    /// Its type from then on.
    pub after: String,
    /// Why.
    pub why: Why,
    /// When.
    pub at: Timestamp,
    /// The bound of the run that noticed.
    pub bound: Timestamp,
    /// When the first row that showed it happened, of a stream that has an order in time.
    pub first: Option<Timestamp>,
}

impl StateStore {
    /// The changes of a stream's columns, in their order.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn schema_changes(&self, key: &StreamKey) -> Result<Vec<SchemaChange>, StateError> {
        self.told(read(&self.db(), key))
    }

    /// Adds changes of a stream's columns.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn add_schema_changes(
        &self,
        key: &StreamKey,
        changes: &[SchemaChange],
    ) -> Result<(), StateError> {
        let add = || {
            let mut db = self.db();
            let transaction = db.transaction()?;
            changes.iter().try_for_each(|change| add(&transaction, key, change))?;
            transaction.commit()
        };
        self.told(add())
    }

    /// Takes these for all changes of a stream's columns.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn replace_schema_changes(
        &self,
        all: &[(StreamKey, Vec<SchemaChange>)],
    ) -> Result<(), StateError> {
        let replace = || {
            let mut db = self.db();
            let transaction = db.transaction()?;
            for (key, changes) in all {
                let StreamKey { origin, project, stream, object } = key;
                let sql = "DELETE FROM schema_changes
                           WHERE origin = ? AND project = ? AND stream = ? AND object = ?";
                transaction.execute(sql, params![origin, project, stream, object])?;
                changes.iter().try_for_each(|change| add(&transaction, key, change))?;
            }
            transaction.commit()
        };
        self.told(replace())
    }
}

fn add(db: &Connection, key: &StreamKey, change: &SchemaChange) -> rusqlite::Result<()> {
    let sql = "INSERT INTO schema_changes (origin, project, stream, object, name, path, before,
                 after, why, at, bound, first) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let row = params![
        key.origin,
        key.project,
        key.stream,
        key.object,
        change.column,
        json(&change.path)?,
        change.before,
        change.after,
        json(&change.why)?,
        change.at.to_string(),
        change.bound.to_string(),
        change.first.map(|at| at.to_string()),
    ];
    db.prepare_cached(sql)?.execute(row).map(drop)
}

fn read(db: &Connection, key: &StreamKey) -> rusqlite::Result<Vec<SchemaChange>> {
    let sql = "SELECT name, path, before, after, why, at, bound, first FROM schema_changes
               WHERE origin = ? AND project = ? AND stream = ? AND object = ? ORDER BY id";
    let of = params![key.origin, key.project, key.stream, key.object];
    db.prepare(sql)?.query_map(of, change)?.collect()
}

fn change(row: &Row<'_>) -> rusqlite::Result<SchemaChange> {
    Ok(SchemaChange {
        column: row.get(0)?,
        path: parsed(row, 1)?,
        before: row.get(2)?,
        after: row.get(3)?,
        why: parsed(row, 4)?,
        at: time(row, 5)?,
        bound: time(row, 6)?,
        first: row.get::<_, Option<String>>(7)?.map(|_| time(row, 7)).transpose()?,
    })
}
