//! The rows that a log of lines amounts to.
//!
//! Lines are sorted by key in a private database that spills to a temporary file, so that
//! a log of any size takes little memory. Of a key the lines after the last one that says
//! that it is gone count; the greatest by `newest_by` and then by number counts most, and
//! what it lacks is as the lines before it have it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, params};

use crate::cursor::Timestamp;
use crate::record::batch::{Batch, Row};
use crate::schema::{Column, ColumnType, Origin, Schema};
use crate::target::jsonl::line::{self, SEQ};
use crate::target::{DELETED_AT, Scan, Shown};

/// What a line says, by column.
type Fields = BTreeMap<String, Option<String>>;

/// The values of a line by which the newest is found.
type Age = Vec<Option<String>>;

/// Shows the rows that files, in the order of their manifest, amount to.
pub(super) fn rows(
    files: &[PathBuf],
    schema: &Schema,
    scan: &Scan<'_>,
    each: &mut dyn FnMut(&Shown<'_>),
) -> io::Result<()> {
    let mut log = Log::new(schema, scan).map_err(io::Error::other)?;
    for file in files {
        log.add(file)?;
    }
    let is_ours = |column: &&Column| !column.name.starts_with("_hogline_");
    let columns: Vec<Column> = log.schema.columns.iter().filter(is_ours).cloned().collect();
    let mut show = |fields: &Fields| {
        let is_inside = scan.within.is_none_or(|(by, range)| {
            let at = fields.get(by).and_then(Option::as_deref).and_then(Timestamp::parse);
            at.is_some_and(|at| range.from <= at && at < range.to)
        });
        if is_inside {
            let cell = |column: &Column| fields.get(&column.name)?.as_deref().map(Cow::Borrowed);
            let cells: Vec<_> = columns.iter().map(cell).collect();
            each(&Shown { columns: &columns, cells: &cells });
        }
    };
    log.each_row(&mut show).map_err(io::Error::other)
}

/// Lines, to be read in the order of their keys.
struct Log {
    db: Connection,
    /// Every column that a line had so far.
    schema: Arc<Schema>,
    /// The columns that are needed, where not all are.
    needed: Option<Vec<String>>,
    /// The keys that are wanted, where not all are.
    only: Option<HashSet<String>>,
}

impl Log {
    fn new(schema: &Schema, scan: &Scan<'_>) -> rusqlite::Result<Self> {
        let db = Connection::open("")?;
        db.execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;
             CREATE TABLE lines (key TEXT, seq INTEGER, age TEXT, gone INTEGER, fields TEXT)",
        )?;
        let time = scan.within.map(|(by, _)| by.to_owned());
        let key = schema.primary_key.iter().map(|&index| schema.columns[index].name.clone());
        let needed = scan.keys_only.then(|| key.chain(time).collect());
        let only = scan.only.map(|only| only.iter().cloned().collect());
        Ok(Self { db, schema: Arc::new(stored(schema)), needed, only })
    }

    fn add(&mut self, file: &Path) -> io::Result<()> {
        let mut latest = Arc::clone(&self.schema);
        let mut added = Ok(());
        line::read(file, &self.schema, true, &mut |batch| {
            latest = Arc::clone(batch.schema());
            if added.is_ok() {
                added = self.add_batch(batch);
            }
        })?;
        self.schema = latest;
        added.map_err(io::Error::other)
    }

    fn add_batch(&self, batch: &Batch) -> rusqlite::Result<()> {
        let sql = "INSERT INTO lines VALUES (?, ?, ?, ?, ?)";
        let mut statement = self.db.prepare_cached(sql)?;
        let schema = batch.schema();
        let of = |row: &Row<'_>, name| schema.index_of(name).and_then(|index| row.text(index));
        let is_wanted =
            |row: &Row<'_>| self.only.as_ref().is_none_or(|only| only.contains(&row.identity()));
        for row in batch.rows().filter(is_wanted) {
            let seq: u64 = of(&row, SEQ).and_then(|seq| seq.parse().ok()).unwrap_or(0);
            let age: Age = schema.newest_by.iter().map(|&index| row.text(index)).collect();
            let gone = of(&row, DELETED_AT).is_some();
            let (age, fields) = (json(&age), json(&self.fields(&row, schema)));
            // Without a key every line is a row.
            let key = (!schema.primary_key.is_empty()).then(|| row.identity());
            statement.execute(params![key, i64::try_from(seq).ok(), age, gone, fields])?;
        }
        Ok(())
    }

    fn fields(&self, row: &Row<'_>, schema: &Schema) -> Fields {
        let is_needed =
            |name: &String| self.needed.as_ref().is_none_or(|needed| needed.contains(name));
        let columns = schema.columns.iter().enumerate();
        columns
            .filter(|(index, column)| row.has(*index) && is_needed(&column.name))
            .map(|(index, column)| (column.name.clone(), row.text(index)))
            .collect()
    }

    /// Shows what the lines of each key amount to.
    fn each_row(&self, show: &mut dyn FnMut(&Fields)) -> rusqlite::Result<()> {
        let sql = "SELECT key, seq, age, gone, fields FROM lines ORDER BY key, seq, rowid";
        let mut statement = self.db.prepare(sql)?;
        let mut found = statement.query([])?;
        let mut current: Option<String> = None;
        let mut lines: Vec<(Age, i64, Fields)> = Vec::new();
        while let Some(row) = found.next()? {
            let key: Option<String> = row.get(0)?;
            if key.is_none() || key != current {
                show_newest(std::mem::take(&mut lines), show);
            }
            current = key;
            match row.get(3)? {
                true => lines.clear(),
                false => lines.push((read(row.get(2)?)?, row.get(1)?, read(row.get(4)?)?)),
            }
        }
        show_newest(lines, show);
        Ok(())
    }
}

/// Shows the row that the lines of one key amount to, where there is one.
fn show_newest(mut lines: Vec<(Age, i64, Fields)>, show: &mut dyn FnMut(&Fields)) {
    lines.sort_by(|(age, seq, _), (other, next, _)| (age, seq).cmp(&(other, next)));
    let merged = lines.into_iter().map(|(_, _, fields)| fields).reduce(|mut row, later| {
        row.extend(later);
        row
    });
    merged.iter().for_each(show);
}

/// The columns as lines have them: values that were derived once are read back.
fn stored(schema: &Schema) -> Schema {
    let mut stored = schema.clone();
    for column in &mut stored.columns {
        column.origin = Origin::Field;
    }
    for (name, kind) in [(SEQ, ColumnType::Bigint), (DELETED_AT, ColumnType::Timestamp)] {
        stored.columns.push(Column { name: name.into(), kind, origin: Origin::Field });
    }
    stored
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn read<T: serde::de::DeserializeOwned>(text: String) -> rusqlite::Result<T> {
    let broken = |err| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(0, kind, Box::new(err))
    };
    serde_json::from_str(&text).map_err(broken)
}
