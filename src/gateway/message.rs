//! From a message to an event that may be sent, or the reason why not.
//!
//! The mapping says which event a message is, the rules whether PostHog would take it. A message is
//! judged alone, whatever came with it. Pure: the time and the caller's address are passed in.

use serde_json::Value;
use serde_json::value::RawValue;

use super::answer::Rejected;
use crate::send::event::Sealed;
use crate::send::lines::object;
use crate::send::mapping::{Arrival, Envelope, Mapping, Outcome};
use crate::send::rules::{Admitted, Code, Doubt, Rejection, admit, seal};

/// What becomes of a message.
#[derive(Debug, PartialEq)]
pub(super) enum Judged {
    /// An event, and what PostHog will not do of it.
    Event(Sealed, Vec<Doubt>),
    /// Nothing: its sender wants it elsewhere.
    NotForPostHog,
}

/// Judges the message at a place of a request. `kind` is its type where the path tells it.
///
/// # Errors
///
/// It becomes no event.
pub(super) fn judge(
    (index, message): (usize, &RawValue),
    kind: Option<&str>,
    envelope: &Envelope,
    mapping: &Mapping,
    arrival: &Arrival,
) -> Result<Judged, Rejected> {
    let rejected = |message_id: Option<String>, Rejection { code, reason }: Rejection| Rejected {
        index,
        message_id,
        code: code.to_string(),
        reason,
    };
    let mut message =
        object(message.get().as_bytes()).map_err(|refused| rejected(None, refused))?;
    let message_id = match message.get("messageId") {
        Some(Value::String(id)) => Some(id.clone()),
        Some(Value::Number(id)) => Some(id.to_string()),
        _ => None,
    };
    envelope.complete(&mut message);
    if let Some(kind) = kind {
        message.insert("type".to_owned(), kind.into());
    }
    // A caller's clock is not to be believed here.
    message.insert("receivedAt".to_owned(), arrival.received_at.to_string().into());
    let draft = match mapping.map(message, arrival) {
        Ok(Outcome::Draft(draft)) => draft,
        Ok(Outcome::NotForPostHog(_)) => return Ok(Judged::NotForPostHog),
        Err(refused) => {
            return Err(rejected(message_id, Rejection::new(Code::CallInvalid, refused.reason)));
        }
    };
    let admitted = admit(draft, arrival.received_at)
        .and_then(|Admitted { event, doubts }| Ok(Judged::Event(seal(event)?, doubts)));
    admitted.map_err(|refused| rejected(message_id, refused))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cursor::Timestamp;
    use crate::send::mapping::Profile;

    fn judged(kind: Option<&str>, message: &Value) -> Result<Judged, Rejected> {
        let arrival = Arrival {
            received_at: Timestamp::parse("2026-11-27T12:00:00Z").unwrap(),
            ip: None,
            fallback_id: "drawn".to_owned(),
        };
        let message = RawValue::from_string(message.to_string()).unwrap();
        let mapping = Mapping::of(Profile::Hogline);
        judge((3, &message), kind, &Envelope::default(), &mapping, &arrival)
    }

    fn event(kind: Option<&str>, message: &Value) -> Value {
        match judged(kind, message) {
            Ok(Judged::Event(sealed, _)) => serde_json::from_str(&sealed.json).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_becomes_the_event_that_its_id_and_time_make() {
        let message = json!({
            "type": "track", "event": "Seen", "userId": "u1", "messageId": "msg-0001",
            "originalTimestamp": "2026-11-27T11:00:00Z", "sentAt": "2026-11-27T11:00:10Z",
            "receivedAt": "2001-01-01T00:00:00Z",
        });

        let event = event(None, &message);

        assert_eq!(event["uuid"], "5cb44d2c-d008-5fa8-aff4-93cbfbe2e791");
        assert_eq!(event["timestamp"], "2026-11-27T11:59:50.000000Z", "by the gateway's clock");
        assert_eq!((&event["event"], &event["distinct_id"]), (&json!("Seen"), &json!("u1")));
    }

    #[test]
    fn the_path_tells_the_type_whatever_the_message_says() {
        let message = json!({ "type": "track", "event": "Seen", "userId": "u1", "name": "Home" });

        assert_eq!(event(Some("page"), &message)["event"], "$pageview");
        assert_eq!(event(Some("screen"), &message)["event"], "$screen");
    }

    #[test]
    fn what_becomes_no_event_is_told_with_its_place_and_id() {
        let track = |more: Value| {
            let mut message = json!({ "type": "track", "event": "Seen", "messageId": "m-1" });
            message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            message
        };
        for (message, id, code) in [
            (json!(7), None, "wrong_shape"),
            (json!({ "type": "trak", "messageId": 7 }), Some("7"), "call_invalid"),
            (track(json!({})), Some("m-1"), "call_invalid"),
            (track(json!({ "userId": "x".repeat(201) })), Some("m-1"), "distinct_id_too_long"),
            (
                track(json!({ "userId": "u1", "timestamp": "soon" })),
                Some("m-1"),
                "timestamp_invalid",
            ),
            (
                track(json!({ "userId": "u1", "properties": { "a": "x".repeat(1_000_000) } })),
                Some("m-1"),
                "too_large",
            ),
        ] {
            let Rejected { index, message_id, code: told, reason } =
                judged(None, &message).unwrap_err();

            let shown = message.to_string().chars().take(80).collect::<String>();
            assert_eq!((index, message_id.as_deref(), told.as_str()), (3, id, code), "{shown}");
            assert!(!reason.is_empty());
        }
    }

    #[test]
    fn what_is_meant_for_others_is_no_event_and_no_fault() {
        let message = json!({
            "type": "track", "event": "Seen", "userId": "u1", "integrations": { "All": false },
        });

        assert_eq!(judged(None, &message), Ok(Judged::NotForPostHog));
    }
}
