//! A run's own tables: which keys were seen, and what is to be sent of them.
//!
//! Whether a key stands twice, and which rows are gone, is known only when all rows were read: so
//! what is to be sent waits in a file of its own, `sync.work.db`, until then. It is worth nothing
//! after the run and is made anew by each.

use std::path::PathBuf;

use rusqlite::{OptionalExtension, params};
use serde_json::Value;

use super::mapped::{KeyHash, RowHash};
use super::snapshot::{Snapshot, SnapshotError};
use crate::send::draft::Draft;

const TABLES: &str = "
CREATE TABLE work.seen (
  key BLOB PRIMARY KEY, copies INTEGER NOT NULL, lot INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE work.candidates (
  number INTEGER PRIMARY KEY, row INTEGER NOT NULL, key BLOB NOT NULL, hash BLOB NOT NULL,
  lot INTEGER NOT NULL, text TEXT NOT NULL, draft TEXT NOT NULL
);";

/// What is to be done with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i64)]
pub enum Lot {
    /// PostHog has it as it is.
    Unchanged = 0,
    /// PostHog has nothing of it.
    New = 1,
    /// PostHog has it as it was before.
    Changed = 2,
    /// It is gone, and PostHog is to hear of it.
    Gone = 3,
    /// It cannot be sent.
    Invalid = 4,
}

impl Lot {
    const ALL: [Self; 5] = [Self::Unchanged, Self::New, Self::Changed, Self::Gone, Self::Invalid];

    fn of(number: i64) -> Self {
        Self::ALL.into_iter().find(|lot| *lot as i64 == number).unwrap_or(Self::Invalid)
    }
}

/// A row that is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its place among the candidates.
    pub number: i64,
    /// The row's number in the source; 0 where it is gone.
    pub row: i64,
    /// Its key's hash.
    pub key: KeyHash,
    /// The hash of what it says.
    pub hash: RowHash,
    /// Why it is sent.
    pub lot: Lot,
    /// Its key.
    pub text: String,
    /// What it becomes.
    pub draft: Draft,
}

impl Snapshot {
    /// Makes the tables of a run.
    ///
    /// # Errors
    ///
    /// They cannot be written.
    pub fn start_work(&self) -> Result<(), SnapshotError> {
        self.end_work()?;
        let path = self.work_path();
        let attach = || {
            self.db.execute("ATTACH ?1 AS work", [path.to_string_lossy()])?;
            let pragmas = "PRAGMA work.journal_mode = OFF; PRAGMA work.synchronous = OFF;";
            self.db.execute_batch(pragmas)?;
            self.db.execute_batch(TABLES)?;
            self.db.execute_batch("BEGIN")
        };
        attach().map_err(|err| self.failed(err))
    }

    /// Removes them.
    ///
    /// # Errors
    ///
    /// They cannot be removed.
    pub fn end_work(&self) -> Result<(), SnapshotError> {
        let attached = "SELECT count(*) FROM pragma_database_list WHERE name = 'work'";
        let end = || {
            if !self.db.is_autocommit() {
                self.db.execute_batch("COMMIT")?;
            }
            if self.db.query_row(attached, [], |row| row.get::<_, i64>(0))? > 0 {
                self.db.execute_batch("DETACH work")?;
            }
            Ok(())
        };
        end().map_err(|err| self.failed(err))?;
        match std::fs::remove_file(self.work_path()) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => Err(SnapshotError {
                path: self.work_path(),
                cause: err.to_string(),
                hint: "check that you may write the folder of the state",
            }),
            _ => Ok(()),
        }
    }

    /// Ends reading: what was seen may now be counted and sent.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn all_seen(&self) -> Result<(), SnapshotError> {
        self.db.execute_batch("COMMIT").map_err(|err| self.failed(err))
    }

    /// What PostHog has taken of a row: nothing, or what it said.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn taken(&self, id: i64, key: &KeyHash) -> Result<Option<RowHash>, SnapshotError> {
        let find = || {
            let sql = "SELECT hash FROM rows WHERE sync = ?1 AND key = ?2";
            let mut find = self.db.prepare_cached(sql)?;
            find.query_row(params![id, key], |row| row.get(0)).optional()
        };
        find().map_err(|err| self.failed(err))
    }

    /// Notes a key, and what is to be done with its row; tells how often it was seen now.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn see(&self, key: &KeyHash, lot: Lot) -> Result<i64, SnapshotError> {
        let see = || {
            let sql = "INSERT INTO work.seen (key, copies, lot) VALUES (?1, 1, ?2)
                ON CONFLICT DO UPDATE SET copies = copies + 1 RETURNING copies";
            self.db.prepare_cached(sql)?.query_row(params![key, lot as i64], |row| row.get(0))
        };
        see().map_err(|err| self.failed(err))
    }

    /// Keeps a row that is to be sent.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn keep(&self, candidate: &Candidate) -> Result<(), SnapshotError> {
        let Candidate { row, key, hash, lot, text, draft, .. } = candidate;
        let draft = serde_json::to_string(draft).expect("a draft is JSON");
        let keep = || {
            let sql = "INSERT INTO work.candidates (row, key, hash, lot, text, draft)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let values = params![row, key, hash, *lot as i64, text, draft];
            self.db.prepare_cached(sql)?.execute(values)
        };
        keep().map(drop).map_err(|err| self.failed(err))
    }

    /// How many rows there are of a lot, those with a key that stands twice left out.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn count(&self, lot: Lot) -> Result<u64, SnapshotError> {
        let sql = match lot {
            Lot::Gone => "SELECT count(*) FROM work.candidates WHERE lot = ?1",
            _ => "SELECT count(*) FROM work.seen WHERE copies = 1 AND lot = ?1",
        };
        let count = self.db.query_row(sql, [lot as i64], |row| row.get::<_, i64>(0));
        count.map(i64::unsigned_abs).map_err(|err| self.failed(err))
    }

    /// How many rows have a key that others have, too.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn count_copies(&self) -> Result<u64, SnapshotError> {
        let sql = "SELECT coalesce(sum(copies), 0) FROM work.seen WHERE copies > 1";
        let count = self.db.query_row(sql, [], |row| row.get::<_, i64>(0));
        count.map(i64::unsigned_abs).map_err(|err| self.failed(err))
    }

    /// The next rows to be sent behind a number, at most so many.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn candidates(&self, after: i64, most: usize) -> Result<Vec<Candidate>, SnapshotError> {
        let read = || {
            let sql = "SELECT number, row, key, hash, lot, text, draft FROM work.candidates c
                WHERE number > ?1
                AND NOT EXISTS (SELECT 1 FROM work.seen s WHERE s.key = c.key AND s.copies > 1)
                ORDER BY number LIMIT ?2";
            let mut statement = self.db.prepare_cached(sql)?;
            let found = statement.query_map(params![after, most as i64], |row| {
                let draft: String = row.get(6)?;
                Ok(Candidate {
                    number: row.get(0)?,
                    row: row.get(1)?,
                    key: row.get(2)?,
                    hash: row.get(3)?,
                    lot: Lot::of(row.get(4)?),
                    text: row.get(5)?,
                    draft: serde_json::from_str(&draft).expect("it was written as a draft"),
                })
            })?;
            found.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|err| self.failed(err))
    }

    /// The rows that PostHog has and the source has no more, as they were taken; `each` says what
    /// PostHog is to hear.
    ///
    /// # Errors
    ///
    /// They cannot be read or kept.
    pub fn find_gone(
        &self,
        id: i64,
        each: impl Fn(&str, RowHash) -> Draft,
    ) -> Result<(), SnapshotError> {
        // What was under way may have arrived.
        let sql = "SELECT key, hash, who FROM (
              SELECT key, hash, who FROM rows WHERE sync = ?1
              UNION ALL
              SELECT key, hash, who FROM under_way u WHERE sync = ?1
                AND NOT EXISTS (SELECT 1 FROM rows r WHERE r.sync = u.sync AND r.key = u.key)
            ) AS known WHERE who IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM work.seen s WHERE s.key = known.key)";
        let mut after: Option<KeyHash> = None;
        loop {
            // In handfuls: a statement that is being read would see what is written.
            let read = || {
                let sql = format!("{sql} AND (?2 IS NULL OR key > ?2) ORDER BY key LIMIT 500");
                let mut statement = self.db.prepare_cached(&sql)?;
                let rows = statement.query_map(params![id, after], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?;
                rows.collect::<rusqlite::Result<Vec<(KeyHash, RowHash, String)>>>()
            };
            let gone = read().map_err(|err| self.failed(err))?;
            let Some((last, ..)) = gone.last() else { return Ok(()) };
            after = Some(*last);
            for (key, hash, text) in gone {
                let draft = each(&text, hash);
                let (number, row, lot) = (0, 0, Lot::Gone);
                self.keep(&Candidate { number, row, key, hash, lot, text, draft })?;
            }
        }
    }

    /// Takes every row that was seen for sent: what was there before a sync began.
    ///
    /// # Errors
    ///
    /// It cannot be written; then none of it is.
    pub fn pass_over(&self, id: i64) -> Result<u64, SnapshotError> {
        let sql = "INSERT OR REPLACE INTO rows (sync, key, hash)
            SELECT ?1, key, hash FROM work.candidates c
            WHERE NOT EXISTS (SELECT 1 FROM work.seen s WHERE s.key = c.key AND s.copies > 1)";
        let passed = self.db.execute(sql, [id]);
        passed.map(|rows| rows as u64).map_err(|err| self.failed(err))
    }

    /// The file of the tables.
    fn work_path(&self) -> PathBuf {
        self.path.with_extension("work.db")
    }
}

/// A candidate as it is shown: its key and what it becomes.
pub fn shown(candidate: &Candidate) -> Value {
    let Draft { event, distinct_id, timestamp, properties, .. } = &candidate.draft;
    serde_json::json!({
        "key": candidate.text,
        "event": event,
        "distinct_id": distinct_id,
        "timestamp": timestamp,
        "properties": properties,
    })
}
