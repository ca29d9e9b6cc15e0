//! Runs that end before they are done, and the runs after them.
//!
//! Here a run ends when PostHog is asked something; `grid::crash` ends it everywhere else.

use std::time::{Duration, Instant};

use hogline::sandbox::{Fault, FaultKind, Sandbox};

use crate::support::{EVERYTHING, PATIENCE, PostHog, Project};

/// A server whose events take many pages.
fn with_many_pages(sql: bool) -> PostHog {
    PostHog::playing(|options| {
        options.events = 1000;
        options.sql = sql;
        options.sql_cap = 100;
        options.event_cap = 100;
    })
}

/// From now on the `n`-th request gets no answer.
fn hangs_at(posthog: &Sandbox, n: usize) {
    posthog.clear_faults();
    posthog.clear_log();
    posthog.fault(Fault::on("", FaultKind::Slow(60 * PATIENCE)).nth(&[n]));
}

/// Runs until the `n`-th request is asked, then is killed; tells what was asked.
#[track_caller]
fn killed_at(posthog: &PostHog, project: &Project, n: usize) -> usize {
    hangs_at(posthog, n);
    let running = project.starts();
    posthog.until(&format!("request {n} came"), |sandbox| sandbox.log().len() >= n);
    running.dies();
    posthog.clear_faults();
    let asked = posthog.log().len();
    posthog.clear_log();
    asked
}

#[test]
fn a_run_of_everything_killed_anywhere_is_finished_by_the_next() {
    let posthog = with_many_pages(true);
    for n in [2, 12, 23, 34] {
        let project = Project::of_everything(&posthog);
        killed_at(&posthog, &project, n);

        project.run().succeeds();

        for stream in EVERYTHING {
            project.holds_exactly(&posthog, stream);
        }
    }
}

#[test]
fn no_page_is_fetched_again_but_the_one_in_hand() {
    for sql in [true, false] {
        let posthog = with_many_pages(sql);
        let project = Project::incremental(&posthog, &["events"]);
        hangs_at(&posthog, 10);
        let running = project.starts();
        posthog.until("request 10 came", |sandbox| sandbox.log().len() >= 10);
        running.dies();
        posthog.clear_faults();
        let before = posthog.starts_asked();
        posthog.clear_log();

        project.run().succeeds();

        project.holds_exactly(&posthog, "events");
        // A chunk may be asked for while the one before it is in hand.
        let under_way = if sql { 2 } else { 1 };
        let in_hand = &before[before.len() - under_way..];
        let first = posthog.starts_asked().swap_remove(0);
        assert!(in_hand.contains(&first), "{first} after {before:#?}");
    }
}

#[test]
fn a_signal_ends_a_run_at_once_and_costs_nothing() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let posthog = with_many_pages(true);
        let project = Project::incremental(&posthog, &["events"]);
        hangs_at(&posthog, 12);
        let running = project.starts();
        posthog.until("request 12 came", |sandbox| sandbox.log().len() >= 12);

        running.receives(signal);
        let begun = Instant::now();
        running.ends().exits(code).says("run again");

        assert!(begun.elapsed() < Duration::from_secs(3), "took {:?} to stop", begun.elapsed());
        assert!(project.copy().count("events") > 200, "nothing was committed");
        posthog.clear_faults();
        project.run().succeeds();
        project.holds_exactly(&posthog, "events");
    }
}

#[test]
fn a_second_run_on_the_same_state_leaves_at_once() {
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog);
    hangs_at(&posthog, 3);
    let first = project.starts();
    posthog.until("the first run asks", |sandbox| sandbox.log().len() >= 3);

    let pid = first.pid().to_string();
    project.run().exits(75).says(&pid);

    first.dies();
    posthog.clear_faults();
    project.run().succeeds();
    project.holds_exactly(&posthog, "events");
}

#[test]
fn a_copy_in_the_making_is_seen_by_nobody() {
    let posthog = with_many_pages(true);
    let project = Project::full_refresh(&posthog, &["events"]);
    project.run().succeeds();
    let before = project.copy().everything();
    posthog.delete("events", 50);

    killed_at(&posthog, &project, 8);

    assert_eq!(project.copy().everything()["posthog_events"], before["posthog_events"]);
    project.run().succeeds();
    project.holds_exactly(&posthog, "events");
}

#[test]
fn a_signal_ends_a_wait() {
    let posthog = PostHog::start();
    posthog.fault(Fault::on("/cohorts/", FaultKind::Throttled(Some(60))));
    let project = Project::incremental(&posthog, &["cohorts"]);
    let running = project.starts();
    posthog.until("the run waits", |_| !posthog.asked_about("/cohorts/").is_empty());

    running.receives("TERM");
    let begun = Instant::now();
    running.ends().exits(143);

    assert!(begun.elapsed() < Duration::from_secs(3), "took {:?} to stop", begun.elapsed());
}

#[test]
fn a_signal_is_heard_while_another_program_holds_a_database() {
    // Each was waited for, the target for 60 s, whatever was asked.
    for (database, waits_after) in [
        ("state/hogline.db", "state opened"),
        ("posthog.db", "before BEGIN"),
        ("home/quota.db", "target recalled"),
    ] {
        for (signal, code) in [("TERM", 143), ("INT", 130)] {
            let posthog = with_many_pages(true);
            let project = Project::incremental(&posthog, &["events"]);
            project.run().succeeds();
            posthog.receives_events(10, Duration::from_secs(60));
            let holder = rusqlite::Connection::open(project.path(database)).unwrap();
            holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
            let running = project.starts_watched();
            let passed = |moment: &str| project.passed().iter().any(|passed| passed == moment);
            posthog.until("it waits", |_| passed(waits_after));

            running.receives(signal);
            let begun = Instant::now();
            running.ends().exits(code).says("run again");

            assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
            drop(holder);
            project.run().succeeds();
            project.holds_exactly(&posthog, "events");
        }
    }
}

#[test]
fn an_interrupted_copy_is_finished_in_any_mode() {
    let posthog = with_many_pages(true);
    for first in ["full-refresh", "truncate", "incremental"] {
        for then in ["full-refresh", "truncate", "incremental"] {
            let project = Project::in_mode(&posthog, first, &["events", "persons"]);
            killed_at(&posthog, &project, 12);

            project.now_replicates(then, &["events", "persons"]);
            project.run().succeeds();

            project.holds_exactly(&posthog, "events");
            project.holds_exactly(&posthog, "persons");
        }
    }
}

#[test]
fn an_interrupted_backfill_leaves_no_gap() {
    let posthog = with_many_pages(true);
    let project = Project::incremental(&posthog, &["events"]);
    hangs_at(&posthog, 6);
    let running = project.starts_with(&["--mode", "backfill", "--range", "2026-01-20,2026-03-01"]);
    posthog.until("request 6 came", |sandbox| sandbox.log().len() >= 6);
    running.dies();
    posthog.clear_faults();

    project.run().succeeds();

    project.holds_exactly(&posthog, "events");
}

#[test]
fn a_walk_begun_in_sql_goes_on_by_the_list_and_back() {
    let posthog = with_many_pages(true);
    let project = Project::incremental(&posthog, &["events"]);
    killed_at(&posthog, &project, 12);
    let gone = "{\"type\":\"invalid_request\",\"code\":\"not_found\",\"detail\":\"Not found.\"}";

    posthog.fault(Fault::on("/query/", FaultKind::Status(404, gone.into())));
    let ran = project.run().succeeds();
    assert_eq!(ran.told_of("events")["read_by"], "rest");
    project.holds_exactly(&posthog, "events");
    posthog.clear_faults();
    posthog.later(Duration::from_secs(60));
    posthog.receives_events(10, Duration::from_secs(86_400));
    let ran = project.run().succeeds();

    assert_eq!(ran.told_of("events")["read_by"], "sql");
    project.holds_exactly(&posthog, "events");
}

#[test]
fn a_reset_holds_although_the_run_after_it_was_killed() {
    let posthog = with_many_pages(true);
    let project = Project::incremental(&posthog, &["events"]);
    project.run().succeeds();
    project.changes_database("DELETE FROM posthog_events WHERE rowid % 2 = 0");
    project.hogline(&["state", "reset", "--stream", "events"]).succeeds();
    killed_at(&posthog, &project, 12);

    project.run().succeeds();

    project.holds_exactly(&posthog, "events");
}
