//! The PostHog of the recordings: what it holds, and how it answers.
//!
//! Lists are the recorded rows in the recorded order, sliced as asked inside the
//! recorded envelope; whatever was recorded as refused is refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::answers::{List, Row, named, page_of_events, page_of_persons};
use crate::server::{Answer, Asked, Server};
use crate::sql::{self, Store, canonical};

/// The key of project 3.
pub(crate) const KEY: &str = "phx_key_of_the_recorded_project_3";

type Matches = Box<dyn Fn(&Asked) -> bool + Send + Sync>;

/// What the server holds and refuses, before it is started.
pub(crate) struct Posthog {
    lists: BTreeMap<String, List>,
    store: Store,
    played: Vec<(Matches, &'static str)>,
    zips: bool,
}

/// The answers whose rows the lists hold.
const LISTS: [(&str, &[&str]); 10] = [
    ("cohorts", &["cohorts: first page of 3", "cohorts: second page of 3"]),
    ("feature_flags", &["feature_flags: first page of 3", "feature_flags: second page of 3"]),
    ("insights", &["insights: first page of 3", "insights: second page of 3"]),
    ("annotations", &["annotations: first page of 3", "annotations: second page of 3"]),
    ("actions", &["actions: first page of 3"]),
    (
        "session_recordings",
        &["session_recordings: first page of 3", "session_recordings: second page of 3"],
    ),
    (
        "event_definitions",
        &["event_definitions: first page of 3", "event_definitions: second page of 3"],
    ),
    ("property_definitions type=event", &["property_definitions type=event"]),
    ("property_definitions type=person", &["property_definitions type=person"]),
    ("projects", &["projects"]),
];

impl Posthog {
    /// All that was recorded.
    pub(crate) fn whole() -> Self {
        let mut lists: BTreeMap<String, List> =
            LISTS.iter().map(|(name, answers)| ((*name).to_owned(), List::of(answers))).collect();
        let (events, persons) = (page_of_events(), page_of_persons());
        lists.insert("events".into(), List::of_bodies(&[&events]));
        lists.insert("persons".into(), List::of_bodies(&[&persons]));
        let store = Store(BTreeMap::from([
            ("events", sql::events(&lists["events"])),
            ("persons", sql::persons()),
            ("person_distinct_ids", sql::distinct_ids(&lists["persons"])),
        ]));
        Self { lists, store, played: Vec::new(), zips: false }
    }

    /// Of `stream`, only what one answer brought.
    #[must_use]
    pub(crate) fn holding(mut self, stream: &str, answer: &str) -> Self {
        let list = List::of(&[answer]);
        if stream == "events" {
            self.store.0.insert("events", sql::events(&list));
        }
        if stream == "property_definitions" {
            for (_, list) in self.lists.range_mut(format!("{stream} ")..format!("{stream}!")) {
                list.rows.clear();
            }
            let kind = if answer.ends_with("=person") { "person" } else { "event" };
            self.lists.insert(format!("{stream} type={kind}"), list);
        } else {
            self.lists.insert(stream.to_owned(), list);
        }
        self
    }

    /// Plays a recorded answer, as it is, to the questions that match.
    #[must_use]
    pub(crate) fn playing(
        mut self,
        answer: &'static str,
        matches: impl Fn(&Asked) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.played.push((Box::new(matches), answer));
        self
    }

    /// A server without SQL, as they were before 2023.
    #[must_use]
    pub(crate) fn without_sql(self) -> Self {
        self.playing("environments path at this age", |asked| asked.path.ends_with("/query/"))
    }

    /// A server that compresses its answers.
    #[must_use]
    pub(crate) fn zipping(mut self) -> Self {
        self.zips = true;
        self
    }

    /// The rows of one list.
    pub(crate) fn rows(&self, list: &str) -> Vec<Value> {
        self.lists[list].rows.iter().map(|row| row.value.clone()).collect()
    }

    /// Begins to answer.
    pub(crate) fn start(self) -> Server {
        Server::start(self.zips, Box::new(move |asked| self.answer(asked)))
    }

    fn answer(&self, asked: &Asked) -> Answer {
        if let Some(refusal) = check_key(asked) {
            return recorded(refusal);
        }
        if let Some((_, answer)) = self.played.iter().find(|(matches, _)| matches(asked)) {
            return recorded(answer);
        }
        let Some(path) = asked.path.strip_prefix("/api/projects/") else {
            return recorded("environments path at this age");
        };
        match path.split_once('/') {
            Some(("", _)) | None => self.list("projects", asked),
            Some(("3", "")) => recorded("project"),
            Some(("3", "query/")) => self.sql(asked),
            Some(("3", list)) => self.list(list.trim_end_matches('/'), asked),
            Some(("5", "")) => recorded("other organization's project itself"),
            Some(("5", _)) => recorded("other organization's project"),
            Some(_) => recorded("unknown project"),
        }
    }

    fn sql(&self, asked: &Asked) -> Answer {
        if asked.has_modifiers() {
            return recorded("sql: modifiers unknown to this age");
        }
        if asked.sql() == Some("SELECT 1") {
            return recorded("sql: one row");
        }
        match self.store.answer(asked) {
            Ok(body) => Answer { body, ..recorded("sql: persons") },
            Err(refusal) => recorded(refusal),
        }
    }

    fn list(&self, name: &str, asked: &Asked) -> Answer {
        let name = match (name, asked.param("type"), asked.param("group_type_index")) {
            ("property_definitions", Some("group"), None) => {
                return recorded("property_definitions type=group");
            }
            // Not recorded: the server knew no group types. An empty page as others are.
            ("property_definitions", Some("group"), Some(_)) => {
                return recorded("property_definitions: past the end").holding_none();
            }
            // Not recorded either: sessions had no properties before 2024. So speaks the
            // serializer of that age (PostHog/posthog: posthog/api/property_definition.py).
            ("property_definitions", Some("session"), _) => return no_choice(),
            ("property_definitions", kind, _) => {
                &format!("{name} type={}", kind.unwrap_or("event"))
            }
            _ => name,
        };
        match self.lists.get(name) {
            Some(list) => Answer { body: slice(list, asked), ..recorded("projects") },
            None => recorded("environments path at this age"),
        }
    }
}

impl Answer {
    /// The same envelope, counting nothing.
    fn holding_none(mut self) -> Self {
        let list = List::of_bodies(&[&self.body]);
        let envelope = list.envelope.with("count", &json!(0)).with("previous", &Value::Null);
        self.body = envelope.around(std::iter::empty());
        self
    }
}

/// An answer as it was recorded.
pub(crate) fn recorded(name: &str) -> Answer {
    let answer = named(name);
    let headers = answer.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
    let body = answer.body.get().to_owned();
    Answer { status: answer.status, headers: headers.collect(), body }
}

fn no_choice() -> Answer {
    let body = json!({
        "type": "validation_error", "code": "invalid_choice",
        "detail": "\"session\" is not a valid choice.", "attr": "type",
    });
    Answer { body: body.to_string(), ..recorded("property_definitions type=group") }
}

fn check_key(asked: &Asked) -> Option<&'static str> {
    match asked.key.as_deref() {
        None => Some("no key"),
        Some(KEY) => None,
        Some(_) => Some("bad key"),
    }
}

/// The rows that were asked for, in the envelope of their list.
fn slice(list: &List, asked: &Asked) -> String {
    let mut rows: Vec<&Row> = list.rows.iter().filter(|row| is_between(row, asked)).collect();
    if asked.param("orderBy") == Some(r#"["timestamp"]"#) {
        rows.sort_by_key(|row| row.value["timestamp"].to_string());
    }
    let (limit, offset) =
        (asked.number("limit").unwrap_or(100), asked.number("offset").unwrap_or(0));
    let end = (offset + limit).min(rows.len());
    let link = |to: usize| {
        let host = "http://posthog.example.com";
        json!(format!("{host}{}?limit={limit}&offset={to}", asked.path))
    };
    let has_more = end < rows.len();
    let next = if has_more { link(offset + limit) } else { Value::Null };
    let previous = if offset > 0 { link(offset.saturating_sub(limit)) } else { Value::Null };
    let envelope = list.envelope.clone();
    let envelope = envelope.with("count", &json!(rows.len())).with("has_next", &json!(has_more));
    let envelope = envelope.with("next", &next).with("previous", &previous);
    envelope.around(rows.get(offset..end).unwrap_or_default().iter().map(|row| row.raw.as_str()))
}

/// The bounds of events leave themselves out, those of recordings do not.
fn is_between(row: &Row, asked: &Asked) -> bool {
    let time = |name: &str| row.value[name].as_str().and_then(canonical);
    let at = time("timestamp");
    let (start, end) = (time("start_time"), time("end_time"));
    let is_of = |name: &str| asked.param(name).is_none_or(|wanted| row.value[name] == wanted);
    is_of("event")
        && is_of("distinct_id")
        && asked.param("after").is_none_or(|after| at.as_deref().is_none_or(|at| at > after))
        && asked.param("before").is_none_or(|before| at.as_deref().is_none_or(|at| at < before))
        && asked.param("date_from").is_none_or(|from| start.as_deref().is_none_or(|at| at >= from))
        && asked.param("date_to").is_none_or(|to| end.as_deref().is_none_or(|at| at <= to))
}
