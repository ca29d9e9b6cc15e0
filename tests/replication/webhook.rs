//! Somebody is told when a run ends otherwise than the one before.

use hogline::sandbox::{Fault, FaultKind, KEY};
use serde_json::json;

use crate::support::{PostHog, Project, Ran, Told, Webhook};

/// A server, a replication of two lists, and one who wants to know.
fn scene() -> (PostHog, Project, Webhook) {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["cohorts", "actions"]);
    (posthog, project, Webhook::answering(200))
}

fn run(project: &Project, webhook: &Webhook) -> Ran {
    project.run_with(&["--webhook", webhook.address()])
}

fn forbid(posthog: &PostHog, path: &str) {
    let body = json!({ "type": "authentication_error", "detail": format!("<!channel> {KEY}") });
    posthog.fault(Fault::on(path, FaultKind::Status(403, body.to_string())));
}

/// The address was kept from everybody.
#[track_caller]
fn is_not_shown(webhook: &Webhook, told: &Told) {
    let path = webhook.address().rsplit('/').next().unwrap();
    assert!(!format!("{told}").contains(path), "the address is shown:\n{told}");
}

#[test]
fn only_a_change_is_told() {
    let (posthog, project, webhook) = scene();

    run(&project, &webhook).succeeds();
    assert_eq!(webhook.told().len(), 0, "a first run that is complete is no news");
    forbid(&posthog, "/cohorts/");
    run(&project, &webhook).exits(3);
    let failed = webhook.told();
    run(&project, &webhook).exits(3);
    assert_eq!(webhook.told().len(), 0, "it was told");
    forbid(&posthog, "/actions/");
    run(&project, &webhook).exits(4);
    assert_eq!(webhook.told().len(), 1, "another stream fails");
    posthog.clear_faults();
    run(&project, &webhook).succeeds();
    let recovered = webhook.told();
    run(&project, &webhook).succeeds();
    assert_eq!(webhook.told().len(), 0, "all is well");

    let [failed] = &failed[..] else { panic!("{failed:?}") };
    assert_eq!((&failed["version"], &failed["outcome"]), (&json!(1), &json!("failed")));
    assert_eq!(failed["exit_code"], 3);
    assert_eq!(failed["failed"].as_array().unwrap().len(), 1, "{failed}");
    assert_eq!(failed["failed"][0]["stream"], "cohorts");
    assert!(failed["failed"][0]["message"].as_str().unwrap().contains("403"), "{failed}");
    assert_ne!(failed["failed"][0]["fix"], "", "{failed}");
    let text = failed["text"].as_str().unwrap();
    assert!(text.contains("✗ cohorts") && text.contains("&lt;!channel&gt;"), "{text}");
    let [recovered] = &recovered[..] else { panic!("{recovered:?}") };
    assert_eq!((&recovered["outcome"], &recovered["exit_code"]), (&json!("complete"), &json!(0)));
    assert_eq!(recovered["recovered"], json!(["cohorts", "actions"]));
}

#[test]
fn parts_of_a_replication_are_held_against_the_same_parts() {
    let (posthog, project, webhook) = scene();
    forbid(&posthog, "/cohorts/");
    run(&project, &webhook).exits(3);
    assert_eq!(webhook.told().len(), 1, "a first run that fails is news");

    let parts = |stream| project.run_with(&["--webhook", webhook.address(), "--streams", stream]);
    parts("actions").succeeds();
    parts("cohorts").exits(4);
    parts("actions").succeeds();

    assert_eq!(webhook.told().len(), 0);
}

#[test]
fn a_run_that_could_not_begin_is_told_as_well() {
    let (posthog, project, webhook) = scene();
    run(&project, &webhook).succeeds();
    posthog.fault(Fault::on("", FaultKind::Status(401, String::new())));

    run(&project, &webhook).exits(4);
    run(&project, &webhook).exits(4);

    let told = webhook.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["failed"].as_array().unwrap().len(), 2, "{told:?}");
    assert!(told[0]["text"].as_str().unwrap().contains("401"), "{told:?}");
}

#[test]
fn a_webhook_that_fails_is_a_warning() {
    let (posthog, project, _) = scene();
    forbid(&posthog, "/cohorts/");
    let (broken, moved) = (Webhook::answering(500), Webhook::answering(302));
    for (webhook, code, word) in [(&broken, 3, "answered 500"), (&moved, 0, "answered 302")] {
        let told = run(&project, webhook).exits(code).says("the webhook was not told").says(word);
        is_not_shown(webhook, &told);
        posthog.clear_faults();
    }

    // Nobody listens there.
    forbid(&posthog, "/actions/");
    let address = "http://127.0.0.1:1/services/secret-of-the-hook";
    let told = project.run_with(&["--webhook", address]);
    let told = told.exits(3).says("the webhook was not told").says("127.0.0.1:1");
    assert!(!told.stderr.contains("secret-of-the-hook"), "{told}");
}

#[test]
fn the_environment_may_name_it_and_a_wrong_address_is_not_repeated() {
    let (posthog, project, webhook) = scene();
    forbid(&posthog, "/cohorts/");
    project.writes(".env.hogline", &format!("HOGLINE_WEBHOOK={}\n", webhook.address()));

    let told = project.run().exits(3);

    assert_eq!(webhook.told().len(), 1);
    is_not_shown(&webhook, &told);
    let told = project.run_with(&["--webhook", "hooks.example.com/secret-of-the-hook"]).exits(2);
    assert!(!told.stderr.contains("secret-of-the-hook"), "{told}");
    assert!(told.stderr.contains("fix:"), "{told}");
}
