//! Rows that PostHog no longer has are taken out, once that is proven.

use hogline::sandbox::{Fault, FaultKind};

use crate::support::{DAY, MINUTE, PostHog, Project};

/// A replication of streams that ran once, and a minute later.
fn replicated(posthog: &PostHog, streams: &[&str]) -> Project {
    let project = Project::incremental(posthog, streams);
    project.run().succeeds();
    posthog.later(MINUTE);
    project
}

#[test]
fn gone_rows_stay_where_nothing_else_is_said() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, &["cohorts"]);
    let before = project.copy().count("cohorts");
    posthog.delete("cohorts", 2);

    project.run().succeeds();

    assert_eq!(project.copy().count("cohorts"), before);
}

#[test]
fn gone_rows_are_removed_where_that_is_wanted() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, &["cohorts: { delete_missing: hard }"]);
    posthog.delete("cohorts", 2);

    let ran = project.run().succeeds().says("deleted: 2 rows of cohorts");

    assert_eq!(ran.told_of("cohorts")["rows"]["deleted"], 2);
    project.holds_exactly(&posthog, "cohorts");
    project.run().succeeds();
    project.verifies(&[]).succeeds();
}

#[test]
fn gone_rows_are_marked_where_that_is_wanted_until_they_come_again() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, &["cohorts: { delete_missing: soft }"]);
    let before = project.copy().count("cohorts");
    posthog.delete("cohorts", 2);

    project.run().succeeds();

    let marked = "SELECT count(*) FROM posthog_cohorts WHERE _hogline_deleted_at IS NOT NULL";
    assert_eq!(project.copy().tells::<i64>(marked), 2);
    assert_eq!(project.copy().count("cohorts"), before);
    project.verifies(&[]).succeeds();
    // As if it had been gone: it is there, and comes again.
    project.changes_database(
        "UPDATE posthog_cohorts SET _hogline_deleted_at = '2026-01-01T00:00:00.000000Z' WHERE rowid = 1",
    );
    project.run().succeeds();
    assert_eq!(project.copy().tells::<i64>(marked), 2);
}

#[test]
fn a_list_that_is_asked_for_changes_is_read_whole_once_a_day() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, &["persons: { delete_missing: hard }"]);
    project.run().succeeds();
    posthog.delete("persons", 3);
    let ran = project.run().succeeds();
    assert_eq!(ran.told_of("persons")["rows"]["deleted"], 0, "changes tell nothing of it");

    posthog.later(DAY + MINUTE);
    let ran = project.run().succeeds();

    assert_eq!(ran.told_of("persons")["rows"]["deleted"], 3, "{ran}");
    project.holds_exactly(&posthog, "persons");
}

#[test]
fn a_walk_that_fails_takes_nothing_out() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, &["property_definitions: { delete_missing: hard }"])
        .with_input("max_wait: 1s");
    let before = project.copy().count("property_definitions");
    posthog.delete("property_definitions", 2);
    let refused = FaultKind::Status(400, String::new());
    posthog.fault(Fault::on("type=session", refused));

    project.run().exits(6);

    assert_eq!(project.copy().count("property_definitions"), before);
}

#[test]
fn a_walk_that_went_on_with_an_earlier_one_takes_nothing_out_itself() {
    let posthog = PostHog::playing(|options| options.sql_cap = 100);
    let project = replicated(&posthog, &["persons: { delete_missing: hard }"]);
    posthog.later(DAY + MINUTE);
    posthog.delete("persons", 3);
    let refused = FaultKind::Status(400, String::new());
    posthog.fault(Fault::on("FROM persons", refused).nth(&[3, 4, 5, 6]));
    let before = project.copy().count("persons");
    project.run().exits(6);
    assert_eq!(project.copy().count("persons"), before);
    posthog.clear_faults();

    let ran = project.run().succeeds();

    assert_eq!(ran.told_of("persons")["rows"]["deleted"], 3, "{ran}");
    project.holds_exactly(&posthog, "persons");
}

#[test]
fn files_say_which_rows_are_gone() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["cohorts: { delete_missing: hard }"]);
    let project = project.into_files();
    project.run().succeeds();
    posthog.later(MINUTE);
    posthog.delete("cohorts", 2);

    project.run().succeeds();

    project.files_hold_exactly(&posthog, "cohorts");
    project.verifies(&[]).succeeds();
}

#[test]
fn gone_events_are_taken_out_by_a_repair() {
    let posthog = PostHog::start();
    for (how, left) in [("soft", 4), ("hard", 0)] {
        let project = replicated(&posthog, &[&format!("events: {{ delete_missing: {how} }}")]);
        posthog.delete("events", 4);
        project.run().succeeds();
        project.verifies(&[]).exits(8);

        project.verifies(&["--repair"]).succeeds();

        let marked = match how {
            "soft" => "SELECT count(*) FROM posthog_events WHERE _hogline_deleted_at IS NOT NULL",
            _ => "SELECT 0",
        };
        assert_eq!(project.copy().tells::<i64>(marked), left);
        project.run().succeeds();
        project.verifies(&[]).succeeds();
    }
}
