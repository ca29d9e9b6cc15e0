//! Events in SQL and by REST: out of order, out of range, over and over.

use std::time::Duration;

use hogline::cursor::Timestamp;

use crate::project::Project;
use crate::server::{Asked, Server};

/// Rows as SQL answers them, each an id and a time.
fn sql(rows: &[(&str, &str)]) -> String {
    let row = |(id, at): &(&str, &str)| {
        format!(r#"["{id}","e","d","{at}","{{}}","","p","2026-03-01 00:00:00.000000"]"#)
    };
    format!(r#"{{"results":[{}]}}"#, rows.iter().map(row).collect::<Vec<_>>().join(","))
}

/// Rows as the list answers them, each an id and a time.
fn list(rows: &[(&str, Timestamp)]) -> String {
    let row = |(id, at): &(&str, Timestamp)| {
        format!(r#"{{"id":"{id}","event":"e","distinct_id":"d","timestamp":"{at}"}}"#)
    };
    let rows: Vec<String> = rows.iter().map(row).collect();
    format!(r#"{{"next":null,"results":[{}]}}"#, rows.join(","))
}

/// A run of events, by key or by REST, ends with this cause, and within a few questions.
#[track_caller]
fn breaks_off(server: &Server, cause: &str) {
    let project = Project::replicating("events", "incremental", &server.origin()).without_chunks();

    project.run().breaks_off(cause);

    assert!(server.times_asked() <= 5, "asked {} times", server.times_asked());
}

const ONE: &str = "2026-03-01 01:00:00.000000";
const TWO: &str = "2026-03-01 02:00:00.000000";

#[test]
fn sql_that_alternates_between_two_rows_is_no_endless_walk() {
    // The walk went from one to the other and back, for ever.
    let server = Server::answering(|asked| match asked.nth % 2 {
        0 => sql(&[("a", TWO)]),
        _ => sql(&[("a", ONE)]),
    });

    breaks_off(&server, "a row lies outside of the window asked for");
}

#[test]
fn sql_rows_before_the_key_asked_with_are_refused_within_an_instant_too() {
    let server = Server::answering(|asked| match asked.nth % 2 {
        0 => sql(&[("b", ONE)]),
        _ => sql(&[("a", ONE)]),
    });

    breaks_off(&server, "a row does not come after the key asked with");
}

#[test]
fn sql_that_repeats_its_last_row_is_refused() {
    let server = Server::answering(|_| sql(&[("a", ONE)]));

    breaks_off(&server, "a row does not come after the key asked with");
}

#[test]
fn an_error_in_an_answer_that_says_200_is_an_error() {
    let server = Server::answering(|_| r#"{"error":"Unknown table","results":[]}"#.into());

    breaks_off(&server, "the query failed: Unknown table");
}

#[test]
fn an_audit_that_names_no_day_is_refused() {
    for day in ["yesterday", "2025-01-01"] {
        let server = Server::answering(move |asked| match asked.sql().contains("GROUP BY day") {
            true => format!(r#"{{"results":[["{day}",3]]}}"#),
            false => sql(&[]),
        });
        let project =
            Project::replicating("events", "incremental", &server.origin()).without_chunks();
        project.run().succeeds();
        server.two_days_later();

        project.run().breaks_off(&format!("`{day}` is no day of the range asked for"));
    }
}

#[test]
fn a_row_outside_of_its_chunk_is_refused() {
    // It may be another chunk's, and this one's be missing.
    for (at, counted) in [("2026-03-06 01:00:00.000000", "e"), (ONE, "d")] {
        let server = Server::answering(move |asked| match asked.sql().contains("GROUP BY day") {
            true => format!(r#"{{"results":[["2026-03-01","{counted}",1]]}}"#),
            false => sql(&[("a", at)]),
        });
        let project = Project::replicating("events", "incremental", &server.origin());

        project.run().breaks_off("a row lies outside of the chunk asked for");
    }
}

#[test]
fn counts_that_nobody_asked_for_are_refused() {
    for counts in [r#"["2025-01-01","e",1]"#, r#"["2026-03-02","e",1],["2026-03-01","e",1]"#] {
        let server = Server::answering(move |_| format!(r#"{{"results":[{counts}]}}"#));
        let project = Project::replicating("events", "incremental", &server.origin());

        project.run().breaks_off("counts are not of the days asked for, in their order");
    }
}

#[test]
fn a_list_that_reads_the_bounds_in_another_zone_is_refused() {
    // Rows that were never asked for were taken, and those of two hours were lost.
    let an_hour = Duration::from_secs(3600);
    let server = Server::without_sql(move |asked: &Asked| {
        let end = asked.time("before");
        list(&[("a", end.minus(an_hour)), ("b", end.plus(an_hour))])
    });

    breaks_off(&server, "a row lies outside of the range asked for");
}
