//! Values that had to be changed to fit where they go, counted by column.
//!
//! A value never costs a row: what no text can hold (a NUL, half of a surrogate
//! pair, bytes that are not UTF-8) is replaced, and what does not fit its column's
//! type is kept as text. Either is counted here and told in the run's summary.

use std::collections::BTreeMap;

/// How many values of each column were repaired.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repairs(BTreeMap<String, u64>);

impl Repairs {
    /// Counts one repaired value of `column`.
    pub fn note(&mut self, column: &str) {
        match self.0.get_mut(column) {
            Some(count) => *count += 1,
            None => {
                self.0.insert(column.to_owned(), 1);
            }
        }
    }

    /// Adds what another batch counted.
    pub fn add(&mut self, other: &Self) {
        for (column, count) in &other.0 {
            *self.0.entry(column.clone()).or_default() += count;
        }
    }

    /// Columns with their counts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(column, count)| (column.as_str(), *count))
    }

    /// All repaired values together.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}
