//! The forms of a request of the first protocol, and what is wrong with it.
//!
//! A single event, an array, or a batch. What does not parse refuses all of it,
//! in plain text; of what is wrong with one event, the caller judges
//! (posthog-api.md §8.2, §8.4).

use serde_json::{Map, Value};
use uuid::Uuid;

use super::Captured;
use super::clock::{self, Said};
use crate::cursor::Timestamp;
use crate::sandbox::answer::{Answer, Question};
use crate::sandbox::data::intake::Arrival;

/// The most characters of a distinct id that are kept.
const LONGEST_ID: usize = 200;

/// The names that a token goes by.
const TOKENS: [&str; 3] = ["token", "api_key", "$token"];

/// A token and the events under it, each with what refuses it.
type Read = (String, Vec<Result<Arrival, Answer>>);

/// Reads a request. What refuses all of it is the answer to it.
pub(super) fn read(text: &str, question: &Question, now: Timestamp) -> Result<Read, Answer> {
    let body: Value = serde_json::from_str(text).map_err(|error| unparsed(&error.to_string()))?;
    let head = Head::of(&body, question);
    let raws = match body {
        Value::Array(events) => events,
        Value::Object(mut batch) => match batch.remove("batch") {
            Some(Value::Array(events)) => events,
            Some(_) => return Err(unparsed("data did not match any variant of RawRequest")),
            None => vec![Value::Object(batch)],
        },
        _ => return Err(unparsed("data did not match any variant of RawRequest")),
    };
    let is_engage = question.path.trim_matches('/') == "engage";
    let raws = raws.into_iter().map(|raw| Raw::read(raw, is_engage));
    let raws = raws.collect::<Result<Vec<Raw>, Answer>>()?;
    if raws.is_empty() {
        return Err(refused("request holds no event"));
    }
    let token = token(&head, &raws)?;
    Ok((token, raws.into_iter().map(|raw| raw.checked(&head, now)).collect()))
}

fn refused(text: &str) -> Answer {
    Answer::plain(400, text)
}

fn unparsed(why: &str) -> Answer {
    refused(&format!("failed to parse request: {why}"))
}

/// What a batch says of all its events.
#[derive(Debug, Default)]
struct Head {
    token: Option<String>,
    sent_at: Option<Timestamp>,
    historical: bool,
}

impl Head {
    fn of(body: &Value, question: &Question) -> Self {
        let asked = question.parameter("_").and_then(|text| text.parse::<i64>().ok());
        let asked = asked.map(|millis| Timestamp::from_micros(millis.saturating_mul(1000)));
        let Some(batch) = body.as_object().filter(|body| body.contains_key("batch")) else {
            return Self { sent_at: asked, ..Self::default() };
        };
        Self {
            token: text_of(batch, &TOKENS),
            sent_at: batch.get("sent_at").and_then(Value::as_str).and_then(clock::read).or(asked),
            historical: batch.get("historical_migration") == Some(&Value::Bool(true)),
        }
    }
}

/// The first of some members that is a text.
fn text_of(object: &Map<String, Value>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| object.get(*name)?.as_str()).map(str::to_owned)
}

/// An event as it was sent, its members of the right kinds.
#[derive(Debug)]
struct Raw {
    token: Option<String>,
    event: String,
    distinct_id: Option<String>,
    uuid: Option<Uuid>,
    timestamp: Option<String>,
    offset: Option<i64>,
    properties: Map<String, Value>,
}

impl Raw {
    /// Reads an event; a member of the wrong kind fails the whole request.
    fn read(raw: Value, is_engage: bool) -> Result<Self, Answer> {
        let Value::Object(mut raw) = raw else { return Err(unparsed("an event is no object")) };
        let mut properties = match raw.remove("properties") {
            None => Map::new(),
            Some(properties) => object("properties", properties)?,
        };
        for name in ["$set", "$set_once"] {
            let Some(own) = raw.remove(name).filter(|own| !own.is_null()) else { continue };
            let mut set = object(name, own)?;
            // What the top level says wins.
            if let Some(Value::Object(inner)) = properties.remove(name) {
                inner.into_iter().for_each(|(key, value)| {
                    set.entry(key).or_insert(value);
                });
            }
            properties.insert(name.to_owned(), Value::Object(set));
        }
        let event = match raw.get("event") {
            Some(Value::String(event)) => event.clone(),
            None if is_engage => "$identify".to_owned(),
            _ => return Err(unparsed("missing field `event`")),
        };
        Ok(Self {
            token: text_of(&raw, &TOKENS).or_else(|| text_of(&properties, &["token"])),
            event,
            distinct_id: distinct_id(&raw, &properties),
            uuid: uuid(&raw)?,
            timestamp: text("timestamp", &raw)?,
            offset: match raw.get("offset") {
                None | Some(Value::Null) => None,
                Some(offset) => Some(offset.as_i64().ok_or_else(|| unparsed("offset"))?),
            },
            properties,
        })
    }

    /// The event, unless its content is refused.
    fn checked(self, head: &Head, now: Timestamp) -> Result<Arrival, Answer> {
        if self.event.is_empty() {
            return Err(refused("event submitted with an empty event name"));
        }
        let is_cookieless = match self.properties.get("$cookieless_mode") {
            None => false,
            Some(Value::Bool(is_on)) => *is_on,
            Some(_) => return Err(refused("event submitted with invalid cookieless mode")),
        };
        let cookieless = is_cookieless.then(|| "$posthog_cookieless".to_owned());
        let distinct_id = self.distinct_id.or(cookieless);
        let distinct_id =
            distinct_id.ok_or_else(|| refused("event submitted without a distinct_id"))?;
        let is_exact = self.properties.get("$ignore_sent_at") == Some(&Value::Bool(true));
        let said = Said {
            timestamp: self.timestamp.as_deref(),
            offset: self.offset,
            sent_at: head.sent_at.filter(|_| !is_exact),
        };
        let (timestamp, is_time_unread) = clock::happened(said, now);
        let event = Captured {
            uuid: self.uuid.unwrap_or_else(Uuid::now_v7),
            event: self.event,
            distinct_id,
            timestamp,
            properties: self.properties,
            historical: head.historical,
        };
        Ok(Arrival { event, is_time_unread })
    }
}

fn object(name: &str, value: Value) -> Result<Map<String, Value>, Answer> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(unparsed(&format!("invalid type for `{name}`, expected a map"))),
    }
}

fn text(name: &str, raw: &Map<String, Value>) -> Result<Option<String>, Answer> {
    match raw.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(unparsed(&format!("invalid type for `{name}`, expected a string"))),
    }
}

fn uuid(raw: &Map<String, Value>) -> Result<Option<Uuid>, Answer> {
    let text = text("uuid", raw)?.filter(|text| !text.is_empty());
    text.map(|text| Uuid::parse_str(&text))
        .transpose()
        .map_err(|error| unparsed(&format!("UUID parsing failed: {error}")))
}

/// Who did it: the top level wins, what is no text becomes JSON, an empty text is none.
fn distinct_id(raw: &Map<String, Value>, properties: &Map<String, Value>) -> Option<String> {
    let outer = raw.get("distinct_id").or_else(|| raw.get("$distinct_id"));
    let id = match outer.or_else(|| properties.get("distinct_id"))? {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    (!id.is_empty()).then(|| id.chars().take(LONGEST_ID).collect())
}

/// The one token of a request: the batch's, or the one that all its events name.
fn token(head: &Head, raws: &[Raw]) -> Result<String, Answer> {
    let denied = |text: &str| Answer::plain(401, text);
    let mut named = raws.iter().filter_map(|raw| raw.token.as_deref());
    let token = match (&head.token, named.next()) {
        (Some(token), _) => token.as_str(),
        (None, None) => return Err(denied("event submitted without an api_key")),
        (None, Some(first)) if named.all(|other| other == first) => first,
        _ => return Err(denied("batch submitted with inconsistent api_key values")),
    };
    let token = token.trim();
    match misshapen(token) {
        Some(why) => Err(denied(&format!("API key is not valid: {why}"))),
        None => Ok(token.to_owned()),
    }
}

/// What is wrong with the shape of a token.
pub(super) fn misshapen(token: &str) -> Option<&'static str> {
    match token {
        "" => Some("empty"),
        token if token.len() > 64 => Some("too_long"),
        token if !token.is_ascii() => Some("not_ascii"),
        token if token.starts_with("phx_") => Some("personal_api_key"),
        token if token.contains('\0') => Some("null_byte"),
        _ => None,
    }
}
