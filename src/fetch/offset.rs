//! Lists paged by offset: short ones, for PostHog's own objects.
//!
//! An offset means another row once rows before it appear or vanish. So each page
//! repeats the end of the one before: where none of those rows come again, rows
//! shifted and the pass begins anew. A list that tells its count is complete when as
//! many distinct records were seen; one that does not, when a page beyond the end is
//! empty. A short page proves nothing: PostHog leaves out rows it has already counted. Of
//! `next` only the number is taken, and no further than a page reaches.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use super::page::Watch;
use super::{Answer, FetchError, Reader};
use crate::cursor::Timestamp;
use crate::http::Request;
use crate::record::split::{RowView, Verdict};
use crate::schema::Schema;
use crate::spec::endpoint::{Offset, Pass, Since, SinceBy};

/// How often a pass begins anew because rows shifted under it.
const PASSES: u32 = 4;

/// How many pages in a row may bring no new row and lead on: rows left out have offsets, too.
const BARREN_PAGES: u32 = 10;

/// Pages smaller than this cost the server as much.
const SMALLEST_PAGE: u64 = 100;

impl Reader<'_> {
    /// Reads every pass of the list, or what of it changed since a time.
    pub(super) async fn walk_offset(
        &mut self,
        offset: &Offset,
        since: Option<Timestamp>,
    ) -> Result<(), FetchError> {
        let since = offset.since.as_ref().zip(since);
        for pass in &offset.passes {
            self.splitter.set_constants(&pass.columns);
            let mut tries = 0;
            loop {
                let request = match self.walk_pass(offset, pass, since).await {
                    Ok(Shifted::No) => break,
                    Ok(Shifted::Yes(request)) => request,
                    // What a server is too old to have a name for, it has no rows of.
                    Err(err) if self.delivered && err.is_unknown_choice() => {
                        tracing::info!("this server has no rows of {:?} ({err})", pass.params);
                        break;
                    }
                    Err(err) => return Err(err),
                };
                tries += 1;
                if tries == PASSES {
                    let detail = "rows kept shifting between pages; the list never came whole";
                    return Err(self.contract(&request, detail));
                }
            }
        }
        Ok(())
    }

    async fn walk_pass(
        &mut self,
        offset: &Offset,
        pass: &Pass,
        since: Option<(&Since, Timestamp)>,
    ) -> Result<Shifted, FetchError> {
        let mut watch = Keys::new(self.schema(), since);
        let (mut at, mut page) = (0, self.path.page_size);
        loop {
            let request = self.page_request(pass, since, at, page);
            let answer = match self.ask(&request, &mut watch).await {
                Err(err) if err.asks_too_much() && page > SMALLEST_PAGE => {
                    page = (page / 2).max(SMALLEST_PAGE);
                    continue;
                }
                other => other?,
            };
            self.deliver(None).await?;
            if watch.lost_the_thread() {
                return Ok(Shifted::Yes(request));
            }
            match next_step(&answer, at, page, &watch) {
                Step::Done => return Ok(Shifted::No),
                Step::Shifted => return Ok(Shifted::Yes(request)),
                Step::Stuck(detail) => return Err(self.contract(&request, detail)),
                Step::To(next) => {
                    watch.turn_page(0);
                    at = next;
                }
                Step::Link(next) => {
                    let back = overlap(offset.overlap, next - at, answer.rows);
                    watch.turn_page(if back > 0 { offset.overlap } else { 0 });
                    at = next - back;
                }
            }
        }
    }

    pub(super) fn page_request(
        &self,
        pass: &Pass,
        since: Option<(&Since, Timestamp)>,
        at: u64,
        page: u64,
    ) -> Request {
        let mut params = pass.params.clone();
        if let Some((since, time)) = since {
            params.extend(since.params.clone());
            if let SinceBy::Param(name) = &since.by {
                params.push((name.clone(), time.to_string()));
            }
        }
        params.push(("limit".into(), page.to_string()));
        if at > 0 {
            params.push(("offset".into(), at.to_string()));
        }
        self.list_request(params)
    }
}

/// Whether rows shifted under a pass, and the request that showed it.
enum Shifted {
    No,
    Yes(Request),
}

#[derive(Debug, PartialEq)]
enum Step {
    /// To an offset that the rows received lead to.
    To(u64),
    /// To an offset that the answer names: its page is asked to repeat some rows.
    Link(u64),
    Done,
    Shifted,
    /// Nowhere; says why.
    Stuck(String),
}

/// Where the page after `answer` lies, which was asked for at `at` with so many rows.
fn next_step(answer: &Answer, at: u64, page: u64, watch: &Keys) -> Step {
    let end = at + answer.rows;
    if watch.below_since && watch.falls && !watch.rises {
        return Step::Done;
    }
    if watch.barren_pages > BARREN_PAGES {
        return Step::Stuck("pages that bring no new row lead on and on".into());
    }
    if let Some(next) = answer.envelope.raw("next").and_then(offset_of) {
        // It may name another host, or a page without rows, or pass rows over.
        return match next.min(at + page.max(answer.rows)) {
            next if next <= at => {
                Step::Stuck(format!("`next` leads from offset {at} back to where it was"))
            }
            next => Step::Link(next),
        };
    }
    let seen = u64::try_from(watch.seen.len()).unwrap_or(u64::MAX);
    match answer.envelope.number("count") {
        Some(count) if seen >= count => Step::Done,
        Some(count) if end >= count => Step::Shifted,
        None if answer.rows == 0 => Step::Done,
        Some(_) if answer.rows == 0 => Step::Shifted,
        _ => Step::To(end),
    }
}

/// How many rows of a page that reached `step` offsets and showed `rows` rows the next page
/// repeats, so that the last `wanted` of those shown are among them.
fn overlap(wanted: u64, step: u64, rows: u64) -> u64 {
    // Rows left out have offsets, too: the last ones shown lie so much further back.
    let left_out = step.saturating_sub(rows);
    if left_out > wanted { 0 } else { (wanted + left_out).min(step - 1) }
}

/// The offset in the query of a `next` link.
fn offset_of(next: &str) -> Option<u64> {
    let (_, query) = next.trim_matches('"').split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix("offset="))?.parse().ok()
}

/// Follows the keys that pass: which were seen, and the last ones of each page.
struct Keys {
    hasher: RandomState,
    key: Vec<usize>,
    seen: HashSet<u64>,
    /// Keys of the page in hand.
    page: Vec<u64>,
    /// Those of them that no page before it had.
    fresh: Vec<u64>,
    /// Pages in a row, up to the one before, that brought no new row.
    barren_pages: u32,
    /// Keys that the page in hand should repeat.
    expected: VecDeque<u64>,
    stop_below: Option<(usize, Timestamp)>,
    /// The last time of the column that the list should be ordered by, newest first.
    newest: Option<Timestamp>,
    /// Whether times were seen to fall, and whether any rose: unless the list is plainly
    /// ordered as asked, where it falls below a time proves nothing.
    falls: bool,
    rises: bool,
    below_since: bool,
}

impl Keys {
    fn new(schema: &Schema, since: Option<(&Since, Timestamp)>) -> Self {
        let stop_below = since.and_then(|(since, time)| match &since.by {
            SinceBy::StopBelow(column) => Some((schema.index_of(column)?, time)),
            SinceBy::Param(_) => None,
        });
        Self {
            hasher: RandomState::new(),
            key: schema.primary_key.clone(),
            seen: HashSet::new(),
            page: Vec::new(),
            fresh: Vec::new(),
            barren_pages: 0,
            expected: VecDeque::new(),
            stop_below,
            newest: None,
            falls: false,
            rises: false,
            below_since: false,
        }
    }

    /// Expects the next page to begin with the last `overlap` rows of this one.
    fn turn_page(&mut self, overlap: u64) {
        let overlap = usize::try_from(overlap).unwrap_or(usize::MAX);
        self.barren_pages = if self.fresh.is_empty() { self.barren_pages + 1 } else { 0 };
        let from = self.page.len().saturating_sub(overlap);
        self.expected = self.page.drain(from..).collect();
        self.page.clear();
        self.fresh.clear();
    }

    /// Whether none of the rows that should have come again did.
    fn lost_the_thread(&self) -> bool {
        !self.expected.is_empty() && !self.expected.iter().any(|key| self.page.contains(key))
    }
}

impl Watch for Keys {
    fn restart(&mut self) {
        // A broken answer's rows are void: they count as seen only when they come again.
        for key in self.fresh.drain(..) {
            self.seen.remove(&key);
        }
        self.page.clear();
        self.newest = None;
        self.below_since = false;
    }

    fn row(&mut self, row: RowView<'_>) -> Verdict {
        let key: Vec<_> = self.key.iter().map(|&column| row.text(column)).collect();
        let key = self.hasher.hash_one(key);
        if self.seen.insert(key) {
            self.fresh.push(key);
        }
        self.page.push(key);
        if let Some((column, time)) = self.stop_below
            && let Some(at) = row.timestamp(column)
        {
            self.falls |= self.newest.is_some_and(|newest| at < newest);
            self.rises |= self.newest.is_some_and(|newest| at > newest);
            self.newest = Some(at);
            self.below_since |= at < time;
        }
        Verdict::Keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_next_link_only_the_offset_is_taken() {
        assert_eq!(offset_of(r#""http://evil.example/api/?limit=100&offset=200&x=1""#), Some(200));
        assert_eq!(offset_of(r#""/api/?cursor=abc""#), None);
        assert_eq!(offset_of("17"), None);
    }

    #[test]
    fn the_next_page_repeats_rows_that_were_shown() {
        for (step, rows, expected) in
            [(100, 100, 10), (100, 97, 13), (100, 80, 0), (100, 0, 0), (5, 5, 4), (1, 1, 0)]
        {
            assert_eq!(overlap(10, step, rows), expected, "{rows} rows of {step}");
        }
    }
}
