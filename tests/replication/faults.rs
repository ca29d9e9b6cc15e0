//! What goes wrong on the way is survived, or told without a loss.

use std::fs;
use std::thread;

use hogline::sandbox::{Fault, FaultKind};

use crate::support::{PostHog, Project};

fn with_many_pages(sql: bool) -> PostHog {
    PostHog::playing(|options| {
        options.events = 1000;
        options.sql = sql;
        options.sql_cap = 200;
        options.event_cap = 450;
    })
}

/// Faults that pass when asked again.
fn passing_faults() -> Vec<FaultKind> {
    vec![
        FaultKind::Status(500, String::new()),
        FaultKind::Status(503, String::new()),
        FaultKind::HtmlStatus(502),
        FaultKind::Reset,
        FaultKind::CutJson,
        FaultKind::Html,
        FaultKind::CutGzip,
        FaultKind::Throttled(Some(1)),
    ]
}

/// Runs each case in a thread of its own: their waits are the same seconds.
fn each(faults: Vec<FaultKind>, story: impl Fn(FaultKind) + Sync) {
    thread::scope(|scope| {
        for fault in faults {
            scope.spawn(|| story(fault));
        }
    });
}

#[test]
fn a_fault_that_passes_costs_a_moment_and_no_row() {
    each(passing_faults(), |fault| {
        let posthog = with_many_pages(true);
        posthog.fault(Fault::on("FROM events", fault.clone()).nth(&[3]));
        posthog.fault(Fault::on("/annotations/", fault).nth(&[2]));
        let project = Project::incremental(&posthog, &["events", "annotations"]);

        project.run().succeeds();

        project.holds_exactly(&posthog, "events");
        project.holds_exactly(&posthog, "annotations");
    });
}

#[test]
fn a_fault_that_passes_costs_the_lists_no_row() {
    each(passing_faults(), |fault| {
        let posthog = with_many_pages(false);
        posthog.fault(Fault::on("/events/", fault.clone()).nth(&[3]));
        posthog.fault(Fault::on("/session_recordings/", fault).nth(&[2]));
        let project = Project::incremental(&posthog, &["events", "session_recordings"]);

        project.run().succeeds();

        project.holds_exactly(&posthog, "events");
        project.holds_exactly(&posthog, "session_recordings");
    });
}

#[test]
fn a_fault_that_stays_is_told_and_what_came_before_it_stays() {
    let later_ones: Vec<usize> = (8..100).collect();
    let faults = vec![
        FaultKind::Status(503, String::new()),
        FaultKind::Reset,
        FaultKind::Html,
        FaultKind::CutJson,
    ];
    each(faults, |fault| {
        let posthog = with_many_pages(true);
        posthog.fault(Fault::on("FROM events", fault).nth(&later_ones));
        let project = Project::incremental(&posthog, &["events"]);

        project.run().exits(6).says("stream `events` stopped at POST");

        let delivered = project.copy().count("events");
        assert!(delivered > 100, "only {delivered} of the rows that were delivered are there");
        posthog.clear_faults();
        project.run().succeeds();
        project.holds_exactly(&posthog, "events");
    });
}

#[test]
fn a_wait_longer_than_allowed_is_left_to_a_later_run() {
    let posthog = with_many_pages(true);
    posthog.fault(Fault::on("FROM events", FaultKind::Throttled(Some(3600))).nth(&[4]));
    let project = Project::incremental(&posthog, &["events"]).with_input("max_wait: 1s");

    project.run().exits(5).says("run again in 1 h");

    // The next run on this machine knows without asking.
    posthog.clear_log();
    project.run().exits(5);
    assert!(posthog.asked_about("FROM events").is_empty());
    // An hour later the ledger would let it through; another machine's does now.
    fs::remove_dir_all(project.path("home")).unwrap();
    project.run().succeeds();
    project.holds_exactly(&posthog, "events");
}

#[test]
fn a_link_to_another_host_is_never_followed() {
    let stranger = PostHog::start();
    for sql in [true, false] {
        let posthog = with_many_pages(sql);
        posthog.fault(Fault::on("", FaultKind::ForeignNext(stranger.origin())));
        let streams = ["events", "persons", "annotations", "insights", "session_recordings"];
        let project = Project::incremental(&posthog, &streams);

        project.run().succeeds();

        for stream in streams {
            project.holds_exactly(&posthog, stream);
        }
    }
    assert_eq!(stranger.log(), []);
}

#[test]
fn a_redirect_is_refused() {
    let stranger = PostHog::start();
    let posthog = PostHog::start();
    posthog.fault(Fault::on("/cohorts/", FaultKind::Redirect(stranger.origin())));
    let project = Project::full_refresh(&posthog, &["cohorts"]);

    project.run().exits(6).says("stream `cohorts` stopped at GET").says("302");

    assert_eq!(stranger.log(), []);
}

#[test]
fn a_store_that_can_only_sort_a_few_days_is_asked_for_few() {
    // One day holds 400 events of one instant besides its own.
    let posthog = PostHog::playing(|options| options.sql_read_limit = 600);
    let project = Project::incremental(&posthog, &["events"]);

    project.run().succeeds();

    project.holds_exactly(&posthog, "events");
    assert!(posthog.log().iter().any(|asked| asked.status == 504), "nothing was too large");
}
