//! What becomes of an event after PostHog has said 200: it is stored, or lost in silence.
//!
//! Every loss leaves a warning that no sender sees (posthog-api.md §8.9). Groups are
//! kept here; whose events they are is `identity`'s business.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Data;
use super::event::{Event, Sent};
use crate::cursor::Timestamp;
use crate::sandbox::{Captured, Options};

/// The most types of groups that a project has; further ones are ignored.
const GROUP_TYPES: usize = 5;

/// What makes no sense without a person.
const OF_PERSONS: [&str; 4] =
    ["$identify", "$create_alias", "$merge_dangerously", "$groupidentify"];

/// An event that was let in, and what its record does not show.
#[derive(Debug)]
pub(in crate::sandbox) struct Arrival {
    /// The event.
    pub(in crate::sandbox) event: Captured,
    /// Whether its own time could not be read.
    pub(in crate::sandbox) is_time_unread: bool,
}

/// What PostHog noticed about an event, and told nobody who sends.
#[derive(Debug, Clone, PartialEq)]
pub struct Warning {
    /// Its type: `event_dropped_too_old`, `cannot_merge_already_identified`…
    pub kind: &'static str,
    /// When it was noticed.
    pub at: Timestamp,
    /// `eventUuid`, `distinctId`, and what else belongs to the type.
    pub details: Map<String, Value>,
}

/// A group: a company, a project, whatever events are counted by besides persons.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The number of its type, from 0 on in the order in which types were first seen.
    pub index: usize,
    /// Its type.
    pub kind: String,
    /// Its key within the type.
    pub key: String,
    /// What is known of it.
    pub properties: Map<String, Value>,
}

/// What a request changed, for the SQL store to follow.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Change {
    /// New events.
    pub(in crate::sandbox) events: Vec<Event>,
    /// The numbers of persons made, changed or gone.
    pub(in crate::sandbox) persons: BTreeSet<usize>,
    /// Persons whose events are another's now: from, to.
    pub(in crate::sandbox) moved: Vec<(usize, usize)>,
}

impl Data {
    /// Takes in what capture has let in; it waits for its turn.
    pub(in crate::sandbox) fn take(&mut self, arrivals: Vec<Arrival>, now: Timestamp) {
        for arrival in arrivals {
            let sent = Sent::new(&arrival.event, &arrival.event.properties);
            let event = Event::sent(self.serial, &arrival.event, Arc::new(sent), now);
            self.serial += 1;
            self.arrivals.push(event.clone());
            self.waiting.push_back((arrival, event));
        }
    }

    /// Does what is to be done with events that have waited long enough, in their order.
    pub(in crate::sandbox) fn ingest(
        &mut self,
        options: &Options,
        now: Timestamp,
    ) -> Option<Change> {
        let is_due =
            |(_, event): &(Arrival, Event)| now.since(event.created) >= options.ingestion_delay;
        let mut change = None;
        while self.waiting.front().is_some_and(is_due)
            && let Some((Arrival { event, is_time_unread }, arrived)) = self.waiting.pop_front()
        {
            let change = change.get_or_insert_with(Change::default);
            let at = arrived.created;
            if is_time_unread {
                self.warn("ignored_invalid_timestamp", &event, at, []);
            }
            match self.judge(&event, options, at) {
                Ok(has_person) => self.store(&event, arrived, has_person, change),
                Err(reason) => self.warn(reason, &event, at, []),
            }
        }
        if let Some(change) = &change {
            self.insert_events(&change.events);
        }
        change
    }

    /// Whether an event is of a person, or why it is dropped.
    fn judge(
        &mut self,
        event: &Captured,
        options: &Options,
        now: Timestamp,
    ) -> Result<bool, &'static str> {
        let is_of_person = OF_PERSONS.contains(&event.event.as_str());
        let wish = event.properties.get("$process_person_profile");
        if wish.is_some_and(|wish| !wish.is_boolean()) {
            self.warn("invalid_process_person_profile", event, now, []);
        }
        let is_personless = wish == Some(&Value::Bool(false));
        if is_personless && is_of_person {
            return Err("invalid_event_when_process_person_profile_is_false");
        }
        if options.without_persons && is_of_person {
            return Err("event_dropped_person_processing_disabled");
        }
        let age = now.since(event.timestamp);
        if options.drop_events_older_than.is_some_and(|most| !most.is_zero() && age > most) {
            return Err("event_dropped_too_old");
        }
        Ok(!is_personless && !options.without_persons)
    }

    /// Stores an event with its person and its groups.
    fn store(
        &mut self,
        event: &Captured,
        mut stored: Event,
        has_person: bool,
        change: &mut Change,
    ) {
        stored.person = match has_person {
            true => self.meet(event, stored.created, change),
            false => self.nobody(&event.distinct_id, stored.created),
        };
        if has_person && let Some(properties) = self.grouped(event) {
            stored.sent = Some(Arc::new(Sent::new(event, &properties)));
        }
        if has_person && event.event == "$groupidentify" {
            self.identify_group(event, stored.created);
        }
        change.events.push(stored);
    }

    /// The properties of an event with the groups it names spelled out, where it names any.
    fn grouped(&mut self, event: &Captured) -> Option<Map<String, Value>> {
        let groups = event.properties.get("$groups")?.as_object()?;
        let mut properties = event.properties.clone();
        for (kind, key) in groups {
            if let Some(index) = self.group_index(kind) {
                properties.insert(format!("$group_{index}"), key.clone());
            }
        }
        Some(properties)
    }

    /// The number of a type of groups; none where there are too many.
    fn group_index(&mut self, kind: &str) -> Option<usize> {
        let known = self.group_types.iter().position(|known| known == kind);
        if known.is_none() && self.group_types.len() < GROUP_TYPES {
            self.group_types.push(kind.to_owned());
            return Some(self.group_types.len() - 1);
        }
        known
    }

    /// Makes or changes the group that an event names.
    fn identify_group(&mut self, event: &Captured, now: Timestamp) {
        let named = |name: &str| event.properties.get(name).and_then(super::identity::spelled);
        let (Some(kind), Some(key)) = (named("$group_type"), named("$group_key")) else { return };
        let Some(index) = self.group_index(&kind) else { return };
        let set = match event.properties.get("$group_set") {
            None => Map::new(),
            Some(Value::Object(set)) => set.clone(),
            Some(_) => {
                self.warn("invalid_group_set", event, now, []);
                Map::new()
            }
        };
        let known = self.groups.iter_mut().find(|group| group.index == index && group.key == key);
        match known {
            Some(group) => group.properties.extend(set),
            None => self.groups.push(Group { index, kind, key, properties: set }),
        }
    }

    /// Notes what no sender hears.
    pub(super) fn warn<const N: usize>(
        &mut self,
        kind: &'static str,
        event: &Captured,
        at: Timestamp,
        more: [(&str, &str); N],
    ) {
        let mut details = Map::new();
        details.insert("eventUuid".to_owned(), json!(event.uuid.to_string()));
        details.insert("event".to_owned(), json!(event.event));
        details.insert("distinctId".to_owned(), json!(event.distinct_id));
        details.extend(more.map(|(name, value)| (name.to_owned(), json!(value))));
        self.warnings.push(Warning { kind, at, details });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sandbox::client::{capture, get, list, small, sql, started};
    use crate::sandbox::{PROJECT, PROJECT_TOKEN, Sandbox};

    async fn send(sandbox: &Sandbox, events: Value) {
        let body = json!({ "api_key": PROJECT_TOKEN, "batch": events });
        assert_eq!(capture(sandbox, "/batch/", body.to_string()).await.status, 200);
    }

    fn warned(sandbox: &Sandbox) -> Vec<&'static str> {
        sandbox.warnings().iter().map(|warning| warning.kind).collect()
    }

    #[tokio::test]
    async fn what_was_captured_is_in_the_list_in_sql_and_in_a_complete_copy() {
        let sandbox = started(small()).await;
        let uuid = "01900000-0000-7000-8000-000000000001";

        send(
            &sandbox,
            json!([{ "event": "paid", "distinct_id": "ada", "uuid": uuid,
            "timestamp": "2026-11-20T10:00:00.5Z", "properties": { "n": 1.5, "é": "🦔" } }]),
        )
        .await;

        let listed =
            list(&sandbox, "events/?event=paid&after=2026-11-01&include_person=true").await;
        let row = &listed["results"][0];
        assert_eq!((&row["id"], &row["distinct_id"]), (&json!(uuid), &json!("ada")));
        assert_eq!(row["properties"], json!({ "n": 1.5, "é": "🦔" }));
        assert_eq!(row["person"]["distinct_ids"], json!(["ada"]));
        let text = format!(
            "SELECT uuid, distinct_id, timestamp, properties.n FROM events WHERE uuid IN ('{uuid}')"
        );
        let selected = sql(&sandbox, &text, json!({})).await.json();
        let wanted = json!([[uuid, "ada", "2026-11-20T10:00:00.500000Z", 1.5]]);
        assert_eq!(selected["results"], wanted);
        let truth = sandbox.truth("events");
        let copy = truth.iter().find(|event| event["id"] == json!(uuid)).unwrap();
        assert_eq!(copy["properties"], row["properties"]);
    }

    #[tokio::test]
    async fn what_is_sent_again_unchanged_is_one_event() {
        let sandbox = started(small()).await;
        let before = sandbox.truth("events").len();
        let event = |uuid: u32, day: u32| {
            json!({ "event": "paid", "distinct_id": "ada", "timestamp": format!("2026-11-{day}T10:00:00Z"),
                "uuid": format!("01900000-0000-7000-8000-{uuid:012}") })
        };

        send(&sandbox, json!([event(1, 20), event(2, 20)])).await;
        send(&sandbox, json!([event(1, 20), event(1, 19)])).await;

        assert_eq!(sandbox.captured().len(), 4);
        assert_eq!(sandbox.truth("events").len(), before + 3, "another day is another event");
        let count = "SELECT count() FROM events WHERE event = 'paid'";
        assert_eq!(sql(&sandbox, count, json!({})).await.json()["results"], json!([[4]]));
        sandbox.merge_copies();
        assert_eq!(sql(&sandbox, count, json!({})).await.json()["results"], json!([[3]]));
        assert_eq!(
            list(&sandbox, "events/?event=paid&after=2026-11-01").await["results"]
                .as_array()
                .unwrap()
                .len(),
            3
        );
    }

    #[tokio::test]
    async fn an_event_is_seen_only_after_a_while() {
        let delay = Duration::from_secs(60);
        let sandbox = started(Options { ingestion_delay: delay, ..small() }).await;
        let count = "SELECT count() FROM events WHERE event = 'paid'";
        let paid = async || sql(&sandbox, count, json!({})).await.json()["results"][0][0].clone();

        send(&sandbox, json!([{ "event": "paid", "distinct_id": "ada" }])).await;

        assert_eq!((sandbox.captured().len(), paid().await), (1, json!(0)));
        sandbox.advance(delay);
        assert_eq!(paid().await, 1);
    }

    #[tokio::test]
    async fn events_older_than_the_project_keeps_are_dropped_in_silence() {
        let month = Some(Duration::from_secs(30 * 86_400));
        let sandbox = started(Options { drop_events_older_than: month, ..small() }).await;
        let before = sandbox.truth("events").len();

        send(
            &sandbox,
            json!([
                { "event": "old", "distinct_id": "d", "timestamp": "2026-10-01T00:00:00Z" },
                { "event": "new", "distinct_id": "d", "timestamp": "2026-11-01T00:00:00Z" },
            ]),
        )
        .await;

        assert_eq!(warned(&sandbox), ["event_dropped_too_old"]);
        assert_eq!((sandbox.captured().len(), sandbox.truth("events").len()), (2, before + 1));
        assert_eq!(list(&sandbox, "").await["drop_events_older_than"], "30 00:00:00");
    }

    #[tokio::test]
    async fn events_beyond_the_plan_are_dropped_in_silence() {
        let sandbox = started(Options { event_quota: Some(2), ..small() }).await;

        send(&sandbox, json!([0, 1, 2].map(|n| json!({ "event": "e", "distinct_id": n })))).await;

        let ids: Vec<String> = sandbox.captured().into_iter().map(|one| one.distinct_id).collect();
        assert_eq!(ids, ["0", "1"]);
        assert!(sandbox.warnings().is_empty());
    }

    #[tokio::test]
    async fn a_time_that_cannot_be_read_is_now_and_warned_of() {
        let sandbox = started(small()).await;

        send(&sandbox, json!([{ "event": "e", "distinct_id": "d", "timestamp": "soon" }])).await;

        assert_eq!(warned(&sandbox), ["ignored_invalid_timestamp"]);
        let age = sandbox.now().since(sandbox.captured()[0].timestamp);
        assert!(age < Duration::from_secs(60), "{age:?}");
    }

    #[tokio::test]
    async fn a_project_without_persons_takes_events_alone() {
        let sandbox = started(Options { without_persons: true, ..small() }).await;
        let persons = sandbox.truth("persons");

        send(
            &sandbox,
            json!([
                { "event": "seen", "distinct_id": "ada", "properties": { "$set": { "a": 1 } } },
                { "event": "$identify", "distinct_id": "ada" },
            ]),
        )
        .await;

        assert_eq!(warned(&sandbox), ["event_dropped_person_processing_disabled"]);
        assert_eq!(sandbox.truth("persons"), persons);
    }

    #[tokio::test]
    async fn groups_are_kept_of_five_types_at_most() {
        let sandbox = started(small()).await;
        let group = |kind: &str, key: &str, set: Value| {
            json!({ "event": "$groupidentify", "distinct_id": format!("${kind}_{key}"),
                "properties": { "$group_type": kind, "$group_key": key, "$group_set": set } })
        };

        send(&sandbox, json!([
            group("company", "acme", json!({ "seats": 1, "city": "Turin" })),
            group("company", "acme", json!({ "seats": 2 })),
            group("team", "blue", json!("no object")),
            { "event": "seen", "distinct_id": "ada", "properties": { "$groups": { "team": "blue" } } },
        ])).await;
        send(&sandbox, json!(["c", "d", "e", "f"].map(|kind| group(kind, "k", json!({}))))).await;

        let groups = sandbox.groups();
        let kinds: Vec<&str> = groups.iter().map(|group| group.kind.as_str()).collect();
        assert_eq!(kinds, ["company", "team", "c", "d", "e"]);
        assert_eq!(json!(groups[0].properties), json!({ "seats": 2, "city": "Turin" }));
        assert_eq!(warned(&sandbox), ["invalid_group_set"]);
        let seen = list(&sandbox, "events/?event=seen").await;
        assert_eq!(seen["results"][0]["properties"]["$group_1"], "blue");
    }

    #[tokio::test]
    async fn warnings_are_told_to_personal_keys_in_the_newest_versions_only() {
        let target = format!("/api/projects/{PROJECT}/ingestion_warnings/");
        let bad = json!([{ "event": "e", "distinct_id": "d", "timestamp": "soon" }]);
        let closed = started(small()).await;
        assert_eq!(get(&closed, &target).await.status, 403);

        let open = started(Options { open_warnings: true, ..small() }).await;
        send(&open, bad.clone()).await;
        send(&open, bad).await;

        let kind = list(&open, "ingestion_warnings/").await["results"][0].clone();
        assert_eq!(
            (&kind["type"], &kind["count"]),
            (&json!("ignored_invalid_timestamp"), &json!(2))
        );
        assert_eq!(kind["warnings"][0]["details"]["distinctId"], "d");
        assert_eq!(list(&open, "ingestion_warnings/?q=nope").await["results"], json!([]));
    }
}
