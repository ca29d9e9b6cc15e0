//! Columns that come, widen, are declared, and are taken out of JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::support::{Answer, Asked, DAY, MINUTE, Mangle, PostHog, Project, Proxy};

/// What is taken out of an event's properties.
const TAKEN_OUT: &str = "events: { columns: { browser: { from: properties.$browser, type: text }, \
    version: { from: [properties, $browser_version], type: integer }, \
    qty: { from: properties.cart.items.0.qty, type: bigint }, \
    cart: { from: properties.cart }, \
    price: { from: properties.price, type: decimal }, \
    quoted: { from: [properties, 'a \"quoted\" key'], type: string } } }";

/// The columns that `flatten` and new fields gave a stream, with what leads to their values.
fn columns_of(project: &Project, stream: &str) -> BTreeMap<String, Vec<String>> {
    let changes = changes_of(project, stream);
    let path = |change: &Value| serde_json::from_value(change["path"].clone()).unwrap();
    changes.iter().map(|c| (c["column"].as_str().unwrap().to_owned(), path(c))).collect()
}

/// The schema log of a stream.
fn changes_of(project: &Project, stream: &str) -> Vec<Value> {
    let told =
        project.hogline(&["state", "schema", "--stream", stream, "--format", "json"]).succeeds();
    let log: Value =
        serde_json::from_str(&told.stdout).unwrap_or_else(|err| panic!("{err}: {told}"));
    log["changes"].as_array().unwrap().clone()
}

/// A column's changes as `before → after (why)`.
fn story_of(project: &Project, stream: &str, column: &str) -> Vec<String> {
    let changes = changes_of(project, stream);
    let of_column = changes.iter().filter(|change| change["column"] == column);
    of_column
        .map(|change| {
            let text = |key: &str| change[key].as_str().unwrap_or("nothing").to_owned();
            format!("{} to {}: {}", text("before"), text("after"), text("why"))
        })
        .collect()
}

/// Every row's column holds what stands at its place in the row's JSON column.
#[track_caller]
fn holds_what_is_inside(project: &Project, stream: &str, column: &str, path: &[String]) -> usize {
    let (of, keys) = path.split_first().unwrap();
    let column = column.replace('"', "\"\"");
    let sql = format!("SELECT json_array(json({of}), \"{column}\") FROM posthog_{stream}");
    let mut filled = 0;
    for row in project.copy().lines(&sql) {
        let row: Value = serde_json::from_str(&row).unwrap();
        let inside = keys.iter().try_fold(&row[0], |at, key| match at {
            Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            at => at.get(key),
        });
        let inside = inside.filter(|value| !value.is_null());
        filled += usize::from(inside.is_some());
        assert!(is_same(inside, &row[1]), "{column}: {inside:?} is {} in {row}", row[1]);
    }
    filled
}

/// Whether a cell of SQLite's is what JSON says.
fn is_same(json: Option<&Value>, cell: &Value) -> bool {
    match json {
        None => cell.is_null(),
        Some(Value::Bool(yes)) => *cell == i64::from(*yes),
        Some(nested @ (Value::Array(_) | Value::Object(_))) => cell
            .as_str()
            .is_some_and(|text| serde_json::from_str::<Value>(text).unwrap() == *nested),
        Some(Value::Number(number)) if !cell.is_string() => number.as_f64() == cell.as_f64(),
        Some(other) => other.as_str().map_or(other.to_string(), str::to_owned) == *cell,
    }
}

fn is_list_of_cohorts(asked: &Asked) -> bool {
    asked.line.contains("/cohorts/")
}

fn is_about_events(asked: &Asked) -> bool {
    asked.body.contains("FROM events")
}

/// An answer in which one text stands for another.
fn replacing(what: &'static str, by: &'static str) -> Mangle {
    Arc::new(move |_, answer: Answer| {
        let body = String::from_utf8(answer.body.clone()).unwrap();
        answer.saying(body.replace(what, by)).sent()
    })
}

#[test]
fn values_are_taken_out_of_json_in_sql_and_in_lists() {
    for posthog in [PostHog::start(), PostHog::without_sql()] {
        let project = Project::incremental(&posthog, &[TAKEN_OUT]);

        project.run().succeeds();

        let path = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        for (column, keys) in [
            ("browser", path(&["properties", "$browser"])),
            ("version", path(&["properties", "$browser_version"])),
            ("qty", path(&["properties", "cart", "items", "0", "qty"])),
            ("cart", path(&["properties", "cart"])),
            ("price", path(&["properties", "price"])),
            ("quoted", path(&["properties", "a \"quoted\" key"])),
        ] {
            assert!(holds_what_is_inside(&project, "events", column, &keys) > 100, "{column}");
        }
        assert_eq!(story_of(&project, "events", "price"), ["nothing to numeric: declared"]);
        let types = "SELECT group_concat(type) FROM pragma_table_info('posthog_events')
                     WHERE name IN ('version', 'price', 'browser')";
        assert_eq!(project.copy().tells::<String>(types), "TEXT,INTEGER,NUMERIC");
        project.verifies(&[]).succeeds();
    }
}

#[test]
fn every_property_becomes_a_column_where_that_is_wanted() {
    for has_sql in [true, false] {
        let posthog = PostHog::playing(|options| {
            (options.events, options.persons, options.sql) = (400, 60, has_sql);
        });
        let streams = ["events: { flatten: true }", "persons: { flatten: true }"];
        let project = Project::incremental(&posthog, &streams);
        project.run().succeeds();
        let found = ["events", "persons"].map(|stream| columns_of(&project, stream));
        for (stream, columns) in ["events", "persons"].iter().zip(&found) {
            assert!(columns.len() > 3, "{columns:?}");
            for (column, path) in columns {
                holds_what_is_inside(&project, stream, column, path);
            }
        }
        let names: BTreeSet<&str> = found[0].keys().map(String::as_str).collect();
        for name in ["properties__$browser", "properties__big", "properties__ключ"] {
            assert!(names.contains(name), "{name} in {names:?}");
        }
        posthog.later(MINUTE);
        posthog.receives_events(40, MINUTE / 60);

        let ran = project.run().succeeds();

        assert_eq!(ran.rows_of("events")[0], 40);
        assert_eq!(["events", "persons"].map(|stream| columns_of(&project, stream)), found);
        for (column, path) in &found[0] {
            holds_what_is_inside(&project, "events", column, path);
        }
        project.verifies(&["--sample", "all"]).succeeds();
    }
}

#[test]
fn keys_are_spelt_in_small_letters_where_that_is_wanted() {
    let posthog = PostHog::start();
    let events = "events: { flatten: true, target_options: { column_casing: snake } }";
    let project = Project::incremental(&posthog, &[events]);
    project.run().succeeds();
    let found = columns_of(&project, "events");

    posthog.later(MINUTE);
    posthog.receives_events(9, MINUTE / 60);
    project.run().succeeds();

    assert!(found.contains_key("properties___browser"), "{found:?}");
    assert_eq!(columns_of(&project, "events"), found);
    for (column, path) in &found {
        assert_eq!(column.to_lowercase(), *column);
        holds_what_is_inside(&project, "events", column, path);
    }
    project.verifies(&["--sample", "all"]).succeeds();
}

#[test]
fn lines_have_the_columns_too() {
    let posthog = PostHog::start();
    let streams = ["events: { flatten: true, columns: { plan: { from: properties.$set.plan } } }"];
    let project = Project::incremental(&posthog, &streams).into_files();

    project.run().succeeds();

    let lines = project.lines_of("events");
    let says = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert!(says(r#""properties__$browser": String("Chrome")"#) == lines.len(), "{lines:?}");
    assert!(says(r#""plan": String("team")"#) > 50);
    project.verifies(&["--sample", "all"]).succeeds();
    posthog.later(MINUTE);
    posthog.receives_events(9, MINUTE / 60);
    project.run().succeeds();
    project.verifies(&["--sample", "all"]).succeeds();
}

#[test]
fn keys_beyond_the_limit_stay_where_they_are_and_are_counted() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["events: { flatten: { limit: 5 } }"]);

    let ran = project.run().succeeds().says("of events beyond the limit stay in their JSON column");

    let beyond = ran.told_of("events")["keys_beyond"].as_u64().unwrap();
    assert!(beyond > 20, "{beyond}");
    let columns = columns_of(&project, "events");
    assert_eq!(columns.len(), 5);
    posthog.later(MINUTE);
    posthog.receives_events(40, MINUTE / 60);
    project.run().succeeds();
    assert_eq!(columns_of(&project, "events"), columns);
    for (column, path) in &columns {
        holds_what_is_inside(&project, "events", column, path);
    }
}

#[test]
fn a_full_refresh_fills_columns_that_were_asked_for_later() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["events"]);
    project.run().succeeds();
    posthog.later(MINUTE);
    posthog.receives_events(40, MINUTE / 60);
    project.now_replicates("incremental", &["events: { flatten: true }"]);
    project.run().succeeds();
    let filled = "SELECT count(\"properties__$browser\") FROM posthog_events";
    let later: i64 = project.copy().tells(filled);
    assert!((40..400).contains(&later), "{later}");
    project.verifies(&["--sample", "all"]).succeeds();

    project.run_with(&["--mode", "full-refresh"]).succeeds();

    assert_eq!(project.copy().tells::<i64>(filled), project.copy().count("events"));
    for (column, path) in columns_of(&project, "events") {
        holds_what_is_inside(&project, "events", &column, &path);
    }
}

#[test]
fn a_new_field_becomes_a_column_of_the_declared_type_and_is_logged() {
    let posthog = PostHog::start();
    let proxy = Proxy::before(&posthog);
    let cohorts = "cohorts: { columns: { shoe_size: numeric } }";
    let project = Project::incremental(&posthog, &[cohorts]).through(&proxy);
    project.run().succeeds();
    assert!(!columns_of(&project, "cohorts").contains_key("shoe_size"));
    let fields = r#"[{"shoe_size":42.50,"Mood":"good","mood":{"is":"better"},"#;
    proxy.strikes_on(is_list_of_cohorts, 0, &replacing("[{", fields));

    for _ in 0..2 {
        project.run().succeeds();

        let told = "SELECT DISTINCT shoe_size || ' ' || Mood || ' ' || mood_2 FROM posthog_cohorts
                    WHERE shoe_size IS NOT NULL";
        assert_eq!(project.copy().lines(told), [r#"42.5 "good" {"is":"better"}"#]);
        assert_eq!(story_of(&project, "cohorts", "shoe_size"), ["nothing to numeric: declared"]);
        assert_eq!(story_of(&project, "cohorts", "mood_2"), ["nothing to json: new-field"]);
    }
    // Whichever comes first, each keeps its own column.
    let other = r#"[{"shoe_size":42.50,"mood":{"is":"better"},"Mood":"good","#;
    proxy.relents();
    proxy.strikes_on(is_list_of_cohorts, 0, &replacing("[{", other));
    project.run().succeeds();
    assert_eq!(columns_of(&project, "cohorts")["mood_2"], ["mood"]);
    let told = "SELECT count(*) FROM posthog_cohorts WHERE mood_2 = '{\"is\":\"better\"}'";
    assert!(project.copy().tells::<i64>(told) > 0);
    project.hogline(&["state", "schema"]).succeeds().says("new field").says("shoe_size");
}

#[test]
fn fields_that_nobody_declared_may_be_left_out() {
    let posthog = PostHog::start();
    let proxy = Proxy::before(&posthog);
    let cohorts = "cohorts: { target_options: { add_new_columns: false } }";
    let project = Project::full_refresh(&posthog, &[cohorts]).through(&proxy);
    proxy.strikes_on(
        is_list_of_cohorts,
        0,
        &replacing(r#""is_static":"#, r#""mood":"good","is_static":"#),
    );

    project.run().succeeds();

    assert!(columns_of(&project, "cohorts").is_empty());
    let count = "SELECT count(*) FROM posthog_cohorts WHERE is_static IS NOT NULL";
    assert_eq!(project.copy().tells::<i64>(count), posthog.count("cohorts"));
}

#[test]
fn a_type_only_widens_and_the_log_says_when() {
    let posthog = PostHog::start();
    let proxy = Proxy::before(&posthog);
    let project = Project::incremental(&posthog, &["events: { flatten: true }"]).through(&proxy);
    project.run().succeeds();
    assert_eq!(
        story_of(&project, "events", "properties__edition"),
        ["nothing to bigint: new-field"]
    );
    let mut story = vec!["nothing to bigint: new-field".to_owned()];
    for (value, change) in [
        (r#"\"edition\":1.5"#, Some("bigint to numeric: widened")),
        (r#"\"edition\":2"#, None),
        (r#"\"edition\":\"third\""#, Some("numeric to text: widened")),
        (r#"\"edition\":4"#, None),
    ] {
        // What arrived within the hour would come again.
        posthog.later(DAY);
        posthog.receives_events(10, MINUTE / 60);
        proxy.relents();
        proxy.strikes_on(is_about_events, 0, &replacing(r#"\"edition\":0"#, value));

        project.run().succeeds();

        story.extend(change.map(str::to_owned));
        assert_eq!(story_of(&project, "events", "properties__edition"), story);
    }
    let path = ["properties", "edition"].map(str::to_owned);
    holds_what_is_inside(&project, "events", "properties__edition", &path);
    let told = "SELECT group_concat(DISTINCT properties__edition) FROM posthog_events
                WHERE properties__edition IS NOT 0";
    let found = project.copy().tells::<String>(told);
    for value in ["1.5", "2", "third", "4"] {
        assert!(found.split(',').any(|found| found == value), "{value} in {found}");
    }
}

#[test]
fn what_a_stream_cannot_give_is_refused_with_its_place() {
    let posthog = PostHog::start();
    for (stream, told) in [
        ("events: { columns: { plan: txt } }", "unknown type \"txt\", did you mean \"text\"?"),
        ("events: { columns: { evnt: text } }", "has no column \"evnt\", did you mean \"event\"?"),
        ("events: { columns: { timestamp: text } }", "\"timestamp\" stays timestamp"),
        ("events: { columns: { x: { from: propertes.a } } }", "did you mean \"properties\"?"),
        ("events: { columns: { event: { from: properties.a } } }", "a column \"event\" already"),
        (
            "persons: { columns: { x: { from: distinct_ids.0 } } }",
            "is no column of JSON that is read",
        ),
        ("cohorts: { flatten: true }", "has no properties to flatten; events and persons have"),
        ("events: { flatten: true, select: -properties }", "leaves out \"properties\""),
        ("events: { columns: { x: { form: properties.a } } }", "did you mean \"from\"?"),
    ] {
        let project = Project::incremental(&posthog, &[stream]);
        project.run().exits(2).says("replication.yaml:").says(told);
    }
    assert!(posthog.log().is_empty(), "PostHog was asked");
}

#[test]
fn what_is_known_of_columns_moves_with_the_state() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["persons: { flatten: true }"]);
    project.run().succeeds();
    let columns = columns_of(&project, "persons");
    let exported = project.hogline(&["state", "export"]).succeeds().stdout;
    std::fs::remove_dir_all(project.path("state")).unwrap();
    project.writes("state.json", &exported);

    project.hogline(&["state", "import", "state.json"]).succeeds();

    assert_eq!(columns_of(&project, "persons"), columns);
    project.run().succeeds();
    assert_eq!(columns_of(&project, "persons"), columns);
}
