//! Events that arrive behind the cursor are found.

use crate::support::{DAY, MINUTE, PostHog, Project};

/// A replication of events that ran once, and a minute later.
fn replicated(posthog: &PostHog, events: &str) -> Project {
    let project = Project::incremental(posthog, &[events]);
    project.run().succeeds();
    posthog.later(MINUTE);
    project
}

#[test]
fn events_two_days_late_come_with_the_next_run() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, "events");
    posthog.receives_events(30, 2 * DAY);
    posthog.receives_events(20, MINUTE / 60);

    let ran = project.run().succeeds();

    project.holds_exactly(&posthog, "events");
    let [new, updated, _, late] = ran.rows_of("events");
    assert_eq!((new, updated, late), (50, 0, 30), "{ran}");
}

#[test]
fn late_events_come_without_sql_too() {
    let posthog = PostHog::without_sql();
    let project = replicated(&posthog, "events");
    posthog.receives_events(30, 2 * DAY);
    posthog.receives_events(20, MINUTE / 60);

    let ran = project.run().succeeds();

    project.holds_exactly(&posthog, "events");
    assert_eq!(ran.rows_of("events")[0], 50, "{ran}");
}

#[test]
fn events_older_than_the_look_back_are_found_within_a_day() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, "events");
    posthog.receives_events(30, 10 * DAY);
    let ran = project.run().succeeds();
    assert_eq!(ran.rows_of("events")[0], 0, "the look-back alone does not reach them");
    posthog.later(DAY + MINUTE);

    let ran = project.run().succeeds();

    project.holds_exactly(&posthog, "events");
    let [new, updated, _, late] = ran.rows_of("events");
    assert_eq!((new, updated, late), (30, 0, 30), "{ran}");
}

#[test]
fn a_day_without_arrivals_is_not_read_again() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, "events");
    posthog.later(2 * DAY);
    posthog.clear_log();

    let ran = project.run().succeeds();

    assert_eq!(ran.rows_of("events")[..2], [0, 0], "{ran}");
    assert!(posthog.log().len() <= 6, "{:#?}", posthog.log());
}

#[test]
fn a_stream_may_look_back_less_far_than_others() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, "events: { lookback: 1d }");
    posthog.receives_events(30, 2 * DAY);
    posthog.receives_events(7, DAY / 2);

    let ran = project.run().succeeds();

    assert_eq!(ran.rows_of("events")[0], 7, "{ran}");
    posthog.later(DAY + MINUTE);
    project.run().succeeds();
    project.holds_exactly(&posthog, "events");
}

#[test]
fn a_stream_may_look_back_further_than_others() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, "events: { lookback: 20d }");
    posthog.receives_events(30, 10 * DAY);

    project.run().succeeds();

    project.holds_exactly(&posthog, "events");
}

#[test]
fn of_an_event_sent_twice_the_later_copy_stays() {
    let posthog = PostHog::start();
    let project = replicated(&posthog, "events");
    posthog.edits("events", 12);

    let ran = project.run().succeeds();

    project.holds_exactly(&posthog, "events");
    assert_eq!(ran.rows_of("events")[..2], [0, 12], "{ran}");
}
