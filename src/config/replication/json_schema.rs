//! What a replication file may say, as a JSON Schema: by it editors complete and check one.
//!
//! Its words are taken from the tables that the reader goes by, and a test holds its keys
//! against those that the reader asks for. A value with a `${VARIABLE}` in it is not judged, and
//! null counts as not given, as it does for the reader. What takes more than a key's own value
//! to be judged (a format with its compression, the columns of a stream) is left to the program.

use serde_json::{Map, Value, json};

use super::{DeleteMissing, Mode, ReadBy};
use crate::config::audit::UNHEARD;
use crate::config::columns::{MOST_FLATTENED, SLING_TYPES};
use crate::config::files::{Compression, Format};
use crate::config::hooks::{ON_FAILURE, TYPES, Type};
use crate::config::source_options::LARGEST_PAGE;
use crate::record::casing::Casing;
use crate::record::transform::Step;
use crate::schema::ColumnType;

/// A key, what its value may be, and what it means.
type Described = (&'static str, Vec<Value>, &'static str);

/// The JSON Schema (2020-12) of replication files. `streams` are PostHog's: what each is
/// called, and what it holds.
pub fn json_schema<'a>(streams: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    let of_all = vec![defined("settings")];
    let mut schema = map([
        ("hooks", hooks(), "what is done before the first stream and after the last"),
        ("env", variables(), "variables for ${NAME} in values and {NAME} in objects"),
        ("defaults", of_all, "what holds for all streams that do not say otherwise"),
    ]);
    let target = "a connection, or sqlite://path, postgresql://…, file://folder, s3://bucket";
    schema["properties"]["source"] = required("the connection to read from");
    schema["properties"]["target"] = required(target);
    schema["properties"]["streams"] = all_streams(streams);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "A replication of hogline's".into();
    schema["required"] = json!(["source", "target", "streams"]);
    let sql = ("sql", vec![text()], "a query whose rows are the stream's; it needs a primary_key");
    schema["$defs"] = json!({
        "settings": map(settings()),
        "query": map(settings().into_iter().chain([sql])),
        "variable": { "type": "string", "pattern": r"\$\{\w+\}" },
    });
    schema
}

/// `streams`: those that are known by name, wildcards, and others, which alone may be queries.
fn all_streams<'a>(known: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    let known = known.map(|(name, says)| (name.to_owned(), key(vec![defined("settings")], says)));
    json!({
        "description": "which streams, each with what is not as in the defaults",
        "type": "object",
        "minProperties": 1,
        "properties": known.collect::<Map<_, _>>(),
        "patternProperties": {
            r"\*": key(vec![defined("settings")], "streams that fit and are not named themselves"),
        },
        "additionalProperties":
            key(vec![defined("query")], "a query, or a stream of the connection's own specs"),
    })
}

/// What can be said of a stream, and in the defaults.
fn settings() -> Vec<Described> {
    vec![
        ("mode", words(&Mode::ALL), "how it is brought up to date; full-refresh unless given"),
        ("object", vec![text()], "the table or folder; posthog.{stream_name} unless given"),
        ("select", names(), "columns to keep, or with - to leave out"),
        ("where", vec![text()], "a condition that records fulfil, as event = 'signup'"),
        ("transforms", transforms(), "what becomes of texts before they are stored"),
        ("primary_key", names(), "another key than the stream's; a query needs one"),
        ("update_key", vec![text()], "the stream's own; of a query, the time that finds new rows"),
        ("lookback", duration(), "how far back late rows are looked for; 3d unless given"),
        ("delete_missing", words(&DeleteMissing::ALL), "of rows that PostHog no longer has"),
        ("columns", vec![columns()], "other types, and columns taken out of JSON"),
        ("flatten", flatten(), "the properties of events and persons as columns"),
        ("source_options", vec![source_options()], "how it is read"),
        ("target_options", vec![target_options()], "how it is written"),
        ("tags", names(), "words by which --streams tag:… chooses it"),
        ("description", vec![text()], "for people"),
        ("disabled", boolean(), "whether it is left out"),
    ]
}

fn source_options() -> Value {
    map([
        ("read", words(&ReadBy::ALL), "in which way; auto unless given"),
        ("page_size", whole(Some(LARGEST_PAGE)), "how many records are asked for at once"),
        ("limit", whole(None), "how many rows a run reads at most"),
        ("range", of_pattern("^[^,]+,[^,]+$"), "of mode backfill: 2026-01-01,2026-02-01"),
        ("lookback", duration(), "the stream's lookback"),
        ("flatten", flatten(), "the stream's flatten"),
    ])
}

fn target_options() -> Value {
    let table_keys = map([("primary", names(), "the stream's primary_key")]);
    map([
        ("format", words(&Format::ALL), "of files; jsonl unless given"),
        ("compression", words(&Compression::ALL), "of JSON lines and CSV; none unless given"),
        ("table_keys", vec![table_keys], "the keys of the table"),
        ("delete_missing", words(&DeleteMissing::ALL), "the stream's delete_missing"),
        ("add_new_columns", boolean(), "whether fields that nobody declared become columns"),
        (
            "adjust_column_type",
            vec![json!({ "const": true }), defined("variable")],
            "types always become as wide as the values need: true",
        ),
        (
            "column_casing",
            words(&Casing::ALL),
            "how flattened keys are spelt in names; source unless given",
        ),
        ("file_max_rows", whole(None), "how many rows a file has at most"),
        ("file_max_bytes", whole(None), "how many bytes of values a file has at most"),
        ("pre_sql", vec![text()], "what the database runs before the rows"),
        ("post_sql", vec![text()], "what the database runs after the rows"),
    ])
}

/// Types by the names of columns: ours and Sling's, in either case.
fn columns() -> Value {
    let names: Vec<&str> = ColumnType::ALL.iter().map(|kind| kind.name()).collect();
    let names = names.into_iter().chain(SLING_TYPES.map(|(name, _)| name));
    let either = |c: char| format!("[{c}{}]", c.to_ascii_uppercase());
    let in_any_case: Vec<String> =
        names.clone().map(|name| name.chars().map(either).collect()).collect();
    let mut kind = vec![json!({ "enum": names.collect::<Vec<_>>() })];
    kind.extend(of_pattern(&format!("^({})$", in_any_case.join("|"))));

    let mut from = of_pattern(r"^[^.]+(\.[^.]+)+$");
    from.push(json!({ "type": "array", "items": text(), "minItems": 2 }));
    let mut taken = map([("type", kind.clone(), "its type; json unless given")]);
    taken["properties"]["from"] =
        json!({ "anyOf": from, "description": "a column of JSON and keys below it" });
    taken["required"] = json!(["from"]);
    kind.push(taken);
    json!({ "type": "object", "additionalProperties": { "anyOf": kind } })
}

fn flatten() -> Vec<Value> {
    let mut forms = boolean();
    forms.push(map([("limit", whole(Some(MOST_FLATTENED)), "how many keys; 200 unless given")]));
    forms
}

/// Steps for every column of text, or by the columns, and places in them, that they are for.
fn transforms() -> Vec<Value> {
    let mut steps = words(&Step::ALL);
    steps.push(json!({ "type": "array", "items": { "anyOf": steps } }));
    let by_place = json!({
        "type": "object",
        "propertyNames": { "pattern": r"^[^.]+(\.[^.]+)*$" },
        "additionalProperties": { "anyOf": steps },
    });
    steps.into_iter().chain([by_place]).collect()
}

fn hooks() -> Vec<Value> {
    let hook = TYPES.map(|(word, kind)| hook(word, kind));
    let hooks = vec![json!({ "type": "array", "items": { "anyOf": hook } })];
    vec![map([
        ("start", hooks.clone(), "before the first stream"),
        ("end", hooks, "after the last one, however the run ended"),
    ])]
}

/// A hook of one type: the keys that it may have, and the one that it must.
fn hook(word: &str, kind: Type) -> Value {
    let mut keys = vec![
        ("type", words(&[(word, kind)]), "what it does"),
        ("on_failure", words(&ON_FAILURE), "what becomes of the run; abort unless given"),
    ];
    let (needed, value) = match kind {
        Type::Log => ("message", required("what is told on stderr")),
        Type::Command => {
            let words = json!({ "type": "array", "items": text(), "minItems": 1 });
            let says = "a text for the shell, or a program and its arguments";
            ("command", json!({ "description": says, "anyOf": [name(), words] }))
        }
        Type::Http => {
            keys.push(("method", of_pattern("^[pP][oO][sS][tT]$"), "POST"));
            keys.push(("payload", vec![text()], "what is posted; a summary unless given"));
            ("url", required("the address"))
        }
    };
    let mut hook = map(keys);
    hook["properties"][needed] = value;
    hook["required"] = json!(["type", needed]);
    hook
}

/// `env`: texts by the names of variables.
fn variables() -> Vec<Value> {
    let texts = json!({ "anyOf": [text(), { "type": "null" }] });
    let heard = json!({ "not": { "const": UNHEARD } });
    vec![json!({ "type": "object", "additionalProperties": texts, "propertyNames": heard })]
}

/// A map with these keys and no others.
fn map(keys: impl IntoIterator<Item = Described>) -> Value {
    let keys = keys.into_iter().map(|(name, forms, says)| (name.to_owned(), key(forms, says)));
    let keys: Map<String, Value> = keys.collect();
    json!({ "type": "object", "properties": keys, "additionalProperties": false })
}

/// The value of a key: one of these forms, or null, which is as if it were not there.
fn key(mut forms: Vec<Value>, says: &str) -> Value {
    forms.push(json!({ "type": "null" }));
    json!({ "description": says, "anyOf": forms })
}

/// What is defined once for several keys.
fn defined(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// A text; numbers and booleans without quotes are texts, too.
fn text() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

/// A text that is not empty.
fn name() -> Value {
    json!({ "type": ["string", "number", "boolean"], "minLength": 1 })
}

/// A name that must be given.
fn required(says: &str) -> Value {
    let mut name = name();
    name["description"] = says.into();
    name
}

/// A list of names, or one text with commas.
fn names() -> Vec<Value> {
    vec![name(), json!({ "type": "array", "items": name() })]
}

/// One of the words of a table.
fn words<T>(table: &[(&str, T)]) -> Vec<Value> {
    let words: Vec<&str> = table.iter().map(|(word, _)| *word).collect();
    vec![json!({ "enum": words }), defined("variable")]
}

fn boolean() -> Vec<Value> {
    vec![json!({ "type": "boolean" }), defined("variable")]
}

/// A whole number from 1 to this, if to any.
fn whole(most: Option<u64>) -> Vec<Value> {
    let mut number = json!({ "type": "integer", "minimum": 1 });
    if let Some(most) = most {
        number["maximum"] = most.into();
    }
    vec![number, defined("variable")]
}

fn of_pattern(pattern: &str) -> Vec<Value> {
    vec![json!({ "type": "string", "pattern": pattern }), defined("variable")]
}

fn duration() -> Vec<Value> {
    of_pattern("^[0-9]+(ms|[smhdw])$")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{of_the_page, parse};
    use super::*;

    /// The schema of the tests' streams.
    fn schema() -> Value {
        json_schema([("events", "Everything that was captured.")].into_iter())
    }

    /// Where keys stand: as the page for Sling's users calls it, around them in a file, and in
    /// the schema.
    const PLACES: [(&str, &str, &str); 13] = [
        ("root", "@, source: S, target: T, streams: { events: }", ""),
        (
            "defaults",
            "source: S, target: T, defaults: { @ }, streams: { events: }",
            "/$defs/settings",
        ),
        ("stream", "source: S, target: T, streams: { q: { @ } }", "/$defs/query"),
        (
            "source_options",
            "source: S, target: T, streams: { events: { source_options: { @ } } }",
            "/$defs/settings/properties/source_options/anyOf/0",
        ),
        (
            "target_options",
            "source: S, target: T, streams: { events: { target_options: { @ } } }",
            "/$defs/settings/properties/target_options/anyOf/0",
        ),
        (
            "table_keys",
            "source: S, target: T, streams: { events: { target_options: { table_keys: { @ } } } }",
            "/$defs/settings/properties/target_options/anyOf/0/properties/table_keys/anyOf/0",
        ),
        (
            "column",
            "source: S, target: T, streams: { events: { columns: { a: { @ } } } }",
            "/$defs/settings/properties/columns/anyOf/0/additionalProperties/anyOf/3",
        ),
        (
            "flatten",
            "source: S, target: T, streams: { events: { flatten: { @ } } }",
            "/$defs/settings/properties/flatten/anyOf/2",
        ),
        (
            "source_options.flatten",
            "source: S, target: T, streams: { events: { source_options: { flatten: { @ } } } }",
            "/$defs/settings/properties/source_options/anyOf/0/properties/flatten/anyOf/2",
        ),
        (
            "hooks",
            "source: S, target: T, streams: { events: }, hooks: { @ }",
            "/properties/hooks/anyOf/0",
        ),
        (
            "hook: log",
            "source: S, target: T, streams: { events: }, hooks: { end: [{ type: log, message: a, @ }] }",
            "/properties/hooks/anyOf/0/properties/end/anyOf/0/items/anyOf/0",
        ),
        (
            "hook: command",
            "source: S, target: T, streams: { events: }, hooks: { end: [{ type: command, command: a, @ }] }",
            "/properties/hooks/anyOf/0/properties/end/anyOf/0/items/anyOf/1",
        ),
        (
            "hook: http",
            "source: S, target: T, streams: { events: }, hooks: { end: [{ type: http, url: a, @ }] }",
            "/properties/hooks/anyOf/0/properties/end/anyOf/0/items/anyOf/2",
        ),
    ];

    /// The keys that the reader names where one is given that it does not know.
    fn asked_for(around: &str) -> Vec<String> {
        let refused = parse(&format!("{{ {} }}\n", around.replace('@', "no_such_key_at_all: 1")));
        let complaints = refused.unwrap_err().complaints;
        let known = complaints.iter().find_map(|told| {
            told.message.strip_prefix("unknown key \"no_such_key_at_all\", known: ")
        });
        let known = known.unwrap_or_else(|| panic!("{complaints:?}"));
        known.split(", ").map(str::to_owned).collect()
    }

    #[test]
    fn its_keys_are_those_that_the_reader_asks_for() {
        let schema = schema();
        for (place, around, pointer) in PLACES {
            let mut asked = asked_for(around);
            match place {
                // Taken out before the rest is read.
                "root" => asked.push("env".into()),
                // Read to be refused: a query is one stream's.
                "defaults" => asked.retain(|key| key != "sql"),
                _ => {}
            }
            asked.sort();
            let map = schema.pointer(pointer).unwrap();
            let keys: Vec<&String> = map["properties"].as_object().unwrap().keys().collect();
            assert_eq!(keys, asked.iter().collect::<Vec<_>>(), "{place}");
            assert_eq!(map["additionalProperties"], false, "{place}");
        }
    }

    #[test]
    fn it_has_the_keys_that_the_page_for_slings_users_says_yes_to() {
        let schema = schema();
        for (place, example, told) in of_the_page() {
            let (_, _, pointer) = PLACES.iter().find(|(known, ..)| **known == place).unwrap();
            let key = example.split(':').next().unwrap();
            let has = schema.pointer(pointer).unwrap()["properties"].get(key).is_some();
            // Of these the key is known, and not all that can stand under it.
            let is_told = told.starts_with("yes")
                || [("root", "hooks"), ("target_options", "table_keys")].contains(&(&*place, key));
            assert_eq!(has, is_told, "{place}: {example}");
        }
    }

    #[test]
    fn streams_that_are_known_are_named_and_are_no_queries() {
        let schema = schema();
        let streams = &schema["properties"]["streams"];
        assert_eq!(
            streams["properties"]["events"],
            json!({
                "description": "Everything that was captured.",
                "anyOf": [{ "$ref": "#/$defs/settings" }, { "type": "null" }],
            })
        );
        assert_eq!(streams["additionalProperties"]["anyOf"][0]["$ref"], "#/$defs/query");
        assert!(schema["$defs"]["settings"]["properties"].get("sql").is_none());
    }
}
