//! Target rows and source records side by side, in a private database.
//!
//! The rows come first, each as a hash of every value; the records are looked up among
//! them as they arrive. What no record met is extra, what has no row is missing. The
//! database spills to a temporary file, so that memory does not grow with the stream.
//! Like a target it forgets a page that broke off.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::frozen::Frozen;
use super::{Counts, Day, Example};
use crate::cursor::{Interval, Timestamp};
use crate::record::batch::{Batch, Row};
use crate::record::city;
use crate::record::keys::{self, KeySet};
use crate::record::storable;
use crate::runner::no_scratch;
use crate::schema::{ColumnType, Schema};
use crate::spec::endpoint::{Endpoint, ReadPath};
use crate::target::{Shown, TargetError};

/// How many rows that are not right are named for each day.
const EXAMPLES: usize = 3;

/// What became of a key. The numbers are those of the statements below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    /// It is in the target only.
    Never = 0,
    /// Record and row agree.
    Equal = 1,
    /// They do not.
    Differing = 2,
    /// It is in the source only.
    Missing = 3,
}

/// The rows of some spans, held against the records of the same.
pub(super) struct Scratch {
    db: Connection,
    endpoint: Arc<Endpoint>,
    /// The columns as the target was opened with them.
    schema: Schema,
    frozen: Frozen,
    spans: Vec<Interval>,
    /// Only records whose row is here are looked at.
    is_sample: bool,
    /// The place of each column's hash.
    slots: HashMap<String, usize>,
    path: Option<String>,
    ended: bool,
    /// What went wrong while rows were shown.
    failed: Option<rusqlite::Error>,
}

/// What is known of a key.
struct Known {
    hashes: Option<Vec<u8>>,
    is_unsure: bool,
    met: i64,
    age: Vec<Option<String>>,
    is_pending: bool,
}

impl Scratch {
    pub(super) fn new(
        endpoint: &Arc<Endpoint>,
        frozen: Frozen,
        spans: &[Interval],
    ) -> Result<Self, TargetError> {
        let make = || {
            let db = Connection::open("")?;
            db.execute_batch(
                "PRAGMA synchronous = OFF;
                 CREATE TABLE rows (key TEXT PRIMARY KEY, day TEXT, inside INTEGER, hashes BLOB,
                   unsure INTEGER, met INTEGER, age TEXT, columns TEXT, pending INTEGER)
                 WITHOUT ROWID; BEGIN",
            )?;
            Ok(db)
        };
        Ok(Self {
            db: make().map_err(|err| no_scratch(&err))?,
            endpoint: Arc::clone(endpoint),
            schema: endpoint.schema(&endpoint.read[0], &|_| true),
            frozen,
            spans: spans.to_vec(),
            is_sample: false,
            slots: HashMap::new(),
            path: None,
            ended: false,
            failed: None,
        })
    }

    /// Looks only at records whose row is here.
    pub(super) fn sampling(self) -> Self {
        Self { is_sample: true, ..self }
    }

    /// The column that orders the stream in time.
    pub(super) fn by(&self) -> Option<&str> {
        self.frozen.by.as_deref()
    }

    /// The way the source was read.
    pub(super) fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// The spans of which rows are to be added, each wider by `edge`; nothing for all rows.
    pub(super) fn wanted(&self, edge: Duration) -> Vec<Option<Interval>> {
        if self.by().is_none() {
            return vec![None];
        }
        let mut wide: Vec<Interval> = Vec::new();
        for span in &self.spans {
            let (from, to) = (span.from.minus(edge), span.to.plus(edge));
            match wide.last_mut().filter(|last| last.to >= from) {
                Some(last) => last.to = last.to.max(to),
                None => wide.push(Interval { from, to }),
            }
        }
        wide.into_iter().map(Some).collect()
    }

    /// Adds a row of the target.
    pub(super) fn add(&mut self, row: &Shown<'_>) {
        if self.failed.is_none() {
            self.failed = self.try_add(row).err();
        }
    }

    fn try_add(&mut self, row: &Shown<'_>) -> rusqlite::Result<()> {
        let at = self.by().and_then(|by| row.text(by));
        let time = at.and_then(Timestamp::parse);
        // What has no time, but was shown for its text, no record can meet.
        let inside = |span: &Interval| time.is_none_or(|at| span.from <= at && at < span.to);
        let is_inside = self.by().is_none() || self.spans.iter().any(inside);
        let day = at.map(day_of);
        let is_unsure = self.endpoint.newest_by.iter().any(|column| row.text(column).is_none());
        let key = row.identity(&self.schema);
        let mut hashes = vec![0; self.slots.len() * 8];
        for (column, cell) in row.columns.iter().zip(row.cells) {
            let next = self.slots.len();
            let slot = *self.slots.entry(column.name.to_ascii_lowercase()).or_insert(next);
            hashes.resize(hashes.len().max((slot + 1) * 8), 0);
            hashes[slot * 8..(slot + 1) * 8]
                .copy_from_slice(&fingerprint(cell.as_deref(), column.kind).to_le_bytes());
        }
        let sql = "INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?, 0, '[]', '[]', 0)";
        let mut statement = self.db.prepare_cached(sql)?;
        statement.execute(params![key, day, is_inside, hashes, is_unsure]).map(drop)
    }

    /// All rows of the target were added.
    pub(super) fn loaded(&mut self) -> Result<(), TargetError> {
        match self.failed.take() {
            Some(err) => Err(no_scratch(&err)),
            None => self.keep_page(),
        }
    }

    /// The source is read in this way from here on.
    pub(super) fn begin(&mut self, path: String) {
        self.path = Some(path);
    }

    /// Everything that was to be read was read.
    pub(super) fn end(&mut self) -> Result<(), TargetError> {
        self.ended = self.way().is_some_and(ReadPath::enumerates);
        self.keep_page()
    }

    fn way(&self) -> Option<&ReadPath> {
        self.endpoint.read.iter().find(|way| Some(&way.name) == self.path.as_ref())
    }

    /// The open page is whole.
    pub(super) fn keep_page(&mut self) -> Result<(), TargetError> {
        self.db.execute_batch("COMMIT; BEGIN").map_err(|err| no_scratch(&err))
    }

    /// The open page is void.
    pub(super) fn forget_page(&mut self) -> Result<(), TargetError> {
        self.db.execute_batch("ROLLBACK; BEGIN").map_err(|err| no_scratch(&err))
    }

    /// Looks up the records of a batch.
    pub(super) fn meet(&mut self, batch: &Batch) -> Result<(), TargetError> {
        let compared = self.compared(batch.schema());
        let meet = |row: Row<'_>| self.meet_one(&row, batch.schema(), &compared);
        batch.rows().try_for_each(meet).map_err(|err| no_scratch(&err))
    }

    /// The columns of a schema that are compared.
    fn compared(&self, schema: &Schema) -> Vec<Compared> {
        let drifting = self.way().map(|way| way.drifting.as_slice()).unwrap_or_default();
        let is_compared = |index: usize| {
            let column = &schema.columns[index];
            // What is taken out of another column is as right as that one, in rows that were
            // written since it is asked for.
            column.is_known()
                && !column.is_derived()
                && !schema.primary_key.contains(&index)
                && !drifting.contains(&column.name)
        };
        let columns = (0..schema.columns.len()).filter(|&index| is_compared(index));
        columns
            .map(|index| {
                let column = &schema.columns[index];
                let name = column.name.clone();
                let slot = self.slots.get(&name.to_ascii_lowercase()).copied();
                Compared {
                    index,
                    slot,
                    kind: column.kind,
                    may_lack: !self.is_known_to_all(&name),
                    name,
                }
            })
            .collect()
    }

    /// Whether every way of reading tells a column: else rows that came another way lack it.
    fn is_known_to_all(&self, column: &str) -> bool {
        let declared = self.endpoint.columns.iter().any(|(name, _)| name == column);
        self.endpoint
            .read
            .iter()
            .all(|way| way.knows(column) && (declared || (way.add_undeclared && !way.is_sql())))
    }

    fn meet_one(
        &self,
        row: &Row<'_>,
        schema: &Schema,
        compared: &[Compared],
    ) -> rusqlite::Result<()> {
        let key = row.identity();
        let is_pending = self.frozen.is_pending(row, schema);
        let age: Vec<Option<String>> =
            schema.newest_by.iter().map(|&index| row.text(index)).collect();
        let Some(known) = self.known(&key)? else {
            return if self.is_sample {
                Ok(())
            } else {
                self.note_missing(&key, row, schema, is_pending)
            };
        };
        let Some(hashes) = &known.hashes else {
            // Of several copies one that should have come is enough.
            let sql = "UPDATE rows SET pending = ? WHERE key = ?";
            return self.write(sql, params![known.is_pending && is_pending, key]);
        };
        // Who cannot tell copies apart has the right one if it is any of them.
        let any_will_do = known.is_unsure
            || schema.newest_by.iter().any(|&index| !schema.columns[index].is_known());
        let was_met = known.met != Met::Never as i64;
        let is_older = was_met && !any_will_do && age < known.age;
        if is_older || (any_will_do && known.met == Met::Equal as i64) {
            return Ok(());
        }
        let columns: Vec<&str> = compared
            .iter()
            .filter(|column| !column.is_equal(row, hashes))
            .map(|column| column.name.as_str())
            .collect();
        let met = if columns.is_empty() { Met::Equal } else { Met::Differing };
        let day = self.day(row, schema);
        let sql =
            "UPDATE rows SET met = ?, age = ?, columns = ?, pending = ?, day = ? WHERE key = ?";
        self.write(sql, params![met as i64, json(&age), json(&columns), is_pending, day, key])
    }

    fn note_missing(
        &self,
        key: &str,
        row: &Row<'_>,
        schema: &Schema,
        is_pending: bool,
    ) -> rusqlite::Result<()> {
        let sql = "INSERT INTO rows VALUES (?, ?, 1, NULL, 0, ?, '[]', '[]', ?)";
        let day = self.day(row, schema);
        self.write(sql, params![key, day, Met::Missing as i64, is_pending])
    }

    fn write(&self, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
        self.db.prepare_cached(sql)?.execute(values).map(drop)
    }

    fn known(&self, key: &str) -> rusqlite::Result<Option<Known>> {
        let sql = "SELECT hashes, unsure, met, age, pending FROM rows WHERE key = ?";
        let known = |row: &rusqlite::Row<'_>| {
            let age: String = row.get(3)?;
            Ok(Known {
                hashes: row.get(0)?,
                is_unsure: row.get(1)?,
                met: row.get(2)?,
                age: serde_json::from_str(&age).unwrap_or_default(),
                is_pending: row.get(4)?,
            })
        };
        self.db.prepare_cached(sql)?.query_row([key], known).optional()
    }

    fn day(&self, row: &Row<'_>, schema: &Schema) -> Option<String> {
        row.text(schema.index_of(self.by()?)?).map(|at| day_of(&at))
    }

    /// What was found, day by day.
    pub(super) fn days(&self) -> Result<Vec<Day>, TargetError> {
        self.read_days().map_err(|err| no_scratch(&err))
    }

    fn read_days(&self) -> rusqlite::Result<Vec<Day>> {
        let sql = "SELECT day, sum(met > 0), sum(hashes IS NOT NULL AND (inside OR met > 0)),
                     sum(met = 3 AND NOT pending), sum(met = 2 AND NOT pending),
                     sum(met = 0 AND inside AND ?), sum(met IN (2, 3) AND pending)
                   FROM rows GROUP BY day ORDER BY day";
        let mut statement = self.db.prepare(sql)?;
        let days = statement.query_map([self.ended], |row| {
            let count = |at| row.get::<_, i64>(at).map(i64::unsigned_abs);
            let counts = Counts {
                source: count(1)?,
                target: count(2)?,
                missing: count(3)?,
                differing: count(4)?,
                extra: count(5)?,
                pending: count(6)?,
            };
            Ok(Day { day: row.get(0)?, counts, examples: Vec::new() })
        })?;
        let mut days: Vec<Day> = days.collect::<rusqlite::Result<_>>()?;
        for day in days.iter_mut().filter(|day| day.counts.differ()) {
            day.examples = self.examples(day.day.as_deref())?;
        }
        Ok(days)
    }

    fn examples(&self, day: Option<&str>) -> rusqlite::Result<Vec<Example>> {
        let sql = "SELECT key, met, columns FROM rows WHERE day IS ?1 AND NOT pending
                   AND (met IN (2, 3) OR (met = 0 AND inside AND ?2)) ORDER BY key LIMIT ?3";
        let mut statement = self.db.prepare(sql)?;
        let example = |row: &rusqlite::Row<'_>| {
            let (key, columns): (String, String) = (row.get(0)?, row.get(2)?);
            let kind = match row.get::<_, i64>(1)? {
                met if met == Met::Missing as i64 => "missing",
                met if met == Met::Differing as i64 => "differing",
                _ => "extra",
            };
            let columns = serde_json::from_str(&columns).unwrap_or_default();
            Ok(Example { kind, key: keys::parts(&key), columns })
        };
        let most = i64::try_from(EXAMPLES).unwrap_or(i64::MAX);
        statement.query_map(params![day, self.ended, most], example)?.collect()
    }

    /// The keys of records that are missing or whose row differs.
    pub(super) fn wrong(&self) -> Result<KeySet, TargetError> {
        let collect = || {
            let wrong = KeySet::new()?;
            let sql = "SELECT key FROM rows WHERE met IN (2, 3) AND NOT pending";
            let mut statement = self.db.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                wrong.insert(&row.get::<_, String>(0)?)?;
            }
            wrong.keep_page()?;
            Ok(wrong)
        };
        collect().map_err(|err| no_scratch(&err))
    }

    /// How many rows were compared.
    pub(super) fn compared_rows(&self) -> Result<u64, TargetError> {
        let sql = "SELECT count(*) FROM rows WHERE met IN (1, 2)";
        let count = self.db.query_row(sql, [], |row| row.get::<_, i64>(0));
        count.map(i64::unsigned_abs).map_err(|err| no_scratch(&err))
    }
}

/// A column that is compared.
struct Compared {
    index: usize,
    name: String,
    kind: ColumnType,
    /// Where its hash is; nothing where the target has no such column.
    slot: Option<usize>,
    /// Whether a row may lack it because of the way it came.
    may_lack: bool,
}

impl Compared {
    fn is_equal(&self, row: &Row<'_>, hashes: &[u8]) -> bool {
        let stored = self.slot.and_then(|slot| hashes.get(slot * 8..(slot + 1) * 8));
        let stored = stored.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
        if stored == 0 && self.may_lack {
            return true;
        }
        stored == fingerprint(row.text(self.index).as_deref(), self.kind)
    }
}

/// What tells a value from others; 0 for none. Of JSON its meaning counts: ways of reading have
/// their own order of an object's members, and targets their own spelling of numbers.
fn fingerprint(text: Option<&str>, kind: ColumnType) -> u64 {
    let Some(text) = text else { return 0 };
    let hash = match kind {
        ColumnType::Json => city::hash64(storable::meaning(text).as_bytes()),
        _ => city::hash64(text.as_bytes()),
    };
    hash.max(1)
}

/// The day of a time in its text form.
fn day_of(at: &str) -> String {
    at.chars().take(10).collect()
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
