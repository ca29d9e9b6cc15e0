//! An event as PostHog is to get it: everything about it fixed, once.
//!
//! PostHog takes two events for one where uuid, event, distinct id and day of the timestamp are
//! equal (posthog-api.md §8.7). So all four are fixed before the first attempt, and a [`Sealed`]
//! event is the bytes of every attempt. What may become an event is the rules' business.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::cursor::Timestamp;

/// An event that keeps the rules.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Its identity, the same on every attempt.
    #[serde(serialize_with = "as_text")]
    pub uuid: Uuid,
    /// What happened.
    pub event: String,
    /// Who did it.
    pub distinct_id: String,
    /// When, in UTC to the microsecond.
    pub timestamp: Timestamp,
    /// All else.
    pub properties: Map<String, Value>,
}

/// An event in the bytes that every attempt sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Its identity.
    pub uuid: Uuid,
    /// What happened.
    pub event: Box<str>,
    /// Who did it: the events of one id are sent in their order.
    pub distinct_id: Box<str>,
    /// `{"uuid":…,"event":…,"distinct_id":…,"timestamp":…,"properties":…}`.
    pub json: Box<str>,
}

impl Event {
    /// Fixes the bytes.
    pub fn seal(self) -> Sealed {
        let json = serde_json::to_string(&self).expect("texts and JSON are JSON");
        let Self { uuid, event, distinct_id, .. } = self;
        Sealed { uuid, event: event.into(), distinct_id: distinct_id.into(), json: json.into() }
    }
}

fn as_text<S: Serializer>(uuid: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(uuid)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_sent_with_everything_fixed() {
        let event = Event {
            uuid: Uuid::from_u128(1),
            event: "signed \"up\"".into(),
            distinct_id: "u1".into(),
            timestamp: Timestamp::parse("2026-03-09T13:58:47.12+02:00").unwrap(),
            properties: json!({ "plan": "pro", "$set": { "age": 9_007_199_254_740_993_u64 } })
                .as_object()
                .unwrap()
                .clone(),
        };

        let sealed = event.seal();

        assert_eq!(
            &*sealed.json,
            r#"{"uuid":"00000000-0000-0000-0000-000000000001","event":"signed \"up\"","distinct_id":"u1","timestamp":"2026-03-09T11:58:47.120000Z","properties":{"$set":{"age":9007199254740993},"plan":"pro"}}"#
        );
        assert_eq!((&*sealed.event, &*sealed.distinct_id), ("signed \"up\"", "u1"));
    }
}
