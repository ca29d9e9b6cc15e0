//! The types a column can have, which values fit each, and how one widens.
//!
//! A column begins with the type that its stream's schema means. A value that does not
//! fit never costs its row: the column becomes a wider type, `numeric` where it held
//! integers and `text` at last, and what it held before is kept as the text that the
//! same value would be. No column ever becomes narrower.

use uuid::Uuid;

use crate::record::value::Value;
use crate::schema::ColumnType;

/// More digits than any counter or id has; PostgreSQL could hold 131,072.
const MOST_DIGITS: usize = 1000;

/// A type of PostgreSQL that values are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Uuid,
    Bool,
    Smallint,
    Integer,
    Bigint,
    Numeric,
    Double,
    Timestamptz,
    Timestamp,
    Date,
    Jsonb,
    Json,
}

/// The types by their names in SQL; the first name is what we write, the others we meet.
const NAMES: [(Kind, &str); 14] = [
    (Kind::Text, "text"),
    (Kind::Text, "character varying"),
    (Kind::Uuid, "uuid"),
    (Kind::Bool, "boolean"),
    (Kind::Smallint, "smallint"),
    (Kind::Integer, "integer"),
    (Kind::Bigint, "bigint"),
    (Kind::Numeric, "numeric"),
    (Kind::Double, "double precision"),
    (Kind::Timestamptz, "timestamp with time zone"),
    (Kind::Timestamp, "timestamp without time zone"),
    (Kind::Date, "date"),
    (Kind::Jsonb, "jsonb"),
    (Kind::Json, "json"),
];

impl Kind {
    /// The type that a schema's type is kept as.
    pub(super) fn of(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Uuid => Self::Uuid,
            ColumnType::Text => Self::Text,
            ColumnType::Bool => Self::Bool,
            ColumnType::Bigint => Self::Bigint,
            ColumnType::Numeric => Self::Numeric,
            ColumnType::Double => Self::Double,
            ColumnType::Timestamp => Self::Timestamptz,
            ColumnType::Date => Self::Date,
            ColumnType::Json => Self::Jsonb,
        }
    }

    /// The type that PostgreSQL calls `name`; nothing where we write no such values.
    pub(super) fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// Its name in SQL.
    pub(super) fn sql(self) -> &'static str {
        NAMES.iter().find(|(kind, _)| *kind == self).map_or("text", |(_, name)| name)
    }

    /// Whether a column of this type holds `value` as it is.
    pub(super) fn fits(self, value: &Value<'_>) -> bool {
        match (self, value) {
            (_, Value::Null)
            | (Self::Text | Self::Jsonb | Self::Json, _)
            | (Self::Bool, Value::Bool(_))
            | (Self::Bigint | Self::Numeric, Value::Bigint(_))
            | (Self::Double, Value::Double(_))
            | (Self::Timestamptz | Self::Timestamp, Value::Timestamp(_) | Value::Date(_))
            | (Self::Date, Value::Date(_)) => true,
            (Self::Smallint, Value::Bigint(number)) => i16::try_from(*number).is_ok(),
            (Self::Integer, Value::Bigint(number)) => i32::try_from(*number).is_ok(),
            (Self::Double, Value::Bigint(number)) => number.unsigned_abs() < 1 << 53,
            (Self::Uuid, Value::Text(text)) => is_uuid(text),
            (Self::Numeric, Value::Text(text)) => is_decimal(text),
            _ => false,
        }
    }

    /// The next wider type that may hold `value`, which this one does not.
    pub(super) fn wider(self, value: &Value<'_>) -> Self {
        match (self, value) {
            (Self::Smallint | Self::Integer, Value::Bigint(_)) => Self::Bigint,
            (Self::Smallint | Self::Integer | Self::Bigint, Value::Text(text))
                if is_decimal(text) =>
            {
                Self::Numeric
            }
            _ => Self::Text,
        }
    }

    /// The type that a column of this one needs before it holds values of a schema's type, which
    /// the user may have declared. Where values may fit as they are, they tell.
    pub(super) fn foreseeing(self, kind: ColumnType, is_declared: bool) -> Self {
        match (self, kind) {
            (_, ColumnType::Text) if is_declared => Self::Text,
            (Self::Text | Self::Uuid | Self::Json | Self::Jsonb, _) => self,
            (_, ColumnType::Text) => Self::Text,
            (Self::Smallint | Self::Integer | Self::Bigint, ColumnType::Numeric) => Self::Numeric,
            _ => self,
        }
    }

    /// Whether every value of this type is one of the other, too.
    pub(super) fn widens_to(self, to: Self) -> bool {
        let is_integer = matches!(self, Self::Smallint | Self::Integer | Self::Bigint);
        to == Self::Text || (is_integer && matches!(to, Self::Bigint | Self::Numeric))
    }

    /// What a column of this type, called `name` in SQL, is in a wider one: in text a value
    /// looks as it does where it is written as text.
    pub(super) fn widened(self, name: &str, to: Self) -> String {
        let moment = r#"'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'"#;
        match (self, to) {
            (Self::Timestamptz, Self::Text) => {
                format!("to_char({name} AT TIME ZONE 'UTC', {moment})")
            }
            (Self::Timestamp, Self::Text) => format!("to_char({name}, {moment})"),
            (Self::Date, Self::Text) => format!("to_char({name}, 'YYYY-MM-DD')"),
            _ => format!("{name}::{}", to.sql()),
        }
    }
}

/// Whether a text is a UUID in the spelling that PostgreSQL shows it in.
fn is_uuid(text: &str) -> bool {
    let is_small = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    text.len() == 36 && is_small && Uuid::try_parse(text).is_ok()
}

/// Whether a text is a number in the spelling that PostgreSQL shows it in: what is read is
/// then what was written.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_zero = digits.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    is_plain(whole)
        && is_plain(fraction)
        && digits.len() <= MOST_DIGITS
        && (whole == "0" || !whole.starts_with('0'))
        && !(is_zero && digits.len() < text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_known_by_the_name_it_is_made_with() {
        for (kind, _) in NAMES {
            assert_eq!(Kind::named(kind.sql()), Some(kind));
        }
        assert_eq!(Kind::named("character varying(20)"), None);
    }

    #[test]
    fn a_value_that_does_not_fit_widens_its_column() {
        let text = |text: &'static str| Value::Text(text.into());
        let id = "0190b3c1-0000-7000-8000-00000000000a";
        for (kind, value, expected) in [
            (Kind::Bigint, Value::Bigint(i64::MIN), Kind::Bigint),
            (Kind::Bigint, text("9223372036854775808"), Kind::Numeric),
            (Kind::Bigint, text("007"), Kind::Text),
            (Kind::Bigint, text("-0"), Kind::Text),
            (Kind::Bigint, text(""), Kind::Text),
            (Kind::Numeric, text("1.5"), Kind::Numeric),
            (Kind::Bigint, text("-0.50"), Kind::Numeric),
            (Kind::Numeric, text("-0.0"), Kind::Text),
            (Kind::Numeric, text("1.5e3"), Kind::Text),
            (Kind::Numeric, text(".5"), Kind::Text),
            (Kind::Integer, Value::Bigint(1 << 40), Kind::Bigint),
            (Kind::Smallint, Value::Bigint(7), Kind::Smallint),
            (Kind::Double, text("1e400"), Kind::Text),
            (Kind::Double, Value::Bigint(1 << 53), Kind::Text),
            (Kind::Uuid, text(id), Kind::Uuid),
            (Kind::Uuid, text("0190b3c1000070008000000000000001"), Kind::Text),
            (Kind::Uuid, text("0190B3C1-0000-7000-8000-00000000000A"), Kind::Text),
            (Kind::Bool, text("true"), Kind::Text),
            (Kind::Timestamptz, text("soon"), Kind::Text),
            (Kind::Jsonb, text("soon"), Kind::Jsonb),
            (Kind::Uuid, Value::Null, Kind::Uuid),
        ] {
            let found = if kind.fits(&value) { kind } else { kind.wider(&value) };
            assert_eq!(found, expected, "{value:?} in {kind:?}");
            assert!(found.fits(&value));
        }
    }
}
