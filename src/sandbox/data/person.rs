//! Persons: who sent the events.
//!
//! Some are ghosts: PostHog's list counts them and shows nothing, because they
//! are gone from one of its two stores. SQL does not know them at all.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::chance;
use super::identity::Own;
use crate::cursor::Timestamp;
use crate::sandbox::time::{self, SECOND};

const UUID: u64 = 11;
const AGE: u64 = 12;
const SCORE: u64 = 13;

/// Seconds in the 400 days over which persons came.
const SPAN: u64 = 400 * 86_400;

/// The properties that a person is called by.
const NAMES: [&str; 3] = ["email", "name", "username"];

/// One person.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Person {
    /// Which one.
    pub(in crate::sandbox) number: usize,
    /// When it was first seen.
    pub(in crate::sandbox) created: Timestamp,
    /// When its row was last written, which no record shows.
    pub(in crate::sandbox) updated: Timestamp,
    /// How often it was changed.
    edition: u32,
    /// Gone from every store.
    pub(in crate::sandbox) is_deleted: bool,
    /// What it is made of since events wrote it; before, all follows from its number.
    own: Option<Box<Own>>,
}

/// So many persons.
pub(super) fn people(seed: u64, count: usize, now: Timestamp) -> Vec<Person> {
    let person = |number: usize| {
        // Three at a time share the instant they were created.
        let age = chance::below(SPAN, seed, AGE, number as u64 / 3);
        let created = time::shift(now, -i64::try_from(age).unwrap_or(0) * SECOND - 402_000);
        Person { number, created, updated: created, edition: 0, is_deleted: false, own: None }
    };
    (0..count).map(person).collect()
}

/// The id of a person.
pub(in crate::sandbox) fn uuid(seed: u64, number: usize) -> u128 {
    chance::uuid(seed, UUID, number as u64)
}

/// One of a person's distinct ids; the first is the one its events carry.
pub(in crate::sandbox) fn distinct_id(number: usize, nth: usize) -> String {
    match (nth, number % 50) {
        (0, 0) => format!("zoë-{number}'s \\ \"phone\""),
        (0, 1) => format!("user {number} + 1%2B"),
        (0, _) => format!("user-{number}"),
        _ => format!("anonymous-{number}-{nth}"),
    }
}

/// The address of a person that no event has written.
fn made_email(number: usize) -> String {
    format!("user{number}@example.com")
}

/// How many distinct ids a person has.
fn distinct_id_count(number: usize) -> usize {
    match number {
        number if number % 41 == 40 => 12,
        number if number.is_multiple_of(3) => 2,
        _ => 1,
    }
}

impl Person {
    /// A person made by an event.
    pub(super) fn new(number: usize, distinct_id: &str, created: Timestamp) -> Self {
        let own = Own { distinct_ids: vec![distinct_id.to_owned()], ..Own::default() };
        let own = Some(Box::new(own));
        Self { number, created, updated: created, edition: 0, is_deleted: false, own }
    }

    /// What it is made of, from now on open to change.
    pub(super) fn own(&mut self, seed: u64) -> &mut Own {
        let made = || Own {
            distinct_ids: self.distinct_ids(),
            properties: self.properties(seed).as_object().cloned().unwrap_or_default(),
            is_identified: self.is_identified(),
        };
        if self.own.is_none() {
            self.own = Some(Box::new(made()));
        }
        self.own.get_or_insert_default()
    }

    /// Counted by the list but not shown: its page comes back short.
    pub(in crate::sandbox) fn is_ghost(&self) -> bool {
        self.number % 97 == 41 && self.own.is_none()
    }

    /// Whether anybody sees it.
    pub(in crate::sandbox) fn is_shown(&self) -> bool {
        !self.is_ghost() && !self.is_deleted
    }

    /// Its distinct ids.
    pub(in crate::sandbox) fn distinct_ids(&self) -> Vec<String> {
        match &self.own {
            Some(own) => own.distinct_ids.clone(),
            None => (0..distinct_id_count(self.number))
                .map(|nth| distinct_id(self.number, nth))
                .collect(),
        }
    }

    /// Whether the person has logged in.
    pub(in crate::sandbox) fn is_identified(&self) -> bool {
        self.own.as_ref().map_or(!self.number.is_multiple_of(4), |own| own.is_identified)
    }

    /// Its properties.
    pub(in crate::sandbox) fn properties(&self, seed: u64) -> Value {
        if let Some(own) = &self.own {
            return Value::Object(own.properties.clone());
        }
        let number = self.number;
        let plan = match self.edition {
            0 => ["free", "team", "enterprise"][number % 3].to_owned(),
            edition => format!("touched-{edition}"),
        };
        let name = match number % 50 {
            0 => format!("Zoë Ünïcode {number} 🦔"),
            _ => format!("User {number}"),
        };
        json!({
            "email": made_email(number), "name": name, "plan": plan, "seats": number % 100,
            "score": chance::below(100_000, seed, SCORE, number as u64) as f64 / 1000.0,
            "$initial_os": "Mac OS X", "$creator_event_uuid": chance::uuid_text(uuid(seed, number)),
        })
    }

    /// The address it is known by, where it is known by one.
    pub(in crate::sandbox) fn email(&self) -> Option<Cow<'_, str>> {
        match &self.own {
            Some(own) => own.properties.get("email")?.as_str().map(Cow::Borrowed),
            None => Some(Cow::Owned(made_email(self.number))),
        }
    }

    /// What lists call it.
    fn name(&self) -> String {
        let own = self.own.as_deref().map(|own| &own.properties);
        let told = |name: &str| own?.get(name)?.as_str().filter(|text| !text.is_empty());
        let first = NAMES.into_iter().find_map(told);
        match (own, first) {
            (None, _) => made_email(self.number),
            (_, Some(text)) => text.to_owned(),
            _ => self.distinct_ids().into_iter().next().unwrap_or_default(),
        }
    }

    /// Its record in the persons list.
    pub(in crate::sandbox) fn record(&self, seed: u64) -> Value {
        let id = chance::uuid_text(uuid(seed, self.number));
        json!({
            "type": "person", "id": id, "uuid": id, "created_at": time::zulu(self.created),
            "last_seen_at": null, "is_identified": self.is_identified(), "name": self.name(),
            "distinct_ids": self.distinct_ids(), "properties": self.properties(seed),
            "matched_recordings": [], "value_at_data_point": null,
        })
    }

    /// The record it has inside of a recording, and when it is asked for by id: with a number for an id.
    pub(in crate::sandbox) fn retrieved(&self, seed: u64) -> Value {
        let mut ids = self.distinct_ids();
        ids.truncate(10);
        json!({
            "id": 1000 + self.number, "name": self.name(), "distinct_ids": ids,
            "properties": self.properties(seed), "created_at": time::zulu(self.created),
            "uuid": chance::uuid_text(uuid(seed, self.number)), "last_seen_at": null,
        })
    }

    /// Its record inside of an event: what it is told by and no more.
    pub(in crate::sandbox) fn beside_event(&self) -> Value {
        let properties = match &self.own {
            None => json!({ "email": made_email(self.number) }),
            Some(own) => {
                let told = own.properties.iter().filter(|(name, _)| NAMES.contains(&name.as_str()));
                Value::Object(told.map(|(name, value)| (name.clone(), value.clone())).collect())
            }
        };
        json!({
            "is_identified": self.is_identified(), "distinct_ids": &self.distinct_ids()[..1],
            "properties": properties,
        })
    }

    /// Changes a property.
    pub(super) fn touch(&mut self, now: Timestamp) {
        self.edition += 1;
        if let Some(own) = &mut self.own {
            own.properties.insert("plan".to_owned(), json!(format!("touched-{}", self.edition)));
        }
        self.updated = now;
    }

    /// Removes it for good.
    pub(super) fn delete(&mut self) {
        self.is_deleted = true;
    }
}
