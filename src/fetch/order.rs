//! Guards the order of rows that are asked for by key.
//!
//! A walk goes on after the last row it received, so a row out of place would take the
//! walk past others unseen. Every row must come after the key that was asked with, not
//! before the one above it, and inside the window.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::page::Watch;
use crate::cursor::{Interval, Timestamp};
use crate::record::split::{RowView, Verdict};
use crate::schema::{ColumnType, Schema};
use crate::spec::endpoint::Keyset;

/// Watches one page.
pub(super) struct Order {
    /// The key's columns and their types.
    columns: Vec<(usize, ColumnType)>,
    /// The row that this page comes after.
    after: Option<Vec<String>>,
    window: Option<Interval>,
    /// No two rows may have one key.
    is_unique: bool,
    /// Rows wait until the page is whole.
    hold: bool,
    last: Option<Vec<String>>,
    astray: Option<&'static str>,
}

impl Order {
    pub(super) fn new(keyset: &Keyset, schema: &Schema, after: Option<Vec<String>>) -> Self {
        let column = |(name, _): &(String, String)| {
            let column = schema.index_of(name)?;
            Some((column, schema.columns[column].kind))
        };
        let columns = keyset.key.iter().filter_map(column).collect();
        Self {
            columns,
            after,
            window: None,
            is_unique: keyset.is_unique,
            hold: false,
            last: None,
            astray: None,
        }
    }

    /// Rows must lie inside a window, by the first part of the key.
    pub(super) fn within(mut self, window: Option<Interval>) -> Self {
        self.window = window;
        self
    }

    /// Hands nothing on before the page is whole.
    pub(super) fn holding(mut self, hold: bool) -> Self {
        self.hold = hold;
        self
    }

    /// The key of the last row; nothing where there was no row.
    ///
    /// # Errors
    /// Says what is wrong with the page's order.
    pub(super) fn into_last(self) -> Result<Option<Vec<String>>, &'static str> {
        match self.astray {
            Some(why) => Err(why),
            None => Ok(self.last),
        }
    }

    /// A part of the key in the form that is stored and asked with.
    fn part<'r>(&self, nth: usize, row: &RowView<'r>) -> Cow<'r, str> {
        let (column, kind) = self.columns[nth];
        match row.timestamp(column).filter(|_| kind == ColumnType::Timestamp) {
            Some(at) => Cow::Owned(at.to_string()),
            None => row.text(column).unwrap_or_default(),
        }
    }

    /// How the store orders two keys: numbers by their size, everything else by its bytes.
    fn order(&self, one: &[Cow<'_, str>], other: &[String]) -> Ordering {
        let parts = self.columns.iter().zip(one.iter().zip(other));
        let mut orders = parts.map(|((_, kind), (one, other))| {
            let numbers = || one.parse::<i128>().ok().zip(other.parse::<i128>().ok());
            match kind {
                ColumnType::Bigint | ColumnType::Numeric => numbers(),
                _ => None,
            }
            .map_or_else(|| one.as_ref().cmp(other), |(one, other)| one.cmp(&other))
        });
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// What is wrong with a row, given its key and that of the row above it.
    fn judge(&self, parts: &[Cow<'_, str>], row: &RowView<'_>) -> Option<&'static str> {
        let time = self.columns.first().and_then(|(column, _)| row.timestamp(*column));
        let outside = |window: &Interval| {
            time.is_none_or(|at: Timestamp| at < window.from || at >= window.to)
        };
        if self.window.as_ref().is_some_and(outside) {
            return Some("a row lies outside of the window asked for");
        }
        let Some(last) = &self.last else {
            let after = self.after.as_ref();
            return after
                .is_some_and(|after| self.order(parts, after).is_le())
                .then_some("a row does not come after the key asked with");
        };
        match self.order(parts, last) {
            Ordering::Less => Some("rows are not in the order asked for"),
            Ordering::Equal if self.is_unique => {
                Some("two rows have the same primary_key: name all columns that tell them apart")
            }
            _ => None,
        }
    }
}

impl Watch for Order {
    fn restart(&mut self) {
        self.last = None;
        self.astray = None;
    }

    fn row(&mut self, row: RowView<'_>) -> Verdict {
        let parts: Vec<Cow<'_, str>> =
            (0..self.columns.len()).map(|nth| self.part(nth, &row)).collect();
        self.astray = self.astray.or_else(|| self.judge(&parts, &row));
        match &mut self.last {
            None => self.last = Some(parts.into_iter().map(Cow::into_owned).collect()),
            Some(last) => {
                for (last, part) in last.iter_mut().zip(parts) {
                    last.clear();
                    last.push_str(&part);
                }
            }
        }
        Verdict::Keep
    }

    fn ready(&self, waiting: usize) -> usize {
        if self.hold { 0 } else { waiting }
    }
}
