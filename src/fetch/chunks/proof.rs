//! What proves that an answer is the whole of its chunk, and nothing else.

use super::line::Chunk;
use super::query::Wide;
use crate::fetch::page::Watch;
use crate::record::split::{RowView, Verdict};
use crate::schema::Schema;

/// Whether an answer is whole: it has as many rows as were counted, and is smaller than what
/// the server was `shown` to give at once, or exactly as large as counted. No limit is an odd
/// number, so it is not one that happens to be that count while more arrived.
pub(super) fn is_proven(rows: u64, counted: u64, shown: u64) -> bool {
    rows >= counted && (rows < shown || rows == counted && !rows.is_multiple_of(10))
}

/// The same, once its rows were counted again after it: copies may have merged, rows arrived.
pub(super) fn is_proven_by(rows: u64, (before, after): (u64, u64), shown: u64) -> bool {
    rows >= after && (rows < shown || !rows.is_multiple_of(10) || rows == before)
}

/// Sees that every row lies in its chunk.
pub(super) struct Inside<'a> {
    chunk: &'a Chunk,
    time: Option<usize>,
    name: Option<usize>,
    /// Whether one did not.
    pub(super) is_astray: bool,
}

impl<'a> Inside<'a> {
    pub(super) fn of(chunk: &'a Chunk, wide: Wide<'_>, schema: &Schema) -> Self {
        let time = wide.keyset.time.as_ref().and_then(|time| schema.index_of(time));
        Self { chunk, time, name: schema.index_of(&wide.chunks.by), is_astray: false }
    }
}

impl Watch for Inside<'_> {
    fn restart(&mut self) {
        self.is_astray = false;
    }

    fn row(&mut self, row: RowView<'_>) -> Verdict {
        let name = self.name.and_then(|name| row.text(name)).unwrap_or_default();
        let at = self.time.and_then(|time| row.timestamp(time));
        self.is_astray |= !at.is_some_and(|at| self.chunk.holds(at, &name));
        Verdict::Keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_where_the_server_cannot_have_cut_it() {
        for (rows, counted, shown, proven) in [
            (900, 900, 5000, true),
            // Rows arrived since they were counted.
            (905, 900, 5000, true),
            (899, 900, 5000, false),
            // Nobody knows yet that the server gives so many.
            (905, 900, 0, false),
            (901, 901, 0, true),
            // Its limit may be this very number.
            (900, 900, 0, false),
            (900, 900, 900, false),
        ] {
            assert_eq!(is_proven(rows, counted, shown), proven, "{rows} {counted} {shown}");
        }
    }

    #[test]
    fn an_answer_in_doubt_is_whole_where_no_more_is_counted_after_it() {
        for (rows, before, after, shown, proven) in [
            // Copies merged.
            (895, 900, 895, 0, true),
            (890, 900, 890, 5000, true),
            // Cut, whatever merged.
            (895, 900, 900, 0, false),
            // It may be cut at a limit of 890, and copies merged since.
            (890, 900, 890, 0, false),
            (900, 900, 900, 0, true),
            (900, 900, 901, 0, false),
        ] {
            let counts = (before, after);
            assert_eq!(is_proven_by(rows, counts, shown), proven, "{rows} {counts:?} {shown}");
        }
    }
}
