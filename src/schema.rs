//! Columns: what a record's fields are called and which type each has.
//!
//! A [`Schema`] starts as the registry declares it and only grows: a field the
//! registry has never heard of becomes a new `json` column at the end. Every
//! batch carries the schema it was cut with, so a target sees growth as a batch
//! whose schema is longer than the last. This module knows no target's types.

use serde::Deserialize;

/// How the columns begin that targets add for themselves.
const BOOKKEEPING: &str = "_hogline_";

/// The type a column is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// A UUID in its text form.
    Uuid,
    /// Any text.
    Text,
    /// True or false.
    Bool,
    /// A 64-bit integer.
    Bigint,
    /// A 64-bit floating point number.
    Double,
    /// An instant to the microsecond, in UTC.
    Timestamp,
    /// A calendar day.
    Date,
    /// Any JSON value, kept as its text.
    Json,
}

impl ColumnType {
    /// The name the registry and `discover` use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Text => "text",
            Self::Bool => "bool",
            Self::Bigint => "bigint",
            Self::Double => "double",
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::Json => "json",
        }
    }
}

/// Where a column's values come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A field of the record.
    Field,
    /// The UTC day of another column, by its index.
    DayOf(usize),
    /// The same value for every record of this pass, as JSON text.
    Constant(String),
    /// This way of reading cannot know it: an upsert leaves what is stored.
    Unknown,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name in the record and in the target.
    pub name: String,
    /// Its type.
    pub kind: ColumnType,
    /// Where its values come from on this way of reading.
    pub origin: Origin,
}

impl Column {
    /// Whether this way of reading can tell the column's value.
    pub fn is_known(&self) -> bool {
        self.origin != Origin::Unknown
    }
}

/// The columns of a stream on one way of reading it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema {
    /// All columns, in the order targets create them.
    pub columns: Vec<Column>,
    /// The columns that identify a record, by index; empty where there is no key.
    pub primary_key: Vec<usize>,
    /// Of two copies of one record the one that is greater here wins, by index.
    pub newest_by: Vec<usize>,
}

impl Schema {
    /// The index of the column called `name`.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Adds a column for a field nobody declared and returns its index.
    ///
    /// Names that differ only in case would be one column in SQL, so the later
    /// one gets a number behind it. Names of our own bookkeeping are not the source's to give.
    pub fn add_undeclared(&mut self, field: &str) -> usize {
        let is_ours = field.to_ascii_lowercase().starts_with(BOOKKEEPING);
        let field = &if is_ours { format!("source{field}") } else { field.to_owned() };
        let taken = |name: &str| self.columns.iter().any(|c| c.name.eq_ignore_ascii_case(name));
        let name = std::iter::once(field.clone())
            .chain((2..).map(|n| format!("{field}_{n}")))
            .find(|name| !taken(name))
            .unwrap_or_default();
        self.columns.push(Column { name, kind: ColumnType::Json, origin: Origin::Field });
        self.columns.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_gets_a_column_of_its_own() {
        let mut schema = Schema::default();
        for (field, name) in [
            ("a", "a"),
            ("A", "A_2"),
            ("", ""),
            ("_hogline_seq", "source_hogline_seq"),
            ("_HOGLINE_seq", "source_HOGLINE_seq_2"),
        ] {
            let column = schema.add_undeclared(field);
            assert_eq!(schema.columns[column].name, name);
        }
    }
}
