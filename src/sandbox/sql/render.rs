//! SQL answers as JSON, of today and of 2023, written straight into bytes.

use rusqlite::types::ValueRef;
use serde_json::json;

use super::DEFAULT_LIMIT;
use super::translate::{Rules, Translation, Type};
use crate::cursor::Timestamp;
use crate::sandbox::time;

/// One value of a row.
pub(super) fn cell(json: &mut Vec<u8>, value: ValueRef<'_>, kind: Type, is_old: bool) {
    let text = match (value, kind) {
        (ValueRef::Text(text), Type::Time(zone)) => {
            let at = std::str::from_utf8(text).ok().and_then(Timestamp::parse);
            at.map_or("null".to_owned(), |at| {
                let digits = if is_old { 3 } else { 6 };
                format!("\"{}\"", time::zoned(at, zone, digits))
            })
        }
        (ValueRef::Text(text) | ValueRef::Blob(text), _) => {
            return string(json, &String::from_utf8_lossy(text));
        }
        (ValueRef::Integer(bits), Type::Hash) => bits.cast_unsigned().to_string(),
        (ValueRef::Integer(number), _) => number.to_string(),
        (ValueRef::Real(number), _) => json!(number).to_string(),
        (ValueRef::Null, _) => "null".to_owned(),
    };
    json.extend_from_slice(text.as_bytes());
}

/// A text in JSON.
fn string(json: &mut Vec<u8>, text: &str) {
    if let Err(error) = serde_json::to_writer(json, text) {
        tracing::error!(%error, "a text could not be written to memory");
    }
}

/// The answer around the rows; its members stand in the order of their age.
pub(super) fn body(
    text: &str,
    translation: &Translation,
    rules: Rules,
    rows: &[u8],
    has_more: Option<bool>,
) -> Vec<u8> {
    let names: Vec<&str> = translation.columns.iter().map(|(name, _)| name.as_str()).collect();
    let kinds: Vec<[String; 2]> =
        translation.columns.iter().map(|(name, kind)| [name.clone(), kind.name()]).collect();
    let (names, kinds) = (json!(names), json!(kinds));
    let (before, after) = if rules.is_old {
        let text = json!(text);
        (
            format!(
                r#"{{"clickhouse":null,"columns":{names},"error":null,"explain":null,"hogql":{text},"modifiers":{{}},"query":null,"results":["#
            ),
            format!(r#"],"timings":[],"types":{kinds},"is_cached":false}}"#),
        )
    } else {
        let own = json!({ "hasMore": has_more, "limit": has_more.map(|_| DEFAULT_LIMIT),
            "offset": has_more.map(|_| 0) });
        let zone = time::zone_name(rules.project_zone);
        let at = time::zulu(rules.now);
        (
            r#"{"results":["#.to_owned(),
            format!(
                r#"],"columns":{names},"types":{kinds},"hasMore":{},"limit":{},"offset":{},"hogql":{},"clickhouse":null,"error":null,"explain":null,"metadata":null,"modifiers":{{}},"timings":[],"is_cached":false,"cache_key":"cache_sandbox","last_refresh":"{at}","timezone":"{zone}","query_status":null}}"#,
                own["hasMore"],
                own["limit"],
                own["offset"],
                json!(text),
            ),
        )
    };
    [before.as_bytes(), rows, after.as_bytes()].concat()
}

/// Bytes with the last occurrence of some replaced.
pub(super) fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    match bytes.windows(old.len()).rposition(|window| window == old) {
        Some(at) => [&bytes[..at], new, &bytes[at + old.len()..]].concat(),
        None => bytes.to_vec(),
    }
}
