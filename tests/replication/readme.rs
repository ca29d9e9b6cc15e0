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
fn the_sandbox_lives_on_when_it_is_told_to() {
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog);
    let sandbox = ["sandbox", "--listen", "127.0.0.1:0", "--events", "500"];
    let mut running = project.starts_command(&sandbox);
    running.prints("export POSTHOG=");

    running.receives("USR1");
    running.prints("50 events happened and 50 arrived that are two days old");
    running.receives("TERM");

    running.ends().succeeds();
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

#[test]
fn what_the_readme_says_of_verifying_and_of_the_state_runs() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["events", "cohorts"]);
    project.run().succeeds();

    for command in [
        "verify -r replication.yaml",
        "verify -r replication.yaml --streams cohorts --sample all --repair --format json",
        "state list",
        "state show --stream events --format json",
        "state runs --format json",
        "state set --stream events --complete-to 2026-02-01 --from 2025-01-01",
        "state rewind --stream events --to 2026-02-01",
        "run -r replication.yaml --only-failed",
        "run -r replication.yaml --max-wait 30s",
    ] {
        project.hogline(&command.split(' ').collect::<Vec<_>>()).succeeds();
    }
    let state = project.hogline(&["state", "export"]).succeeds().stdout;
    project.writes("state.json", &state);
    project.hogline(&["state", "import", "state.json", "--force"]).succeeds();
    project.run().succeeds();

    project.holds_exactly(&posthog, "events");
    project.holds_exactly(&posthog, "cohorts");
}

#[test]
fn every_exit_code_means_what_the_readme_says() {
    let readme = include_str!("../../README.md");
    for (code, meaning, _) in hogline::error::EXPLAINED {
        let code = if code > 128 { "130, 143".to_owned() } else { code.to_string() };
        assert!(readme.contains(&format!("| {code} | {meaning} |")), "{code}: {meaning}");
    }
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog);
    project.hogline(&["explain"]).succeeds().says("state and target disagree");
    project.hogline(&["explain", "9"]).succeeds().says("hogline state reset");
    project.hogline(&["explain", "10"]).exits(2).says("0, 2, 3, 4, 5, 6, 7, 8, 9, 75, 130, 143");
}

#[test]
fn shells_and_manuals_know_every_command() {
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog);
    for shell in ["bash", "zsh", "fish"] {
        let script = project.hogline(&["completions", shell]).succeeds();
        script.says("only-failed").says("doctor");
    }
    project.hogline(&["man"]).succeeds().says(".TH");
    project.hogline(&["man", "--dir", "man"]).succeeds();
    assert!(project.path("man/hogline-conns-set.1").exists());
}
