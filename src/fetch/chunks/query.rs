//! The questions that are asked of the line: how much lies where, and what.

use super::line::Chunk;
use super::plan::{Hashes, Slicing};
use crate::cursor::{Interval, Timestamp};
use crate::fetch::audit::day_of;
use crate::fetch::keyset::{DAY, Query, selected, where_all};
use crate::schema::Schema;
use crate::spec::endpoint::{Chunks, Keyset};

/// More counts than this no server gives at once.
pub(super) const MOST_COUNTS: u64 = 50_000;

/// What is read along the line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wide<'a> {
    /// The table.
    pub(super) keyset: &'a Keyset,
    /// How it is kept.
    pub(super) chunks: &'a Chunks,
    /// When its records happened.
    pub(super) range: Interval,
    /// When they arrived, where that matters.
    pub(super) arrived: Option<Interval>,
}

impl Wide<'_> {
    /// Counts by day and name, perhaps only of some hashes.
    pub(super) fn counts(&self, chunk: &Chunk, hashes: Option<Hashes>) -> Query {
        let mut query = Query::default();
        let mut conditions = self.inside(chunk, &mut query);
        conditions.extend(self.hashes(hashes, &mut query));
        query.text = self.grouped("", &where_all(&conditions));
        query
    }

    /// Counts by day, name and slice of the hash.
    pub(super) fn slices(&self, slicing: &Slicing) -> Query {
        let mut query = Query::default();
        let (first, last) = slicing.days;
        let days = Interval { from: first, to: last.plus(DAY) };
        let from = days.from.max(self.range.from);
        let mut conditions =
            self.within(Interval { from, to: days.to.min(self.range.to) }, &mut query);
        let names: Vec<String> = slicing
            .names
            .iter()
            .enumerate()
            .map(|(n, name)| query.value(&format!("n{n}"), name))
            .collect();
        conditions.push(format!("{} IN ({})", self.name(), names.join(", ")));
        conditions.extend(self.hashes(slicing.within, &mut query));
        let slice = format!("intDiv({}, {})", self.chunks.hash, slicing.step);
        query.text = self.grouped(&slice, &where_all(&conditions));
        query
    }

    /// Counts all.
    pub(super) fn count(&self, chunk: &Chunk) -> Query {
        let mut query = Query::default();
        let condition = where_all(&self.inside(chunk, &mut query));
        query.text = format!("SELECT count() FROM {} {condition}LIMIT 1", self.keyset.from);
        query
    }

    /// Asks for the records, in no order: the store would read more to give them one.
    pub(super) fn records(&self, chunk: &Chunk, schema: &Schema, page: u64) -> Query {
        let mut query = Query::default();
        let condition = where_all(&self.inside(chunk, &mut query));
        let select = selected(self.keyset, schema);
        query.text = format!("SELECT {select} FROM {} {condition}LIMIT {page}", self.keyset.from);
        query
    }

    /// The expression of the name.
    fn name(&self) -> &str {
        self.keyset.expression(&self.chunks.by)
    }

    /// Counts by day, name and perhaps something else.
    fn grouped(&self, more: &str, condition: &str) -> String {
        let (from, name) = (&self.keyset.from, self.name());
        let day = day_of(self.keyset.time.as_deref().unwrap_or_default());
        let (more, by) = match more {
            "" => (String::new(), format!("day, {name}")),
            more => (format!("{more} AS slice, "), format!("day, {name}, slice")),
        };
        format!(
            "SELECT {day} AS day, {name}, {more}count() FROM {from} {condition}GROUP BY {by} ORDER BY {by} LIMIT {MOST_COUNTS}"
        )
    }

    /// What holds in a chunk.
    fn inside(&self, chunk: &Chunk, query: &mut Query) -> Vec<String> {
        let nothing = Interval { from: self.range.from, to: self.range.from };
        let mut conditions = self.within(chunk.window().unwrap_or(nothing), query);
        conditions.extend(chunk.bounds(self.keyset, self.chunks, query));
        conditions
    }

    /// What holds of a stretch of hashes.
    fn hashes(&self, hashes: Option<Hashes>, query: &mut Query) -> Vec<String> {
        let Some((from, to)) = hashes else { return Vec::new() };
        let hash = &self.chunks.hash;
        let from = format!("{hash} >= {}", query.number("hash", from));
        let to = to.map(|to| format!("{hash} < {}", query.number("hash_end", to)));
        std::iter::once(from).chain(to).collect()
    }

    fn within(&self, window: Interval, query: &mut Query) -> Vec<String> {
        let time = self.keyset.time.as_deref().unwrap_or_default();
        let mut conditions = vec![query.within(time, ("from", "to"), window)];
        if let (Some(column), Some(arrived)) = (&self.keyset.arrival, self.arrived) {
            conditions.push(query.within(column, ("arrived_from", "arrived_to"), arrived));
        }
        conditions.extend(self.keyset.filter());
        conditions
    }
}

/// The day that a count is of.
pub(super) fn day(text: &str, within: Interval) -> Option<Timestamp> {
    let day = Timestamp::parse(text).filter(|day| day.day() == text)?;
    (day.plus(DAY) > within.from && day < within.to).then_some(day)
}
