//! The state can be seen and moved, and the target follows.

use std::fs;

use hogline::sandbox::{Fault, FaultKind};
use serde_json::Value;

use crate::support::{DAY, PATIENCE, PostHog, Project};

/// A replication of these streams that has run once.
fn that_ran(posthog: &PostHog, streams: &[&str]) -> Project {
    let project = Project::incremental(posthog, streams);
    project.run().succeeds();
    posthog.clear_log();
    project
}

/// What `state show` tells of a stream, as JSON.
fn shown(project: &Project, stream: &str) -> Value {
    let json = ["state", "show", "--stream", stream, "--format", "json"];
    serde_json::from_str(&project.hogline(&json).succeeds().stdout).unwrap()
}

/// Events whose time lies at or after `from`.
fn events_since(posthog: &PostHog, from: &str) -> usize {
    let is_since = |record: &&Value| record["timestamp"].as_str().unwrap() >= from;
    posthog.truth("events").iter().filter(is_since).count()
}

#[test]
fn a_stream_that_was_rewound_is_read_again_from_there() {
    let posthog = PostHog::start();
    let project = that_ran(&posthog, &["events"]);
    project.changes_database(
        "UPDATE posthog_events SET elements_chain = 'spoilt' WHERE timestamp >= '2026-02-20'",
    );

    let rewind = ["state", "rewind", "--stream", "events", "--to", "2026-02-20"];
    project.hogline(&rewind).succeeds().says("the next run reads on from 2026-02-20");
    project.hogline(&["state", "list"]).succeeds().says("rewound to 2026-02-20");
    let ran = project.run().succeeds();

    project.holds_exactly(&posthog, "events");
    // The look-back of three days is asked for what arrived since, and so are all days.
    let seen: u64 = ran.rows_of("events")[..3].iter().sum();
    let gap = u64::try_from(events_since(&posthog, "2026-02-20")).unwrap();
    assert!(seen >= gap && seen < gap + gap / 4, "{seen} rows for a gap of {gap}");
    assert_eq!(shown(&project, "events")["edits"], serde_json::json!([]));
    project.run().succeeds();
    project.holds_exactly(&posthog, "events");
}

#[test]
fn a_run_that_breaks_off_after_a_rewind_loses_neither_the_rewind_nor_its_work() {
    let posthog = PostHog::playing(|options| options.sql_cap = 100);
    for n in [1, 2, 3, 4, 6] {
        let project = that_ran(&posthog, &["events"]);
        project.changes_database(
            "UPDATE posthog_events SET elements_chain = 'spoilt' WHERE timestamp >= '2026-02-20'",
        );
        project
            .hogline(&["state", "rewind", "--stream", "events", "--to", "2026-02-20"])
            .succeeds();
        posthog.fault(Fault::on("", FaultKind::Slow(60 * PATIENCE)).nth(&[n]));
        let running = project.starts();
        posthog.until("the run hangs", |sandbox| sandbox.log().len() >= n);
        running.dies();
        posthog.clear_faults();

        project.run().succeeds();

        project.holds_exactly(&posthog, "events");
        posthog.clear_log();
    }
}

#[test]
fn a_list_that_was_rewound_is_asked_for_older_changes() {
    let posthog = PostHog::start();
    let project = that_ran(&posthog, &["insights"]);

    let rewind = ["state", "rewind", "--stream", "insights", "--to", "2026-02-01"];
    project.hogline(&rewind).succeeds();
    project.run().succeeds();

    assert!(!posthog.asked_about("date_from=2026-01-31").is_empty(), "{:#?}", posthog.log());
    project.holds_exactly(&posthog, "insights");
}

#[test]
fn a_table_that_was_loaded_elsewhere_is_not_loaded_again() {
    let posthog = PostHog::start();
    let project = that_ran(&posthog, &["events"]);
    project.changes_database("DELETE FROM posthog_events WHERE timestamp >= '2026-03-08'");
    project.changes_database("DROP TABLE _hogline_checkpoints");
    project.run().exits(9);

    project.hogline(&["state", "reset", "--stream", "events"]).succeeds();
    let set = ["state", "set", "--stream", "events", "--complete-to", "2026-03-08"];
    project.hogline(&set).exits(2).says("--from");
    let from = ["--from", "2026-01-01"];
    project.hogline(&[&set[..], &from].concat()).succeeds().says("nothing proves");
    let ran = project.run().succeeds();

    project.holds_exactly(&posthog, "events");
    let [new, updated, unchanged, _] = ran.rows_of("events");
    assert_eq!(new, u64::try_from(events_since(&posthog, "2026-03-08")).unwrap());
    assert!(updated + unchanged < 400, "{updated} updated, {unchanged} unchanged: loaded again");
}

#[test]
fn an_anchor_moved_back_adds_to_what_is_covered() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["events"]).with_input("anchor_date: 2026-02-10");
    project.run().succeeds();
    let covered = |project: &Project| shown(project, "events")["position"]["covered"].clone();
    assert_eq!(covered(&project)[0]["from"], "2026-02-10T00:00:00.000000Z");

    let project = project.with_input("anchor_date: 2026-01-20");
    project.run().succeeds();

    assert_eq!(covered(&project)[0]["from"], "2026-01-20T00:00:00.000000Z");
    assert_eq!(covered(&project).as_array().unwrap().len(), 1);
}

#[test]
fn what_is_shown_is_for_people_unless_json_is_asked_for() {
    let posthog = PostHog::start();
    let project = that_ran(&posthog, &["events", "cohorts"]);

    let told = project.hogline(&["state", "show", "--stream", "events"]).succeeds();
    for part in [
        "complete to   2026-03-10T12:00",
        "covered       2026-01-01T00:00:00",
        "#posthog_events",
        "audited to",
    ] {
        assert!(told.stdout.contains(part), "{part}: {told}");
    }
    let listed = project.hogline(&["state", "list", "--format", "json"]).succeeds();
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed[1]["key"]["stream"], "events");
    assert_eq!(listed[1]["position"], project.copy().position("events"));
}

#[test]
fn an_exported_state_is_known_where_it_is_imported() {
    let posthog = PostHog::start();
    let project = that_ran(&posthog, &["events", "cohorts"]);
    let exported = project.hogline(&["state", "export"]).succeeds().stdout;
    project.writes("state.json", &exported);
    fs::remove_dir_all(project.path("state")).unwrap();

    project.hogline(&["state", "import", "state.json"]).succeeds().says("2 streams imported");

    let again = project.hogline(&["state", "export"]).succeeds().stdout;
    let without_time = |text: &str| {
        let mut value: Value = serde_json::from_str(text).unwrap();
        for stream in value["streams"].as_array_mut().unwrap() {
            stream["updated_at"] = Value::Null;
        }
        value
    };
    assert_eq!(without_time(&again), without_time(&exported));
    let ran = project.run().succeeds();
    assert_eq!(ran.rows_of("events")[..2], [0, 0]);
    // It knows what should be there: a target that lost it is found out.
    fs::remove_file(project.path("posthog.db")).unwrap();
    project.run().exits(9);
}

#[test]
fn an_import_is_stored_whole_or_not_at_all() {
    let posthog = PostHog::start();
    let project = that_ran(&posthog, &["events", "cohorts"]);
    let exported = project.hogline(&["state", "export"]).succeeds().stdout;
    posthog.later(DAY);
    project.run().succeeds();
    let before = project.hogline(&["state", "export"]).succeeds().stdout;
    let import = |text: &str, more: &[&str]| {
        project.writes("state.json", text);
        project.hogline(&[&["state", "import", "state.json"], more].concat())
    };

    import(&exported, &[]).exits(2).says("events: here it is at commit").says("--force");
    import(&exported.replace("\"covered\"", "\"cvered\""), &["--force"])
        .exits(2)
        .says("did you mean \"covered\"?");
    import(
        &exported.replace("\"version\": 1,\n  \"streams\"", "\"version\": 9,\n  \"streams\""),
        &["--force"],
    )
    .exits(2)
    .says("version: 9");
    import(&exported[..exported.len() / 2], &["--force"]).exits(2).says("line").says("column");
    assert_eq!(project.hogline(&["state", "export"]).succeeds().stdout, before);

    import(&exported, &["--force"]).succeeds();
    project.run().succeeds();
    project.holds_exactly(&posthog, "events");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let posthog = PostHog::start();
    let project = that_ran(&posthog, &["events", "cohorts", "insights"]);
    let before = project.hogline(&["state", "export"]).succeeds().stdout;
    for (arguments, words) in [
        (&["rewind", "--stream", "evnts", "--to", "2026-02-01"][..], "did you mean `events`?"),
        (&["rewind", "--stream", "events", "--to", "soon"], "`soon` is no time"),
        (&["rewind", "--stream", "events", "--to", "2099-01-01"], "lies in the future"),
        (&["rewind", "--stream", "events", "--to", "2026-03-11"], "complete to 2026-03-10"),
        (&["rewind", "--stream", "events", "--to", "2025-01-01"], "state reset"),
        (&["rewind", "--stream", "cohorts", "--to", "2026-02-01"], "no position in time"),
        (&["set", "--stream", "cohorts", "--complete-to", "2026-02-01"], "no position in time"),
        (&["set", "--stream", "events", "--complete-to", "2099-02-01"], "lies in the future"),
        (
            &["set", "--stream", "events", "--complete-to", "2026-02-01", "--from", "2026-02-02"],
            "holds nothing",
        ),
        (
            &["set", "--stream", "insights", "--complete-to", "2026-03-11", "--from", "2026-02-02"],
            "--from",
        ),
        (&["set", "--stream", "insights", "--complete-to", "2026-02-01"], "state rewind"),
        (&["show", "--stream", "events", "--project", "7"], "--project 12345"),
        (&["import", "nowhere.json"], "nowhere.json"),
    ] {
        project.hogline(&[&["state"], arguments].concat()).exits(2).says(words);
    }
    assert_eq!(project.hogline(&["state", "export"]).succeeds().stdout, before);
}

#[test]
fn of_two_objects_the_one_that_is_meant_has_to_be_named() {
    let posthog = PostHog::start();
    let project = that_ran(&posthog, &["events"]);
    project.now_replicates("incremental", &["events: { object: elsewhere.events }"]);
    project.run().succeeds();
    let rewind = ["state", "rewind", "--stream", "events", "--to", "2026-02-20"];

    project
        .hogline(&rewind)
        .exits(2)
        .says("2 objects")
        .says("#posthog_events")
        .says("#elsewhere_events");
    project.hogline(&[&rewind[..], &["--object", "elsewhere_events"]].concat()).succeeds();

    let list = project.hogline(&["state", "list"]).succeeds();
    let line =
        |name: &str| list.stdout.lines().find(|line| line.contains(name)).unwrap().to_owned();
    assert!(line("#elsewhere_events").contains("rewound"), "{list}");
    assert!(!line("#posthog_events").contains("rewound"), "{list}");
}

#[test]
fn nothing_is_moved_while_a_run_holds_the_state() {
    let posthog = PostHog::start();
    let project = that_ran(&posthog, &["events"]);
    posthog.fault(Fault::on("", FaultKind::Slow(60 * PATIENCE)).nth(&[1]));
    let running = project.starts();
    posthog.until("the run hangs", |sandbox| !sandbox.log().is_empty());
    project.writes("state.json", "{}");

    for arguments in [
        &["rewind", "--stream", "events", "--to", "2026-02-20"][..],
        &["set", "--stream", "events", "--complete-to", "2026-02-20"],
        &["reset", "--stream", "events"],
        &["import", "state.json"],
    ] {
        project.hogline(&[&["state"], arguments].concat()).exits(75).says("hogline run");
    }
    project.hogline(&["state", "show", "--stream", "events"]).succeeds();
    running.dies();
}

#[test]
fn runs_are_remembered_with_what_they_did() {
    let posthog = PostHog::start();
    let project = that_ran(&posthog, &["events", "cohorts"]);
    posthog.fault(Fault::on("/cohorts/", FaultKind::Status(404, String::new())));
    project.run().exits(3);
    posthog.fault(Fault::on("/api/projects/12345/", FaultKind::Status(401, String::new())));
    project.run().exits(4);

    let runs = project.hogline(&["state", "runs", "--format", "json"]).succeeds();
    let runs: Value = serde_json::from_str(&runs.stdout).unwrap();
    let exits: Vec<_> =
        runs["runs"].as_array().unwrap().iter().map(|run| run["exit_code"].clone()).collect();
    assert_eq!(exits, [4, 3, 0]);
    let cohorts = &runs["runs"][1]["streams"][1];
    assert_eq!((&cohorts["stream"], &cohorts["exit_code"]), (&"cohorts".into(), &2.into()));
    assert!(cohorts["error"].as_str().unwrap().contains("404"), "{cohorts}");
    let first = &runs["runs"][2]["streams"][0];
    // PostHog shows some events twice.
    assert!(first["rows"].as_i64().unwrap() >= posthog.count("events"), "{first}");
    assert!(first["requests"].as_u64().unwrap() > 0);

    let told = project.hogline(&["state", "runs", "--limit", "2"]).succeeds();
    assert!(told.stdout.contains("some streams failed") && told.stdout.contains("1: cohorts"));
    assert_eq!(told.stdout.lines().filter(|line| line.starts_with("20")).count(), 2, "{told}");
    let of_events = ["state", "runs", "--stream", "events", "--format", "json"];
    let runs: Value = serde_json::from_str(&project.hogline(&of_events).succeeds().stdout).unwrap();
    assert_eq!(runs["runs"][1]["exit_code"], 0);
}
