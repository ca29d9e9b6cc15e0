//! Which records are wanted: `where: event = '$pageview' and properties.plan in ('pro', 'team')`.
//!
//! A [`Filter`] is read from text, bound to the columns of a stream, and asked for every row.
//! As in SQL, nothing is equal to null, and a row is wanted where the condition is true, not
//! where it is unknown. What a store decides as we do is sent to it as well (`sql`), so
//! that unwanted rows need not travel; rows are asked whatever the store did.

mod parse;
mod sql;

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::cursor::Timestamp;
use crate::record::batch::Row;
use crate::record::inside;
use crate::record::repair::Repairs;
use crate::record::value::{self, Value};
use crate::schema::{ColumnType, Schema};

pub use parse::Malformed;
pub use sql::Pushed;

const DAY: i64 = 86_400_000_000;

/// A condition that records fulfil or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Condition);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Is(Place, Comparison, Literal),
    Like { place: Place, pattern: String, any_case: bool },
    Null(Place),
}

/// A column, and keys below it where it holds JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    column: String,
    keys: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Literal {
    Text(String),
    /// A number as it was written.
    Number(String),
    Bool(bool),
    Time(Timestamp),
}

impl Filter {
    /// Reads a condition.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        parse::condition(text).map(Self)
    }

    /// Makes literals what the columns hold: texts times, where a time is compared.
    ///
    /// # Errors
    /// What `kind_of` says of a column, or why a literal cannot be compared with it.
    pub fn bind(
        &mut self,
        kind_of: &dyn Fn(&str) -> Result<ColumnType, String>,
    ) -> Result<(), String> {
        self.0.bind(kind_of)
    }

    /// Whether a row is wanted.
    pub(crate) fn wants(&self, row: &Row<'_>, schema: &Schema) -> bool {
        self.0.holds(&|place| place.value(row, schema)) == Some(true)
    }
}

impl Condition {
    fn bind(&mut self, kind_of: &dyn Fn(&str) -> Result<ColumnType, String>) -> Result<(), String> {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                parts.iter_mut().try_for_each(|part| part.bind(kind_of))
            }
            Self::Not(part) => part.bind(kind_of),
            Self::Null(place) => place.kind(kind_of).map(drop),
            Self::Like { place, .. } => match place.kind(kind_of)? {
                None | Some(ColumnType::Text | ColumnType::Uuid) => Ok(()),
                Some(kind) => Err(format!("`{place}` is {}, and LIKE is for text", kind.name())),
            },
            Self::Is(place, comparison, literal) => match place.kind(kind_of)? {
                None => Ok(()),
                Some(kind) => literal.become_a(kind, place, *comparison),
            },
        }
    }

    /// Whether it is fulfilled; nothing where that is unknown.
    fn holds(&self, value_of: &dyn Fn(&Place) -> Value<'static>) -> Option<bool> {
        match self {
            Self::All(parts) => decided(parts, false, value_of),
            Self::Any(parts) => decided(parts, true, value_of),
            Self::Not(part) => part.holds(value_of).map(|holds| !holds),
            Self::Null(place) => Some(value_of(place) == Value::Null),
            Self::Is(place, comparison, literal) => comparison.holds(&value_of(place), literal),
            Self::Like { place, pattern, any_case } => match value_of(place) {
                Value::Null => None,
                Value::Text(text) if *any_case => {
                    Some(is_like(&text.to_lowercase(), &pattern.to_lowercase()))
                }
                Value::Text(text) => Some(is_like(&text, pattern)),
                _ => Some(false),
            },
        }
    }
}

/// What parts amount to of which one that is `decisive` decides, and an unknown one leaves open
/// what the others do not decide.
fn decided(
    parts: &[Condition],
    decisive: bool,
    value_of: &dyn Fn(&Place) -> Value<'static>,
) -> Option<bool> {
    let mut is_known = true;
    for part in parts {
        match part.holds(value_of) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => is_known = false,
        }
    }
    is_known.then_some(!decisive)
}

impl Place {
    /// The type of its column; nothing for a place inside of one, which holds anything.
    fn kind(
        &self,
        kind_of: &dyn Fn(&str) -> Result<ColumnType, String>,
    ) -> Result<Option<ColumnType>, String> {
        match (kind_of(&self.column)?, self.keys.as_slice()) {
            (kind, []) => Ok(Some(kind)),
            (ColumnType::Json, _) => Ok(None),
            (kind, _) => {
                Err(format!("`{}` is {}, which has nothing inside", self.column, kind.name()))
            }
        }
    }

    fn value(&self, row: &Row<'_>, schema: &Schema) -> Value<'static> {
        let Some(column) = schema.index_of(&self.column) else { return Value::Null };
        let value = row.value(column, &mut Repairs::default());
        match (value, self.keys.as_slice()) {
            (value, []) => value.into_owned(),
            (Value::Json(json), keys) => {
                let mut raw = json.as_ref();
                for key in keys {
                    let places = inside::places(raw, std::slice::from_ref(key));
                    // Of a key that is there twice the last counts.
                    let Some(&(from, to)) = places.last() else { return Value::Null };
                    raw = &raw[from..to];
                }
                let kind = ColumnType::of_token(raw).unwrap_or(ColumnType::Text);
                value::convert(raw, kind).0.into_owned()
            }
            _ => Value::Null,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.column)?;
        self.keys.iter().try_for_each(|key| write!(f, ".{key}"))
    }
}

impl Comparison {
    /// What compares, nothing where it is unknown. Values of other types are unequal, and
    /// neither of them is the greater.
    fn holds(self, value: &Value<'_>, literal: &Literal) -> Option<bool> {
        let order = match (value, literal) {
            (Value::Null, _) => return None,
            (Value::Text(text), Literal::Text(other)) => Some(text.as_ref().cmp(other)),
            (Value::Bigint(number), Literal::Number(other)) => match other.parse::<i64>() {
                Ok(other) => Some(number.cmp(&other)),
                Err(_) => by_size(&number.to_string(), other),
            },
            (Value::Double(number), Literal::Number(other)) => by_size(&number.to_string(), other),
            // A number too large for 64 bits, or one in quotes.
            (Value::Text(text), Literal::Number(other)) => by_size(text, other),
            (Value::Bool(yes), Literal::Bool(other)) => Some(yes.cmp(other)),
            (Value::Timestamp(at), Literal::Time(other)) => Some(at.cmp(other)),
            (Value::Date(at), Literal::Time(other)) => Some(day(*at).cmp(other)),
            _ => None,
        };
        match (self, order) {
            (Self::Equal, order) => Some(order == Some(Ordering::Equal)),
            (Self::Unequal, order) => Some(order != Some(Ordering::Equal)),
            (_, None) => None,
            (Self::Less, Some(order)) => Some(order.is_lt()),
            (Self::AtMost, Some(order)) => Some(order.is_le()),
            (Self::Greater, Some(order)) => Some(order.is_gt()),
            (Self::AtLeast, Some(order)) => Some(order.is_ge()),
        }
    }
}

impl Literal {
    /// Turns into what a column of this type holds.
    fn become_a(
        &mut self,
        kind: ColumnType,
        place: &Place,
        comparison: Comparison,
    ) -> Result<(), String> {
        let is_order = !matches!(comparison, Comparison::Equal | Comparison::Unequal);
        let wanted = match (kind, &*self) {
            (ColumnType::Text | ColumnType::Uuid, Self::Text(_))
            | (ColumnType::Bigint | ColumnType::Numeric | ColumnType::Double, Self::Number(_)) => {
                return Ok(());
            }
            (ColumnType::Bool, Self::Bool(_)) if !is_order => return Ok(()),
            (ColumnType::Timestamp | ColumnType::Date, Self::Text(text)) => {
                match Timestamp::parse(text) {
                    Some(at) => {
                        *self = Self::Time(at);
                        return Ok(());
                    }
                    None => "a time in quotes, as '2026-01-31' or '2026-01-31T12:00:00Z'",
                }
            }
            (ColumnType::Timestamp | ColumnType::Date, _) => "a time in quotes, as '2026-01-31'",
            (ColumnType::Text | ColumnType::Uuid, _) => "a text in quotes, as 'x'",
            (ColumnType::Bool, _) => "true or false, by = or !=",
            (ColumnType::Bigint | ColumnType::Numeric | ColumnType::Double, _) => "a number",
            (ColumnType::Json, _) => "null: name a place inside of it, as properties.plan",
        };
        Err(format!("`{place}` is {}: compare it with {wanted}", kind.name()))
    }
}

/// The day that an instant lies in.
fn day(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.micros().div_euclid(DAY) * DAY)
}

/// Compares numbers as floating point does; nothing where one of them is none.
fn by_size(one: &str, other: &str) -> Option<Ordering> {
    one.parse::<f64>().ok()?.partial_cmp(&other.parse().ok()?)
}

/// Whether a text is as the pattern, in which `%` stands for any text and `_` for a character.
fn is_like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) =
        (text.chars().collect(), pattern.chars().collect());
    let (mut at, mut in_pattern) = (0, 0);
    // Where the last `%` stands, and up to where it reaches so far.
    let mut any: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(in_pattern) {
            Some('%') => {
                any = Some((in_pattern, at));
                in_pattern += 1;
            }
            Some(&wanted) if wanted == '_' || wanted == text[at] => {
                at += 1;
                in_pattern += 1;
            }
            _ => match &mut any {
                Some((percent, reach)) => {
                    *reach += 1;
                    (in_pattern, at) = (*percent + 1, *reach);
                }
                None => return false,
            },
        }
    }
    pattern[in_pattern..].iter().all(|wanted| *wanted == '%')
}

impl Value<'_> {
    /// The same value with its own text.
    fn into_owned(self) -> Value<'static> {
        match self {
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Json(text) => Value::Json(Cow::Owned(text.into_owned())),
            Self::Null => Value::Null,
            Self::Bool(yes) => Value::Bool(yes),
            Self::Bigint(number) => Value::Bigint(number),
            Self::Double(number) => Value::Double(number),
            Self::Date(at) => Value::Date(at),
            Self::Timestamp(at) => Value::Timestamp(at),
        }
    }
}

#[cfg(test)]
mod tests;
