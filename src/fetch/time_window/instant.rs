//! An instant with more rows than a page: counted first, then taken apart.
//!
//! Among equal timestamps the server's order changes from request to request, so
//! offsets show how many rows there are but not each of them. The rows are read by
//! event, and by distinct id where one event still fills a page; they are all here
//! when they are as many as were counted.

use std::collections::{BTreeMap, BTreeSet};

use super::super::page::{KeepAll, Watch};
use super::super::{FetchError, Reader};
use super::INSTANT;
use crate::cursor::{Interval, Timestamp};
use crate::http::Request;
use crate::record::split::{RowView, Verdict};
use crate::spec::endpoint::TimeWindow;

/// How often an instant is counted again when rows were missing.
const TRIES: u32 = 3;

impl Reader<'_> {
    /// Reads every row of one instant, or fails naming it.
    pub(super) async fn read_instant(
        &mut self,
        window: &TimeWindow,
        instant: Timestamp,
    ) -> Result<(), FetchError> {
        let span = Interval { from: instant, to: instant.plus(INSTANT) };
        let mut parts = Parts::new(window, |column| self.schema().index_of(column));
        for _ in 0..TRIES {
            let counted = self.count_instant(window, span, &mut parts).await?;
            let Some(read) = self.read_parts(window, span, &parts).await? else { break };
            if read == counted {
                return Ok(());
            }
        }
        let request = self.window_request(window, span, &[]);
        let detail = format!(
            "more events share the instant {instant} than a page holds, and splitting them by \
             event and distinct id does not isolate them"
        );
        Err(self.contract(&request, detail))
    }

    /// Counts the rows of an instant by offset, and learns which parts it has.
    async fn count_instant(
        &mut self,
        window: &TimeWindow,
        span: Interval,
        parts: &mut Parts,
    ) -> Result<u64, FetchError> {
        let mut counted = 0;
        loop {
            let offset = ("offset".to_owned(), counted.to_string());
            let request = self.window_request(window, span, &[offset]);
            let answer = self.ask(&request, parts).await?;
            if answer.rows == 0 {
                return Ok(counted);
            }
            counted += answer.rows;
        }
    }

    /// Reads an instant part by part; nothing where a part still fills a page.
    async fn read_parts(
        &mut self,
        window: &TimeWindow,
        span: Interval,
        parts: &Parts,
    ) -> Result<Option<u64>, FetchError> {
        let mut read = 0;
        for (outer, inners) in &parts.seen {
            let by_outer = vec![(parts.names[0].clone(), outer.clone())];
            let request = self.window_request(window, span, &by_outer);
            if let Some(rows) = self.read_part(&request).await? {
                read += rows;
                continue;
            }
            for inner in inners {
                let mut by_both = by_outer.clone();
                by_both.push((parts.names[1].clone(), inner.clone()));
                let request = self.window_request(window, span, &by_both);
                let Some(rows) = self.read_part(&request).await? else { return Ok(None) };
                read += rows;
            }
        }
        Ok(Some(read))
    }

    /// Reads one part and hands it on, unless it fills a page.
    async fn read_part(&mut self, request: &Request) -> Result<Option<u64>, FetchError> {
        let answer = self.ask(request, &mut KeepAll).await?;
        if self.is_full(&answer) {
            self.splitter.truncate(0);
            self.send(super::super::Delivery::Abandon).await?;
            return Ok(None);
        }
        self.deliver(None).await?;
        Ok(Some(answer.rows))
    }
}

/// The parts an instant was seen to have: outer values, each with its inner ones.
struct Parts {
    names: [String; 2],
    columns: [Option<usize>; 2],
    seen: BTreeMap<String, BTreeSet<String>>,
}

impl Parts {
    fn new(window: &TimeWindow, index_of: impl Fn(&str) -> Option<usize>) -> Self {
        let name = |n: usize| window.split_by.get(n).cloned().unwrap_or_default();
        let names = [name(0), name(1)];
        let columns = [index_of(&names[0]), index_of(&names[1])];
        Self { names, columns, seen: BTreeMap::new() }
    }
}

impl Watch for Parts {
    fn restart(&mut self) {}

    fn row(&mut self, row: RowView<'_>) -> Verdict {
        let text = |column: Option<usize>| {
            column.and_then(|column| row.text(column)).unwrap_or_default().into_owned()
        };
        self.seen.entry(text(self.columns[0])).or_default().insert(text(self.columns[1]));
        Verdict::Drop
    }
}
