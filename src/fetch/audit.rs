//! Days, however old, in which rows arrived since they were read.
//!
//! Imports and offline devices deliver events far older than the look-back. One
//! aggregate finds the days they fell into, and only those are read again, narrowed
//! to what arrived.

use super::keyset::{DAY, Query, where_all};
use super::{FetchError, Reader};
use crate::cursor::{Interval, Timestamp};
use crate::spec::endpoint::Keyset;

impl Reader<'_> {
    /// Reads what arrived in every day of `range`.
    pub(super) async fn walk_audit(
        &mut self,
        keyset: &Keyset,
        range: Interval,
        arrived: Interval,
    ) -> Result<(), FetchError> {
        for day in self.days_with_arrivals(keyset, range, arrived).await? {
            self.walk_range(keyset, day, Some(arrived), None).await?;
        }
        Ok(())
    }

    /// Asks for the days; the range is halved where that is too much to ask.
    async fn days_with_arrivals(
        &mut self,
        keyset: &Keyset,
        range: Interval,
        arrived: Interval,
    ) -> Result<Vec<Interval>, FetchError> {
        let mut found = Vec::new();
        let mut ranges = vec![range];
        while let Some(range) = ranges.pop() {
            let query = arrivals_by_day(keyset, range, arrived);
            match self.ask_pairs(&query).await {
                Ok(days) => {
                    for (day, _) in &days {
                        found.push(whole_day(day, range).ok_or_else(|| {
                            let detail = format!("`{day}` is no day of the range asked for");
                            self.contract(&self.sql_request(&query), detail)
                        })?);
                    }
                }
                Err(err) if err.asks_too_much() && range.length() > DAY => {
                    let middle = range.from.plus(range.length() / 2);
                    ranges.extend(Interval::new(middle, range.to));
                    ranges.extend(Interval::new(range.from, middle));
                }
                Err(err) => return Err(err),
            }
        }
        Ok(found)
    }
}

/// The UTC day of a time; `toDate` would give the project's.
pub(super) fn day_of(time: &str) -> String {
    format!("substring(toString(toTimeZone({time}, 'UTC')), 1, 10)")
}

/// Counts by UTC day.
fn arrivals_by_day(keyset: &Keyset, range: Interval, arrived: Interval) -> Query {
    let mut query = Query::default();
    let (time, arrival) =
        (keyset.time.clone().unwrap_or_default(), keyset.arrival.clone().unwrap_or_default());
    let mut conditions = vec![
        query.within(&time, ("from", "to"), range),
        query.within(&arrival, ("arrived_from", "arrived_to"), arrived),
    ];
    conditions.extend(keyset.filter());
    query.text = format!(
        "SELECT {} AS day, count() FROM {} {}GROUP BY day ORDER BY day LIMIT 50000",
        day_of(&time),
        keyset.from,
        where_all(&conditions)
    );
    query
}

/// The part of a day that lies in `range`.
fn whole_day(day: &str, range: Interval) -> Option<Interval> {
    let from = Timestamp::parse(day)?;
    Interval::new(from.max(range.from), from.plus(DAY).min(range.to))
}
