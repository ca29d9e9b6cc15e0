//! Several projects in one connection: each is replicated as if it were alone.

use std::collections::BTreeSet;

use hogline::sandbox::{KEY_PROJECT_ONLY, PROJECT};
use serde_json::json;

use crate::support::{Answer, Asked, MINUTE, Mangle, PostHog, Project, Proxy, SECOND};

/// Two of the streams, in tables by project.
const YAML: &str = "source: POSTHOG\ntarget: sqlite://posthog.db\n\
    defaults: { mode: incremental, object: 'p{project_id}.{stream_name}' }\n\
    streams: { events: , cohorts: { mode: full-refresh } }\n";

/// Two servers of different content, behind one address as two projects.
fn two() -> (PostHog, PostHog, Proxy) {
    let first = PostHog::playing(|options| options.events = 300);
    let second = PostHog::playing(|options| (options.events, options.seed) = (200, 99));
    let proxy = Proxy::before_both(&first, &second);
    (first, second, proxy)
}

/// A table of each project holds its events and no others.
fn are_apart(project: &Project, projects: [(u64, &PostHog); 2]) {
    for (id, posthog) in projects {
        let events = posthog.truth("events");
        let there: BTreeSet<String> =
            events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
        let here = project.copy().lines(&format!("SELECT id FROM p{id}_events"));
        assert_eq!(here.len(), events.len());
        assert_eq!(here.into_iter().collect::<BTreeSet<_>>(), there, "project {id}");
        let named = format!("SELECT DISTINCT typeof(project_id) || project_id FROM p{id}_events");
        assert_eq!(project.copy().lines(&named), [format!("integer{id}")]);
    }
}

#[test]
fn each_of_several_projects_has_tables_of_its_own_and_a_column_that_names_it() {
    let (first, second, proxy) = two();
    let ids = format!("[{PROJECT}, {SECOND}]");
    let project = Project::of(&first, YAML).through(&proxy).with_project_id(&ids);
    let both = [(PROJECT, &first), (SECOND, &second)];

    project.run().succeeds().says(&format!("events of {SECOND}"));
    are_apart(&project, both);

    // From where each has come to.
    first.receives_events(3, MINUTE);
    second.receives_events(7, MINUTE);
    project.run().succeeds();
    are_apart(&project, both);
    project.hogline(&["verify", "-r", "replication.yaml"]).succeeds();
}

#[test]
fn all_projects_are_those_that_the_key_sees_when_the_run_begins() {
    let (first, second, proxy) = two();
    let list: Mangle = std::sync::Arc::new(|asked: &Asked, _| {
        let page = match asked.line.contains("offset=0") {
            true => json!({ "count": 2, "results": [{ "id": SECOND }, { "id": PROJECT }] }),
            false => json!({ "count": 2, "results": [] }),
        };
        Answer::new(200, "application/json", page.to_string()).sent()
    });
    proxy.strikes_on(|asked| asked.line.contains("/api/projects/?"), 0, &list);
    let project = Project::of(&first, YAML).through(&proxy).with_project_id("*");

    project.run().succeeds();
    are_apart(&project, [(PROJECT, &first), (SECOND, &second)]);
    project
        .hogline(&["conns", "test", "POSTHOG"])
        .succeeds()
        .says(&format!("project {SECOND}: stream cohorts"));
}

#[test]
fn a_project_that_is_gone_keeps_no_other_waiting() {
    let (first, second, proxy) = two();
    let ids = format!("[404, {PROJECT}, {SECOND}]");
    let project = Project::of(&first, YAML).through(&proxy).with_project_id(&ids);

    project.run().exits(3).says("events of 404").says("Project not found");
    are_apart(&project, [(PROJECT, &first), (SECOND, &second)]);
}

#[test]
fn rows_of_several_projects_are_never_put_into_one_table() {
    let posthog = PostHog::start();
    let yaml = YAML.replace("p{project_id}.", "posthog.");
    let project = Project::of(&posthog, &yaml).with_project_id("[1, 2]");

    project
        .run()
        .exits(2)
        .says("stream `events`: its object `posthog.events` names no project")
        .says("write {project_id} into it, as in posthog_{project_id}.{stream_name}");
    assert!(posthog.log().is_empty());
}

#[test]
fn a_key_of_one_project_cannot_name_all() {
    let posthog = PostHog::start();
    let project = Project::of(&posthog, YAML).with_project_id("*").with_key(KEY_PROJECT_ONLY);

    project.run().exits(4).says("or name them: project_id: [1, 2]");
}

#[test]
fn one_project_may_be_in_the_name_as_well() {
    let posthog = PostHog::start();
    let project = Project::of(&posthog, YAML);

    project.run().succeeds();

    let count = format!("SELECT count(*) || '' FROM p{PROJECT}_cohorts");
    assert_eq!(project.copy().lines(&count), [posthog.count("cohorts").to_string()]);
}
