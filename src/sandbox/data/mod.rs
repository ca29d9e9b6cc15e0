//! What the project holds: every record of every stream, known exactly.
//!
//! All of it follows from the options' seed and from the events that were sent since
//! ([`intake`], [`identity`]). [`Data`] is the truth that tests
//! compare a copy with; the lists and the SQL store only show it, in PostHog's
//! many ways. Nothing here knows HTTP.

pub(super) mod chance;
mod definition;
pub(super) mod event;
pub(super) mod identity;
pub(super) mod intake;
pub(super) mod person;
pub(super) mod recording;
mod row;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use serde_json::{Value, json};

use self::event::Event;
use self::intake::{Arrival, Group, Warning};
use self::person::Person;
use self::recording::Recording;
use super::{Options, PROJECT, PROJECT_TOKEN, time};
use crate::cursor::Timestamp;

/// Everything the project holds.
#[derive(Debug)]
pub(super) struct Data {
    /// What everything is made from.
    pub(super) seed: u64,
    /// Events, copies not yet merged included, by timestamp.
    pub(super) events: Vec<Event>,
    /// Persons, ghosts included.
    pub(super) persons: Vec<Person>,
    /// Session recordings.
    pub(super) recordings: Vec<Recording>,
    /// Records of the other streams, whole, by stream.
    pub(super) rows: BTreeMap<&'static str, Vec<Value>>,
    /// Soft-deleted records: no longer listed, still to be had by id.
    pub(super) deleted: BTreeMap<&'static str, Vec<Value>>,
    /// Every event that was let in, as often as it came.
    pub(super) arrivals: Vec<Event>,
    /// Those of them that nothing has become of yet.
    waiting: VecDeque<(Arrival, Event)>,
    /// What was noticed about them.
    pub(super) warnings: Vec<Warning>,
    /// The groups they told of.
    pub(super) groups: Vec<Group>,
    group_types: Vec<String>,
    /// Who has which distinct id, once an event has asked.
    owners: Option<HashMap<String, usize>>,
    /// Persons merged away, and into whom.
    merged: HashMap<usize, usize>,
    /// How many persons follow from the options.
    made_persons: usize,
    /// The number of the next event.
    serial: u64,
}

impl Data {
    /// A project as the options describe it.
    pub(super) fn new(options: &Options) -> Self {
        let seed = options.seed;
        Self {
            seed,
            events: event::history(options),
            persons: person::people(seed, options.persons, options.now),
            recordings: recording::sessions(options),
            rows: row::all(seed, options.now, options.timezone_offset_minutes),
            deleted: BTreeMap::new(),
            arrivals: Vec::new(),
            waiting: VecDeque::new(),
            warnings: Vec::new(),
            groups: Vec::new(),
            group_types: Vec::new(),
            owners: None,
            merged: HashMap::new(),
            made_persons: options.persons,
            serial: options.events as u64,
        }
    }

    /// Adds events that happened at one instant and arrived at another.
    pub(super) fn add_events(&mut self, n: usize, at: Timestamp, created: Timestamp) -> Vec<Event> {
        let persons = self.made_persons;
        let first = self.serial;
        self.serial += n as u64;
        let new: Vec<Event> = (first..self.serial)
            .map(|serial| Event::new(self.seed, serial, persons, at, created))
            .collect();
        self.insert_events(&new);
        new
    }

    /// Puts events where their timestamps belong.
    pub(super) fn insert_events(&mut self, new: &[Event]) {
        self.events.extend_from_slice(new);
        self.events.sort_by_key(|event| event.at);
    }

    /// Sends the newest events again, changed: a second copy of each, not yet merged.
    pub(super) fn resend_events(&mut self, n: usize, now: Timestamp) -> Vec<Event> {
        let newest = self.events.iter().rev().take(n);
        let copies: Vec<Event> = newest
            .map(|event| Event { edition: event.edition + 1, created: now, ..event.clone() })
            .collect();
        self.insert_events(&copies);
        copies
    }

    /// Changes the first records of a stream, as somebody at work would.
    pub(super) fn touch(&mut self, stream: &str, n: usize, now: Timestamp) {
        match stream {
            "persons" => {
                for person in self.persons.iter_mut().filter(|person| person.is_shown()).take(n) {
                    person.touch(now);
                }
            }
            "session_recordings" => {
                for recording in self.recordings.iter_mut().take(n) {
                    recording.grow(now);
                }
            }
            _ => {
                for record in self.rows.get_mut(stream).into_iter().flatten().take(n) {
                    row::touch(record, now);
                }
            }
        }
    }

    /// Deletes the last records of a stream; returns the events that went.
    pub(super) fn delete(&mut self, stream: &str, n: usize) -> Vec<Event> {
        match stream {
            "events" => {
                let from = self.events.len().saturating_sub(n);
                return self.events.split_off(from);
            }
            "persons" => {
                let shown = self.persons.iter_mut().rev().filter(|person| person.is_shown());
                shown.take(n).for_each(Person::delete);
            }
            "session_recordings" => {
                let from = self.recordings.len().saturating_sub(n);
                self.recordings.truncate(from);
            }
            _ => self.delete_rows(stream, n),
        }
        Vec::new()
    }

    fn delete_rows(&mut self, stream: &str, n: usize) {
        let Some((stream, rows)) = self.rows.iter_mut().find(|(name, _)| **name == stream) else {
            return;
        };
        for mut record in rows.split_off(rows.len().saturating_sub(n)) {
            if record.get("deleted").is_some() {
                record["deleted"] = json!(true);
                self.deleted.entry(stream).or_default().push(record);
            }
        }
    }

    /// The records that a complete copy of a stream holds.
    pub(super) fn truth(&self, stream: &str, now: Timestamp) -> Vec<Value> {
        match stream {
            "events" => {
                let winners = self.winners();
                winners.map(|event| event.truth(self.seed, self.survivor(event.person))).collect()
            }
            "persons" => {
                let shown = self.persons.iter().filter(|person| person.is_shown());
                shown.map(|person| person.record(self.seed)).collect()
            }
            "session_recordings" => {
                self.recordings.iter().map(|whole| whole.whole(self.seed, now)).collect()
            }
            "property_definitions" => {
                let rows = self.rows.get("property_definitions").into_iter().flatten();
                rows.cloned().collect()
            }
            _ => self.rows.get(stream).into_iter().flatten().cloned().collect(),
        }
    }

    /// Of each event the copy that wins: the one with the greatest (created_at, timestamp).
    fn winners(&self) -> impl Iterator<Item = &Event> {
        let mut best: HashMap<_, &Event> = HashMap::with_capacity(self.events.len());
        for event in &self.events {
            let kept = best.entry(event.identity()).or_insert(event);
            if (event.created, event.at) >= (kept.created, kept.at) {
                *kept = event;
            }
        }
        let mut winners: Vec<&Event> = best.into_values().collect();
        winners.sort_by(|one, other| {
            (one.at, one.uuid, &one.name).cmp(&(other.at, other.uuid, &other.name))
        });
        winners.into_iter()
    }

    /// Removes the copies of events that lose; returns them.
    pub(super) fn merge_copies(&mut self) -> Vec<Event> {
        let winners: HashSet<*const Event> = self.winners().map(std::ptr::from_ref).collect();
        let wins = |event: &Event| winners.contains(&std::ptr::from_ref(event));
        let wins: Vec<bool> = self.events.iter().map(wins).collect();
        let mut wins = wins.into_iter();
        self.events.extract_if(.., |_| !wins.next().unwrap_or(true)).collect()
    }

    /// What one project's page adds to its record in the list.
    pub(super) fn project_details(&self, options: &Options) -> Value {
        let mut project = self.rows["projects"].first().cloned().unwrap_or_default();
        let created = time::zulu(time::shift(options.now, -400 * time::DAY));
        project["created_at"] = json!(created);
        project["updated_at"] = json!(created);
        project["product_description"] = json!(null);
        project["effective_membership_level"] = json!(8);
        project["has_group_types"] = json!(true);
        project["app_urls"] = json!(["https://shop.example.com"]);
        project["anonymize_ips"] = json!(false);
        project["secret_api_token"] = json!("phs_sandbox_secret_token");
        project["secret_api_token_backup"] = json!(null);
        project["live_events_token"] = json!("sandbox.live.token");
        if let Some(age) = options.drop_events_older_than {
            let (days, seconds) = (age.as_secs() / 86_400, age.as_secs() % 86_400);
            let clock = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            let text = format!("{days} {:02}:{:02}:{:02}", clock.0, clock.1, clock.2);
            project["drop_events_older_than"] = json!(text);
        }
        if options.without_persons {
            project["person_processing_opt_out"] = json!(true);
        }
        project
    }
}

/// The project's record in the list.
fn project(zone: i32) -> Value {
    json!({
        "id": PROJECT, "uuid": "018f3a52-7a2e-0000-9b41-5d6f0c2a1e77",
        "organization": "018f3a51-11c4-0000-1f0b-2b7a7f0e9d10", "api_token": PROJECT_TOKEN,
        "name": "Web shop", "completed_snippet_onboarding": true,
        "has_completed_onboarding_for": { "product_analytics": true }, "ingested_event": true,
        "is_demo": false, "timezone": time::zone_name(zone), "access_control": false,
    })
}
