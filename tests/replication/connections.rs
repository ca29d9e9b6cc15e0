//! Connections from the command line, and what is found out about them before a run.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use hogline::sandbox::{KEY, KEY_WITHOUT_COHORTS, PROJECT};

use crate::support::{PostHog, Project};

/// The values of `conns set` for a PostHog, under a name that the environment does not have.
fn set(posthog: &PostHog, key: &str) -> Vec<String> {
    let secrets = format!(
        "secrets={{ api_key: {key}, project_id: \"{PROJECT}\", host: \"{}\" }}",
        posthog.origin()
    );
    [
        "conns",
        "set",
        "EU",
        "type=api",
        "spec=posthog",
        &secrets,
        "inputs={ requests_per_second: 0 }",
    ]
    .map(str::to_owned)
    .into()
}

fn run(project: &Project, words: &[String]) -> crate::support::Told {
    project.hogline(&words.iter().map(String::as_str).collect::<Vec<_>>()).succeeds()
}

#[test]
fn a_connection_is_defined_tried_used_and_taken_away() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["cohorts"]);
    run(&project, &set(&posthog, KEY));
    let file = project.path("home/env.yaml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    project.hogline(&["conns", "set", "LAKE", "type=sqlite", "path=posthog.db"]).succeeds();

    let listed = project.hogline(&["conns", "list"]).succeeds();
    listed.says("POSTHOG").says("environment variable").says("LAKE").says("home/env.yaml");
    let tried = project.hogline(&["conns", "test", "EU"]).succeeds();
    tried.says("stream cohorts").says("may be read").says("clock").says("requests left");
    project.hogline(&["conns", "test", "LAKE"]).succeeds().says("can be written");
    assert!(!project.path("posthog.db").exists(), "trying made the database");
    project.hogline(&["conns", "discover", "EU"]).succeeds().says("session_recordings");
    let one = ["run", "--src-conn", "EU", "--src-stream", "cohorts", "--tgt-conn", "LAKE"];
    project.hogline(&one).succeeds();
    project.holds_exactly(&posthog, "cohorts");

    project.hogline(&["conns", "unset", "LAKE"]).succeeds();
    project.hogline(&one).exits(2).says("connection \"LAKE\"").says("is not defined");
    project.hogline(&["conns", "unset", "LAKE"]).exits(2).says("conns list");
    project.hogline(&["conns", "unset", "POSTHOG"]).exits(2).says("environment variable POSTHOG");
}

#[test]
fn what_somebody_wrote_into_env_yaml_stays() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["cohorts"]);
    let theirs = "# ours\nconnections:\n\n  # The lake.\n  LAKE: sqlite://posthog.db  # local\n";
    fs::create_dir_all(project.path("home")).unwrap();
    fs::write(project.path("home/env.yaml"), theirs).unwrap();

    run(&project, &set(&posthog, KEY));
    project.hogline(&["conns", "unset", "EU"]).succeeds();

    assert_eq!(fs::read_to_string(project.path("home/env.yaml")).unwrap(), theirs);
    for (bad, told) in [
        (vec!["type=api", "spec=posthog", "secrets={ api_key: x, projct_id: 1 }"], "projct_id"),
        (vec!["type=mysql", "host=h"], "mysql is not supported yet"),
        (vec!["type"], "expected key=value"),
    ] {
        project.hogline(&[&["conns", "set", "EU"][..], &bad].concat()).exits(2).says(told);
    }
    assert_eq!(fs::read_to_string(project.path("home/env.yaml")).unwrap(), theirs);
    fs::write(project.path("home/env.yaml"), "connections: { A: { type: file, path: x } }\n")
        .unwrap();
    let told = project.hogline(&["conns", "set", "DB", "type=file", "path=y"]).exits(2);
    told.says("edit it by hand");
}

#[test]
fn a_definition_that_does_not_count_is_told() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["cohorts"]);

    let told = project.hogline(&["conns", "set", "POSTHOG", "type=file", "path=x"]).succeeds();

    told.says("environment variable POSTHOG defines POSTHOG too, and is the one that counts");
}

#[test]
fn a_key_without_a_scope_is_told_for_each_stream() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["cohorts", "actions"]);
    let project = project.with_key(KEY_WITHOUT_COHORTS);

    let told = project.hogline(&["conns", "test", "POSTHOG"]).exits(3);

    let cohorts = told.stdout.lines().find(|line| line.contains("stream cohorts")).unwrap();
    assert!(cohorts.starts_with("FAIL") && cohorts.contains("cohort:read"), "{told}");
    told.says("fix: add the scope `cohort:read`");
    project.hogline(&["doctor", "-r", "replication.yaml"]).exits(3).says("stream actions");
}

#[test]
fn the_doctor_finds_nothing_wrong_and_writes_nothing() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["cohorts", "events"]);

    let told = project.hogline(&["doctor", "-r", "replication.yaml"]).succeeds();

    let told = told
        .says("POSTHOG into sqlite://")
        .says(": cohorts, events")
        .says("can be written")
        .says("none yet");
    assert!(!told.stdout.contains("FAIL"), "{told}");
    assert!(!project.path("posthog.db").exists() && !project.path("state").exists());
    project.run().succeeds();
    project
        .hogline(&["doctor", "-r", "replication.yaml"])
        .succeeds()
        .says("checkpoints of streams: 2");
    let told = project.hogline(&["doctor", "--format", "json"]).succeeds();
    let json: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(json["checks"][0]["check"], "POSTHOG: key and project", "{told}");
}

#[test]
fn the_doctor_names_what_is_wrong_and_the_way_out() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["cohorts"]);
    let doctor = ["doctor", "-r", "replication.yaml"];
    let good = fs::read_to_string(project.path("replication.yaml")).unwrap();

    project.writes("replication.yaml", &good.replace("cohorts", "cohrts"));
    project.hogline(&doctor).exits(2).says("did you mean \"cohorts\"?");
    project.writes("replication.yaml", &good);
    fs::create_dir(project.path("posthog.db")).unwrap();
    project.hogline(&doctor).exits(7).says("FAIL  target");
    fs::remove_dir(project.path("posthog.db")).unwrap();
    fs::create_dir(project.path("state")).unwrap();
    fs::write(project.path("state/hogline.db"), "notes\n".repeat(99)).unwrap();
    project.hogline(&doctor).exits(7).says("FAIL  state");
    let wrong_key =
        Project::incremental(&posthog, &["cohorts"]).with_key("phx_nobodys_key_0123456789");
    wrong_key.hogline(&doctor).exits(4).says("FAIL  key and project").says("fix: check the key");
}
