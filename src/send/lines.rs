//! JSON lines in: what a file or a pipe says, one [`Draft`] a line.
//!
//! The text may be plain, gzip or zstd: its first bytes tell. Of a file of any size one line is in
//! memory, and of a line no more than an event may need. A line that is no event is a
//! [`Rejection`]; only where nothing more can be read does reading end.
//!
//! An event is written as PostHog takes it (posthog-api.md §8.2): `event`, `distinct_id`,
//! `properties`, `timestamp`, `uuid`, and `$set` and `$set_once` on top. A key beside these is
//! refused, since PostHog would lose it in silence. Whether the event keeps the rules is not
//! judged here.

use std::io::{self, BufRead, BufReader, Read};

use serde_json::{Map, Value};

use super::draft::Draft;
use super::rules::{Code, Rejection};
use crate::config::complaint::suggestion;
use crate::pack::unpack_any;

/// The longest line in bytes: several times the largest event, which may be written with spaces
/// and escapes.
const LONGEST: usize = 8 << 20;

/// What an event may have.
const KEYS: [&str; 8] = [
    "event",
    "distinct_id",
    "$distinct_id",
    "properties",
    "timestamp",
    "uuid",
    "$set",
    "$set_once",
];

/// What libraries write beside an event, and a batch says once for all: whose it is, what it is.
const PASSED_OVER: [&str; 3] = ["api_key", "token", "type"];

/// A line, or why it was not read, and what is known of it.
pub type Line<'a> = Result<&'a [u8], (Rejection, &'a [u8])>;

/// The lines of a text.
pub struct Lines {
    input: BufReader<Box<dyn BufRead + Send>>,
    number: i64,
    line: Vec<u8>,
}

impl Lines {
    /// The lines of what may be packed.
    ///
    /// # Errors
    ///
    /// Nothing can be read of it.
    pub fn of(input: impl Read + Send + 'static) -> io::Result<Self> {
        Ok(Self { input: BufReader::new(unpack_any(input)?), number: 0, line: Vec::new() })
    }

    /// The number of the line read last, from 1.
    pub fn number(&self) -> i64 {
        self.number
    }

    /// Whether the next line may have to be waited for: nothing of it is here yet.
    pub fn may_wait(&self) -> bool {
        self.input.buffer().is_empty()
    }

    /// The next line that is not blank, without its end, and its number; nothing after the last.
    /// One that is too long is skipped, and nothing of it known.
    ///
    /// # Errors
    ///
    /// What is below breaks off, or is packed wrongly.
    pub fn next(&mut self) -> io::Result<Option<(i64, Line<'_>)>> {
        loop {
            self.line.clear();
            let most = LONGEST as u64 + 1;
            let read = self.input.by_ref().take(most).read_until(b'\n', &mut self.line)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            let is_whole = self.line.ends_with(b"\n") || self.line.len() <= LONGEST;
            if !is_whole {
                self.input.skip_until(b'\n')?;
                self.line.clear();
                let reason = format!("the line has more than {LONGEST} bytes");
                let rejection = Rejection::new(Code::LineTooLong, reason);
                return Ok(Some((self.number, Err((rejection, b"".as_slice())))));
            }
            if self.number == 1 && self.line.starts_with(b"\xef\xbb\xbf") {
                self.line.drain(..3);
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        Ok(Some((self.number, Ok(self.line.trim_ascii()))))
    }
}

/// Reads a line as an event.
///
/// An event without a `uuid` that says when it happened gets an id made of its line and of where
/// that stands: the same file, sent again, doubles nothing. Without a time it would be another
/// event each time it is sent.
///
/// # Errors
///
/// It is no JSON, or not an event's.
pub fn draft(number: i64, line: &[u8]) -> Result<Draft, Rejection> {
    let mut object = object(line)?;
    if let Some(key) = object.keys().find(|key| !is_known(key)) {
        let reason = format!("unknown key \"{key}\", {}", suggestion(key, &KEYS));
        return Err(Rejection::new(Code::UnknownKey, reason));
    }
    let mut properties = match object.remove("properties") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(properties)) => properties,
        Some(other) => return Err(wrong("properties", "an object", &other)),
    };
    for name in ["$set", "$set_once"] {
        match object.remove(name) {
            None | Some(Value::Null) => {}
            Some(Value::Object(outer)) => set(&mut properties, name, outer),
            Some(other) => return Err(wrong(name, "an object", &other)),
        }
    }
    let outer = object.remove("distinct_id").or_else(|| object.remove("$distinct_id"));
    if let Some(who) = outer.or_else(|| properties.get("distinct_id").cloned()) {
        object.insert("distinct_id".into(), who);
    }
    for name in ["distinct_id", "timestamp"] {
        spell_number(&mut object, name);
    }
    let timestamp = text(&mut object, "timestamp")?;
    let id = text(&mut object, "uuid")?.filter(|id| !id.is_empty());
    Ok(Draft {
        id: id.or_else(|| timestamp.as_ref().map(|_| identity(number, line))),
        event: text(&mut object, "event")?,
        distinct_id: text(&mut object, "distinct_id")?,
        timestamp,
        properties,
    })
}

/// Reads a line as a JSON object.
///
/// # Errors
///
/// It is none.
pub fn object(line: &[u8]) -> Result<Map<String, Value>, Rejection> {
    match serde_json::from_slice(line) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => {
            let reason = format!("expected an object, found {}", kind(&other));
            Err(Rejection::new(Code::WrongShape, reason))
        }
        Err(err) => {
            // Of the message, what is said of the place counts lines from this one.
            let message = err.to_string();
            let what = message.split(" at line ").next().unwrap_or_default();
            let reason = format!("no JSON: {what} at column {}", err.column());
            Err(Rejection::new(Code::NotJson, reason))
        }
    }
}

fn is_known(key: &str) -> bool {
    KEYS.contains(&key) || PASSED_OVER.contains(&key)
}

/// Lays what stands on top over what the properties say, as PostHog does.
fn set(properties: &mut Map<String, Value>, name: &str, outer: Map<String, Value>) {
    match properties.get_mut(name) {
        Some(Value::Object(inner)) => inner.extend(outer),
        _ => drop(properties.insert(name.to_owned(), Value::Object(outer))),
    }
}

fn text(object: &mut Map<String, Value>, key: &str) -> Result<Option<String>, Rejection> {
    match object.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(wrong(key, "a text", &other)),
    }
}

/// Writes a number as text: PostHog takes one for an id, but none for a time.
fn spell_number(object: &mut Map<String, Value>, key: &str) {
    if let Some(value @ Value::Number(_)) = object.get_mut(key) {
        *value = Value::String(value.to_string());
    }
}

/// An identity for what has none: made of its line and of where that stands.
pub fn identity(number: i64, line: &[u8]) -> String {
    // What is not UTF-8 was no JSON.
    format!("line {number}: {}", String::from_utf8_lossy(line))
}

fn wrong(key: &str, expected: &str, found: &Value) -> Rejection {
    let reason = format!("`{key}`: expected {expected}, found {}", kind(found));
    Rejection::new(Code::WrongShape, reason)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use serde_json::json;

    use super::*;
    use crate::pack::gzip;

    /// What the lines of a text are, with their numbers.
    fn lines(bytes: Vec<u8>) -> Vec<(i64, Result<String, Code>)> {
        let mut lines = Lines::of(Cursor::new(bytes)).unwrap();
        let mut all = Vec::new();
        while let Some((number, line)) = lines.next().unwrap() {
            let line = line.map(|line| String::from_utf8(line.to_vec()).unwrap());
            all.push((number, line.map_err(|(rejection, _)| rejection.code)));
        }
        all
    }

    fn rejected(line: &str) -> String {
        draft(1, line.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn lines_are_read_however_they_are_packed() {
        let text = "\u{feff}{\"a\":1}\r\n\n  \n{\"b\":2}";
        let expected = [(1, Ok("{\"a\":1}".to_owned())), (4, Ok("{\"b\":2}".to_owned()))];
        let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
        zstd.write_all(text.as_bytes()).unwrap();

        assert_eq!(lines(text.into()), expected);
        assert_eq!(lines(gzip(text.as_bytes())), expected);
        // Two files in one, as `cat a.gz b.gz` makes them.
        let (one, other) = text.split_at(20);
        assert_eq!(lines([gzip(one.as_bytes()), gzip(other.as_bytes())].concat()), expected);
        assert_eq!(lines(zstd.finish().unwrap()), expected);
        assert_eq!(lines(Vec::new()), []);
        assert_eq!(lines(b"{".to_vec()), [(1, Ok("{".to_owned()))]);
    }

    #[test]
    fn a_line_without_end_costs_itself_alone() {
        let text = [b"first\n".to_vec(), vec![b'x'; LONGEST + 1], b"\nlast\n".to_vec()].concat();

        let expected =
            [(1, Ok("first".to_owned())), (2, Err(Code::LineTooLong)), (3, Ok("last".to_owned()))];
        assert_eq!(lines(text), expected);
    }

    #[test]
    fn a_text_that_breaks_off_is_not_taken_for_whole() {
        let packed = gzip("{}\n".repeat(1000).as_bytes());
        let mut cut = Lines::of(Cursor::new(packed[..packed.len() / 2].to_vec())).unwrap();

        let ended = loop {
            match cut.next() {
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(err) => break Err(err.kind()),
            }
        };

        assert_eq!(ended, Err(io::ErrorKind::UnexpectedEof));
    }

    #[test]
    fn a_line_says_what_posthog_would_read() {
        let line = json!({
            "event": "e", "distinct_id": "u1", "uuid": "abc", "timestamp": "2026-03-09",
            "properties": { "a": 1, "$set": { "b": 1, "c": 1 } },
            "$set": { "b": 2 }, "$set_once": { "d": 3 }, "api_key": "phc_other", "type": "capture",
        });

        assert_eq!(
            draft(1, line.to_string().as_bytes()),
            Ok(Draft {
                id: Some("abc".into()),
                event: Some("e".into()),
                distinct_id: Some("u1".into()),
                timestamp: Some("2026-03-09".into()),
                properties: json!({ "a": 1, "$set": { "b": 2, "c": 1 }, "$set_once": { "d": 3 } })
                    .as_object()
                    .unwrap()
                    .clone(),
            })
        );
    }

    #[test]
    fn somebody_is_found_where_posthog_would_look() {
        for (line, expected) in [
            (
                r#"{"distinct_id":"a","$distinct_id":"b","properties":{"distinct_id":"c"}}"#,
                Some("a"),
            ),
            (r#"{"$distinct_id":"b","properties":{"distinct_id":"c"}}"#, Some("b")),
            (r#"{"properties":{"distinct_id":"c"}}"#, Some("c")),
            (r#"{"distinct_id":17}"#, Some("17")),
            (r#"{"distinct_id":null}"#, None),
            ("{}", None),
        ] {
            let found = draft(1, line.as_bytes()).unwrap().distinct_id;
            assert_eq!(found.as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn a_line_that_says_when_is_the_same_event_each_time_it_is_sent() {
        let id = |number, line: &str| draft(number, line.as_bytes()).unwrap().id;
        let line = r#"{"event":"e","timestamp":"2026-03-09"}"#;

        assert_eq!(id(1, line), id(1, line));
        assert!(id(1, line).is_some() && id(1, line) != id(2, line), "two lines are two events");
        assert_eq!(id(1, r#"{"event":"e"}"#), None);
        assert_eq!(id(1, r#"{"event":"e","uuid":""}"#), None);
    }

    #[test]
    fn what_is_wrong_with_a_line_is_told_with_its_place() {
        for (line, expected) in [
            ("{\"event\": }", "no JSON: expected value at column 11 (not_json)"),
            ("[1]", "expected an object, found a list (wrong_shape)"),
            (
                r#"{"propertes":{}}"#,
                "unknown key \"propertes\", did you mean \"properties\"? (unknown_key)",
            ),
            (
                r#"{"properties":[]}"#,
                "`properties`: expected an object, found a list (wrong_shape)",
            ),
            (r#"{"event":7}"#, "`event`: expected a text, found a number (wrong_shape)"),
            (
                r#"{"distinct_id":{}}"#,
                "`distinct_id`: expected a text, found an object (wrong_shape)",
            ),
            (r#"{"$set":"x"}"#, "`$set`: expected an object, found a text (wrong_shape)"),
            (
                r#"{"timestamp":true}"#,
                "`timestamp`: expected a text, found true or false (wrong_shape)",
            ),
        ] {
            assert_eq!(rejected(line), expected, "{line}");
        }
        let unix = draft(1, br#"{"timestamp":1773057527}"#).unwrap();
        assert_eq!(unix.timestamp.as_deref(), Some("1773057527"));
    }
}
