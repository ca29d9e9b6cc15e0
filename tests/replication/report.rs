//! What a run shows to people: progress on a terminal, and a page, beside the report for programs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hogline::sandbox::{Fault, FaultKind, KEY};
use serde_json::json;

use crate::support::{PostHog, Project};

const PAGE: [&str; 2] = ["--report", "report.html"];

/// The page that the last run left.
fn page(project: &Project) -> String {
    fs::read_to_string(project.path("report.html")).unwrap()
}

#[track_caller]
fn shows(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part}\nis not in\n{page}");
    }
}

#[test]
fn a_run_leaves_a_page_and_a_report() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["events", "cohorts"]);
    project.run_with(&PAGE).succeeds();
    shows(&page(&project), &["Complete: 2 streams"]);
    assert!(!page(&project).contains("Runs so far"), "there is none before the first");

    let ran = project.run_with(&PAGE).succeeds();

    shows(&page(&project), &["Runs so far", "The last 2 runs", "posthog_events", "clickhouse"]);
    assert_eq!(ran.report.as_ref().unwrap()["version"], 1);
    let names = fs::read_dir(project.folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let drafts = names.filter(|name| name.to_string_lossy().starts_with("report.")).count();
    assert_eq!(drafts, 2, "a draft is left");
}

#[test]
fn a_report_tells_how_the_rows_came_in() {
    let posthog = PostHog::start();
    let ran = Project::full_refresh(&posthog, &["events"]).run().succeeds();

    let told = ran.told_of("events");
    let rows: Vec<u64> = serde_json::from_value(told["series"]["rows"].clone()).unwrap();
    assert!(rows.is_sorted() && rows.len() <= 120, "{rows:?}");
    // PostHog shows some events twice.
    let [new, updated, unchanged, _] = ran.rows_of("events");
    assert_eq!(rows.last(), Some(&(new + updated + unchanged)));
    let last = (rows.len() - 1) as f64 * told["series"]["every_seconds"].as_f64().unwrap();
    assert!(last <= told["seconds"].as_f64().unwrap(), "{told:#}");
}

#[test]
fn a_page_says_what_failed_and_what_to_do_whatever_the_server_says() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["cohorts", "actions"]);
    project.run().succeeds();
    let detail = format!("</style><script>alert('{KEY}')</script>");
    let body = json!({ "type": "authentication_error", "detail": detail }).to_string();
    posthog.fault(Fault::on("/cohorts/", FaultKind::Status(403, body)));

    project.run_with(&PAGE).exits(3);

    let page = page(&project);
    shows(&page, &["1 of 2 streams failed", "PostHog answered 403", "Fix:", "&lt;script&gt;"]);
    shows(&page, &["What is there is complete to 2026-03-10"]);
    assert!(!page.contains("<script"), "{page}");
    assert!(!page.contains(KEY), "{page}");
}

#[test]
fn a_run_that_could_not_begin_leaves_a_page_as_well() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["cohorts"]);
    posthog.fault(Fault::on("", FaultKind::Status(401, String::new())));

    let ran = project.run_with(&PAGE).exits(4);

    shows(&page(&project), &["Nothing was read: key or scope refused", "401", "Fix:"]);
    let report = ran.report.unwrap();
    assert_eq!((&report["exit"], &report["streams"]), (&json!(4), &json!([])));
    assert!(report["error"].as_str().unwrap().contains("401"), "{report}");
}

#[test]
fn a_report_that_cannot_be_written_does_not_hide_why_the_run_failed() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["cohorts"]);
    let nowhere = ["--report", "no/such/folder.html"];
    project.run_with(&nowhere).exits(7).says("the report cannot be written");
    posthog.fault(Fault::on("", FaultKind::Status(401, String::new())));

    project.run_with(&nowhere).exits(4).says("the report cannot be written").says("401");
}

/// Gives the program, in a shell, a terminal of its own; what is drawn there goes to stdout.
const ON_A_TERMINAL: &str = "TERM=xterm exec script -qec \"$*\" /dev/null";

#[test]
fn a_terminal_shows_how_far_each_stream_is() {
    if !Path::new("/usr/bin/script").exists() {
        return;
    }
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["events", "cohorts"]);
    posthog.fault(Fault::on("/cohorts/", FaultKind::Slow(Duration::from_secs(1))).first(1));

    let told = project.run_in_shell(ON_A_TERMINAL, &[]).succeeds();

    for part in ["cohorts | ", "0 rows, 0/s", "requests left: clickhouse", "cohorts: complete"] {
        assert!(told.stdout.contains(part), "{part:?} is not shown:\n{told}");
    }
    assert!(!told.stdout.contains("begins"), "{told}");
    let last = told.stdout.lines().last().unwrap();
    assert!(last.contains("complete to"), "something is left below the summary:\n{told}");

    // Logs for machines are not drawn over, nor is what nobody watches.
    posthog.later(Duration::from_secs(60));
    let told = project.run_in_shell(ON_A_TERMINAL, &["--log-format", "json"]).succeeds();
    assert!(told.stdout.contains("cohorts: begins") && !told.stdout.contains('\u{1b}'), "{told}");
    let told = project.run().succeeds();
    assert!(told.stderr.contains("cohorts: begins") && !told.stderr.contains('\u{1b}'), "{told}");
}
