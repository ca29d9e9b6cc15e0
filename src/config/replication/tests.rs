//! What a replication file may say, and what is told where it is wrong.

use super::*;
use crate::config::{Compression, files, source_options};

const KNOWN: [&str; 5] =
    ["projects", "persons", "events", "event_definitions", "property_definitions"];

const ALL: &str = "projects persons events cohorts feature_flags insights annotations actions \
                   session_recordings event_definitions property_definitions";

/// What must run as it stands.
const ISSUE: &str = "\
source: POSTHOG
target: MY_POSTGRES        # here: any configured target
defaults: { mode: full-refresh, object: posthog.{stream_name} }
streams: { projects: , persons: , events: { mode: incremental }, cohorts: , feature_flags: , insights: , annotations: { mode: incremental }, actions: , session_recordings: { mode: incremental }, event_definitions: , property_definitions: }
";

fn written(source: &str) -> Written {
    Written { file: "r.yaml".into(), text: source.to_owned() }
}

fn now() -> Timestamp {
    Timestamp::parse("2026-03-04T05:06:07Z").unwrap()
}

fn parse_all(source: &str) -> Replication {
    let known: Vec<String> = ALL.split(' ').map(str::to_owned).collect();
    Replication::parse(&written(source), &known, &Environment::new(), now()).unwrap()
}

pub(super) fn parse(source: &str) -> Result<Replication, ConfigError> {
    let known: Vec<String> = KNOWN.map(str::to_owned).into();
    let environment = [("DB".to_owned(), "sqlite://x.db".to_owned())].into();
    Replication::parse(&written(source), &known, &environment, now())
}

/// The complaints alone, without the lines they quote.
fn refused(source: &str) -> String {
    let error = parse(source).unwrap_err();
    let lines = error.complaints.iter().map(|complaint| match complaint.at {
        Some(at) => format!("{}:{}: {complaint}", at.line, at.col),
        None => complaint.to_string(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn streams(streams: &str) -> Vec<StreamConfig> {
    parse(&format!("source: S\ntarget: T\nstreams: {streams}\n")).unwrap().streams
}

#[test]
fn the_replication_of_the_issue_runs_as_it_stands() {
    let replication = parse_all(ISSUE);

    assert_eq!(replication.source, "POSTHOG");
    assert_eq!(replication.target, "MY_POSTGRES");
    let told: Vec<_> = replication.streams.iter().map(|s| (&s.name, &s.object, s.mode)).collect();
    let expected: Vec<_> = ALL.split(' ').map(|name| (name, format!("posthog.{name}"))).collect();
    assert_eq!(told.len(), 11);
    for ((name, object, mode), (known, expected)) in told.into_iter().zip(&expected) {
        let incremental = ["events", "annotations", "session_recordings"];
        assert_eq!((name.as_str(), object), (*known, expected));
        assert_eq!(mode == Mode::Incremental, incremental.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn the_example_is_the_same_replication_into_sqlite() {
    let example = parse_all(include_str!("../../../replication.example.yaml"));

    assert_eq!(
        (example.source.as_str(), example.target.as_str()),
        ("POSTHOG", "sqlite://posthog.db")
    );
    let told = |s: &StreamConfig| format!("{} {} {}", s.name, s.mode, s.object);
    let of_issue = parse_all(ISSUE);
    let [ours, issues] =
        [example, of_issue].map(|r| r.streams.iter().map(told).collect::<Vec<_>>());
    assert_eq!(ours, issues);
}

#[test]
fn a_stream_says_what_the_defaults_do_not() {
    let source = "source: S\ntarget: ${DB}\n\
        defaults: { mode: incremental, object: a.{stream_name}, lookback: 3d, select: 'x, -y' }\n\
        streams:\n  events: { mode: backfill, select: [z], primary_key: id, lookback: }\n  persons:\n\
                \x20   primary_key: [a, b]\n    update_key: c\n    object: '{source_name}/{target_name}'\n";

    let replication = parse(source).unwrap();

    assert_eq!(replication.target, "sqlite://x.db");
    let three_days = Some(Duration::from_secs(3 * 86_400));
    let events = StreamConfig {
        name: "events".into(),
        at: At { line: 5, col: 3 },
        mode: Mode::Backfill,
        object: "a.events".into(),
        by_date: false,
        tags: Vec::new(),
        range: None,
        page_size: None,
        sql: None,
        file_most: (None, None),
        adds_columns: true,
        casing: Casing::Source,
        pre_sql: None,
        post_sql: None,
        limit: None,
        filter: None,
        transforms: Vec::new(),
        read: ReadBy::Auto,
        format: None,
        select: vec!["z".into()],
        primary_key: Some(vec!["id".into()]),
        update_key: None,
        lookback: three_days,
        delete_missing: None,
        columns: Vec::new(),
        flatten: None,
    };
    let persons = StreamConfig {
        name: "persons".into(),
        at: At { line: 6, col: 3 },
        mode: Mode::Incremental,
        object: "S/sqlite://x.db".into(),
        select: vec!["x".into(), "-y".into()],
        primary_key: Some(vec!["a".into(), "b".into()]),
        update_key: Some("c".into()),
        ..events.clone()
    };
    assert_eq!(replication.streams, [events, persons]);
}

#[test]
fn a_stream_says_what_becomes_of_rows_that_are_gone() {
    let source = "source: S\ntarget: T\ndefaults: { delete_missing: soft }\n\
        streams: { events: , persons: { delete_missing: hard } }\n";
    let told: Vec<_> =
        parse(source).unwrap().streams.iter().map(|stream| stream.delete_missing).collect();
    assert_eq!(told, [Some(DeleteMissing::Soft), Some(DeleteMissing::Hard)]);

    let wrong = "source: S\ntarget: T\nstreams: { events: { delete_missing: sofd } }\n";
    assert_eq!(
        refused(wrong),
        "3:38: streams.events.delete_missing: unknown choice \"sofd\", did you mean \"soft\"?"
    );
}

#[test]
fn a_stream_says_how_its_files_are_written() {
    let told = |options: &str, events: &str| {
        let source = format!(
            "source: S\ntarget: T\ndefaults: {{ target_options: {options} }}\n\
             streams: {{ events: {events} }}\n"
        );
        parse(&source).unwrap().streams[0].format
    };
    for (options, events, format) in [
        ("", "", None),
        ("{ format: csv, compression: gzip }", "", Some(FileFormat::Csv(Compression::Gzip))),
        (
            "{ compression: gzip }",
            "{ target_options: { compression: zstd } }",
            Some(FileFormat::Jsonl(Compression::Zstd)),
        ),
        (
            "{ format: csv, compression: zstd }",
            "{ target_options: { format: parquet } }",
            Some(FileFormat::Parquet),
        ),
    ] {
        assert_eq!(told(options, events), format, "{options} {events}");
    }

    let wrong = "source: S\ntarget: T\ndefaults: { target_options: { formt: csv, header: no } }\n\
        streams:\n  events: { target_options: { format: parquet, compression: gzip } }\n  \
        persons: { target_options: { format: avro } }\n";
    assert_eq!(
        refused(wrong),
        "3:31: defaults.target_options: unknown key \"formt\", did you mean \"format\"?\n\
         3:43: defaults.target_options: Sling's \"header\" is not supported by hogline yet\n\
         5:29: streams.events.target_options: Parquet files are always packed inside, with \
         zstd: leave compression out, or say zstd\n\
         6:40: streams.persons.target_options.format: unknown format \"avro\", known: jsonl, \
         csv, parquet, jsonlines"
    );
}

#[test]
fn an_object_may_be_divided_by_date() {
    let streams = streams(
        "{ events: { object: posthog.events/{part_date} }, persons: { object: posthog.persons } }",
    );
    let told: Vec<_> =
        streams.iter().map(|stream| (stream.object.as_str(), stream.by_date)).collect();
    assert_eq!(told, [("posthog.events", true), ("posthog.persons", false)]);

    let comes_last = "{part_date} comes last, as in posthog.events/{part_date}";
    for object in ["{part_date}/events", "events.{part_date}", "x/{part_date}/{part_date}"] {
        let source =
            format!("source: S\ntarget: T\nstreams: {{ events: {{ object: '{object}' }} }}\n");
        assert_eq!(refused(&source), format!("3:30: streams.events.object: {comes_last}"));
    }
}

#[test]
fn wildcards_mean_what_no_other_entry_names() {
    let names = |text: &str| -> Vec<String> {
        let told = |s: StreamConfig| format!("{} {}", s.name, s.mode);
        streams(text).into_iter().map(told).collect()
    };

    assert_eq!(
        names("{ '*_definitions': { mode: truncate }, events: , '*': { mode: incremental } }"),
        [
            "event_definitions truncate",
            "property_definitions truncate",
            "events full-refresh",
            "projects incremental",
            "persons incremental"
        ]
    );
    assert_eq!(names("{ '*': , events: { disabled: true }, 'p*': { disabled: true } }").len(), 4);
    assert_eq!(
        names("{ 'p*': { disabled: true }, '*': , events: { disabled: true } }"),
        ["event_definitions full-refresh"]
    );
    assert_eq!(names("{ 'e*t*': }"), ["events full-refresh", "event_definitions full-refresh"]);
}

#[test]
fn everything_wrong_is_told_at_once() {
    let source = "\
sorce: S
target: T
hooks: {}
defaults: { mode: incrementl, partition_by: {} }
streams:
  evnts:
  persons: { mod: truncate, object: {stream_name}, lookback: 3 }
  projects: { disabled: maybe, select: [a, ''] }
  'x*':
";

    assert_eq!(
        refused(source),
        "1:1: missing key \"source\"\n\
         1:1: unknown key \"sorce\", did you mean \"source\"?\n\
         4:19: defaults.mode: unknown mode \"incrementl\", did you mean \"incremental\"?\n\
         4:31: defaults: Sling's \"partition_by\" is not supported by hogline yet\n\
         6:3: streams: unknown stream \"evnts\", did you mean \"events\"?\n\
         7:14: streams.persons: unknown key \"mod\", did you mean \"mode\"?\n\
         7:37: streams.persons.object: expected text, found a map; \
         braces at the start need quotes: \"{stream_name}\"\n\
         7:62: streams.persons.lookback: \
         expected a duration like 30s, 10m, 2h or 3d, found \"3\"\n\
         8:25: streams.projects.disabled: expected true or false, found \"maybe\"\n\
         8:40: streams.projects.select: an empty name\n\
         9:3: streams: no stream matches \"x*\""
    );
}

#[test]
fn each_complaint_has_its_words() {
    for (source, expected) in [
        (
            "",
            "1:1: missing key \"source\"\n1:1: missing key \"target\"\n1:1: missing key \"streams\"",
        ),
        ("[]", "1:1: expected a map of keys and values, found a list"),
        ("{ source: '', target: T, streams: { events: } }", "1:11: source: must not be empty"),
        ("{ source: S, target: T, streams: {} }", "1:34: streams: names no stream"),
        (
            "{ source: S, target: T, streams: [events] }",
            "1:34: streams: expected a map with a key for each stream, found a list",
        ),
        (
            "{ source: ${GONE}, target: T, streams: { events: } }",
            "1:11: source: environment variable GONE is not set",
        ),
        (
            "{ source: S, target: T, defaults: { object: a.{stream} }, streams: { '*': } }",
            "1:45: defaults.object: unknown variable \"{stream}\", \
             known: stream_name, \
                 stream_table, source_name, target_name, part_date, project_id, run_timestamp, YYYY, YY, MM, DD, HH",
        ),
        (
            "{ source: S, target: T, streams: { events: { object: t }, persons: { object: t } } }",
            "1:59: streams.persons.object: \"t\" is already the object of streams.events",
        ),
        (
            "{ source: S, target: T, streams: { events: , events: } }",
            "1:46: key \"events\" is given twice, first in line 1",
        ),
    ] {
        assert_eq!(refused(source), expected, "{source}");
    }
}

#[test]
fn an_error_shows_the_file_and_the_line() {
    let source = "source: S\ntarget: T\nstreams:\n  events:\n    mod: incremental\n";

    assert_eq!(
        parse(source).unwrap_err().to_string(),
        "r.yaml:5:5: streams.events: unknown key \"mod\", did you mean \"mode\"?\n  \
         5 |     mod: incremental\n    |     ^"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Written::read(Path::new("/no/r.yaml"));

    let told = error.unwrap_err().to_string();
    assert_eq!(told, "/no/r.yaml: cannot be read: No such file or directory (os error 2)");
}

#[test]
fn the_source_is_known_before_the_registry() {
    let environment = [("DB".to_owned(), "POSTHOG".to_owned())].into();

    for text in ["source: ${DB}\nstreams: wrong\n", "env: { X: \"${DB}\" }\nsource: ${X}\n"] {
        let source = Replication::source_of(&written(text), &environment);

        assert_eq!(source, Ok(Some("POSTHOG".to_owned())));
    }
}

#[test]
fn what_is_said_of_source_and_target_is_the_streams() {
    let streams = streams(
        "{ events: { mode: backfill, description: x, tags: [big, daily], source_options: { range: \"2026-01-01,2026-02-01\", \
         page_size: 500, read: rest, lookback: 2d, flatten: true }, target_options: { table_keys: { primary: [uuid] }, \
         delete_missing: soft } } }",
    );

    let events = &streams[0];
    assert_eq!(events.range, Interval::parse("2026-01-01,2026-02-01"));
    assert_eq!((events.page_size, events.read), (Some(500), ReadBy::Rest));
    assert_eq!(events.lookback, Some(Duration::from_secs(2 * 86_400)));
    assert!(events.flatten.is_some());
    assert_eq!(events.tags, ["big", "daily"]);
    assert_eq!(events.primary_key, Some(vec!["uuid".to_owned()]));
    assert_eq!(events.delete_missing, Some(DeleteMissing::Soft));
}

#[test]
fn objects_may_hold_times_and_variables_of_the_file() {
    let object = |text: &str| {
        let yaml = format!(
            "env: {{ SCHEMA: lake, COPY: \"${{DB}}\" }}\nsource: S\ntarget: ${{COPY}}\nstreams: {{ events: {{ object: \"{text}\" }} }}\n"
        );
        let replication = parse(&yaml).unwrap();
        assert_eq!(replication.target, "sqlite://x.db");
        replication.streams[0].object.clone()
    };

    assert_eq!(
        object("{SCHEMA}.{stream_table}_{YYYY}_{MM}_{DD}_{HH}"),
        "lake.events_2026_03_04_05"
    );
    assert_eq!(object("a.{run_timestamp}_{YY}"), "a.2026_03_04_050607_26");
}

#[test]
fn what_is_wrong_with_options_is_told_where_it_stands() {
    for (stream, told) in [
        (
            "{ source_options: { range: yesterday } }",
            "range: expected two times, the earlier first",
        ),
        ("{ source_options: { page_size: 0 } }", "page_size: expected a number from 1 to 50000"),
        (
            "{ source_options: { read: graphql } }",
            "unknown way of reading \"graphql\", known: auto, sql, rest",
        ),
        ("{ source_options: { offset: 5 } }", "Sling's \"offset\" is not supported by hogline yet"),
        (
            "{ source_options: { pagesize: 5 } }",
            "unknown key \"pagesize\", did you mean \"page_size\"?",
        ),
        (
            "{ lookback: 1d, source_options: { lookback: 2d } }",
            "lookback: is also said in source_options",
        ),
        (
            "{ target_options: { table_keys: { unique: [a] } } }",
            "Sling's \"unique\" is not supported",
        ),
        ("{ tags: { a: b } }", "tags"),
        ("{ sql: SELECT 1 }", "events is a stream of PostHog's: give the query another name"),
    ] {
        let refused = refused(&format!("source: S\ntarget: T\nstreams: {{ events: {stream} }}\n"));
        assert!(refused.contains(told), "{told} in {refused}");
    }
    let refused = refused("env: [a]\nsource: S\ntarget: T\nstreams: { events: }\n");
    assert!(refused.contains("env: expected a map of names and texts"), "{refused}");
}

#[test]
fn a_query_is_of_one_stream() {
    let file = "source: S\ntarget: T\ndefaults: { sql: SELECT 1 }\n\
        streams: { 'p*': { sql: SELECT 2 } }\n";

    assert_eq!(
        refused(file),
        "3:18: defaults.sql: a query is one stream's: write it under streams\n\
         4:25: streams.p*.sql: a query needs a name of its own, without a *"
    );
}

/// The rows of the page for those who come from Sling: where a key stands, an example, and
/// what is said of it.
pub(super) fn of_the_page() -> Vec<(String, String, String)> {
    let page = include_str!("../../../docs/from-sling.md");
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').splitn(3, " | ").map(str::trim).collect();
        let [place, example, told] = cells.as_slice() else { return None };
        let example = example.strip_prefix('`')?.strip_suffix('`')?;
        // The page's other table tells of variables.
        if place.starts_with('`') {
            return None;
        }
        Some(((*place).to_owned(), example.to_owned(), (*told).to_owned()))
    };
    page.lines().filter_map(row).collect()
}

#[test]
fn the_page_for_slings_users_says_what_the_program_does() {
    let rows = of_the_page();
    assert!(rows.len() > 60, "{} rows", rows.len());
    for (place, example, told) in &rows {
        let (root, stream) = match place.as_str() {
            "root" => (format!("{example}\n"), String::new()),
            "stream" => (String::new(), example.clone()),
            options => (String::new(), format!("{options}: {{ {example} }}")),
        };
        let name = if example.starts_with("sql:") { "query" } else { "events" };
        let file = format!("{root}source: S\ntarget: T\nstreams: {{ {name}: {{ {stream} }} }}\n");
        let parsed = parse(&file).map(drop).map_err(|error| error.to_string());
        match told.split([':', ' ']).next() {
            Some("yes") => assert_eq!(parsed, Ok(()), "{file}"),
            Some("no") => {
                let refused = parsed.expect_err(&file);
                assert!(refused.contains("is not supported by hogline yet"), "{refused}");
            }
            _ => panic!("{place}: {example} says neither yes nor no"),
        }
    }
    let has = |place: &str, key: &str| {
        rows.iter().any(|(at, example, _)| at == place && example.starts_with(&format!("{key}:")))
    };
    let refused = SLING_STREAM.iter().map(|key| ("stream", *key));
    let refused = refused.chain(source_options::SLINGS.iter().map(|key| ("source_options", *key)));
    let refused = refused.chain(files::SLING_OPTIONS.iter().map(|key| ("target_options", *key)));
    for (place, key) in refused {
        assert!(has(place, key), "{place}: {key} is not on the page");
    }
}
