//! The same promises for folders of files, in every format.

use crate::support::{DAY, EVERYTHING, MINUTE, PostHog, Project};

/// Formats as they are written in a replication, and how their files end.
const FORMATS: &[(&str, &str)] = &[
    ("compression: zstd", ".jsonl.zst"),
    ("format: csv", ".csv"),
    ("format: csv, compression: gzip", ".csv.gz"),
    #[cfg(feature = "parquet")]
    ("format: parquet", ".parquet"),
];

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

#[test]
fn every_format_gets_what_is_new_and_proves_it() {
    let posthog = PostHog::start();
    let streams = ["events", "insights", "persons", "property_definitions"];
    let all = FORMATS.iter().map(|(options, _)| {
        let project = Project::incremental(&posthog, &streams).into_files_of(options);
        project.run().succeeds();
        project
    });
    let projects: Vec<Project> = all.collect();
    posthog.later(MINUTE);
    posthog.receives_events(30, 2 * DAY);
    posthog.edits("insights", 7);
    posthog.edits("persons", 7);

    for (project, (_, suffix)) in projects.iter().zip(FORMATS) {
        project.run().succeeds();

        for stream in streams {
            project.files_hold_exactly(&posthog, stream);
            let files = project.files_of(stream);
            assert!(files.iter().all(|name| name.ends_with(suffix)), "{files:?}");
        }
        project.verifies(&["--sample", "all"]).succeeds();
    }
}

#[test]
fn every_format_is_refreshed_whole() {
    let posthog = PostHog::start();
    let all = FORMATS.iter().map(|(options, _)| {
        let project = Project::full_refresh(&posthog, &["cohorts", "events"]);
        let project = project.into_files_of(options);
        project.run().succeeds();
        project
    });
    let projects: Vec<Project> = all.collect();
    posthog.delete("cohorts", 7);
    posthog.delete("events", 7);

    for project in projects {
        project.run().succeeds();

        project.files_hold_exactly(&posthog, "cohorts");
        project.files_hold_exactly(&posthog, "events");
    }
}

#[test]
fn compacting_leaves_every_key_once_and_runs_go_on() {
    let posthog = PostHog::start();
    for (options, suffix) in FORMATS {
        let streams = ["insights", "annotations"];
        let project = Project::incremental(&posthog, &streams).into_files_of(options);
        project.run().succeeds();
        posthog.later(MINUTE);
        posthog.edits("insights", 7);
        posthog.edits("annotations", 5);
        project.run().succeeds();
        assert!(project.files_of("insights").len() > 1);

        let told = project.compacts().succeeds();

        assert!(told.stdout.starts_with("stream       files  files now  rows  rows now\n"));
        for stream in streams {
            project.files_hold_exactly(&posthog, stream);
            assert!(matches!(project.files_of(stream).as_slice(), [one] if one.ends_with(suffix)));
        }
        posthog.later(MINUTE);
        posthog.edits("insights", 3);
        project.run().succeeds();
        project.files_hold_exactly(&posthog, "insights");
        project.verifies(&[]).succeeds();
    }
}

#[test]
fn compacting_can_be_killed_at_any_moment() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["insights"]).into_files_of("format: csv");
    let moments = [
        "a row of a batch",
        "before a draft",
        "file written",
        "file synced",
        "file renamed, folder not synced",
        "file not listed",
        "manifest written",
        "manifest synced",
        "manifest renamed",
        "a leftover swept",
    ];
    for moment in moments {
        posthog.later(MINUTE);
        posthog.edits("insights", 5);
        project.run().succeeds();

        assert!(project.compacts_steered(&format!("KILL:1:{moment}")).was_killed(), "{moment}");

        project.files_show_exactly(&posthog, "insights");
    }
    project.compacts().succeeds();
    project.files_hold_exactly(&posthog, "insights");
}

#[test]
fn another_format_is_refused_until_old_files_are_rewritten() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["insights"]).into_files();
    project.run().succeeds();
    project.now_writes("format: csv, compression: gzip");
    posthog.later(MINUTE);
    posthog.edits("insights", 7);

    let refused = project.run().exits(7);

    let cause =
        "and is to get `.csv.gz` files: who reads one kind would miss the rows of the other";
    assert!(refused.stderr.contains(cause), "{}", refused.stderr);
    assert!(refused.stderr.contains("hogline compact -r FILE"), "{}", refused.stderr);
    project.compacts().succeeds();
    project.run().succeeds();
    project.files_hold_exactly(&posthog, "insights");
    assert!(project.files_of("insights").iter().all(|name| name.ends_with(".csv.gz")));

    project.now_writes("compression: zstd");
    project.run_with(&["--mode", "full-refresh"]).succeeds();
    project.files_hold_exactly(&posthog, "insights");
    assert!(project.files_of("insights").iter().all(|name| name.ends_with(".jsonl.zst")));
}

#[test]
fn events_may_be_in_a_folder_for_each_date() {
    let posthog = PostHog::start();
    for (options, suffix) in FORMATS {
        let events = "events: { object: 'posthog.events/{part_date}' }";
        let project = Project::incremental(&posthog, &[events]).into_files_of(options);
        project.run().succeeds();
        posthog.later(MINUTE);
        posthog.receives_events(30, 2 * DAY);
        project.run().succeeds();

        project.files_hold_exactly(&posthog, "events");
        let dated = |name: &String| name.starts_with("event_date=20") && name.ends_with(suffix);
        let files = project.files_of("events");
        assert!(files.len() > 3 && files.iter().all(dated), "{files:?}");
        project.verifies(&[]).succeeds();

        project.compacts().succeeds();

        project.files_hold_exactly(&posthog, "events");
        let mut dates = project.files_of("events");
        assert!(dates.len() < files.len() && dates.iter().all(dated), "{dates:?}");
        dates.iter_mut().for_each(|name| name.truncate("event_date=2026-01-01".len()));
        dates.sort();
        assert!(dates.is_sorted_by(|one, other| one < other), "{dates:?}");
        project.run_with(&["--mode", "full-refresh"]).succeeds();
        project.files_hold_exactly(&posthog, "events");
    }
}

#[test]
fn what_is_for_files_alone_is_refused_elsewhere_before_any_request() {
    let posthog = PostHog::start();
    let into_a_table =
        Project::incremental(&posthog, &["events: { target_options: { format: csv } }"]);
    let told = into_a_table.run().exits(2).stderr;
    assert!(told.contains("stream `events`: target_options is for files"), "{told}");

    let undated = "persons: { object: 'posthog.persons/{part_date}' }";
    let told = Project::incremental(&posthog, &[undated]).into_files().run().exits(2).stderr;
    assert!(told.contains("stream `persons` cannot be divided by {part_date}"), "{told}");

    let told = into_a_table.hogline(&["compact", "-r", "replication.yaml"]).exits(2).stderr;
    assert!(told.contains("target_options is for files"), "{told}");
    let tables = Project::incremental(&posthog, &["events"]);
    let told = tables.compacts().exits(2).stderr;
    assert!(told.contains("there is nothing to compact"), "{told}");
}
