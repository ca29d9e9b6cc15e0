//! What four SDKs really send, and what becomes of it in each profile.
//!
//! `tests/fixtures/tracking-calls` holds the bodies as they came, and beside each the events of
//! its messages in their order.

use serde_json::{Map, Value, json};

use super::arrival;
use crate::send::mapping::{Envelope, Mapping, Outcome, Profile};

/// The calls that every SDK made.
const CALLS: [&str; 6] = ["identify", "track", "page", "screen", "group", "alias"];

fn holds(body: &str, expected: &str) {
    let body: Map<String, Value> = serde_json::from_str(body).unwrap();
    let expected: Vec<Value> = serde_json::from_str(expected).unwrap();
    let envelope = Envelope::read(&body).unwrap();
    let messages = body["batch"].as_array().unwrap();
    let calls: Vec<&str> = messages.iter().map(|m| m["type"].as_str().unwrap()).collect();
    assert_eq!(calls, CALLS);
    for (message, expected) in messages.iter().zip(&expected) {
        let mut message = message.as_object().unwrap().clone();
        envelope.complete(&mut message);
        let got = Profile::ALL.map(|(name, profile)| (name.to_owned(), event(profile, &message)));
        let got = Value::Object(Map::from_iter(got));
        assert_eq!(&got, expected, "{got:#}");
    }
    assert_eq!(messages.len(), expected.len());
}

fn event(profile: Profile, message: &Map<String, Value>) -> Value {
    let outcome = Mapping::of(profile).map(message.clone(), &arrival());
    let Ok(Outcome::Draft(draft)) = outcome else { panic!("{outcome:?}") };
    json!({
        "uuid": draft.id,
        "event": draft.event,
        "distinct_id": draft.distinct_id,
        "timestamp": draft.timestamp,
        "properties": draft.properties,
    })
}

#[test]
fn calls_of_segments_python_sdk_become_events() {
    holds(
        include_str!("../../../../tests/fixtures/tracking-calls/segment-python.json"),
        include_str!("../../../../tests/fixtures/tracking-calls/segment-python.events.json"),
    );
}

#[test]
fn calls_of_segments_node_sdk_become_events() {
    holds(
        include_str!("../../../../tests/fixtures/tracking-calls/segment-node.json"),
        include_str!("../../../../tests/fixtures/tracking-calls/segment-node.events.json"),
    );
}

#[test]
fn calls_of_rudderstacks_python_sdk_become_events() {
    holds(
        include_str!("../../../../tests/fixtures/tracking-calls/rudder-python.json"),
        include_str!("../../../../tests/fixtures/tracking-calls/rudder-python.events.json"),
    );
}

#[test]
fn calls_of_rudderstacks_node_sdk_become_events() {
    holds(
        include_str!("../../../../tests/fixtures/tracking-calls/rudder-node.json"),
        include_str!("../../../../tests/fixtures/tracking-calls/rudder-node.events.json"),
    );
}
