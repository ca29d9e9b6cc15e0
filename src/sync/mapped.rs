//! What a row becomes: pure, from a row's columns to a [`Draft`].
//!
//! What is sent of a row is made of the row alone: its identity, of the sync's name and the row's
//! key (and of what it says, where it may change). So a row that is sent again, by whatever
//! accident, is the same event to PostHog (posthog-api.md §8.7).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::config::complaint::suggestion;
use crate::config::sync::{Becomes, FoundBy, Nulls, PersonSync, Properties, Sync, Term};
use crate::send::draft::Draft;
use crate::send::rules::{Code, Rejection};

/// In which keys and contents of rows are hashed.
const HASHES: Uuid = Uuid::from_u128(0x7d0c_6a5e_4b1f_4e57_9a53_0f6d_2c48_91be);

/// A key in the snapshot: 12 bytes of a hash. Among ten million keys it is one in 10^13 that two
/// are taken for one.
pub type KeyHash = [u8; 12];

/// What a row said when it was sent, in 8 bytes of a hash.
pub type RowHash = [u8; 8];

/// A row, mapped.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped {
    /// The text of its key; an e-mail as it is compared.
    pub key: String,
    /// What is to be sent. A person that is found by e-mail has the distinct id that it gets if it
    /// is new.
    pub draft: Draft,
}

impl Mapped {
    /// The hash of what it says.
    pub fn hash(&self) -> RowHash {
        let Draft { event, distinct_id, timestamp, properties, .. } = &self.draft;
        let said = json!([event, distinct_id, timestamp, properties]).to_string();
        let hash = Uuid::new_v5(&HASHES, said.as_bytes());
        hash.as_bytes()[8..].try_into().expect("half a UUID has 8 bytes")
    }
}

/// The hash of a row's key.
pub fn key_hash(key: &str) -> KeyHash {
    let hash = Uuid::new_v5(&HASHES, key.as_bytes());
    hash.as_bytes()[4..].try_into().expect("a UUID without its first bytes has 12")
}

/// What makes the uuid of an event that is sent once for a row.
pub fn identity(sync: &Sync, key: &str) -> String {
    format!("hogline sync {}: {key}", sync.name)
}

/// The same of what is sent whenever the row says something new.
pub fn identity_of_change(sync: &Sync, key: &str, hash: RowHash) -> String {
    format!("{}#{:016x}", identity(sync, key), u64::from_be_bytes(hash))
}

/// What is mapped, as text: where it differs, rows that are the same say something else.
pub fn fingerprint(sync: &Sync) -> String {
    json!({ "key": sync.key, "becomes": sync.becomes, "properties": sync.properties }).to_string()
}

/// Maps a row.
///
/// # Errors
///
/// It has no key.
pub fn map(sync: &Sync, row: &Map<String, Value>) -> Result<Mapped, Rejection> {
    let key = key(sync, row)?;
    let draft = match &sync.becomes {
        Becomes::Event { event, distinct_id, timestamp } => {
            let name = text_of(event, row);
            occurrence(sync, row, name, distinct_id, timestamp.as_deref())
        }
        Becomes::Page { url, distinct_id, timestamp } => {
            let name = Some("$pageview".to_owned());
            let mut draft = occurrence(sync, row, name, distinct_id, timestamp.as_deref());
            if let Some(url) = url.as_ref().and_then(|url| text_of(url, row)) {
                draft.properties.insert("$current_url".into(), url.into());
            }
            draft
        }
        Becomes::Person(person) => of_person(sync, person, row, &key),
    };
    let mut mapped = Mapped { key, draft };
    mapped.draft.id = Some(match &sync.becomes {
        Becomes::Person(_) => identity_of_change(sync, &mapped.key, mapped.hash()),
        _ => identity(sync, &mapped.key),
    });
    Ok(mapped)
}

/// What unsets all that a row had set, which is gone.
pub fn unset(sync: &Sync, who: &str, names: &BTreeSet<String>, hash: RowHash) -> Draft {
    let properties = json!({
        "$unset": names,
        "$geoip_disable": true,
        "$update_person_last_seen_at": false,
    });
    Draft {
        id: Some(format!("{} gone", identity_of_change(sync, who, hash))),
        event: Some("$set".into()),
        distinct_id: Some(who.to_owned()),
        timestamp: None,
        properties: object(properties),
    }
}

/// The columns that a sync maps and a row of a source with fixed columns has not.
pub fn missing_columns(sync: &Sync, row: &Map<String, Value>) -> Vec<String> {
    let known: Vec<&str> = row.keys().map(String::as_str).collect();
    let absent = mapped_columns(sync).filter(|column| !row.contains_key(*column));
    let told = absent.map(|column| format!("\"{column}\", {}", suggestion(column, &known)));
    told.collect::<BTreeSet<_>>().into_iter().collect()
}

fn mapped_columns(sync: &Sync) -> impl Iterator<Item = &str> {
    let properties = match &sync.properties {
        Properties::All => &[],
        Properties::These(pairs) => pairs.as_slice(),
    };
    let properties = properties.iter().filter_map(|(_, term)| term.column());
    roles(sync).into_iter().chain([sync.key.as_str()]).chain(properties)
}

/// The columns that play a part and are therefore no properties of `all`.
fn roles(sync: &Sync) -> Vec<&str> {
    let (terms, column) = match &sync.becomes {
        Becomes::Event { event, distinct_id, timestamp } => {
            (vec![Some(event), Some(distinct_id)], timestamp.as_deref())
        }
        Becomes::Page { url, distinct_id, timestamp } => {
            (vec![url.as_ref(), Some(distinct_id)], timestamp.as_deref())
        }
        Becomes::Person(PersonSync { by: FoundBy::Id, .. }) => (vec![], Some(sync.key.as_str())),
        Becomes::Person(PersonSync { by: FoundBy::Email { new_id, .. }, .. }) => {
            (vec![], new_id.as_deref())
        }
    };
    terms.into_iter().flatten().filter_map(Term::column).chain(column).collect()
}

fn key(sync: &Sync, row: &Map<String, Value>) -> Result<String, Rejection> {
    let column = &sync.key;
    let missing = |what| Rejection::new(Code::KeyMissing, format!("the key `{column}` is {what}"));
    match row.get(column) {
        None | Some(Value::Null) => Err(missing("null")),
        Some(Value::String(text)) if text.trim().is_empty() => Err(missing("empty")),
        Some(Value::String(text)) if is_email(sync) => Ok(normal_email(text)),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(_) | Value::Object(_)) => Err(missing("neither a text nor a number")),
        Some(value) => Ok(value.to_string()),
    }
}

fn is_email(sync: &Sync) -> bool {
    matches!(&sync.becomes, Becomes::Person(PersonSync { by: FoundBy::Email { .. }, .. }))
}

/// As e-mails are compared: in small letters, without blanks around.
pub fn normal_email(text: &str) -> String {
    text.trim().to_lowercase()
}

/// Something that happened once.
fn occurrence(
    sync: &Sync,
    row: &Map<String, Value>,
    event: Option<String>,
    distinct_id: &Term,
    timestamp: Option<&str>,
) -> Draft {
    let properties = properties(sync, row).into_iter().filter(|(_, value)| !value.is_null());
    let mut properties: Map<_, _> = properties.collect();
    // PostHog takes the sender's address for the person's: here it is a server's.
    if !properties.contains_key("$ip") {
        properties.entry("$geoip_disable").or_insert(Value::Bool(true));
    }
    // A row without a time where one is mapped is refused by the rules, not sent as of now.
    let timestamp = timestamp.map(|column| text(row.get(column)).unwrap_or_default());
    Draft { id: None, event, distinct_id: text_of(distinct_id, row), timestamp, properties }
}

fn of_person(sync: &Sync, person: &PersonSync, row: &Map<String, Value>, key: &str) -> Draft {
    let (mut set, mut set_once, mut unset) = (Map::new(), Map::new(), Vec::new());
    for (name, value) in properties(sync, row) {
        let is_once = person.set_once.contains(&name);
        match (value, person.nulls) {
            (Value::Null, Nulls::Unset) if !is_once => unset.push(Value::String(name)),
            (Value::Null, _) => {}
            (value, _) if is_once => drop(set_once.insert(name, value)),
            (value, _) => drop(set.insert(name, value)),
        }
    }
    let distinct_id = match &person.by {
        FoundBy::Id => Some(key.to_owned()),
        FoundBy::Email { new_id, .. } => match new_id {
            Some(column) => text(row.get(column)),
            None => text(row.get(&sync.key)).map(|email| email.trim().to_owned()),
        },
    };
    let mut properties = object(json!({
        "$set": set,
        "$geoip_disable": true,
        "$update_person_last_seen_at": false,
    }));
    if !set_once.is_empty() {
        properties.insert("$set_once".into(), set_once.into());
    }
    if !unset.is_empty() {
        properties.insert("$unset".into(), unset.into());
    }
    Draft { id: None, event: Some("$set".into()), distinct_id, timestamp: None, properties }
}

/// The properties that a row has, nulls included.
fn properties(sync: &Sync, row: &Map<String, Value>) -> Map<String, Value> {
    match &sync.properties {
        Properties::All => {
            let roles = roles(sync);
            let others = row.iter().filter(|(name, _)| !roles.contains(&name.as_str()));
            others.map(|(name, value)| (name.clone(), value.clone())).collect()
        }
        Properties::These(pairs) => {
            let value = |term: &Term| match term {
                Term::Column(column) => row.get(column).cloned().unwrap_or(Value::Null),
                Term::Constant(text) => Value::String(text.clone()),
            };
            pairs.iter().map(|(name, term)| (name.clone(), value(term))).collect()
        }
    }
}

/// The names of the properties that a person's row sets.
pub fn names_set(draft: &Draft) -> impl Iterator<Item = &String> {
    let set = draft.properties.get("$set").and_then(Value::as_object);
    set.into_iter().flat_map(Map::keys)
}

fn text_of(term: &Term, row: &Map<String, Value>) -> Option<String> {
    match term {
        Term::Column(column) => text(row.get(column)),
        Term::Constant(text) => Some(text.clone()),
    }
}

/// A value as text; numbers are written out.
fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => unreachable!("it is written as an object"),
    }
}

#[cfg(test)]
mod tests;
