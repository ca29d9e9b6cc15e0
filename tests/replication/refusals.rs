//! What cannot be done is said at once: where, why, and what to do.

use std::fs;

use hogline::sandbox::{FOREIGN_PROJECT, KEY_WITHOUT_COHORTS};

use crate::support::{PostHog, Project};

#[test]
fn a_wrong_key_is_refused_with_the_host_and_the_fix() {
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog).with_key("phx_nobodys_key_0123456789");

    let host = posthog.origin().replace("http://", "");
    project.run().exits(4).says(&host).says("401").says("check the key");

    assert_eq!(posthog.log().len(), 1, "asked on with a key that is wrong");
}

#[test]
fn a_missing_scope_stops_its_stream_alone() {
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog).with_key(KEY_WITHOUT_COHORTS);

    project.run().exits(3).says("cohort:read");

    project.holds_exactly(&posthog, "events");
    project.holds_exactly(&posthog, "property_definitions");
}

#[test]
fn a_missing_scope_is_all_there_is_to_say_of_a_lone_stream() {
    let posthog = PostHog::start();
    let project = Project::full_refresh(&posthog, &["cohorts"]).with_key(KEY_WITHOUT_COHORTS);

    project.run().exits(4).says("cohort:read");
}

#[test]
fn a_project_that_is_not_there_is_a_mistake_in_the_configuration() {
    let posthog = PostHog::start();
    for id in ["99999".to_owned(), FOREIGN_PROJECT.to_string()] {
        let project = Project::of_everything(&posthog).with_project_id(&id);

        project.run().exits(2).says("check the project id");
    }
}

#[test]
fn a_misspelt_word_is_shown_with_its_place_and_the_nearest() {
    let posthog = PostHog::start();
    let head = "source: POSTHOG\ntarget: sqlite://posthog.db\n";
    for (streams, place, nearest) in [
        ("streams: { events: { mod: incremental } }", "replication.yaml:3:22", "mode"),
        ("streams: { evnts: }", "replication.yaml:3:12", "events"),
        ("streams: { events: { mode: incremantal } }", "replication.yaml:3:28", "incremental"),
        ("strems: { events: }", "replication.yaml:3:1", "streams"),
    ] {
        let project = Project::of(&posthog, &format!("{head}{streams}\n"));

        project.run().exits(2).says(place).says(nearest);
    }
    assert_eq!(posthog.log(), []);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let posthog = PostHog::start();
    let yaml = "source: POSTHOG\ntarget: sqlite://posthog.db\nstreams: { evnts: , persns: }\n";

    Project::of(&posthog, yaml).run().exits(2).says("3:12").says("3:21");
}

#[test]
fn a_folder_that_cannot_be_written_is_found_before_any_request() {
    let posthog = PostHog::start();
    let yaml =
        "source: POSTHOG\ntarget: sqlite:///proc/nowhere/posthog.db\nstreams: { cohorts: }\n";

    Project::of(&posthog, yaml).run().exits(7).says("/proc/nowhere");

    assert_eq!(posthog.log(), []);
}

#[test]
fn a_file_that_is_no_database_is_found_before_any_request() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["cohorts"]);
    project.writes("posthog.db", "this is no database, and long enough to be looked at as one");

    project.run().exits(7).says("posthog.db");

    assert_eq!(posthog.log(), []);
}

/// A replication of events that ran once; then its owner does something to the database.
fn after(posthog: &PostHog, harm: impl Fn(&Project)) -> Project {
    let project = Project::incremental(posthog, &["events", "cohorts"]);
    project.run().succeeds();
    harm(&project);
    posthog.clear_log();
    project
}

#[track_caller]
fn is_refused_until_reset(posthog: &PostHog, project: &Project) {
    project.run().exits(9).says("restore the target").says("hogline state reset --stream events");
    assert_eq!(posthog.log(), [], "asked before the target was found to be wrong");

    project.hogline(&["state", "reset", "--stream", "events"]).succeeds();
    project.hogline(&["state", "reset", "--stream", "cohorts"]).succeeds();
    project.run().succeeds();
    project.holds_exactly(posthog, "events");
    project.holds_exactly(posthog, "cohorts");
}

#[test]
fn an_emptied_table_is_not_filled_up_from_the_cursor() {
    let posthog = PostHog::start();
    let project = after(&posthog, |p| p.changes_database("DELETE FROM posthog_events"));

    is_refused_until_reset(&posthog, &project);
}

#[test]
fn a_dropped_table_is_not_begun_from_the_cursor() {
    let posthog = PostHog::start();
    let project = after(&posthog, |p| p.changes_database("DROP TABLE posthog_events"));

    is_refused_until_reset(&posthog, &project);
}

#[test]
fn a_deleted_database_is_not_begun_from_the_cursor() {
    let posthog = PostHog::start();
    let project = after(&posthog, |p| fs::remove_file(p.path("posthog.db")).unwrap());

    is_refused_until_reset(&posthog, &project);
}

#[test]
fn a_database_restored_from_an_older_copy_is_not_trusted() {
    let posthog = PostHog::start();
    let project = after(&posthog, |p| {
        fs::copy(p.path("posthog.db"), p.path("older.db")).unwrap();
        posthog.receives_events(5, crate::support::MINUTE);
        p.run().succeeds();
        fs::rename(p.path("older.db"), p.path("posthog.db")).unwrap();
    });

    is_refused_until_reset(&posthog, &project);
}

#[test]
fn without_its_state_folder_a_run_goes_on_from_the_target() {
    let posthog = PostHog::start();
    let project = after(&posthog, |p| fs::remove_dir_all(p.path("state")).unwrap());
    posthog.receives_events(5, crate::support::MINUTE);

    let ran = project.run().succeeds();

    assert_eq!(ran.rows_of("events")[..2], [5, 0], "{ran}");
    project.holds_exactly(&posthog, "events");
}

#[test]
fn the_state_tells_how_far_each_stream_has_come() {
    let posthog = PostHog::start();
    let project = after(&posthog, |_| {});

    let listed = project.hogline(&["state", "list"]).succeeds().says("events").says("cohorts");
    let shown =
        project.hogline(&["state", "show", "--stream", "events", "--format", "json"]).succeeds();

    assert!(listed.stdout.contains("12345"), "{listed}");
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["position"], project.copy().position("events"));
    project.hogline(&["state", "show", "--stream", "evnts"]).exits(2).says("state list");
}

#[test]
fn what_makes_no_sense_is_refused_before_any_request() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["events", "cohorts"]);
    for (options, word) in [
        (&["--streams", "evnts"][..], "events"),
        (&["--mode", "backfill"], "--range"),
        (&["--range", "2026-01-01,2026-02-01"], "--mode backfill"),
        (&["--mode", "backfill", "--range", "2026-02-01,2026-01-01"], "--range"),
        (&["--mode", "backfill", "--range", "2026-01-01,2026-02-01"], "cohorts"),
        (&["--mode", "sideways"], "incremental"),
    ] {
        project.run_with(options).exits(2).says(word);
    }
    project.now_replicates("incremental", &["events: { object: t }", "cohorts: { object: t }"]);
    project.run().exits(2).says("cohorts").says("events");
    assert_eq!(posthog.log(), []);
}

#[test]
fn a_full_copy_needs_nothing_of_the_old_one() {
    for mode in ["full-refresh", "truncate"] {
        let posthog = PostHog::start();
        let project = Project::in_mode(&posthog, mode, &["events", "cohorts"]);
        project.run().succeeds();
        project.changes_database("DROP TABLE posthog_events; DELETE FROM posthog_cohorts");

        project.run().succeeds();

        project.holds_exactly(&posthog, "events");
        project.holds_exactly(&posthog, "cohorts");
    }
}
