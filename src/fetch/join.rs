//! A list column put together from another table's rows.
//!
//! Both tables are read in the order of the same key and walked side by side, as a
//! merge: memory holds one page of each. Items whose owner is not among the records
//! belong to records that are gone, and are passed over.

use std::collections::VecDeque;

use super::keyset::{Query, SMALLEST_PAGE, where_all};
use super::{FetchError, Reader};
use crate::record::batch::Batch;
use crate::spec::endpoint::{Join, Keyset};

/// The items read so far and not yet joined.
pub(super) struct Joined<'a> {
    join: &'a Join,
    /// The column whose values the items' owners are.
    key: &'a str,
    page: u64,
    waiting: VecDeque<(String, String)>,
    /// The owner and item after which to go on.
    at: Option<(String, String)>,
    complete: bool,
}

impl<'a> Joined<'a> {
    /// Begins with the items of the records after `key`.
    pub(super) fn new(join: &'a Join, keyset: &'a Keyset, key: Option<Vec<String>>) -> Self {
        // The last record's items come again, and are passed over.
        let at = key.and_then(|key| key.into_iter().next()).map(|owner| (owner, String::new()));
        let (page, key) = (join.page_size, keyset.key.first().map_or("", |(name, _)| name));
        Self { join, key, page, waiting: VecDeque::new(), at, complete: false }
    }

    /// Whether every item of the records up to `owner` was received.
    fn reaches(&self, owner: &str) -> bool {
        self.complete || self.at.as_ref().is_some_and(|(last, _)| last.as_str() > owner)
    }

    fn query(&self) -> Query {
        let Join { from, owner, value, .. } = self.join;
        let page = self.page;
        let mut query = Query::default();
        let mut conditions = Vec::new();
        if let Some((last_owner, last_value)) = &self.at {
            let after = (query.value("k0", last_owner), query.value("k1", last_value));
            conditions.push(format!("({owner}, {value}) > ({}, {})", after.0, after.1));
        }
        let condition = where_all(&conditions);
        query.text = format!(
            "SELECT {owner}, {value} FROM {from} {condition}ORDER BY {owner}, {value} LIMIT {page}"
        );
        query
    }

    /// Fills the column of every row; the rows are in the order of their owners.
    pub(super) fn fill(&mut self, batch: &mut Batch) {
        let Some(column) = batch.schema().index_of(&self.join.column) else { return };
        let Some(key) = batch.schema().index_of(self.key) else { return };
        let waiting = &mut self.waiting;
        // A record may come twice in a row: its items went to the first.
        let mut last = (String::new(), String::new());
        batch.fill(column, key, &mut |owner| {
            if last.0 == owner {
                return last.1.clone();
            }
            while waiting.front().is_some_and(|(other, _)| other.as_str() < owner) {
                waiting.pop_front();
            }
            let mut items = Vec::new();
            while waiting.front().is_some_and(|(other, _)| other == owner) {
                items.extend(waiting.pop_front().map(|(_, item)| item));
            }
            last = (owner.to_owned(), serde_json::to_string(&items).unwrap_or_default());
            last.1.clone()
        });
    }
}

impl Reader<'_> {
    /// Receives the items of every record up to `owner`.
    pub(super) async fn fetch_joined(
        &mut self,
        joined: &mut Joined<'_>,
        owner: &str,
    ) -> Result<(), FetchError> {
        while !joined.reaches(owner) {
            let query = joined.query();
            let items = match self.ask_pairs(&query).await {
                Err(err) if err.asks_too_much() && joined.page > SMALLEST_PAGE => {
                    joined.page /= 2;
                    continue;
                }
                other => other?,
            };
            match items.last() {
                None => joined.complete = true,
                Some(last) if joined.at.as_ref() >= items.first() => {
                    let detail = format!("items go on at {last:?}, which was asked for before");
                    return Err(self.contract(&self.sql_request(&query), detail));
                }
                Some(last) => joined.at = Some(last.clone()),
            }
            joined.waiting.extend(items);
        }
        Ok(())
    }
}
