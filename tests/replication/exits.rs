//! Every way a run ends: its code, its words, its way out.

use std::fs;

use hogline::sandbox::{Fault, FaultKind, KEY_WITHOUT_COHORTS};

use crate::support::{MINUTE, PATIENCE, PostHog, Project, Ran};

/// What leads to an ending: given a server and a replication of events and cohorts that ran once.
type Situation = fn(&PostHog, Project) -> Ran;

/// The code, what is said, and what the way out says.
type Ending = (i32, &'static str, &'static str);

/// A story for each exit code, but 8, which is `verify`'s.
const ENDINGS: [(Situation, Ending); 11] = [
    (|_, project| project.run(), (0, "complete to", "")),
    (|_, project| project.run_with(&["--streams", "evnts"]), (2, "`evnts` is not a stream", "")),
    (|_, project| project.with_project_id("99999").run(), (2, "404", "check the project id")),
    (
        |_, project| project.with_key(KEY_WITHOUT_COHORTS).run(),
        (3, "stream `cohorts` stopped", "add the scope `cohort:read`"),
    ),
    (
        |_, project| project.with_key("phx_nobodys_key_0123456789").run(),
        (4, "401", "check the key"),
    ),
    (
        |posthog, project| {
            posthog.fault(Fault::on("/cohorts/", FaultKind::Throttled(Some(3600))));
            project.run_with(&["--max-wait", "1s"])
        },
        (5, "come back in 1 h", "run again in 1 h, at 20"),
    ),
    (
        |posthog, project| {
            posthog.fault(Fault::on("", FaultKind::Redirect("https://example.com/".into())));
            project.run()
        },
        (6, "redirect", "check that the host is PostHog itself"),
    ),
    (
        |posthog, project| {
            posthog.edits("cohorts", 3);
            project.changes_database(
                "CREATE TRIGGER no BEFORE INSERT ON posthog_cohorts
                 BEGIN SELECT RAISE(ABORT, 'not today'); END",
            );
            project.run_with(&["--streams", "cohorts"])
        },
        (7, "not today", ""),
    ),
    (
        |_, project| {
            fs::remove_file(project.path("posthog.db")).unwrap();
            project.run()
        },
        (9, "state and target disagree", "hogline state reset --stream events"),
    ),
    (
        |posthog, project| {
            posthog.fault(Fault::on("", FaultKind::Slow(60 * PATIENCE)).first(1));
            let running = project.starts();
            posthog.until("the first run hangs", |sandbox| !sandbox.log().is_empty());
            let second = project.run();
            running.dies();
            second
        },
        (75, "another run is using this state", "wait until it ends"),
    ),
    (
        |posthog, project| stopped(posthog, &project, "INT"),
        (130, "stopped", "run again: it goes on after the last page"),
    ),
];

fn stopped(posthog: &PostHog, project: &Project, signal: &str) -> Ran {
    posthog.fault(Fault::on("FROM events", FaultKind::Slow(60 * PATIENCE)));
    let running = project.starts();
    posthog.until("events are asked for", |_| !posthog.asked_about("FROM events").is_empty());
    running.receives(signal);
    running.ends()
}

/// A server with little of everything.
fn small() -> PostHog {
    PostHog::playing(|options| {
        options.events = 100;
        options.persons = 20;
        options.recordings = 10;
    })
}

/// A replication of events and cohorts that ran once, an hour ago.
fn that_ran(posthog: &PostHog) -> Project {
    let project = Project::incremental(posthog, &["events", "cohorts"]);
    project.run().succeeds();
    posthog.later(60 * MINUTE);
    posthog.clear_log();
    project
}

#[test]
fn every_exit_code_comes_with_its_cause_and_its_way_out() {
    for (situation, (code, words, fix)) in ENDINGS {
        let posthog = small();
        let project = that_ran(&posthog);

        let told = situation(&posthog, project).exits(code).says(words);

        let fixes = told.stderr.split("fix:").skip(1).collect::<String>();
        assert!(fixes.contains(fix), "{code}: no way out names {fix:?}:\n{told}");
    }
}

#[test]
fn a_termination_is_told_from_an_interruption() {
    let posthog = small();
    let project = that_ran(&posthog);

    stopped(&posthog, &project, "TERM").exits(143).says("stopped");
}

#[test]
fn a_stream_that_fails_does_not_stop_the_others() {
    let everything = ["cohorts", "events", "actions", "insights"];
    for kind in [
        FaultKind::Status(403, String::new()),
        FaultKind::Status(400, String::new()),
        FaultKind::Throttled(Some(3600)),
        FaultKind::Redirect("https://example.com/".into()),
    ] {
        let posthog = small();
        let project = Project::incremental(&posthog, &everything).with_input("max_wait: 0s");
        posthog.fault(Fault::on("/actions/", kind.clone()));

        let quota_alone = matches!(kind, FaultKind::Throttled(_));
        project.run().exits(if quota_alone { 5 } else { 3 }).says("stream `actions` stopped");

        // The quota that actions spend is that of cohorts as well, which began before.
        for stream in ["cohorts", "events", "insights"] {
            project.holds_exactly(&posthog, stream);
        }
    }
}

#[test]
fn only_the_streams_that_failed_are_run_again() {
    let posthog = small();
    let project = Project::incremental(&posthog, &["events", "cohorts", "actions", "insights"]);
    project.run_with(&["--only-failed"]).succeeds().says("nothing to do");
    assert_eq!(posthog.log(), []);
    for broken in ["/cohorts/", "/actions/"] {
        posthog.fault(Fault::on(broken, FaultKind::Status(403, String::new())));
    }
    project.run().exits(3);
    posthog.clear_log();

    project.run_with(&["--only-failed", "--streams", "actions,events"]).exits(4).says("actions");
    assert!(
        posthog.asked_about("FROM events").is_empty()
            && posthog.asked_about("/cohorts/").is_empty()
    );
    project.run().exits(3);
    posthog.clear_faults();
    posthog.clear_log();

    let ran = project.run_with(&["--only-failed"]).succeeds();

    assert_eq!(ran.report.as_ref().unwrap()["streams"].as_array().unwrap().len(), 2, "{ran}");
    assert!(
        posthog.asked_about("FROM events").is_empty()
            && posthog.asked_about("/insights/").is_empty()
    );
    for stream in ["cohorts", "actions"] {
        project.holds_exactly(&posthog, stream);
    }
    project.run_with(&["--only-failed"]).succeeds().says("none of these streams failed");
}

#[test]
fn a_run_that_could_not_begin_failed_in_all_its_streams() {
    let posthog = small();
    let project = Project::incremental(&posthog, &["cohorts", "actions"]);
    posthog.fault(Fault::on("", FaultKind::Status(401, String::new())));
    project.run().exits(4);
    posthog.clear_faults();

    project.run_with(&["--only-failed"]).succeeds();

    project.holds_exactly(&posthog, "cohorts");
    project.holds_exactly(&posthog, "actions");
}

#[test]
fn a_run_leaves_numbers_for_prometheus_whether_it_fails_or_not() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["cohorts", "annotations"]);
    let read = |project: &Project| fs::read_to_string(project.path("hogline.prom")).unwrap();
    let value = |text: &str, name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let run = ["--metrics-file", "hogline.prom"];

    project.run_with(&run).succeeds();

    let first = read(&project);
    let rows = "hogline_stream_rows{stream=\"cohorts\"";
    assert_eq!(value(&first, rows) as i64, posthog.count("cohorts"));
    assert_eq!(value(&first, "hogline_run_exit_code") as i64, 0);
    posthog.later(MINUTE);
    let project = project.with_key(KEY_WITHOUT_COHORTS);
    project.run_with(&run).exits(3);

    let second = read(&project);
    let failed = |stream: &str| format!("hogline_stream_failed{{stream=\"{stream}\"");
    assert_eq!(value(&second, "hogline_run_exit_code") as i64, 3);
    assert_eq!(value(&second, &failed("cohorts")) as i64, 1);
    assert_eq!(value(&second, &failed("annotations")) as i64, 0);
    let success = "hogline_stream_last_success_timestamp_seconds{stream=\"cohorts\"";
    let unchanged = (value(&second, success) - value(&first, success)).abs() < 1e-9;
    assert!(unchanged, "a failure is no success");
}
