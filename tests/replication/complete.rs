//! A replication is complete: every row, every value, on every kind of server.

use hogline::sandbox::{KEY_PROJECT_ONLY, KEY_WITHOUT_QUERY};

use crate::support::{EVERYTHING, PostHog, Project};

/// A second run may ask this much: a question or two a stream, and the passes of definitions.
const FEW_REQUESTS: usize = 30;

#[track_caller]
fn everything_is_there(project: &Project, posthog: &PostHog) {
    for stream in EVERYTHING {
        project.holds_exactly(posthog, stream);
    }
}

#[test]
fn every_stream_of_todays_server_arrives_exactly() {
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog);

    let ran = project.run().succeeds();

    everything_is_there(&project, &posthog);
    assert_eq!(ran.told_of("events")["read_by"], "sql");
    assert_eq!(ran.told_of("persons")["read_by"], "sql");
    let unknown =
        "SELECT count(*) FROM posthog_events WHERE person_id IS NULL OR created_at IS NULL";
    assert_eq!(project.copy().tells::<i64>(unknown), 0, "SQL knows persons and arrivals");
}

#[test]
fn a_second_run_changes_nothing_and_asks_little() {
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog);
    project.run().succeeds();
    let before = project.copy().everything();
    posthog.clear_log();

    let ran = project.run().succeeds();

    assert_eq!(before, project.copy().everything());
    let asked = posthog.log().len();
    assert!(asked <= FEW_REQUESTS, "{asked} requests: {:#?}", posthog.log());
    for stream in ["events", "annotations", "session_recordings"] {
        assert_eq!(ran.rows_of(stream)[..2], [0, 0], "{stream} has new or updated rows");
    }
}

#[test]
fn a_server_without_sql_is_read_by_its_lists() {
    let posthog = PostHog::without_sql();
    let project = Project::of_everything(&posthog);

    let ran = project.run().succeeds();

    everything_is_there(&project, &posthog);
    assert_eq!(ran.told_of("events")["read_by"], "rest");
    assert_eq!(ran.told_of("persons")["read_by"], "rest");
    let unknown = "SELECT count(*) FROM posthog_persons WHERE name IS NULL";
    assert_eq!(project.copy().tells::<i64>(unknown), 0, "the list knows names");
    let unknown = "SELECT count(*) FROM posthog_events WHERE elements IS NULL";
    assert_eq!(project.copy().tells::<i64>(unknown), 0, "the list knows elements");
}

#[test]
fn a_server_of_2023_is_read_in_full() {
    let posthog = PostHog::playing(|options| {
        options.old_sql = true;
        options.sql_cap = 10_000;
        options.event_cap = 50_000;
    });
    let project = Project::of_everything(&posthog);

    project.run().succeeds();

    everything_is_there(&project, &posthog);
}

#[test]
fn a_limit_lowered_in_silence_ends_no_walk() {
    let posthog = PostHog::playing(|options| options.sql_cap = 500);
    let project = Project::of_everything(&posthog);

    project.run().succeeds();

    everything_is_there(&project, &posthog);
    assert!(posthog.asked_about("FROM events").len() > 4);
}

#[test]
fn an_instant_that_fills_pages_is_taken_apart() {
    // 400 events share one instant, 40 share many: most pages end inside of one.
    let posthog = PostHog::playing(|options| {
        options.sql = false;
        options.event_cap = 100;
    });
    let project = Project::incremental(&posthog, &["events"]);

    project.run().succeeds();

    project.holds_exactly(&posthog, "events");
    assert!(!posthog.asked_about("&event=").is_empty(), "no instant was taken apart");
}

#[test]
fn a_projects_time_zone_moves_no_row() {
    for minutes in [-300, 330] {
        for sql in [true, false] {
            let posthog = PostHog::playing(|options| {
                options.timezone_offset_minutes = minutes;
                options.sql = sql;
            });
            let project = Project::of_everything(&posthog);

            project.run().succeeds();

            everything_is_there(&project, &posthog);
        }
    }
}

#[test]
fn a_key_that_may_not_query_reads_what_it_may() {
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog).with_key(KEY_WITHOUT_QUERY);

    let ran = project.run().exits(3).says("query:read");

    for stream in EVERYTHING.into_iter().filter(|stream| *stream != "events") {
        project.holds_exactly(&posthog, stream);
    }
    assert_eq!(ran.told_of("persons")["read_by"], "rest");
}

#[test]
fn a_key_of_one_project_finds_that_project() {
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog).with_key(KEY_PROJECT_ONLY);

    let ran = project.run().succeeds();

    everything_is_there(&project, &posthog);
    assert_eq!(ran.told_of("projects")["read_by"], "project");
}

#[test]
fn both_ways_of_reading_give_the_same_rows() {
    let ways = [PostHog::start(), PostHog::without_sql()];
    let copies = ways.map(|posthog| {
        let project = Project::incremental(&posthog, &["events", "persons"]);
        project.run().succeeds();
        let known =
            "SELECT id || event || distinct_id || event_date || properties || elements_chain";
        let events = format!("{known} FROM posthog_events ORDER BY 1");
        let persons = "SELECT uuid || id || distinct_ids || properties || is_identified \
                       || created_at FROM posthog_persons ORDER BY 1";
        (project.copy().lines(&events), project.copy().lines(persons))
    });

    let [(events, persons), (listed_events, listed_persons)] = copies;
    assert!(events == listed_events && events.len() > 2000, "events differ");
    assert!(persons == listed_persons && persons.len() > 300, "persons differ");
}

#[test]
fn a_star_stands_for_every_stream() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["'*'"]);

    project.run().succeeds();
    project.run().succeeds();

    everything_is_there(&project, &posthog);
}

#[test]
fn a_reader_of_the_table_is_in_nobodys_way() {
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog);
    project.run().succeeds();
    let copy = project.copy();
    let before = copy.everything();
    copy.begins_to_read();
    posthog.delete("cohorts", 7);

    project.run().succeeds();

    assert_eq!(copy.everything(), before, "what a reader sees changed under it");
    drop(copy);
    everything_is_there(&project, &posthog);
}
