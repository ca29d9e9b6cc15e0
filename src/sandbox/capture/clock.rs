//! When an event happened, as capture understands what it says (posthog-api.md §8.5).

use chrono::{DateTime, Datelike, NaiveDateTime};

use crate::cursor::Timestamp;
use crate::sandbox::time::{self, HOUR, SECOND};

/// Further ahead of now nothing can have happened.
const AHEAD: i64 = 23 * HOUR;

/// What an event and its request say of time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said<'a> {
    /// The event's own time.
    pub(super) timestamp: Option<&'a str>,
    /// Milliseconds since it happened.
    pub(super) offset: Option<i64>,
    /// When the request was sent, by the sender's clock.
    pub(super) sent_at: Option<Timestamp>,
}

/// When an event happened, and whether its own time could not be read.
pub(super) fn happened(said: Said<'_>, now: Timestamp) -> (Timestamp, bool) {
    let (at, is_unread) = match (said.offset, said.timestamp) {
        (Some(offset), _) => (time::shift(now, offset.saturating_mul(-1000)), false),
        (None, None) => (now, false),
        (None, Some(text)) => match read(text) {
            None => (now, true),
            Some(at) => {
                let slow = said.sent_at.map_or(0, |sent| now.micros() - sent.micros());
                (time::shift(at, slow), false)
            }
        },
    };
    match at {
        at if at > time::shift(now, AHEAD) => (now, is_unread),
        at if !is_of_four_digits(at) => (Timestamp::from_micros(0), is_unread),
        at => (at, is_unread),
    }
}

/// Reads a time in any of the forms that are taken; without a zone it is UTC.
pub(super) fn read(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let with_zone = |format| DateTime::parse_from_str(text, format).ok();
    let bare = |format| NaiveDateTime::parse_from_str(text, format).ok();
    Timestamp::parse(text)
        .or_else(|| Timestamp::parse_http(text))
        .or_else(|| unix(text))
        .or_else(|| with_zone("%Y-%m-%dT%H:%M:%S%.f%#z").map(|at| micros(at.timestamp_micros())))
        .or_else(|| with_zone("%Y-%m-%d %H:%M:%S%.f%#z").map(|at| micros(at.timestamp_micros())))
        .or_else(|| bare("%Y-%m-%dT%H:%M").map(|at| micros(at.and_utc().timestamp_micros())))
}

fn micros(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// Seconds or milliseconds since 1970; so many seconds as are milliseconds of today are far ahead.
fn unix(text: &str) -> Option<Timestamp> {
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
    let seconds = if number.abs() >= 1e11 { number / 1000.0 } else { number };
    Some(micros((seconds * SECOND as f64) as i64))
}

/// Whether the year is one that four digits write; 0 is left out, which nothing here can write.
fn is_of_four_digits(at: Timestamp) -> bool {
    let date = DateTime::from_timestamp_micros(at.micros());
    date.is_some_and(|date| (1..=9999).contains(&date.year()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-21T12:00:00Z";

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn stored(said: Said<'_>) -> Timestamp {
        happened(said, at(NOW)).0
    }

    #[test]
    fn a_time_is_stored_as_it_is_unless_the_request_says_when_it_was_sent() {
        let own = Said { timestamp: Some("2026-11-21T10:00:00Z"), ..Said::default() };
        let slow = Some(at("2026-11-21T11:00:00Z"));

        assert_eq!(stored(own), at("2026-11-21T10:00:00Z"));
        assert_eq!(stored(Said { sent_at: slow, ..own }), at("2026-11-21T11:00:00Z"));
        assert_eq!(stored(Said { offset: Some(60_000), ..own }), at("2026-11-21T11:59:00Z"));
        assert_eq!(stored(Said { sent_at: slow, ..Said::default() }), at(NOW));
    }

    #[test]
    fn what_lies_too_far_ahead_is_now_and_what_no_year_holds_is_1970() {
        let stored = |text| stored(Said { timestamp: Some(text), ..Said::default() });

        assert_eq!(stored("2026-11-22T10:59:59Z"), at("2026-11-22T10:59:59Z"));
        assert_eq!(stored("2026-11-22T11:00:01Z"), at(NOW));
        assert_eq!(stored("-99999999999999"), Timestamp::from_micros(0));
        assert_eq!(
            happened(Said { timestamp: Some("soon"), ..Said::default() }, at(NOW)),
            (at(NOW), true)
        );
    }

    #[test]
    fn a_time_is_read_in_many_forms() {
        for text in [
            "2026-11-21T10:00:00Z",
            "2026-11-21T10:00:00.000+00:00",
            "2026-11-21T13:00:00+03",
            "2026-11-21T13:00:00+0300",
            "2026-11-21 10:00:00",
            "2026-11-21T10:00",
            "Sat, 21 Nov 2026 10:00:00 GMT",
            "Sat, 21 Nov 2026 13:00:00 +0300",
            "1795255200",
            "1795255200000",
        ] {
            assert_eq!(read(text), Some(at("2026-11-21T10:00:00Z")), "{text}");
        }
        assert_eq!(read("2026-11-21"), Some(at("2026-11-21T00:00:00Z")));
        assert_eq!(read("tomorrow"), None);
    }
}
