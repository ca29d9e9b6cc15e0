//! What there is to replicate, built in or one's own.

use serde_json::{Value, json};

use crate::support::{EVERYTHING, PostHog, Project};

/// A stream that hogline does not know: only the groups of a project's cohorts, say.
const OWN_SPEC: &str = "\
stream: cohort_names
description: Cohorts, by name alone.
docs: https://posthog.com/docs/api/cohorts
scope: cohort:read
quota: [crud]
primary_key: [id]
columns:
  id: bigint
  name: text
read:
  - path: rest
    paging: offset
    url: /api/projects/{project_id}/cohorts/
    page_size: 1000
    overlap: 10
    undeclared: leave_out
";

#[test]
fn every_stream_is_listed_with_what_one_needs_to_know() {
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog);

    let table = project.hogline(&["discover"]).succeeds();
    let json = project.hogline(&["discover", "--format", "json"]).succeeds();

    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let streams = json["streams"].as_array().unwrap();
    let mut names: Vec<&str> = streams.iter().map(|s| s["stream"].as_str().unwrap()).collect();
    names.sort_unstable();
    let mut expected = EVERYTHING.to_vec();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for stream in streams {
        let name = stream["stream"].as_str().unwrap();
        assert!(table.stdout.contains(name), "{name} is not in the table:\n{table}");
        assert!(stream["scope"].as_str().unwrap().ends_with(":read"), "{stream}");
        assert!(!stream["primary_key"].as_array().unwrap().is_empty(), "{stream}");
        assert!(stream["columns"].as_array().unwrap().len() > 1, "{stream}");
        assert!(stream["modes"].as_array().unwrap().contains(&"full-refresh".into()), "{stream}");
        assert!(stream["endpoint"].as_str().unwrap().starts_with("/api/projects/"), "{stream}");
    }
    let events = streams.iter().find(|stream| stream["stream"] == "events").unwrap();
    assert_eq!(events["incremental"], true);
    assert_eq!(events["incremental_by"], "timestamp");
    assert_eq!(events["depends_on"], "project_id");
    assert_eq!(posthog.log(), [], "the registry needs no PostHog");
}

#[test]
fn a_connection_tells_whether_it_answers_sql() {
    for (posthog, answers) in [(PostHog::start(), true), (PostHog::without_sql(), false)] {
        let project = Project::of_everything(&posthog);

        let json = project.hogline(&["discover", "POSTHOG", "--format", "json"]).succeeds();
        let table = project.hogline(&["discover", "POSTHOG"]).succeeds();

        let json: Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(json["sql"], answers);
        let sentence = if answers { "answers SQL" } else { "does not answer SQL" };
        assert!(table.stdout.contains(sentence), "{table}");
    }
}

#[test]
fn ones_own_spec_adds_a_stream_that_replicates() {
    let posthog = PostHog::start();
    let project = Project::full_refresh(&posthog, &["cohort_names"])
        .with_spec("[posthog, \"file://own.yaml\"]");
    project.writes("own.yaml", OWN_SPEC);

    project.hogline(&["discover", "POSTHOG"]).succeeds().says("cohort_names");
    project.run().succeeds();

    let here =
        project.copy().lines("SELECT id || ' ' || name FROM posthog_cohort_names ORDER BY id");
    let there = posthog.truth("cohorts");
    let line = |cohort: &Value| format!("{} {}", cohort["id"], cohort["name"].as_str().unwrap());
    assert_eq!(here, there.iter().map(line).collect::<Vec<_>>());
}

#[test]
fn the_streams_are_sources_of_dbt() {
    let posthog = PostHog::start();
    let project = Project::of_everything(&posthog);

    let told = project.hogline(&["discover", "--format", "dbt"]).succeeds();

    let sources = hogline::config::yaml::parse(&told.stdout).unwrap().to_json();
    let tables = sources["sources"][0]["tables"].as_array().unwrap();
    let names: Vec<&str> = tables.iter().map(|table| table["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), EVERYTHING.len(), "{names:?}");
    let cohorts = tables.iter().find(|table| table["name"] == "cohorts").unwrap();
    let id = &cohorts["columns"][0];
    assert_eq!((&id["name"], &id["data_type"]), (&json!("id"), &json!("bigint")));
    assert_eq!(id["data_tests"], json!(["unique", "not_null"]));
}
