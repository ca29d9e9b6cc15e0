//! `state export` and `state import`: the state as versioned JSON.
//!
//! What is exported on one machine is what another one knows after the import. An
//! import is judged as a whole before anything is stored. It does not move a stream:
//! where it says something else than the target, the next run stops.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::show::print_json;
use super::{all, named};
use crate::checkpoint::{Checkpoint, StreamKey};
use crate::command::run::unusable_state;
use crate::config::complaint::suggestion;
use crate::cursor::{Position, Timestamp};
use crate::error::{Exit, Failure};
use crate::report;
use crate::state::Edit;
use crate::state::store::{SchemaChange, StateStore, Stored};

/// The form that is written, and the only one that is read.
const VERSION: u32 = 1;

/// Everything that is known of streams.
#[derive(Debug, Serialize, Deserialize)]
struct Export {
    version: u32,
    streams: Vec<Entry>,
}

/// What is known of one stream.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    key: StreamKey,
    epoch: String,
    sequence: u64,
    position: Position,
    witnesses: Vec<String>,
    edits: Vec<Edit>,
    updated_at: Timestamp,
    /// How its columns came to be as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    schema: Vec<SchemaChange>,
}

impl Entry {
    pub(super) fn of(stored: &Stored) -> Self {
        let Stored { checkpoint, edits, updated_at } = stored.clone();
        let Checkpoint { key, epoch, sequence, position, witnesses } = checkpoint;
        let schema = Vec::new();
        Self { key, epoch, sequence, position, witnesses, edits, updated_at, schema }
    }

    /// With the changes of its columns.
    fn with_schema(mut self, store: &StateStore) -> Result<Self, Failure> {
        self.schema = store.schema_changes(&self.key).map_err(|err| unusable_state(&err))?;
        Ok(self)
    }

    fn into_stored(self) -> Stored {
        let Self { key, epoch, sequence, position, witnesses, edits, updated_at, .. } = self;
        let checkpoint = Checkpoint { key, epoch, sequence, position, witnesses };
        Stored { checkpoint, edits, updated_at }
    }
}

/// Writes what is known to stdout.
pub(super) fn export(store: &StateStore, stream: Option<&str>) -> Result<Exit, Failure> {
    let stored = match stream {
        Some(stream) => named(store, stream)?,
        None => all(store)?,
    };
    let entries = stored.iter().map(|stored| Entry::of(stored).with_schema(store));
    print_json(&Export { version: VERSION, streams: entries.collect::<Result<_, _>>()? })?;
    Ok(Exit::Complete)
}

/// Stores what `export` wrote.
pub(super) fn import(store: &StateStore, file: &Path, force: bool) -> Result<Exit, Failure> {
    let name = if file == Path::new("-") { "stdin".into() } else { file.display().to_string() };
    let text = read(file).map_err(|err| {
        let fix = "name a file that `hogline state export` wrote, or - for stdin";
        Failure::usage(format!("{name} cannot be read"), err.to_string(), fix)
    })?;
    let refused = |complaints: Vec<String>, fix: &str| {
        Failure::usage(format!("{name} is not imported"), complaints.join("\n"), fix)
    };
    let entries = judged(&text, Timestamp::now()).map_err(|complaints| {
        refused(complaints, "correct the file, or export it again; nothing was changed")
    })?;
    let schemas = entries.iter().map(|entry| (entry.key.clone(), entry.schema.clone()));
    // A file of an earlier form does not tell of columns: what is known here stays.
    let schemas: Vec<_> = schemas.filter(|(_, changes)| !changes.is_empty()).collect();
    let imported: Vec<Stored> = entries.into_iter().map(Entry::into_stored).collect();
    if !force {
        let known = all(store)?;
        let conflicts: Vec<String> =
            imported.iter().filter_map(|new| conflict(new, &known)).collect();
        if !conflicts.is_empty() {
            let fix = "leave these streams out with `export --stream`, or add --force to replace \
                       them; nothing was changed";
            return Err(refused(conflicts, fix));
        }
    }
    store.replace_schema_changes(&schemas).map_err(|err| unusable_state(&err))?;
    store.replace(&imported).map_err(|err| unusable_state(&err))?;
    let streams = if imported.len() == 1 { "stream" } else { "streams" };
    report::print(&format!("{} {streams} imported from {name}", imported.len()));
    Ok(Exit::Complete)
}

fn read(file: &Path) -> std::io::Result<String> {
    if file != Path::new("-") {
        return std::fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// The entries of a text, or everything that is wrong with it.
fn judged(text: &str, now: Timestamp) -> Result<Vec<Entry>, Vec<String>> {
    let one = |complaint: String| vec![complaint];
    let given: Value = serde_json::from_str(text).map_err(|err| one(err.to_string()))?;
    match &given["version"] {
        Value::Null => return Err(one("version: is missing: this is no exported state".into())),
        version if *version != VERSION => {
            return Err(one(format!(
                "version: {version} is unknown, this hogline reads {VERSION}"
            )));
        }
        _ => {}
    }
    let export: Export = serde_json::from_str(text).map_err(|err| one(err.to_string()))?;
    let understood = serde_json::to_value(&export).map_err(|err| one(err.to_string()))?;
    let mut complaints = Vec::new();
    unknown_keys(&given, &understood, "", &mut complaints);
    let mut keys = BTreeSet::new();
    for (n, entry) in export.streams.iter().enumerate() {
        let complain = |what: String| format!("streams[{n}] ({}): {what}", entry.key.stream);
        complaints.extend(entry.complaints(now).into_iter().map(complain));
        if !keys.insert(&entry.key) {
            complaints.push(complain("the stream is there twice".into()));
        }
    }
    if complaints.is_empty() { Ok(export.streams) } else { Err(complaints) }
}

impl Entry {
    /// What cannot be true of it at `now`.
    fn complaints(&self, now: Timestamp) -> Vec<String> {
        let StreamKey { origin, project, stream, object } = &self.key;
        let named = [
            ("key.origin", origin),
            ("key.project", project),
            ("key.stream", stream),
            ("key.object", object),
            ("epoch", &self.epoch),
        ];
        let empty = named.iter().filter(|(_, text)| text.is_empty());
        let mut complaints: Vec<_> = empty.map(|(name, _)| format!("{name}: is empty")).collect();
        if self.position.version != Position::VERSION {
            let version = self.position.version;
            complaints.push(format!("position.version: {version} is made by another hogline"));
        }
        let checked = self.position.check(now);
        complaints.extend(checked.err().map(|what| format!("position.{what}")));
        complaints
    }
}

/// Keys that were given and mean nothing here: they did not come back.
fn unknown_keys(given: &Value, understood: &Value, path: &str, complaints: &mut Vec<String>) {
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => {
            let known: Vec<&str> = understood.keys().map(String::as_str).collect();
            for (key, value) in given {
                match understood.get(key) {
                    Some(inner) => unknown_keys(value, inner, &format!("{path}{key}."), complaints),
                    None => complaints
                        .push(format!("{path}{key}: unknown key, {}", suggestion(key, &known))),
                }
            }
        }
        (Value::Array(given), Value::Array(understood)) => {
            let path = path.trim_end_matches('.');
            for (n, (given, understood)) in given.iter().zip(understood).enumerate() {
                unknown_keys(given, understood, &format!("{path}[{n}]."), complaints);
            }
        }
        _ => {}
    }
}

/// Why a stream would lose something by being replaced.
fn conflict(new: &Stored, known: &[Stored]) -> Option<String> {
    let (next, stream) = (&new.checkpoint, &new.checkpoint.key.stream);
    let old = known.iter().find(|old| old.checkpoint.key == next.key)?;
    let here = &old.checkpoint;
    if !old.edits.is_empty() && old.edits != new.edits {
        return Some(format!("{stream}: a change by hand waits here that is not in the file"));
    }
    if here.epoch != next.epoch {
        return Some(format!("{stream}: here it has another history, {}", here.epoch));
    }
    if here.sequence > next.sequence {
        let (here, next) = (here.sequence, next.sequence);
        return Some(format!("{stream}: here it is at commit {here}, in the file at {next}"));
    }
    let differs = here.sequence == next.sequence && here.position != next.position;
    differs.then(|| {
        format!(
            "{stream}: the file has another position for the same commit; to move a stream use \
             `hogline state rewind` or `hogline state set`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::parse("2026-03-12").unwrap()
    }

    fn entry(change: impl FnOnce(&mut Value)) -> Value {
        let mut entry = serde_json::json!({
            "key": { "origin": "https://o", "project": "1", "stream": "events", "object": "t" },
            "epoch": "a", "sequence": 3,
            "position": { "version": 1, "mark": "2026-03-10T00:00:00Z" },
            "witnesses": [], "edits": [], "updated_at": "2026-03-10T00:00:00Z",
        });
        change(&mut entry);
        entry
    }

    fn complaints(streams: &[Value]) -> Vec<String> {
        let text = serde_json::json!({ "version": 1, "streams": streams }).to_string();
        judged(&text, now()).map(drop).unwrap_err()
    }

    #[test]
    fn what_is_wrong_is_told_by_its_place_and_the_nearest_key() {
        let unchanged = entry(|_| {});
        for (streams, told) in [
            (
                vec![entry(|e| e["position"]["cvered"] = 1.into())],
                "streams[0].position.cvered: unknown key, did you mean \"covered\"?",
            ),
            (
                vec![entry(|e| e["key"]["object"] = "".into())],
                "streams[0] (events): key.object: is empty",
            ),
            (
                vec![entry(|e| e["position"]["mark"] = "2027-01-01T00:00:00Z".into())],
                "(events): position.mark: 2027",
            ),
            (vec![entry(|e| e["position"]["version"] = 7.into())], "position.version: 7"),
            (vec![entry(|e| e["sequence"] = "3".into())], "line 1 column"),
            (vec![entry(|e| e["key"]["stream"] = Value::Null)], "line 1 column"),
            (vec![unchanged.clone(), unchanged], "streams[1] (events): the stream is there twice"),
        ] {
            let complaints = complaints(&streams);
            assert!(complaints.iter().any(|told_| told_.contains(told)), "{told}: {complaints:?}");
        }
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let first = entry(|e| e["epoch"] = "".into());
        let second = entry(|e| {
            e["key"]["stream"] = "persons".into();
            e["position"]["mark"] = "2027-01-01T00:00:00Z".into();
        });

        assert_eq!(complaints(&[first, second]).len(), 2);
    }

    #[test]
    fn another_form_is_refused_before_it_is_read() {
        for (text, told) in [
            (r#"{"version": 2, "streams": 7}"#, "version: 2 is unknown"),
            (r#"{"streams": []}"#, "version: is missing"),
            ("{", "line 1 column 1"),
        ] {
            let complaints = judged(text, now()).map(drop).unwrap_err();
            assert!(complaints[0].contains(told), "{complaints:?}");
        }
    }

    #[test]
    fn what_would_be_lost_here_is_not_replaced() {
        let stored = |change: &dyn Fn(&mut Value)| {
            let entry: Entry = serde_json::from_value(entry(change)).unwrap();
            entry.into_stored()
        };
        let here = [stored(&|_| {})];
        let waiting = [stored(&|e| {
            e["edits"] = serde_json::json!([{ "epoch": "b", "change": "reset" }]);
        })];
        let same = stored(&|_| {});
        let later = stored(&|e| e["sequence"] = 4.into());
        let earlier = stored(&|e| e["sequence"] = 2.into());
        let other = stored(&|e| e["epoch"] = "z".into());
        let moved = stored(&|e| e["position"]["mark"] = "2026-03-01T00:00:00Z".into());
        let elsewhere = stored(&|e| e["key"]["project"] = "2".into());
        for (new, known, expected) in [
            (&same, &here, None),
            (&later, &here, None),
            (&elsewhere, &here, None),
            (&earlier, &here, Some("here it is at commit 3, in the file at 2")),
            (&other, &here, Some("another history, a")),
            (&moved, &here, Some("hogline state rewind")),
            (&same, &waiting, Some("waits here")),
        ] {
            let conflict = conflict(new, known);
            let is_as_told = match (&conflict, expected) {
                (Some(told), Some(part)) => told.contains(part),
                (told, expected) => told.is_none() == expected.is_none(),
            };
            assert!(is_as_told, "{conflict:?}, expected {expected:?}");
        }
    }
}
