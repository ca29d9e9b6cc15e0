//! Events: in SQL, and by REST where a server has none.

use serde_json::Value;

use crate::lists::left_out;
use crate::posthog::Posthog;
use crate::project::Project;
use crate::server::Server;

/// The first of the recorded page, and its time as it was recorded: 23:55:55.314000+00:00.
const NEWEST: &str = "16b05ea8-ebe3-4d0e-a346-f3a212f238bb";

/// Members of the recorded events that SQL does not bring.
const NOT_IN_SQL: [&str; 2] = ["person", "elements"];

fn check_a_row(project: &Project) {
    let table = project.table("events");
    let newest = |column| table.text(("id", NEWEST), column);
    assert_eq!(newest("timestamp"), "2026-11-19T23:55:55.314000Z");
    assert_eq!(newest("event_date"), "2026-11-19");
    assert_eq!(newest("event"), "purchase");
    assert_eq!(newest("distinct_id"), "user-207");
    let properties: Value = serde_json::from_str(newest("properties")).unwrap();
    assert_eq!(
        properties["nested"],
        serde_json::json!({ "a": [1, null, "x"], "b": { "c": true } })
    );
    // As it was written, digit for digit.
    assert!(newest("properties").contains(r#""price":0.25"#));
}

#[test]
fn a_page_of_a_thousand_becomes_a_thousand_rows_by_rest() {
    let posthog = Posthog::whole().without_sql().zipping();
    let recorded = posthog.rows("events");
    let server = posthog.start();
    let project = Project::of(&server);

    let said = project.run(&["events"], "full-refresh").succeeds();

    assert_eq!(recorded.len(), 1000);
    project.table("events").equals(&recorded, left_out("events"));
    check_a_row(&project);
    let told = "cannot read by `sql` (PostHog answered 404: Endpoint not found.)";
    assert!(said.err.contains(told), "{}", said.err);
    let asked = server.asked();
    assert!(asked.iter().any(|asked| asked.takes_gzip), "{asked:?}");
}

#[test]
fn full_pages_are_gone_through_by_time_and_not_by_next() {
    let posthog = Posthog::whole().without_sql();
    let recorded = posthog.rows("events");
    let server = posthog.start();
    let spec = include_str!("../../specs/events.yaml").replace("page_size: 1000", "page_size: 90");
    let project = Project::of(&server).with_spec(&spec);

    project.run(&["events"], "incremental").succeeds();

    project.table("events").equals(&recorded, left_out("events"));
    assert!(server.asked().iter().all(|asked| asked.param("offset").is_none()));
}

#[test]
fn events_that_share_an_instant_all_come() {
    // Four of these five share a millisecond, and fill a page.
    let posthog = Posthog::whole().without_sql().holding("events", "events ascending with bounds");
    let recorded = posthog.rows("events");
    let server = posthog.start();
    let spec = include_str!("../../specs/events.yaml").replace("page_size: 1000", "page_size: 4");
    let project = Project::of(&server).with_spec(&spec);

    project.run(&["events"], "full-refresh").succeeds();

    project.table("events").equals(&recorded, left_out("events"));
    let asked = server.asked();
    assert!(asked.iter().any(|asked| asked.param("event").is_some()), "{asked:?}");
}

#[test]
fn sql_answers_become_the_same_rows() {
    let posthog = Posthog::whole().zipping();
    let mut recorded = posthog.rows("events");
    let server = posthog.start();
    let project = Project::of(&server);

    project.run(&["events"], "full-refresh").succeeds();

    for event in &mut recorded {
        event.as_object_mut().unwrap().retain(|name, _| !NOT_IN_SQL.contains(&name.as_str()));
    }
    project.table("events").equals(&recorded, left_out("events"));
    check_a_row(&project);
}

#[test]
fn modifiers_are_refused_once_and_left_out_from_then_on() {
    let server = Posthog::whole().start();
    let project = Project::of(&server);

    project.run(&["events", "persons"], "full-refresh").succeeds();

    let with_modifiers = sql(&server).iter().map(|(has, _)| *has).collect::<Vec<_>>();
    assert!(with_modifiers[0], "the first question has modifiers");
    assert!(!with_modifiers[1..].contains(&true), "{with_modifiers:?}");
    let texts = sql(&server);
    assert_eq!(texts[0].1, texts[1].1, "the same question comes again");
}

#[test]
fn sql_is_asked_in_words_that_the_server_knows() {
    let server = Posthog::whole().start();
    let project = Project::of(&server);

    for _ in 0..2 {
        project.run(&["events"], "incremental").succeeds();
    }

    let questions = sql(&server);
    assert!(questions.iter().any(|(_, text)| text.contains("arrived_from")), "{questions:?}");
    for (_, text) in questions {
        assert!(text.contains(" LIMIT "), "{text}");
        assert!(!text.contains("OFFSET"), "{text}");
    }
}

/// The SQL questions, each with whether it has modifiers.
fn sql(server: &Server) -> Vec<(bool, String)> {
    let asked = server.asked();
    let questions =
        asked.iter().filter_map(|asked| Some((asked.has_modifiers(), asked.sql()?.to_owned())));
    questions.collect()
}
