//! Session recordings: windows of time, paged inside by the server's cursor.
//!
//! PostHog cuts a session at the edges of the asked range and shows the part as if
//! it were the whole. So a window is asked wider than wanted, by the longest session
//! on both sides, and only sessions that began inside of it are taken. Servers
//! before late 2025 have no cursor and page by offset, each page repeating the end of
//! the one before; those of 2023 show the newest first whatever order is asked for, and
//! either order will do as long as it is one. A full page is never the last: the next
//! window begins where it ends, or the next page is asked for where the oldest are to come.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::time::Duration;

use super::page::Watch;
use super::time_window::reached;
use super::width::Width;
use super::{Answer, FetchError, Reader};
use crate::cursor::{Interval, Timestamp};
use crate::http::Request;
use crate::record::split::{RowView, Verdict};
use crate::schema::Schema;
use crate::spec::endpoint::CursorWindow;

/// Narrower windows do not cost the server less: their margins stay.
const NARROWEST: Duration = Duration::from_secs(3600);

/// A window that took several pages stays as it is: it cost its margins only once.
const SLACK: u32 = 1;

/// A day.
const DAY: Duration = Duration::from_secs(86_400);

/// How many rows a page by offset repeats: more sessions than begin at one instant.
const OVERLAP: u64 = 20;

/// Where inside a window the next page lies.
enum Page {
    First,
    After(String),
    Offset(u64),
}

impl Reader<'_> {
    /// Reads a range window by window.
    pub(super) async fn walk_cursor(
        &mut self,
        window: &CursorWindow,
        range: Interval,
        at: Option<Vec<String>>,
    ) -> Result<(), FetchError> {
        let mut width = Width::at_least(NARROWEST, SLACK);
        let mut from = reached(at, range.from);
        while from < range.to {
            let span = Interval { from, to: width.end(from, range.to) };
            match self.read_window(window, span).await {
                Ok((rows, reached)) => {
                    width.learn(rows, self.path.page_size, span.length());
                    from = reached;
                }
                Err(err) if err.asks_too_much() && width.narrow() => continue,
                Err(err) => return Err(err),
            }
            self.deliver(Some(vec![from.to_string()])).await?;
        }
        Ok(())
    }

    /// Reads one window; returns how many rows it had, and up to where it is complete.
    async fn read_window(
        &mut self,
        window: &CursorWindow,
        span: Interval,
    ) -> Result<(u64, Timestamp), FetchError> {
        let (mut page, mut cursors) = (Page::First, HashSet::new());
        let mut rows = 0;
        let mut watch = Starts::new(self.schema(), window, span);
        loop {
            let request = self.cursor_request(window, span, &page);
            let answer = self.ask(&request, &mut watch).await?;
            rows += answer.rows;
            if let Some(why) = watch.page.astray {
                return Err(self.contract(&request, why));
            }
            if watch.page.passed_the_window {
                return Ok((rows, span.to));
            }
            let full = answer.rows >= self.path.page_size;
            let advanced = watch.reached() > span.from;
            let Some(next) = next_page(window, &answer, &page, full && !advanced) else {
                return Ok((rows, if full { watch.reached() } else { span.to }));
            };
            if answer.rows == 0 {
                return Err(self.contract(&request, "an empty page says that there is more"));
            }
            if watch.is_repeated() {
                return Err(self.contract(&request, "the page ends as the one before it did"));
            }
            if let Page::After(cursor) = &next
                && !cursors.insert(cursor.clone())
            {
                return Err(self.contract(&request, "the cursor leads back to where it was"));
            }
            self.deliver(Some(vec![watch.reached().to_string()])).await?;
            watch.turn_page(&next);
            page = next;
        }
    }

    fn cursor_request(&self, window: &CursorWindow, span: Interval, page: &Page) -> Request {
        let mut params = vec![
            (window.from.clone(), span.from.minus(window.margin).to_string()),
            (window.to.clone(), span.to.plus(window.margin).to_string()),
            ("limit".into(), self.path.page_size.to_string()),
        ];
        match page {
            Page::First => {}
            Page::After(cursor) => params.push((window.param.clone(), cursor.clone())),
            Page::Offset(offset) => params.push(("offset".into(), offset.to_string())),
        }
        self.list_request(params)
    }
}

/// Where the next page lies, if the server says that there is one or there is `doubt` that it does not.
fn next_page(window: &CursorWindow, answer: &Answer, page: &Page, doubt: bool) -> Option<Page> {
    if let Some(cursor) = answer.envelope.text(&window.next) {
        return Some(Page::After(cursor));
    }
    let more = doubt || answer.envelope.raw(&window.more) == Some("true");
    let offset = if let Page::Offset(offset) = page { *offset } else { 0 };
    let step = answer.rows.saturating_sub(OVERLAP).max(1);
    more.then_some(Page::Offset(offset + step))
}

/// Takes the sessions that began inside the window.
struct Starts {
    time: Option<usize>,
    key: Option<usize>,
    span: Interval,
    /// What PostHog may show around the window.
    around: Interval,
    /// What was seen when the page in hand began.
    before: Seen,
    /// What was seen by now.
    page: Seen,
}

/// What was seen of a window up to a row.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// The start of the last session taken.
    taken: Option<Timestamp>,
    /// The start of the last session.
    previous: Option<Timestamp>,
    /// Which session that was.
    key: String,
    /// How each start compares to the one before; unknown until two differ.
    order: Option<Ordering>,
    passed_the_window: bool,
    astray: Option<&'static str>,
}

impl Starts {
    fn new(schema: &Schema, window: &CursorWindow, span: Interval) -> Self {
        // Servers of 2023 read a bound as its whole day.
        let around = window.margin + DAY;
        Self {
            time: schema.index_of(&window.time),
            key: schema.primary_key.first().copied(),
            span,
            around: Interval { from: span.from.minus(around), to: span.to.plus(around) },
            before: Seen::default(),
            page: Seen::default(),
        }
    }

    /// Up to when, in time, nothing of the window is left to receive.
    fn reached(&self) -> Timestamp {
        match (self.page.order, self.page.taken) {
            // Sessions that begin when the last one did may be on the next page.
            (Some(Ordering::Greater), Some(last)) => last,
            // Newest first: the oldest are still to come.
            _ => self.span.from,
        }
    }

    /// Whether the page leads to no other row than the one before it.
    fn is_repeated(&self) -> bool {
        self.key.is_some() && self.page.key == self.before.key
    }

    /// Goes on to the next page.
    fn turn_page(&mut self, next: &Page) {
        if let Page::Offset(_) = next {
            // It begins before this one ends: order holds within each.
            self.page.previous = None;
        }
        self.before = self.page.clone();
    }
}

impl Watch for Starts {
    fn restart(&mut self) {
        self.page = self.before.clone();
    }

    fn row(&mut self, row: RowView<'_>) -> Verdict {
        let page = &mut self.page;
        page.key.clear();
        page.key.push_str(&self.key.and_then(|key| row.text(key)).unwrap_or_default());
        let Some(at) = self.time.and_then(|time| row.timestamp(time)) else {
            return Verdict::Keep;
        };
        let step = page.previous.map_or(Ordering::Equal, |previous| at.cmp(&previous));
        page.previous = Some(at);
        if step != Ordering::Equal && *page.order.get_or_insert(step) != step {
            page.astray = Some("rows are not in the order of time");
        }
        if at < self.around.from || at >= self.around.to {
            page.astray = Some("a row lies outside of the range asked for");
        }
        page.passed_the_window |= match page.order {
            Some(Ordering::Less) => at < self.span.from,
            Some(_) => at >= self.span.to,
            None => false,
        };
        if at < self.span.from || at >= self.span.to {
            return Verdict::Drop;
        }
        page.taken = Some(at);
        Verdict::Keep
    }
}
