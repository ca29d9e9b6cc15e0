//! The recorded server's answers to SQL: its envelope, around rows it holds.
//!
//! Of a question only the selected expressions, the values and the limit are read, and
//! counts by day and event are made. Expressions that the server was seen to refuse are refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::answers::{Envelope, List, named};
use crate::server::Asked;

/// What the server was measured not to know.
const UNSUPPORTED: [&str; 6] =
    ["toDateTime64", "toUnixTimestamp64Milli", "cityHash64", "sipHash64", "MD5", "hex("];

/// The server lowers every `LIMIT` to this, without a word.
const CAP: usize = 10_000;

/// A row of the store: what each expression is, and where the row stands.
#[derive(Clone)]
pub(crate) struct Stored {
    cells: BTreeMap<&'static str, Value>,
    key: Vec<String>,
}

/// The store's tables.
#[derive(Clone, Default)]
pub(crate) struct Store(pub(crate) BTreeMap<&'static str, Vec<Stored>>);

impl Store {
    /// The body of the answer, or the name of the refusal that was recorded.
    pub(crate) fn answer(&self, asked: &Asked) -> Result<String, &'static str> {
        let text = asked.sql().ok_or("sql: unknown kind")?;
        if UNSUPPORTED.iter().any(|name| text.contains(name)) {
            return Err("sql: toDateTime64 three arguments");
        }
        let (selected, rest) = text
            .strip_prefix("SELECT ")
            .and_then(|text| text.split_once(" FROM "))
            .ok_or("sql: mistake")?;
        let table = rest.split(' ').next().unwrap_or_default();
        let rows = self.0.get(table).ok_or("sql: mistake")?;
        let limit: usize = text.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(100);
        let columns = expressions(selected);
        let mut found: Vec<&Stored> = rows.iter().filter(|row| row.is_within(asked)).collect();
        if text.contains("GROUP BY day, event ") {
            return Ok(around(text, &columns, counts(&found)));
        }
        if columns == ["count()"] {
            return Ok(around(text, &columns, vec![format!("[{}]", found.len())]));
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        found.truncate(limit.min(CAP));
        let mut results = Vec::new();
        for row in found {
            let cell = |name: &&str| row.cells.get(*name).ok_or("sql: unknown column");
            let cells = columns.iter().map(cell).collect::<Result<Vec<_>, _>>()?;
            results.push(serde_json::to_string(&cells).unwrap());
        }
        Ok(around(text, &columns, results))
    }
}

/// An answer around its rows.
fn around(text: &str, columns: &[&str], rows: Vec<String>) -> String {
    let envelope: Envelope = serde_json::from_str(named("sql: persons").body.get()).unwrap();
    let envelope = envelope.with("columns", &json!(columns)).with("hogql", &json!(text));
    envelope.around(rows.iter().map(String::as_str))
}

/// How many events there are of each day and name.
fn counts(events: &[&Stored]) -> Vec<String> {
    let mut counts = BTreeMap::<(&str, &str), u64>::new();
    for event in events {
        *counts.entry((&event.key[0][..10], &event.key[2])).or_default() += 1;
    }
    counts.into_iter().map(|((day, name), count)| json!([day, name, count]).to_string()).collect()
}

impl Stored {
    /// Whether the values of the question let the row pass.
    fn is_within(&self, asked: &Asked) -> bool {
        let value = |name: &str| asked.body["query"]["values"][name].as_str();
        let first = self.key[0].as_str();
        let after: Vec<&str> = (0..4).map_while(|n| value(&format!("k{n}"))).collect();
        let name = self.key.get(2).map(String::as_str);
        value("from").is_none_or(|from| first >= from)
            && (value("after").is_none_or(|after| name > Some(after))
                || value("after_day").is_some_and(|day| first >= day))
            && (value("upto").is_none_or(|upto| name <= Some(upto))
                || value("upto_day").is_some_and(|day| first < day))
            && value("to").is_none_or(|to| first < to)
            && (after.is_empty() || self.key.iter().take(after.len()).map(String::as_str).gt(after))
    }
}

/// What stands between the commas that no parenthesis holds.
fn expressions(selected: &str) -> Vec<&str> {
    let (mut depth, mut from, mut found) = (0, 0, Vec::new());
    for (at, c) in selected.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                found.push(selected[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    found.push(selected[from..].trim());
    found
}

/// Events that were recorded on REST, as rows of the store. Their person and time of
/// arrival were not recorded with them: both are made up.
pub(crate) fn events(list: &List) -> Vec<Stored> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let stored = |row: &crate::answers::Row| {
        let event = &row.value;
        let time = canonical(event["timestamp"].as_str().unwrap()).unwrap();
        let key = vec![
            time.clone(),
            text(&event["id"]),
            text(&event["event"]),
            text(&event["distinct_id"]),
        ];
        let time = json!(time.replace('T', " ").trim_end_matches('Z'));
        let cells = BTreeMap::from([
            ("toString(uuid)", event["id"].clone()),
            ("event", event["event"].clone()),
            ("distinct_id", event["distinct_id"].clone()),
            ("toString(toTimeZone(timestamp, 'UTC'))", time.clone()),
            ("properties", json!(event["properties"].to_string())),
            ("elements_chain", event["elements_chain"].clone()),
            ("toString(person_id)", json!("01a1fcb5-a78e-0000-572a-b2e1c4572db9")),
            ("toString(toTimeZone(created_at, 'UTC'))", time),
        ]);
        Stored { cells, key }
    };
    list.rows.iter().map(stored).collect()
}

/// The recorded rows of `persons`: id, created_at, properties, is_identified.
pub(crate) fn persons() -> Vec<Stored> {
    let stored = |row: Value| {
        let time = canonical(row[1].as_str().unwrap()).unwrap();
        // The column is a DateTime64(3).
        let time = json!(time.replace('T', " ").trim_end_matches("000Z"));
        let cells = BTreeMap::from([
            ("toString(id)", row[0].clone()),
            ("toString(toTimeZone(created_at, 'UTC'))", time),
            ("properties", row[2].clone()),
            ("is_identified", row[3].clone()),
        ]);
        Stored { cells, key: vec![row[0].as_str().unwrap().to_owned()] }
    };
    named("sql: persons").rows().into_iter().map(stored).collect()
}

/// The recorded rows of `person_distinct_ids`, and those that REST shows of `others`.
pub(crate) fn distinct_ids(others: &List) -> Vec<Stored> {
    let stored = |id: &str, owner: &str| Stored {
        cells: BTreeMap::from([("distinct_id", json!(id)), ("toString(person_id)", json!(owner))]),
        key: vec![owner.to_owned(), id.to_owned()],
    };
    let mut found = Vec::new();
    for row in named("sql: person_distinct_ids").rows() {
        found.push(stored(row[0].as_str().unwrap(), row[1].as_str().unwrap()));
    }
    for person in &others.rows {
        for id in person.value["distinct_ids"].as_array().unwrap() {
            found.push(stored(id.as_str().unwrap(), person.value["uuid"].as_str().unwrap()));
        }
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    found.dedup_by(|a, b| a.key == b.key);
    found
}

/// `YYYY-MM-DDTHH:MM:SS.ffffffZ`, of a time that PostHog wrote with or without a fraction.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let plain = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00"))?;
    let (seconds, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    let is_time = seconds.len() == 19 && seconds.as_bytes()[10] == b'T';
    is_time.then(|| format!("{seconds}.{fraction:0<6}Z"))
}
