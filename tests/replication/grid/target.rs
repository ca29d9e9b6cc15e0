//! A target that another program harmed: the run stops with 9 or 7, names the ways out, and
//! either of them leads back to a whole copy.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::Value;

use super::{Fault, Ground, Kind, Tried, try_all};
use crate::support::{Database, MINUTE, PostHog, Project, Told};

#[test]
fn a_database_that_another_program_harmed_is_never_filled_up_from_the_cursor() {
    let sql =
        |name: &str, sql: &'static str| harmed(name, Ground::is_database, move |p| change(p, sql));
    let bytes = |name: &str, harm: fn(&Path)| {
        damaged(name, move |p| {
            change(p, "PRAGMA wal_checkpoint(TRUNCATE)");
            harm(&p.path("posthog.db"));
        })
    };
    let faults = [
        sql("table emptied", "DELETE FROM {table}"),
        sql("table dropped", "DROP TABLE {table}"),
        sql(
            "table replaced by a view",
            "ALTER TABLE {table} RENAME TO t; CREATE VIEW {table} AS SELECT * FROM t LIMIT 0",
        ),
        sql(
            "table rebuilt without rows",
            "ALTER TABLE {table} RENAME TO t; CREATE TABLE {table} AS SELECT * FROM t LIMIT 0",
        ),
        sql(
            "newest rows deleted",
            "DELETE FROM {table} WHERE {row} > (SELECT max({row}) FROM {table}) / 2",
        ),
        sql(
            "column of the key dropped",
            "CREATE TABLE t AS SELECT 1 AS other FROM {table}; DROP TABLE {table}; ALTER TABLE t RENAME TO {table}",
        ),
        sql("column dropped", "ALTER TABLE {table} DROP COLUMN {column}"),
        harmed("all tables dropped but the checkpoints", is_sqlite, |p| {
            change(p, "DROP TABLE {table}; VACUUM");
        }),
        harmed("database deleted", is_sqlite, remove_database),
        harmed("database restored from an older copy", is_sqlite, restored_from_an_older_copy),
        bytes("database overwritten with noise", |path| overwrite(path, 0)),
        bytes("pages overwritten with noise", |path| overwrite(path, 4096)),
        bytes("database cut off", |path| cut(path, 5000)),
        bytes("database replaced by a text", |path| fs::write(path, "notes\n".repeat(99)).unwrap()),
    ];
    try_all("database", 32, &faults);
}

#[test]
fn files_that_another_program_harmed_are_never_added_to() {
    let file =
        |name: &str, harm: fn(&Path)| harmed(name, Ground::is_files, move |p| harm(&listed(p)));
    let faults = [
        file("file removed", |path| fs::remove_file(path).unwrap()),
        file("file cut off", |path| cut(path, 10)),
        file("file grown", |path| {
            fs::write(path, [fs::read(path).unwrap(), b"{}\n".to_vec()].concat()).unwrap();
        }),
        harmed("manifest removed", Ground::is_files, |p| fs::remove_file(manifest(p)).unwrap()),
        harmed("manifest edited", Ground::is_files, |p| {
            fs::write(manifest(p), "{\"version\": 1,").unwrap();
        }),
        harmed("manifest from an older copy", Ground::is_files, older_manifest),
        harmed("folder removed", Ground::is_files, |p| fs::remove_dir_all(folder(p)).unwrap()),
    ];
    try_all("files", 42, &faults);
}

#[test]
fn what_the_owner_does_to_his_table_stays() {
    let faults = [
        owned(
            "column added",
            "ALTER TABLE {table} ADD COLUMN mine TEXT DEFAULT 'x'",
            "SELECT count(*) FROM {table} WHERE mine = 'x'",
        ),
        owned(
            "index added",
            "CREATE INDEX mine ON {table} ({column})",
            "SELECT count(*) FROM sqlite_schema WHERE name = 'mine'",
        ),
        owned(
            "another program's table in the database",
            "CREATE TABLE mine AS SELECT 1 AS x",
            "SELECT x FROM mine",
        ),
        owned(
            "foreign checkpoint rows",
            "INSERT INTO _hogline_checkpoints SELECT 'o', 'p', stream, object, epoch, sequence, position, witnesses, updated_at, columns FROM _hogline_checkpoints",
            "SELECT count(*) FROM _hogline_checkpoints WHERE origin = 'o'",
        ),
    ];
    try_all("owner", 17, &faults);
}

#[test]
fn a_busy_database_is_waited_for_but_not_for_ever() {
    let faults = [
        Fault::new("database busy for a while", |ground| {
            busy(ground, |posthog, project, holder| {
                let run = project.starts_with(ground.options());
                posthog.until("the run asks", |sandbox| !sandbox.log().is_empty());
                holder.execute_batch("COMMIT").unwrap();
                run.ends().succeeds();
            })
        }),
        Fault::new("database busy for ever", |ground| {
            busy(ground, |_, project, holder| {
                let yaml = fs::read_to_string(project.path("replication.yaml")).unwrap();
                let hasty = yaml.replace("posthog.db", "posthog.db?busy_timeout=100ms");
                project.writes("replication.yaml", &hasty);
                let told = project.run_with(ground.options()).exits(7);
                told.says("locked").says("another program").says("run again");
                holder.execute_batch("COMMIT").unwrap();
            })
        }),
    ];
    try_all("busy", 13, &faults);
}

/// Another program is in the middle of a transaction.
fn busy(ground: &Ground, meanwhile: impl Fn(&PostHog, &Project, &Connection)) -> Tried {
    match ground.kind {
        Kind::Sqlite => {}
        Kind::Postgres => return Tried::Empty("its locks have stories of their own"),
        _ => return Tried::Empty("files have no such lock"),
    }
    let (posthog, project) = loaded(ground);
    let holder = Connection::open(project.path("posthog.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE; CREATE TABLE theirs (x)").unwrap();
    posthog.clear_log();
    meanwhile(&posthog, &project, &holder);
    ground.settles(&posthog, &project);
    Tried::Passed(1)
}

fn is_sqlite(ground: &Ground) -> bool {
    ground.kind == Kind::Sqlite
}

/// A harm after which nothing may be added: state and target disagree, whatever is in them.
fn harmed(name: &str, is_meant: fn(&Ground) -> bool, harm: impl Fn(&Project) + 'static) -> Fault {
    Fault::new(name, move |ground| {
        if !is_meant(ground) {
            return Tried::Empty("it is another target's");
        }
        let (posthog, project) = loaded(ground);
        harm(&project);
        posthog.clear_log();
        let told = project.run_with(ground.options());
        if matches!(ground.mode, "full-refresh" | "truncate") {
            // Such a run makes all of the copy anew, unless even that cannot be done.
            let told = told.fails_or_is(7, 0);
            if told.status.success() {
                ground.settles(&posthog, &project);
                return Tried::Passed(1);
            }
        } else {
            let told = told.fails_or_is(7, 9).says("fix:");
            assert_eq!(posthog.log(), [], "asked although the target is wrong: {told}");
            names_two_ways(&told);
        }
        begins_anew(ground, &posthog, &project);
        Tried::Passed(1)
    })
}

/// A harm to the file itself: the database cannot be read.
fn damaged(name: &str, harm: impl Fn(&Project) + 'static) -> Fault {
    Fault::new(name, move |ground| {
        if !is_sqlite(ground) {
            return Tried::Empty("it is another target's");
        }
        let (posthog, project) = loaded(ground);
        let good = fs::read(project.path("posthog.db")).unwrap();
        harm(&project);
        names_two_ways(&project.run_with(ground.options()).exits(7));
        // One way out: the database as it was.
        remove_database(&project);
        fs::write(project.path("posthog.db"), good).unwrap();
        ground.settles(&posthog, &project);
        // The other one: another history.
        harm(&project);
        begins_anew(ground, &posthog, &project);
        Tried::Passed(2)
    })
}

/// Something that the owner of a database may do: runs go on, and it stays.
fn owned(name: &str, sql: &'static str, stays: &'static str) -> Fault {
    Fault::new(name, move |ground| {
        if ground.is_files() {
            return Tried::Empty("files have no such thing");
        }
        let posthog = ground.posthog();
        let project = ground.project(&posthog);
        project.run_with(ground.options()).succeeds();
        change(&project, sql);
        let count = || -> i64 {
            if let Some(database) = project.database() {
                return database.sql(&spelt_in(database, stays))[0].parse().unwrap();
            }
            let database = Connection::open(project.path("posthog.db")).unwrap();
            database.query_row(&spelt(&database, stays), [], |row| row.get(0)).unwrap()
        };
        let before = count();
        project.run_with(ground.options()).succeeds();
        // A new copy has the column, but new rows.
        let is_kept = count() == before || (before > 0 && ground.mode != "incremental");
        assert!(is_kept, "{before} before, {} after", count());
        assert_eq!(project.run_with(ground.options()).succeeds().status.code(), Some(0));
        Tried::Passed(1)
    })
}

/// A copy after two runs.
fn loaded(ground: &Ground) -> (PostHog, Project) {
    let posthog = ground.posthog();
    let project = ground.project(&posthog);
    project.run_with(ground.options()).succeeds();
    // A folder as it was after the first run, for those who go back to it.
    if ground.is_files() {
        fs::copy(manifest(&project), project.path("older.json")).unwrap();
    } else if is_sqlite(ground) {
        fs::copy(project.path("posthog.db"), project.path("older.db")).unwrap();
    }
    posthog.later(MINUTE);
    project.run_with(ground.options()).succeeds();
    (posthog, project)
}

/// The message says how to go on: with the target as it was, or from the beginning.
#[track_caller]
fn names_two_ways(told: &Told) {
    let fix = told.stderr.split("fix:").nth(1).unwrap_or_default();
    assert!(fix.contains("restore") && fix.contains(" or "), "{told}");
    assert!(fix.contains("reset") || fix.contains("another path"), "{told}");
}

/// The way out that needs no backup: the stream begins anew. What stands in its way then is
/// named by the run.
#[track_caller]
fn begins_anew(ground: &Ground, posthog: &PostHog, project: &Project) {
    project.hogline(&["state", "reset", "--stream", ground.stream]).succeeds();
    let told = project.run_with(ground.options()).fails_or_is(7, 0);
    if told.stderr.contains("--mode full-refresh") {
        project.run_with(&["--mode", "full-refresh"]).succeeds();
    } else if told.stderr.contains("drop the view") {
        change(project, "DROP VIEW {table}");
    } else if told.stderr.contains("move it away") {
        remove_database(project);
        drop(fs::remove_dir_all(project.path("out/posthog")));
    } else {
        assert!(told.status.success(), "{told}");
    }
    ground.settles(posthog, project);
}

/// Does something to the stream's table: `{table}`, its `{row}` numbers, and a `{column}`.
fn change(project: &Project, sql: &str) {
    if let Some(database) = project.database() {
        database.sql(&spelt_in(database, sql));
        return;
    }
    let database = Connection::open(project.path("posthog.db")).unwrap();
    database.execute_batch(&spelt(&database, sql)).unwrap();
}

fn spelt(database: &Connection, sql: &str) -> String {
    let name = "SELECT name FROM sqlite_schema WHERE name GLOB 'posthog_*' AND type != 'index'";
    let table: String = database.query_row(name, [], |row| row.get(0)).unwrap();
    let last = "SELECT name FROM pragma_table_info(?1) WHERE pk = 0 ORDER BY cid LIMIT 1 OFFSET 1";
    let column: String = database.query_row(last, [&table], |row| row.get(0)).unwrap();
    sql.replace("{table}", &table).replace("{row}", "rowid").replace("{column}", &column)
}

fn spelt_in(database: &Database, sql: &str) -> String {
    let name = "SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'posthog'::regnamespace
                AND c.relkind IN ('r', 'v') AND c.relname !~ '^_' AND c.relname NOT IN ('t', 'mine')";
    let table = database.sql(name).remove(0);
    let last = format!(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'posthog.{table}'::regclass AND attnum > 0 AND NOT attisdropped
         AND attnum <> ALL (SELECT unnest(conkey) FROM pg_constraint WHERE conrelid = attrelid) ORDER BY attnum LIMIT 1 OFFSET 1"
    );
    let column = database.sql(&last).into_iter().next().unwrap_or_default();
    let row = "(ctid::text::point)[0] * 100 + (ctid::text::point)[1]";
    let sql = sql.replace("{table}", &table).replace("{row}", row).replace("{column}", &column);
    let sql = sql.replace("sqlite_schema WHERE name", "pg_class WHERE relname");
    format!("SET ROLE loader; SET search_path = posthog; {sql}")
}

fn remove_database(project: &Project) {
    for name in ["posthog.db", "posthog.db-wal", "posthog.db-shm"] {
        drop(fs::remove_file(project.path(name)));
    }
}

fn restored_from_an_older_copy(project: &Project) {
    remove_database(project);
    fs::rename(project.path("older.db"), project.path("posthog.db")).unwrap();
}

fn overwrite(path: &Path, from: usize) {
    let mut bytes = fs::read(path).unwrap();
    let noise = (0_u32..).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
    bytes.iter_mut().skip(from).zip(noise).for_each(|(byte, noise)| *byte = noise);
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path, length: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// The one folder of a stream.
fn folder(project: &Project) -> PathBuf {
    let mut folders = fs::read_dir(project.path("out/posthog")).unwrap();
    folders.next().unwrap().unwrap().path()
}

fn manifest(project: &Project) -> PathBuf {
    folder(project).join("_manifest.json")
}

/// The first of the files that readers see.
fn listed(project: &Project) -> PathBuf {
    let manifest: Value = serde_json::from_slice(&fs::read(manifest(project)).unwrap()).unwrap();
    folder(project).join(manifest["files"][0]["name"].as_str().unwrap())
}

fn older_manifest(project: &Project) {
    fs::copy(project.path("older.json"), manifest(project)).unwrap();
}
