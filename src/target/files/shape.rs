//! What the rows of one file have in common: its columns.
//!
//! A file has one shape from its first row to its last, since a CSV file has one header
//! and a Parquet file one schema; rows of another shape go into another file. All files of
//! rows have the numbering column, whether their rows are numbered or not.

use std::collections::BTreeSet;

use crate::cursor::Timestamp;
use crate::record::batch::Row;
use crate::record::repair::Repairs;
use crate::record::value::Value;
use crate::schema::{Column, ColumnType, Origin, Schema};
use crate::target::DELETED_AT;

/// The field that numbers rows: of two with one key the later one has more.
pub(super) const SEQ: &str = "_hogline_seq";

/// A column of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    /// Its place in the schema of the batches.
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) kind: ColumnType,
    pub(super) is_key: bool,
}

/// The columns of a file; its numbers come behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) slots: Vec<Slot>,
    /// The column that a file's first and last time are taken from.
    time: Option<usize>,
    /// Whether numbers come behind the columns.
    pub(super) is_numbered: bool,
}

impl Shape {
    /// The shape of rows that are not numbered.
    pub(super) fn plain(schema: &Schema) -> Self {
        Self { is_numbered: false, ..Self::new(schema, &BTreeSet::new()) }
    }

    /// The shape of rows of a schema, with those columns as text that were `widened`.
    pub(super) fn new(schema: &Schema, widened: &BTreeSet<String>) -> Self {
        let known = schema.columns.iter().enumerate().filter(|(_, column)| column.is_known());
        let slot = |(index, column): (usize, &Column)| Slot {
            index,
            name: column.name.clone(),
            kind: if widened.contains(&column.name) { ColumnType::Text } else { column.kind },
            is_key: schema.primary_key.contains(&index),
        };
        let is_time = |(index, column): (usize, &Column)| {
            let is_row = column.kind == ColumnType::Timestamp && column.name != DELETED_AT;
            is_row.then_some(index)
        };
        let time = known.clone().find_map(is_time);
        Self { time, slots: known.map(slot).collect(), is_numbered: true }
    }

    /// The time a file's span counts the row at.
    pub(super) fn time_of(&self, row: &Row<'_>) -> Option<Timestamp> {
        match row.value(self.time?, &mut Repairs::default()) {
            Value::Timestamp(at) => Some(at),
            _ => None,
        }
    }

    /// The columns whose type does not hold the row's value.
    pub(super) fn misfits<'a>(&'a self, row: &Row<'_>) -> impl Iterator<Item = &'a Slot> {
        self.slots.iter().filter(|slot| {
            let is_typed =
                !matches!(slot.kind, ColumnType::Text | ColumnType::Uuid | ColumnType::Json);
            is_typed && matches!(row.value(slot.index, &mut Repairs::default()), Value::Text(_))
        })
    }
}

/// The columns as files have them: values that were derived once are read back.
pub(super) fn stored(schema: &Schema) -> Schema {
    let mut stored = schema.clone();
    for column in &mut stored.columns {
        column.origin = Origin::Field;
    }
    stored
}

/// The same, with those of our bookkeeping.
pub(super) fn numbered(schema: &Schema) -> Schema {
    let mut numbered = stored(schema);
    for (name, kind) in [(SEQ, ColumnType::Bigint), (DELETED_AT, ColumnType::Timestamp)] {
        numbered.columns.push(Column { name: name.into(), kind, origin: Origin::Field });
    }
    numbered
}
