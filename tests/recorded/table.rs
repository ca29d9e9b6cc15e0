//! All 73 answers, and what each must become.

use std::sync::Mutex;
use std::thread;

use crate::answers::{all, named};
use crate::lists::left_out;
use crate::posthog::Posthog;
use crate::project::Project;
use crate::server::Asked;
use crate::{persons, refusals};

/// What the program makes of an answer.
enum Expected {
    /// These rows, in the table of this stream.
    Rows(&'static str, usize),
    /// Refused already when the project is greeted: exit code, cause and fix.
    Stops(i32, &'static str, &'static str),
    /// Refused when the stream is read: exit code, cause and fix.
    Refused(&'static str, i32, &'static str, &'static str),
    /// SQL is refused with this; the events are read by REST instead.
    GivesWay(&'static str),
    /// A story of its own.
    Elsewhere(fn()),
    /// The program never asks so, and why.
    NotAsked(&'static str),
}

use Expected::{Elsewhere, GivesWay, NotAsked, Refused, Rows, Stops};

const KEY: &str = "check the key (personal keys begin with `phx_`) and the host: a key of one \
                   PostHog region is unknown in the other";
const PROJECT: &str = "check the project id and the host: a project of one PostHog region is \
                       unknown in the other";
const MEMBER: &str = "use a key that may reach this project, of a member of it";
const SPEC: &str = "the spec of this stream may not fit this version of PostHog";
const LATER: &str = "run again later; what is written is safe";
const NOT_POSTHOG: &str = "check that the host is PostHog itself, with no login page or proxy";
const CAPTURE: &str = "sending events comes later; this version only reads";

/// By name, in the order they were recorded.
const EXPECTED: [(&str, Expected); 73] = [
    ("persons: first page of 3", Rows("persons", 3)),
    ("persons: second page of 3", Rows("persons", 3)),
    ("persons: past the end", Rows("persons", 0)),
    ("events: first page of 3", Rows("events", 3)),
    ("events: second page of 3", Rows("events", 3)),
    ("events: past the end", Rows("events", 0)),
    ("cohorts: first page of 3", Rows("cohorts", 2)),
    ("cohorts: second page of 3", Rows("cohorts", 0)),
    ("cohorts: past the end", Rows("cohorts", 0)),
    ("feature_flags: first page of 3", Rows("feature_flags", 3)),
    ("feature_flags: second page of 3", Rows("feature_flags", 3)),
    ("feature_flags: past the end", Rows("feature_flags", 0)),
    ("insights: first page of 3", Rows("insights", 3)),
    ("insights: second page of 3", Rows("insights", 3)),
    ("insights: past the end", Rows("insights", 0)),
    ("annotations: first page of 3", Rows("annotations", 3)),
    ("annotations: second page of 3", Rows("annotations", 2)),
    ("annotations: past the end", Rows("annotations", 0)),
    // Not paged: whatever offset is asked for, the whole list comes.
    ("actions: first page of 3", Rows("actions", 4)),
    ("actions: second page of 3", Rows("actions", 4)),
    ("actions: past the end", Rows("actions", 4)),
    ("session_recordings: first page of 3", Rows("session_recordings", 3)),
    ("session_recordings: second page of 3", Rows("session_recordings", 3)),
    ("session_recordings: past the end", Rows("session_recordings", 0)),
    ("event_definitions: first page of 3", Rows("event_definitions", 3)),
    ("event_definitions: second page of 3", Rows("event_definitions", 3)),
    ("event_definitions: past the end", Rows("event_definitions", 0)),
    ("property_definitions: first page of 3", Rows("property_definitions", 3)),
    ("property_definitions: second page of 3", Rows("property_definitions", 3)),
    ("property_definitions: past the end", Rows("property_definitions", 0)),
    ("projects", Rows("projects", 2)),
    ("project", Elsewhere(refusals::a_key_that_may_not_list_projects_still_gets_its_own)),
    ("me", NotAsked("who owns the key is of no interest to any stream")),
    ("property_definitions type=event", Rows("property_definitions", 5)),
    ("property_definitions type=person", Rows("property_definitions", 5)),
    (
        "property_definitions type=group",
        Refused(
            "property_definitions",
            6,
            "PostHog answered 400: `group_type_index` must be set for `group` type",
            SPEC,
        ),
    ),
    ("events ascending with bounds", Rows("events", 5)),
    ("events descending follow next", Rows("events", 2)),
    ("events after=garbage", NotAsked("bounds are always instants; this one hides every row")),
    ("events before=garbage", NotAsked("bounds are always instants; this one is ignored")),
    (
        "events limit=abc",
        // Played to a list with no other way of reading, for the sake of its retries.
        Refused(
            "cohorts",
            6,
            "no answer after 4 attempts: PostHog answered 500: A server error occurred.",
            LATER,
        ),
    ),
    (
        "events limit=0",
        // An empty page that says there is more: the end is not believed.
        Elsewhere(refusals::an_empty_page_that_says_there_is_more_is_no_end),
    ),
    (
        "persons limit=-1",
        Refused(
            "annotations",
            6,
            "no answer after 4 attempts: PostHog answered 500: A server error occurred.",
            LATER,
        ),
    ),
    ("event by bad id", Refused("events", 6, "PostHog answered 400: Invalid UUID", SPEC)),
    (
        "person by bad id",
        Refused(
            "persons",
            6,
            "PostHog answered 400: The ID provided does not look like a personID. If you are \
             using a distinctId, please use /persons?distinct_id=notauuid instead.",
            SPEC,
        ),
    ),
    ("cohort by unknown id", Refused("cohorts", 2, "PostHog answered 404: Not found.", PROJECT)),
    (
        "no key",
        Stops(4, "PostHog answered 401: Authentication credentials were not provided.", KEY),
    ),
    (
        "bad key",
        Stops(
            4,
            "PostHog answered 401: Personal API key found in request Authorization header is \
             invalid.",
            KEY,
        ),
    ),
    (
        "project token as key",
        Stops(
            4,
            "PostHog answered 401: Personal API key found in request Authorization header is \
             invalid.",
            KEY,
        ),
    ),
    (
        "other organization's project",
        Refused(
            "persons",
            4,
            "PostHog answered 403: You don't have access to the project.",
            MEMBER,
        ),
    ),
    ("other organization's project itself", Stops(2, "PostHog answered 404: Not found.", PROJECT)),
    ("unknown project", Stops(2, "PostHog answered 404: Project not found.", PROJECT)),
    (
        "environments path at this age",
        Refused("persons", 2, "PostHog answered 404: Endpoint not found.", PROJECT),
    ),
    (
        "method not allowed",
        Refused("insights", 6, r#"PostHog answered 405: Method "DELETE" not allowed."#, SPEC),
    ),
    ("recordings 30 days", Rows("session_recordings", 2)),
    ("insights by last_modified_at", Rows("insights", 2)),
    ("sql: one row", Elsewhere(refusals::discover_tells_whether_sql_is_answered)),
    ("sql: default limit", NotAsked("every question names its LIMIT")),
    (
        "sql: limit above the cap",
        // The recorder put a text in place of the rows.
        Refused("events", 6, "the answer breaks PostHog's contract", NOT_POSTHOG),
    ),
    ("sql: types", GivesWay("Unsupported function call 'toUnixTimestamp64Milli(...)'.")),
    ("sql: placeholders", Elsewhere(persons::times_in_milliseconds_or_seconds_become_canonical)),
    ("sql: modifiers unknown to this age", GivesWay("86 validation errors for QuerySchema")),
    ("sql: persons", Elsewhere(persons::persons_of_sql_have_their_distinct_ids_joined)),
    ("sql: person_distinct_ids", Elsewhere(persons::persons_of_sql_have_their_distinct_ids_joined)),
    ("sql: mistake", GivesWay("no viable alternative at input 'select from where'")),
    ("sql: unknown column", GivesWay("Unable to resolve field: nope")),
    ("sql: unknown kind", GivesWay("41 validation errors for QuerySchema")),
    (
        "sql: toDateTime64 three arguments",
        GivesWay("Unsupported function call 'toDateTime64(...)'."),
    ),
    ("sql: tuple keyset", GivesWay("Unsupported function call 'toDateTime64(...)'.")),
    ("capture: unknown project token", NotAsked(CAPTURE)),
    ("capture: personal key as token", NotAsked(CAPTURE)),
    ("capture: one event without distinct id", NotAsked(CAPTURE)),
    ("capture: empty batch", NotAsked(CAPTURE)),
];

#[test]
fn every_answer_is_read_or_refused_as_it_should_be() {
    let names: Vec<&str> = all().iter().map(|answer| answer.name.as_str()).collect();
    assert_eq!(names, EXPECTED.each_ref().map(|(name, _)| *name));

    // Some refusals are asked again for seconds: the waits go by side by side.
    let next = Mutex::new(EXPECTED.iter());
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let entry = next.lock().unwrap().next();
                    let Some((name, expected)) = entry else { return };
                    check(name, expected);
                }
            });
        }
    });
}

fn check(answer: &'static str, expected: &Expected) {
    match *expected {
        Rows(stream, rows) => brings(answer, stream, rows),
        Stops(code, cause, fix) => {
            let server = Posthog::whole().playing(answer, |_| true).start();
            let said =
                Project::of(&server).run(&["cohorts"], "full-refresh").fails(code, cause, fix);
            assert!(
                said.err.contains("connection `POSTHOG` failed at GET"),
                "{answer}: {}",
                said.err
            );
            assert_eq!(server.asked().len(), 1, "{answer}");
        }
        Refused(stream, code, cause, fix) => {
            let posthog =
                Posthog::whole().playing(answer, |asked| asked.path != "/api/projects/3/");
            let server = posthog.start();
            let said = Project::of(&server).run(&[stream], "full-refresh").fails(code, cause, fix);
            let what = format!("error: stream `{stream}` stopped at ");
            assert!(said.err.contains(&what), "{answer}: {}", said.err);
        }
        GivesWay(detail) => {
            let server = Posthog::whole().playing(answer, |asked| asked.sql().is_some()).start();
            let project = Project::of(&server);
            let said = project.run(&["events"], "full-refresh").succeeds();
            let told = format!("cannot read by `sql` (PostHog answered 400: {detail}");
            assert!(said.err.contains(&told), "{answer}: {}", said.err);
            assert_eq!(project.table("events").len(), 1000, "{answer}");
        }
        Elsewhere(story) => story(),
        // All at once, below.
        NotAsked(_) => {}
    }
}

/// Replicates from a server that holds the rows of this answer alone.
fn brings(answer: &str, stream: &str, rows: usize) {
    let server = Posthog::whole().without_sql().holding(stream, answer).start();
    let project = Project::of(&server);

    project.run(&[stream], "full-refresh").succeeds();

    let table = project.table(stream);
    assert_eq!(table.len(), rows, "{answer}");
    table.equals(&named(answer).rows(), left_out(stream));
}

#[test]
fn what_is_never_asked_is_never_asked() {
    let server = Posthog::whole().start();
    let project = Project::of(&server);
    let said = project.hogline(&["discover", "--format", "json"]).succeeds();
    let registry: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let streams = registry["streams"].as_array().unwrap();
    let streams: Vec<&str> = streams.iter().map(|s| s["stream"].as_str().unwrap()).collect();
    assert_eq!(streams.len(), 11);

    for _ in 0..2 {
        project.run(&streams, "incremental").succeeds();
    }

    let asked = server.asked();
    for (name, expected) in &EXPECTED {
        let NotAsked(reason) = expected else { continue };
        let request = &named(name).request;
        let sql = request.body.as_ref().and_then(|body| body["query"]["query"].as_str());
        let is_it = |asked: &Asked| {
            (&asked.method, &asked.target, asked.sql()) == (&request.method, &request.path, sql)
        };
        assert!(!asked.iter().any(is_it), "{name} was asked, although {reason}");
    }
}
