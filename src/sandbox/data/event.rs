//! Events: how they come about, and their text in each kind of answer.
//!
//! An event keeps little: its properties are made from its number whenever they
//! are asked for. The history holds what makes copying hard: runs of equal
//! timestamps, copies not yet merged, ids that two events share, awkward values.
//! One that was sent keeps its own distinct id and properties beside that.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use uuid::Uuid;

use super::chance;
use super::person;
use crate::cursor::Timestamp;
use crate::sandbox::time::{self, DAY, SECOND};
use crate::sandbox::{Captured, Options, PROJECT_TOKEN};

const UUID: u64 = 1;
const NAME: u64 = 2;
const PERSON: u64 = 3;
const JITTER: u64 = 4;

/// What events are called, and what another event under the same id is called.
pub(super) const NAMES: [(&str, &str); 7] = [
    ("$pageview", "other_$pageview"),
    ("$autocapture", "other_$autocapture"),
    ("$identify", "other_$identify"),
    ("purchase completed", "other_purchase completed"),
    ("signed up", "other_signed up"),
    ("$screen", "other_$screen"),
    ("größe geändert 🦔", "other_größe geändert 🦔"),
];

/// One stored copy of an event.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Event {
    /// What its properties are made from.
    pub(in crate::sandbox) serial: u64,
    /// How often it was sent again, changed.
    pub(in crate::sandbox) edition: u32,
    /// Its id, which another event may share.
    pub(in crate::sandbox) uuid: u128,
    /// The event's name.
    pub(in crate::sandbox) name: Cow<'static, str>,
    /// The number of its person, when it arrived.
    pub(in crate::sandbox) person: usize,
    /// When it happened, by the client's clock.
    pub(in crate::sandbox) at: Timestamp,
    /// When it arrived.
    pub(in crate::sandbox) created: Timestamp,
    /// What cannot be made from its number.
    pub(in crate::sandbox) sent: Option<Arc<Sent>>,
}

/// What an event has that somebody sent.
#[derive(Debug)]
pub(in crate::sandbox) struct Sent {
    distinct_id: String,
    properties: String,
    historical: bool,
}

impl Sent {
    /// That of an event, with these properties.
    pub(super) fn new(event: &Captured, properties: &Map<String, Value>) -> Self {
        Self {
            distinct_id: event.distinct_id.clone(),
            // Writing to memory does not fail.
            properties: serde_json::to_string(properties).unwrap_or_default(),
            historical: event.historical,
        }
    }
}

impl Event {
    /// The event with a number, of one of so many persons.
    pub(super) fn new(
        seed: u64,
        serial: u64,
        persons: usize,
        at: Timestamp,
        created: Timestamp,
    ) -> Self {
        let name = chance::below(NAMES.len() as u64, seed, NAME, serial);
        let person = chance::below(persons as u64, seed, PERSON, serial);
        Self {
            serial,
            edition: 0,
            uuid: chance::uuid(seed, UUID, serial),
            name: Cow::Borrowed(NAMES[usize::try_from(name).unwrap_or(0)].0),
            person: usize::try_from(person).unwrap_or(0),
            at,
            created,
            sent: None,
        }
    }

    /// An event that was sent; whose it is, is seen later.
    pub(super) fn sent(serial: u64, event: &Captured, sent: Arc<Sent>, created: Timestamp) -> Self {
        Self {
            serial,
            edition: 0,
            uuid: event.uuid.as_u128(),
            name: Cow::Owned(event.event.clone()),
            person: 0,
            at: event.timestamp,
            created,
            sent: Some(sent),
        }
    }

    /// An event that was sent, as it was let in.
    pub(in crate::sandbox) fn captured(&self) -> Option<Captured> {
        let sent = self.sent.as_ref()?;
        Some(Captured {
            uuid: Uuid::from_u128(self.uuid),
            event: self.name.clone().into_owned(),
            distinct_id: sent.distinct_id.clone(),
            timestamp: self.at,
            properties: serde_json::from_str(&sent.properties).unwrap_or_default(),
            historical: sent.historical,
        })
    }

    /// What makes it one event, however many copies there are.
    pub(super) fn identity(&self) -> (i64, u128, &str, Cow<'_, str>) {
        (self.at.micros().div_euclid(DAY), self.uuid, &self.name, self.distinct_id())
    }

    /// The distinct id it was sent under.
    pub(in crate::sandbox) fn distinct_id(&self) -> Cow<'_, str> {
        match &self.sent {
            Some(sent) => Cow::Borrowed(&sent.distinct_id),
            None => Cow::Owned(person::distinct_id(self.person, 0)),
        }
    }

    /// The clicked elements, for the events that have any.
    pub(in crate::sandbox) fn elements_chain(&self) -> String {
        if self.name != "$autocapture" || self.sent.is_some() {
            return String::new();
        }
        format!(
            r#"button.buy:text="Buy {}"nth-child="1"nth-of-type="1";div:nth-child="2"nth-of-type="1""#,
            self.serial % 10
        )
    }

    /// Its properties, about a kilobyte of JSON.
    pub(in crate::sandbox) fn properties(&self, seed: u64) -> Cow<'_, str> {
        match &self.sent {
            Some(sent) => Cow::Borrowed(&sent.properties),
            None => Cow::Owned(properties(seed, self.serial, self.edition)),
        }
    }

    /// The record a complete copy holds, of an event that is this person's now.
    pub(super) fn truth(&self, seed: u64, person: usize) -> Value {
        let properties: Value = serde_json::from_str(&self.properties(seed)).unwrap_or_default();
        json!({
            "id": chance::uuid_text(self.uuid), "event": self.name,
            "distinct_id": self.distinct_id(), "timestamp": time::zulu(self.at),
            "properties": properties,
            "person_id": chance::uuid_text(person::uuid(seed, person)),
            "created_at": time::zulu(self.created), "elements_chain": self.elements_chain(),
        })
    }

    /// Its record in the events list, as text.
    pub(in crate::sandbox) fn listed(&self, seed: u64, person: Option<&Value>) -> String {
        let chain = self.elements_chain();
        let elements = if chain.is_empty() { json!([]) } else { elements(self.serial) };
        format!(
            r#"{{"id":"{}","distinct_id":{},"properties":{},"event":{},"timestamp":"{}","person":{},"elements":{elements},"elements_chain":{}}}"#,
            chance::uuid_text(self.uuid),
            json!(self.distinct_id()),
            self.properties(seed),
            json!(self.name),
            time::iso(self.at),
            person.unwrap_or(&Value::Null),
            json!(chain),
        )
    }
}

/// The elements that the chain of an event spells.
fn elements(serial: u64) -> Value {
    json!([
        { "event": null, "text": format!("Buy {}", serial % 10), "tag_name": "button",
          "attr_class": ["buy"], "href": null, "attr_id": null, "nth_child": 1,
          "nth_of_type": 1, "attributes": {}, "order": 0 },
        { "event": null, "text": null, "tag_name": "div", "attr_class": null, "href": null,
          "attr_id": null, "nth_child": 2, "nth_of_type": 1, "attributes": {}, "order": 1 },
    ])
}

/// The project's history: every stored copy, by timestamp.
pub(super) fn history(options: &Options) -> Vec<Event> {
    let mut events = Vec::with_capacity(options.events + options.events / 30);
    for serial in 0..options.events as u64 {
        let at = happened(options, serial);
        let created = time::shift(at, 2 * SECOND);
        let event = Event::new(options.seed, serial, options.persons, at, created);
        events.extend(companions(options, &event));
        events.push(event);
    }
    events.sort_by_key(|event| event.at);
    events
}

/// When the event with a number happened: alone, or in a run of 40 or 400 equal timestamps.
fn happened(options: &Options, serial: u64) -> Timestamp {
    let in_block = serial % 10_000;
    let first = if (1200..1600).contains(&in_block) {
        serial - in_block + 1200
    } else if (serial / 40).is_multiple_of(2) {
        serial - serial % 40
    } else {
        serial
    };
    let span = i128::from(options.days) * i128::from(DAY);
    let part = span * i128::from(first) / (options.events as i128).max(1);
    let since = i64::try_from(part).unwrap_or(0) / SECOND * SECOND;
    // Every other run lies on a whole second, which the events list writes without a fraction.
    let jitter = match (first / 80) % 2 {
        0 => 0,
        _ => i64::try_from(chance::below(1_000_000, options.seed, JITTER, first)).unwrap_or(0),
    };
    let start = options.now.micros() - i64::from(options.days) * DAY;
    Timestamp::from_micros(start + since + jitter)
}

/// What lies beside some events: a second copy that is not merged yet, another event of the same id.
fn companions(options: &Options, event: &Event) -> Option<Event> {
    let copy = |after: i64, arrived: i64| {
        let copy = Event {
            at: time::shift(event.at, after),
            created: time::shift(event.created, arrived),
            ..event.clone()
        };
        // On another day it would be another event, not a copy.
        (copy.identity() == event.identity()).then_some(copy)
    };
    match event.serial {
        serial if serial % 83 == 17 => copy(3000, 0),
        serial if serial % 249 == 100 => copy(-3000, 5 * SECOND),
        serial if serial % 101 == 5 => {
            let other = NAMES.iter().find(|(name, _)| *name == event.name)?.1;
            let person = (event.person + 1) % options.persons.max(1);
            Some(Event { name: Cow::Borrowed(other), person, ..event.clone() })
        }
        _ => None,
    }
}

/// The properties of the event with a number, in its latest edition.
pub(in crate::sandbox) fn properties(seed: u64, serial: u64, edition: u32) -> String {
    let mut text = String::with_capacity(1400);
    let session = chance::uuid_text(chance::uuid(seed, UUID + 100, serial / 20));
    let (page, query) = (serial % 977, serial % 31);
    // Writing into a String cannot fail.
    let written = write!(
        text,
        r#"{{"$browser":"Chrome","$browser_version":131,"$browser_language":"en-GB","$current_url":"https://shop.example.com/app/{page}?q={query}&ref=%E2%98%83","$device_id":"{session}","$device_type":"Desktop","$host":"shop.example.com","$insert_id":"k{serial:x}","$ip":"10.{}.{}.{}","$lib":"web","$lib_version":"1.194.2","$os":"Mac OS X","$os_version":"10.15.7","$pathname":"/app/{page}","$active_feature_flags":["new-checkout","flag-3"],"$lib_custom_api_host":"https://e.example.com","$configured_session_timeout_ms":1800000,"$raw_user_agent":"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36","$referrer":"$direct","$referring_domain":"$direct","$screen_height":1080,"$screen_width":1920,"$session_id":"{session}","$viewport_height":900,"$viewport_width":1440,"$window_id":"{session}","token":"{}","edition":{edition},"amount":{}.{:02}"#,
        serial % 255,
        serial % 253,
        serial % 251,
        PROJECT_TOKEN,
        serial % 10_000,
        serial % 100,
    );
    debug_assert!(written.is_ok(), "a String takes any text");
    text.push_str(oddity(serial));
    text.push('}');
    text
}

/// What makes the properties of some events awkward to carry.
fn oddity(serial: u64) -> &'static str {
    match serial % 16 {
        0 => {
            r#","note":"naïve café “quoted” \"double\" \\ back\nline\ttab","emoji":"🦔🏳️‍🌈","rtl":"مرحبا""#
        }
        1 => r#","big":9007199254740993,"small":-9007199254740993"#,
        2 => r#","price":2515.40,"tiny":1.5e-7,"zero":-0.0"#,
        3 => {
            r#","cart":{"items":[{"sku":"A-1","qty":2},{"sku":"B \"2\"","qty":0}],"empty":{},"none":null},"tags":[]"#
        }
        4 => r#","$set":{"plan":"team","seats":12},"$set_once":{"first_seen":"2026-01-01"}"#,
        5 => {
            r#","escaped":"\u00e9\u2028\/ \ud83e\udd94","html":"<b>&amp;</b>","sql":"'; DROP TABLE events; --""#
        }
        6 => r#","$groups":{"company":"acme"},"$feature/new-checkout":true,"nothing":null"#,
        7 => r#","a \"quoted\" key":1,"":"an empty key","ключ":"значение""#,
        _ => r#","note":"plain""#,
    }
}
