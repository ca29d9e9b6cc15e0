//! What an answer that brings no rows says of itself: its headers and its body.
//!
//! PostHog's own errors are JSON with `type`, `code`, `detail` and `attr`; older
//! endpoints, load balancers and login pages say it in other shapes, HTML or
//! plain text. All are read, none is required, and only a short, redacted line
//! is kept. Everything here is pure; judging is [`super::verdict`]'s.

use std::time::Duration;

use serde_json::{Map, Value};

use super::quote;
use crate::cursor::Timestamp;

/// What the status line and the headers say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The HTTP status.
    pub status: u16,
    /// The server's time.
    pub date: Option<Timestamp>,
    /// The wait the server asks for.
    pub retry_after: Option<Duration>,
    /// Where a redirect points.
    pub location: Option<String>,
}

/// What the body of a refusal says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// PostHog's word for the reason.
    pub code: Option<String>,
    /// One short line for people.
    pub detail: String,
    /// The body is a JSON object: PostHog itself speaks, not a gateway before it.
    pub is_json: bool,
}

impl Refusal {
    /// Reads a body in any shape.
    pub(super) fn read(body: &[u8]) -> Self {
        if let Ok(Value::Object(fields)) = serde_json::from_slice(body) {
            let code = fields.get("code").and_then(Value::as_str).map(quote);
            let detail =
                told(&fields).unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
            return Self { code, detail: quote(&detail), is_json: true };
        }
        let text = String::from_utf8_lossy(body);
        let detail = quote(&plain(&text));
        let detail = if detail.is_empty() { "an empty body".to_owned() } else { detail };
        Self { code: None, detail, is_json: false }
    }

    /// Whether the text names one of `words`, in any case.
    pub(super) fn mentions(&self, words: &[&str]) -> bool {
        let text = self.detail.to_lowercase();
        words.iter().any(|word| text.contains(word))
    }

    /// The scope that the key is told to lack.
    pub(super) fn missing_scope(&self) -> Option<String> {
        let (_, rest) = self.detail.split_once("required scope '")?;
        let (scope, _) = rest.split_once('\'')?;
        Some(scope.to_owned())
    }

    /// The wait of `Expected available in 37 seconds.`
    pub(super) fn expected_wait(&self) -> Option<Duration> {
        let (_, rest) = self.detail.split_once("available in ")?;
        let number = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        number.parse().ok().map(Duration::from_secs)
    }
}

/// The field of an error object that is meant for people.
fn told(fields: &Map<String, Value>) -> Option<String> {
    let text = ["detail", "error_description", "error", "message"]
        .iter()
        .find_map(|name| fields.get(*name).and_then(Value::as_str))?;
    match fields.get("attr").and_then(Value::as_str) {
        Some(attr) => Some(format!("{attr}: {text}")),
        None => Some(text.to_owned()),
    }
}

/// The words of a page: its title where it has one, else everything but the tags.
fn plain(text: &str) -> String {
    if !text.trim_start().starts_with('<') {
        return text.to_owned();
    }
    // ASCII only: changing the case of other letters may change their length.
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").map(|at| at + "<title>".len());
    if let Some(from) = title
        && let Some(len) = lower[from..].find("</title>")
    {
        return text[from..from + len].to_owned();
    }
    text.split('<')
        .map(|part| part.split_once('>').map_or(part, |(_, words)| words))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Reads `Retry-After`: seconds, or a date seen from the server's own clock
/// (ours may be minutes off). A time in the past is no wait at all.
pub(super) fn retry_after(text: &str, answered_at: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        // Rounded up, and a number beyond all reason is still a wait.
        let seconds = seconds.max(0.0).ceil();
        return Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    }
    Timestamp::parse_http(text).map(|until| until.since(answered_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_body_becomes_one_line() {
        for (body, code, detail, is_json) in [
            (
                r#"{"type":"x","code":"required","detail":"This field is required.","attr":"query"}"#,
                Some("required"),
                "query: This field is required.",
                true,
            ),
            (r#"{"detail":"Not found."}"#, None, "Not found.", true),
            (
                r#"{"error":"An internal server error occurred."}"#,
                None,
                "An internal server error occurred.",
                true,
            ),
            (
                r#"{"date_from":["Enter a date."]}"#,
                None,
                r#"{"date_from":["Enter a date."]}"#,
                true,
            ),
            (
                "<html><head><TITLE>502 Bad\n Gateway</TITLE></head></html>",
                None,
                "502 Bad Gateway",
                false,
            ),
            ("<h1>Busy</h1><p>Try   later</p>", None, "Busy Try later", false),
            ("upstream request timeout", None, "upstream request timeout", false),
            ("", None, "an empty body", false),
            ("[1]", None, "[1]", false),
        ] {
            let expected =
                Refusal { code: code.map(str::to_owned), detail: detail.to_owned(), is_json };

            assert_eq!(Refusal::read(body.as_bytes()), expected);
        }
    }

    #[test]
    fn a_long_body_is_quoted_in_part() {
        let refusal = Refusal::read("é".repeat(5_000).as_bytes());

        assert_eq!(refusal.detail.chars().count(), 201);
    }

    #[test]
    fn a_wait_is_read_in_seconds_or_as_a_date() {
        let answered_at = Timestamp::parse("2026-11-21T06:18:25Z").unwrap();
        for (text, seconds) in [
            ("37", Some(37)),
            (" 1.2 ", Some(2)),
            ("0", Some(0)),
            ("-5", Some(0)),
            ("Sat, 21 Nov 2026 06:19:25 GMT", Some(60)),
            ("Sat, 21 Nov 2026 06:17:25 GMT", Some(0)),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, answered_at), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after("1e300", answered_at), Some(Duration::MAX));
    }

    #[test]
    fn a_wait_and_a_scope_are_found_in_the_text() {
        let throttled = Refusal::read(
            br#"{"detail":"Request was throttled. Expected available in 41 seconds."}"#,
        );
        let lacking =
            Refusal::read(br#"{"detail":"API key missing required scope 'person:read'"}"#);

        assert_eq!(throttled.expected_wait(), Some(Duration::from_secs(41)));
        assert_eq!(throttled.missing_scope(), None);
        assert_eq!(lacking.missing_scope().as_deref(), Some("person:read"));
        assert_eq!(lacking.expected_wait(), None);
    }
}
