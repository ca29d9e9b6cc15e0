//! Session recordings: stored in parts, shown as sessions.
//!
//! A part is a storage row. The list filters parts by date and only then groups
//! what is left, so a session at the edge of a range shows a later start and
//! smaller counters than it has. Every fourth session has a second part, hours
//! after the first.

use serde_json::{Value, json};

use super::chance;
use super::person::{self, Person};
use crate::cursor::Timestamp;
use crate::sandbox::Options;
use crate::sandbox::time::{self, DAY, HOUR, MINUTE, SECOND};

const UUID: u64 = 21;
const START: u64 = 22;

/// The days over which recordings are spread.
const SPAN: u64 = 60 * 86_400_000;

/// A storage row of a session.
#[derive(Debug, Clone)]
struct Part {
    start: Timestamp,
    end: Timestamp,
    clicks: u64,
}

/// One session.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Recording {
    id: String,
    person: Person,
    parts: Vec<Part>,
}

/// So many sessions.
pub(super) fn sessions(options: &Options) -> Vec<Recording> {
    let people = person::people(options.seed, options.persons.max(1), options.now);
    let session = |number: u64| {
        let id = chance::uuid_text(chance::uuid(options.seed, UUID, number));
        // Two at a time begin at the same instant.
        let age = chance::below(SPAN, options.seed, START, number / 2);
        let start = time::shift(options.now, -i64::try_from(age).unwrap_or(0) * 1000 - 10 * MINUTE);
        let mut parts = vec![Part::new(start, 1 + number % 50)];
        let hours = 1 + i64::try_from(number % 19).unwrap_or(0);
        let again = time::shift(start, hours * HOUR);
        if number.is_multiple_of(4) && again < options.now {
            parts.push(Part::new(again, 1 + number % 7));
        }
        let person = people[usize::try_from(number).unwrap_or(0) % people.len()].clone();
        Recording { id, person, parts }
    };
    (0..options.recordings as u64).map(session).collect()
}

impl Part {
    fn new(start: Timestamp, clicks: u64) -> Self {
        Self { start, end: time::shift(start, 5 * MINUTE + 180_000), clicks }
    }
}

impl Recording {
    /// The session's id.
    pub(in crate::sandbox) fn id(&self) -> &str {
        &self.id
    }

    /// The session as a list shows it that looks at parts begun within a range; both ends are included.
    pub(in crate::sandbox) fn seen(
        &self,
        seed: u64,
        (from, to): (Timestamp, Timestamp),
        now: Timestamp,
    ) -> Option<Value> {
        let parts: Vec<&Part> =
            self.parts.iter().filter(|part| from <= part.start && part.start <= to).collect();
        let (start, end) = (parts.iter().map(|part| part.start).min()?, parts.last()?.end);
        let clicks: u64 = parts.iter().map(|part| part.clicks).sum();
        let seconds = end.since(start).as_secs();
        // Whole days, so that a record changes at midnight and not while it is being copied.
        let expiry = midnight(time::shift(start, 90 * DAY));
        Some(json!({
            "id": self.id, "distinct_id": person::distinct_id(self.person.number, 0),
            "viewed": false, "viewers": [], "recording_duration": seconds,
            "active_seconds": 10.5 * parts.len() as f64, "inactive_seconds": seconds as f64 - 10.5,
            "start_time": time::zulu(start), "end_time": time::zulu(end), "click_count": clicks,
            "keypress_count": 2 * clicks, "mouse_activity_count": 9 * clicks,
            "console_log_count": parts.len(), "console_warn_count": 0, "console_error_count": 0,
            "start_url": "https://shop.example.com/", "person": self.person.retrieved(seed),
            "retention_period_days": 90, "expiry_time": time::zulu(expiry),
            "recording_ttl": expiry.since(midnight(now)).as_secs() / 86_400, "snapshot_source": "web",
            "snapshot_library": null, "ongoing": now < time::shift(end, 5 * MINUTE),
            "activity_score": clicks as f64 * 0.75, "has_summary": false, "summary_outcome": null,
            "external_references": [], "matches_filters": true,
        }))
    }

    /// The whole session.
    pub(super) fn whole(&self, seed: u64, now: Timestamp) -> Value {
        let always = (Timestamp::from_micros(i64::MIN), Timestamp::from_micros(i64::MAX));
        self.seen(seed, always, now).unwrap_or_default()
    }

    /// Adds what happened in the session just now.
    pub(super) fn grow(&mut self, now: Timestamp) {
        self.parts.push(Part { start: now, end: time::shift(now, SECOND), clicks: 3 });
    }
}

/// The beginning of a day.
fn midnight(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.micros().div_euclid(DAY) * DAY)
}
