//! The rows that a log of files amounts to.
//!
//! Its rows, here *lines*, are sorted by key in a private database that spills to a temporary
//! file, so that a log of any size takes little memory. Of a key the lines after the last one
//! that says that it is gone count; the greatest by `newest_by` and then by number counts
//! most, and what it lacks is as the lines before it have it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::sync::Arc;

use rusqlite::{Connection, params};
use serde_json::value::RawValue;

use crate::cursor::Timestamp;
use crate::record::batch::{Batch, Row};
use crate::record::repair::Repairs;
use crate::record::value;
use crate::schema::{Column, ColumnType, Schema};
use crate::target::files::format;
use crate::target::files::manifest::Listed;
use crate::target::files::shape::{SEQ, numbered};
use crate::target::files::store::Store;
use crate::target::{DELETED_AT, Scan, Shown};

/// What a line says, by column, as JSON.
pub(super) type Fields = BTreeMap<String, Box<RawValue>>;

/// The values of a line by which the newest is found.
type Age = Vec<Option<String>>;

/// A line: its age, its number where it has one, and what it says.
type Line = (Age, Option<i64>, Fields);

/// Shows the rows that files, in the order of their manifest, amount to.
pub(super) fn rows(
    store: &dyn Store,
    (files, schema): (&[Listed], &Schema),
    scan: &Scan<'_>,
    each: &mut dyn FnMut(&Shown<'_>),
) -> io::Result<()> {
    let mut log = Log::new(schema, scan).map_err(io::Error::other)?;
    for listed in files {
        log.add(store.open(listed)?, &listed.name)?;
    }
    let is_ours = |column: &&Column| !column.name.starts_with("_hogline_");
    let columns: Vec<Column> = log.schema.columns.iter().filter(is_ours).cloned().collect();
    log.each_row(&mut |_, fields| {
        let texts = columns.iter().map(|column| text_of(fields.get(&column.name)?, column.kind));
        let cells: Vec<Option<Cow<'_, str>>> = texts.map(|text| text.map(Cow::Owned)).collect();
        let shown = Shown { columns: &columns, cells: &cells };
        let is_inside = scan.within.is_none_or(|(by, range)| {
            let at = shown.text(by).and_then(Timestamp::parse);
            at.is_some_and(|at| range.from <= at && at < range.to)
        });
        if is_inside {
            each(&shown);
        }
        Ok(())
    })
}

/// The text that a target shows for a value.
fn text_of(json: &RawValue, kind: ColumnType) -> Option<String> {
    let (value, _) = value::convert(json.get(), kind);
    value.text().map(Cow::into_owned)
}

/// Lines, to be read in the order of their keys.
pub(super) struct Log {
    db: Connection,
    /// Every column that a line had so far.
    schema: Arc<Schema>,
    /// The columns that are needed, where not all are.
    needed: Option<Vec<String>>,
    /// The keys that are wanted, where not all are.
    only: Option<HashSet<String>>,
}

impl Log {
    pub(super) fn new(schema: &Schema, scan: &Scan<'_>) -> rusqlite::Result<Self> {
        let db = Connection::open("")?;
        db.execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;
             CREATE TABLE lines (key TEXT, seq INTEGER, age TEXT, gone INTEGER, fields TEXT)",
        )?;
        let time = scan.within.map(|(by, _)| by.to_owned());
        let key = schema.primary_key.iter().map(|&index| schema.columns[index].name.clone());
        let needed = scan.keys_only.then(|| key.chain(time).collect());
        let only = scan.only.map(|only| only.iter().cloned().collect());
        Ok(Self { db, schema: Arc::new(numbered(schema)), needed, only })
    }

    /// Every column that there is, those of our bookkeeping apart.
    pub(super) fn schema(&self) -> Schema {
        let mut schema = Schema::clone(&self.schema);
        // Bookkeeping comes behind the columns that indexes speak of.
        schema.columns.retain(|column| column.name != SEQ && column.name != DELETED_AT);
        schema
    }

    /// Takes the lines of a file in.
    pub(super) fn add(&mut self, file: File, name: &str) -> io::Result<()> {
        let mut latest = Arc::clone(&self.schema);
        format::read((file, name), &self.schema, true, &mut |batch| {
            latest = Arc::clone(batch.schema());
            self.add_batch(batch).map_err(io::Error::other)
        })?;
        self.schema = latest;
        Ok(())
    }

    fn add_batch(&self, batch: &Batch) -> rusqlite::Result<()> {
        let sql = "INSERT INTO lines VALUES (?, ?, ?, ?, ?)";
        let mut statement = self.db.prepare_cached(sql)?;
        let schema = batch.schema();
        let of = |row: &Row<'_>, name| schema.index_of(name).and_then(|index| row.text(index));
        let is_wanted =
            |row: &Row<'_>| self.only.as_ref().is_none_or(|only| only.contains(&row.identity()));
        for row in batch.rows().filter(is_wanted) {
            let seq: Option<i64> = of(&row, SEQ).and_then(|seq| seq.parse().ok());
            let age: Age = schema.newest_by.iter().map(|&index| row.text(index)).collect();
            let gone = of(&row, DELETED_AT).is_some();
            let age = serde_json::to_string(&age).unwrap_or_default();
            // Without a key every line is a row.
            let key = (!schema.primary_key.is_empty()).then(|| row.identity());
            statement.execute(params![key, seq, age, gone, self.object(&row, schema)])?;
        }
        Ok(())
    }

    /// A line as a JSON object of the columns that it has and that are needed.
    fn object(&self, row: &Row<'_>, schema: &Schema) -> String {
        let is_needed = |name: &String| {
            let is_ours = name == SEQ || name == DELETED_AT;
            !is_ours && self.needed.as_ref().is_none_or(|needed| needed.contains(name))
        };
        let mut object = vec![b'{'];
        for (index, column) in schema.columns.iter().enumerate() {
            if row.has(index) && is_needed(&column.name) {
                let comma = if object.len() > 1 { "," } else { "" };
                let name = serde_json::Value::from(column.name.as_str());
                object.extend_from_slice(format!("{comma}{name}:").as_bytes());
                row.write_json(index, &mut Repairs::default(), &mut object);
            }
        }
        object.push(b'}');
        String::from_utf8_lossy(&object).into_owned()
    }

    /// Shows what the lines of each key amount to, with the greatest of their numbers.
    pub(super) fn each_row(
        &self,
        show: &mut dyn FnMut(Option<u64>, &Fields) -> io::Result<()>,
    ) -> io::Result<()> {
        let sql = "SELECT key, seq, age, gone, fields FROM lines ORDER BY key, seq, rowid";
        let mut statement = self.db.prepare(sql).map_err(io::Error::other)?;
        let mut found = statement.query([]).map_err(io::Error::other)?;
        let mut current: Option<String> = None;
        let mut lines: Vec<Line> = Vec::new();
        while let Some(row) = found.next().map_err(io::Error::other)? {
            let (key, is_gone, line) = line_of(row).map_err(io::Error::other)?;
            if key.is_none() || key != current {
                show_newest(std::mem::take(&mut lines), show)?;
            }
            current = key;
            match is_gone {
                true => lines.clear(),
                false => lines.push(line),
            }
        }
        show_newest(lines, show)
    }
}

/// A line of the database: its key, whether it says that this is gone, and the rest.
fn line_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Option<String>, bool, Line)> {
    let line = (read(row.get(2)?)?, row.get(1)?, read(row.get(4)?)?);
    Ok((row.get(0)?, row.get(3)?, line))
}

/// Shows the row that the lines of one key amount to, where there is one.
fn show_newest(
    mut lines: Vec<Line>,
    show: &mut dyn FnMut(Option<u64>, &Fields) -> io::Result<()>,
) -> io::Result<()> {
    lines.sort_by(|(age, seq, _), (other, next, _)| (age, seq).cmp(&(other, next)));
    let seq = lines.iter().filter_map(|(_, seq, _)| *seq).max();
    let merged = lines.into_iter().map(|(_, _, fields)| fields).reduce(|mut row, later| {
        row.extend(later);
        row
    });
    merged.iter().try_for_each(|fields| show(seq.map(i64::unsigned_abs), fields))
}

fn read<T: serde::de::DeserializeOwned>(text: String) -> rusqlite::Result<T> {
    let broken = |err| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(0, kind, Box::new(err))
    };
    serde_json::from_str(&text).map_err(broken)
}
