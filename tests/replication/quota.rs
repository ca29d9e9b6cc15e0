//! Runs of one machine share PostHog's quota.

use std::time::{Duration, Instant};

use hogline::sandbox::{Fault, FaultKind, Limits};

use crate::support::{PATIENCE, PostHog, Project};

/// What the stories allow: so many requests in a second.
const ALLOWED: usize = 10;

#[test]
fn two_runs_together_stay_within_the_quota() {
    let posthog = PostHog::playing(|options| {
        options.events = 800;
        options.sql_cap = 100;
    });
    let limited = || {
        Project::incremental(&posthog, &["events"])
            .with_input(&format!("limits: {{ query: [{ALLOWED}/1s] }}"))
    };
    let first = limited();
    let second = limited().at_home_of(&first);

    for run in [first.starts(), second.starts()] {
        run.ends().succeeds();
    }

    let came: Vec<Instant> =
        posthog.asked_about("FROM events").iter().map(|asked| asked.at).collect();
    assert!(came.len() > 2 * ALLOWED, "{} requests prove nothing", came.len());
    for first in &came {
        let window = *first..*first + Duration::from_secs(1);
        let within = came.iter().filter(|at| window.contains(*at)).count();
        // Each run may have two on their way from the second before.
        assert!(within <= ALLOWED + 4, "{within} requests within a second");
    }
    first.holds_exactly(&posthog, "events");
    second.holds_exactly(&posthog, "events");
}

/// An "hour" of two seconds in which forty queries are allowed, on both sides.
const MINIATURE: Limits = Limits::Scaled { faster: 1800, fewer: 60 };
/// Less on ours, by what may be on its way: where a machine is busy, requests take unevenly long,
/// and those reserved in one window come together with those of the next.
const LIMITS: &str = "limits: { query: [2/60ms, 36/2s], crud: [4/60ms, 72/2s] }";
const HOURS_BUDGET: usize = 40;

/// A server with limits, and events that take so many "hours" to read.
fn limited(hours: usize) -> PostHog {
    PostHog::playing(|options| {
        options.sql_cap = 20;
        options.events = hours * HOURS_BUDGET * options.sql_cap;
        options.limits = MINIATURE;
    })
}

#[track_caller]
fn was_never_throttled(posthog: &PostHog) {
    let refused = posthog.log().iter().filter(|asked| asked.status == 429).count();
    assert_eq!(refused, 0, "of {} requests", posthog.log().len());
}

/// No request was refused right after another one was.
#[track_caller]
fn never_twice_in_a_row(posthog: &PostHog) {
    let log = posthog.log();
    let refused: Vec<bool> = log.iter().map(|asked| asked.status == 429).collect();
    assert!(!refused.windows(2).any(|two| two == [true, true]), "{refused:?}");
}

#[test]
fn a_backfill_of_three_hours_budget_paces_itself() {
    let posthog = limited(3);
    let project = Project::incremental(&posthog, &["events"]).with_input(LIMITS);

    project.run_with(&["--mode", "backfill", "--range", "2026-01-01,2026-03-11"]).succeeds();

    assert!(posthog.asked_about("FROM events").len() >= 3 * HOURS_BUDGET);
    was_never_throttled(&posthog);
    project.holds_exactly(&posthog, "events");
}

#[test]
fn two_runs_pace_themselves_to_one_budget() {
    let posthog = limited(1);
    let first = Project::incremental(&posthog, &["events"]).with_input(LIMITS);
    let second = Project::incremental(&posthog, &["events"]).with_input(LIMITS).at_home_of(&first);

    for run in [first.starts(), second.starts()] {
        run.ends().succeeds();
    }

    assert!(posthog.asked_about("FROM events").len() >= 2 * HOURS_BUDGET);
    was_never_throttled(&posthog);
    first.holds_exactly(&posthog, "events");
    second.holds_exactly(&posthog, "events");
}

#[test]
fn a_run_that_may_not_wait_comes_back_and_goes_on() {
    let posthog = limited(1);
    // An even pace in place of the shorter window, for which nobody has to wait.
    let project = Project::incremental(&posthog, &["events", "cohorts"])
        .with_input("limits: { query: [20/1s, 20/3s], crud: [72/1s, 72/2s] }")
        .with_input("requests_per_second: 60");
    let starts = |posthog: &PostHog| posthog.starts_asked();

    let told = project.run_with(&["--max-wait", "0s"]).exits(5).says("come back in");

    assert!(
        told.stderr.contains("run again in")
            && told.stderr.contains(", at 20")
            && told.stderr.contains(" UTC"),
        "{told}"
    );
    // Its quota is another one.
    project.holds_exactly(&posthog, "cohorts");
    let before = starts(&posthog).len();
    assert!((10..=20).contains(&before) && project.copy().count("events") > 0, "{before} asked");
    let mut runs = 1;
    let begun = Instant::now();
    loop {
        let ran = project.run_with(&["--max-wait", "0s"]);
        runs += 1;
        assert!(begun.elapsed() < PATIENCE, "still not complete after {runs} runs");
        if ran.ended_with(0) {
            break;
        }
        ran.exits(5);
    }

    was_never_throttled(&posthog);
    let walked = starts(&posthog);
    // Every run counts what is left, finds the server's limit, and then goes on.
    let most = 40 + 8 * runs;
    assert!(walked.len() < most, "{} questions for forty pages in {runs} runs", walked.len());
    project.holds_exactly(&posthog, "events");
}

#[test]
fn after_a_429_nothing_is_asked_until_its_wait_is_over() {
    for wait in [Some(1), None] {
        let posthog = PostHog::playing(|options| options.sql_cap = 100);
        let project = Project::incremental(
            &posthog,
            &["cohorts", "actions", "insights", "annotations", "event_definitions"],
        )
        .with_input("concurrency: 1");
        posthog.fault(Fault::on("/cohorts/", FaultKind::Throttled(wait)).nth(&[1]));
        posthog.fault(Fault::on("/actions/", FaultKind::Throttled(wait)).nth(&[1]));

        project.run().succeeds();

        never_twice_in_a_row(&posthog);
        project.holds_exactly(&posthog, "event_definitions");
    }
}

#[test]
fn what_others_spend_is_learnt_from_one_429() {
    let posthog = limited(1);
    let ours = Project::incremental(&posthog, &["events"]).with_input(LIMITS);
    // On another machine: it has a ledger of its own.
    let others = Project::incremental(&posthog, &["events"]).with_input(LIMITS);
    others.run().succeeds();
    posthog.clear_log();

    ours.run().succeeds();

    never_twice_in_a_row(&posthog);
    ours.holds_exactly(&posthog, "events");
}
