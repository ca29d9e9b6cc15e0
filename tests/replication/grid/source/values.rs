//! Values that hardly anything can hold: each row arrives, with the value or with what was
//! made of it, and that is counted.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Answer, Mangle, Scene, try_all};
use crate::grid::{Fault, Ground, Kind, Tried};
use crate::support::{Project, Texts, Told};

#[test]
fn a_source_with_odd_values_loses_no_row() {
    let faults = [
        Fault::new("odd JSON", |ground| arrive(ground, odd_json(ground))),
        Fault::new("odd scalars", |ground| match scalars(ground.stream) {
            Some(columns) => arrive(ground, odd_scalars(columns)),
            None => Tried::Empty("its columns are not typed by JSON"),
        }),
        Fault::new("odd fields", odd_fields),
    ];
    try_all("source: values", 39, &faults);
}

/// A value as it is sent in a row, and as it is kept.
#[derive(Clone)]
struct Odd {
    column: &'static str,
    sent: Vec<u8>,
    /// The text of a database's cell.
    kept: String,
    /// The same as JSON, where lines are kept.
    line: String,
    is_repaired: bool,
}

impl Odd {
    /// Kept as it is spelt.
    fn json(column: &'static str, raw: impl Into<String>) -> Self {
        let raw = raw.into();
        let sent = raw.clone().into_bytes();
        Self { column, sent, kept: raw.clone(), line: raw, is_repaired: false }
    }

    /// Kept as this text.
    fn text(column: &'static str, raw: &str, kept: &str) -> Self {
        let line = json!(kept).to_string();
        Self { column, sent: raw.into(), kept: kept.into(), line, is_repaired: false }
    }

    fn repaired(self) -> Self {
        Self { is_repaired: true, ..self }
    }

    /// Inside of an object that SQL answers as text.
    fn in_properties(self) -> Self {
        let escape = |byte: &u8| match byte {
            b'"' | b'\\' => vec![b'\\', *byte],
            byte => vec![*byte],
        };
        let object = [br#"{"odd":"#, self.sent.as_slice(), b"}"].concat();
        let sent = [b"\"".to_vec(), object.iter().flat_map(escape).collect(), b"\"".to_vec()];
        let kept = format!(r#"{{"odd":{}}}"#, self.spelt());
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&kept).is_ok();
        let line = if is_json { kept.clone() } else { json!(kept).to_string() };
        Self {
            column: "properties",
            sent: sent.concat(),
            kept,
            line,
            is_repaired: self.is_repaired,
        }
    }

    /// What was sent, as text.
    fn spelt(&self) -> String {
        String::from_utf8_lossy(&self.sent).into_owned()
    }
}

fn odd_json(ground: &Ground) -> Vec<Odd> {
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let nan = |raw: &'static str| Odd::text("odd", raw, raw).repaired();
    let invalid = Odd {
        sent: b"\"a\xff\xc0b\"".to_vec(),
        ..Odd::json("odd", "\"a\u{fffd}\u{fffd}b\"").repaired()
    };
    let odds = vec![
        Odd::json("odd", r#""\u0000 and \ud83e and \ud83e\udd94""#),
        Odd::json("odd", "9007199254740993"),
        Odd::json("odd", "9223372036854775808"),
        Odd::json("odd", "1234567890123456789012345678901234567890"),
        Odd::json("odd", "-0.10"),
        Odd::json("odd", "1e400"),
        Odd::json("odd", r#"{"a":1,"a":2,"A":3,"":4}"#),
        Odd::json("odd", deep(10_000)),
        Odd::json("odd", "{\"a\":".repeat(10_000) + "null" + &"}".repeat(10_000)),
        Odd::json("odd", format!("\"{}\"", "long ".repeat(100_000))),
        nan("NaN"),
        nan("-Infinity"),
        nan("undefined"),
        invalid,
    ];
    match ground.paging {
        "keyset" | "keyset and join" => odds.into_iter().map(Odd::in_properties).collect(),
        _ => odds,
    }
}

/// A stream's columns of text, of time and of truth.
fn scalars(stream: &str) -> Option<[&'static str; 3]> {
    match stream {
        "insights" => Some(["name", "created_at", "saved"]),
        "actions" => Some(["name", "created_at", "deleted"]),
        "session_recordings" => Some(["start_url", "end_time", "ongoing"]),
        _ => None,
    }
}

fn odd_scalars([text, time, truth]: [&'static str; 3]) -> Vec<Odd> {
    let kept = |column, raw: &str, kept| Odd::text(column, raw, kept);
    let invalid = Odd { sent: b"\"a\xffb\"".to_vec(), ..kept(text, "", "a\u{fffd}b") };
    vec![
        kept(text, r#""a\u0000b""#, "a\u{fffd}b").repaired(),
        kept(text, "\"raw \u{0} NUL\"", "raw \u{fffd} NUL").repaired(),
        kept(text, r#""\ud83e!""#, "\u{fffd}!").repaired(),
        kept(text, r#""\udd94\ud83e""#, "\u{fffd}\u{fffd}").repaired(),
        invalid.repaired(),
        kept(text, "\"raw \t tab,\n line \u{1b}\"", "raw \t tab,\n line \u{1b}"),
        kept(text, "17", "17"),
        kept(text, r#"{"a": [1]}"#, r#"{"a":[1]}"#),
        kept(time, r#""0001-01-01T00:00:00Z""#, "0001-01-01T00:00:00.000000Z"),
        kept(time, r#""9999-12-31T23:59:59.999999Z""#, "9999-12-31T23:59:59.999999Z"),
        kept(time, r#""9999-12-31T23:59:59-12:00""#, "9999-12-31T23:59:59-12:00").repaired(),
        kept(time, r#""10000-01-01T00:00:00Z""#, "10000-01-01T00:00:00Z").repaired(),
        kept(time, r#""soon""#, "soon").repaired(),
        kept(time, "17", "17").repaired(),
        kept(time, "true", "true").repaired(),
        kept(truth, r#""perhaps""#, "perhaps").repaired(),
        kept(truth, r#"{"a":1}"#, r#"{"a":1}"#).repaired(),
    ]
}

/// Fields that were never there, that are gone, that come twice, that are named alike.
fn odd_fields(ground: &Ground) -> Tried {
    if ground.paging.starts_with("keyset") {
        return Tried::Empty("SQL answers have the columns that were asked for");
    }
    let long = "n".repeat(63);
    let fields = [
        ("nEw", "1"),
        ("New", "2"),
        ("NEW", "3"),
        (&format!("{long}a"), "4"),
        (&format!("{long}b"), "5"),
        ("with \"quotes\" and; spaces", "6"),
        ("\u{fc}ber", "7"),
        ("select", "8"),
        ("_hogline_seq", "9"),
        ("", "10"),
        ("twice", "0"),
        ("twice", "11"),
    ]
    .map(|(name, value)| format!("{}:{value},", json!(name)))
    .concat();
    let scene = Scene::on(ground);
    let with_fields: Mangle = Arc::new(move |_, answer: Answer| {
        let body = String::from_utf8(answer.body.clone()).unwrap();
        let body = body.replace("[{", &format!("[{{{fields}"));
        answer.saying(body).sent()
    });
    scene.proxy.strikes_on(scene.records(), 0, &with_fields);
    let project = scene.project();
    for _ in 0..2 {
        project.run_with(ground.options()).succeeds();
        let found = text_of(ground, &project);
        for value in 1..=11 {
            // Every value is in a column of its own; of a name that comes twice the last counts.
            assert!(found.contains(&value.to_string()), "{value} is lost: {found:?}");
        }
        assert!(!found.contains(&"0".to_owned()), "{found:?}");
    }
    Tried::Passed(2)
}

/// The values of the columns that no spec names, all rows together.
fn text_of(ground: &Ground, project: &Project) -> Vec<String> {
    let begins = ["new", "nnnn", "with", "\u{fc}ber", "select", "twice", "source_hogline_seq", "_"];
    let is_new = |name: &str| {
        let name = name.to_lowercase();
        name.is_empty() || begins.iter().any(|begin| name.starts_with(begin))
    };
    if ground.is_files() {
        let cells = project.texts_of(ground.stream).into_iter().flatten();
        return cells.filter(|(name, _)| is_new(name)).filter_map(|(_, text)| text).collect();
    }
    let (table, columns) = match ground.kind {
        Kind::Postgres => (
            format!("posthog.{}", ground.stream),
            format!(
                "SELECT column_name FROM information_schema.columns WHERE table_name = '{}'",
                ground.stream
            ),
        ),
        _ => (
            format!("posthog_{}", ground.stream),
            format!("SELECT name FROM pragma_table_info('posthog_{}')", ground.stream),
        ),
    };
    let mut found = Vec::new();
    for name in ask(project, &columns).iter().filter(|name| is_new(name)) {
        let name = name.replace('"', "\"\"");
        let sql =
            format!("SELECT CAST(\"{name}\" AS TEXT) FROM {table} WHERE \"{name}\" IS NOT NULL");
        found.extend(ask(project, &sql));
    }
    found
}

/// The texts that a query of the project's database gives.
fn ask(project: &Project, sql: &str) -> Vec<String> {
    project.database().map_or_else(|| project.copy().lines(sql), |database| database.sql(sql))
}

/// What is in a folder of JSON lines.
fn lines(ground: &Ground, project: &Project) -> String {
    let folder = project.path(&format!("out/posthog/{}", ground.stream));
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|kind| kind == "jsonl"));
    files.map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// Which row got which value.
type Given = Arc<Mutex<BTreeMap<String, usize>>>;

/// Gives each value to a row, runs twice, and looks at every one of them.
fn arrive(ground: &Ground, odds: Vec<Odd>) -> Tried {
    let scene = Scene::on(ground);
    let given = Given::default();
    scene.proxy.strikes_on(scene.records(), 0, &giving(odds.clone(), Arc::clone(&given)));
    let project = scene.project();
    for nth in 0..2 {
        let told = project.run_with(ground.options()).succeeds();
        let given = given.lock().unwrap();
        assert_eq!(given.len(), odds.len(), "too few rows for so many values");
        for (id, odd) in given.iter() {
            is_kept(ground, &project, id, &odds[*odd]);
        }
        if nth == 0 {
            repairs_are_told(&told, ground, &odds);
        }
    }
    let kept = match project.database() {
        Some(database) => database.count(ground.stream),
        None if ground.is_files() => project.count_keys(ground.stream),
        None => project.copy().count(ground.stream),
    };
    assert_eq!(kept, scene.posthog.count(ground.stream), "rows were lost");
    Tried::Passed(odds.len())
}

/// A mangle that gives the n-th row it sees the n-th value, whenever it sees that row.
fn giving(odds: Vec<Odd>, given: Given) -> Mangle {
    Arc::new(move |asked, answer: Answer| {
        if answer.status != 200 {
            return answer.sent();
        }
        let mut given = given.lock().unwrap();
        let place = if asked.body.contains("FROM persons ") { 2 } else { 4 };
        let mut used = Vec::new();
        let marked = answer.edited(|answer| {
            // Counts are no records.
            let is_record = |row: &&mut Value| row.as_array().is_none_or(|row| row.len() > place);
            let rows = answer["results"].as_array_mut().into_iter().flatten();
            for row in rows.filter(is_record) {
                let id = id_of(row);
                let next = given.len();
                if !given.contains_key(&id) && next < odds.len() {
                    given.insert(id.clone(), next);
                }
                let Some(nth) = given.get(&id) else { continue };
                used.push(*nth);
                match row {
                    Value::Array(items) => items[place] = json!(format!("@@{nth}@@")),
                    row => row[odds[*nth].column] = json!(format!("@@{nth}@@")),
                }
            }
        });
        let body = used.iter().fold(marked.body.clone(), |body, nth| {
            replaced(&body, format!("\"@@{nth}@@\"").as_bytes(), &odds[*nth].sent)
        });
        marked.saying(body).sent()
    })
}

fn id_of(row: &Value) -> String {
    let id = row.get("id").unwrap_or(&row[0]);
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

fn replaced(bytes: &[u8], mark: &[u8], with: &[u8]) -> Vec<u8> {
    let Some(at) = bytes.windows(mark.len()).position(|window| window == mark) else {
        return bytes.to_vec();
    };
    let rest = replaced(&bytes[at + mark.len()..], mark, with);
    [&bytes[..at], with, &rest].concat()
}

#[track_caller]
fn is_kept(ground: &Ground, project: &Project, id: &str, odd: &Odd) {
    let Odd { column, kept, line, .. } = odd;
    let shown: String = kept.chars().take(60).collect();
    if ground.is_files() {
        let cell = format!("{}:{line}", json!(column));
        // As lines, columns of JSON hold nothing else.
        let kept = if ["odd", "properties"].contains(column) { line } else { kept };
        let is_it = |row: &Texts| {
            row["id"].as_deref() == Some(id) && row.get(*column) == Some(&Some(kept.clone()))
        };
        let found = match ground.target {
            "jsonl" | "s3" => lines(ground, project).lines().any(|line| line.contains(&cell)),
            _ => project.texts_of(ground.stream).iter().any(is_it),
        };
        assert!(found, "no row has {column} {shown:?}");
        return;
    }
    if let Some(database) = project.database() {
        // `jsonb` holds neither the escape of NUL nor half of a surrogate pair.
        let kept = kept.replace("\\u0000", "\u{fffd}").replace("\\ud83e and", "\u{fffd} and");
        let holds = |condition: &str| {
            let sql = format!(
                "SELECT {condition} = '{}' FROM posthog.{} WHERE CAST(id AS TEXT) = '{id}'",
                kept.replace('\'', "''"),
                ground.stream
            );
            database.try_sql(&sql).is_ok_and(|found| found.iter().any(|found| found == "t"))
        };
        // The server knows what equals a value of a column's type. JSON beyond its bounds is a text.
        let is_kept = holds(&format!("\"{column}\"")) || holds(&format!("\"{column}\" #>> '{{}}'"));
        assert!(is_kept, "{column} of {id} is no {shown:?}");
        return;
    }
    let table = format!("posthog_{}", ground.stream);
    let sql =
        format!("SELECT CAST(\"{column}\" AS TEXT) FROM {table} WHERE CAST(id AS TEXT) = '{id}'");
    let found = project.copy().lines(&sql);
    assert!(
        found.iter().any(|found| found == kept),
        "{column} of {id} is no {shown:?}: {:.200}",
        format!("{found:?}")
    );
}

#[track_caller]
fn repairs_are_told(told: &Told, ground: &Ground, odds: &[Odd]) {
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
    for odd in odds.iter().filter(|odd| odd.is_repaired) {
        *expected.entry(odd.column).or_default() += 1;
    }
    let repairs = &told.told_of(ground.stream)["repairs"];
    for (column, count) in expected {
        // A row that comes again is repaired again.
        assert!(repairs[column].as_u64() >= Some(count), "{column}: {repairs}");
    }
}
