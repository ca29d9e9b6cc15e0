//! Events by REST: ascending windows whose lower bound follows the last row.
//!
//! `next` loses every row that shares the timestamp a page ends on, so it is only
//! read as a sign that there is more. From each page the rows below its last
//! timestamp are kept and the next page begins at that timestamp, inclusive; a page
//! that holds one timestamp alone and is not full proves that instant complete. The
//! walk is complete when a window that reaches its end is empty. An instant that
//! fills a page is taken apart in [`Instant`](instant).

mod instant;

use std::time::Duration;

use super::page::Watch;
use super::width::Width;
use super::{Answer, FetchError, Reader};
use crate::cursor::{Interval, Timestamp};
use crate::http::Request;
use crate::record::split::{RowView, Verdict};
use crate::spec::endpoint::TimeWindow;

/// Servers of 2023 show milliseconds of times that have microseconds: to one of them, every
/// row within a millisecond is at the same instant.
const INSTANT: Duration = Duration::from_millis(1);

/// The bounds of the list are exclusive.
const JUST_BEFORE: Duration = Duration::from_micros(1);

/// Narrower windows do not cost the server less.
const NARROWEST: Duration = Duration::from_secs(3600);

/// PostHog's own page, where it does not heed `limit`: a page as large may be full.
const OWN_PAGE: u64 = 100;

/// Requests are scarcer by REST than the server's time: a window may hold a few pages.
const SLACK: u32 = 8;

impl Reader<'_> {
    /// Reads a range, from the instant an earlier run reached.
    pub(super) async fn walk_time_window(
        &mut self,
        window: &TimeWindow,
        range: Interval,
        at: Option<Vec<String>>,
    ) -> Result<(), FetchError> {
        let mut width = Width::at_least(NARROWEST, SLACK);
        let mut from = reached(at, range.from);
        while from < range.to {
            let span = Interval { from, to: width.end(from, range.to) };
            let request = self.window_request(window, span, &[]);
            let mut ties = Ties::new(self.schema().index_of(&window.time), span);
            let answer = match self.ask(&request, &mut ties).await {
                Err(err) if err.asks_too_much() && width.narrow() => continue,
                other => other?,
            };
            if let Some(why) = ties.astray {
                return Err(self.contract(&request, why));
            }
            let last = ties.last.unwrap_or(span.to);
            width.learn(answer.rows, self.path.page_size, last.since(from));
            from = match ties.group() {
                Group::Nothing if self.is_full(&answer) => {
                    return Err(self.contract(&request, "an empty page says that there is more"));
                }
                Group::Nothing => span.to,
                // Taken for full too early, an instant costs two requests; too late, its rows.
                Group::One(instant) if self.is_full(&answer) || answer.rows >= OWN_PAGE => {
                    self.splitter.truncate(0);
                    self.read_instant(window, instant).await?;
                    instant.plus(INSTANT).min(range.to)
                }
                Group::One(instant) => instant.plus(INSTANT).min(range.to),
                Group::Many { last, .. } if last <= span.from => {
                    return Err(self.contract(&request, "the rows do not lead on in time"));
                }
                Group::Many { last, begins } => {
                    self.splitter.truncate(begins);
                    last
                }
            };
            self.deliver(Some(vec![from.to_string()])).await?;
        }
        Ok(())
    }

    /// Whether there may be more rows in the window than the answer shows.
    fn is_full(&self, answer: &Answer) -> bool {
        let has_next = answer.envelope.text("next").is_some_and(|link| !link.is_empty());
        answer.rows >= self.path.page_size || has_next
    }

    fn window_request(
        &self,
        window: &TimeWindow,
        span: Interval,
        extra: &[(String, String)],
    ) -> Request {
        let mut params = vec![
            (window.from.clone(), span.from.minus(JUST_BEFORE).to_string()),
            (window.to.clone(), span.to.to_string()),
            ("limit".into(), self.path.page_size.to_string()),
        ];
        params.extend_from_slice(extra);
        self.list_request(params)
    }
}

/// Where an earlier run stood, which may have read in another way: the time comes first in
/// every key.
pub(super) fn reached(at: Option<Vec<String>>, start: Timestamp) -> Timestamp {
    let time = at.as_ref().and_then(|key| key.first()).and_then(|text| Timestamp::parse(text));
    time.unwrap_or(start)
}

/// What a page holds, by its timestamps.
#[derive(Debug, PartialEq, Eq)]
enum Group {
    /// No row of the window.
    Nothing,
    /// All rows are at one instant.
    One(Timestamp),
    /// Several instants; the rows of the last one begin at this index of those that wait.
    Many { last: Timestamp, begins: usize },
}

/// Holds back the rows that share the last timestamp seen.
struct Ties {
    time: Option<usize>,
    span: Interval,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    begins: usize,
    astray: Option<&'static str>,
}

impl Ties {
    fn new(time: Option<usize>, span: Interval) -> Self {
        Self { time, span, first: None, last: None, begins: 0, astray: None }
    }

    fn group(&self) -> Group {
        match (self.first, self.last) {
            (Some(first), Some(last)) if first == last => Group::One(last),
            (Some(_), Some(last)) => Group::Many { last, begins: self.begins },
            _ => Group::Nothing,
        }
    }
}

impl Watch for Ties {
    fn restart(&mut self) {
        *self = Self::new(self.time, self.span);
    }

    fn row(&mut self, row: RowView<'_>) -> Verdict {
        let Some(at) = self.time.and_then(|time| row.timestamp(time)) else {
            // Its time is how it was asked for, and part of what it is known by.
            self.astray = Some("a row has no time");
            return Verdict::Keep;
        };
        if at.plus(INSTANT) <= self.span.from || at >= self.span.to {
            self.astray = Some("a row lies outside of the range asked for");
        }
        if self.last.is_some_and(|last| at < last) {
            self.astray = Some("rows are not in ascending order of time");
        }
        self.first.get_or_insert(at);
        if self.last != Some(at) {
            self.last = Some(at);
            self.begins = row.index;
        }
        Verdict::Keep
    }

    fn ready(&self, waiting: usize) -> usize {
        self.begins.min(waiting)
    }

    fn handed_on(&mut self, rows: usize) {
        self.begins -= rows.min(self.begins);
    }
}
