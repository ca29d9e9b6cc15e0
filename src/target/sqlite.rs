//! A table of a SQLite database as a target.
//!
//! Rows and their checkpoint share one transaction, which opens with the first
//! row after a commit and holds the database's [`queue`] turn until it ends; the
//! table itself is made, emptied or extended inside it too, so that an abandoned
//! page leaves nothing at all. A full copy grows in a staging table of the same
//! database and takes the old table's name in one transaction.
//!
//! It creates the database only when a load begins, and never touches a table,
//! column or index it was not told to write.

mod checkpoints;
mod current;
mod error;
mod queue;
mod table;
mod upsert;
mod witness;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::checkpoint::{Checkpoint, StreamKey, Unreadable};
use crate::config::DeleteMissing;
use crate::cursor::Timestamp;
use crate::record::batch::Batch;
use crate::schema::{Column, Schema};
use crate::stop;
use crate::target::sqlite::checkpoints::{Commit, Fault};
use crate::target::sqlite::queue::Turn;
use crate::target::sqlite::upsert::{Met, Upsert};
use crate::target::{Load, Opening, Recall, Replay, Scan, Shown, Target, TargetError, Written};

/// How many milliseconds another program may hold the database, as a connection says. SQLite
/// asks a plain function, so it is the process's: all its targets are of one connection.
static PATIENCE: AtomicU64 = AtomicU64::new(0);

/// Random keys are bound by how much of their index fits in memory: 10 MB holds that of
/// two hundred thousand rows, and is a sixth of what a run may need. A checkpoint
/// every 4,000 pages (16 MB) instead of 1,000 rewrites hot index pages less often.
const PRAGMAS: &str = "PRAGMA synchronous = FULL; PRAGMA cache_size = -10240;
     PRAGMA wal_autocheckpoint = 4000;
     -- Swapping tables must neither empty tables that refer to them nor rewrite views.
     PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON;";

/// One stream's table.
#[derive(Debug)]
pub(super) struct SqliteTarget {
    path: PathBuf,
    key: StreamKey,
    table: String,
    schema: Arc<Schema>,
    load: Load,
    /// No commit of this load yet: the first one empties or makes the table.
    is_first: bool,
    /// The table is there and has the columns of `upsert`, within the open transaction.
    is_ready: bool,
    upsert: Option<Upsert>,
    /// The commit that the stored checkpoint is of, as it was last seen here; nothing where
    /// there was none, or it was never looked at.
    seen: Option<Commit>,
    has_looked: bool,
    /// The columns that rows of the copy were written into.
    columns: BTreeSet<String>,
    met: Met,
    /// Before `turn`: dropped first, so that a broken-off transaction ends before the turn.
    db: Option<Connection>,
    /// Held while a transaction is open.
    turn: Option<Turn>,
}

/// SQLite's question whether to look once more at another program's lock.
fn wait(tries: i32) -> bool {
    stop::wait_for_lock(tries, Duration::from_millis(PATIENCE.load(Ordering::Relaxed)))
}

/// The table an object means: SQLite has no schemas, and calls its only one `main`.
pub(super) fn table_of(object: &str) -> String {
    object.strip_prefix("main.").unwrap_or(object).replace('.', "_")
}

/// How many rows an object's table has.
pub(super) fn count_rows(path: &Path, object: &str) -> rusqlite::Result<u64> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let table = table_of(object).replace('"', "\"\"");
    let count: i64 =
        db.query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

impl SqliteTarget {
    /// Opens the database where it exists; else proves that it could be made.
    pub(super) fn open(
        path: &Path,
        patience: Duration,
        opening: &Opening<'_>,
    ) -> Result<Self, TargetError> {
        // Absolute, so that SQLite does not take a name like `file:x` for a URI.
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        PATIENCE.store(patience, Ordering::Relaxed);
        let mut target = Self {
            path: absolute,
            key: opening.key.clone(),
            table: table_of(opening.object),
            schema: Arc::clone(&opening.schema),
            load: Load::Merge,
            is_first: true,
            is_ready: false,
            upsert: None,
            seen: None,
            has_looked: false,
            columns: BTreeSet::new(),
            met: Met::default(),
            db: None,
            turn: None,
        };
        if target.table.is_empty() || target.table.starts_with("_hogline_") {
            let hint = "name another object for this stream".into();
            return Err(target.error("this name is not free for a stream's rows".into(), hint));
        }
        if target.path.exists() {
            target.probe()?;
        } else {
            let folder = target.path.parent().unwrap_or(Path::new("/"));
            super::probe_folder(folder).map_err(|err| target.no_folder(&err))?;
        }
        Ok(target)
    }

    /// Proves that the existing database can be written, without waiting for other writers.
    fn probe(&mut self) -> Result<(), TargetError> {
        self.connect()?;
        // A read-only database begins any transaction, and refuses the first row.
        if self.told(self.db()?.is_readonly("main"))? {
            return Err(self.read_only());
        }
        let Some(db) = &mut self.db else { return Ok(()) };
        let mut probe = || {
            db.busy_timeout(Duration::ZERO)?;
            let probed = db.execute_batch("BEGIN IMMEDIATE; ROLLBACK");
            db.busy_handler(Some(wait))?;
            match probed {
                Err(err) if err.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
                probed => probed,
            }
        };
        let probed = probe();
        self.told(probed)
    }

    fn connect(&mut self) -> Result<(), TargetError> {
        if self.db.is_some() {
            return Ok(());
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let connect = || {
            let mut db = Connection::open_with_flags(&self.path, flags)?;
            db.busy_handler(Some(wait))?;
            db.execute_batch(PRAGMAS)?;
            self.met.register(&db)?;
            Ok(db)
        };
        let db = self.told(connect())?;
        self.db = Some(db);
        Ok(())
    }

    /// Makes the database keep a write-ahead log, so that readers never wait for us.
    ///
    /// Where somebody is at work in it just now, that is left to the next run: the old
    /// journal is as safe.
    fn keep_a_log(&self) -> Result<(), TargetError> {
        let _turn = queue::wait(&self.path);
        crash_point!("before the log is kept");
        match self.db()?.execute_batch("PRAGMA journal_mode = WAL") {
            Err(err) if err.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
            switched => self.told(switched),
        }
    }

    fn db(&self) -> Result<&Connection, TargetError> {
        self.db.as_ref().ok_or_else(|| {
            self.error("no load was begun".into(), "this is a bug: please report it".into())
        })
    }

    fn staging(&self) -> String {
        format!("_hogline_staging_{}", self.table)
    }

    fn is_copying(&self) -> bool {
        matches!(self.load, Load::Replace | Load::ResumeReplace)
    }

    /// The table that rows go into.
    fn destination(&self) -> String {
        if self.is_copying() { self.staging() } else { self.table.clone() }
    }

    /// Refuses a table that this load cannot go into.
    fn check_table(&self) -> Result<(), TargetError> {
        let db = self.db()?;
        match self.told(table::kind_of(db, &self.table))?.as_deref() {
            None => Ok(()),
            Some("view") => {
                let hint = "name another object for this stream, or drop the view".into();
                Err(self.error("this name belongs to a view".into(), hint))
            }
            Some(_) if self.is_copying() => Ok(()),
            Some(_) if self.told(table::is_keyed_by(db, &self.table, &self.schema))? => Ok(()),
            Some(_) => {
                let key = table::key_names(&self.schema).join(", ");
                let cause = format!("the table is there, but its rows are not unique by ({key})");
                let hint = format!(
                    "load it anew with `--mode full-refresh`, or make it so: \
                     CREATE UNIQUE INDEX … ON {} ({key})",
                    table::quote(&self.table)
                );
                Err(self.error(cause, hint))
            }
        }
    }

    /// Opens the transaction, unless it is open, and sees that the table is there.
    fn open_page(&mut self) -> Result<(), TargetError> {
        if self.turn.is_none() {
            let turn = queue::wait(&self.path);
            crash_point!("before BEGIN");
            self.told(self.db()?.execute_batch("BEGIN IMMEDIATE"))?;
            crash_point!("after BEGIN");
            self.turn = Some(turn);
        }
        if !self.is_ready {
            let prepared = self.prepare_table();
            self.told(prepared)?;
            self.is_ready = true;
        }
        Ok(())
    }

    fn prepare_table(&self) -> rusqlite::Result<()> {
        let Some(db) = &self.db else { return Ok(()) };
        if self.is_first && self.load != Load::ResumeReplace {
            let leftover = table::quote(&self.staging());
            db.execute_batch(&format!("DROP TABLE IF EXISTS {leftover}"))?;
        }
        table::make_room(db, &self.destination(), &self.schema)?;
        if self.is_first && self.load == Load::Truncate {
            db.execute_batch(&format!("DELETE FROM {}", table::quote(&self.table)))?;
        }
        Ok(())
    }

    /// Sees that the table has the columns of `schema` and the statement fits them.
    fn adapt(&mut self, schema: &Arc<Schema>) -> Result<(), TargetError> {
        let fits = |upsert: &Upsert| Arc::ptr_eq(&upsert.schema, schema);
        if self.upsert.as_ref().is_some_and(fits) {
            return Ok(());
        }
        let destination = self.destination();
        self.told(table::make_room(self.db()?, &destination, schema))?;
        let existing = self.told(table::columns(self.db()?, &destination))?;
        self.upsert = Some(Upsert::new(&destination, schema, &existing));
        self.columns.extend(schema.columns.iter().map(|column| column.name.clone()));
        Ok(())
    }

    /// Ends the transaction with the checkpoint in it; takes it back where that fails.
    fn close_page(&mut self, checkpoint: &Checkpoint, table: &str) -> Result<(), TargetError> {
        let db = self.db()?;
        if self.told(checkpoints::last_commit(db, &self.key))? != self.seen {
            self.abandon()?;
            return Err(self.error(
                "another run with another state has written this table meanwhile".into(),
                "let one run write it at a time: give all of them the same --state".into(),
            ));
        }
        let close = || {
            // Those of an abandoned page may never have come to be.
            let existing = table::columns(db, table)?.into_iter().map(|column| column.name);
            let written = existing.filter(|name| self.columns.contains(name)).collect();
            checkpoints::write(db, checkpoint, &written)?;
            crash_point!("before COMMIT");
            db.execute_batch("COMMIT")
        };
        let closed = close();
        self.or_abandoned(closed)?;
        self.turn = None;
        self.is_first = false;
        self.seen = Some((checkpoint.epoch.clone(), checkpoint.sequence));
        Ok(())
    }

    /// The outcome of what ends a page; where it failed the page is taken back.
    fn or_abandoned(&mut self, result: rusqlite::Result<()>) -> Result<(), TargetError> {
        let result = self.told(result);
        if result.is_err() {
            self.abandon()?;
        }
        result
    }

    /// What of that which a checkpoint vouches for is missing.
    fn missing(&self, checkpoint: &Checkpoint) -> rusqlite::Result<Option<String>> {
        let Some(db) = &self.db else { return Ok(None) };
        let staging = self.staging();
        let is_staged =
            checkpoint.position.copying.is_some() && table::kind_of(db, &staging)?.is_some();
        let table = if is_staged { &staging } else { &self.table };
        match witness::missing(db, table, &self.schema, checkpoint)? {
            None => witness::missing_column(db, table, &self.columns),
            missing => Ok(missing),
        }
    }
}

impl Target for SqliteTarget {
    fn on_replay(&self) -> Replay {
        if self.schema.primary_key.is_empty() { Replay::Repeats } else { Replay::Harmless }
    }

    fn recall(&mut self) -> Result<Recall, TargetError> {
        self.has_looked = true;
        if self.db.is_none() && !self.path.exists() {
            return Ok(Recall::Nothing);
        }
        self.connect()?;
        let read = checkpoints::read(self.db()?, &self.key);
        let found = read.map_err(|fault| match fault {
            Fault::Sqlite(err) => self.failed(&err),
            Fault::Unreadable(err @ Unreadable::Newer(_)) => {
                let hint = "run that version of hogline, or a later one";
                self.error(err.to_string(), hint.into())
            }
            Fault::Unreadable(err) => self.error(
                format!("in `{}`, {err}", checkpoints::TABLE),
                "restore the database, or delete the stream's row there and reset the stream"
                    .into(),
            ),
        })?;
        let Some(checkpoints::Stored { checkpoint, columns }) = found else {
            return Ok(Recall::Nothing);
        };
        self.columns = columns;
        self.seen = Some((checkpoint.epoch.clone(), checkpoint.sequence));
        Ok(match self.told(self.missing(&checkpoint))? {
            None => Recall::Found(checkpoint),
            Some(missing) => Recall::Damaged(checkpoint, missing),
        })
    }

    fn written_columns(&self) -> Vec<String> {
        self.columns.iter().cloned().collect()
    }

    fn begin(&mut self, load: Load) -> Result<bool, TargetError> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder).map_err(|err| self.no_folder(&err))?;
        self.connect()?;
        self.abandon()?;
        self.keep_a_log()?;
        if load == Load::ResumeReplace
            && self.told(table::kind_of(self.db()?, &self.staging()))?.is_none()
        {
            return Ok(false);
        }
        if !self.has_looked {
            self.seen = self.told(checkpoints::last_commit(self.db()?, &self.key))?;
            self.has_looked = true;
        }
        self.load = load;
        self.is_first = true;
        if matches!(load, Load::Truncate | Load::Replace) {
            self.columns.clear();
        }
        self.check_table()?;
        Ok(true)
    }

    fn write(&mut self, batch: &Batch) -> Result<Written, TargetError> {
        self.open_page()?;
        self.adapt(batch.schema())?;
        let Some(upsert) = &self.upsert else { return Ok(Written::default()) };
        self.told(upsert.write(self.db()?, batch, &self.met))
    }

    fn commit(&mut self, checkpoint: &Checkpoint) -> Result<(), TargetError> {
        self.open_page()?;
        self.close_page(checkpoint, &self.destination())
    }

    fn abandon(&mut self) -> Result<(), TargetError> {
        // What the page created is taken back as well: look again.
        self.is_ready = false;
        self.upsert = None;
        let Some(turn) = self.turn.take() else { return Ok(()) };
        let db = self.db()?;
        // Some failures, a full disk for one, have ended the transaction already.
        if !db.is_autocommit() {
            self.told(db.execute_batch("ROLLBACK"))?;
        }
        drop(turn);
        Ok(())
    }

    fn scan(
        &mut self,
        scan: &Scan<'_>,
        each: &mut dyn FnMut(&Shown<'_>),
    ) -> Result<(), TargetError> {
        if self.db.is_none() && !self.path.exists() {
            return Ok(());
        }
        self.connect()?;
        self.told(current::rows(self.db()?, &self.table, &self.schema, scan, each))
    }

    fn remove(
        &mut self,
        keys: &[String],
        how: DeleteMissing,
        at: Timestamp,
    ) -> Result<(), TargetError> {
        self.open_page()?;
        let key: Vec<&Column> =
            self.schema.primary_key.iter().map(|&index| &self.schema.columns[index]).collect();
        let table = self.destination();
        let removed = match how {
            DeleteMissing::Soft => current::mark(self.db()?, &table, &key, keys, at),
            DeleteMissing::Hard => current::delete(self.db()?, &table, &key, keys),
        };
        self.told(removed)?;
        // The table may have got the column that marks: the statement has to know it.
        self.upsert = None;
        Ok(())
    }

    fn execute(&mut self, statements: &str) -> Result<(), TargetError> {
        self.connect()?;
        let _turn = queue::wait(&self.path);
        self.told(self.db()?.execute_batch(statements))
    }

    fn publish(&mut self, checkpoint: &Checkpoint) -> Result<(), TargetError> {
        self.open_page()?;
        if self.is_copying() {
            crash_point!("before the swap");
            let swapped = table::swap(self.db()?, &self.staging(), &self.table);
            self.or_abandoned(swapped)?;
        }
        self.close_page(checkpoint, &self.table.clone())?;
        self.load = Load::Merge;
        self.is_ready = false;
        self.upsert = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
