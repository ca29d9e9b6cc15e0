//! Rows on stdout.

use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::support::{PostHog, Project};

const ONE: [&str; 5] = ["run", "--src-conn", "POSTHOG", "--src-stream", "events"];

#[test]
fn one_stream_is_printed_for_other_programs() {
    let posthog = PostHog::playing(|options| {
        options.events = 1_500;
        options.sql_cap = 400;
    });
    let project = Project::incremental(&posthog, &["events", "cohorts"]);
    project.run().succeeds();
    let expected: i64 = posthog.count("events");

    let told = project.hogline(&[&ONE[..], &["--stdout=jsonl"]].concat()).succeeds();

    let ids: Vec<Value> = told
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|err| panic!("{err}: {line}")))
        .collect();
    let keys: Vec<String> = ids
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            format!(
                "{} {} {} {}",
                text("event_date"),
                text("id"),
                text("event"),
                text("distinct_id")
            )
        })
        .collect();
    // Every key once, though PostHog shows copies that it has not merged.
    assert_eq!(i64::try_from(ids.len()).unwrap(), expected);
    let keys: std::collections::BTreeSet<String> = keys.into_iter().collect();
    assert_eq!(keys.len(), ids.len());
    assert!(ids[0]["properties"].is_object() && ids[0].get("_hogline_seq").is_none(), "{}", ids[0]);
    assert!(told.stderr.contains("events") && told.stderr.contains("complete to"), "{told}");

    let csv = ["--stdout", "--limit", "450", "--select", "event,distinct_id"];
    let told = project.hogline(&[&ONE[..], &csv].concat()).succeeds();
    let lines: Vec<&str> = told.stdout.lines().collect();
    assert!((430..=451).contains(&lines.len()), "{told}");
    assert_eq!(lines[0], "id,event,distinct_id,timestamp,event_date,created_at");
    assert_eq!(lines.iter().filter(|line| line.starts_with("id,")).count(), 1);
    assert!(lines[420].split(',').count() == 6, "{}", lines[420]);

    let by_file = ["run", "-r", "replication.yaml", "--stdout=jsonl"];
    project.hogline(&by_file).exits(2).says("here are 2: events, cohorts");
    let told = project.hogline(&[&by_file[..], &["--streams", "cohorts"]].concat()).succeeds();
    assert_eq!(i64::try_from(told.stdout.lines().count()).unwrap(), posthog.count("cohorts"));
    // Nothing was moved.
    assert_eq!(project.run().succeeds().rows_of("events")[..2], [0, 0]);
    project.hogline(&ONE).exits(2).says("neither --tgt-conn nor --stdout is given");
}

#[test]
fn a_reader_that_goes_away_ends_the_run() {
    let posthog = PostHog::playing(|options| options.sql_cap = 100);
    let project = Project::incremental(&posthog, &["events"]);
    let script = "HOGLINE=\"$1\"; \"$HOGLINE\" run --src-conn POSTHOG --src-stream events \
        --stdout=jsonl 2>err | head -n 3; cat err >&2";

    let told = project.run_in_shell(script, &[]).succeeds();

    assert_eq!(BufReader::new(told.stdout.as_bytes()).lines().count(), 3, "{told}");
    assert!(told.stderr.contains("nobody reads it any more"), "{told}");
}
