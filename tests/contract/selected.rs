//! Columns and keys of the user's own: none makes a walk break, lose rows or ask for more.

use std::collections::BTreeSet;

use hogline::cursor::Timestamp;
use hogline::sandbox::{KEY, Options, PROJECT, Sandbox};
use tokio::runtime::Runtime;

use crate::project::Project;

/// A look-alike of PostHog that behaves.
fn sandbox(runtime: &Runtime) -> Sandbox {
    let now = Timestamp::parse("2026-03-20T12:00:00Z").unwrap();
    let options = Options { events: 600, persons: 120, days: 15, now, ..Options::default() };
    runtime.block_on(Sandbox::start(options)).unwrap()
}

/// A stream copied from the sandbox.
fn copied(stream: &str, posthog: &Sandbox) -> Project {
    let project = Project::replicating(stream, "full-refresh", &posthog.origin());
    let project = project.of(PROJECT, KEY);
    project.run().succeeds();
    project
}

/// The ids a stream has, each once.
fn ids(posthog: &Sandbox, stream: &str) -> Vec<String> {
    let truth = posthog.truth(stream);
    let ids: BTreeSet<&str> = truth.iter().map(|row| row["id"].as_str().unwrap()).collect();
    ids.into_iter().map(str::to_owned).collect()
}

#[test]
fn streams_keyed_by_their_id_alone_come_whole() {
    // The walk's own key was not among the columns: it was looked for and the program broke.
    let runtime = Runtime::new().unwrap();
    let posthog = sandbox(&runtime);
    for (stream, select) in
        [("persons", "id, properties"), ("events", "id, event, timestamp, properties")]
    {
        let wish = format!("{stream}: {{ primary_key: [id], select: [{select}] }}");

        let project = copied(&wish, &posthog);

        let found = project.finds(&format!("SELECT id FROM {stream} ORDER BY id"));
        assert_eq!(found, ids(&posthog, stream), "{stream}");
        let columns = project.finds(&format!("SELECT name FROM pragma_table_info('{stream}')"));
        assert!(columns.iter().any(|name| name == "properties"), "{columns:?}");
    }
}

#[test]
fn distinct_ids_that_are_left_out_are_not_asked_for() {
    let runtime = Runtime::new().unwrap();
    let posthog = sandbox(&runtime);

    let project = copied("persons: { select: [-distinct_ids] }", &posthog);

    let found = project.finds("SELECT id FROM persons ORDER BY id");
    assert_eq!(found, ids(&posthog, "persons"));
    assert!(posthog.log().iter().all(|asked| !asked.body.contains("person_distinct_ids")));
}
