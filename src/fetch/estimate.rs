//! How many records a walk would show, where PostHog can be asked that without reading them.

use super::keyset::{Query, where_all};
use super::page::KeepAll;
use super::{FetchError, Reader};
use crate::cursor::{Interval, Leg};
use crate::spec::endpoint::{Keyset, Paging};

impl Reader<'_> {
    /// Counts the records of a walk; nothing where this way of reading has no count. Rows that
    /// change meanwhile, and copies that are not merged yet, make it an estimate.
    ///
    /// # Errors
    /// When PostHog cannot be asked, or refuses.
    pub async fn estimate(&mut self, leg: Leg) -> Result<Option<u64>, FetchError> {
        match (&self.path.paging, leg) {
            (Paging::Keyset(keyset), leg) => {
                let [text] = match self.ask_texts(&count_query(keyset, leg)).await?.as_slice() {
                    [row] => row.clone(),
                    _ => return Ok(None),
                };
                Ok(text.parse().ok())
            }
            (Paging::Offset(offset), Leg::List { since }) => {
                let since = offset.since.as_ref().zip(since);
                let mut total = Some(0);
                for pass in &offset.passes {
                    let request = self.page_request(pass, since, 0, 1);
                    let answer = self.ask(&request, &mut KeepAll).await?;
                    total = total.zip(answer.envelope.number("count")).map(|(sum, n)| sum + n);
                }
                Ok(total)
            }
            _ => Ok(None),
        }
    }
}

fn count_query(keyset: &Keyset, leg: Leg) -> Query {
    let (range, arrived) = match leg {
        Leg::List { .. } => (None, None),
        Leg::Range { range, arrived, .. } => (Some(range), arrived),
        Leg::Audit { range, arrived } => (Some(range), Some(arrived)),
    };
    let mut query = Query::default();
    let mut within = |column: &Option<String>, names, interval: Option<Interval>| {
        let (column, interval) = column.as_ref().zip(interval)?;
        Some(query.within(column, names, interval))
    };
    let conditions = [
        within(&keyset.time, ("from", "to"), range),
        within(&keyset.arrival, ("arrived_from", "arrived_to"), arrived),
    ];
    let conditions: Vec<String> = conditions.into_iter().flatten().chain(keyset.filter()).collect();
    query.text =
        format!("SELECT toString(count()) FROM {} {}LIMIT 1", keyset.from, where_all(&conditions));
    query
}
