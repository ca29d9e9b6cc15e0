//! How many records lie where on the line, and how much of it to ask for at once.
//!
//! A plan is a list of [`Item`]s in the order of the line, each with its count: all
//! records of a name on a day, or a slice of them by their hash. Chunks are taken
//! from its front, as many items as fit. An item that is too large to fill a chunk
//! well is cut into slices first, where the server can count them. Nothing here asks.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::line::{Place, Point};
use crate::cursor::Timestamp;
use crate::fetch::keyset::DAY;

/// An item that does not fit is cut where it is more than a third of a chunk: so chunks are
/// at least two thirds full.
const WORTH_CUTTING: u64 = 3;

/// A slice is about a sixth of a chunk, so that chunks can be filled and split.
const SLICES_A_CHUNK: u64 = 6;

/// The most slices of one name and day: a single question counts them.
const MOST_SLICES: u64 = 4096;

/// A question for slices has about so many rows in its answer, below any server's limit.
pub(super) const MOST_COUNTED: u64 = 8192;

/// How often an item is cut: a bound for one that a single record's owner fills.
const MOST_CUTS: u8 = 3;

/// Records that lie together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// The instant at which their day begins.
    pub(super) day: Timestamp,
    /// Their name.
    pub(super) name: String,
    /// The least hash.
    pub(super) from: u64,
    /// The first hash behind them; none where they reach to the end.
    pub(super) to: Option<u64>,
    /// How many there are.
    pub(super) rows: u64,
    /// How often it was cut.
    pub(super) cuts: u8,
}

impl Item {
    /// All of a name on a day, from a hash on.
    pub(super) fn whole(day: Timestamp, name: String, from: u64, rows: u64) -> Self {
        Self { day, name, from, to: None, rows, cuts: u8::from(from > 0) }
    }

    /// The place behind it.
    fn end(&self) -> Place {
        Place::Within(Point { day: self.day, name: self.name.clone(), hash: self.to })
    }

    /// Whether its name could not be shown as it is: no place can be named by it.
    pub(super) fn is_repaired(&self) -> bool {
        self.name.contains('\u{fffd}')
    }

    /// Never cuts it again.
    fn keep_whole(&mut self) {
        self.cuts = MOST_CUTS;
    }

    /// Cuts it into what was counted, by the number of each slice. Whatever is counted, the
    /// slices leave nothing of it out.
    fn cut(&self, counted: &[(u64, u64)], step: u64) -> Vec<Self> {
        let mut slices: Vec<Self> = Vec::new();
        for (number, rows) in counted {
            let end = number.checked_add(1).and_then(|next| next.checked_mul(step));
            let from = slices.last().and_then(|last| last.to).unwrap_or(self.from);
            slices.push(Self { from, to: end, rows: *rows, cuts: self.cuts + 1, ..self.clone() });
        }
        let counted: u64 = slices.iter().map(|slice| slice.rows).sum();
        match slices.last_mut() {
            Some(last) => {
                last.to = self.to;
                last.rows += self.rows.saturating_sub(counted);
            }
            None => slices.push(Self { cuts: MOST_CUTS, ..self.clone() }),
        }
        slices
    }
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask for so many items from the front.
    Take(usize),
    /// Count the slices of these.
    Cut(Slicing),
    /// The first item is too large for one answer and cannot be cut.
    WalkInside,
    /// All was taken.
    Nothing,
}

/// Which slices to count.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slicing {
    /// From the first of the items to the last.
    pub(super) items: std::ops::Range<usize>,
    /// The days they lie on, from the first to the last.
    pub(super) days: (Timestamp, Timestamp),
    /// Their names.
    pub(super) names: BTreeSet<String>,
    /// The hashes of a slice that is cut again.
    pub(super) within: Option<Hashes>,
    /// How many hashes make a slice.
    pub(super) step: u64,
}

/// What was counted of the line, from its front.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) items: VecDeque<Item>,
    /// The end of what was counted, where it is known that no count is missing before it.
    end: Option<Timestamp>,
}

impl Plan {
    /// A plan of what was counted. What lies under a name that had to be repaired belongs to the
    /// item behind it; the last item may be such only where its day ends with it.
    pub(super) fn of(counted: Vec<Item>) -> Self {
        let mut items: VecDeque<Item> = VecDeque::new();
        for mut item in counted {
            if items.back().is_some_and(|last| last.is_repaired() && last.day == item.day) {
                item.rows += items.pop_back().map_or(0, |last| last.rows);
            }
            if item.is_repaired() {
                item.keep_whole();
            }
            items.push_back(item);
        }
        // More of its day may follow; it is counted again.
        if items.back().is_some_and(Item::is_repaired) {
            items.pop_back();
        }
        Self { items, end: None }
    }

    /// Notes where what was counted ends, if it is known to be all.
    pub(super) fn ends_at(&mut self, end: Timestamp, is_all: bool) {
        self.end = self.end.or_else(|| is_all.then_some(end));
    }

    /// What to do next once the first `done` items are, where a chunk may have `limit` rows, and
    /// so many slices may be counted at once, if at all.
    pub(super) fn next_behind(&self, done: usize, limit: u64, counted: Option<u64>) -> Next {
        let mut rows = 0;
        for (at, item) in self.items.iter().enumerate().skip(done) {
            if rows + item.rows > limit {
                let is_worth = at == done || item.rows > limit / WORTH_CUTTING;
                return match (counted, at - done) {
                    (Some(counted), _) if is_worth && item.cuts < MOST_CUTS => {
                        Next::Cut(self.slicing(at, limit, counted))
                    }
                    (_, 0) => Next::WalkInside,
                    (_, n) => Next::Take(n),
                };
            }
            rows += item.rows;
        }
        match self.items.len().saturating_sub(done) {
            0 => Next::Nothing,
            n => Next::Take(n),
        }
    }

    /// Whether it is known by now where the first `n` items end.
    pub(super) fn is_sure_of(&self, n: usize) -> bool {
        n < self.items.len() || self.end.is_some()
    }

    /// The slices to count of the `n`-th item, and of others behind it that need it too.
    fn slicing(&self, n: usize, limit: u64, counted: u64) -> Slicing {
        let first = &self.items[n];
        let mut slicing = Slicing {
            items: n..n + 1,
            days: (first.day, first.day),
            names: BTreeSet::from([first.name.clone()]),
            within: None,
            step: step(first.rows, limit),
        };
        if first.cuts > 0 {
            slicing.within = Some((first.from, first.to));
            let size = first.to.unwrap_or(u64::MAX) - first.from;
            slicing.step = (size / 256).max(1).next_power_of_two();
            return slicing;
        }
        for (at, item) in self.items.iter().enumerate().skip(n + 1) {
            if item.cuts > 0 || item.rows <= limit / WORTH_CUTTING {
                continue;
            }
            let finer = slicing.step.min(step(item.rows, limit));
            let is_new = !slicing.names.contains(&item.name);
            let names = (slicing.names.len() + usize::from(is_new)) as u64;
            let days = item.day.since(first.day).as_secs() / DAY.as_secs() + 1;
            if days * names * (u64::MAX / finer + 1) > counted {
                break;
            }
            slicing.names.insert(item.name.clone());
            (slicing.step, slicing.days.1, slicing.items.end) = (finer, item.day, at + 1);
        }
        slicing
    }

    /// Puts the slices in the place of their items: by day and name, number and count.
    pub(super) fn cut(&mut self, slicing: &Slicing, counted: &Slices) {
        let tail = self.items.split_off(slicing.items.end);
        let cut = self.items.split_off(slicing.items.start);
        for (n, item) in cut.into_iter().enumerate() {
            match counted.get(&(item.day, item.name.clone())) {
                Some(slices) if n == 0 || item.cuts == 0 => {
                    self.items.extend(item.cut(slices, slicing.step));
                }
                // It is gone since it was counted.
                None if n == 0 => self.items.extend(item.cut(&[], slicing.step)),
                _ => self.items.push_back(item),
            }
        }
        self.items.extend(tail);
    }

    /// Cuts an item in two whose slices cannot be counted: each is taken to hold half of it.
    pub(super) fn halve(&mut self, n: usize) {
        let item = &mut self.items[n];
        let size = item.to.unwrap_or(u64::MAX) - item.from;
        if size < 2 || item.rows < 2 {
            return item.keep_whole();
        }
        let middle = item.from + size / 2;
        let behind =
            Item { from: middle, rows: item.rows / 2, cuts: item.cuts.max(1), ..item.clone() };
        (item.to, item.cuts) = (Some(middle), behind.cuts);
        item.rows -= behind.rows;
        self.items.insert(n + 1, behind);
    }

    /// How many rows the first `n` items have, at least one, and the place behind them.
    pub(super) fn first(&self, n: usize) -> (u64, Place) {
        self.behind(0, n)
    }

    /// The same of `n` items behind the first `done` ones.
    pub(super) fn behind(&self, done: usize, n: usize) -> (u64, Place) {
        let rows = self.items.iter().skip(done).take(n).map(|item| item.rows).sum();
        let last = &self.items[done + n - 1];
        let end = match (self.items.get(done + n), self.end) {
            (Some(next), _) if next.day > last.day => Place::At(next.day),
            (None, Some(end)) => Place::At(end),
            _ => last.end(),
        };
        (rows, end)
    }
}

/// A stretch of hashes: the first, and the first one behind it, where it does not reach to the end.
pub(super) type Hashes = (u64, Option<u64>);

/// All hashes in so many parts, a power of two.
pub(super) fn parts(count: u64) -> impl Iterator<Item = Hashes> {
    let size = u64::MAX / count + 1;
    (0..count).map(move |n| (n * size, (n + 1 < count).then(|| (n + 1) * size)))
}

/// Slices by day and name: their numbers and counts, ascending.
pub(super) type Slices = HashMap<(Timestamp, String), Vec<(u64, u64)>>;

/// How many hashes make a slice of an item.
fn step(rows: u64, limit: u64) -> u64 {
    let slices = (rows.saturating_mul(SLICES_A_CHUNK) / limit.max(1)).next_power_of_two();
    // At least 4, so that a step is a number that every server can read.
    (1 << 62) / (slices.clamp(4, MOST_SLICES) / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(n: u32) -> Timestamp {
        Timestamp::parse("2026-03-01").unwrap().plus(DAY * n)
    }

    /// A plan of whole items: day, name, count.
    fn plan(items: &[(u32, &str, u64)]) -> Plan {
        let item =
            |(n, name, rows): &(u32, &str, u64)| Item::whole(day(*n), (*name).to_owned(), 0, *rows);
        Plan { end: Some(day(9)), ..Plan::of(items.iter().map(item).collect()) }
    }

    #[test]
    fn small_items_share_a_chunk_also_over_days() {
        let plan = plan(&[(0, "a", 10), (0, "b", 20), (1, "a", 30), (1, "b", 30), (1, "c", 30)]);

        assert_eq!(plan.next_behind(0, 100, Some(MOST_COUNTED)), Next::Take(4));
        let point = Point { day: day(1), name: "b".into(), hash: None };
        assert_eq!(plan.first(4), (90, Place::Within(point)));
        assert_eq!(plan.first(2), (30, Place::At(day(1))), "the day is done");
        assert_eq!(plan.first(5), (120, Place::At(day(9))), "all is done");
    }

    #[test]
    fn large_items_are_cut_in_one_question() {
        let plan = plan(&[(0, "a", 90), (0, "b", 50), (1, "a", 5), (1, "b", 400), (2, "c", 3)]);

        let Next::Cut(slicing) = plan.next_behind(0, 100, Some(MOST_COUNTED)) else {
            panic!("`b` was not cut")
        };

        assert_eq!(slicing.items, 1..4);
        assert_eq!(slicing.days, (day(0), day(1)));
        assert_eq!(slicing.names, BTreeSet::from(["b".to_owned()]));
        assert_eq!(slicing.step, 1 << (64 - 5), "24 slices or more of the largest");
        assert_eq!(plan.next_behind(0, 100, None), Next::Take(1), "where it cannot be cut");
    }

    #[test]
    fn slices_leave_nothing_of_an_item_out() {
        let mut plan = plan(&[(0, "a", 30), (0, "b", 300), (0, "c", 30)]);
        let Next::Cut(slicing) = plan.next_behind(0, 100, Some(MOST_COUNTED)) else {
            panic!("`b` was not cut")
        };
        // Two slices hold nothing, and 20 rows were not there when the slices were counted.
        let counted = HashMap::from([((day(0), "b".to_owned()), vec![(1, 80), (2, 90), (5, 110)])]);

        plan.cut(&slicing, &counted);

        let step = slicing.step;
        let found = plan.items.iter().map(|item| (item.name.as_str(), item.from, item.to));
        assert_eq!(
            found.collect::<Vec<_>>(),
            [
                ("a", 0, None),
                ("b", 0, Some(2 * step)),
                ("b", 2 * step, Some(3 * step)),
                ("b", 3 * step, None),
                ("c", 0, None)
            ]
        );
        assert_eq!(plan.items.iter().map(|item| item.rows).sum::<u64>(), 360);
    }

    #[test]
    fn what_cannot_be_cut_is_walked_inside() {
        let mut plan = plan(&[(0, "a", 300)]);
        assert_eq!(plan.next_behind(0, 100, None), Next::WalkInside);
        let mut cuts = 0;
        // All belongs to one owner: every cut finds one slice.
        while let Next::Cut(slicing) = plan.next_behind(0, 100, Some(MOST_COUNTED)) {
            let number = (1 << 63) / slicing.step;
            let counted = HashMap::from([((day(0), "a".to_owned()), vec![(number, 300)])]);
            plan.cut(&slicing, &counted);
            cuts += 1;
        }

        assert_eq!((cuts, plan.next_behind(0, 100, Some(MOST_COUNTED))), (3, Next::WalkInside));
        assert_eq!((plan.items[0].from, plan.items[0].to), (0, None));
    }

    #[test]
    fn no_chunk_ends_at_a_name_that_had_to_be_repaired() {
        let plan = plan(&[
            (0, "a", 50),
            (0, "\u{fffd}", 40),
            (0, "b", 30),
            (1, "\u{fffd}", 90),
            (2, "c", 1),
            (3, "\u{fffd}", 5),
        ]);

        let items = plan.items.iter().map(|item| (item.name.as_str(), item.rows));
        assert_eq!(items.collect::<Vec<_>>(), [("a", 50), ("b", 70), ("\u{fffd}", 90), ("c", 1)]);
        assert_eq!(plan.first(3), (210, Place::At(day(2))), "its day ends with it");
    }

    #[test]
    fn what_cannot_be_counted_is_halved() {
        let mut plan = plan(&[(0, "a", 301)]);
        plan.halve(0);
        plan.halve(1);

        let found = plan.items.iter().map(|item| (item.from, item.to, item.rows));
        let (half, most) = (u64::MAX / 2, u64::MAX / 2 + u64::MAX / 4 + 1);
        assert_eq!(
            found.collect::<Vec<_>>(),
            [(0, Some(half), 151), (half, Some(most), 75), (most, None, 75)]
        );
        let parts: Vec<Hashes> = parts(4).collect();
        assert_eq!((parts[0], parts[3]), ((0, Some(1 << 62)), (3 << 62, None)));
    }

    #[test]
    fn nothing_is_left_of_an_empty_plan() {
        assert_eq!(plan(&[]).next_behind(0, 100, Some(MOST_COUNTED)), Next::Nothing);
    }
}
