//! What is done before the first stream and after the last.

use crate::support::{PostHog, Project};

fn replication(hooks: &str) -> String {
    format!(
        "source: POSTHOG\ntarget: sqlite://posthog.db\n\
         defaults: {{ object: \"posthog.{{stream_name}}\" }}\nhooks: {hooks}\n\
         streams: {{ cohorts: , actions: }}\n"
    )
}

#[test]
fn programs_run_before_the_first_stream_and_after_the_last() {
    let posthog = PostHog::start();
    let hooks = "{ start: [{ type: command, command: 'ls *.db > before.txt || true' }, \
        { type: log, message: 'about to read {replication}' }], \
        end: [{ type: command, command: [sh, -c, 'echo $HOGLINE_STATUS $HOGLINE_ROWS > {status}.txt; \
        echo told'] }] }";
    let project = Project::of(&posthog, &replication(hooks));

    let told = project.run().succeeds();

    let text = |name: &str| std::fs::read_to_string(project.path(name)).unwrap();
    assert_eq!(text("before.txt"), "");
    let rows = posthog.count("cohorts") + posthog.count("actions");
    assert_eq!(text("complete.txt"), format!("complete {rows}\n"));
    assert!(told.stderr.contains("about to read replication.yaml"), "{told}");
    assert!(told.stderr.contains("told") && !told.stdout.contains("told"), "{told}");
}

#[test]
fn a_hook_that_fails_at_the_start_lets_nothing_be_read() {
    let posthog = PostHog::start();
    let failing = "{ start: [{ type: command, command: exit 3 }], \
        end: [{ type: command, command: 'touch {status}' }] }";
    let project = Project::of(&posthog, &replication(failing));

    project.run().exits(2).says("hooks.start[0] failed").says("`sh` ended with exit status: 3");

    assert!(posthog.log().is_empty(), "{:?}", posthog.log());
    assert!(project.path("failed").exists());
    let warning = failing.replace("exit 3", "exit 3, on_failure: warn");
    project.writes("replication.yaml", &replication(&warning));
    project.run().succeeds().says("hooks.start[0] failed: `sh` ended with exit status: 3");
    project.holds_exactly(&posthog, "cohorts");
    assert!(project.path("complete").exists());
}

#[test]
fn a_hook_that_fails_at_the_end_leaves_what_is_there() {
    let posthog = PostHog::start();
    let failing = "{ end: [{ type: command, command: [no-such-program] }] }";
    let project = Project::of(&posthog, &replication(failing));

    project.run().exits(3).says("hooks.end[0] failed").says("`no-such-program` cannot be run");

    project.holds_exactly(&posthog, "cohorts");
    assert!(project.path("report.json").exists());
}

#[test]
fn a_hook_that_is_none_is_told_with_its_place() {
    let posthog = PostHog::start();
    for (hooks, message) in [
        (
            "{ start: [{ type: query }] }",
            "replication.yaml:4:26: hooks.start[0].type: Sling's \"type: query\" is not supported",
        ),
        ("{ start: [{ type: comand }] }", "did you mean \"command\"?"),
        ("{ strt: [] }", "unknown key \"strt\", did you mean \"start\"?"),
        ("{ end: [{ message: x }] }", "missing: type: log, type: command or type: http"),
        (
            "{ end: [{ type: command, command: [] }] }",
            "expected a text for the shell, or a program",
        ),
    ] {
        Project::of(&posthog, &replication(hooks)).run().exits(2).says(message);
    }
}

#[test]
fn a_signal_ends_a_hook_and_the_run() {
    let posthog = PostHog::start();
    let waiting = "{ start: [{ type: command, command: 'touch waits; exec sleep 600' }] }";
    let project = Project::of(&posthog, &replication(waiting));
    let running = project.starts();
    posthog.until("the hook runs", |_| project.path("waits").exists());

    running.receives("TERM");
    running.ends().exits(143).says("hooks.start[0] was stopped");

    assert!(posthog.log().is_empty(), "{:?}", posthog.log());
}
