//! What was replicated is held against PostHog, and what differs is healed.

use serde_json::Value;

use crate::support::{DAY, EVERYTHING, MINUTE, PostHog, Project, Told};

/// A replication of streams that ran once, and a minute later.
fn replicated(posthog: &PostHog, streams: &[&str]) -> Project {
    let project = Project::incremental(posthog, streams);
    project.run().succeeds();
    posthog.later(MINUTE);
    project
}

/// What a verification in JSON tells of a stream.
#[track_caller]
fn told_of(told: &Told, stream: &str) -> Value {
    let report: Value =
        serde_json::from_str(&told.stdout).unwrap_or_else(|err| panic!("{err}: {told}"));
    assert_eq!(report["version"], 1);
    assert_eq!(report["exit"], told.status.code().unwrap());
    let streams = report["streams"].as_array().unwrap();
    streams.iter().find(|told| told["stream"] == stream).unwrap().clone()
}

/// The days a verification in JSON names, with what is missing, differing, extra and pending.
#[track_caller]
fn days(told: &Told, stream: &str, which: &str) -> Vec<(String, [u64; 4])> {
    let told = told_of(told, stream);
    let days = told[which].as_array().unwrap().iter();
    let counts = |day: &Value| {
        ["missing", "differing", "extra", "pending"].map(|name| day[name].as_u64().unwrap())
    };
    days.map(|day| (day["day"].as_str().unwrap_or("–").to_owned(), counts(day))).collect()
}

/// Three days of long ago that have events.
fn three_days(project: &Project) -> Vec<String> {
    let sql = "SELECT DISTINCT event_date FROM posthog_events ORDER BY 1 LIMIT 3 OFFSET 5";
    project.copy().lines(sql)
}

/// Deletes an event of one day by hand, changes the name of one of another, adds one to a
/// third; returns what a verification is to tell.
fn tamper(project: &Project) -> Vec<(String, [u64; 4])> {
    let days = three_days(project);
    let first = "(SELECT min(rowid) FROM posthog_events WHERE event_date =";
    let [deleted, changed, added] = &days[..] else { panic!("too few days: {days:?}") };
    project.changes_database(&format!(
        "DELETE FROM posthog_events WHERE rowid IN {first} '{deleted}');
         UPDATE posthog_events SET event = 'renamed' WHERE rowid IN {first} '{changed}');
         INSERT INTO posthog_events (event_date, id, event, distinct_id, timestamp, created_at)
           VALUES ('{added}', '0190aaaa-0000-4000-8000-000000000001', 'made up', 'me',
                   '{added}T10:00:00.000000Z', '2099-01-01T00:00:00.000000Z');",
    ));
    let counts = [[1, 0, 0, 0], [1, 0, 1, 0], [0, 0, 1, 0]];
    days.into_iter().zip(counts).collect()
}

#[test]
fn what_was_replicated_is_the_same() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, &EVERYTHING);

    let told = project.verifies(&[]).succeeds();

    for stream in EVERYTHING {
        assert!(told.stdout.contains(&format!("{stream}: the same")), "{stream}: {told}");
    }
}

#[test]
fn rows_deleted_changed_and_added_by_hand_are_found_by_their_days_and_healed() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, &["events"]);
    let position = project.copy().position("events");
    let tampered = tamper(&project);
    posthog.clear_log();

    let told = project.verifies(&["--format", "json"]).exits(8);

    assert_eq!(days(&told, "events", "days"), tampered, "{told}");
    assert_eq!(told_of(&told, "events")["compared"], "by sums of identities");
    let asked = posthog.ranges_asked();
    assert!(
        asked.iter().all(|(from, _)| from.as_str() < "2026-02-09" || from.contains("2026-03")),
        "{asked:?}"
    );

    let told = project.verifies(&["--repair", "--format", "json"]).succeeds();

    assert_eq!(days(&told, "events", "repaired"), tampered, "{told}");
    assert_eq!(days(&told, "events", "days"), []);
    project.holds_exactly(&posthog, "events");
    let after = project.copy().position("events");
    assert_eq!((&after["mark"], &after["covered"]), (&position["mark"], &position["covered"]));
    project.verifies(&[]).succeeds();
    project.run().succeeds();
}

#[test]
fn a_day_is_named_in_the_table_and_so_is_the_row() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, &["events"]);
    let day = tamper(&project).pop().unwrap().0;

    let told = project.verifies(&[]).exits(8);

    assert!(told.stdout.contains(&format!("extra: events {day} {day} | 0190aaaa")), "{told}");
    assert!(told.stdout.contains("events: DIFFERS"), "{told}");
}

#[test]
fn without_sql_the_rows_are_compared() {
    let posthog = PostHog::without_sql();
    let project = replicated(&posthog, &["events"]);
    let tampered = tamper(&project);

    let told = project.verifies(&["--format", "json"]).exits(8);

    assert_eq!(days(&told, "events", "days"), tampered, "{told}");
    assert_eq!(told_of(&told, "events")["compared"], "row by row");
    project.verifies(&["--repair"]).succeeds();
    project.holds_exactly(&posthog, "events");
}

#[test]
fn a_server_that_cannot_hash_has_its_rows_compared() {
    let posthog = PostHog::playing(|options| {
        options.old_sql = true;
        options.sql_cap = 10_000;
    });
    let project = replicated(&posthog, &["events"]);
    let tampered = tamper(&project);

    let told = project.verifies(&["--format", "json"]).exits(8);

    assert_eq!(days(&told, "events", "days"), tampered, "{told}");
    let note = told_of(&told, "events")["note"].as_str().unwrap().to_owned();
    assert!(note.contains("cityHash64"), "{note}");
    project.verifies(&["--repair"]).succeeds();
    project.holds_exactly(&posthog, "events");
}

#[test]
fn days_are_utc_days_wherever_the_project_is() {
    let posthog = PostHog::playing(|options| options.timezone_offset_minutes = -480);
    let project = replicated(&posthog, &["events"]);

    project.verifies(&[]).succeeds();
    let tampered = tamper(&project);
    let told = project.verifies(&["--format", "json"]).exits(8);

    assert_eq!(days(&told, "events", "days"), tampered, "{told}");
}

#[test]
fn a_changed_value_is_found_where_all_rows_are_compared() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, &["events"]);
    // Looks newer than anything PostHog will ever send.
    let day = three_days(&project).remove(1);
    project.changes_database(&format!(
        "UPDATE posthog_events SET properties = '{{\"a\":1}}', created_at = '2099-01-01T00:00:00.000000Z'
         WHERE rowid IN (SELECT min(rowid) FROM posthog_events WHERE event_date = '{day}')",
    ));
    project.verifies(&["--sample", "0"]).succeeds();

    let told = project.verifies(&["--sample", "all", "--format", "json"]).exits(8);

    assert_eq!(days(&told, "events", "days"), [(day, [0, 1, 0, 0])], "{told}");
    let columns = &told_of(&told, "events")["days"][0]["examples"][0]["columns"];
    assert_eq!(columns, &serde_json::json!(["properties", "created_at"]));
    project.verifies(&["--sample", "all", "--repair"]).succeeds();
    project.holds_exactly(&posthog, "events");
}

#[test]
fn a_sample_finds_values_that_are_wrong_everywhere() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, &["events"]);
    project.changes_database("UPDATE posthog_events SET elements_chain = 'no'");

    let told = project.verifies(&["--sample", "20", "--format", "json"]).exits(8);

    assert_eq!(told_of(&told, "events")["sampled"], 20, "{told}");
    let found = days(&told, "events", "days");
    assert!(!found.is_empty() && found.iter().all(|(_, counts)| counts[1] > 0), "{told}");
}

#[test]
fn events_that_arrived_since_the_run_are_pending() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, &["events"]);
    posthog.receives_events(5, 10 * DAY);
    posthog.receives_events(7, DAY);
    posthog.edits("events", 3);

    project.verifies(&[]).succeeds();
    let told = project.verifies(&["--sample", "all", "--format", "json"]).succeeds();

    let found = days(&told, "events", "days");
    let pending: u64 = found.iter().map(|(_, counts)| counts[3]).sum();
    assert!(found.iter().all(|(_, counts)| counts[..3] == [0, 0, 0]), "{told}");
    assert!(pending >= 12, "{told}");
}

#[test]
fn a_range_narrows_what_is_looked_at() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, &["events"]);
    let tampered = tamper(&project);

    let range = format!("{},{}", tampered[1].0, tampered[2].0);
    let told = project.verifies(&["--range", &range, "--format", "json"]).exits(8);

    assert_eq!(days(&told, "events", "days"), tampered[1..2], "{told}");
    project.verifies(&["--range", "2026-03-01,2026-04-01"]).succeeds();
}

#[test]
fn lists_are_healed_too() {
    let posthog = PostHog::start();
    let streams = ["persons", "feature_flags", "property_definitions", "cohorts", "insights"];
    let project = replicated(&posthog, &streams);
    project.changes_database(
        "DELETE FROM posthog_persons WHERE rowid IN (SELECT rowid FROM posthog_persons LIMIT 2);
         UPDATE posthog_feature_flags SET name = 'wrong' WHERE rowid = 1;
         INSERT INTO posthog_cohorts (id, name) VALUES (99999999, 'made up');
         UPDATE posthog_insights SET name = 'wrong', last_modified_at = '2099-01-01T00:00:00.000000Z' WHERE rowid = 1;
         DELETE FROM posthog_property_definitions WHERE rowid = 5;",
    );

    let told = project.verifies(&["--format", "json"]).exits(8);

    for (stream, counts) in [
        ("persons", [2, 0, 0, 0]),
        ("feature_flags", [0, 1, 0, 0]),
        ("cohorts", [0, 0, 1, 0]),
        ("insights", [0, 1, 0, 0]),
        ("property_definitions", [1, 0, 0, 0]),
    ] {
        assert_eq!(days(&told, stream, "days"), [("–".into(), counts)], "{stream}: {told}");
    }
    project.verifies(&["--repair"]).succeeds();
    for stream in streams {
        project.holds_exactly(&posthog, stream);
    }
    project.verifies(&[]).succeeds();
    project.run().succeeds();
}

#[test]
fn recordings_are_compared_by_their_days() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, &["session_recordings"]);
    project.changes_database(
        "DELETE FROM posthog_session_recordings WHERE id IN
           (SELECT id FROM posthog_session_recordings WHERE start_time < '2026-02-20' ORDER BY start_time DESC LIMIT 1)",
    );
    posthog.edits("session_recordings", 4);

    let told = project.verifies(&["--format", "json"]).exits(8);

    let found = days(&told, "session_recordings", "days");
    let missing: u64 = found.iter().map(|(_, counts)| counts[0]).sum();
    assert_eq!(missing, 1, "{told}");
    project.verifies(&["--repair"]).succeeds();
}

#[test]
fn what_is_written_to_files_is_compared_and_healed() {
    let posthog = PostHog::start();
    let streams = ["events", "cohorts"];
    let project = Project::incremental(&posthog, &streams).into_files();
    project.run().succeeds();
    posthog.later(MINUTE);
    project.verifies(&[]).succeeds();
    // As long as before: the manifest still lists the file.
    let folder = project.path("out/posthog/events");
    let file = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let file =
        file.into_iter().find(|path| path.extension().is_some_and(|end| end == "jsonl")).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"event\":\"$screen\""));
    std::fs::write(&file, text.replacen("\"event\":\"$screen\"", "\"event\":\"$scream\"", 1))
        .unwrap();

    let told = project.verifies(&["--format", "json"]).exits(8);

    let found = days(&told, "events", "days");
    assert_eq!(found.len(), 1, "{told}");
    assert_eq!(found[0].1, [1, 0, 1, 0], "{told}");
    project.verifies(&["--repair"]).succeeds();
    project.files_hold_exactly(&posthog, "events");
    project.verifies(&["--sample", "all"]).succeeds();
    project.run().succeeds();
    project.files_hold_exactly(&posthog, "events");
}

#[test]
fn an_emptied_table_is_healed_though_a_run_refuses_it() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, &["events"]);
    project.changes_database("DELETE FROM posthog_events");
    project.run().exits(9);

    project.verifies(&["--repair"]).succeeds();

    project.holds_exactly(&posthog, "events");
    project.run().succeeds();
}

#[test]
fn a_stream_that_never_ran_is_not_verified() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["events"]);

    project.verifies(&[]).exits(8).says("no run of it was ever complete");
}

#[test]
fn a_stream_that_fails_does_not_stop_the_others() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, &["cohorts", "events"]);
    let project = project.with_key(hogline::sandbox::KEY_WITHOUT_COHORTS);

    let told = project.verifies(&[]).exits(3);

    assert!(told.stdout.contains("events: the same"), "{told}");
    assert!(told.stdout.contains("cohorts: not verified"), "{told}");
}

#[test]
fn rows_that_came_without_sql_are_compared_in_sql() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, &["events"]);
    project.verifies(&["--sample", "all"]).succeeds();

    let blind = PostHog::without_sql();
    let listed = replicated(&blind, &["events"]);
    listed.verifies(&["--sample", "all"]).succeeds();
}

#[test]
fn a_column_that_another_program_dropped_is_filled_on_every_day() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["events"]);
    project.run().succeeds();
    project.changes_database("ALTER TABLE posthog_events DROP COLUMN properties");
    project.run().exits(9);

    project.hogline(&["verify", "-r", "replication.yaml", "--repair"]).succeeds();

    project.holds_exactly(&posthog, "events");
    project.run().succeeds();
}
