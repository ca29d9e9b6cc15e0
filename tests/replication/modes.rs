//! What each mode does to a table.

use crate::support::{DAY, MINUTE, PostHog, Project};

const DELETABLE: [&str; 4] = ["cohorts", "persons", "events", "session_recordings"];

/// Streams that tell, or are read whole to find out, what was edited.
const EDITABLE: [&str; 8] = [
    "insights",
    "feature_flags",
    "annotations",
    "persons",
    "cohorts",
    "actions",
    "event_definitions",
    "property_definitions",
];

#[test]
fn a_full_refresh_drops_what_was_deleted() {
    let posthog = PostHog::start();
    let project = Project::full_refresh(&posthog, &DELETABLE);
    project.run().succeeds();
    for stream in DELETABLE {
        posthog.delete(stream, 7);
    }

    project.run().succeeds();

    for stream in DELETABLE {
        project.holds_exactly(&posthog, stream);
    }
}

#[test]
fn an_incremental_run_keeps_what_was_deleted() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["cohorts"]);
    project.run().succeeds();
    posthog.delete("cohorts", 7);

    project.run().succeeds();

    assert_eq!(project.copy().count("cohorts"), posthog.count("cohorts") + 7);
}

#[test]
fn an_owners_index_outlives_every_kind_of_copy() {
    for mode in ["truncate", "full-refresh"] {
        let posthog = PostHog::start();
        let project = Project::in_mode(&posthog, mode, &["cohorts"]);
        project.run().succeeds();
        project.changes_database("CREATE INDEX by_name ON posthog_cohorts (name)");
        posthog.delete("cohorts", 7);

        project.run().succeeds();

        project.holds_exactly(&posthog, "cohorts");
        let kept = "SELECT count(*) FROM sqlite_master WHERE name = 'by_name' \
                    AND tbl_name = 'posthog_cohorts'";
        assert_eq!(project.copy().tells::<i64>(kept), 1, "{mode}");
    }
}

#[test]
fn a_truncated_table_keeps_its_definition() {
    let posthog = PostHog::start();
    let project = Project::in_mode(&posthog, "truncate", &["cohorts"]);
    project.run().succeeds();
    project.changes_database("ALTER TABLE posthog_cohorts ADD COLUMN remark TEXT DEFAULT 'ours'");

    project.run().succeeds();

    assert_eq!(project.copy().tells::<String>("SELECT min(remark) FROM posthog_cohorts"), "ours");
}

#[test]
fn a_backfill_reads_its_range_alone() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["events"]);

    project.run_with(&["--mode", "backfill", "--range", "2026-02-01,2026-02-05"]).succeeds();

    let is_inside = |record: &serde_json::Value| {
        ("2026-02-01".."2026-02-05").contains(&&record["timestamp"].as_str().unwrap()[..10])
    };
    let there = posthog.truth("events").iter().filter(|record| is_inside(record)).count();
    assert_eq!(project.copy().count("events"), i64::try_from(there).unwrap());
    for (from, to) in posthog.ranges_asked() {
        assert!(from.as_str() >= "2026-02-01" && to.as_str() <= "2026-02-05T00:00:00.000000Z");
    }
}

#[test]
fn a_backfill_leaves_the_forward_cursor_alone() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["events"]);
    project.run().succeeds();
    let mark = project.copy().position("events")["mark"].clone();
    posthog.later(MINUTE);
    posthog.receives_events(25, MINUTE / 60);

    project.run_with(&["--mode", "backfill", "--range", "2026-02-01,2026-02-05"]).succeeds();

    assert_eq!(project.copy().position("events")["mark"], mark);
    assert_eq!(project.copy().count("events"), posthog.count("events") - 25);
    project.run().succeeds();
    project.holds_exactly(&posthog, "events");
}

#[test]
fn an_incremental_run_after_a_backfill_reads_the_rest() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["events"]);
    project.run_with(&["--mode", "backfill", "--range", "2026-02-01,2026-02-05"]).succeeds();
    posthog.clear_log();

    project.run().succeeds();

    project.holds_exactly(&posthog, "events");
    for (from, to) in posthog.ranges_asked() {
        let is_inside =
            from.as_str() >= "2026-02-01T" && to.as_str() <= "2026-02-05T00:00:00.000000Z";
        assert!(!is_inside, "{from} to {to} was read already");
    }
}

#[test]
fn an_anchor_moved_back_fetches_the_gap_alone() {
    let posthog = PostHog::start();
    let anchored =
        |date: &str, project: Project| project.with_input(&format!("anchor_date: {date}"));
    let project = anchored("2026-02-10", Project::incremental(&posthog, &["events"]));
    project.run().succeeds();
    let earliest = "SELECT substr(min(timestamp), 1, 10) FROM posthog_events";
    assert_eq!(project.copy().tells::<String>(earliest), "2026-02-10");
    posthog.clear_log();

    let project = anchored("2026-01-20", project);
    project.run().succeeds();

    assert_eq!(project.copy().tells::<String>(earliest), "2026-01-20");
    let gap = posthog.ranges_asked();
    let gap = gap.iter().filter(|(from, _)| from.as_str() < "2026-03-01");
    assert!(gap.clone().count() > 0);
    for (from, to) in gap {
        assert!(to.as_str() <= "2026-02-10T00:00:00.000000Z", "{from} to {to} is no gap");
    }
    let project = anchored("2026-01-01", project);
    project.run().succeeds();
    project.holds_exactly(&posthog, "events");
}

#[test]
fn edits_at_the_source_arrive_incrementally() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &EDITABLE);
    project.run().succeeds();
    posthog.later(DAY);
    for stream in EDITABLE {
        posthog.edits(stream, 7);
    }

    let ran = project.run().succeeds();

    for stream in EDITABLE {
        project.holds_exactly(&posthog, stream);
        assert_eq!(ran.rows_of(stream)[..2], [0, 7], "{stream}");
    }
    for stream in ["insights", "persons"] {
        let seen: u64 = ran.rows_of(stream)[..3].iter().sum();
        assert!(seen < 40, "{stream}: {seen} rows for 7 edits: not asked for changes");
    }
}

#[test]
fn sessions_that_go_on_are_healed() {
    let posthog = PostHog::playing(|options| options.recordings = 600);
    let project = Project::incremental(&posthog, &["session_recordings"]);
    project.run().succeeds();
    posthog.later(60 * MINUTE);
    posthog.edits("session_recordings", 600);

    project.run().succeeds();

    let clicks =
        "SELECT id || ' ' || start_time || ' ' || click_count FROM posthog_session_recordings";
    let here = project.copy().lines(clicks);
    let recent =
        |record: &&serde_json::Value| record["start_time"].as_str().unwrap() > "2026-03-09T14";
    let there = posthog.truth("session_recordings");
    let there: Vec<_> = there.iter().filter(recent).collect();
    assert!(there.len() > 5);
    for record in there {
        let text = |name: &str| record[name].to_string().replace('"', "");
        let line = format!("{} {} {}", text("id"), text("start_time"), text("click_count"));
        let shown: Vec<_> = here.iter().filter(|row| row.starts_with(&text("id"))).collect();
        assert!(here.contains(&line), "{line} is not whole: {shown:?}");
    }
}

#[test]
fn a_stream_may_change_its_mode() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["events", "cohorts", "session_recordings"]);
    project.run().succeeds();

    for mode in ["full-refresh", "incremental", "truncate", "incremental"] {
        posthog.later(MINUTE);
        posthog.receives_events(9, DAY);
        project.now_replicates(mode, &["events", "cohorts", "session_recordings"]);
        let ran = project.run().succeeds();

        for stream in ["events", "cohorts", "session_recordings"] {
            project.holds_exactly(&posthog, stream);
        }
        if mode == "incremental" {
            assert_eq!(ran.rows_of("events")[..2], [9, 0], "{ran}");
        }
    }
}

#[test]
fn a_stream_of_which_nothing_is_left_is_an_empty_table() {
    let posthog = PostHog::start();
    let project = Project::full_refresh(&posthog, &["actions"]);
    project.run().succeeds();
    posthog.delete("actions", 45);

    for _ in 0..2 {
        project.run().succeeds();
        assert_eq!(project.copy().count("actions"), 0);
    }
    project.now_replicates("incremental", &["actions"]);
    project.run().succeeds();
    project.run().succeeds();
}

#[test]
fn a_backfill_past_the_cursor_hides_no_late_row() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["events"]);
    project.run().succeeds();
    posthog.later(2 * DAY);
    let ahead = ["--mode", "backfill", "--range", "2026-03-10T11:00:00,2026-03-12T11:00:00"];
    project.run_with(&ahead).succeeds();
    posthog.later(MINUTE);
    posthog.receives_events(11, DAY);

    project.run().succeeds();

    project.holds_exactly(&posthog, "events");
}

#[test]
fn columns_that_are_not_selected_are_not_there() {
    let posthog = PostHog::start();
    let project = Project::full_refresh(&posthog, &["cohorts: { select: [id, name] }"]);

    project.run().succeeds();

    let columns = project.copy().lines("SELECT name FROM pragma_table_info('posthog_cohorts')");
    assert_eq!(columns, ["id", "name"]);
    assert_eq!(project.copy().count("cohorts"), posthog.count("cohorts"));
}

#[test]
fn a_stream_without_a_file_is_replicated_from_the_command_line() {
    let posthog = PostHog::start();
    let project = Project::incremental(&posthog, &["cohorts"]);
    let one = |mode: &'static str| {
        project.hogline(&[
            "run",
            "--src-conn",
            "POSTHOG",
            "--src-stream",
            "annotations",
            "--tgt-conn",
            "sqlite://posthog.db",
            "--tgt-object",
            "posthog.{stream_name}",
            "--mode",
            mode,
        ])
    };

    one("incremental").succeeds();
    project.holds_exactly(&posthog, "annotations");
    posthog.later(MINUTE);
    posthog.edits("annotations", 3);
    one("incremental").succeeds();
    project.holds_exactly(&posthog, "annotations");

    project.hogline(&["run", "--src-conn", "POSTHOG"]).exits(2).says("--src-stream");
    let both = ["run", "-r", "replication.yaml", "--src-conn", "POSTHOG"];
    project.hogline(&both).exits(2).says("cannot be used with");
}

#[test]
fn streams_are_chosen_by_tag_and_columns_on_the_command_line() {
    let posthog = PostHog::start();
    let streams = ["cohorts: { tags: [small] }", "actions: { tags: [small, x] }", "events"];
    let project = Project::full_refresh(&posthog, &streams);

    let ran = project.run_with(&["--streams", "tag:small", "--select", "id,name"]).succeeds();

    assert_eq!(ran.report.as_ref().unwrap()["streams"].as_array().unwrap().len(), 2, "{ran}");
    let copy = project.copy();
    let columns = "SELECT group_concat(name) FROM pragma_table_info('posthog_cohorts')";
    assert_eq!(copy.lines(columns), ["id,name"]);
    project.run_with(&["--streams", "tag:large"]).exits(2).says("`tag:large` is not a stream");
}

#[test]
fn the_file_says_what_a_backfill_reads_and_by_which_way() {
    let posthog = PostHog::start();
    let options =
        "source_options: { range: \"2026-01-01,2026-12-01\", read: rest, page_size: 500 }";
    let project =
        Project::incremental(&posthog, &[&format!("events: {{ mode: backfill, {options} }}")]);

    project.run().succeeds();

    project.holds_exactly(&posthog, "events");
    let is_sql = |path: &str| path.contains("/query");
    assert!(!posthog.log().iter().any(|asked| is_sql(&asked.path_and_query)), "asked in SQL");
    let project = Project::incremental(&posthog, &["cohorts: { source_options: { read: sql } }"]);
    project.run().exits(2).says("cannot be read by SQL");
}

#[test]
fn variables_of_the_file_and_the_command_line_fill_the_object() {
    let posthog = PostHog::start();
    let yaml = "env: { SCHEMA: posthog }\nsource: POSTHOG\ntarget: sqlite://${FILE}\n\
        streams: { cohorts: { object: \"{SCHEMA}.{stream_table}\" } }\n";
    let project = Project::of(&posthog, yaml);

    project.run().exits(2).says("environment variable FILE is not set");
    project.run_with(&["--env", "FILE=posthog.db"]).succeeds();

    project.holds_exactly(&posthog, "cohorts");
    project.run_with(&["--env", "FILE"]).exits(2).says("expected NAME=VALUE");
}

#[test]
fn a_dry_run_tells_what_would_be_done_and_does_none_of_it() {
    let posthog = PostHog::start();
    let streams = ["events", "insights", "actions", "persons: { mode: full-refresh }"];
    let project = Project::incremental(&posthog, &streams);
    let cell = |told: &crate::support::Told, stream: &str, column: &str| {
        let head = told.stdout.lines().next().unwrap();
        let line = told.stdout.lines().find(|line| line.starts_with(stream)).unwrap();
        let cells = |line: &str| -> Vec<String> {
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let place = cells(head).iter().position(|name| name == column).unwrap();
        cells(line)[place].clone()
    };

    let told = project.hogline(&["run", "-r", "replication.yaml", "--dry-run"]).succeeds();

    let is_of_run = |name: &str| project.path(name).exists();
    assert!(!is_of_run("posthog.db") && !is_of_run("state"), "{told}");
    assert_eq!(cell(&told, "insights", "rows"), posthog.count("insights").to_string());
    let events: i64 = cell(&told, "events", "rows").parse().unwrap();
    // Copies that are not merged yet count as well.
    assert!(events >= posthog.count("events") && events < posthog.count("events") * 2, "{told}");
    assert!(cell(&told, "events", "target").starts_with("made, with"), "{told}");
    assert!(cell(&told, "persons", "target").contains("swapped in"), "{told}");
    assert_eq!(cell(&told, "actions", "rows"), "?");
    let asked = posthog.log().len();
    assert!(asked < 12, "{asked} requests");

    project.run().succeeds();
    posthog.later(MINUTE);
    let before = std::fs::read(project.path("state/hogline.db")).unwrap();
    let told = project
        .hogline(&["run", "-r", "replication.yaml", "--dry-run", "--streams", "events"])
        .succeeds();
    assert_eq!(cell(&told, "events", "target"), "merged into");
    assert_eq!(std::fs::read(project.path("state/hogline.db")).unwrap(), before);
    project.holds_exactly(&posthog, "events");
}

#[test]
fn a_snapshot_stands_beside_the_earlier_ones() {
    let posthog = PostHog::start();
    let streams = ["cohorts", "events", "persons"];
    let project = Project::in_mode(&posthog, "snapshot", &streams);
    let copies = |table: &str| {
        let count = format!(
            "SELECT count(*) || '' FROM posthog_{table} \
             GROUP BY _sling_loaded_at ORDER BY _sling_loaded_at"
        );
        project.copy().lines(&count)
    };
    project.run().succeeds();
    let first = streams.map(copies);
    posthog.edits("cohorts", 3);
    posthog.receives_events(10, MINUTE);
    posthog.later(MINUTE);

    project.run().succeeds();

    for (table, first) in streams.into_iter().zip(first) {
        let both = copies(table);
        assert_eq!((both.len(), &both[0]), (2, &first[0]), "{table}: {both:?}");
        assert_eq!(both[1], posthog.count(table).to_string(), "{table}");
    }
    project.verifies(&[]).succeeds().says("nothing: its mode is snapshot");
}

#[test]
fn a_snapshot_that_was_killed_goes_on_as_the_same_snapshot() {
    let posthog = PostHog::playing(|options| options.sql_cap = 200);
    let project = Project::in_mode(&posthog, "snapshot", &["events"]);
    assert!(project.steered("KILL:3:before COMMIT", &[]).was_killed());
    let in_part = project.copy().lines("SELECT count(*) || '' FROM posthog_events");
    posthog.later(MINUTE);

    project.run().succeeds();

    let copies =
        project.copy().lines("SELECT count(*) || '' FROM posthog_events GROUP BY _sling_loaded_at");
    assert_ne!(in_part, copies);
    assert_eq!(copies, [posthog.count("events").to_string()]);
}

#[test]
fn a_definition_is_a_table_without_rows() {
    let posthog = PostHog::start();
    let project = Project::in_mode(&posthog, "definition-only", &["events", "cohorts"]);

    project.run().succeeds().says("defined");

    let columns = |table: &str| {
        let list = format!("SELECT group_concat(name) FROM pragma_table_info('posthog_{table}')");
        project.copy().lines(&list).remove(0)
    };
    assert!(columns("events").contains("event_date"), "{}", columns("events"));
    assert!(columns("cohorts").contains("is_static"), "{}", columns("cohorts"));
    assert_eq!(posthog.asked_about("FROM events").len(), 0);
    let count = |table: &str| {
        project.copy().lines(&format!("SELECT count(*) || '' FROM posthog_{table}")).remove(0)
    };
    assert_eq!((count("events").as_str(), count("cohorts").as_str()), ("0", "0"));
    // What was loaded stays, and so does the place where the next run goes on.
    project.now_replicates("incremental", &["events", "cohorts"]);
    project.run().succeeds();
    project.run_with(&["--mode", "definition-only"]).succeeds();
    let told = project.run().succeeds();
    assert_eq!(told.rows_of("events")[..2], [0, 0], "{told}");
    project.holds_exactly(&posthog, "events");
}

#[test]
fn a_database_runs_what_the_user_wants_around_the_rows() {
    let posthog = PostHog::start();
    let yaml = "source: POSTHOG\ntarget: sqlite://posthog.db\n\
        defaults: { object: \"posthog.{stream_name}\", target_options: { pre_sql: \
        \"CREATE TABLE IF NOT EXISTS log (stream, what); INSERT INTO log VALUES ('{stream_name}', 'begins')\", \
        post_sql: \"INSERT INTO log SELECT '{object_name}', count(*) || ' rows' FROM \
        posthog_{stream_name}\" } }\nstreams: { cohorts: , actions: { target_options: { post_sql: nonsense } } }\n";
    let project = Project::of(&posthog, yaml);

    project.run().exits(3).says("post_sql of stream `actions` failed; its rows are in");

    let log = project.copy().lines("SELECT stream || ' ' || what FROM log ORDER BY stream, what");
    let cohorts = posthog.count("cohorts");
    assert_eq!(
        log,
        ["actions begins", "cohorts begins", &format!("posthog_cohorts {cohorts} rows")]
    );
    project.holds_exactly(&posthog, "actions");
    Project::of(&posthog, yaml).into_files().run().exits(2).says("pre_sql is for databases");
}

#[test]
fn compacting_keeps_every_snapshot() {
    let posthog = PostHog::start();
    let project = Project::in_mode(&posthog, "snapshot", &["cohorts", "events"]).into_files();
    for _ in 0..2 {
        project.run().succeeds();
        posthog.edits("cohorts", 3);
        posthog.later(MINUTE);
    }

    project.compacts().succeeds();

    for stream in ["cohorts", "events"] {
        let rows = i64::try_from(project.texts_of(stream).len()).unwrap();
        assert_eq!(rows, 2 * posthog.count(stream), "{stream}");
    }
}

#[test]
fn tables_tell_which_run_wrote_a_row_where_that_is_asked_for() {
    let posthog = PostHog::start();
    let yaml = "source: POSTHOG\ntarget: sqlite://posthog.db\n\
        env: { SLING_LOADED_AT_COLUMN: true, SLING_EXEC_ID_COLUMN: 'true', \
        HOGLINE_STREAM_URL_COLUMN: 1 }\n\
        defaults: { object: \"posthog.{stream_name}\", mode: incremental }\n\
        streams: { insights: , events: , cohorts: { select: [name] } }\n";
    let project = Project::of(&posthog, yaml);
    project.run().succeeds();
    let runs = |table: &str| {
        project.copy().lines(&format!(
            "SELECT count(*) || ' ' || (min(_sling_loaded_at) LIKE '2026-%Z') || ' ' || \
             length(_sling_exec_id) || ' ' || substr(_sling_stream_url, -8) \
             FROM posthog_{table} GROUP BY _sling_exec_id ORDER BY count(*)"
        ))
    };
    let all = |stream: &str| posthog.count(stream);
    assert_eq!(runs("insights"), [format!("{} 1 36 nsights/", all("insights"))]);
    assert_eq!(runs("cohorts"), [format!("{} 1 36 cohorts/", all("cohorts"))]);
    posthog.edits("insights", 3);
    posthog.later(MINUTE);

    let told = project.run().succeeds();

    // Who asks when a row was written does not make it another one.
    assert_eq!(told.rows_of("insights")[..2], [0, 3], "{told}");
    assert_eq!(told.rows_of("cohorts")[..2], [0, 0], "{told}");
    let (rest, changed) = (all("insights") - 3, 3);
    assert_eq!(
        runs("insights"),
        [format!("{changed} 1 36 nsights/"), format!("{rest} 1 36 nsights/")]
    );
    project.verifies(&["--sample", "all"]).succeeds();
}
