//! Lists and copies: without their rows, in no order, joined in no order.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::project::Project;
use crate::server::{Asked, Server};

#[test]
fn items_out_of_order_are_not_joined_to_anyone() {
    // The merge passed `a`'s item over, and the person had no ids.
    let server = Server::answering(|asked| match asked.sql() {
        sql if sql.contains("person_distinct_ids") => {
            r#"{"results":[["b","1"],["a","2"],["c","3"]]}"#.into()
        }
        sql if sql.contains("{k0}") => r#"{"results":[]}"#.into(),
        _ => {
            let person = |id| format!(r#"["{id}","{id}","{{}}",1,"2026-01-01 00:00:00.000000"]"#);
            format!(r#"{{"results":[{},{}]}}"#, person("a"), person("b"))
        }
    });
    let project = Project::replicating("persons", "full-refresh", &server.origin());

    project.run().breaks_off("rows are not in the order asked for");

    assert_eq!(server.times_asked(), 2);
}

#[test]
fn a_stray_brace_in_a_row_is_not_json_and_takes_no_memory() {
    // The splitter counted its depth below zero and read on to the end of memory.
    let server = Server::answering(|_| r#"{"results":[["x"}]]}"#.into());
    let project = Project::replicating("persons", "full-refresh", &server.origin());

    project.run().breaks_off("not the JSON asked for");
}

/// The flags asked for, oldest change first whatever order is asked for.
fn flags(asked: &Asked, last_is_changed: bool) -> String {
    let (from, limit) = (asked.number("offset"), asked.number("limit"));
    let end = (from + limit).min(1001);
    let mut rows = String::new();
    for id in from..end {
        let (name, day) = match id {
            1000 if last_is_changed => ("changed", "2026-03-21T00:00:00".to_owned()),
            id => ("as it was", format!("2026-02-01T00:{:02}:{:02}", id / 60, id % 60)),
        };
        let comma = if id == from { "" } else { "," };
        write!(rows, r#"{comma}{{"id":{id},"name":"{name}","updated_at":"{day}Z"}}"#).unwrap();
    }
    let next = match end < 1001 {
        true => format!(r#""http://posthog.example/?limit={limit}&offset={end}""#),
        false => "null".to_owned(),
    };
    format!(r#"{{"count":1001,"next":{next},"results":[{rows}]}}"#)
}

#[test]
fn flags_in_another_order_than_asked_for_are_read_to_their_end() {
    // The walk ended on page one at the first flag that had not changed.
    let changed = Arc::new(AtomicBool::new(false));
    let is_changed = Arc::clone(&changed);
    let server = Server::answering(move |asked| flags(asked, is_changed.load(Ordering::Relaxed)));
    let project = Project::replicating("feature_flags", "incremental", &server.origin());
    project.run().succeeds();
    changed.store(true, Ordering::Relaxed);
    server.two_days_later();

    project.run().succeeds();

    assert_eq!(project.finds("SELECT name FROM feature_flags WHERE id = 1000"), ["changed"]);
    assert_eq!(project.finds("SELECT CAST(count(*) AS TEXT) FROM feature_flags"), ["1001"]);
}
