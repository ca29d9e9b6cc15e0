//! What the README shows runs as it stands.

use crate::support::{EVERYTHING, PostHog, Project};

const EXAMPLE: &str = include_str!("../../replication.example.yaml");

#[test]
fn the_demo_replicates_everything_twice() {
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog);

    let demo = project.hogline(&["demo", "--dir", "demo", "--events", "2000"]).succeeds();

    let complete = demo.stdout.lines().filter(|line| line.trim_end().ends_with("complete")).count();
    assert_eq!(complete, EVERYTHING.len(), "{demo}");
    assert!(!demo.stdout.contains("DIFFERS"), "{demo}");
    assert_eq!(posthog.log(), [], "the demo asked somebody else's PostHog");
    project.hogline(&["demo", "--dir", "demo", "--events", "2000"]).succeeds();
}

#[test]
fn the_example_replicates_everything() {
    let posthog = PostHog::start();
    let project = Project::of(&posthog, EXAMPLE);

    project.run().succeeds();

    for stream in EVERYTHING {
        project.holds_exactly(&posthog, stream);
    }
}

#[test]
fn parts_of_the_example_run_on_their_own() {
    let posthog = PostHog::start();
    let project = Project::of(&posthog, EXAMPLE);

    let ran = project.run_with(&["--streams", "cohorts,actions"]).succeeds();

    assert_eq!(ran.report.as_ref().unwrap()["streams"].as_array().unwrap().len(), 2, "{ran}");
    project.holds_exactly(&posthog, "cohorts");
    project.holds_exactly(&posthog, "actions");
}
