//! Columns: what a record's fields are called and which type each has.
//!
//! A [`Schema`] starts as the registry declares it and only grows: a field the
//! registry has never heard of becomes a new `json` column at the end. Every
//! batch carries the schema it was cut with, so a target sees growth as a batch
//! whose schema is longer than the last. A column may also be [inside](Origin::Inside)
//! another one; those of a [`Flatten`]ed column grow with the keys that records show, and
//! their types only widen. This module knows no target's types.

use crate::record::casing::Casing;
use crate::record::city;
use crate::record::filter::Filter;
use crate::record::transform::Transform;

/// How the columns begin that targets add for themselves.
const BOOKKEEPING: &str = "_hogline_";

/// The longest name that PostgreSQL does not cut, in bytes.
pub(crate) const LONGEST_NAME: usize = 63;

/// Integers of so many digits are exact in a 64-bit floating point number.
const EXACT_DIGITS: usize = 15;

/// The type a column is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// A UUID in its text form.
    Uuid,
    /// Any text.
    Text,
    /// True or false.
    Bool,
    /// A 64-bit integer.
    Bigint,
    /// A number of any length, exact.
    Numeric,
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
    /// Every type.
    pub const ALL: [Self; 9] = [
        Self::Uuid,
        Self::Text,
        Self::Bool,
        Self::Bigint,
        Self::Numeric,
        Self::Double,
        Self::Timestamp,
        Self::Date,
        Self::Json,
    ];

    /// The type of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The narrowest type of a JSON token; nothing for null, which is of any type.
    pub(crate) fn of_token(raw: &str) -> Option<Self> {
        Some(match raw.as_bytes().first()? {
            b'n' => return None,
            b'"' => Self::Text,
            b't' | b'f' => Self::Bool,
            b'{' | b'[' => Self::Json,
            _ if raw.contains(['.', 'e', 'E']) => Self::Double,
            _ if raw.parse::<i64>().is_ok() => Self::Bigint,
            _ => Self::Numeric,
        })
    }

    /// The type that holds what this one does, and a token of type `other` as well.
    pub(crate) fn widened_by(self, other: Self, raw: &str) -> Self {
        match (self, other) {
            (Self::Text | Self::Json, _) => self,
            (Self::Bigint | Self::Numeric, Self::Double | Self::Numeric)
            | (Self::Numeric, Self::Bigint) => Self::Numeric,
            (Self::Double, Self::Bigint) if raw.len() <= EXACT_DIGITS => Self::Double,
            _ if self == other => self,
            _ => Self::Text,
        }
    }

    /// The name that the registry, replications and `discover` use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Text => "text",
            Self::Bool => "bool",
            Self::Bigint => "bigint",
            Self::Numeric => "numeric",
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
    /// A value inside another column that holds JSON, by the keys that lead there.
    Inside {
        /// The other column, by index.
        column: usize,
        /// The keys; of a list, positions.
        path: Vec<String>,
    },
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

    /// Whether its values are taken out of another column's.
    pub fn is_derived(&self) -> bool {
        matches!(self.origin, Origin::Inside { .. })
    }
}

/// What is known of a column before a record shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreseen {
    /// The field that will fill it.
    pub field: String,
    /// What it is called.
    pub name: String,
    /// Its type.
    pub kind: ColumnType,
}

/// A column whose keys get columns of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flatten {
    /// The column, by index.
    pub column: usize,
    /// How many keys at most.
    pub limit: usize,
    /// Names of columns that are not wanted.
    pub left_out: Vec<String>,
    /// Names that columns of the target have: theirs alone, and within the limit.
    pub reserved: Vec<String>,
    /// How keys are spelt in names.
    pub casing: Casing,
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
    /// Columns that are named and typed already, should a record show their fields.
    pub foreseen: Vec<Foreseen>,
    /// The columns whose type the user declared, by index.
    pub typed: Vec<usize>,
    /// The column whose keys get columns of their own, if one does.
    pub flatten: Option<Flatten>,
    /// The columns that tell of the run that wrote a row, by index: no row changes by them.
    pub of_run: Vec<usize>,
    /// Which records are wanted, where not all are.
    pub filter: Option<Filter>,
    /// What becomes of values before they are stored.
    pub transforms: Vec<Transform>,
}

impl Schema {
    /// The columns of what is stored: its rows are wanted, changed and flat already.
    #[must_use]
    pub fn at_rest(self) -> Self {
        Self { flatten: None, filter: None, transforms: Vec::new(), ..self }
    }

    /// The index of the column called `name`.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Adds a column for a field nobody declared and returns its index.
    ///
    /// Names that differ only in case would be one column in SQL, so the later
    /// one gets a number behind it. Names of our own bookkeeping are not the source's to give.
    /// A field that was foreseen gets the name and the type that it was foreseen with.
    pub fn add_undeclared(&mut self, field: &str) -> usize {
        if let Some(known) = self.foreseen.iter().find(|known| known.field == field).cloned()
            && !self.is_taken(&known.name)
        {
            return self.push(known.name, known.kind, Origin::Field);
        }
        let is_ours = field.to_ascii_lowercase().starts_with(BOOKKEEPING);
        let base = if is_ours { format!("source{field}") } else { field.to_owned() };
        let is_free = |name: &String| {
            let is_foreseen = |known: &Foreseen| known.name.eq_ignore_ascii_case(name);
            !self.is_taken(name) && !self.foreseen.iter().any(is_foreseen)
        };
        let name = std::iter::once(base.clone())
            .chain((2..).map(|n| format!("{base}_{n}")))
            .find(is_free)
            .unwrap_or_default();
        let (field, kind) = (field.to_owned(), ColumnType::Json);
        self.foreseen.push(Foreseen { field, name: name.clone(), kind });
        self.push(name, kind, Origin::Field)
    }

    /// The field that fills a column, or the keys that lead to what does, as in a pointer.
    pub fn path_of(&self, column: &Column) -> Vec<String> {
        match &column.origin {
            Origin::Inside { column, path } => {
                std::iter::once(&self.columns[*column].name).chain(path).cloned().collect()
            }
            _ => {
                let known = self.foreseen.iter().find(|known| known.name == column.name);
                vec![known.map_or(&column.name, |known| &known.field).clone()]
            }
        }
    }

    /// Adds a column for a key of the flattened column and returns its index; nothing where
    /// that column is not wanted.
    pub(crate) fn add_key(&mut self, key: &str, kind: ColumnType) -> Option<usize> {
        let flatten = self.flatten.as_ref()?;
        let column = flatten.column;
        let name = self.name_of_key(&self.columns[column].name, key);
        if flatten.left_out.contains(&name) {
            return None;
        }
        Some(self.push(name, kind, Origin::Inside { column, path: vec![key.to_owned()] }))
    }

    /// Whether the target has a column for a key of the flattened column.
    pub(crate) fn is_reserved(&self, key: &str) -> bool {
        self.flatten.as_ref().is_some_and(|flatten| {
            let name = self.name_of_key(&self.columns[flatten.column].name, key);
            flatten.reserved.contains(&name)
        })
    }

    /// `properties__plan`. A name that would be cut, or is another key's but for its case, ends
    /// in a hash of the key: the same in every run.
    fn name_of_key(&self, parent: &str, key: &str) -> String {
        let casing = self.flatten.as_ref().map_or(Casing::Source, |flatten| flatten.casing);
        let spelt = casing.name(key).replace('\0', "\u{fffd}");
        let plain = format!("{}{spelt}", flattened_prefix(parent));
        let folded = plain.to_lowercase();
        let reserved = self.flatten.iter().flat_map(|flatten| &flatten.reserved);
        let is_anothers =
            reserved.filter(|name| name.to_lowercase() == folded).any(|name| *name != plain);
        let is_free = !is_anothers && !self.is_taken(&plain);
        if plain.len() <= LONGEST_NAME && !key.is_empty() && is_free {
            return plain;
        }
        hashed_name(&plain, city::hash64(key.as_bytes()))
    }

    /// Whether SQL would take a name for that of a column there is.
    fn is_taken(&self, name: &str) -> bool {
        let folded = name.to_lowercase();
        self.columns.iter().any(|column| column.name.to_lowercase() == folded)
    }

    fn push(&mut self, name: String, kind: ColumnType, origin: Origin) -> usize {
        self.columns.push(Column { name, kind, origin });
        self.columns.len() - 1
    }
}

/// The beginning of a name and a hash, not longer than a name may be.
pub(crate) fn hashed_name(name: &str, hash: u64) -> String {
    let hash = format!("_{hash:016x}");
    let mut end = name.len().min(LONGEST_NAME - hash.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{hash}", &name[..end])
}

/// How the names of columns begin that are keys of a flattened column.
pub(crate) fn flattened_prefix(column: &str) -> String {
    format!("{column}__")
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

    #[test]
    fn a_field_that_was_foreseen_keeps_its_name_and_type_whoever_comes_first() {
        let known = |field: &str, name: &str, kind| Foreseen {
            field: field.into(),
            name: name.into(),
            kind,
        };
        let foreseen =
            vec![known("a", "a", ColumnType::Json), known("A", "A_2", ColumnType::Bigint)];
        let mut schema = Schema { foreseen, ..Schema::default() };

        let names = ["A", "a", "b"].map(|field| {
            let column = schema.add_undeclared(field);
            (schema.columns[column].name.clone(), schema.columns[column].kind)
        });

        let expected = [
            ("A_2".to_owned(), ColumnType::Bigint),
            ("a".to_owned(), ColumnType::Json),
            ("b".to_owned(), ColumnType::Json),
        ];
        assert_eq!(names, expected);
    }

    /// A schema with `properties` flattened.
    fn flattening() -> Schema {
        let mut schema = Schema::default();
        schema.push("properties".into(), ColumnType::Json, Origin::Field);
        let left_out = vec!["properties__$ip".into()];
        let casing = Casing::Source;
        let flatten = Flatten { column: 0, limit: 9, left_out, reserved: vec![], casing };
        Schema { flatten: Some(flatten), ..schema }
    }

    #[test]
    fn no_two_keys_share_a_column() {
        let mut schema = flattening();
        let long = "k".repeat(80);
        let keys = ["plan", "Plan", "PLAN", "", long.as_str(), "a.b", "\0"];
        for key in keys {
            assert!(schema.add_key(key, ColumnType::Text).is_some(), "{key:?}");
        }

        let names: Vec<&str> = schema.columns[1..].iter().map(|c| c.name.as_str()).collect();
        let folded: std::collections::BTreeSet<_> =
            names.iter().map(|name| name.to_lowercase()).collect();
        assert_eq!(folded.len(), keys.len(), "{names:?}");
        assert!(names.iter().all(|name| name.len() <= LONGEST_NAME), "{names:?}");
        assert_eq!((names[0], names[5]), ("properties__plan", "properties__a.b"));
        assert!(names[1].starts_with("properties__Plan_"), "{names:?}");
        assert_eq!(schema.add_key("$ip", ColumnType::Text), None);
    }

    #[test]
    fn keys_that_are_spelt_alike_stay_apart() {
        let mut schema = flattening();
        schema.flatten.as_mut().unwrap().casing = Casing::Snake;
        for key in ["$planName", "$plan_name", "planName"] {
            schema.add_key(key, ColumnType::Text);
        }

        let names: Vec<&str> = schema.columns[1..].iter().map(|c| c.name.as_str()).collect();
        assert_eq!((names[0], names[2]), ("properties___plan_name", "properties__plan_name"));
        assert!(names[1].starts_with("properties___plan_name_"), "{names:?}");
    }

    #[test]
    fn a_column_of_the_target_stays_its_keys_whoever_comes_first() {
        let mut schema = flattening();
        schema.flatten.as_mut().unwrap().reserved = vec!["properties__Plan".into()];
        assert!(schema.is_reserved("Plan") && !schema.is_reserved("plan"));

        for key in ["plan", "Plan"] {
            schema.add_key(key, ColumnType::Text);
        }

        assert!(schema.columns[1].name.starts_with("properties__plan_"));
        assert_eq!(schema.columns[2].name, "properties__Plan");
    }

    #[test]
    fn types_only_widen() {
        for (tokens, expected) in [
            (&["1", "2"][..], "bigint"),
            (&["1", "2.5", "3"], "numeric"),
            (&["1", "9223372036854775808"], "numeric"),
            (&["1", "2.5", "\"x\""], "text"),
            (&["1.5", "7"], "double"),
            (&["1.5", "12345678901234567"], "text"),
            (&["true", "1"], "text"),
            (&["\"x\"", "1"], "text"),
            (&["{}", "1", "\"x\""], "json"),
            (&["1", "{}"], "text"),
        ] {
            let first = ColumnType::of_token(tokens[0]).unwrap();
            let widen = |kind: ColumnType, raw: &&str| {
                kind.widened_by(ColumnType::of_token(raw).unwrap(), raw)
            };
            assert_eq!(tokens[1..].iter().fold(first, widen).name(), expected, "{tokens:?}");
        }
        assert_eq!(ColumnType::of_token("null"), None);
        let names =
            ["uuid", "text", "bool", "bigint", "numeric", "double", "timestamp", "date", "json"];
        assert_eq!(ColumnType::ALL.map(ColumnType::name), names);
        assert_eq!(names.map(ColumnType::named), ColumnType::ALL.map(Some));
    }
}
