//! Guards the order of rows that are asked for by key.
//!
//! A walk goes on after the last row it received, so a row out of place would take the
//! walk past others unseen. Every row must come after the key that was asked with, not
//! before the one above it, and inside the window.

use std::borrow::Cow;

use super::page::Watch;
use crate::cursor::{Interval, Timestamp};
use crate::record::split::{RowView, Verdict};
use crate::schema::{ColumnType, Schema};
use crate::spec::endpoint::Keyset;

/// Watches one page.
pub(super) struct Order {
    /// The key's columns, and whether each is a time.
    columns: Vec<(usize, bool)>,
    /// The row that this page comes after.
    after: Option<Vec<String>>,
    window: Option<Interval>,
    /// Rows wait until the page is whole.
    hold: bool,
    last: Option<Vec<String>>,
    astray: Option<&'static str>,
}

impl Order {
    pub(super) fn new(keyset: &Keyset, schema: &Schema, after: Option<Vec<String>>) -> Self {
        let column = |(name, _): &(String, String)| {
            let column = schema.index_of(name)?;
            Some((column, schema.columns[column].kind == ColumnType::Timestamp))
        };
        let columns = keyset.key.iter().filter_map(column).collect();
        Self { columns, after, window: None, hold: false, last: None, astray: None }
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
        let (column, is_time) = self.columns[nth];
        match row.timestamp(column).filter(|_| is_time) {
            Some(at) => Cow::Owned(at.to_string()),
            None => row.text(column).unwrap_or_default(),
        }
    }

    /// What is wrong with a row, given its key and that of the row above it.
    fn judge(&self, parts: &[Cow<'_, str>], row: &RowView<'_>) -> Option<&'static str> {
        let key = || parts.iter().map(AsRef::as_ref);
        let time = self.columns.first().and_then(|(column, _)| row.timestamp(*column));
        let outside = |window: &Interval| {
            time.is_none_or(|at: Timestamp| at < window.from || at >= window.to)
        };
        match (&self.last, &self.after) {
            _ if self.window.as_ref().is_some_and(outside) => {
                Some("a row lies outside of the window asked for")
            }
            (Some(last), _) if key().lt(last.iter().map(String::as_str)) => {
                Some("rows are not in the order asked for")
            }
            (None, Some(after)) if key().le(after.iter().map(String::as_str)) => {
                Some("a row does not come after the key asked with")
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
