//! Counting what lies ahead on the line.
//!
//! Counts are asked for days at a time, fewer of them where that is too much, and a day in
//! parts by its hash. They only say where to cut and what to expect; who takes a chunk
//! for whole does not rely on them alone.

use std::collections::BTreeMap;

use super::Walk;
use super::line::{Chunk, Place};
use super::plan::{self, Item, Plan, Slices, Slicing};
use super::query::{self, MOST_COUNTS};
use crate::cursor::Interval;
use crate::fetch::keyset::DAY;
use crate::fetch::{FetchError, Reader};

/// A day that is too much to count in so many parts is not counted.
const MOST_PARTS: u64 = 256;

impl Reader<'_> {
    /// Whether the server gave a larger answer than one of so many counts, which then is all.
    pub(super) fn has_shown_more(&self, counts: u64) -> bool {
        counts < self.dialect.has_shown(0).min(MOST_COUNTS)
    }

    /// Counts what lies on the days ahead, on fewer of them where that is too much to ask. Tells
    /// how many counts there were; nothing where they cannot be counted.
    pub(super) async fn count(&mut self, walk: &mut Walk<'_>) -> Result<Option<u64>, FetchError> {
        loop {
            let end = walk.end();
            let by_hash = self.dialect.has_hashes();
            let chunk = walk.chunk(Place::At(end), by_hash);
            let (rows, counts) = match self.ask_counts(walk, &chunk).await {
                Err(err) if err.asks_too_much() && walk.days > 1 => {
                    let span = end.since(walk.place.from()).as_secs() / DAY.as_secs();
                    walk.days = (walk.days.min(span + 1) / 2).max(1);
                    continue;
                }
                Err(err) if err.asks_too_much() && by_hash && walk.parts < MOST_PARTS => {
                    walk.parts *= 4;
                    continue;
                }
                // A server that cannot count can still be walked by key.
                Err(err) if err.asks_too_much() || err.is_refusal() && !walk.needs_hash() => {
                    return Ok(None);
                }
                Err(err) if err.is_refusal() && by_hash && walk.needs_hash() => {
                    self.dialect.forget_hashes();
                    walk.parts = 1;
                    continue;
                }
                other => other?,
            };
            self.dialect.has_shown(counts);
            let items = items_of(rows, &walk.place, chunk.window()).ok_or_else(|| {
                let detail = "counts are not of the days asked for, in their order";
                self.contract(&self.sql_request(&walk.wide.counts(&chunk, None)), detail)
            })?;
            walk.plan = Plan::of(items);
            walk.plan.ends_at(end, self.has_shown_more(counts));
            return Ok(Some(counts));
        }
    }

    /// Counts by day and name, a part of the hashes after the other where all are too much to
    /// ask. Tells the counts and how many the largest answer had.
    async fn ask_counts(
        &mut self,
        walk: &Walk<'_>,
        chunk: &Chunk,
    ) -> Result<(Vec<[String; 3]>, u64), FetchError> {
        if walk.parts == 1 {
            let rows = self.ask_texts(&walk.wide.counts(chunk, None)).await?;
            let counts = rows.len() as u64;
            return Ok((rows, counts));
        }
        let (mut sums, mut largest) = (BTreeMap::<_, u64>::new(), 0);
        for hashes in plan::parts(walk.parts) {
            let query = walk.wide.counts(chunk, Some(hashes));
            let rows = self.ask_texts::<3>(&query).await?;
            largest = largest.max(rows.len() as u64);
            for [day, name, count] in rows {
                *sums.entry((day, name)).or_default() += count.parse().unwrap_or(0);
            }
        }
        let rows = sums.into_iter().map(|((day, name), sum)| [day, name, sum.to_string()]);
        Ok((rows.collect(), largest))
    }

    /// Counts slices of large items.
    pub(super) async fn cut(
        &mut self,
        walk: &mut Walk<'_>,
        slicing: Slicing,
    ) -> Result<(), FetchError> {
        let query = walk.wide.slices(&slicing);
        let rows = match self.ask_texts::<4>(&query).await {
            Err(err) if err.is_refusal() => {
                self.dialect.forget_hashes();
                return Ok(());
            }
            Err(err) if err.asks_too_much() => {
                walk.slices /= 4;
                if slicing.items.len() == 1 {
                    walk.plan.halve(slicing.items.start);
                }
                return Ok(());
            }
            other => other?,
        };
        let slices = slices_of(rows, walk.wide.range).ok_or_else(|| {
            let detail = "slices are not of the days asked for, in their order";
            self.contract(&self.sql_request(&query), detail)
        })?;
        walk.plan.cut(&slicing, &slices);
        Ok(())
    }

    /// How many rows a chunk has by now.
    pub(super) async fn count_again(
        &mut self,
        walk: &Walk<'_>,
        chunk: &Chunk,
    ) -> Result<u64, FetchError> {
        let query = walk.wide.count(chunk);
        let rows = self.ask_texts::<1>(&query).await?;
        let count = rows.first().and_then(|[count]| count.parse().ok());
        count.ok_or_else(|| self.contract(&self.sql_request(&query), "a count is no number"))
    }
}

/// What was counted, in the order of the line; nothing where it is not in order.
fn items_of(rows: Vec<[String; 3]>, place: &Place, window: Option<Interval>) -> Option<Vec<Item>> {
    let mut items: Vec<Item> = Vec::new();
    for [day, name, count] in rows {
        let day = query::day(&day, window?)?;
        let begun = match place {
            Place::Within(point) if point.day == day && point.name == name => point.hash,
            _ => None,
        };
        let item = Item::whole(day, name, begun.unwrap_or(0), count.parse().ok()?);
        let is_after = |last: &Item| match last.is_repaired() || item.is_repaired() {
            true => last.day <= item.day,
            false => (last.day, &last.name) < (item.day, &item.name),
        };
        if !items.last().is_none_or(is_after) {
            return None;
        }
        items.push(item);
    }
    Some(items)
}

/// The slices that were counted; nothing where they are not in order.
fn slices_of(rows: Vec<[String; 4]>, range: Interval) -> Option<Slices> {
    let mut slices = Slices::new();
    for [day, name, number, count] in rows {
        let (number, count) = (number.parse().ok()?, count.parse().ok()?);
        let of_item = slices.entry((query::day(&day, range)?, name)).or_default();
        if of_item.last().is_some_and(|(last, _)| *last >= number) {
            return None;
        }
        of_item.push((number, count));
    }
    Some(slices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Timestamp;

    #[test]
    fn counts_out_of_order_are_refused() {
        let start = Timestamp::from_micros(0);
        let window = Interval::new(start, start.plus(DAY * 2));
        let items = |rows: &[(&str, &str)]| {
            let row = |(day, name): &(&str, &str)| [(*day).into(), (*name).into(), "1".into()];
            items_of(rows.iter().map(row).collect(), &Place::At(start), window).is_some()
        };

        assert!(items(&[("1970-01-01", "a"), ("1970-01-01", "b"), ("1970-01-02", "a")]));
        assert!(!items(&[("1970-01-01", "b"), ("1970-01-01", "a")]));
        assert!(!items(&[("1970-01-03", "a")]), "not a day that was asked for");
    }
}
