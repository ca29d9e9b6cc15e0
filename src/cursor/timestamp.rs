//! Instants to the microsecond, read from and written as PostHog's texts.
//!
//! One is read and written for every row, so both are done by hand: no format
//! strings, no allocation. It knows no time zones but offsets.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

const DAY: i64 = 86_400_000_000;

/// An instant in UTC, to the microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant so many microseconds after 1970 began.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970 began.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Now, by this machine's clock. Only commands ask, once, and pass it down.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn now() -> Self {
        Self(chrono::Utc::now().timestamp_micros())
    }

    /// Reads the forms PostHog writes: `2026-11-01T00:00:00.123456+00:00`, `…Z`,
    /// `2026-11-01 00:00:00.123`, `2026-11-01`. Without a zone it is UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() < 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return None;
        }
        let date = NaiveDate::from_ymd_opt(
            i32::try_from(digits(&bytes[..4])?).ok()?,
            digits(&bytes[5..7])?,
            digits(&bytes[8..10])?,
        )?;
        let days = i64::from(date.num_days_from_ce() - EPOCH_DAYS_FROM_CE);
        let rest = &bytes[10..];
        if rest.is_empty() {
            return Some(Self(days * DAY));
        }
        let (clock, zone) = time_of_day(rest)?;
        // A zone may lead out of the years that four digits spell.
        Some(Self(days * DAY + clock - zone)).filter(|at| (FIRST..=LAST).contains(&at.0))
    }

    /// Reads an HTTP date (`Sat, 21 Nov 2026 06:18:25 GMT`).
    pub fn parse_http(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc2822(text).ok().map(|t| Self(t.timestamp_micros()))
    }

    /// Seconds since 1970, to the microsecond as far as a float tells.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The instant `span` later.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The instant `span` earlier.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The instant so many microseconds later, or earlier where they are negative.
    #[must_use]
    pub fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// How long after `earlier` this is; nothing where it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// The UTC day, as `2026-11-01`.
    pub fn day(self) -> String {
        self.to_string()[..10].to_owned()
    }
}

/// The year 1 begins.
const FIRST: i64 = -719_162 * DAY;

/// The last microsecond of the year 9999.
const LAST: i64 = 2_932_897 * DAY - 1;

/// Days from the year 1 to 1970, as chrono counts them.
const EPOCH_DAYS_FROM_CE: i32 = 719_163;

/// The number that ASCII digits spell.
fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0_u32, |n, b| {
        b.is_ascii_digit().then(|| n.wrapping_mul(10) + u32::from(b - b'0'))
    })
}

/// Microseconds into the day, and the zone's offset in microseconds, of `T12:30:05.25+02:00`.
fn time_of_day(bytes: &[u8]) -> Option<(i64, i64)> {
    if bytes.len() < 6 || !matches!(bytes[0], b'T' | b' ') || bytes[3] != b':' {
        return None;
    }
    let (hour, minute) = (digits(&bytes[1..3])?, digits(&bytes[4..6])?);
    let mut rest = &bytes[6..];
    let mut second = 0;
    let mut fraction = 0_i64;
    if rest.first() == Some(&b':') {
        second = digits(rest.get(1..3)?)?;
        rest = &rest[3..];
        if rest.first() == Some(&b'.') {
            let len = rest[1..].iter().take_while(|b| b.is_ascii_digit()).count();
            let used = &rest[1..1 + len.min(6)];
            fraction = i64::from(digits(used)?) * 10_i64.pow(6 - u32::try_from(used.len()).ok()?);
            rest = &rest[1 + len..];
        }
    }
    (hour < 24 && minute < 60 && second < 61).then_some(())?;
    let clock = (i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)) * 1_000_000;
    Some((clock + fraction, zone_offset(rest)?))
}

/// Microseconds east of UTC of `Z`, `+02:00`, `+0200`, `+02` or nothing.
fn zone_offset(zone: &[u8]) -> Option<i64> {
    let (sign, rest) = match zone.split_first() {
        None | Some((b'Z' | b'z', [])) => return Some(0),
        Some((b'+', rest)) => (1, rest),
        Some((b'-', rest)) => (-1, rest),
        Some(_) => return None,
    };
    let (hours, minutes) = match rest.len() {
        2 => (digits(rest)?, 0),
        4 => (digits(&rest[..2])?, digits(&rest[2..])?),
        5 if rest[2] == b':' => (digits(&rest[..2])?, digits(&rest[3..])?),
        _ => return None,
    };
    Some(sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60) * 1_000_000)
}

/// A timestamp's text, `2026-11-01T00:00:00.123456Z`, on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampText([u8; 27]);

impl TimestampText {
    /// The whole text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The day alone, `2026-11-01`.
    pub fn day(&self) -> &str {
        &self.as_str()[..10]
    }
}

impl Timestamp {
    /// The one text form of an instant in every target.
    pub fn text(self) -> TimestampText {
        let (days, micros) = (self.0.div_euclid(DAY), self.0.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let seconds = micros / 1_000_000;
        write_digits(&mut text, 0..4, year.clamp(0, 9999));
        write_digits(&mut text, 5..7, month);
        write_digits(&mut text, 8..10, day);
        write_digits(&mut text, 11..13, seconds / 3600);
        write_digits(&mut text, 14..16, seconds / 60 % 60);
        write_digits(&mut text, 17..19, seconds % 60);
        write_digits(&mut text, 20..26, micros % 1_000_000);
        TimestampText(text)
    }
}

/// Fills a place with the last digits of `number`.
#[inline]
fn write_digits(text: &mut [u8; 27], place: std::ops::Range<usize>, number: i64) {
    let mut number = u32::try_from(number).unwrap_or(0);
    for at in place.rev() {
        text[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// Year, month and day of a day counted from 1970 (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn every_form_of_time_posthog_writes_is_read_to_the_microsecond() {
        let canonical = "2026-03-09T11:58:47.120000Z";
        for text in [
            "2026-03-09T11:58:47.120000+00:00",
            "2026-03-09T11:58:47.120Z",
            "2026-03-09 11:58:47.12",
            "2026-03-09T13:58:47.120000+02:00",
            "2026-03-09T06:58:47.12-0500",
        ] {
            assert_eq!(t(text).to_string(), canonical, "{text}");
        }
        assert_eq!(t("0001-01-01").to_string(), "0001-01-01T00:00:00.000000Z");
        assert_eq!(t("9999-12-31T23:59:59.999999Z").to_string(), "9999-12-31T23:59:59.999999Z");
        assert_eq!(t("2024-02-29T00:00:00.000001").to_string(), "2024-02-29T00:00:00.000001Z");
        assert_eq!(
            Timestamp::parse_http("Sat, 21 Nov 2026 06:18:25 GMT"),
            Some(t("2026-11-21T06:18:25Z"))
        );
        for text in [
            "",
            "soon",
            "2026-13-01",
            "2026-01-01T25:00",
            "2026-01-01T00:00:00+1",
            "2026-01-01T0",
            // The first and the last year of four digits, seen from UTC: another year.
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59.999999-00:01",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
