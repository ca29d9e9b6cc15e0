//! Runs of one machine share PostHog's quota.

use std::time::{Duration, Instant};

use crate::support::{PostHog, Project};

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

    let runs = [first.starts(), second.starts()];
    let mut seen = Vec::new();
    let mut watched = [false, false];
    posthog.until("both runs have read all", |_| {
        let asked = posthog.asked_about("FROM events").len();
        seen.resize(asked, Instant::now());
        for (is_done, project) in watched.iter_mut().zip([&first, &second]) {
            *is_done |= project.path("report.json").exists();
        }
        watched == [true, true]
    });
    for run in runs {
        run.ends().succeeds();
    }

    assert!(seen.len() > 2 * ALLOWED, "{} requests prove nothing", seen.len());
    // Half of it: the machine may be slow to notice what was asked.
    let half_a_second = Duration::from_millis(500);
    for first in &seen {
        let within = seen.iter().filter(|at| *at >= first && **at - *first < half_a_second).count();
        assert!(within <= ALLOWED, "{within} requests within half a second");
    }
    first.holds_exactly(&posthog, "events");
    second.holds_exactly(&posthog, "events");
}
