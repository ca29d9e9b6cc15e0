//! JSON as PostgreSQL's `jsonb` takes it, and so what two JSON values are compared by.
//!
//! `jsonb` stores texts and numbers by their meaning, so it refuses what has none for it:
//! the escape of NUL and half of a surrogate pair, which are replaced here, and numbers
//! or nesting beyond its bounds, whose whole value is kept as a JSON text instead.

use std::borrow::Cow;

use serde_json::Value;

use crate::record::bytes;

/// Deeper values would need more of the server's stack than it is given by default.
const DEEPEST: usize = 1000;

/// PostgreSQL's `numeric` has 131,072 digits before and 16,383 behind the point.
const MOST_DIGITS: usize = 16_000;

/// Smaller than what an `i64` and PostgreSQL's `bigint` hold.
const LARGEST_WHOLE: f64 = 9e18;

/// `json` as `jsonb` takes it, and whether it had to be changed for that.
pub(crate) fn json(json: &str) -> (Cow<'_, str>, bool) {
    if may_be_beyond(json) && is_beyond(json) {
        return (Cow::Owned(quoted(json)), true);
    }
    if !json.contains("\\u") && !bytes::has(0, json.as_bytes()) {
        return (Cow::Borrowed(json), false);
    }
    let mut kept = String::with_capacity(json.len());
    let mut repaired = false;
    let mut rest = json;
    while let Some(at) = rest.find(['\\', '\0']) {
        kept.push_str(&rest[..at]);
        rest = &rest[at..];
        let (used, is_good) = escape(rest);
        kept.push_str(if is_good { &rest[..used] } else { "\u{fffd}" });
        repaired |= !is_good;
        rest = &rest[used..];
    }
    kept.push_str(rest);
    (Cow::Owned(kept), repaired)
}

/// The one spelling of all JSON that means the same once it is stored. A text that is no JSON
/// means the string that it is kept as.
pub(crate) fn meaning(text: &str) -> String {
    let (json, _) = json(text);
    let mut value = serde_json::from_str(&json).unwrap_or_else(|_| Value::from(json.as_ref()));
    spell_numbers(&mut value);
    value.to_string()
}

/// Spells `-0.0`, `1e2` and `100.0` as whole numbers, as all whole numbers are.
fn spell_numbers(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(spell_numbers),
        Value::Object(members) => members.values_mut().for_each(spell_numbers),
        Value::Number(number) => {
            let whole = number.as_f64().filter(|of| number.is_f64() && of.fract() == 0.0);
            #[expect(clippy::cast_possible_truncation, reason = "it is whole, and not that large")]
            if let Some(whole) = whole.filter(|whole| whole.abs() < LARGEST_WHOLE) {
                *number = (whole as i64).into();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// A text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text.replace('\0', "\u{fffd}")).to_string()
}

/// The bytes of the escape that `rest` begins with, and whether it spells a character.
fn escape(rest: &str) -> (usize, bool) {
    let unit = |at: usize| {
        let hex = rest.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(hex, 16).ok()
    };
    if rest.starts_with('\0') {
        return (1, false);
    }
    match unit(0) {
        None => (rest.chars().take(2).map(char::len_utf8).sum(), true),
        Some(0) => (6, false),
        Some(0xd800..0xdc00) => match unit(6) {
            Some(0xdc00..0xe000) => (12, true),
            _ => (6, false),
        },
        Some(0xdc00..0xe000) => (6, false),
        Some(_) => (6, true),
    }
}

/// Whether it is worth a closer look: nearly all JSON is too short and has too few brackets.
fn may_be_beyond(json: &str) -> bool {
    let bytes = json.as_bytes();
    // This bit alone tells `[` from `{`.
    let brackets = bytes.iter().filter(|byte| **byte | 0x20 == b'{').count();
    let has_exponent = || bytes::exponents(bytes).any(|at| is_large_exponent(&bytes[at + 1..]));
    bytes.len() > MOST_DIGITS || brackets > DEEPEST || has_exponent()
}

/// Whether nesting or a number in it is more than PostgreSQL can hold.
fn is_beyond(json: &str) -> bool {
    let (mut depth, mut number, mut in_text, mut skip) = (0_usize, 0_usize, false, false);
    let bytes = json.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        if in_text {
            in_text = skip || *byte != b'"';
            skip = !skip && *byte == b'\\';
            continue;
        }
        number = if byte.is_ascii_digit() { number + 1 } else { 0 };
        match byte {
            b'"' => in_text = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'e' | b'E' if is_large_exponent(&bytes[at + 1..]) => return true,
            _ => {}
        }
        if depth > DEEPEST || number > MOST_DIGITS {
            return true;
        }
    }
    false
}

/// Whether an exponent of five digits or more follows: the `e` of `true` is followed by none.
fn is_large_exponent(rest: &[u8]) -> bool {
    let signed = matches!(rest.first(), Some(b'+' | b'-'));
    let digits = rest[usize::from(signed)..].iter();
    let digits = digits.take_while(|byte| byte.is_ascii_digit()).skip_while(|byte| **byte == b'0');
    digits.count() > 4
}

#[cfg(test)]
mod tests {
    use super::{json as storable, meaning};

    #[test]
    fn only_what_jsonb_refuses_is_changed() {
        for (json, expected) in [
            (r#"{"a":[1.50,true,null,"x\ny"]}"#, None),
            (r#"["\u00e9\ud83e\udd94\\u0000\\\\ud800"]"#, None),
            (r#"["a\u0000b"]"#, Some("[\"a\u{fffd}b\"]")),
            (r#"["\\\u0000"]"#, Some("[\"\\\\\u{fffd}\"]")),
            (
                r#"["\ud83e!","\udd94","\ud83e\ud83e\udd94"]"#,
                Some("[\"\u{fffd}!\",\"\u{fffd}\",\"\u{fffd}\\ud83e\\udd94\"]"),
            ),
            ("[1e9999]", None),
            ("[1e10000]", Some(r#""[1e10000]""#)),
            ("[-1E-99999]", Some(r#""[-1E-99999]""#)),
        ] {
            let (kept, repaired) = storable(json);
            assert_eq!((kept.as_ref(), repaired), (expected.unwrap_or(json), expected.is_some()));
        }
    }

    #[test]
    fn spellings_of_one_value_mean_the_same() {
        for (one, other) in [
            (r#"{"a":1,"b":[1e2,-0.0]}"#, r#"{"b": [100, 0], "a": 1.0}"#),
            (r#"["\u00e9\u0000"]"#, "[\"é\u{fffd}\"]"),
            (r#"["\ud83e!"]"#, "[\"\u{fffd}!\"]"),
            ("[1e99999]", r#""[1e99999]""#),
            ("soon", r#""soon""#),
            ("1e20", "100000000000000000000"),
        ] {
            assert_eq!(meaning(one), meaning(other));
        }
        for (one, other) in [("1", r#""1""#), ("[1.5]", "[1]"), ("[]", "{}"), ("null", "0")] {
            assert_ne!(meaning(one), meaning(other));
        }
    }

    #[test]
    fn a_large_exponent_is_found_wherever_a_block_ends() {
        for before in 0..140 {
            let json = format!("[{}1e99999]", "1,".repeat(before));
            assert!(storable(&json).1, "{json}");
            let small = format!("[{}1e9999,\"1e99999\"]", "1,".repeat(before));
            assert!(!storable(&small).1, "{small}");
        }
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_kept_as_a_text() {
        for json in [format!("{}{}", "[".repeat(5000), "]".repeat(5000)), "1".repeat(20_000)] {
            let (kept, repaired) = storable(&json);
            assert_eq!((kept.as_ref(), repaired), (format!("\"{json}\"").as_str(), true));
        }
        assert!(!storable(&format!("\"{}\"", "[1".repeat(20_000))).1);
    }
}
