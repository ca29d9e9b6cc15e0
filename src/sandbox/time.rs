//! Times as PostHog writes and reads them: with its zones, and its traps.
//!
//! Inside the sandbox an instant is a [`Timestamp`]; SQL rows hold it as the text
//! of [`stored`]. Zones are whole minutes east of UTC and know no summer time.

use chrono::DateTime;

use crate::cursor::Timestamp;

/// Microseconds in a second.
pub(super) const SECOND: i64 = 1_000_000;
/// Microseconds in a minute.
pub(super) const MINUTE: i64 = 60 * SECOND;
/// Microseconds in an hour.
pub(super) const HOUR: i64 = 60 * MINUTE;
/// Microseconds in a day.
pub(super) const DAY: i64 = 24 * HOUR;

/// The instant so many microseconds after (or, negative, before) `at`.
pub(super) fn shift(at: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(at.micros().saturating_add(micros))
}

/// `2026-11-01 00:00:00.123456`: how the SQL store keeps an instant.
pub(super) fn stored(at: Timestamp) -> String {
    at.text().as_str().replace('T', " ").trim_end_matches('Z').to_owned()
}

/// `2026-11-01T00:00:00.123456Z`: how most records show an instant.
pub(super) fn zulu(at: Timestamp) -> String {
    at.text().as_str().to_owned()
}

/// `2026-11-01T00:00:00.123456+00:00`, without a fraction that is zero: the events list.
pub(super) fn iso(at: Timestamp) -> String {
    format!("{}+00:00", unzoned(at, 6))
}

/// As SQL answers show an instant: in a zone, with so many digits of a fraction that is not zero.
pub(super) fn zoned(at: Timestamp, zone: i32, digits: usize) -> String {
    let local = unzoned(shift(at, i64::from(zone) * MINUTE), digits);
    if zone == 0 { format!("{local}Z") } else { format!("{local}{}", offset(zone)) }
}

/// `+02:00`.
fn offset(zone: i32) -> String {
    let sign = if zone < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", zone.abs() / 60, zone.abs() % 60)
}

/// Date and clock, the fraction left out where all its shown digits are zero.
fn unzoned(at: Timestamp, digits: usize) -> String {
    let text = at.text();
    let text = text.as_str();
    let end = if at.micros() % SECOND == 0 { 19 } else { 20 + digits };
    text[..end].to_owned()
}

/// `Sat, 21 Nov 2026 06:18:25 GMT`.
pub(super) fn http_date(at: Timestamp) -> String {
    let date = DateTime::from_timestamp_micros(at.micros()).unwrap_or_default();
    date.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The name of a zone so many minutes east of UTC.
pub(super) fn zone_name(zone: i32) -> String {
    match zone {
        0 => "UTC".to_owned(),
        330 => "Asia/Kolkata".to_owned(),
        345 => "Asia/Kathmandu".to_owned(),
        570 => "Australia/Darwin".to_owned(),
        // The signs of these names run the other way round.
        _ => format!("Etc/GMT{:+}", -zone / 60),
    }
}

/// Reads a time; one without a zone is meant in `zone`.
pub(super) fn read(text: &str, zone: i32) -> Option<Timestamp> {
    let text = &repaired(text);
    let at = Timestamp::parse(text)?;
    let has_zone = zone_at(text).is_some();
    Some(if has_zone { at } else { shift(at, i64::from(-zone) * MINUTE) })
}

/// Reads a bound of the events list, with its trap: the zone is forgotten, and
/// what the clock on the wall shows is taken for UTC.
pub(super) fn read_wall_clock(text: &str) -> Option<Timestamp> {
    let text = repaired(text);
    Timestamp::parse(&text)?;
    Timestamp::parse(&text[..zone_at(&text).unwrap_or(text.len())])
}

/// Reads `-3d`, `-24h`, `-2w` as a time before `now`, and anything else like [`read`].
pub(super) fn read_relative(text: &str, zone: i32, now: Timestamp) -> Option<Timestamp> {
    let Some(back) = text.strip_prefix('-') else { return read(text, zone) };
    let unit = match back.chars().last()? {
        'h' => HOUR,
        'd' => DAY,
        'w' => 7 * DAY,
        'm' => 30 * DAY,
        _ => return None,
    };
    let count: i64 = back[..back.len() - 1].parse().ok()?;
    Some(shift(now, -count.checked_mul(unit)?))
}

/// Where the zone of a time begins.
fn zone_at(text: &str) -> Option<usize> {
    let clock = text.get(11..)?;
    clock.find(['Z', 'z', '+', '-']).map(|at| at + 11)
}

/// A `+` that nobody escaped has become a space on its way through the URL.
fn repaired(text: &str) -> String {
    let text = text.trim();
    match text.get(11..).and_then(|clock| clock.find(' ')) {
        Some(at) => format!("{}+{}", &text[..at + 11], &text[at + 12..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_time_is_shown_in_the_form_of_each_answer() {
        let instant = at("2026-11-01T00:00:00.120000Z");

        assert_eq!(stored(instant), "2026-11-01 00:00:00.120000");
        assert_eq!(iso(instant), "2026-11-01T00:00:00.120000+00:00");
        assert_eq!(iso(at("2026-11-01")), "2026-11-01T00:00:00+00:00");
        assert_eq!(zoned(instant, 0, 6), "2026-11-01T00:00:00.120000Z");
        assert_eq!(zoned(instant, 0, 3), "2026-11-01T00:00:00.120Z");
        assert_eq!(zoned(instant, -330, 6), "2026-10-31T18:30:00.120000-05:30");
        assert_eq!(http_date(at("2026-11-21T06:18:25Z")), "Sat, 21 Nov 2026 06:18:25 GMT");
        assert_eq!(zone_name(120), "Etc/GMT-2");
    }

    #[test]
    fn a_time_without_a_zone_is_meant_in_the_projects() {
        assert_eq!(read("2026-11-01 12:00:00", 120), Some(at("2026-11-01T10:00:00Z")));
        assert_eq!(read("2026-11-01T12:00:00Z", 120), Some(at("2026-11-01T12:00:00Z")));
    }

    #[test]
    fn a_bound_of_the_events_list_loses_its_zone() {
        let wall_clock = Some(at("2026-11-01T12:00:00Z"));

        for text in
            ["2026-11-01T12:00:00Z", "2026-11-01T12:00:00+05:00", "2026-11-01T12:00:00 05:00"]
        {
            assert_eq!(read_wall_clock(text), wall_clock, "{text}");
        }
        assert_eq!(read_wall_clock("yesterday"), None);
    }

    #[test]
    fn a_relative_time_counts_back_from_now() {
        let now = at("2026-11-10");

        assert_eq!(read_relative("-3d", 0, now), Some(at("2026-11-07")));
        assert_eq!(read_relative("-36h", 0, now), Some(at("2026-11-08T12:00:00Z")));
        assert_eq!(read_relative("-3x", 0, now), None);
    }
}
