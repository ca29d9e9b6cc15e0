//! What the recorded server refuses, and how that is told.

use crate::lists::left_out;
use crate::posthog::Posthog;
use crate::project::Project;

#[test]
fn a_key_of_somebody_else_is_told_with_the_way_out() {
    let server = Posthog::whole().start();
    let project = Project::of(&server).with_key("phx_key_of_somebody_else_entirely");

    let said = project.run(&["cohorts", "persons"], "full-refresh").fails(
        4,
        "PostHog answered 401: Personal API key found in request Authorization header is invalid.",
        "check the key (personal keys begin with `phx_`) and the host",
    );

    let host = server.origin().replace("http://", "");
    let what = format!("error: connection `POSTHOG` failed at GET {host}/api/projects/3/\n");
    assert!(said.err.contains(&what), "{}", said.err);
    assert_eq!(server.asked().len(), 1, "a refused key is not tried again");
}

#[test]
fn a_project_token_is_refused_before_it_is_sent() {
    let server = Posthog::whole().start();
    let project = Project::of(&server).with_key("phc_project_token_of_this_recording");

    let said = project.run(&["cohorts"], "full-refresh").ends_with(2);

    assert!(said.err.contains("begins with phc_, as a project token does"), "{}", said.err);
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn projects_out_of_reach_are_told_before_any_stream_is_read() {
    for (id, cause) in [(5, "Not found."), (999_999, "Project not found.")] {
        let server = Posthog::whole().start();
        let project = Project::of(&server).with_id(id);

        project.run(&["persons"], "full-refresh").fails(
            2,
            &format!("PostHog answered 404: {cause}"),
            "check the project id and the host",
        );
    }
}

#[test]
pub(crate) fn a_key_that_may_not_list_projects_still_gets_its_own() {
    let posthog = Posthog::whole()
        .playing("other organization's project", |asked| asked.path == "/api/projects/");
    let recorded = posthog.rows("projects");
    let server = posthog.start();
    let project = Project::of(&server);

    project.run(&["projects"], "full-refresh").succeeds();

    // The project answers with more than its entry in the list, its token among it.
    let table = project.table("projects");
    table.equals(&recorded[..1], left_out("projects"));
    assert!(!table.has("app_urls") && !table.has("api_token"));
}

#[test]
pub(crate) fn an_empty_page_that_says_there_is_more_is_no_end() {
    let posthog = Posthog::whole().without_sql();
    let server =
        posthog.playing("events limit=0", |asked| asked.path.ends_with("/events/")).start();

    Project::of(&server).run(&["events"], "full-refresh").fails(
        6,
        "an empty page says that there is more",
        "run again; if it persists, report it with this message",
    );
}

#[test]
fn where_no_way_is_open_the_first_refusal_is_told() {
    let server = Posthog::whole()
        .playing("sql: unknown column", |asked| asked.sql().is_some())
        .playing("environments path at this age", |asked| asked.path.ends_with("/events/"))
        .start();

    let said = Project::of(&server).run(&["events"], "full-refresh").fails(
        6,
        "PostHog answered 400: Unable to resolve field: nope",
        "the spec of this stream may not fit this version of PostHog",
    );

    assert!(said.err.contains("error: stream `events` stopped at POST "), "{}", said.err);
}

#[test]
fn where_the_last_way_is_broken_its_fault_is_told_and_not_that_sql_is_missing() {
    let server = Posthog::whole()
        .without_sql()
        .playing("events limit=abc", |asked| asked.path.ends_with("/events/"))
        .start();

    Project::of(&server).run(&["events"], "full-refresh").fails(
        6,
        "no answer after 4 attempts: PostHog answered 500: A server error occurred.",
        "run again later; what is written is safe",
    );
}

#[test]
fn a_stream_that_fails_does_not_keep_the_others_from_their_rows() {
    let posthog = Posthog::whole();
    let cohorts = posthog.rows("cohorts");
    let server =
        posthog.playing("method not allowed", |asked| asked.path.ends_with("/insights/")).start();
    let project = Project::of(&server);

    project.run(&["insights", "cohorts"], "full-refresh").fails(
        3,
        r#"PostHog answered 405: Method "DELETE" not allowed."#,
        "the spec of this stream may not fit this version of PostHog",
    );

    project.table("cohorts").equals(&cohorts, &[]);
}

#[test]
fn a_path_of_another_age_gives_way_to_the_next() {
    let posthog = Posthog::whole();
    let recorded = posthog.rows("cohorts");
    let server = posthog.start();
    let spec = include_str!("../../specs/cohorts.yaml");
    let own = "  - path: rest\n    paging: offset\n    url: /api/projects/{project_id}/cohorts/\n";
    assert!(spec.contains(own));
    let newer = own.replace("projects", "environments").replace("rest", "environments");
    let both = format!("{newer}    page_size: 500\n    overlap: 10\n{own}");
    let project = Project::of(&server).with_spec(&spec.replace(own, &both));

    let said = project.run(&["cohorts"], "full-refresh").succeeds();

    let told = "cannot read by `environments` (PostHog answered 404: Endpoint not";
    assert!(said.err.contains(told), "{}", said.err);
    project.table("cohorts").equals(&recorded, &[]);
}

#[test]
pub(crate) fn discover_tells_whether_sql_is_answered() {
    let server = Posthog::whole().start();
    let said = Project::of(&server).hogline(&["discover", "POSTHOG"]).succeeds();
    assert!(said.out.contains("This PostHog answers SQL."), "{}", said.out);

    let server = Posthog::whole().without_sql().start();
    let said = Project::of(&server).hogline(&["discover", "POSTHOG"]).succeeds();
    let told = "This PostHog does not answer SQL to this key: PostHog answered 404: Endpoint not";
    assert!(said.out.contains(told), "{}", said.out);
}
