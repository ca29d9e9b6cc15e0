//! The same promises for folders of JSON lines.

use crate::support::{DAY, EVERYTHING, MINUTE, PostHog, Project};

#[test]
fn every_stream_arrives_exactly() {
    for posthog in [PostHog::start(), PostHog::without_sql()] {
        let project = Project::of_everything(&posthog).into_files();

        project.run().succeeds();

        for stream in EVERYTHING {
            project.files_hold_exactly(&posthog, stream);
        }
    }
}

#[test]
fn new_late_and_edited_rows_follow() {
    let posthog = PostHog::start();
    let streams = ["events", "insights", "persons", "annotations"];
    let project = Project::incremental(&posthog, &streams).into_files();
    project.run().succeeds();
    posthog.later(MINUTE);
    posthog.receives_events(30, 2 * DAY);
    posthog.receives_events(20, MINUTE / 60);
    for stream in &streams[1..] {
        posthog.edits(stream, 7);
    }

    project.run().succeeds();

    for stream in streams {
        project.files_hold_exactly(&posthog, stream);
    }
}

#[test]
fn a_full_refresh_drops_what_was_deleted() {
    let posthog = PostHog::start();
    let project = Project::full_refresh(&posthog, &["cohorts", "events"]).into_files();
    project.run().succeeds();
    posthog.delete("cohorts", 7);
    posthog.delete("events", 7);

    project.run().succeeds();

    project.files_hold_exactly(&posthog, "cohorts");
    project.files_hold_exactly(&posthog, "events");
}
