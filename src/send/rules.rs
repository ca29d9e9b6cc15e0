//! What may become an event: the rules before sending.
//!
//! PostHog refuses a whole batch for one event without a name, changes what does not fit (a long
//! distinct id is cut, a time it cannot read becomes now), and drops or half ignores other events
//! after it has answered 200 (posthog-api.md §8.2–8.9). So every event is judged here, alone:
//! [`admit`] turns a [`Draft`] into an [`Event`], or says why not. What PostHog would take and not
//! do as asked is a [`Doubt`]: told, and sent all the same.
//!
//! Pure: the time is passed in, nothing is sent.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::draft::Draft;
use super::event::{Event, Sealed};
use crate::cursor::Timestamp;

/// In which an id that is no UUID becomes one: the v5 UUID of `PostHog` under the UUID of zeros.
/// PostHog's own Segment destination uses it, so what came either way is taken for the same.
pub(super) const IDS: Uuid = Uuid::from_u128(0x671b_c869_c8ec_5bcb_9bb5_8d78_8bd2_0513);

/// The longest distinct id in characters; PostHog cuts what is longer, and so makes two persons one.
const LONGEST_ID: usize = 200;

/// The most bytes of an event's JSON. PostHog takes "about 1 MB" with its own envelope; its SDKs
/// send no more than this (posthog-api.md §8.3).
const LARGEST_EVENT: usize = 900 * 1024;

/// What lies further ahead becomes "now" in PostHog.
const FURTHEST_AHEAD: Duration = Duration::from_secs(23 * 3600);

/// Ids that PostHog merges with nobody, in any case (posthog-api.md §8.6).
const NOBODY: [&str; 10] = [
    "anonymous",
    "guest",
    "distinctid",
    "distinct_id",
    "id",
    "not_authenticated",
    "email",
    "undefined",
    "true",
    "false",
];

/// The same, written exactly so.
const NOBODY_EXACTLY: [&str; 6] = ["[object Object]", "NaN", "None", "none", "null", "0"];

/// Events that are about a person or a group: PostHog drops them where no person is wanted.
const OF_PERSONS: [&str; 4] =
    ["$identify", "$create_alias", "$merge_dangerously", "$groupidentify"];

/// Why something does not become an event, as a word that programs can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// It is no JSON.
    NotJson,
    /// It is JSON, but not of the form of an event.
    WrongShape,
    /// It has a key that no event has.
    UnknownKey,
    /// It is no tracking call that becomes an event.
    CallInvalid,
    /// Its line is longer than any event.
    LineTooLong,
    /// It has no event name.
    EventMissing,
    /// It has no distinct id.
    DistinctIdMissing,
    /// Its distinct id would be cut.
    DistinctIdTooLong,
    /// It would merge nobody with somebody.
    IllegalId,
    /// It is to merge and does not say whom.
    AliasMissing,
    /// It is about a group and does not say which.
    GroupMissing,
    /// Its time cannot be read.
    TimestampInvalid,
    /// Its time has not come.
    TimestampAhead,
    /// It is about a person, and asks for none.
    PersonProfileConflict,
    /// It is larger than PostHog takes.
    TooLarge,
    /// Its row has no key.
    KeyMissing,
    /// Other rows have the same key.
    KeyTwice,
    /// Several persons have its e-mail.
    EmailAmbiguous,
    /// PostHog refused it.
    Refused,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Why something does not become an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({code})")]
pub struct Rejection {
    /// The word for it.
    pub code: Code,
    /// The same for people; names the field.
    pub reason: String,
}

impl Rejection {
    /// A rejection for this reason.
    pub fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

/// What PostHog will take and not do as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// `$session_id` is no UUID of version 7: the event belongs to no session.
    SessionIdUnusable,
    /// `$set` and the like beside `$process_person_profile: false`: they are ignored.
    PersonPropertiesIgnored,
    /// `$process_person_profile` is neither true nor false: it is ignored.
    PersonProfileFlagIgnored,
    /// Both ids of a merge are the same: nothing is merged.
    MergesWithItself,
}

impl Doubt {
    /// What will happen, for people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::SessionIdUnusable => {
                "`$session_id` is no UUID of version 7: PostHog keeps the event out of sessions"
            }
            Self::PersonPropertiesIgnored => {
                "`$process_person_profile` is false: PostHog ignores `$set`, `$set_once` and `$unset`"
            }
            Self::PersonProfileFlagIgnored => {
                "`$process_person_profile` is neither true nor false: PostHog ignores it"
            }
            Self::MergesWithItself => "both ids are the same: PostHog merges nothing",
        }
    }
}

/// An event, and what is to be told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// The event.
    pub event: Event,
    /// What PostHog will not do as asked.
    pub doubts: Vec<Doubt>,
}

/// Judges what is to become an event. Without a time it happened `now`; without an id it gets one
/// that nothing else has.
///
/// # Errors
///
/// The first rule that it breaks.
pub fn admit(draft: Draft, now: Timestamp) -> Result<Admitted, Rejection> {
    let Draft { id, event, distinct_id, timestamp, properties } = draft;
    let event = event.filter(|name| !name.trim().is_empty()).ok_or_else(|| {
        Rejection::new(Code::EventMissing, "`event` is missing or empty: it names what happened")
    })?;
    let distinct_id = judge_distinct_id(distinct_id)?;
    let timestamp = timestamp.map_or(Ok(now), |text| judge_timestamp(&text, now))?;
    judge_person_profile(&event, &properties)?;
    judge_group(&event, &properties)?;
    let mut doubts = judge_merge(&event, &distinct_id, &properties)?;
    doubts.extend(doubts_about(&properties));
    let uuid = id.filter(|id| !id.is_empty()).map_or_else(Uuid::now_v7, |id| uuid_of(&id));
    let event = Event { uuid, event, distinct_id, timestamp, properties };
    Ok(Admitted { event, doubts })
}

/// Seals an event, unless it is larger than PostHog takes.
///
/// # Errors
///
/// It is too large.
pub fn seal(event: Event) -> Result<Sealed, Rejection> {
    let sealed = event.seal();
    match sealed.json.len() {
        0..=LARGEST_EVENT => Ok(sealed),
        bytes => Err(Rejection::new(
            Code::TooLarge,
            format!(
                "the event has {bytes} bytes of JSON: PostHog takes about 1 MB, hogline sends {LARGEST_EVENT}"
            ),
        )),
    }
}

/// A UUID as it is; of any other text the one UUID that is made of it.
fn uuid_of(id: &str) -> Uuid {
    Uuid::parse_str(id).unwrap_or_else(|_| Uuid::new_v5(&IDS, id.as_bytes()))
}

fn judge_distinct_id(id: Option<String>) -> Result<String, Rejection> {
    let missing = || {
        Rejection::new(Code::DistinctIdMissing, "`distinct_id` is missing or empty: it says who")
    };
    let id = id.filter(|id| !id.trim().is_empty()).ok_or_else(missing)?;
    // Most are short: their bytes are enough to know it.
    if id.len() > LONGEST_ID && id.chars().count() > LONGEST_ID {
        let reason = format!(
            "`distinct_id` has {} characters: PostHog keeps {LONGEST_ID}, and would take persons \
             for one whose ids begin alike",
            id.chars().count()
        );
        return Err(Rejection::new(Code::DistinctIdTooLong, reason));
    }
    Ok(id)
}

fn judge_timestamp(text: &str, now: Timestamp) -> Result<Timestamp, Rejection> {
    let Some(at) = read_time(text.trim()) else {
        let reason = format!(
            "`timestamp` cannot be read: \"{}\"; write 2026-03-10T12:34:56.789Z",
            text.chars().take(40).collect::<String>()
        );
        return Err(Rejection::new(Code::TimestampInvalid, reason));
    };
    if at > now.plus(FURTHEST_AHEAD) {
        let reason = format!(
            "`timestamp` is {at}, more than 23 hours ahead: PostHog would put the time of arrival in its place"
        );
        return Err(Rejection::new(Code::TimestampAhead, reason));
    }
    Ok(at)
}

/// The forms that PostHog reads: RFC 3339 and what is like it, RFC 2822, and Unix time in
/// seconds or milliseconds.
fn read_time(text: &str) -> Option<Timestamp> {
    let unix = |digits: usize, micros: i64| {
        let is_unix = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<i64>().ok().filter(|_| is_unix)?;
        Some(Timestamp::from_micros(number * micros))
    };
    Timestamp::parse(text)
        .or_else(|| unix(10, 1_000_000))
        .or_else(|| unix(13, 1_000))
        .or_else(|| Timestamp::parse_http(text))
}

fn judge_person_profile(event: &str, properties: &Map<String, Value>) -> Result<(), Rejection> {
    let asks_for_none = properties.get("$process_person_profile") == Some(&Value::Bool(false));
    if !asks_for_none || !OF_PERSONS.contains(&event) {
        return Ok(());
    }
    let reason = format!(
        "`$process_person_profile` is false, and PostHog drops {event} then: leave the property out"
    );
    Err(Rejection::new(Code::PersonProfileConflict, reason))
}

fn judge_group(event: &str, properties: &Map<String, Value>) -> Result<(), Rejection> {
    if event != "$groupidentify" {
        return Ok(());
    }
    for field in ["$group_type", "$group_key"] {
        if text_of(properties.get(field)).is_none_or(|text| text.trim().is_empty()) {
            let reason = format!("`{field}` is missing or empty: it says which group it is about");
            return Err(Rejection::new(Code::GroupMissing, reason));
        }
    }
    match properties.get("$group_set") {
        None | Some(Value::Null | Value::Object(_)) => Ok(()),
        Some(_) => {
            let reason = "`$group_set` is no object: PostHog ignores it";
            Err(Rejection::new(Code::WrongShape, reason))
        }
    }
}

/// Whom an event merges into its own person, by the field that names it.
fn judge_merge(
    event: &str,
    distinct_id: &str,
    properties: &Map<String, Value>,
) -> Result<Vec<Doubt>, Rejection> {
    let (field, is_needed) = match event {
        "$identify" => ("$anon_distinct_id", false),
        "$create_alias" | "$merge_dangerously" => ("alias", true),
        _ => return Ok(Vec::new()),
    };
    let other = text_of(properties.get(field)).filter(|text| !text.is_empty());
    let Some(other) = other else {
        let reason = format!("`{field}` is missing or empty: it names the id that {event} merges");
        let missing = Rejection::new(Code::AliasMissing, reason);
        return if is_needed { Err(missing) } else { Ok(Vec::new()) };
    };
    for (field, id) in [("distinct_id", distinct_id), (field, &*other)] {
        if is_nobody(id) {
            let reason =
                format!("`{field}` is \"{id}\", which PostHog never merges: it is nobody's id");
            return Err(Rejection::new(Code::IllegalId, reason));
        }
    }
    let is_itself = other == distinct_id;
    Ok(is_itself.then_some(Doubt::MergesWithItself).into_iter().collect())
}

/// Whether an id is one of those that a program sends which does not know whom it means.
fn is_nobody(id: &str) -> bool {
    let quoted = |quote| id.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    let bare = quoted('"').or_else(|| quoted('\'')).unwrap_or(id);
    bare.trim().is_empty()
        || NOBODY_EXACTLY.contains(&bare)
        || NOBODY.iter().any(|nobody| nobody.eq_ignore_ascii_case(bare))
}

/// An id as text; PostHog takes numbers, too.
fn text_of(value: Option<&Value>) -> Option<Cow<'_, str>> {
    match value? {
        Value::Null => None,
        Value::String(text) => Some(text.into()),
        other => Some(other.to_string().into()),
    }
}

fn doubts_about(properties: &Map<String, Value>) -> impl Iterator<Item = Doubt> {
    let session = properties.get("$session_id").filter(|id| !id.is_null());
    let is_v7 = |id: &Value| {
        let uuid = id.as_str().and_then(|text| Uuid::parse_str(text).ok());
        uuid.is_some_and(|uuid| uuid.get_version_num() == 7)
    };
    let is_sessionless = session.is_some_and(|id| !is_v7(id));
    let sets = ["$set", "$set_once", "$unset"].iter().any(|name| properties.contains_key(*name));
    let of_flag = match properties.get("$process_person_profile") {
        None | Some(Value::Null | Value::Bool(true)) => None,
        Some(Value::Bool(false)) => sets.then_some(Doubt::PersonPropertiesIgnored),
        Some(_) => Some(Doubt::PersonProfileFlagIgnored),
    };
    is_sessionless.then_some(Doubt::SessionIdUnusable).into_iter().chain(of_flag)
}

#[cfg(test)]
mod tests;
