//! PostHog's own objects: short lists, paged by offset or not at all.

use crate::posthog::Posthog;
use crate::project::Project;

/// The streams that are lists.
const LISTS: [&str; 8] = [
    "projects",
    "cohorts",
    "feature_flags",
    "insights",
    "annotations",
    "actions",
    "session_recordings",
    "event_definitions",
];

/// Recorded members that become no column: credentials, and what is computed when asked.
pub(crate) fn left_out(stream: &str) -> &'static [&'static str] {
    match stream {
        "projects" => &["api_token"],
        "insights" => &["result", "is_cached", "next_allowed_client_refresh"],
        "events" => &["person"],
        "persons" => &["type", "matched_recordings", "value_at_data_point"],
        _ => &[],
    }
}

#[test]
fn every_list_becomes_a_table_with_the_recorded_rows() {
    let posthog = Posthog::whole();
    let recorded = LISTS.map(|stream| posthog.rows(stream));
    let server = posthog.start();
    let project = Project::of(&server);

    project.run(&LISTS, "full-refresh").succeeds();

    for (stream, rows) in LISTS.iter().zip(recorded) {
        project.table(stream).equals(&rows, left_out(stream));
    }
}

#[test]
fn properties_know_their_type_though_their_records_do_not() {
    let posthog = Posthog::whole();
    let kinds = ["event", "person"];
    let recorded = kinds.map(|kind| posthog.rows(&format!("property_definitions type={kind}")));
    let server = posthog.start();
    let project = Project::of(&server);

    let said = project.run(&["property_definitions"], "full-refresh").succeeds();

    let table = project.table("property_definitions");
    table.equals(&recorded.concat(), &[]);
    for (kind, rows) in kinds.iter().zip(recorded) {
        for row in rows {
            assert_eq!(table.text(("id", row["id"].as_str().unwrap()), "type"), *kind);
        }
    }
    // Servers of this age have no word for sessions' properties; the stream is whole without.
    assert!(said.err.contains(r#"type: "session" is not a valid choice."#), "{}", said.err);
}

#[test]
fn pages_of_three_overlap_until_the_count_is_reached() {
    let posthog = Posthog::whole();
    let recorded = posthog.rows("insights");
    let server = posthog.start();
    let spec = include_str!("../../specs/insights.yaml").replace("page_size: 1000", "page_size: 3");
    let project = Project::of(&server).with_spec(&spec);

    project.run(&["insights"], "full-refresh").succeeds();

    project.table("insights").equals(&recorded, left_out("insights"));
    let asked = server.asked();
    let offsets: Vec<_> = asked.iter().skip(1).map(|asked| asked.number("offset")).collect();
    // Each page but the first begins with rows of the one before.
    assert_eq!(offsets, [None, Some(1), Some(2)], "{asked:?}");
}

#[test]
fn recordings_come_whole_though_the_server_shows_the_newest_first() {
    let posthog = Posthog::whole();
    let recorded = posthog.rows("session_recordings");
    let server = posthog.start();
    let spec = include_str!("../../specs/session_recordings.yaml")
        .replace("page_size: 1000", "page_size: 3");
    let project = Project::of(&server).with_spec(&spec);

    project.run(&["session_recordings"], "incremental").succeeds();

    let table = project.table("session_recordings");
    table.equals(&recorded, &[]);
    assert_eq!(table.text(("id", "rec-000"), "start_time"), "2026-11-21T05:48:13.186000Z");
}

#[test]
fn a_second_run_changes_nothing() {
    let streams = [&LISTS[..], &["events", "property_definitions"]].concat();
    let server = Posthog::whole().start();
    let project = Project::of(&server);
    let tables = || streams.iter().map(|stream| project.table(stream)).collect::<Vec<_>>();
    project.run(&streams, "incremental").succeeds();
    let before = tables();

    project.run(&streams, "incremental").succeeds();

    assert_eq!(tables(), before);
}
