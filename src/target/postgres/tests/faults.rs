//! What a load loses when server, connection or another session fail it: nothing.

use super::*;
use crate::target::cable::{Cable, Strike};

#[test]
fn a_lost_connection_loses_nothing_wherever_it_is_cut() {
    let cluster = Cluster::start();
    let pages = [r#"{"id":"a","name":"1"}"#, r#"{"id":"b","name":"2","new":{}}"#];
    for mode in [Load::Merge, Load::Replace] {
        let mut struck = 0;
        // A few of them: the steps of the two loads are not the same ones.
        for n in (1..).step_by(11) {
            cluster.sql("DROP SCHEMA IF EXISTS posthog CASCADE");
            if mode == Load::Replace {
                load(&cluster, Load::Merge, r#"{"id":"old"}"#).unwrap();
            }
            let cable = Cable::before(cluster.port, Strike::CutAt(n));
            let url = cluster.url_at(cable.port) + "?sslmode=disable";
            let ended = load_pages(&url, mode, &pages);
            assert_eq!(ended.is_err(), cable.has_struck(), "{n}: {ended:?}");
            struck = n;
            if ended.is_ok() {
                break;
            }
            let rows = visible_rows(&cluster);
            let whole = ["a", "ab", ""].contains(&rows.as_str());
            assert!(if mode == Load::Merge { whole } else { rows == "old" }, "{n}: {rows}");
            load_pages(&cluster.url(), mode, &pages).unwrap();
            assert_eq!(visible_rows(&cluster), "ab", "cut at {n}");
        }
        assert!(struck > 30, "{struck} statements only");
    }
}

fn visible_rows(cluster: &Cluster) -> String {
    let rows = cluster.try_sql("SELECT string_agg(id, '' ORDER BY id) FROM posthog.t");
    rows.map_or(String::new(), |rows| rows[0].replace('∅', ""))
}

#[test]
fn a_commit_whose_reply_is_lost_is_found_by_the_next_run() {
    let cluster = Cluster::start();
    let pages = [r#"{"id":"a"}"#, r#"{"id":"b"}"#];
    // The first one makes schema and checkpoints.
    for (n, rows) in [(1, ""), (2, "a"), (3, "ab"), (4, "ab")] {
        cluster.sql("DROP SCHEMA IF EXISTS posthog CASCADE");
        let cable = Cable::before(cluster.port, Strike::LoseReplyToCommit(n));
        let url = cluster.url_at(cable.port) + "?sslmode=disable";

        let err = load_pages(&url, Load::Merge, &pages).unwrap_err();

        assert!(err.hint.contains("safe"), "{err:?}");
        assert_eq!(visible_rows(&cluster), rows);
        let stored = cluster.sql("SELECT max(sequence) FROM posthog._hogline_checkpoints");
        assert_eq!(stored, [["∅", "1", "2", "3"][n - 1]]);
        load_pages(&cluster.url(), Load::Merge, &pages).unwrap();
        assert_eq!(visible_rows(&cluster), "ab");
    }
}

#[test]
fn what_the_server_ends_is_told_and_done_again() {
    let cluster = prepared(
        "CREATE TABLE posthog.t (id text PRIMARY KEY, name text);
         CREATE FUNCTION posthog.fail() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN RAISE ''no'' USING ERRCODE = TG_ARGV[0]; END';
         CREATE FUNCTION posthog.wait() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN PERFORM pg_sleep(600); RETURN new; END'",
    );
    let trigger =
        "CREATE TRIGGER fault BEFORE INSERT ON posthog.t FOR EACH ROW EXECUTE FUNCTION posthog.";
    let lock = "LOCK TABLE posthog.t IN ACCESS EXCLUSIVE MODE";
    let row = r#"{"id":"a"}"#;
    for (setting, fault, told) in [
        ("", format!("{trigger}fail('40001')"), "run again: nothing is lost"),
        ("", format!("{trigger}fail('40P01')"), "run again: nothing is lost"),
        ("", format!("{trigger}fail('53100')"), "free space on the server"),
        ("SET statement_timeout = '500ms'", format!("{trigger}wait()"), "raise statement_timeout"),
        ("SET lock_timeout = '100ms'", format!("BEGIN; {lock}"), "another session holds the table"),
    ] {
        if !setting.is_empty() {
            cluster.sql(&format!("ALTER ROLE loader {setting}"));
        }
        let session = cluster.session(&fault);

        let err = load(&cluster, Load::Merge, row).unwrap_err();

        assert!(err.hint.contains(told), "{err:?}");
        session.sql("ROLLBACK");
        cluster.sql("DROP TRIGGER IF EXISTS fault ON posthog.t; ALTER ROLE loader RESET ALL");
        assert_eq!(visible_rows(&cluster), "");
    }
    load(&cluster, Load::Merge, row).unwrap();
    assert_eq!(visible_rows(&cluster), "a");
}

#[test]
fn a_backend_that_is_killed_takes_its_page_along_and_no_more() {
    let cluster = Cluster::start();
    let mut target = open(&cluster.url(), "posthog.t", &schema()).unwrap();
    target.begin(Load::Merge).unwrap();
    target.write(&batch(&schema(), r#"{"id":"a"}"#)).unwrap();
    target.commit(&checkpoint(1)).unwrap();
    target.write(&batch(&schema(), r#"{"id":"b"}"#)).unwrap();

    cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'loader'");
    let err = target.commit(&checkpoint(2)).unwrap_err();

    assert!(err.hint.contains("safe"), "{err:?}");
    target.abandon().unwrap();
    assert_eq!(visible_rows(&cluster), "a");
    let mut target = open(&cluster.url(), "posthog.t", &schema()).unwrap();
    assert_eq!(target.recall().unwrap(), Recall::Found(checkpoint(1)));
    target.begin(Load::Merge).unwrap();
}

#[test]
fn two_loads_of_one_table_never_both_go_on() {
    let cluster = Cluster::start();
    let [mut first, mut second] =
        [0, 1].map(|_| open(&cluster.url(), "posthog.t", &schema()).unwrap());
    assert_eq!(
        (first.recall().unwrap(), second.recall().unwrap()),
        (Recall::Nothing, Recall::Nothing)
    );
    first.begin(Load::Merge).unwrap();
    first.write(&batch(&schema(), r#"{"id":"a"}"#)).unwrap();
    first.commit(&checkpoint(1)).unwrap();

    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| second.begin(Load::Merge).unwrap_err());
        cluster.until(
            "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory')",
        );
        first.publish(&checkpoint(2)).unwrap();
        let err = waiting.join().unwrap();
        assert!(err.cause.contains("another run"), "{err:?}");
    });
}

#[test]
fn a_stop_ends_a_statement_that_waits() {
    let cluster = prepared("CREATE TABLE posthog.t (id text PRIMARY KEY, name text)");
    let blocking = cluster.session("BEGIN; LOCK TABLE posthog.t IN ACCESS EXCLUSIVE MODE");
    let opening =
        Opening { key: &key(), object: "posthog.t", schema: schema(), layout: Default::default() };
    let mut target = PostgresTarget::open(&Postgres::at(&cluster.url()), &opening).unwrap();
    let stop = watch::Sender::new(false);
    target.stop = stop.subscribe();
    target.hang_up();

    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let begun = target.begin(Load::Merge);
            begun.and_then(|_| target.write(&batch(&schema(), r#"{"id":"a"}"#))).unwrap_err()
        });
        cluster.until("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)");
        stop.send_replace(true);
        waiting.join().unwrap();
    });
    target.abandon().unwrap();

    assert!(target.begin(Load::Merge).is_err(), "it goes on after a stop");
    cluster.until("SELECT NOT EXISTS (SELECT 1 FROM pg_stat_activity WHERE usename = 'loader')");
    drop(blocking);
}
