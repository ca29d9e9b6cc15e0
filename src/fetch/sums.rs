//! How many records a day has, and a sum that tells whether they are others.
//!
//! The store hashes the identity of every record and sums the hashes by UTC day, which
//! costs one question a month where reading would cost thousands. The order of rows does
//! not matter to a sum, two sets of one size have one sum by accident once in 2^64, and a
//! copy that is not merged yet counts once. `uniq` would be approximate, XOR would let
//! copies cancel each other, `toDate` would count by the project's days.

use std::collections::BTreeMap;

use super::keyset::{DAY, Query, expression, where_all};
use super::{FetchError, Reader};
use crate::cursor::{Interval, Timestamp};
use crate::record::city;
use crate::spec::endpoint::Keyset;

/// How many days the first question covers.
const A_MONTH: u32 = 31;

/// How many days a question covers at most.
const A_YEAR: u32 = 366;

/// A question over fewer records than this may be twice as long the next time: the store
/// holds 16 bytes for each while it answers.
const LIGHT: u64 = 1_000_000;

/// What stands between the parts of an identity: names hardly ever hold it.
const BETWEEN: &str = "\n";

/// The records of a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DaySum {
    /// How many identities there are.
    pub count: u64,
    /// The sum of their hashes, modulo 2^64.
    pub sum: u64,
}

impl DaySum {
    /// Adds the record with these values of the identity's columns.
    pub fn add(&mut self, identity: &[&str]) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(city::hash64(identity.join(BETWEEN).as_bytes()));
    }
}

impl Reader<'_> {
    /// Sums the identities, by these columns, of what happened in `range` and arrived before
    /// `until`, by UTC day.
    ///
    /// # Errors
    /// When PostHog cannot be asked or refuses: servers of 2023 have no such function.
    pub async fn sums_by_day(
        &mut self,
        keyset: &Keyset,
        identity: &[String],
        range: Interval,
        until: Timestamp,
    ) -> Result<BTreeMap<String, DaySum>, FetchError> {
        let mut sums = BTreeMap::new();
        let (mut from, mut days) = (range.from, A_MONTH);
        while let Some(slice) = Interval::new(from, end_of(from, days).min(range.to)) {
            let query = sums_query(keyset, identity, slice, until);
            let found = match self.ask_pairs(&query).await {
                Err(err) if err.asks_too_much() && days > 1 => {
                    days /= 2;
                    continue;
                }
                found => found?,
            };
            let mut rows = 0;
            for (day, text) in found {
                let sum = read_sum(&text).ok_or_else(|| {
                    let detail = format!("`{text}` is no count with its sum");
                    self.contract(&self.sql_request(&query), detail)
                })?;
                rows += sum.count;
                sums.insert(day, sum);
            }
            if rows < LIGHT {
                days = (days * 2).min(A_YEAR);
            }
            from = slice.to;
        }
        Ok(sums)
    }
}

fn sums_query(keyset: &Keyset, identity: &[String], range: Interval, until: Timestamp) -> Query {
    let mut query = Query::default();
    let time = keyset.time.clone().unwrap_or_default();
    let mut conditions = vec![query.within(&time, ("from", "to"), range)];
    if let Some(arrival) = &keyset.arrival {
        conditions.push(format!("{arrival} < {}", query.time("until", until)));
    }
    conditions.extend(keyset.filter());
    let condition = where_all(&conditions);
    let parts: Vec<&str> = identity.iter().map(|column| expression(keyset, column)).collect();
    let text = match parts.as_slice() {
        [one] => (*one).to_owned(),
        many => {
            let between = format!(", {}, ", query.value("between", BETWEEN));
            format!("concat({})", many.join(&between))
        }
    };
    query.text = format!(
        "SELECT day, concat(toString(count()), ' ', toString(sum(hash))) AS total FROM \
         (SELECT DISTINCT substring(toString(toTimeZone({time}, 'UTC')), 1, 10) AS day, \
         cityHash64({text}) AS hash FROM {} {condition}) \
         GROUP BY day ORDER BY day LIMIT 50000",
        keyset.from
    );
    query
}

fn read_sum(text: &str) -> Option<DaySum> {
    let (count, sum) = text.split_once(' ')?;
    Some(DaySum { count: count.parse().ok()?, sum: sum.parse().ok()? })
}

/// Where so many days end, the one that an instant lies in counted: no day is asked for twice.
fn end_of(from: Timestamp, days: u32) -> Timestamp {
    day_of(from).plus(DAY * days)
}

/// When the UTC day of an instant begins.
fn day_of(at: Timestamp) -> Timestamp {
    let day = i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(at.micros().div_euclid(day) * day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_end_where_days_do() {
        let t = |text| Timestamp::parse(text).unwrap();
        for (from, days, end) in [
            ("2026-01-10T06:00", 1, "2026-01-11"),
            ("2026-01-10", 31, "2026-02-10"),
            ("1969-12-31T23:59", 2, "1970-01-02"),
        ] {
            assert_eq!(end_of(t(from), days), t(end), "{from}");
        }
    }

    #[test]
    fn a_sum_does_not_depend_on_the_order() {
        let mut sums = [DaySum::default(); 2];
        for (sum, order) in sums.iter_mut().zip([["a", "b"], ["b", "a"]]) {
            order.iter().for_each(|name| sum.add(&["id", name]));
        }

        assert_eq!(sums[0], sums[1]);
        assert_ne!(sums[0].sum, DaySum::default().sum);
    }
}
