//! The key is nobody else's: every run checks that it is in no output and no file.

use hogline::sandbox::{Fault, FaultKind, KEY};

use crate::support::{PostHog, Project};

/// Runs with all there is to tell, in both forms of the log.
#[track_caller]
fn tells_everything(project: &Project, code: i32) {
    project.run_with(&["--debug"]).exits(code);
    project.run_with(&["--debug", "--log-format", "json"]).exits(code);
}

#[test]
fn a_talkative_run_keeps_the_key() {
    let posthog = PostHog::start();

    tells_everything(&Project::of_everything(&posthog), 0);
}

#[test]
fn a_server_that_repeats_the_key_does_not_make_it_known() {
    for status in [400, 403, 404] {
        let posthog = PostHog::start();
        let detail = format!("What is {KEY}?");
        let body = serde_json::json!({ "type": "invalid_request", "detail": detail }).to_string();
        posthog.fault(Fault::on("/cohorts/", FaultKind::Status(status, body)));
        let project = Project::full_refresh(&posthog, &["cohorts", "actions"]);

        tells_everything(&project, 3);
    }
}

#[test]
fn a_record_that_holds_the_key_is_told_to_nobody() {
    let posthog = PostHog::start();
    let body = format!("{{\"count\": 9, \"next\": null, \"results\": [{{\"id\": \"{KEY}");
    posthog.fault(Fault::on("/cohorts/", FaultKind::Status(200, body)).first(9));
    let project = Project::full_refresh(&posthog, &["cohorts"]);

    project.run_with(&["--debug"]).exits(6);
}
