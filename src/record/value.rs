//! One field, from the raw JSON it arrived as to a value of its column's type.
//!
//! Conversion is lazy and borrows: a text without escapes, a compact JSON value
//! and a number cost no allocation. What does not fit its type becomes text and
//! is counted as repaired; nothing here ever refuses a value.

use std::borrow::Cow;

use crate::cursor::Timestamp;
use crate::record::bytes;
use crate::record::json::{self, Spelling};
use crate::schema::ColumnType;

/// More digits than any number of ours has, and no more than PostgreSQL takes.
const MOST_DIGITS: usize = 400;

/// A value of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// A 64-bit integer.
    Bigint(i64),
    /// A finite number.
    Double(f64),
    /// Text, also of a value that does not fit its column's type.
    Text(Cow<'a, str>),
    /// The UTC day that holds the instant.
    Date(Timestamp),
    /// An instant.
    Timestamp(Timestamp),
    /// JSON without white space between its tokens.
    Json(Cow<'a, str>),
}

impl<'a> Value<'a> {
    /// The text that a target shows for it; nothing for null.
    pub fn text(self) -> Option<Cow<'a, str>> {
        let text = match self {
            Self::Null => return None,
            Self::Text(text) | Self::Json(text) => return Some(text),
            Self::Bool(yes) => yes.to_string(),
            Self::Bigint(number) => number.to_string(),
            Self::Double(number) => number.to_string(),
            Self::Timestamp(at) => at.to_string(),
            Self::Date(at) => at.text().day().to_owned(),
        };
        Some(Cow::Owned(text))
    }
}

/// A converted value, and whether it had to be changed to be one.
pub(crate) type Converted<'a> = (Value<'a>, bool);

/// Converts the JSON token `raw` to a column's type.
pub(crate) fn convert(raw: &str, kind: ColumnType) -> Converted<'_> {
    if raw == "null" {
        return (Value::Null, false);
    }
    if kind == ColumnType::Json {
        return json(Cow::Borrowed(raw));
    }
    let Some(content) = string_content(raw) else { return convert_bare(raw, kind) };
    let (text, repaired) = unescape(content);
    let (value, misfit) = convert_text(text, kind);
    (value, repaired || misfit)
}

/// Converts text that is no JSON token (SQL answers give JSON columns so) to a column's type.
pub(crate) fn convert_text(text: Cow<'_, str>, kind: ColumnType) -> Converted<'_> {
    let fitting = match kind {
        ColumnType::Text | ColumnType::Uuid => return (Value::Text(text), false),
        ColumnType::Json if text.is_empty() => Some(Value::Null),
        ColumnType::Json => return json(text),
        ColumnType::Timestamp => Timestamp::parse(&text).map(Value::Timestamp),
        ColumnType::Date => Timestamp::parse(&text).map(Value::Date),
        ColumnType::Bigint => integer(&text),
        ColumnType::Numeric => numeric(&text).filter(|number| spells(number, &text)),
        ColumnType::Double => finite(&text).map(Value::Double),
        ColumnType::Bool => text.parse().ok().map(Value::Bool),
    };
    fitting.map_or((Value::Text(text), true), |value| (value, false))
}

/// A JSON value without white space; text that only looks like one stays text.
fn json(text: Cow<'_, str>) -> Converted<'_> {
    match json::spelling(&text) {
        Spelling::Broken => (Value::Text(without_nul(text)), true),
        Spelling::Compact => (Value::Json(text), false),
        Spelling::Spaced => (Value::Json(Cow::Owned(compact(&text).into_owned())), false),
    }
}

/// Converts a token that is not a string: a number, a boolean, an object, an array.
fn convert_bare(raw: &str, kind: ColumnType) -> Converted<'_> {
    let fitting = match kind {
        ColumnType::Bool => match raw {
            "true" | "1" => Some(Value::Bool(true)),
            "false" | "0" => Some(Value::Bool(false)),
            _ => None,
        },
        ColumnType::Bigint => raw.parse().ok().map(Value::Bigint),
        ColumnType::Numeric => numeric(raw),
        ColumnType::Double => finite(raw).map(Value::Double),
        ColumnType::Text | ColumnType::Uuid => {
            let has_nul = raw.contains('\0');
            return (Value::Text(without_nul(compact(raw))), has_nul);
        }
        ColumnType::Timestamp | ColumnType::Date | ColumnType::Json => None,
    };
    let misfit = || (Value::Text(without_nul(compact(raw))), true);
    fitting.map_or_else(misfit, |value| (value, false))
}

/// An integer that a text spells in the one way: `007` is not the number 7.
fn integer(text: &str) -> Option<Value<'static>> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(Value::Bigint(number))
}

/// Whether a number is spelt by exactly this text.
fn spells(number: &Value<'_>, text: &str) -> bool {
    match number {
        Value::Bigint(number) => number.to_string() == text,
        Value::Text(number) => number == text,
        _ => false,
    }
}

/// A number of any length, as an integer where it is one of 64 bits and else as the text of
/// its digits: without an exponent, and without zeros that mean nothing.
fn numeric(raw: &str) -> Option<Value<'static>> {
    let (sign, rest) = raw.strip_prefix('-').map_or(("", raw), |rest| ("-", rest));
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let length = mantissa.len() + exponent.unsigned_abs() as usize;
    if whole.is_empty() || !is_plain(whole) || !is_plain(fraction) || length > MOST_DIGITS {
        return None;
    }
    let mut digits = format!("{whole}{fraction}");
    // Where the point stands among the digits.
    let point = i32::try_from(whole.len()).ok()? + exponent;
    let missing = usize::try_from(-point).unwrap_or(0);
    digits.insert_str(0, &"0".repeat(missing));
    let point = usize::try_from(point).unwrap_or(0);
    digits.push_str(&"0".repeat(point.saturating_sub(digits.len())));
    let (whole, fraction) = digits.split_at(point);
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    let text = match fraction {
        "" if whole == "0" => "0".to_owned(),
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    };
    Some(text.parse().map_or(Value::Text(Cow::Owned(text)), Value::Bigint))
}

/// Text that any database can hold.
fn without_nul(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { text }
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// What stands between the quotes, where `raw` is a JSON string.
pub(crate) fn string_content(raw: &str) -> Option<&str> {
    raw.strip_prefix('"')?.strip_suffix('"')
}

/// The text a JSON string's content spells, and whether something in it no text can hold
/// (NUL, half a surrogate pair, an unknown escape) was replaced by `U+FFFD`.
pub(crate) fn unescape(content: &str) -> (Cow<'_, str>, bool) {
    let bytes = content.as_bytes();
    if bytes::find([b'\\'; 2], bytes, 0) == bytes.len() {
        let has_nul = bytes::has(0, bytes);
        return (if has_nul { without_nul(content.into()) } else { content.into() }, has_nul);
    }
    let mut text = Vec::with_capacity(bytes.len() + bytes::BLOCK);
    let mut done = 0;
    let mut repaired = false;
    // Not a `for` loop: this way it runs within the loop over blocks.
    bytes::escapes(bytes).for_each(|at| {
        // The second half of a pair was read with the first.
        if at < done {
            return;
        }
        bytes::append(&mut text, bytes, done, at);
        done = at + 1;
        // These stand for themselves, and are copied with what follows.
        if let Some(b'"' | b'\\' | b'/') = bytes.get(done) {
            return;
        }
        let (spelt, used) = escape(&content[done..]);
        let character = spelt.unwrap_or('\u{fffd}');
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        repaired |= spelt.is_none();
        done += used;
    });
    bytes::append(&mut text, bytes, done, bytes.len());
    // Always UTF-8: it was, and characters took the place of escapes.
    let text = String::from_utf8(text)
        .unwrap_or_else(|err| String::from_utf8_lossy(err.as_bytes()).into_owned());
    match bytes::has(0, text.as_bytes()) {
        false => (Cow::Owned(text), repaired),
        true => (without_nul(Cow::Owned(text)), true),
    }
}

/// The character an escape spells (nothing where it spells none), and the bytes it takes
/// after its backslash.
fn escape(rest: &str) -> (Option<char>, usize) {
    let simple = match rest.as_bytes().first() {
        Some(b'n') => '\n',
        Some(b't') => '\t',
        Some(b'r') => '\r',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'u') => return unicode_escape(rest),
        _ => return (None, 0),
    };
    (Some(simple), 1)
}

fn unicode_escape(rest: &str) -> (Option<char>, usize) {
    let unit = |at: usize| {
        let hex = rest.get(at..at + 4)?;
        // `from_str_radix` would take a sign.
        let is_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u32::from_str_radix(hex, 16).ok())?
    };
    match unit(1) {
        None => (None, 1),
        Some(0) => (None, 5),
        Some(high @ 0xd800..0xdc00) => {
            match (rest.get(5..7) == Some("\\u")).then(|| unit(7)).flatten() {
                Some(low @ 0xdc00..0xe000) => {
                    (char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)), 11)
                }
                _ => (None, 5),
            }
        }
        Some(other) => (char::from_u32(other), 5),
    }
}

/// `raw` without white space between its tokens; the tokens keep their spelling.
pub(crate) fn compact(raw: &str) -> Cow<'_, str> {
    let bytes = raw.as_bytes();
    let mut kept: Option<String> = None;
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = after_string(bytes, at + 1),
            b' ' | b'\n' | b'\r' | b'\t' => {
                let kept = kept.get_or_insert_with(|| String::with_capacity(raw.len()));
                kept.push_str(&raw[copied..at]);
                at += 1;
                copied = at;
            }
            _ => at += 1,
        }
    }
    match kept {
        None => Cow::Borrowed(raw),
        Some(mut kept) => {
            kept.push_str(&raw[copied..]);
            Cow::Owned(kept)
        }
    }
}

/// The index after the closing quote of the string whose content begins at `at`.
pub(crate) fn after_string(bytes: &[u8], mut at: usize) -> usize {
    bytes::closing_quote(bytes, &mut at);
    at.min(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value<'_> {
        Value::Text(Cow::Borrowed(text))
    }

    fn json(text: &str) -> Value<'_> {
        Value::Json(Cow::Borrowed(text))
    }

    #[test]
    fn tokens_become_values_of_their_columns_type() {
        use ColumnType as T;
        let moment = Timestamp::from_micros(1_000_000);
        for (raw, kind, value, repaired) in [
            ("null", T::Json, Value::Null, false),
            (r#""a\"\u00e9\ud83e\udd94\n""#, T::Text, text("a\"é🦔\n"), false),
            (r#""a\u0000b""#, T::Text, text("a\u{fffd}b"), true),
            ("\"a\0\\n\"", T::Text, text("a\u{fffd}\n"), true),
            (r#""\ud83e!""#, T::Text, text("\u{fffd}!"), true),
            (r#""\ud83e\u0041""#, T::Text, text("\u{fffd}A"), true),
            ("17", T::Text, text("17"), false),
            (r#"{"a": [1, "b c"]}"#, T::Json, json(r#"{"a":[1,"b c"]}"#), false),
            (
                r#"{"big":9007199254740993,"p":2515.40}"#,
                T::Json,
                json(r#"{"big":9007199254740993,"p":2515.40}"#),
                false,
            ),
            ("9007199254740993", T::Bigint, Value::Bigint(9_007_199_254_740_993), false),
            ("9223372036854775808", T::Bigint, text("9223372036854775808"), true),
            ("1.5", T::Bigint, text("1.5"), true),
            ("1.5", T::Double, Value::Double(1.5), false),
            ("1e400", T::Double, text("1e400"), true),
            ("true", T::Bool, Value::Bool(true), false),
            ("0", T::Bool, Value::Bool(false), false),
            (r#""007""#, T::Bigint, text("007"), true),
            ("1.50", T::Numeric, text("1.5"), false),
            ("-12.5e3", T::Numeric, Value::Bigint(-12_500), false),
            ("25e-4", T::Numeric, text("0.0025"), false),
            ("-0.0", T::Numeric, Value::Bigint(0), false),
            ("123456789012345678901", T::Numeric, text("123456789012345678901"), false),
            ("1e999999999", T::Numeric, text("1e999999999"), true),
            (r#""1.5""#, T::Numeric, text("1.5"), false),
            (r#""1.50""#, T::Numeric, text("1.50"), true),
            (r#""yes""#, T::Bool, text("yes"), true),
            (r#""1970-01-01T00:00:01Z""#, T::Timestamp, Value::Timestamp(moment), false),
            (r#""1970-01-01 02:00:01+02:00""#, T::Timestamp, Value::Timestamp(moment), false),
            (r#""soon""#, T::Timestamp, text("soon"), true),
            (r#"{"a":NaN}"#, T::Json, text(r#"{"a":NaN}"#), true),
            ("{\"a\":\"\0\"}", T::Json, text("{\"a\":\"\u{fffd}\"}"), true),
            ("{\"a\":\"\0\"}", T::Text, text("{\"a\":\"\u{fffd}\"}"), true),
            (r#""\u+041""#, T::Text, text("\u{fffd}+041"), true),
        ] {
            assert_eq!(convert(raw, kind), (value, repaired), "{raw} as {kind:?}");
        }
    }

    #[test]
    fn an_sql_answers_json_text_becomes_json() {
        let (inner, _) = unescape(r#"{\"a\": \"b\\nc\"}"#);
        let (value, repaired) = convert_text(inner, ColumnType::Json);

        assert_eq!(value, json(r#"{"a":"b\nc"}"#));
        assert!(!repaired);
    }
}
