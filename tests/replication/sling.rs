//! Who comes from Sling puts `hogline` where `sling` stood: connections, commands and files stay.

use crate::support::{EVERYTHING, PostHog, Project};

/// A PostHog where everything is past what a run leaves out for being too new.
fn settled() -> PostHog {
    let posthog = PostHog::playing(|options| {
        options.events = 600;
        options.persons = 60;
        options.recordings = 40;
    });
    posthog.later(10 * crate::support::MINUTE);
    posthog
}

/// A file as Sling's users have it, in a folder with connections of its names.
fn of_sling(posthog: &PostHog, file: &str) -> Project {
    let project = Project::of(posthog, file);
    project.writes(".env.sling", "LAKE=sqlite://posthog.db\nFILES='{ type: file, path: out }'\n");
    project
}

#[test]
fn a_file_of_all_streams_replicates_them() {
    let posthog = settled();
    let project = of_sling(&posthog, include_str!("sling/everything.yaml"));

    project.run().succeeds();

    for stream in EVERYTHING {
        project.holds_exactly(&posthog, stream);
    }
}

#[test]
fn a_file_with_keys_and_variables_brings_what_is_new() {
    let posthog = settled();
    let project = of_sling(&posthog, include_str!("sling/incremental.yaml"));
    for _ in 0..2 {
        let ran = project.run().succeeds();

        for stream in ["events", "persons", "annotations"] {
            let count =
                format!("SELECT count(*) || '' FROM posthog_{stream} WHERE _sling_loaded_at > ''");
            assert_eq!(project.copy().lines(&count), [posthog.count(stream).to_string()], "{ran}");
        }
        posthog.receives_events(20, crate::support::DAY);
        posthog.later(10 * crate::support::MINUTE);
    }
    let hourly = project.run_with(&["--streams", "tag:hourly"]).succeeds();
    assert_eq!(hourly.rows_of("events")[..2], [20, 0], "{hourly}");
    assert_eq!(hourly.report.as_ref().unwrap()["streams"].as_array().unwrap().len(), 2, "{hourly}");
}

#[test]
fn a_file_into_files_writes_them() {
    let posthog = settled();
    let project = of_sling(&posthog, include_str!("sling/files.yaml"));

    project.run().succeeds();

    for stream in ["cohorts", "persons", "events"] {
        project.files_hold_exactly(&posthog, stream);
        let files = project.files_of(stream);
        assert!(files.iter().all(|name| name.ends_with(".csv.gz")), "{files:?}");
        let is_by_day = |name: &String| name.starts_with("event_date=2026-");
        assert_eq!(files.iter().all(is_by_day), stream == "events", "{files:?}");
    }
}

#[test]
fn a_file_with_a_range_reads_it_again() {
    let posthog = settled();
    let project = of_sling(&posthog, include_str!("sling/backfill.yaml"));

    project.run().succeeds().says("the backfill begins");

    let ran = project.run().succeeds();
    project.holds_exactly(&posthog, "feature_flags");
    project.holds_exactly(&posthog, "insights");
    let copy = project.copy();
    let days = "SELECT (min(event_date) >= '2026-02-01' AND max(event_date) < '2026-02-15') || '' \
                FROM posthog_events";
    assert_eq!(copy.lines(days), ["1"], "{ran}");
    let in_range = |event: &&serde_json::Value| {
        let day = &event["timestamp"].as_str().unwrap()[..10];
        ("2026-02-01".."2026-02-15").contains(&day)
    };
    let expected = posthog.truth("events").iter().filter(in_range).count();
    assert!(expected > 10, "{expected} events");
    assert_eq!(copy.lines("SELECT count(*) || '' FROM posthog_events"), [expected.to_string()]);
    assert_eq!(copy.lines("SELECT stream FROM loads"), ["insights", "insights"]);
}

#[test]
fn a_file_of_chosen_columns_stores_those() {
    let posthog = settled();
    let project = of_sling(&posthog, include_str!("sling/columns.yaml"));

    project.run().succeeds();

    let all = Project::incremental(&posthog, &["events", "persons"]);
    all.run().succeeds();
    let (copy, all) = (project.copy(), all.copy());
    let pageviews = "SELECT id || trim(distinct_id) || properties FROM posthog_events \
                     WHERE event = '$pageview' ORDER BY 1";
    assert_eq!(copy.lines(pageviews), all.lines(pageviews));
    let others = "SELECT count(*) || '' FROM posthog_events WHERE event <> '$pageview'";
    assert_eq!(copy.lines(others), ["0"]);
    let columns = "SELECT group_concat(name) FROM pragma_table_info('posthog_persons')";
    assert_eq!(
        copy.lines(columns)[0],
        all.lines(columns)[0].replace(",properties", "").replace(",_hogline_deleted_at", "")
    );
    let hashed = "SELECT count(*) || '' FROM posthog_persons WHERE length(name) = 64";
    let named = "SELECT count(name) || '' FROM posthog_persons";
    assert_eq!(copy.lines(hashed), all.lines(named));
    let counted = "SELECT event || n FROM posthog_events_by_name ORDER BY 1";
    let counts = "SELECT event || count(*) FROM posthog_events GROUP BY event ORDER BY 1";
    assert_eq!(copy.lines(counted), all.lines(counts));
}

#[test]
fn a_file_that_asks_for_more_is_refused_as_the_page_says() {
    let posthog = settled();
    let project = of_sling(&posthog, include_str!("sling/refused.yaml"));

    let told = project.run().exits(2);

    let page = include_str!("../../docs/from-sling.md");
    let keys = [
        "type: query",
        "batch_limit",
        "use_bulk",
        "unique",
        "chunk_size",
        "empty_as_null",
        "partition_by",
        "hooks",
        "single",
        "schedule",
        "replication_mode",
    ];
    for key in keys {
        let says_no = |line: &str| line.contains(key) && line.contains("| no");
        assert!(page.lines().any(says_no), "the page does not say no to {key}");
        let sentence = format!("Sling's \"{key}\" is not supported by hogline yet");
        assert!(told.stderr.contains(&sentence), "{key}: {told}");
    }
    assert_eq!(
        told.stderr.matches("is not supported by hogline yet").count(),
        keys.len(),
        "{told}"
    );
    assert_eq!(posthog.log(), [], "PostHog was asked");
    assert!(!project.path("posthog.db").exists() && !project.path("state").exists());
}

/// The example of the issue, verbatim but for the host: the sandbox is no cloud.
#[cfg(feature = "postgres")]
mod of_the_issue {
    use hogline::sandbox::{KEY, PROJECT};

    use super::{EVERYTHING, PostHog, Project, settled};

    fn secrets(posthog: &PostHog) -> String {
        let host = posthog.origin();
        format!("{{ api_key: \"{KEY}\", project_id: \"{PROJECT}\", host: \"{host}\" }}")
    }

    fn connection(posthog: &PostHog) -> String {
        format!("{{ type: api, spec: posthog, secrets: {} }}", secrets(posthog))
    }

    /// Types what the example types, after what defines its connections.
    #[track_caller]
    fn runs(posthog: &PostHog, project: &Project, before: &str) {
        let types = |command: &str| {
            let told = project.types(&format!("unset POSTHOG\n{before}\n{command}")).succeeds();
            told.keeps_the_password()
        };

        let listed = types("hogline conns test POSTHOG");
        assert_eq!(listed.stdout.matches("may be read").count(), EVERYTHING.len(), "{listed}");
        types("hogline conns discover POSTHOG").says("session_recordings");
        types("hogline run -r replication.yaml");

        let database = project.database().unwrap();
        for stream in EVERYTHING {
            database.holds_exactly(posthog, stream);
        }
    }

    fn project(posthog: &PostHog) -> Project {
        let project = Project::of_everything(posthog).into_a_database();
        project.now_writes_to("MY_POSTGRES");
        project
    }

    #[test]
    fn it_runs_with_a_connection_from_the_environment() {
        let posthog = settled();
        let project = project(&posthog);
        let url = project.database().unwrap().url();
        let connection = connection(&posthog);

        let exports = format!("export POSTHOG='{connection}'\nexport MY_POSTGRES='{url}'");
        runs(&posthog, &project, &exports);
    }

    #[test]
    fn it_runs_with_a_connection_of_env_yaml() {
        let posthog = settled();
        let project = project(&posthog);
        std::fs::create_dir(project.path(".sling")).unwrap();
        let (ours, theirs) = (connection(&posthog), project.database().unwrap().map());

        project.writes(
            ".sling/env.yaml",
            &format!("connections:\n  POSTHOG: {ours}\n  MY_POSTGRES: {theirs}\n"),
        );
        runs(&posthog, &project, "unset HOGLINE_HOME");
    }

    #[test]
    fn it_runs_with_a_connection_that_was_set() {
        let posthog = settled();
        let project = project(&posthog);
        let map = project.database().unwrap().map();
        let secrets = secrets(&posthog);

        let set = format!("hogline conns set POSTHOG type=api spec=posthog secrets='{secrets}'");
        project.types(&format!("unset POSTHOG\n{set}")).succeeds();
        runs(&posthog, &project, &format!("export MY_POSTGRES='{map}'"));
    }
}
