//! Whole runs into a real PostgreSQL.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hogline::sandbox::{Fault, FaultKind};

use crate::support::{
    Answer, Cable, Cluster, DAY, EVERYTHING, MINUTE, Mangle, PATIENCE, PostHog, Project, Proxy,
    Strike,
};

fn with_many_pages() -> PostHog {
    PostHog::playing(|options| {
        options.events = 240;
        options.persons = 60;
        options.sql_cap = 40;
    })
}

/// Runs until the `n`-th request hangs, then lets `strike` happen.
fn at_request(posthog: &PostHog, n: usize) {
    posthog.clear_log();
    posthog.fault(Fault::on("", FaultKind::Slow(60 * PATIENCE)).nth(&[n]));
}

#[test]
fn every_stream_arrives_as_it_is_and_a_second_run_changes_nothing() {
    let posthog = PostHog::playing(|options| {
        options.events = 300;
        options.persons = 60;
        options.recordings = 40;
    });
    let cluster = Cluster::start();
    let project = Project::of_everything(&posthog).into_postgres(&cluster.url());

    project.run().succeeds().keeps_the_password();

    for stream in EVERYTHING {
        cluster.holds_exactly(&posthog, stream);
    }
    let types = "SELECT string_agg(column_name || ' ' || data_type, ', ' ORDER BY column_name)
                 FROM information_schema.columns WHERE table_name = 'events'
                 AND column_name IN ('id', 'timestamp', 'event_date', 'properties')";
    assert_eq!(
        cluster.sql(types),
        ["event_date date, id uuid, properties jsonb, timestamp timestamp with time zone"]
    );
    let written = "SELECT string_agg(xmin::text, ',' ORDER BY id, event_date) FROM posthog.events";
    let before = cluster.sql(written);
    let ran = project.run_with(&["--mode", "incremental"]).succeeds();
    for stream in EVERYTHING {
        cluster.holds_exactly(&posthog, stream);
        assert_eq!(ran.rows_of(stream)[..2], [0, 0], "{stream}");
    }
    assert_eq!(cluster.sql(written), before, "rows were rewritten");
}

#[test]
fn every_mode_ends_with_what_posthog_holds() {
    let (posthog, cluster) = (with_many_pages(), Cluster::start());
    let streams = ["events", "cohorts", "persons"];
    let project = Project::incremental(&posthog, &streams);
    // As a connection of its own, with Sling's keys.
    project.writes(
        ".env.sling",
        &format!(
            "PG='{{ type: postgres, host: 127.0.0.1, port: {}, user: loader, database: lake, \
             password: \"{}\", sslmode: prefer }}'\n",
            cluster.port,
            crate::support::PASSWORD
        ),
    );
    for mode in ["incremental", "full-refresh", "truncate", "incremental"] {
        project.now_replicates(mode, &streams);
        project.now_writes_to("PG");

        let ran = project.run().succeeds().keeps_the_password();

        for stream in streams {
            cluster.holds_exactly(&posthog, stream);
        }
        assert!(ran.rows_of("events")[0] > 0, "{mode}: {ran}");
        posthog.later(MINUTE);
        posthog.receives_events(9, DAY);
    }
    let range = ["--mode", "backfill", "--range", "2026-02-01,2026-02-05", "--streams", "events"];
    project.run_with(&range).succeeds();
    project.run().succeeds();
    cluster.holds_exactly(&posthog, "events");
}

#[test]
fn a_run_that_is_killed_or_loses_its_connection_is_finished_by_the_next() {
    let (posthog, cluster) = (with_many_pages(), Cluster::start());
    let killed = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'loader'";
    for (mode, n, is_killed) in
        [("incremental", 6, false), ("full-refresh", 5, true), ("truncate", 7, false)]
    {
        cluster.sql("DROP SCHEMA IF EXISTS posthog CASCADE");
        let project = Project::in_mode(&posthog, mode, &["events", "cohorts"]);
        let project = project.into_postgres(&cluster.url());
        at_request(&posthog, n);
        let running = project.starts();
        posthog.until("the run asks", |sandbox| sandbox.log().len() >= n);
        if is_killed {
            running.dies();
            posthog.clear_faults();
        } else {
            cluster.sql(killed);
            running.receives("TERM");
            running.ends().exits(143);
            posthog.clear_faults();
        }

        project.run().succeeds().keeps_the_password();

        cluster.holds_exactly(&posthog, "events");
        cluster.holds_exactly(&posthog, "cohorts");
    }
}

#[test]
fn a_server_that_is_killed_in_mid_run_and_starts_again_loses_nothing() {
    let (posthog, mut cluster) = (with_many_pages(), Cluster::start());
    for mode in ["incremental", "full-refresh", "truncate"] {
        let project = Project::in_mode(&posthog, mode, &["events", "cohorts"]);
        let project = project.into_postgres(&cluster.url());
        posthog.clear_log();
        posthog.fault(Fault::on("", FaultKind::Slow(Duration::from_secs(2))).nth(&[6]));
        let running = project.starts();
        posthog.until("the run asks", |sandbox| sandbox.log().len() >= 6);

        cluster.is_killed_and_starts_again();
        posthog.clear_faults();

        // What was written is gone with the server's sessions: the run says so.
        running.ends().fails_or_is(7, 3).keeps_the_password().says("fix:");
        project.run().succeeds().keeps_the_password();
        cluster.holds_exactly(&posthog, "events");
        cluster.holds_exactly(&posthog, "cohorts");
        cluster.sql("DROP SCHEMA posthog CASCADE");
    }
}

#[test]
fn a_run_that_dies_around_a_commit_is_finished_by_the_next() {
    let (posthog, cluster) = (with_many_pages(), Cluster::start());
    for (mode, moment) in [
        ("incremental", "KILL:3:before COMMIT"),
        ("incremental", "KILL:2:between COMMIT and state"),
        ("full-refresh", "KILL:1:inside the swap"),
        ("full-refresh", "KILL:1:between the last COMMIT and state"),
    ] {
        let project = Project::in_mode(&posthog, mode, &["events"]).into_postgres(&cluster.url());
        if mode == "full-refresh" {
            // The copy takes the place of a table.
            project.run().succeeds();
        }

        assert!(project.steered(moment, &[]).was_killed(), "survived {moment}");
        project.run().succeeds();

        cluster.holds_exactly(&posthog, "events");
        cluster.sql("DROP SCHEMA posthog CASCADE");
    }
}

#[test]
fn rows_deleted_changed_and_added_by_hand_are_found_and_healed() {
    let (posthog, cluster) = (with_many_pages(), Cluster::start());
    let project = Project::incremental(&posthog, &["events", "cohorts"]);
    let project = project.into_postgres(&cluster.url());
    project.run().succeeds();
    posthog.later(MINUTE);
    project.verifies(&[]).succeeds().keeps_the_password();
    let nth =
        |n| format!("(SELECT id FROM posthog.events ORDER BY timestamp, id OFFSET {n} LIMIT 1)");
    cluster.sql(&format!(
        "DELETE FROM posthog.events WHERE id = {};
         UPDATE posthog.events SET properties = properties || '{{\"forged\": 1}}' WHERE id = {};
         INSERT INTO posthog.events (event_date, id, event, distinct_id, timestamp, created_at)
           SELECT event_date, '0190aaaa-0000-4000-8000-000000000001', 'made up', 'me', timestamp,
                  '2099-01-01' FROM posthog.events WHERE id = {};
         DELETE FROM posthog.cohorts WHERE id = (SELECT min(id) FROM posthog.cohorts)",
        nth(10),
        nth(100),
        nth(200)
    ));

    let found = project.verifies(&["--sample", "all"]).exits(8).keeps_the_password();

    for told in ["missing: events", "differing: events", "extra: events", "missing: cohorts"] {
        assert!(found.stdout.contains(told), "{told}: {found}");
    }
    project.verifies(&["--sample", "all", "--repair"]).succeeds();
    for stream in ["events", "cohorts"] {
        cluster.holds_exactly(&posthog, stream);
    }
    project.verifies(&["--sample", "all"]).succeeds();
}

#[test]
fn gone_rows_are_marked_or_deleted_where_that_is_wanted() {
    let (posthog, cluster) = (with_many_pages(), Cluster::start());
    let project = Project::incremental(&posthog, &["cohorts: { delete_missing: soft }"]);
    let project = project.into_postgres(&cluster.url());
    project.run().succeeds();
    let before = cluster.count("cohorts");
    posthog.later(MINUTE);
    posthog.delete("cohorts", 2);

    project.run().succeeds();

    let marked = "SELECT count(*) FROM posthog.cohorts WHERE _hogline_deleted_at IS NOT NULL";
    assert_eq!(cluster.sql(marked), ["2"]);
    assert_eq!(cluster.count("cohorts"), before);
    project.verifies(&[]).succeeds();
    // As if they had all been gone: those that are there come again.
    cluster.sql("UPDATE posthog.cohorts SET _hogline_deleted_at = '2026-01-01'");
    project.run().succeeds();
    assert_eq!(cluster.sql(marked), ["2"]);
    project.now_replicates("incremental", &["cohorts: { delete_missing: hard }"]);
    project.now_writes_to(&cluster.url());
    posthog.delete("cohorts", 1);
    project.run().succeeds();
    assert_eq!(cluster.count("cohorts"), before - 1);
}

#[test]
fn a_column_that_another_program_dropped_is_not_filled_with_nothing() {
    let (posthog, cluster) = (with_many_pages(), Cluster::start());
    let project = Project::incremental(&posthog, &["events"]).into_postgres(&cluster.url());
    project.run().succeeds();
    cluster.sql("ALTER TABLE posthog.events DROP COLUMN properties");

    project.run().exits(9).says("has lost its column `properties`");

    project.hogline(&["state", "reset", "--stream", "events"]).succeeds();
    project.run().succeeds();
    cluster.holds_exactly(&posthog, "events");
}

#[test]
fn a_server_that_ends_a_run_is_told_and_the_next_run_goes_on() {
    let (posthog, cluster) = (with_many_pages(), Cluster::start());
    for strike in [Strike::CutAt(45), Strike::LoseReplyToCommit(3)] {
        cluster.sql("DROP SCHEMA IF EXISTS posthog CASCADE");
        let project = Project::incremental(&posthog, &["events"]);
        let cable = Cable::before(cluster.port, strike);
        let through = cluster.url_at(cable.port) + "?sslmode=disable";
        let project = project.into_postgres(&through);

        project.run().exits(7).says("what was committed is safe").keeps_the_password();
        assert!(cable.has_struck() && cluster.count("events") > 0);

        posthog.clear_log();
        project.run().succeeds();
        cluster.holds_exactly(&posthog, "events");
    }
}

#[test]
fn an_emptied_table_is_not_filled_up_from_the_cursor() {
    let (posthog, cluster) = (with_many_pages(), Cluster::start());
    for harm in ["DELETE FROM posthog.events", "DROP SCHEMA posthog CASCADE"] {
        let project = Project::incremental(&posthog, &["events"]).into_postgres(&cluster.url());
        project.run().succeeds();
        cluster.sql(harm);

        project.run().exits(9).says("hogline state reset --stream events");

        project.hogline(&["state", "reset", "--stream", "events"]).succeeds();
        project.run().succeeds();
        cluster.holds_exactly(&posthog, "events");
        cluster.sql("DROP SCHEMA posthog CASCADE");
    }
}

#[test]
fn what_cannot_be_written_is_found_before_any_request() {
    let (posthog, cluster) = (PostHog::start(), Cluster::start());
    cluster.sql("ALTER ROLE loader SET default_transaction_read_only = on");
    let project = Project::incremental(&posthog, &["cohorts"]).into_postgres(&cluster.url());

    project.run().exits(7).says("lets us read only").keeps_the_password();
    project.now_writes_to(&cluster.url().replace("of", "or"));
    project.run().exits(7).says("check user and password").keeps_the_password();
    project.now_writes_to("postgresql://loader:pw%20of@h/lake?sslmod=require");
    project.run().exits(2).says("sslmode").keeps_the_password();

    assert_eq!(posthog.log(), []);
}

#[test]
fn a_run_reaches_a_server_that_it_can_trust() {
    let (posthog, cluster) = (PostHog::start(), Cluster::start_with_certificate());
    let at = cluster.url().replace("127.0.0.1", "localhost") + "?sslmode=verify-full";
    let trusting = |name: &str| format!("{at}&sslrootcert={}", cluster.certificate(name));
    let project = Project::incremental(&posthog, &["cohorts"]).into_postgres(&trusting("other"));

    project.run().exits(7).says("check sslmode and sslrootcert").keeps_the_password();
    project.now_writes_to(&trusting("ca"));
    project.run().succeeds().keeps_the_password();

    cluster.holds_exactly(&posthog, "cohorts");
}

#[test]
fn a_signal_ends_a_run_that_waits_for_a_lock() {
    let (posthog, cluster) = (PostHog::start(), Cluster::start());
    let project = Project::full_refresh(&posthog, &["cohorts"]).into_postgres(&cluster.url());
    project.run().succeeds();
    let reader = cluster.session("BEGIN; SELECT count(*) FROM posthog.cohorts");
    let running = project.starts();
    cluster.until("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)");

    running.receives("TERM");
    let begun = Instant::now();
    running.ends().exits(143);

    assert!(begun.elapsed() < Duration::from_secs(10), "took {:?} to stop", begun.elapsed());
    assert_eq!(
        reader.sql("SELECT count(*) FROM posthog.cohorts"),
        [posthog.count("cohorts").to_string()]
    );
    reader.sql("ROLLBACK");
    project.run().succeeds();
    cluster.holds_exactly(&posthog, "cohorts");
}

/// The type of a column of events.
fn type_of(cluster: &Cluster, column: &str) -> String {
    let sql = "SELECT data_type FROM information_schema.columns WHERE table_name = 'events'";
    cluster.sql(&format!("{sql} AND column_name = '{column}'")).concat()
}

#[test]
fn columns_out_of_json_are_typed_and_only_widen() {
    let (posthog, cluster) = (with_many_pages(), Cluster::start());
    let proxy = Proxy::before(&posthog);
    let events = "events: { flatten: true, columns: { price: { from: properties.price, \
                  type: decimal }, version: { from: properties.$browser_version, type: string } } }";
    let project = Project::incremental(&posthog, &[events]).through(&proxy);
    let project = project.into_postgres(&cluster.url());
    project.run().succeeds().keeps_the_password();
    let types =
        ["price", "version", "properties__edition", "properties__$browser", "properties__tags"]
            .map(|column| type_of(&cluster, column));
    assert_eq!(types, ["numeric", "text", "bigint", "text", "jsonb"]);
    let wrong = "SELECT count(*) FROM posthog.events WHERE
        price IS DISTINCT FROM (properties ->> 'price')::numeric
        OR version IS DISTINCT FROM properties ->> '$browser_version'
        OR properties__edition IS DISTINCT FROM (properties ->> 'edition')::bigint
        OR properties__tags IS DISTINCT FROM nullif(properties -> 'tags', 'null')";
    assert_eq!(cluster.sql(wrong), ["0"]);
    project.verifies(&["--sample", "all"]).succeeds();

    // A view keeps its columns from being changed: it is named, and nothing is lost.
    cluster.sql("CREATE VIEW posthog.editions AS SELECT properties__edition FROM posthog.events");
    posthog.later(DAY);
    posthog.receives_events(12, MINUTE / 60);
    let spoilt: Mangle = Arc::new(|_, answer: Answer| {
        let body = String::from_utf8(answer.body.clone()).unwrap();
        answer.saying(body.replace(r#"\"edition\":0"#, r#"\"edition\":\"late\""#)).sent()
    });
    proxy.strikes_on(|asked| asked.body.contains("FROM events"), 0, &spoilt);
    project
        .run()
        .exits(7)
        .says("column `properties__edition`, which has to become text")
        .says("view `posthog.editions` shows it")
        .says("DROP VIEW posthog.editions");
    cluster.sql("DROP VIEW posthog.editions");

    project.run().succeeds();

    assert_eq!(type_of(&cluster, "properties__edition"), "text");
    let told = "SELECT properties__edition, count(*) FROM posthog.events
                WHERE properties__edition = 'late' GROUP BY 1";
    assert_eq!(cluster.sql(told).len(), 1);
    let kept = "SELECT count(*) FROM posthog.events
                WHERE properties__edition IS DISTINCT FROM properties ->> 'edition'";
    assert_eq!(cluster.sql(kept), ["0"]);
    let log = project.hogline(&["state", "schema", "--stream", "events"]).succeeds();
    log.says("widened").says("declared");
}

#[test]
fn a_declared_type_takes_effect_where_it_is_wider_at_once_and_else_with_the_next_copy() {
    let (posthog, cluster) = (with_many_pages(), Cluster::start());
    let project = Project::incremental(&posthog, &["events"]).into_postgres(&cluster.url());
    project.run().succeeds();
    let declared = |kind: &str| {
        format!("events: {{ columns: {{ person_id: {kind}, elements_chain: json }} }}")
    };
    for (mode, kind, expected) in [
        ("incremental", "text", ["text", "text"]),
        ("full-refresh", "text", ["text", "jsonb"]),
        ("truncate", "uuid", ["uuid", "jsonb"]),
    ] {
        project.now_replicates(mode, &[&declared(kind)]);
        project.now_writes_to(&cluster.url());
        posthog.later(MINUTE);
        posthog.receives_events(5, MINUTE / 60);

        project.run().succeeds();

        assert_eq!(cluster.count("events"), posthog.count("events"), "{mode}");
        let found = ["person_id", "elements_chain"].map(|column| type_of(&cluster, column));
        assert_eq!(found, expected, "{mode}");
    }
}
