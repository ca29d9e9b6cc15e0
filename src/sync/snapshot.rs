//! What PostHog has taken of each row, and since when a sync goes on: `sync.db`, beside the state.
//!
//! Of a row it keeps a hash of the key and one of what the row said, about 40 bytes. A row moves in
//! here only once PostHog has answered for it. What is under way is written down before it is sent,
//! with its time: a run that dies between PostHog's answer and the snapshot is followed by one that
//! sends the same rows with the same uuid and the same time, which PostHog takes for one.
//!
//! One process at a time uses it (see [`Lock`](crate::state::lock)).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::mapped::{KeyHash, RowHash};
use super::source::Mark;
use crate::cursor::Timestamp;
use crate::send::outbox::Destination;
use crate::state::database::{self, Fault};

/// The form of the database, in `user_version`.
const FORM: i64 = 1;

const TABLES: &str = "
CREATE TABLE syncs (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, origin TEXT NOT NULL, token TEXT NOT NULL,
  mapping TEXT NOT NULL, mark TEXT, names TEXT NOT NULL DEFAULT '[]', is_begun INTEGER NOT NULL,
  UNIQUE (name, origin, token)
);
CREATE TABLE rows (
  sync INTEGER NOT NULL, key BLOB NOT NULL, hash BLOB NOT NULL, who TEXT,
  PRIMARY KEY (sync, key)
) WITHOUT ROWID;
CREATE TABLE under_way (
  sync INTEGER NOT NULL, key BLOB NOT NULL, hash BLOB NOT NULL, who TEXT, at INTEGER NOT NULL,
  PRIMARY KEY (sync, key)
) WITHOUT ROWID;";

/// Why the snapshot cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} cannot be used: {cause}", path.display())]
pub struct SnapshotError {
    /// The database.
    pub path: PathBuf,
    /// What SQLite or the system says.
    pub cause: String,
    /// What to do about it.
    pub hint: &'static str,
}

/// A sync as it was when its last run ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    /// Its place in the database.
    pub id: i64,
    /// What was mapped, as text.
    pub mapping: String,
    /// The value of its timestamp column below which all rows are in.
    pub mark: Option<Mark>,
    /// The properties that it has set of persons.
    pub names: BTreeSet<String>,
    /// Whether a run of it has ever come to its end.
    pub is_begun: bool,
}

/// A row that is or was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: KeyHash,
    /// What it says.
    pub hash: RowHash,
    /// The distinct id, where it is needed when the row is gone.
    pub who: Option<String>,
}

/// What becomes of a row's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// PostHog has it.
    Taken(Entry),
    /// PostHog has heard that it is gone.
    Gone(KeyHash),
    /// PostHog does not want it: it stays what it was.
    Refused(KeyHash),
}

/// The database.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) db: Connection,
    pub(super) path: PathBuf,
}

impl Snapshot {
    /// Opens the database at `path`, or makes it.
    ///
    /// # Errors
    ///
    /// It cannot be read or written, or is not ours.
    pub fn open(path: &Path) -> Result<Self, SnapshotError> {
        let db = database::open(path, TABLES, FORM).map_err(|fault| unusable(fault, path))?;
        Ok(Self { db, path: path.to_owned() })
    }

    /// What is known of a sync of this destination; nothing where it never ran.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn known(&self, name: &str, to: &Destination) -> Result<Option<Known>, SnapshotError> {
        let sql = "SELECT id, mapping, mark, names, is_begun FROM syncs
            WHERE name = ?1 AND origin = ?2 AND token = ?3";
        let known = self.db.query_row(sql, params![name, to.origin, to.mark], |row| {
            let names: String = row.get(3)?;
            Ok(Known {
                id: row.get(0)?,
                mapping: row.get(1)?,
                mark: row.get::<_, Option<String>>(2)?.map(Mark),
                names: serde_json::from_str(&names).unwrap_or_default(),
                is_begun: row.get(4)?,
            })
        });
        known.optional().map_err(|err| self.failed(err))
    }

    /// Makes room for a sync that never ran.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn begin(
        &self,
        name: &str,
        to: &Destination,
        mapping: &str,
    ) -> Result<Known, SnapshotError> {
        let sql = "INSERT INTO syncs (name, origin, token, mapping, is_begun)
            VALUES (?1, ?2, ?3, ?4, FALSE)";
        let made = self.db.execute(sql, params![name, to.origin, to.mark, mapping]);
        made.map_err(|err| self.failed(err))?;
        Ok(Known {
            id: self.db.last_insert_rowid(),
            mapping: mapping.to_owned(),
            mark: None,
            names: BTreeSet::new(),
            is_begun: false,
        })
    }

    /// Keeps what a sync has come to, when a run of it ends well.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn end(&self, known: &Known) -> Result<(), SnapshotError> {
        let Known { id, mapping, mark, .. } = known;
        let sql = "UPDATE syncs SET mapping = ?2, mark = ?3, is_begun = TRUE WHERE id = ?1";
        let mark = mark.as_ref().map(|mark| &mark.0);
        let kept = self.db.execute(sql, params![id, mapping, mark]);
        kept.map(drop).map_err(|err| self.failed(err))
    }

    /// Remembers properties before they are set for the first time: a row that is gone has them
    /// unset.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn will_set(&self, id: i64, names: &BTreeSet<String>) -> Result<(), SnapshotError> {
        let names = serde_json::to_string(names).expect("texts are JSON");
        let kept = self.db.execute("UPDATE syncs SET names = ?2 WHERE id = ?1", params![id, names]);
        kept.map(drop).map_err(|err| self.failed(err))
    }

    /// Writes down what is about to be sent, and gives each its time: `now`, or the one it had in a
    /// run that did not come to hear the answer. What `is_same` for such a row is its key, and where
    /// a row may change, what it says.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn will_send(
        &mut self,
        id: i64,
        rows: &[Entry],
        now: Timestamp,
        is_same: Same,
    ) -> Result<Vec<Timestamp>, SnapshotError> {
        let times = will_send(&mut self.db, id, rows, now, is_same);
        crash_point!("rows are under way");
        times.map_err(|err| self.failed(err))
    }

    /// Keeps what became of rows.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn settle(&mut self, id: i64, rows: &[Settled]) -> Result<(), SnapshotError> {
        crash_point!("before rows are remembered");
        let settled = settle(&mut self.db, id, rows);
        crash_point!("after rows are remembered");
        settled.map_err(|err| self.failed(err))
    }

    pub(super) fn failed(&self, err: rusqlite::Error) -> SnapshotError {
        unusable(err, &self.path)
    }
}

/// When a row under way is the one that is sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Same {
    /// When the keys are equal: it is sent once, whatever it says.
    Key,
    /// When it says the same, too.
    Content,
}

fn will_send(
    db: &mut Connection,
    id: i64,
    rows: &[Entry],
    now: Timestamp,
    is_same: Same,
) -> rusqlite::Result<Vec<Timestamp>> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut times = Vec::with_capacity(rows.len());
    {
        let mut find = transaction
            .prepare_cached("SELECT hash, at FROM under_way WHERE sync = ?1 AND key = ?2")?;
        let mut keep = transaction.prepare_cached(
            "INSERT INTO under_way (sync, key, hash, who, at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET hash = excluded.hash, at = excluded.at",
        )?;
        for Entry { key, hash, who } in rows {
            let known: Option<(RowHash, i64)> = find
                .query_row(params![id, key], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let known = known.filter(|(was, _)| is_same == Same::Key || was == hash);
            let at = known.map_or(now, |(_, at)| Timestamp::from_micros(at));
            if known.is_none() {
                keep.execute(params![id, key, hash, who, at.micros()])?;
            }
            times.push(at);
        }
    }
    transaction.commit()?;
    Ok(times)
}

fn settle(db: &mut Connection, id: i64, rows: &[Settled]) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut keep = transaction.prepare_cached(
            "INSERT INTO rows (sync, key, hash, who) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET hash = excluded.hash, who = excluded.who",
        )?;
        let mut forget =
            transaction.prepare_cached("DELETE FROM rows WHERE sync = ?1 AND key = ?2")?;
        let mut over =
            transaction.prepare_cached("DELETE FROM under_way WHERE sync = ?1 AND key = ?2")?;
        for row in rows {
            let key = match row {
                Settled::Taken(Entry { key, hash, who }) => {
                    keep.execute(params![id, key, hash, who])?;
                    key
                }
                Settled::Gone(key) => {
                    forget.execute(params![id, key])?;
                    key
                }
                Settled::Refused(key) => key,
            };
            over.execute(params![id, key])?;
        }
    }
    transaction.commit()
}

fn unusable(fault: impl Into<Fault>, path: &Path) -> SnapshotError {
    let (cause, hint) = fault.into().told("it is damaged: restore it from a backup");
    SnapshotError { path: path.to_owned(), cause, hint }
}

#[cfg(test)]
mod tests;
