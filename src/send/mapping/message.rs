//! A tracking call as it was sent: who, what, when, read with all the forms that senders use.
//!
//! Ids may be numbers, null or padded, `type` in any case; `timestamp` and `messageId` may be
//! missing. What every profile needs is checked here, and nothing that only one of them wants.

use serde_json::{Map, Number, Value};

use super::fields::at;
use super::{Arrival, Rejection};
use crate::config::complaint::suggestion;
use crate::cursor::Timestamp;

/// What a message tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Something happened.
    Track,
    /// A page was seen.
    Page,
    /// A screen of an app was seen.
    Screen,
    /// Who somebody is.
    Identify,
    /// Which group somebody belongs to.
    Group,
    /// Two ids are the same person.
    Alias,
}

impl Call {
    /// Every call by its `type`.
    pub const ALL: [(&'static str, Self); 6] = [
        ("track", Self::Track),
        ("page", Self::Page),
        ("screen", Self::Screen),
        ("identify", Self::Identify),
        ("group", Self::Group),
        ("alias", Self::Alias),
    ];

    fn read(message: &Map<String, Value>) -> Result<Self, Rejection> {
        let names = Self::ALL.map(|(name, _)| name);
        let Some(text) = text(message, "type")? else {
            return Err(Rejection::missing("type", &format!("one of {}", names.join(", "))));
        };
        let wanted = text.trim().to_lowercase();
        let found = Self::ALL.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, call)| *call).ok_or_else(|| {
            let near = suggestion(&wanted, &names);
            Rejection::new("type", format!("`type` is \"{}\", {near}", shortened(&text)))
        })
    }
}

/// Channels of the devices of persons, as RudderStack and Segment name them.
const OF_DEVICES: [&str; 4] = ["web", "mobile", "browser", "client"];

/// The library of Segment's that runs in browsers; it names no channel.
const IN_BROWSERS: &str = "analytics.js";

/// A message that names somebody.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    pub(super) call: Call,
    /// Its identity.
    pub(super) id: String,
    pub(super) user_id: Option<String>,
    pub(super) anonymous_id: Option<String>,
    /// The user, or where nobody is known the anonymous id.
    pub(super) who: String,
    /// When it happened, as the message says or as its other clocks tell.
    pub(super) timestamp: Option<String>,
    /// All of it.
    pub(super) body: Map<String, Value>,
    received_at: Timestamp,
}

impl Message {
    pub(super) fn read(mut body: Map<String, Value>, arrival: &Arrival) -> Result<Self, Rejection> {
        let call = Call::read(&body)?;
        let (user_id, anonymous_id) = (id(&body, "userId")?, id(&body, "anonymousId")?);
        let Some(who) = user_id.clone().or_else(|| anonymous_id.clone()) else {
            return Err(Rejection::missing("userId", "and so is `anonymousId`; one must say who"));
        };
        for field in ["properties", "traits", "context"] {
            object(&body, field)?;
        }
        let traits = at(&body, "context.traits");
        if traits.is_some_and(|traits| !traits.is_object()) {
            return Err(unexpected("context.traits", traits, "an object"));
        }
        let received_at = clock(&body, "receivedAt")?.unwrap_or(arrival.received_at);
        let timestamp = match text(&body, "timestamp")? {
            None => corrected(&body, received_at)?,
            written => written,
        };
        let id = id(&body, "messageId")?.unwrap_or_else(|| arrival.fallback_id.clone());
        fill_address(&mut body, arrival);
        Ok(Self { call, id, user_id, anonymous_id, who, timestamp, body, received_at })
    }

    /// When it happened: when it came, if nothing else tells.
    pub(super) fn happened_at(&self) -> String {
        self.timestamp.clone().unwrap_or_else(|| self.received_at.to_string())
    }

    /// The value at a place; null and the empty text are none.
    pub(super) fn at(&self, place: &str) -> Option<&Value> {
        at(&self.body, place)
    }

    /// The object at a place, empty where there is none.
    pub(super) fn object_at(&self, place: &str) -> Map<String, Value> {
        self.at(place).and_then(Value::as_object).cloned().unwrap_or_default()
    }

    /// The first id at one of some places.
    pub(super) fn id_at(&self, places: &[&'static str]) -> Result<Option<String>, Rejection> {
        for place in places {
            if let Some(id) = id(&self.body, place)? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// The name of what was tracked, as it was given.
    pub(super) fn event(&self) -> Result<String, Rejection> {
        text(&self.body, "event")?
            .ok_or_else(|| Rejection::missing("event", "it names what happened"))
    }

    /// The id that `previousId` becomes one with.
    pub(super) fn previous_id(&self) -> Result<String, Rejection> {
        id(&self.body, "previousId")?
            .ok_or_else(|| Rejection::missing("previousId", "it says whom `userId` was before"))
    }

    /// `traits`, or where that is empty `context.traits`; senders use either, or both alike.
    pub(super) fn traits(&self) -> Option<Map<String, Value>> {
        let places = ["traits", "context.traits"].map(|place| self.at(place)?.as_object());
        let full = places.iter().flatten().find(|traits| !traits.is_empty());
        full.or_else(|| places.iter().flatten().next()).map(|traits| (*traits).clone())
    }
}

/// The time by the clocks of the sender and ours: `receivedAt − (sentAt − originalTimestamp)`, so
/// that a device whose clock is wrong does not matter. None without `originalTimestamp`; without
/// `sentAt` there is nothing to correct it by.
fn corrected(
    body: &Map<String, Value>,
    received_at: Timestamp,
) -> Result<Option<String>, Rejection> {
    let Some(original) = clock(body, "originalTimestamp")? else { return Ok(None) };
    let sent_at = clock(body, "sentAt")?.unwrap_or(received_at);
    let delay = sent_at.micros() - original.micros();
    Ok(Some(received_at.plus_micros(-delay).to_string()))
}

/// Fills in the address of a device that called itself. A server's own address says nothing about
/// a person; it is kept where RudderStack keeps it, and only its profile looks there.
fn fill_address(body: &mut Map<String, Value>, arrival: &Arrival) {
    let Some(ip) = arrival.ip.map(|ip| Value::from(ip.to_canonical().to_string())) else { return };
    let channel = at(body, "channel").and_then(Value::as_str);
    let is_device = channel.is_some_and(|channel| OF_DEVICES.contains(&channel))
        || at(body, "context.direct") == Some(&Value::Bool(true))
        || at(body, "context.library.name").is_some_and(|name| name == IN_BROWSERS);
    if is_device && at(body, "context.ip").is_none() {
        let context = body.entry("context").or_insert_with(|| Map::new().into());
        if context.is_null() {
            *context = Map::new().into();
        }
        if let Some(context) = context.as_object_mut() {
            context.insert("ip".to_owned(), ip.clone());
        }
    }
    body.entry("request_ip").or_insert(ip);
}

/// The text at a place: a number counts as its text, null and blanks as none.
fn text(body: &Map<String, Value>, place: &'static str) -> Result<Option<String>, Rejection> {
    match at(body, place) {
        None => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(number)) => Ok(Some(number_text(number))),
        other => Err(unexpected(place, other, "a text or a number")),
    }
}

/// An id: a text without blanks around it.
fn id(body: &Map<String, Value>, place: &'static str) -> Result<Option<String>, Rejection> {
    Ok(text(body, place)?.map(|text| text.trim().to_owned()))
}

/// What a clock showed.
fn clock(body: &Map<String, Value>, place: &'static str) -> Result<Option<Timestamp>, Rejection> {
    let Some(text) = text(body, place)? else { return Ok(None) };
    let at = Timestamp::parse(text.trim());
    at.map(Some).ok_or_else(|| {
        let shown = shortened(&text);
        let reason = format!("`{place}` is \"{shown}\": write 2026-03-10T12:34:56.789Z");
        Rejection::new(place, reason)
    })
}

/// A field that is an object, if it is there.
pub(super) fn object<'m>(
    body: &'m Map<String, Value>,
    field: &'static str,
) -> Result<Option<&'m Map<String, Value>>, Rejection> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        other => Err(unexpected(field, other, "an object")),
    }
}

fn unexpected(place: &'static str, found: Option<&Value>, wanted: &str) -> Rejection {
    let found = found.map_or("missing", kind);
    Rejection::new(place, format!("`{place}` is {found}: {wanted} was expected"))
}

/// What a value is, for people.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A number as the SDKs of JavaScript write it where they make a text of it: 7.0 is `7`.
pub(super) fn number_text(number: &Number) -> String {
    let text = number.to_string();
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}
