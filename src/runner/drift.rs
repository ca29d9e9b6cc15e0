//! How a stream's columns change while it is read.
//!
//! Every batch carries its schema: what is new in it, or wider than before, becomes a line of
//! the state's schema log, stored before the rows are committed. What the registry says
//! of columns is no change; what a replication declares is one, the first time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cursor::Timestamp;
use crate::record::batch::Batch;
use crate::record::value::Value;
use crate::schema::{Column, Schema};
use crate::state::store::{SchemaChange, Why};
use crate::target::Widened;

/// What is known of a stream's columns.
#[derive(Debug, Default)]
pub struct Drift {
    /// The type of each column, as the registry, the log or this run has it last.
    known: BTreeMap<String, String>,
    /// The columns of the registry, whose schema does not change by itself.
    given: BTreeSet<String>,
    /// The columns that the replication declares, with the type that the log has of that.
    declared: BTreeMap<String, Option<String>>,
    /// The schema that was looked at last.
    seen: Option<Arc<Schema>>,
    /// What is not stored yet.
    changes: Vec<SchemaChange>,
}

impl Drift {
    /// Begins with the columns of the registry, those that are declared, and the log.
    pub fn of<'a>(
        given: impl Iterator<Item = (&'a str, &'a str)>,
        declared: impl Iterator<Item = &'a str>,
        log: &[SchemaChange],
    ) -> Self {
        let mut drift = Self::default();
        for (name, kind) in given {
            drift.known.insert(name.to_owned(), kind.to_owned());
            drift.given.insert(name.to_owned());
        }
        drift.declared = declared.map(|name| (name.to_owned(), None)).collect();
        for change in log {
            drift.known.insert(change.column.clone(), change.after.clone());
            if let Some(last) = drift.declared.get_mut(&change.column)
                && change.why == Why::Declared
            {
                *last = Some(change.after.clone());
            }
        }
        drift
    }

    /// Looks at the columns of a batch; `by` is the column that orders the stream in time.
    pub(super) fn meet(&mut self, batch: &Batch, by: Option<&str>, bound: Timestamp) {
        let schema = batch.schema();
        if self.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, schema)) {
            return;
        }
        self.seen = Some(Arc::clone(schema));
        for (index, column) in schema.columns.iter().enumerate() {
            let Some(why) = self.why(column) else { continue };
            let after = column.kind.name().to_owned();
            let before = self.known.insert(column.name.clone(), after.clone());
            if let Some(declared) = self.declared.get_mut(&column.name) {
                *declared = Some(after.clone());
            }
            let first = first_row(batch, index, by);
            let (column, path) = (column.name.clone(), schema.path_of(column));
            let at = Timestamp::now();
            self.changes.push(SchemaChange { column, path, before, after, why, at, bound, first });
        }
    }

    /// Why a column is a change, if it is one.
    fn why(&self, column: &Column) -> Option<Why> {
        let kind = column.kind.name();
        match (self.declared.get(&column.name), self.known.get(&column.name)) {
            (Some(last), _) => (last.as_deref() != Some(kind)).then_some(Why::Declared),
            (None, None) => Some(Why::NewField),
            (None, Some(_)) if self.given.contains(&column.name) => None,
            (None, Some(last)) => (last != kind && column.is_derived()).then_some(Why::Widened),
        }
    }

    /// Takes note of what a target widened for the values of a batch.
    pub(super) fn widened(&mut self, widened: &[Widened], batch: &Batch, bound: Timestamp) {
        for Widened { column, before, after } in widened {
            if self.known.get(column) == Some(after) {
                continue;
            }
            self.known.insert(column.clone(), after.clone());
            let schema = batch.schema();
            let found = schema.columns.iter().find(|known| known.name == *column);
            self.changes.push(SchemaChange {
                column: column.clone(),
                path: found.map_or_else(|| vec![column.clone()], |found| schema.path_of(found)),
                before: Some(before.clone()),
                after: after.clone(),
                why: Why::Widened,
                at: Timestamp::now(),
                bound,
                first: None,
            });
        }
    }

    /// What is not stored yet, which the caller stores.
    pub(super) fn take_changes(&mut self) -> Vec<SchemaChange> {
        std::mem::take(&mut self.changes)
    }
}

/// When the first row of a batch happened that has a column.
fn first_row(batch: &Batch, column: usize, by: Option<&str>) -> Option<Timestamp> {
    let by = batch.schema().index_of(by?)?;
    let first = batch.rows().find(|row| row.has(column))?;
    match first.value(by, &mut Default::default()) {
        Value::Timestamp(at) => Some(at),
        _ => None,
    }
}
