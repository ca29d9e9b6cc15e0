//! Wide ranges, read in the order in which PostHog's store keeps them.
//!
//! The store keeps events by UTC day, name and hash of the distinct id, so a page of the
//! next 50,000 events in time makes it read the whole day. A chunk, a stretch of that very
//! order, makes it read little but the chunk. Aggregates count what lies where ([`plan`]);
//! chunks are then taken from the front of what was counted, each asked for without an
//! order, proven whole, and committed as a whole together with the place it ends at.
//!
//! What proves that nothing is left out:
//! - *Between chunks.* Each begins at the very place ([`Place`]) at which the one before it ended,
//!   and the last ends with the range. Counts only say where to cut: what nobody counted,
//!   a name that came up since or one that had to be repaired to be shown, lies in a chunk too.
//! - *In a chunk.* Its answer has at least as many rows as were counted with the same
//!   conditions, and was not cut: the server lowers `LIMIT` without a word, but not below
//!   the size of an answer it gave before ([`is_proven`]). Fewer rows than counted are counted again,
//!   since the store merges copies; the same size twice is the server's limit (then chunks
//!   get smaller), anything else an error.
//! - *In the counts.* They come in pages too: another is asked for behind the last one counted,
//!   unless the server has shown a larger answer than this one.
//! - *After the count.* Rows that arrive later lie anywhere, also before the place reached; so
//!   they do in a walk by key. Both ask for all that the store shows when the run's bound has
//!   passed; what it shows later arrived after the bound, or at most the overlap before it,
//!   and is asked for by its arrival in the next run. The position's invariant needs no more.
//!
//! The next chunk is asked for while one arrives, but its answer is not read before that is durable.
//! Where a chunk is too much for the server it is halved; where one hash holds too much, or
//! the server knows no hash, what is left is walked by key inside of it.

mod count;
mod line;
mod plan;
mod proof;
mod query;

use super::keyset::{DAY, Extent};
use super::{Delivery, FetchError, Reader};
use crate::cursor::{Interval, Timestamp};
use crate::http::Request;
use crate::spec::endpoint::Keyset;

pub(super) use line::Chunk;
use line::{Place, Standing, is_on_line};
use plan::{MOST_COUNTED, Next, Plan};
use proof::{Inside, is_proven, is_proven_by};
use query::Wide;

/// So often a chunk may be answered by fewer rows than it has.
const MOST_SHORT: u32 = 3;

/// A walk along the line.
struct Walk<'a> {
    wide: Wide<'a>,
    /// All before it is durable.
    place: Place,
    plan: Plan,
    /// How many days are counted at once.
    days: u64,
    /// In how many parts, by their hash, a day is counted.
    parts: u64,
    /// How many slices are counted at once.
    slices: u64,
    /// How many rows a chunk may have, where that is less than the spec says.
    limit: u64,
    /// What is wrong with the last answer, where it was not whole.
    short: Option<Short>,
}

/// An answer that is not proven whole.
#[derive(Clone, Copy)]
struct Short {
    /// How many rows it had.
    rows: u64,
    /// How many its chunk had when they were counted after it.
    counted: u64,
    /// How many answers in a row were so.
    times: u32,
}

impl Walk<'_> {
    /// What lies between the place reached and another one.
    fn chunk(&self, to: Place, by_hash: bool) -> Chunk {
        Chunk { range: self.wide.range, from: self.place.clone(), to, by_hash }
    }

    /// Whether counting it needs the hash.
    fn needs_hash(&self) -> bool {
        self.place.has_hash() || self.parts > 1
    }

    /// The end of the days to count next.
    fn end(&self) -> Timestamp {
        let day = Timestamp::parse(&self.place.from().day()).unwrap_or(self.wide.range.from);
        let days = DAY.saturating_mul(u32::try_from(self.days).unwrap_or(u32::MAX));
        day.plus(days).min(self.wide.range.to)
    }

    /// Takes smaller chunks from now on: this one, of `n` items, is too much for the server.
    fn ask_less(&mut self, n: usize) {
        let (rows, _) = self.plan.first(n);
        self.limit = if n > 1 { rows / 2 } else { rows.saturating_sub(1) };
    }

    /// Goes on behind the first `n` items, and dares more again.
    fn advance(&mut self, n: usize, to: Place) {
        self.plan.items.drain(..n);
        self.place = to;
        self.limit = self.next_limit();
        self.short = None;
    }

    /// How many rows the next chunk may have, when the one in hand is whole.
    fn next_limit(&self) -> u64 {
        self.limit.saturating_add(self.limit / 4 + 1).min(self.wide.chunks.rows)
    }
}

impl Reader<'_> {
    /// Reads a range of time: by key, and in chunks where it is a day or longer, too much to
    /// ask by key, or not over after many rows.
    pub(super) async fn walk_range(
        &mut self,
        keyset: &Keyset,
        range: Interval,
        arrived: Option<Interval>,
        at: Option<Vec<String>>,
    ) -> Result<(), FetchError> {
        // A few rows that are named need no chunks.
        let may_stop = keyset.chunks.is_some() && self.among.is_none();
        let extent = Extent { range: Some(range), arrived, inside: None, may_stop };
        let is_wide = arrived.is_none() && range.length() >= DAY;
        if may_stop && (is_wide || is_on_line(at.as_ref(), keyset.key.len())) {
            return self.walk_chunks(keyset, range, arrived, at).await;
        }
        match self.walk_key(keyset, extent, at).await? {
            None => Ok(()),
            Some(from) => {
                self.walk_chunks(keyset, range, arrived, Some(vec![from.to_string()])).await
            }
        }
    }

    async fn walk_chunks(
        &mut self,
        keyset: &Keyset,
        range: Interval,
        arrived: Option<Interval>,
        at: Option<Vec<String>>,
    ) -> Result<(), FetchError> {
        let Some(chunks) = &keyset.chunks else { return Ok(()) };
        let Standing { place, inside } = Standing::of(at, range.from, keyset.key.len());
        let mut walk = Walk {
            wide: Wide { keyset, chunks, range, arrived },
            place,
            plan: Plan::default(),
            days: range.length().as_secs() / DAY.as_secs() + 2,
            parts: 1,
            slices: MOST_COUNTED,
            limit: chunks.rows,
            short: None,
        };
        if let Some((to, key)) = inside {
            self.walk_inside(&mut walk, to, Some(key)).await?;
        }
        while walk.place.from() < range.to {
            match self.count(&mut walk).await? {
                None => {
                    let end = Place::At(walk.end());
                    self.walk_inside(&mut walk, end, None).await?;
                }
                Some(0) => walk.place = Place::At(walk.end()),
                Some(counts) => {
                    let end = walk.end();
                    if walk.plan.items.is_empty() {
                        self.walk_inside(&mut walk, Place::At(end), None).await?;
                    }
                    while self.take_next(&mut walk).await? {
                        // By now the server may have shown a larger answer than the counts.
                        walk.plan.ends_at(end, self.has_shown_more(counts));
                    }
                }
            }
        }
        Ok(())
    }

    /// Does what comes next; false when all that was counted is durable.
    async fn take_next(&mut self, walk: &mut Walk<'_>) -> Result<bool, FetchError> {
        match self.next_of(walk, 0, walk.limit) {
            Next::Nothing => return Ok(false),
            Next::Cut(slicing) => self.cut(walk, slicing).await?,
            Next::Take(n) => self.take(walk, n).await?,
            Next::WalkInside => {
                let day = walk.plan.items.front().map_or(walk.place.from(), |item| item.day);
                if walk.place.from() < day {
                    walk.place = Place::At(day);
                }
                let (_, to) = walk.plan.first(1);
                self.walk_inside(walk, to, None).await?;
                walk.plan.items.pop_front();
            }
        }
        Ok(true)
    }

    /// What comes next behind the first `n` items.
    fn next_of(&self, walk: &Walk<'_>, n: usize, limit: u64) -> Next {
        let most = self.path.page_size.min(self.dialect.cap() / 10 * 9).max(1);
        let counted = self.dialect.has_hashes().then_some(walk.slices);
        walk.plan.next_behind(n, limit.min(most), counted)
    }

    /// The question for the chunk behind the first `n` items, where it is sure to come next if
    /// those are whole.
    fn foresee(&self, walk: &Walk<'_>, n: usize) -> Option<Request> {
        let Next::Take(more) = self.next_of(walk, n, walk.next_limit()) else { return None };
        if !walk.plan.is_sure_of(n + more) {
            return None;
        }
        let ((_, from), (_, to)) = (walk.plan.first(n), walk.plan.behind(n, more));
        let chunk = Chunk { from, ..walk.chunk(to, self.dialect.has_hashes()) };
        Some(self.chunk_request(walk, &chunk))
    }

    fn chunk_request(&self, walk: &Walk<'_>, chunk: &Chunk) -> Request {
        self.sql_request(&walk.wide.records(chunk, self.schema(), self.path.page_size))
    }

    /// Asks for a chunk, and hands it on where it is whole.
    async fn take(&mut self, walk: &mut Walk<'_>, n: usize) -> Result<(), FetchError> {
        let (counted, to) = walk.plan.first(n);
        let chunk = walk.chunk(to, self.dialect.has_hashes());
        let request = self.chunk_request(walk, &chunk);
        self.foreseen = self.foresee(walk, n);
        let mut watch = Inside::of(&chunk, walk.wide, self.schema());
        let rows = match self.ask_sql(&request, &mut watch).await {
            Err(err) if err.asks_too_much() => {
                walk.ask_less(n);
                return Ok(());
            }
            other => other?.rows,
        };
        if watch.is_astray {
            return Err(self.contract(&request, "a row lies outside of the chunk asked for"));
        }
        let shown = self.dialect.has_shown(rows).min(self.path.page_size);
        let counted = walk.short.map_or(counted, |short| short.counted);
        let mut is_whole = is_proven(rows, counted, shown);
        if !is_whole {
            self.foreseen = self.foresee(walk, n);
            let again = match self.count_again(walk, &chunk).await {
                Err(err) if err.asks_too_much() => {
                    walk.ask_less(n);
                    return Ok(());
                }
                counted => counted?,
            };
            is_whole = is_proven_by(rows, (counted, again), shown);
            if !is_whole {
                return self.refuse(walk, &request, rows, again).await;
            }
        }
        self.deliver(Some(chunk.to.to_texts())).await?;
        walk.advance(n, chunk.to);
        Ok(())
    }

    /// Takes nothing of an answer that is not whole, and learns from it: the same size twice
    /// is the server's limit.
    async fn refuse(
        &mut self,
        walk: &mut Walk<'_>,
        request: &Request,
        rows: u64,
        counted: u64,
    ) -> Result<(), FetchError> {
        self.send(Delivery::Abandon).await?;
        let times = walk.short.map_or(1, |short| short.times + 1);
        let is_largest = self.dialect.has_shown(0) <= rows && (1..counted).contains(&rows);
        if is_largest && walk.short.is_some_and(|short| short.rows == rows) {
            tracing::info!("PostHog cuts answers after {rows} rows: asking for fewer");
            self.dialect.was_cut_at(rows);
            walk.short = None;
            return Ok(());
        }
        walk.short = Some(Short { rows, counted, times });
        match times {
            0..MOST_SHORT => Ok(()),
            _ => {
                let detail = format!("of {counted} rows of a chunk only {rows} were given");
                Err(self.contract(request, detail))
            }
        }
    }

    /// Reads by key all that lies up to a place, from the key on where there is one.
    async fn walk_inside(
        &mut self,
        walk: &mut Walk<'_>,
        to: Place,
        key: Option<Vec<String>>,
    ) -> Result<(), FetchError> {
        let Wide { keyset, chunks, arrived, .. } = walk.wide;
        let chunk = walk.chunk(to, self.dialect.has_hashes());
        if let Some(window) = chunk.window() {
            let inside = Some((&chunk, chunks));
            let extent = Extent { range: Some(window), arrived, inside, may_stop: false };
            self.walk_key(keyset, extent, key).await?;
        }
        self.deliver(Some(chunk.to.to_texts())).await?;
        walk.place = chunk.to;
        Ok(())
    }
}
