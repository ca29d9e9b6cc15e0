//! Persons: a full copy in SQL, or by REST; and what SQL answers in milliseconds.

use rusqlite::types::Value as Cell;
use serde_json::Value;

use crate::answers::named;
use crate::lists::left_out;
use crate::posthog::Posthog;
use crate::project::Project;
use crate::server::Asked;

#[test]
fn a_page_of_a_hundred_becomes_a_hundred_rows_by_rest() {
    let posthog = Posthog::whole().without_sql().zipping();
    let mut recorded = posthog.rows("persons");
    let server = posthog.start();
    let project = Project::of(&server);

    project.run(&["persons"], "full-refresh").succeeds();

    // The server's order of distinct ids is not fixed: they are kept in order.
    for person in &mut recorded {
        let ids = person["distinct_ids"].as_array_mut().unwrap();
        ids.sort_by_key(ToString::to_string);
    }
    assert_eq!(recorded.len(), 100);
    let table = project.table("persons");
    table.equals(&recorded, left_out("persons"));
    let last = ("uuid", "01a1fcae-59f3-0002-dad0-91bea0bb6f9b");
    assert_eq!(table.text(last, "created_at"), "2026-10-23T17:57:23.465000Z");
    assert_eq!(table.text(last, "distinct_ids"), r#"["anon-64","user-64"]"#);
}

#[test]
fn persons_without_a_count_are_read_until_a_page_is_empty() {
    let posthog = Posthog::whole().without_sql();
    let server = posthog.start();
    let spec = include_str!("../../specs/persons.yaml").replace("page_size: 1000", "page_size: 30");
    let project = Project::of(&server).with_spec(&spec);

    project.run(&["persons"], "full-refresh").succeeds();

    assert_eq!(project.table("persons").len(), 100);
    let last = server.asked().last().and_then(|asked| asked.number("offset"));
    assert_eq!(last, Some(100));
}

#[test]
pub(crate) fn persons_of_sql_have_their_distinct_ids_joined() {
    let recorded = named("sql: persons").rows();
    let server = Posthog::whole().start();
    let project = Project::of(&server);

    project.run(&["persons"], "full-refresh").succeeds();

    let table = project.table("persons");
    assert_eq!(table.len(), recorded.len());
    for row in &recorded {
        let person = ("uuid", row[0].as_str().unwrap());
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(json(table.text(person, "properties")), json(row[2].as_str().unwrap()));
    }
    let first = ("uuid", "01a1fcad-808a-0000-f969-f1ee7ab806a2");
    assert_eq!(table.text(first, "created_at"), "2026-11-21T05:56:30.000000Z");
    assert_eq!(table.text(first, "distinct_ids"), r#"["u-1"]"#);
    // A number in SQL, a truth value in the table.
    let identified: Vec<_> = table.column("is_identified").into_iter().cloned().collect();
    assert_eq!(identified, [0, 1, 1].map(Cell::Integer));
}

/// A stream of the user's own, to which the recorded answer fits as it is.
const MOMENTS: &str = "
stream: moments
description: When events happened.
docs: https://posthog.com/docs/hogql
scope: query:read
quota: [query]
primary_key: [id]
columns:
  id: uuid
  timestamp: timestamp
read:
  - path: sql
    paging: keyset
    from: events
    select:
      id: uuid
      timestamp: timestamp
    key:
      timestamp: timestamp
    page_size: 2
";

#[test]
pub(crate) fn times_in_milliseconds_or_seconds_become_canonical() {
    let is_first = |asked: &Asked| {
        asked.sql().is_some_and(|text| !text.contains("WHERE")) && !asked.has_modifiers()
    };
    let posthog = Posthog::whole().holding("events", "events: past the end");
    let server = posthog.playing("sql: placeholders", is_first).start();
    let project = Project::of(&server).with_spec(MOMENTS);

    project.run(&["moments"], "full-refresh").succeeds();

    // Recorded as 2026-11-01T00:00:00Z and 2026-11-01T00:15:45.677Z.
    let expected = ["2026-11-01T00:00:00.000000Z", "2026-11-01T00:15:45.677000Z"];
    let expected = expected.map(|time| Cell::Text(time.to_owned()));
    let table = project.table("moments");
    let times: Vec<_> = table.column("timestamp").into_iter().cloned().collect();
    assert_eq!(times, expected);
}
