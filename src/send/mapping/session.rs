//! Sessions in PostHog's words: a UUID of version 7, or the event belongs to none.

use serde_json::Value;
use uuid::{Builder, Uuid};

use super::super::rules::IDS;
use super::message::number_text;

/// A start below this is in seconds, not in milliseconds: these would lie in March 1973.
const LEAST_MILLIS: u64 = 100_000_000_000;

/// How much earlier a session is said to start, in milliseconds. PostHog wants the start at or
/// before the first event; a device that counts in seconds, or asks its clock twice, is after it.
const EARLIER: u64 = 1_000;

/// The session that RudderStack numbers by its start, in seconds or milliseconds since 1970: the
/// same for every event of the same person and start, and nobody else's. None where `number` is
/// no such number.
pub(super) fn from_start(number: &Value, who: &str) -> Option<Uuid> {
    let text = match number {
        Value::Number(number) => number_text(number),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    let start: u64 = text.parse().ok()?;
    let millis = if start < LEAST_MILLIS { start.checked_mul(1_000)? } else { start };
    let millis = millis.checked_sub(EARLIER).filter(|millis| *millis < 1 << 48)?;
    let hash = Uuid::new_v5(&IDS, format!("{text} {who}").as_bytes()).into_bytes();
    // The bytes between hold the version and the variant of the hash.
    let [a, b, c, d, e, f, .., g, h, i, j] = hash;
    Some(Builder::from_unix_timestamp_millis(millis, &[a, b, c, d, e, f, g, h, i, j]).into_uuid())
}

/// Whether PostHog takes it for a session.
pub(super) fn is_session(id: &Value) -> bool {
    let uuid = id.as_str().and_then(|text| Uuid::parse_str(text).ok());
    uuid.is_some_and(|uuid| uuid.get_version_num() == 7)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_session_starts_a_second_before_its_number() {
        let in_millis = from_start(&json!(1_764_244_800_123_u64), "anon-1").unwrap();
        let in_seconds = from_start(&json!("1764244800"), "anon-1").unwrap();

        for (session, start) in [(in_millis, 1_764_244_799_123), (in_seconds, 1_764_244_799_000)] {
            assert_eq!(session.as_u128() >> 80, start);
            assert!(is_session(&json!(session.to_string())), "{session}");
        }
    }

    #[test]
    fn a_session_is_one_persons_and_stays_the_same() {
        let session = |number: u64, who| from_start(&json!(number), who).unwrap();

        let first = session(1_764_244_800_123, "anon-1");

        assert_eq!(first, session(1_764_244_800_123, "anon-1"));
        assert_ne!(first, session(1_764_244_800_123, "anon-2"));
        assert_ne!(first, session(1_764_244_800_124, "anon-1"));
    }

    #[test]
    fn what_is_no_start_is_no_session() {
        for number in [json!(0), json!(-5), json!("s-17"), json!(1.5), json!(u64::MAX), json!({})] {
            assert_eq!(from_start(&number, "anon-1"), None, "{number}");
        }
        for id in [json!("s-17"), json!("67e55044-10b1-426f-9247-bb680e5fe0c8"), json!(17)] {
            assert!(!is_session(&id), "{id}");
        }
    }
}
