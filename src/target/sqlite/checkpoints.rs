//! The table of checkpoints that lives beside the rows it speaks of.
//!
//! It is written in the transaction of the rows, one row a stream, and read when
//! a run begins. It compares nothing: that is the state's business.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use crate::checkpoint::{self, Checkpoint, StreamKey, Unreadable};
use crate::target::sqlite::table;

/// Its name.
pub(super) const TABLE: &str = "_hogline_checkpoints";

/// Why a checkpoint was not read.
pub(super) enum Fault {
    /// SQLite failed.
    Sqlite(rusqlite::Error),
    /// It is there, but not to be used.
    Unreadable(Unreadable),
}

impl From<rusqlite::Error> for Fault {
    fn from(err: rusqlite::Error) -> Self {
        Self::Sqlite(err)
    }
}

impl From<Unreadable> for Fault {
    fn from(err: Unreadable) -> Self {
        Self::Unreadable(err)
    }
}

/// Epoch and sequence: which commit of which history.
pub(super) type Commit = (String, u64);

/// A checkpoint as the target keeps it.
pub(super) struct Stored {
    pub(super) checkpoint: Checkpoint,
    /// The columns that rows were written into; none where an older hogline did not say.
    pub(super) columns: BTreeSet<String>,
}

/// Stores a checkpoint in place of the stream's last one, with the columns that its rows are in.
pub(super) fn write(
    db: &Connection,
    checkpoint: &Checkpoint,
    columns: &BTreeSet<String>,
) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE IF NOT EXISTS _hogline_checkpoints (
           origin TEXT NOT NULL, project TEXT NOT NULL, stream TEXT NOT NULL,
           object TEXT NOT NULL, epoch TEXT NOT NULL, sequence INTEGER NOT NULL,
           position TEXT NOT NULL, witnesses TEXT NOT NULL, updated_at TEXT NOT NULL,
           columns TEXT, PRIMARY KEY (origin, project, stream, object))",
    )?;
    if !tells_columns(db)? {
        db.execute_batch("ALTER TABLE _hogline_checkpoints ADD COLUMN columns TEXT")?;
    }
    let json = |err| rusqlite::Error::ToSqlConversionFailure(Box::new(err));
    let position = serde_json::to_string(&checkpoint.position).map_err(json)?;
    let witnesses = serde_json::to_string(&checkpoint.witnesses).map_err(json)?;
    let sequence = i64::try_from(checkpoint.sequence).unwrap_or(i64::MAX);
    let StreamKey { origin, project, stream, object } = &checkpoint.key;
    let mut statement = db.prepare_cached(
        "INSERT OR REPLACE INTO _hogline_checkpoints (origin, project, stream, object, epoch,
           sequence, position, witnesses, columns, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'))",
    )?;
    let epoch = &checkpoint.epoch;
    let columns = serde_json::to_string(columns).map_err(json)?;
    let row =
        params![origin, project, stream, object, epoch, sequence, position, witnesses, columns];
    statement.execute(row).map(|_| ())
}

/// The stream's checkpoint, if one was ever stored.
pub(super) fn read(db: &Connection, key: &StreamKey) -> std::result::Result<Option<Stored>, Fault> {
    if table::kind_of(db, TABLE)?.is_none() {
        return Ok(None);
    }
    let columns = if tells_columns(db)? { "columns" } else { "NULL" };
    let sql = format!(
        "SELECT epoch, sequence, position, witnesses, ifnull({columns}, '[]')
         FROM _hogline_checkpoints WHERE origin = ? AND project = ? AND stream = ? AND object = ?"
    );
    let fields = |row: &Row<'_>| {
        let text = |index| row.get::<_, String>(index);
        Ok((text(0)?, row.get::<_, i64>(1)?, text(2)?, text(3)?, text(4)?))
    };
    let found = db
        .query_row(&sql, params![key.origin, key.project, key.stream, key.object], fields)
        .optional()?;
    let Some((epoch, sequence, position, witnesses, columns)) = found else { return Ok(None) };
    let position = checkpoint::read_position(&position)?;
    let witnesses = serde_json::from_str(&witnesses).map_err(Unreadable::from)?;
    let columns = serde_json::from_str(&columns).map_err(Unreadable::from)?;
    let sequence = sequence.unsigned_abs();
    let checkpoint = Checkpoint { key: key.clone(), epoch, sequence, position, witnesses };
    Ok(Some(Stored { checkpoint, columns }))
}

/// The commit that the stored checkpoint of a stream is of.
pub(super) fn last_commit(db: &Connection, key: &StreamKey) -> Result<Option<Commit>> {
    if table::kind_of(db, TABLE)?.is_none() {
        return Ok(None);
    }
    let mut statement = db.prepare_cached(
        "SELECT epoch, sequence FROM _hogline_checkpoints
         WHERE origin = ? AND project = ? AND stream = ? AND object = ?",
    )?;
    let of = params![key.origin, key.project, key.stream, key.object];
    let commit = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()));
    statement.query_row(of, commit).optional()
}

/// Whether the table is of the form that names columns.
fn tells_columns(db: &Connection) -> Result<bool> {
    Ok(table::columns(db, TABLE)?.iter().any(|column| column.name == "columns"))
}
