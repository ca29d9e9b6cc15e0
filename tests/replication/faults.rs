//! A source that fails in the middle: what came before it stays. See `grid::source` for all
//! that can go wrong there.

use hogline::sandbox::{Fault, FaultKind};

use crate::support::{PostHog, Project};

#[test]
fn a_fault_that_stays_is_told_and_what_came_before_it_stays() {
    let posthog = PostHog::playing(|options| {
        options.events = 1000;
        options.sql_cap = 200;
    });
    let later_ones: Vec<usize> = (8..100).collect();
    let fault = FaultKind::Status(503, String::new());
    posthog.fault(Fault::on("FROM events", fault).nth(&later_ones));
    let project = Project::incremental(&posthog, &["events"]);

    project.run().exits(6).says("stream `events` stopped at POST");

    let delivered = project.copy().count("events");
    assert!(delivered > 100, "only {delivered} of the rows that were delivered are there");
    posthog.clear_faults();
    project.run().succeeds();
    project.holds_exactly(&posthog, "events");
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
