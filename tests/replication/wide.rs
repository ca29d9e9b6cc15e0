//! Wide ranges are read in chunks, along the order in which PostHog's store keeps events.

use std::collections::BTreeSet;

use hogline::sandbox::{Asked, Fault, FaultKind, Options};

use crate::support::{DAY, MINUTE, PATIENCE, PostHog, Project};

/// The built-in spec of events.
const SPEC: &str = include_str!("../../specs/events.yaml");

/// The aim: so many requests for a million events.
const REQUESTS_A_MILLION: usize = 40;

/// A server with three busy days.
fn busy(change: impl FnOnce(&mut Options)) -> PostHog {
    PostHog::playing(|options| {
        options.events = 1500;
        options.days = 3;
        options.persons = 200;
        change(options);
    })
}

/// A replication of events in chunks of so many rows.
fn in_chunks_of(rows: u32, posthog: &PostHog) -> Project {
    let project =
        Project::incremental(posthog, &["events"]).with_spec("[posthog, \"file://events.yaml\"]");
    project.writes("events.yaml", &SPEC.replace("rows: 45000", &format!("rows: {rows}")));
    project
}

/// The questions for records, chunk by chunk.
fn chunks_asked(posthog: &PostHog) -> Vec<Asked> {
    let asked = posthog.asked_about("SELECT toString(uuid)").into_iter();
    asked.filter(|asked| !asked.body.contains("ORDER BY")).collect()
}

/// Runs until the `n`-th request is asked, then is killed; tells whether it got so far.
#[track_caller]
fn killed_at(posthog: &PostHog, project: &Project, n: usize) -> bool {
    posthog.clear_log();
    posthog.fault(Fault::on("", FaultKind::Slow(60 * PATIENCE)).nth(&[n]));
    let report = project.path("report.json");
    let running = project.starts();
    posthog.until("it hangs or ends", |sandbox| sandbox.log().len() >= n || report.exists());
    let has_ended = report.exists();
    running.dies();
    posthog.clear_faults();
    !has_ended
}

#[test]
fn a_wide_range_costs_few_requests() {
    // A million events of three days, all a two-hundredth of its size.
    let posthog = busy(|options| options.events = 5000);
    let project = in_chunks_of(45_000 / 200, &posthog);

    project.run().succeeds();

    project.holds_exactly(&posthog, "events");
    let asked = posthog.asked_about("FROM events").len();
    assert!(asked <= REQUESTS_A_MILLION, "{asked} requests: {:#?}", posthog.log());
}

#[test]
fn chunks_share_a_day_an_event_and_a_hash() {
    for (rows, timezone) in [(45_000, 0), (300, -300), (40, 330)] {
        let posthog = busy(|options| options.timezone_offset_minutes = timezone);
        let project = in_chunks_of(rows, &posthog);

        project.run().succeeds();

        project.holds_exactly(&posthog, "events");
        let asked = chunks_asked(&posthog);
        assert!(asked.len() >= 1500 / rows as usize, "{} chunks", asked.len());
        let bodies: BTreeSet<&str> = asked.iter().map(|asked| asked.body.as_str()).collect();
        assert_eq!(bodies.len(), asked.len(), "a chunk was asked for twice");
    }
}

#[test]
fn a_run_killed_at_any_request_goes_on_with_the_next_chunk() {
    let posthog = busy(|_| {});
    for n in (1..).step_by(4) {
        let project = in_chunks_of(150, &posthog);
        if !killed_at(&posthog, &project, n) {
            assert!(n > 12, "it ended before request {n}");
            return;
        }
        let before: Vec<String> =
            chunks_asked(&posthog).into_iter().map(|asked| asked.body).collect();
        posthog.clear_log();

        project.run().succeeds();

        project.holds_exactly(&posthog, "events");
        let after: Vec<String> =
            chunks_asked(&posthog).into_iter().map(|asked| asked.body).collect();
        // One chunk arrives, and the next one is asked for already.
        let durable = &before[..before.len().saturating_sub(2)];
        assert!(after.iter().all(|body| !durable.contains(body)), "killed at {n}: asked again");
    }
}

#[test]
fn the_next_chunk_is_asked_for_while_one_arrives() {
    let posthog = busy(|_| {});
    let is_chunk = |asked: &Asked| {
        asked.body.contains("SELECT toString(uuid)") && !asked.body.contains("ORDER BY")
    };
    in_chunks_of(150, &posthog).run().succeeds();
    let first = posthog.log().iter().position(is_chunk).unwrap() + 1;
    posthog.clear_log();
    posthog.fault(Fault::on("", FaultKind::Slow(60 * PATIENCE)).nth(&[first]));
    let project = in_chunks_of(150, &posthog);

    let running = project.starts();
    posthog.until("the second chunk is asked for", |sandbox| {
        sandbox.log().iter().filter(|asked| is_chunk(asked)).count() == 2
    });
    running.dies();

    posthog.clear_faults();
    project.run().succeeds();
    project.holds_exactly(&posthog, "events");
}

#[test]
fn a_chunk_that_fails_needs_no_place_that_the_next_one_has() {
    let posthog = busy(|_| {});
    for concurrency in ["concurrency: 1", "concurrency: 2"] {
        for kind in [FaultKind::Reset, FaultKind::Status(504, String::new())] {
            posthog.fault(Fault::on("query", kind).nth(&[5, 6, 9, 14]));
            let project = in_chunks_of(150, &posthog).with_input(concurrency);
            let project = project.with_input("retry_wait: 20ms");

            project.run().succeeds();

            project.holds_exactly(&posthog, "events");
            posthog.clear_faults();
        }
    }
}

#[test]
fn a_server_of_2023_is_walked_by_key_inside_of_its_events() {
    let posthog = busy(|options| {
        options.old_sql = true;
        options.sql_cap = 50;
    });
    for n in [5, 14, 23, 32] {
        let project = in_chunks_of(45_000, &posthog);
        assert!(killed_at(&posthog, &project, n), "it ended before request {n}");

        project.run().succeeds();

        project.holds_exactly(&posthog, "events");
    }
}

#[test]
fn events_of_one_sender_are_walked_by_key() {
    // Three persons send all: no hash tells more than so many events apart.
    let posthog = busy(|options| options.persons = 3);
    for n in [9, 33] {
        let project = in_chunks_of(20, &posthog);
        assert!(killed_at(&posthog, &project, n), "it ended before request {n}");

        project.run().succeeds();

        project.holds_exactly(&posthog, "events");
    }
}

#[test]
fn chunks_get_smaller_where_the_server_cuts_answers() {
    let posthog = busy(|options| options.sql_cap = 130);
    let project = in_chunks_of(45_000, &posthog);

    project.run().succeeds();

    project.holds_exactly(&posthog, "events");
    assert!(chunks_asked(&posthog).len() > 1500 / 130);
}

#[test]
fn what_is_too_much_is_asked_for_in_parts() {
    // A week is too much, then a day, then the events of one name on a day.
    for (days, limit) in [(7, 800), (3, 350), (3, 60)] {
        let posthog = busy(|options| {
            options.events = 900;
            options.days = days;
            options.sql_read_limit = limit;
        });
        let project = in_chunks_of(45_000, &posthog);

        project.run().succeeds();

        project.holds_exactly(&posthog, "events");
        assert!(posthog.log().iter().any(|asked| asked.status == 504), "nothing was too much");
    }
}

#[test]
fn a_narrow_range_that_is_too_much_is_read_in_chunks() {
    for status in [504, 512] {
        let posthog = PostHog::start();
        let project = Project::incremental(&posthog, &["events"]);
        project.run().succeeds();
        posthog.later(MINUTE);
        posthog.receives_events(500, MINUTE / 60);
        posthog.receives_events(30, 2 * DAY);
        posthog.fault(Fault::on("ORDER BY timestamp", FaultKind::Status(status, String::new())));

        project.run().succeeds();

        project.holds_exactly(&posthog, "events");
    }
}

#[test]
fn a_short_answer_is_never_taken_for_a_chunk() {
    let nothing = FaultKind::Status(200, r#"{"results":[],"columns":[]}"#.into());
    let fault = Fault::on("SELECT toString(uuid)", nothing);
    let posthog = busy(|_| {});
    let project = in_chunks_of(300, &posthog);
    posthog.fault(fault.clone());

    project.run().exits(6).says("of a chunk only 0 were given");

    posthog.clear_faults();
    posthog.fault(fault.nth(&[2]));
    project.run().succeeds();
    project.holds_exactly(&posthog, "events");
}

#[test]
fn counts_only_say_where_to_cut() {
    // They know of one event on one day, and of too many of it.
    let counted = r#"{"results":[["2026-03-09","$pageview",999]],"columns":[]}"#;
    let posthog = busy(|_| {});
    posthog.fault(Fault::on("GROUP BY", FaultKind::Status(200, counted.into())).first(1));
    let project = in_chunks_of(45_000, &posthog);

    project.run().succeeds();

    project.holds_exactly(&posthog, "events");
}

#[test]
fn what_arrives_before_the_place_reached_comes_with_the_next_run() {
    let posthog = busy(|_| {});
    let project = in_chunks_of(300, &posthog);
    killed_at(&posthog, &project, 5);
    posthog.receives_events(40, DAY + DAY / 2);
    posthog.edits("events", 30);

    project.run().succeeds();

    project.holds_exactly(&posthog, "events");
}
