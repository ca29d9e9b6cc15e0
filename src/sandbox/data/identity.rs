//! Who is who: persons made, changed and merged by events (posthog-api.md §8.6).
//!
//! A distinct id belongs to one person at most. An event without a person still
//! has the number of one who is nobody yet; who becomes somebody later keeps it.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::Data;
use super::intake::Change;
use super::person::Person;
use crate::cursor::Timestamp;
use crate::sandbox::Captured;

/// Ids that stand for nobody, however they are written.
const ILLEGAL: [&str; 10] = [
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

/// Ids that stand for nobody, written like this.
const ILLEGAL_AS_WRITTEN: [&str; 6] = ["[object Object]", "NaN", "None", "none", "null", "0"];

/// Whether an id stands for nobody: merged with it, strangers would become one.
pub(in crate::sandbox) fn is_illegal(id: &str) -> bool {
    let bare = ['\'', '"'].iter().find_map(|quote| id.strip_prefix(*quote)?.strip_suffix(*quote));
    let bare = bare.unwrap_or(id);
    id.trim().is_empty()
        || ILLEGAL.contains(&bare.to_lowercase().as_str())
        || ILLEGAL_AS_WRITTEN.contains(&bare)
}

/// A value where an id is due, as text; none where it is missing.
pub(super) fn spelled(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The id whose person an event merges into its own.
fn other_id(event: &Captured) -> Option<String> {
    match event.event.as_str() {
        "$create_alias" | "$merge_dangerously" => event.properties.get("alias").and_then(spelled),
        "$identify" => {
            let anonymous = event.properties.get("$anon_distinct_id")?;
            Some(spelled(anonymous).unwrap_or_else(|| "null".to_owned()))
        }
        _ => None,
    }
}

impl Data {
    /// The person of an event, made, merged and changed as the event says.
    pub(super) fn meet(&mut self, event: &Captured, now: Timestamp, change: &mut Change) -> usize {
        if let Some(other) = other_id(event) {
            self.merge_ids(event, &other, now, change);
        }
        let id = &event.distinct_id;
        let number = self.person_of(id).unwrap_or_else(|| self.make(event, change));
        let seed = self.seed;
        let person = &mut self.persons[number];
        if person.own(seed).change(&event.properties) {
            person.updated = now;
            change.persons.insert(number);
        }
        number
    }

    /// The number that an event without a person goes by.
    pub(super) fn nobody(&mut self, id: &str, now: Timestamp) -> usize {
        if let Some(number) = self.holder(id) {
            return number;
        }
        let number = self.persons.len();
        let mut person = Person::new(number, id, now);
        person.is_deleted = true;
        self.persons.push(person);
        self.owners().insert(id.to_owned(), number);
        number
    }

    /// The person that a number leads to since persons were merged.
    pub(in crate::sandbox) fn survivor(&self, number: usize) -> usize {
        let mut number = number;
        while let Some(next) = self.merged.get(&number) {
            number = *next;
        }
        number
    }

    /// Who has an id, be it nobody.
    fn holder(&mut self, id: &str) -> Option<usize> {
        self.owners().get(id).copied()
    }

    /// The person that has an id.
    pub(super) fn person_of(&mut self, id: &str) -> Option<usize> {
        self.holder(id).filter(|number| !self.persons[*number].is_deleted)
    }

    /// Who has which id; made when it is first asked for.
    fn owners(&mut self) -> &mut HashMap<String, usize> {
        self.owners.get_or_insert_with(|| {
            let ids = |person: &Person| {
                let number = person.number;
                person.distinct_ids().into_iter().map(move |id| (id, number))
            };
            self.persons.iter().flat_map(ids).collect()
        })
    }

    /// Makes the person of an event.
    fn make(&mut self, event: &Captured, change: &mut Change) -> usize {
        let id = &event.distinct_id;
        let number = self.holder(id).unwrap_or(self.persons.len());
        let mut person = Person::new(number, id, event.timestamp);
        let creator = json!(event.uuid.to_string());
        person.own(self.seed).properties.insert("$creator_event_uuid".to_owned(), creator);
        match self.persons.get_mut(number) {
            // Its other ids, if it was somebody once, are free.
            Some(before) => {
                let gone = std::mem::replace(before, person).distinct_ids();
                let owners = self.owners();
                gone.iter().for_each(|id| {
                    owners.remove(id);
                });
            }
            None => self.persons.push(person),
        }
        self.owners().insert(id.clone(), number);
        change.persons.insert(number);
        number
    }

    /// Makes two ids one person's, unless something speaks against it.
    fn merge_ids(&mut self, event: &Captured, other: &str, now: Timestamp, change: &mut Change) {
        let into = event.distinct_id.as_str();
        if other == into {
            return;
        }
        if let Some(illegal) = [into, other].into_iter().find(|id| is_illegal(id)) {
            let kind = "cannot_merge_with_illegal_distinct_id";
            self.warn(kind, event, now, [("illegalDistinctId", illegal)]);
            return;
        }
        let survivor = match (self.person_of(other), self.person_of(into)) {
            (Some(from), Some(to)) if from == to => to,
            (Some(from), Some(to)) => {
                self.merge_persons(event, (from, to), now, change);
                to
            }
            (Some(only), None) => self.attach(into, only, change),
            (None, Some(only)) => self.attach(other, only, change),
            (None, None) => {
                let made = self.make(event, change);
                self.attach(other, made, change)
            }
        };
        let seed = self.seed;
        let person = &mut self.persons[survivor];
        person.own(seed).is_identified = true;
        person.updated = now;
        change.persons.insert(survivor);
    }

    /// Gives a person an id that nobody has.
    fn attach(&mut self, id: &str, to: usize, change: &mut Change) -> usize {
        if let Some(nobody) = self.owners().insert(id.to_owned(), to) {
            self.merged.insert(nobody, to);
            change.moved.push((nobody, to));
        }
        let seed = self.seed;
        self.persons[to].own(seed).distinct_ids.push(id.to_owned());
        to
    }

    /// Merges one person into another, whose properties win.
    fn merge_persons(
        &mut self,
        event: &Captured,
        (from, to): (usize, usize),
        now: Timestamp,
        change: &mut Change,
    ) {
        let is_forced = event.event == "$merge_dangerously";
        if self.persons[from].is_identified() && !is_forced {
            let other = other_id(event).unwrap_or_default();
            let more = [("sourcePersonDistinctId", other.as_str())];
            self.warn("cannot_merge_already_identified", event, now, more);
            return;
        }
        let seed = self.seed;
        let gone = &mut self.persons[from];
        gone.is_deleted = true;
        let (created, own) = (gone.created, gone.own(seed).clone());
        for id in &own.distinct_ids {
            self.owners().insert(id.clone(), to);
        }
        let person = &mut self.persons[to];
        person.created = person.created.min(created);
        person.own(seed).inherit(own);
        self.merged.insert(from, to);
        change.moved.push((from, to));
        change.persons.extend([from, to]);
    }
}

/// What of a person events have written.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::sandbox) struct Own {
    /// Its distinct ids.
    pub(in crate::sandbox) distinct_ids: Vec<String>,
    /// Its properties.
    pub(in crate::sandbox) properties: Map<String, Value>,
    /// Whether it was ever merged into.
    pub(in crate::sandbox) is_identified: bool,
}

impl Own {
    /// Changes properties as an event says; whether anything changed.
    fn change(&mut self, event: &Map<String, Value>) -> bool {
        if !["$set", "$set_once", "$unset"].iter().any(|name| event.contains_key(*name)) {
            return false;
        }
        let before = self.properties.clone();
        if let Some(Value::Object(once)) = event.get("$set_once") {
            for (name, value) in once {
                self.properties.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        if let Some(Value::Object(set)) = event.get("$set") {
            self.properties.extend(set.clone());
        }
        if let Some(Value::Array(unset)) = event.get("$unset") {
            for name in unset.iter().filter_map(Value::as_str) {
                self.properties.remove(name);
            }
        }
        self.properties != before
    }

    /// Takes over what a person had that is merged into this one.
    fn inherit(&mut self, other: Self) {
        self.distinct_ids.extend(other.distinct_ids);
        for (name, value) in other.properties {
            self.properties.entry(name).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::client::{self, capture, list, post, small, sql, started};
    use crate::sandbox::{KEY, KEY_WITHOUT_PERSONS, Options, PROJECT, PROJECT_TOKEN, Sandbox};

    /// Sends events, each a name, a distinct id and properties.
    async fn send(sandbox: &Sandbox, events: &[(&str, &str, Value)]) {
        let event = |(event, id, properties): &(&str, &str, Value)| json!({ "event": event, "distinct_id": id, "properties": properties });
        let events: Vec<Value> = events.iter().map(event).collect();
        let body = json!({ "api_key": PROJECT_TOKEN, "batch": events });
        assert_eq!(capture(sandbox, "/batch/", body.to_string()).await.status, 200);
    }

    /// The person of a distinct id, without what only tells when and why it was made.
    async fn person(sandbox: &Sandbox, id: &str) -> Option<(Value, Value)> {
        let page = list(sandbox, &format!("persons/?distinct_id={id}")).await;
        let person = page["results"].get(0)?;
        let mut properties = person["properties"].clone();
        properties.as_object_mut().unwrap().remove("$creator_event_uuid");
        Some((person["distinct_ids"].clone(), properties))
    }

    fn warned(sandbox: &Sandbox) -> Vec<&'static str> {
        sandbox.warnings().iter().map(|warning| warning.kind).collect()
    }

    #[tokio::test]
    async fn an_event_makes_a_person_and_later_ones_change_it() {
        let sandbox = started(small()).await;

        let first =
            json!({ "$set": { "plan": "free", "a": 1 }, "$set_once": { "plan": "no", "b": 1 } });
        send(&sandbox, &[("opened", "ada", first)]).await;
        let second =
            json!({ "$set": { "plan": "team" }, "$set_once": { "b": 2 }, "$unset": ["a"] });
        send(&sandbox, &[("$set", "ada", second)]).await;

        let known = (json!(["ada"]), json!({ "plan": "team", "b": 1 }));
        assert_eq!(person(&sandbox, "ada").await, Some(known));
        assert_eq!(sandbox.truth("persons").len(), 199);
    }

    #[tokio::test]
    async fn the_person_of_the_anonymous_id_is_merged_into_the_users() {
        let sandbox = started(small()).await;
        let merge = json!({ "$anon_distinct_id": "cookie", "$set": { "name": "Ada" } });

        send(
            &sandbox,
            &[
                ("seen", "cookie", json!({ "$set": { "plan": "free", "city": "Turin" } })),
                ("seen", "ada", json!({ "$set": { "plan": "team" } })),
                ("$identify", "ada", merge),
                ("seen", "cookie", json!({})),
            ],
        )
        .await;

        let known = json!({ "plan": "team", "city": "Turin", "name": "Ada" });
        let known = Some((json!(["ada", "cookie"]), known));
        assert_eq!(person(&sandbox, "ada").await, known);
        assert_eq!(person(&sandbox, "cookie").await, known);
        let text =
            "SELECT count(), uniq(person_id) FROM events WHERE distinct_id IN ('ada', 'cookie')";
        let counted = sql(&sandbox, text, json!({})).await.json();
        assert_eq!(counted["results"], json!([[4, 1]]), "events follow their person");
    }

    #[tokio::test]
    async fn an_alias_is_merged_into_the_distinct_id_and_not_the_reverse() {
        let sandbox = started(small()).await;

        send(
            &sandbox,
            &[
                ("seen", "stays", json!({ "$set": { "who": "stays" } })),
                ("seen", "goes", json!({ "$set": { "who": "goes" } })),
                ("$create_alias", "stays", json!({ "alias": "goes" })),
            ],
        )
        .await;

        let known = Some((json!(["stays", "goes"]), json!({ "who": "stays" })));
        assert_eq!(person(&sandbox, "goes").await, known);
    }

    #[tokio::test]
    async fn who_is_identified_is_not_merged_away_unless_forced() {
        let sandbox = started(small()).await;
        send(
            &sandbox,
            &[
                ("$identify", "ada", json!({ "$anon_distinct_id": "a" })),
                ("$identify", "bob", json!({ "$anon_distinct_id": "b" })),
            ],
        )
        .await;

        send(&sandbox, &[("$create_alias", "ada", json!({ "alias": "bob" }))]).await;
        assert_eq!(warned(&sandbox), ["cannot_merge_already_identified"]);
        assert_eq!(person(&sandbox, "bob").await.unwrap().0, json!(["bob", "b"]));

        send(&sandbox, &[("$merge_dangerously", "ada", json!({ "alias": "bob" }))]).await;
        assert_eq!(person(&sandbox, "bob").await.unwrap().0, json!(["ada", "a", "bob", "b"]));
    }

    #[tokio::test]
    async fn ids_that_stand_for_nobody_are_not_merged() {
        let sandbox = started(small()).await;

        for id in ["Anonymous", "'null'", "\"undefined\"", "0", " ", "[object Object]"] {
            send(&sandbox, &[("$create_alias", "ada", json!({ "alias": id }))]).await;
        }
        send(&sandbox, &[("$identify", "guest", json!({ "$anon_distinct_id": "cookie" }))]).await;

        assert_eq!(warned(&sandbox), ["cannot_merge_with_illegal_distinct_id"; 7]);
        assert_eq!(person(&sandbox, "ada").await.unwrap().0, json!(["ada"]));
        assert_eq!(person(&sandbox, "cookie").await, None);
        assert!(!is_illegal("nan") && !is_illegal("Null") && !is_illegal("00"));
    }

    #[tokio::test]
    async fn events_without_a_person_make_none_and_belong_to_who_comes_later() {
        let sandbox = started(small()).await;
        let nobody = json!({ "$process_person_profile": false, "$set": { "plan": "team" } });

        send(&sandbox, &[("seen", "cookie", nobody.clone()), ("$identify", "cookie", nobody)])
            .await;
        assert_eq!(person(&sandbox, "cookie").await, None);
        assert_eq!(warned(&sandbox), ["invalid_event_when_process_person_profile_is_false"]);

        send(&sandbox, &[("$identify", "ada", json!({ "$anon_distinct_id": "cookie" }))]).await;
        let text = "SELECT toString(person_id) FROM events WHERE distinct_id IN ('ada', 'cookie')";
        let rows = sql(&sandbox, text, json!({})).await.json()["results"].clone();
        let ada = list(&sandbox, "persons/?distinct_id=ada").await["results"][0]["id"].clone();
        assert_eq!(rows, json!([[ada], [ada]]));
    }

    #[tokio::test]
    async fn a_person_of_the_history_can_be_changed_and_merged_too() {
        let sandbox = started(small()).await;
        let before = person(&sandbox, "user-7").await.unwrap();
        // One in four has not logged in: number 8 may be merged away.
        send(
            &sandbox,
            &[
                ("$set", "user-7", json!({ "$set": { "plan": "gold" } })),
                ("$create_alias", "user-7", json!({ "alias": "user-8" })),
            ],
        )
        .await;

        let mut known = before.1;
        known["plan"] = json!("gold");
        let (ids, properties) = person(&sandbox, "user-8").await.unwrap();
        assert_eq!((ids, properties), (json!(["user-7", "user-8"]), known));
        let truth = sandbox.truth("events");
        let of = |id: &str| truth.iter().find(|event| event["distinct_id"] == json!(id)).unwrap();
        assert_eq!(of("user-7")["person_id"], of("user-8")["person_id"]);
        assert_eq!(sandbox.truth("persons").len(), 197);
    }

    #[tokio::test]
    async fn persons_can_be_found_by_many_ids_by_email_and_in_sql() {
        let sandbox = started(small()).await;
        send(&sandbox, &[("$set", "ada", json!({ "$set": { "email": "Ada@Example.com" } }))]).await;
        let mut ids: Vec<String> = (0..250).map(|n| format!("nobody-{n}")).collect();
        ids[199] = "ada".to_owned();
        ids[200] = "user-7".to_owned();

        let found =
            post(&sandbox, "persons/batch_by_distinct_ids/", &json!({ "distinct_ids": ids })).await;
        let listed = list(&sandbox, "persons/?email=Ada@Example.com").await;
        let text = "SELECT toString(id), properties.email FROM persons WHERE lower(trim(properties.email)) IN ('ada@example.com')";
        let selected = sql(&sandbox, text, json!({})).await.json();

        let results = found.json()["results"].clone();
        assert_eq!(results.as_object().unwrap().len(), 1, "the 201st is ignored");
        assert_eq!(results["ada"]["properties"]["email"], "Ada@Example.com");
        assert_eq!(results["ada"]["uuid"], listed["results"][0]["uuid"]);
        assert_eq!(selected["results"][0][0], results["ada"]["uuid"]);
    }

    #[tokio::test]
    async fn persons_are_found_by_many_ids_with_their_scope_and_on_new_servers_only() {
        let target = format!("/api/projects/{PROJECT}/persons/batch_by_distinct_ids/");
        let ask = async |sandbox: &Sandbox, key: &str| {
            let headers = format!("Authorization: Bearer {key}\r\n");
            let body = r#"{"distinct_ids":["user-7"]}"#;
            client::send(sandbox, "POST", &target, &headers, body).await.unwrap()
        };
        let sandbox = started(small()).await;
        let old = started(Options { old_sql: true, ..small() }).await;

        let refused = ask(&sandbox, KEY_WITHOUT_PERSONS).await;

        assert_eq!(refused.detail(), "API key missing required scope 'person:read'");
        assert_eq!([ask(&sandbox, KEY).await.status, ask(&old, KEY).await.status], [200, 405]);
    }
}
