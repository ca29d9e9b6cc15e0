//! Lists paged by offset: short ones, for PostHog's own objects.
//!
//! An offset means another row once rows before it appear or vanish. So each page
//! repeats the end of the one before: where none of those rows come again, rows
//! shifted and the pass begins anew. A list that tells its count is complete when as
//! many distinct records were seen; one that does not, when a page beyond the end is
//! empty. A short page proves nothing: PostHog leaves out rows it has already counted.

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
        let mut at = 0;
        loop {
            let request = self.page_request(pass, since, at);
            let answer = self.ask(&request, &mut watch).await?;
            self.deliver(None).await?;
            if watch.lost_the_thread() {
                return Ok(Shifted::Yes(request));
            }
            match next_step(&answer, at, &watch) {
                Step::Done => return Ok(Shifted::No),
                Step::Shifted => return Ok(Shifted::Yes(request)),
                Step::Stuck => {
                    let detail = format!("`next` leads from offset {at} back to where it was");
                    return Err(self.contract(&request, detail));
                }
                Step::On { offset: next, overlap: false } => {
                    watch.turn_page(0);
                    at = next;
                }
                Step::On { offset: next, overlap: true } => {
                    let overlap = offset.overlap.min(next.saturating_sub(at + 1));
                    watch.turn_page(usize::try_from(overlap).unwrap_or(0));
                    at = next - overlap;
                }
            }
        }
    }

    fn page_request(&self, pass: &Pass, since: Option<(&Since, Timestamp)>, at: u64) -> Request {
        let mut params = pass.params.clone();
        if let Some((since, time)) = since {
            params.extend(since.params.clone());
            if let SinceBy::Param(name) = &since.by {
                params.push((name.clone(), time.to_string()));
            }
        }
        params.push(("limit".into(), self.path.page_size.to_string()));
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
    On { offset: u64, overlap: bool },
    Done,
    Shifted,
    Stuck,
}

/// Where the page after `answer` lies.
fn next_step(answer: &Answer, at: u64, watch: &Keys) -> Step {
    let end = at + answer.rows;
    if watch.below_since && watch.falls && !watch.rises {
        return Step::Done;
    }
    if let Some(next) = answer.envelope.raw("next") {
        // Only the number is taken: `next` may name another host, or a page without rows.
        return match offset_of(next).unwrap_or(end) {
            offset if offset > at => Step::On { offset, overlap: true },
            _ => Step::Stuck,
        };
    }
    let seen = u64::try_from(watch.seen.len()).unwrap_or(u64::MAX);
    match answer.envelope.number("count") {
        Some(count) if seen >= count => Step::Done,
        Some(count) if end >= count => Step::Shifted,
        None if answer.rows == 0 => Step::Done,
        Some(_) if answer.rows == 0 => Step::Shifted,
        _ => Step::On { offset: end, overlap: false },
    }
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
            expected: VecDeque::new(),
            stop_below,
            newest: None,
            falls: false,
            rises: false,
            below_since: false,
        }
    }

    /// Expects the next page to begin with the last `overlap` rows of this one.
    fn turn_page(&mut self, overlap: usize) {
        let from = self.page.len().saturating_sub(overlap);
        self.expected = self.page.drain(from..).collect();
        self.page.clear();
    }

    /// Whether none of the rows that should have come again did.
    fn lost_the_thread(&self) -> bool {
        !self.expected.is_empty()
            && !self.page.is_empty()
            && !self.expected.iter().any(|key| self.page.contains(key))
    }
}

impl Watch for Keys {
    fn restart(&mut self) {
        self.page.clear();
        self.newest = None;
        self.below_since = false;
    }

    fn row(&mut self, row: RowView<'_>) -> Verdict {
        let key: Vec<_> = self.key.iter().map(|&column| row.text(column)).collect();
        let key = self.hasher.hash_one(key);
        self.seen.insert(key);
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
}
