//! What a spec says about one stream, typed.
//!
//! Everything PostHog-specific about a stream lives in its file under `specs/`;
//! these are the words of that language. A stream that does not fit gets one more
//! word here that any other stream may use too. Nothing here asks or reads anything.

use std::sync::Arc;
use std::time::Duration;

use crate::cursor::Timestamp;
use crate::record::filter::{Filter, Pushed};
use crate::record::split::{Layout, Placement};
use crate::record::transform::{Step, Transform};
use crate::schema::{Column, ColumnType, Flatten, Foreseen, Origin, Schema};

/// One stream.
#[derive(Debug, Clone, Default)]
pub struct Endpoint {
    /// The stream's name.
    pub stream: String,
    /// What it holds, in a sentence.
    pub description: String,
    /// PostHog's own page about it.
    pub docs: String,
    /// The scope a key needs to read it.
    pub scope: String,
    /// The quota counters a request spends, unless its read path says otherwise.
    pub quota: Vec<String>,
    /// The columns that identify a record.
    pub primary_key: Vec<String>,
    /// The column that tells when a record last changed.
    pub update_key: Option<String>,
    /// Of two copies of one record the one that is greater here wins.
    pub newest_by: Vec<String>,
    /// How the stream is ordered in time, where it is.
    pub incremental: Option<Incremental>,
    /// All columns, in order.
    pub columns: Vec<(String, ColumnSpec)>,
    /// Columns that a replication, or an earlier run, knows before a record shows them.
    pub foreseen: Vec<Foreseen>,
    /// The columns whose type a replication declares.
    pub typed: Vec<String>,
    /// The column whose keys may become columns.
    pub flatten: Option<String>,
    /// How that is wanted, where it is.
    pub flattening: Option<Flatten>,
    /// When the run in hand began, while it loads.
    pub loaded_at: Option<Timestamp>,
    /// Which records are wanted, where not all are.
    pub filter: Option<Filter>,
    /// What becomes of values: column, keys inside of it, steps.
    pub transforms: Vec<(String, Vec<String>, Vec<Step>)>,
    /// The ways to read it, the preferred one first.
    pub read: Vec<ReadPath>,
}

/// Where a column's values come from, as the spec says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnSpec {
    /// A field of this type.
    Field(ColumnType),
    /// The UTC day of another column.
    DayOf(String),
    /// When the run began that wrote the row.
    LoadedAt,
    /// What the run that wrote the row was told to put there.
    OfRun(ColumnType, serde_json::Value),
    /// A value inside a column that holds JSON.
    Inside {
        /// The column.
        column: String,
        /// The keys that lead there.
        path: Vec<String>,
        /// Its type.
        kind: ColumnType,
    },
}

impl ColumnSpec {
    /// The name of the column's type.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Field(kind) | Self::Inside { kind, .. } => kind.name(),
            Self::DayOf(_) => ColumnType::Date.name(),
            Self::LoadedAt => ColumnType::Timestamp.name(),
            Self::OfRun(kind, _) => kind.name(),
        }
    }

    /// Whether it tells of the run and not of the record.
    pub fn is_of_run(&self) -> bool {
        matches!(self, Self::LoadedAt | Self::OfRun(..))
    }

    fn kind(&self) -> ColumnType {
        match self {
            Self::Field(kind) | Self::Inside { kind, .. } => *kind,
            Self::DayOf(_) => ColumnType::Date,
            Self::LoadedAt => ColumnType::Timestamp,
            Self::OfRun(kind, _) => *kind,
        }
    }
}

/// The order in time of a stream that has one.
#[derive(Debug, Clone)]
pub struct Incremental {
    /// The column that orders it.
    pub by: String,
    /// The column that tells when a record arrived at PostHog.
    pub arrival: Option<String>,
    /// How far behind the cursor late records are looked for.
    pub lookback: Option<Duration>,
    /// How much of the end is read again by every run, because its records still grow.
    pub reread: Option<Duration>,
}

impl Incremental {
    /// How far behind the cursor late records are looked for, as the user wants it.
    pub fn lookback(&self, wanted: Option<Duration>) -> Option<Duration> {
        self.lookback.map(|own| wanted.unwrap_or(own))
    }
}

/// One way to read a stream.
#[derive(Debug, Clone)]
pub struct ReadPath {
    /// Its name, as logs and checkpoints call it.
    pub name: String,
    /// The quota counters a request spends.
    pub quota: Vec<String>,
    /// The path below the origin, with `{project_id}` where the project goes.
    pub url: String,
    /// Parameters of every request.
    pub params: Vec<(String, String)>,
    /// Where an answer's records are.
    pub layout: Layout,
    /// Fields that are not wanted.
    pub leave_out: Vec<String>,
    /// Columns whose lists have no order of their own, and get one.
    pub sorted: Vec<String>,
    /// Columns whose values change though nobody changed them: they are not compared.
    pub drifting: Vec<String>,
    /// Whether a field without a column becomes one.
    pub add_undeclared: bool,
    /// Columns this way cannot know.
    pub unknown: Vec<String>,
    /// How many records to ask for at once.
    pub page_size: u64,
    /// How to get from one page to the next.
    pub paging: Paging,
}

/// A way of paging.
#[derive(Debug, Clone)]
pub enum Paging {
    /// Everything in one answer.
    Whole,
    /// Pages by their offset, once for every pass.
    Offset(Offset),
    /// Ascending windows of time whose lower bound follows the last record received.
    TimeWindow(TimeWindow),
    /// Windows of time, paged inside by an opaque cursor.
    Cursor(CursorWindow),
    /// SQL, always asking for what comes after the last key.
    Keyset(Box<Keyset>),
}

/// Pages by their offset.
#[derive(Debug, Clone)]
pub struct Offset {
    /// How many records each page repeats of the one before: shows whether rows shifted.
    pub overlap: u64,
    /// How to ask only for what changed.
    pub since: Option<Since>,
    /// The lists that together are the stream; one empty pass where there is only one.
    pub passes: Vec<Pass>,
}

/// One list of several.
#[derive(Debug, Clone, Default)]
pub struct Pass {
    /// Its parameters.
    pub params: Vec<(String, String)>,
    /// What its records do not say of themselves: column and raw JSON.
    pub columns: Vec<(String, String)>,
}

/// How to ask a list only for what changed.
#[derive(Debug, Clone)]
pub struct Since {
    /// How the server is told.
    pub by: SinceBy,
    /// How far before the last run's bound to ask from.
    pub overlap: Duration,
    /// Parameters that go with it, replacing those of the same name.
    pub params: Vec<(String, String)>,
}

/// How a list is cut to what changed.
#[derive(Debug, Clone)]
pub enum SinceBy {
    /// A parameter takes the time.
    Param(String),
    /// The list is ordered newest first by this column; the walk stops below the time.
    StopBelow(String),
}

/// Ascending windows of time.
#[derive(Debug, Clone)]
pub struct TimeWindow {
    /// The column that holds the time.
    pub time: String,
    /// The parameter for the lower bound, exclusive.
    pub from: String,
    /// The parameter for the upper bound, exclusive.
    pub to: String,
    /// Columns, also parameters, by which an instant that fills a page is split.
    pub split_by: Vec<String>,
}

/// Windows of time with a cursor inside.
#[derive(Debug, Clone)]
pub struct CursorWindow {
    /// The column that holds the time.
    pub time: String,
    /// The parameter for the lower bound.
    pub from: String,
    /// The parameter for the upper bound.
    pub to: String,
    /// How much wider than wanted a window is asked, on both sides.
    pub margin: Duration,
    /// The parameter that takes the cursor.
    pub param: String,
    /// The member of an answer that gives the next cursor.
    pub next: String,
    /// The member of an answer that says whether there is more.
    pub more: String,
}

/// SQL after the last key.
#[derive(Debug, Clone)]
pub struct Keyset {
    /// The table.
    pub from: String,
    /// Columns and the expressions that give them.
    pub select: Vec<(String, String)>,
    /// The total order: columns and the expressions that are compared.
    pub key: Vec<(String, String)>,
    /// The column that comes first in the key, where it is a time; its expression has the
    /// same name.
    pub time: Option<String>,
    /// The expression that tells when a record arrived.
    pub arrival: Option<String>,
    /// A column put together from another table's rows.
    pub join: Option<Join>,
    /// How to read wide ranges in the order of the store.
    pub chunks: Option<Chunks>,
    /// Whether no two rows have one key: two of them would become one.
    pub is_unique: bool,
    /// What of the filter the store is asked.
    pub pushed: Option<Pushed>,
}

impl Keyset {
    /// The expression that gives a column.
    pub fn expression(&self, column: &str) -> &str {
        let mut all = self.key.iter().chain(&self.select);
        all.find(|(name, _)| name == column).map_or("", |(_, expression)| expression)
    }

    /// The condition that every question has, where there is one.
    pub fn filter(&self) -> Option<String> {
        self.pushed.as_ref().map(|pushed| format!("({})", pushed.condition))
    }
}

/// How a store keeps its records: by UTC day of the time, then a name, then a hash.
#[derive(Debug, Clone)]
pub struct Chunks {
    /// The column that holds the name, a part of the key.
    pub by: String,
    /// The expression of the hash, 64 bits without a sign.
    pub hash: String,
    /// How many records to ask for at once, below the server's own limit.
    pub rows: u64,
}

/// A list column joined from a table that has one row for every item.
#[derive(Debug, Clone)]
pub struct Join {
    /// The column it fills.
    pub column: String,
    /// The other table.
    pub from: String,
    /// The expression that names the record an item belongs to, comparable with the key.
    pub owner: String,
    /// The expression that is the item.
    pub value: String,
    /// How many items to ask for at once.
    pub page_size: u64,
}

impl Endpoint {
    /// Whether a run can go on where the last one ended.
    pub fn is_incremental(&self) -> bool {
        self.incremental_by().is_some()
    }

    /// What tells a run where the last one ended: a column, or a parameter of PostHog's.
    pub fn incremental_by(&self) -> Option<&str> {
        let by = self.incremental.as_ref().map(|incremental| incremental.by.as_str());
        let since = self.read.iter().find_map(|path| match &path.since()?.by {
            SinceBy::Param(name) | SinceBy::StopBelow(name) => Some(name.as_str()),
        });
        by.or(self.update_key.as_deref()).or(since)
    }

    /// The modes a replication may give this stream.
    pub fn modes(&self) -> Vec<&'static str> {
        let mut modes = vec!["full-refresh", "truncate", "incremental"];
        if self.incremental.is_some() {
            modes.push("backfill");
        }
        modes
    }

    /// The columns as they come on one way of reading; `wanted` narrows them.
    pub fn schema(&self, path: &ReadPath, wanted: &dyn Fn(&str) -> bool) -> Schema {
        let kept = |(name, spec): &&(String, ColumnSpec)| {
            wanted(name) || self.needs(name) || spec.is_of_run()
        };
        let mut schema = Schema::default();
        for (name, spec) in self.columns.iter().filter(kept) {
            let origin = if path.knows(name) { Origin::Field } else { Origin::Unknown };
            let kind = spec.kind();
            schema.columns.push(Column { name: name.clone(), kind, origin });
        }
        self.derive(&mut schema);
        schema.foreseen.clone_from(&self.foreseen);
        let flattened = self.flatten.as_ref().and_then(|column| schema.index_of(column));
        schema.flatten = flattened
            .filter(|&column| schema.columns[column].is_known())
            .and_then(|column| Some(Flatten { column, ..self.flattening.clone()? }));
        let indices =
            |names: &[String]| names.iter().filter_map(|name| schema.index_of(name)).collect();
        let (primary_key, newest_by): (Vec<usize>, _) =
            (indices(&self.primary_key), indices(&self.newest_by));
        let typed = indices(&self.typed);
        let transforms = self.transforms.iter().filter_map(|(column, keys, steps)| {
            let (keys, steps) = (keys.clone(), steps.clone());
            Some(Transform { column: schema.index_of(column)?, keys, steps })
        });
        let (transforms, filter) = (transforms.collect(), self.filter.clone());
        let of_run = self.columns.iter().filter(|(_, spec)| spec.is_of_run());
        let of_run: Vec<usize> = of_run
            .filter_map(|(name, _)| schema.index_of(name))
            .filter(|index| !primary_key.contains(index))
            .collect();
        Schema { primary_key, newest_by, typed, of_run, transforms, filter, ..schema }
    }

    /// Whether the stream cannot be read or kept apart without a column.
    fn needs(&self, name: &str) -> bool {
        let derives = |(column, spec): &(String, ColumnSpec)| matches!(spec, ColumnSpec::DayOf(of) if of == name && column != name);
        self.primary_key.iter().chain(&self.newest_by).any(|needed| needed == name)
            || self.incremental.as_ref().is_some_and(|incremental| incremental.by == name)
            || self.columns.iter().any(derives)
            || self.read.iter().any(|path| path.compares(name))
    }

    /// What a column about the run holds in this run.
    fn of_run(&self, spec: &ColumnSpec) -> Option<Origin> {
        let at = self.loaded_at?;
        let value = match spec {
            ColumnSpec::OfRun(_, value) => value.clone(),
            _ => at.to_string().into(),
        };
        Some(Origin::Constant(value.to_string()))
    }

    /// Says of columns that are made of others how.
    fn derive(&self, schema: &mut Schema) {
        for (name, spec) in &self.columns {
            let Some(index) = schema.index_of(name) else { continue };
            let of = |other: &String| schema.index_of(other);
            let origin = match spec {
                ColumnSpec::Field(_) => continue,
                ColumnSpec::DayOf(other) => of(other).map(Origin::DayOf),
                // Where nothing is loaded they are not known.
                ColumnSpec::LoadedAt | ColumnSpec::OfRun(..) => {
                    Some(self.of_run(spec).unwrap_or(Origin::Unknown))
                }
                ColumnSpec::Inside { column, path, .. } => of(column)
                    .filter(|&column| schema.columns[column].is_known())
                    .map(|column| Origin::Inside { column, path: path.clone() }),
            };
            match (origin, spec) {
                (Some(origin), _) => schema.columns[index].origin = origin,
                (None, ColumnSpec::Inside { .. }) => schema.columns[index].origin = Origin::Unknown,
                (None, _) => {}
            }
        }
    }
}

impl ReadPath {
    /// How to ask only for what changed, where that is possible.
    pub fn since(&self) -> Option<&Since> {
        match &self.paging {
            Paging::Offset(offset) => offset.since.as_ref(),
            _ => None,
        }
    }

    /// Whether this way can tell a column's value.
    pub fn knows(&self, column: &str) -> bool {
        match &self.paging {
            Paging::Keyset(keyset) => {
                keyset.select.iter().any(|(name, _)| name == column)
                    || keyset.join.as_ref().is_some_and(|join| join.column == column)
            }
            _ => !self.unknown.iter().any(|name| name == column),
        }
    }

    /// Whether what it does not show is gone: a single record tells nothing of the others.
    pub fn enumerates(&self) -> bool {
        !matches!(self.layout, Layout::Single)
    }

    /// Whether it asks in SQL.
    pub fn is_sql(&self) -> bool {
        matches!(self.paging, Paging::Keyset(_))
    }

    /// Whether its pages follow each other by a column.
    fn compares(&self, column: &str) -> bool {
        match &self.paging {
            Paging::Keyset(keyset) => keyset.key.iter().any(|(name, _)| name == column),
            _ => false,
        }
    }

    /// How the fields of its rows find their columns.
    pub fn placement(&self, schema: &Arc<Schema>, selects_all: bool) -> Placement {
        match &self.paging {
            Paging::Keyset(keyset) => {
                let columns = keyset.select.iter().filter_map(|(name, _)| schema.index_of(name));
                Placement::ByPosition(columns.collect())
            }
            _ => Placement::ByName {
                leave_out: self.leave_out.clone(),
                add_undeclared: self.add_undeclared && selects_all,
            },
        }
    }
}
