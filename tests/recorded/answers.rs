//! The recordings, as they were recorded: the order of members and every digit stay.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::sync::LazyLock;

use flate2::read::GzDecoder;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// One request and its answer.
#[derive(Deserialize)]
pub(crate) struct Recorded {
    pub(crate) name: String,
    pub(crate) request: Request,
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Box<RawValue>,
}

#[derive(Deserialize)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With its query, as it was sent.
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
}

static ANSWERS: LazyLock<Vec<Recorded>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../fixtures/posthog-2023-12/answers.json")).unwrap()
});

/// All of them, in the order they were recorded.
pub(crate) fn all() -> &'static [Recorded] {
    &ANSWERS
}

/// The answer with this name.
pub(crate) fn named(name: &str) -> &'static Recorded {
    all().iter().find(|answer| answer.name == name).unwrap_or_else(|| panic!("no answer `{name}`"))
}

impl Recorded {
    /// The rows it brings; none where it brings no list.
    pub(crate) fn rows(&self) -> Vec<Value> {
        let body: Value = serde_json::from_str(self.body.get()).unwrap();
        body.get("results").and_then(Value::as_array).cloned().unwrap_or_default()
    }
}

/// The whole page of 1,000 events, newest first.
pub(crate) fn page_of_events() -> String {
    unzip(include_bytes!("../fixtures/posthog-2023-12/events-page-1000.json.gz"))
}

/// The whole page of 100 persons.
pub(crate) fn page_of_persons() -> String {
    unzip(include_bytes!("../fixtures/posthog-2023-12/persons-page-100.json.gz"))
}

fn unzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

/// The members of an answer beside its rows, in the server's order.
#[derive(Clone)]
pub(crate) struct Envelope(Vec<(String, Box<RawValue>)>);

impl Envelope {
    /// Puts another value where the member stands; an envelope without it stays as it is.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &Value) -> Self {
        if let Some(member) = self.0.iter_mut().find(|(other, _)| other == name) {
            member.1 = serde_json::value::to_raw_value(value).unwrap();
        }
        self
    }

    /// The answer with these rows.
    pub(crate) fn around<'r>(&self, rows: impl Iterator<Item = &'r str>) -> String {
        let rows = format!("[{}]", rows.collect::<Vec<_>>().join(", "));
        let member = |(name, raw): &(String, Box<RawValue>)| {
            format!("\"{name}\": {}", if name == "results" { &rows } else { raw.get() })
        };
        format!("{{{}}}", self.0.iter().map(member).collect::<Vec<_>>().join(", "))
    }
}

impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Envelope;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Envelope(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// The rows of one list, as the server holds them.
#[derive(Clone)]
pub(crate) struct List {
    pub(crate) envelope: Envelope,
    pub(crate) rows: Vec<Row>,
}

/// A row: the bytes that are sent, and what they say.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) raw: String,
    pub(crate) value: Value,
}

impl List {
    /// The rows of several answers, each once: PostHog repeats some from page to page.
    pub(crate) fn of_bodies(bodies: &[&str]) -> Self {
        #[derive(Deserialize)]
        struct Page {
            results: Vec<Box<RawValue>>,
        }
        let envelope = serde_json::from_str(bodies[0]).unwrap();
        let mut seen = BTreeSet::new();
        let mut rows = Vec::new();
        for body in bodies {
            for raw in serde_json::from_str::<Page>(body).unwrap().results {
                let raw = raw.get().to_owned();
                let value: Value = serde_json::from_str(&raw).unwrap();
                if seen.insert(value["id"].to_string()) {
                    rows.push(Row { raw, value });
                }
            }
        }
        Self { envelope, rows }
    }

    /// The rows of the answers with these names.
    pub(crate) fn of(names: &[&str]) -> Self {
        let bodies: Vec<&str> = names.iter().map(|name| named(name).body.get()).collect();
        Self::of_bodies(&bodies)
    }
}
