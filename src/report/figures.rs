//! Numbers, spans and times as people read them.

use std::time::Duration;

use crate::cursor::Timestamp;

/// A span of time: `0.4 s`, `12 min 5 s`, `1 h 30 min`.
pub fn took(span: Duration) -> String {
    let seconds = span.as_secs();
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{:.1} s", span.as_secs_f64()),
        (0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// A number with its thousands apart: `20,196`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `20,196 rows`.
pub(super) fn counted(number: u64, one: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{} {one}{end}", grouped(number))
}

/// To the second: `2026-11-21T09:01:29Z`.
pub fn to_the_second(at: Timestamp) -> String {
    format!("{}Z", &at.text().as_str()[..19])
}

/// To the second, for a page: `2026-11-21 09:01:29 UTC`.
pub(super) fn instant(at: Timestamp) -> String {
    let text = at.text();
    format!("{} {} UTC", text.day(), &text.as_str()[11..19])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_are_readable() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(
            (counted(1, "row"), counted(2000, "row")),
            ("1 row".into(), "2,000 rows".into())
        );
        for (millis, text) in
            [(400, "0.4 s"), (59_900, "59.9 s"), (725_000, "12 min 5 s"), (5_400_000, "1 h 30 min")]
        {
            assert_eq!(took(Duration::from_millis(millis)), text);
        }
    }
}
