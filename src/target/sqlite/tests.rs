//! What only a SQLite database can get wrong.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::cursor::Position;
use crate::schema::{Column, ColumnType, Origin};

fn schema() -> Arc<Schema> {
    let column = |name: &str, kind| Column { name: name.into(), kind, origin: Origin::Field };
    let columns = vec![column("id", ColumnType::Uuid), column("name", ColumnType::Text)];
    Arc::new(Schema { columns, primary_key: vec![0], ..Schema::default() })
}

fn key() -> StreamKey {
    let [origin, project, stream, object] = ["o", "1", "s", "t"].map(String::from);
    StreamKey { origin, project, stream, object }
}

fn checkpoint() -> Checkpoint {
    let (epoch, position) = ("e".into(), Position::default());
    Checkpoint { key: key(), epoch, sequence: 1, position, witnesses: vec![] }
}

fn target(path: &Path, object: &str) -> Result<SqliteTarget, TargetError> {
    SqliteTarget::open(
        path,
        crate::target::PATIENCE,
        &Opening { key: &key(), object, schema: schema(), layout: Default::default() },
    )
}

/// Loads one row into table `t`.
fn load(path: &Path, load: Load, row: &str) -> Result<Written, TargetError> {
    let mut target = target(path, "main.t")?;
    target.begin(load)?;
    let answer = format!(r#"{{"results":[{row}]}}"#);
    let written = target.write(&Batch::of_results(schema(), &answer).unwrap().unwrap())?;
    target.publish(&checkpoint())?;
    Ok(written)
}

/// A database that a user made with `sql`.
fn database(sql: &str) -> (tempfile::TempDir, PathBuf, Connection) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("lake.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(sql).unwrap();
    (home, path, db)
}

fn text(db: &Connection, sql: &str) -> String {
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn objects_are_tables() {
    for (object, table) in [
        ("t", "t"),
        ("main.t", "t"),
        ("posthog.events", "posthog_events"),
        ("mainland.t", "mainland_t"),
    ] {
        assert_eq!(table_of(object), table);
    }
}

#[test]
fn a_users_columns_indexes_triggers_and_views_survive_a_full_copy() {
    let (_home, path, db) = database(
        "CREATE TABLE T (id TEXT PRIMARY KEY, NAME TEXT, mine TEXT);
         CREATE TABLE child (id TEXT REFERENCES t(id) ON DELETE CASCADE);
         CREATE TABLE log (line TEXT);
         INSERT INTO T VALUES ('a', 'old', 'm'); INSERT INTO child VALUES ('a');
         CREATE INDEX by_name ON T (name);
         CREATE TRIGGER watch AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.id); END;
         CREATE VIEW seen AS SELECT name || ifnull(mine, '') AS shown FROM t;",
    );

    load(&path, Load::Merge, r#"{"id":"a","name":"new"}"#).unwrap();
    assert_eq!(text(&db, "SELECT shown FROM seen"), "newm");
    load(&path, Load::Replace, r#"{"id":"b","name":"copy"}"#).unwrap();
    assert_eq!(text(&db, "SELECT group_concat(shown) FROM seen"), "copy");
    load(&path, Load::Merge, r#"{"id":"c","name":"more"}"#).unwrap();

    assert_eq!(text(&db, "SELECT group_concat(name) FROM seen, t"), "copy,more,copy,more");
    assert_eq!(text(&db, "SELECT group_concat(line) FROM log"), "c");
    assert_eq!(text(&db, "SELECT id FROM child"), "a");
    let index = text(&db, "SELECT sql FROM sqlite_schema WHERE name = 'by_name'");
    assert_eq!(index, "CREATE INDEX by_name ON T (name)");
}

#[test]
fn a_table_with_another_key_is_refused_and_named() {
    for sql in [
        "CREATE TABLE t (id TEXT, name TEXT, PRIMARY KEY (id, name))",
        "CREATE TABLE t (id TEXT, name TEXT); CREATE UNIQUE INDEX u ON t (id) WHERE name > 'a'",
        "CREATE TABLE t (id TEXT, name TEXT); CREATE UNIQUE INDEX u ON t (id, lower(name))",
        "CREATE VIEW t AS SELECT 1 AS id",
    ] {
        let (_home, path, _) = database(sql);

        let err = load(&path, Load::Merge, r#"{"id":"a"}"#).unwrap_err();

        assert!(err.cause.contains("unique by (\"id\")") || err.cause.contains("view"), "{err}");
        if !sql.contains("VIEW") {
            load(&path, Load::Replace, r#"{"id":"a"}"#).unwrap();
            load(&path, Load::Merge, r#"{"id":"a"}"#).unwrap();
        }
    }
}

#[test]
fn a_unique_index_is_as_good_as_a_primary_key() {
    let (_home, path, _db) =
        database("CREATE TABLE t (name TEXT, ID TEXT); CREATE UNIQUE INDEX u ON t (ID)");

    load(&path, Load::Merge, r#"{"id":"a","name":"x"}"#).unwrap();
    let written = load(&path, Load::Merge, r#"{"id":"a","name":"y"}"#).unwrap();

    assert_eq!((written.new, written.updated), (0, 1));
}

#[test]
fn what_is_no_database_is_refused_when_opened() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("notes.txt");
    std::fs::write(&path, "no database, but long enough to be looked at as one".repeat(20))
        .unwrap();

    let err = target(&path, "t").unwrap_err();
    assert!(err.target.contains("notes.txt") && err.hint.contains("no SQLite database"), "{err:?}");

    let err = target(home.path(), "t").unwrap_err();
    assert!(err.hint.contains("check the path"), "{err:?}");
    assert!(target(&home.path().join("new.db"), "_hogline_checkpoints").is_err());
}

#[test]
fn streams_of_one_process_wait_for_each_other() {
    let (_home, path, db) = database("");
    let objects = ["a", "b", "c", "d"];

    std::thread::scope(|scope| {
        for object in objects {
            let path = &path;
            scope.spawn(move || {
                let key = StreamKey { stream: object.into(), ..key() };
                let opening =
                    Opening { key: &key, object, schema: schema(), layout: Default::default() };
                let patience = crate::target::PATIENCE;
                let mut target = SqliteTarget::open(path, patience, &opening).unwrap();
                target.begin(Load::Merge).unwrap();
                for id in 0..50 {
                    let answer = format!(r#"{{"results":[{{"id":"{id}"}}]}}"#);
                    let batch = Batch::of_results(schema(), &answer).unwrap().unwrap();
                    target.write(&batch).unwrap();
                    target.commit(&Checkpoint { key: key.clone(), ..checkpoint() }).unwrap();
                }
            });
        }
    });

    for object in objects {
        assert_eq!(text(&db, &format!("SELECT count(*) || '' FROM {object}")), "50");
    }
}

#[test]
fn of_two_runs_with_two_states_one_stops() {
    let (_home, path, db) = database("");
    let rows = |ids: &str| Batch::of_results(schema(), ids).unwrap().unwrap();
    let (mut one, mut other) = (target(&path, "t").unwrap(), target(&path, "t").unwrap());
    for target in [&mut one, &mut other] {
        assert_eq!(target.recall().unwrap(), Recall::Nothing);
        target.begin(Load::Replace).unwrap();
    }
    one.write(&rows(r#"{"results":[{"id":"a"}]}"#)).unwrap();
    one.commit(&checkpoint()).unwrap();
    other.write(&rows(r#"{"results":[{"id":"b"}]}"#)).unwrap();

    let err = other.publish(&checkpoint()).unwrap_err();

    assert!(err.cause.contains("another run") && err.hint.contains("--state"), "{err:?}");
    one.publish(&Checkpoint { sequence: 2, ..checkpoint() }).unwrap();
    assert_eq!(text(&db, "SELECT group_concat(id) FROM t"), "a");
}

#[test]
fn a_column_that_was_dropped_is_missed_and_one_that_was_never_written_is_not() {
    let (_home, path, db) = database("CREATE TABLE t (id TEXT PRIMARY KEY, mine TEXT)");
    load(&path, Load::Merge, r#"{"id":"a","name":"x"}"#).unwrap();

    db.execute_batch("ALTER TABLE t DROP COLUMN mine").unwrap();
    assert_eq!(target(&path, "t").unwrap().recall().unwrap(), Recall::Found(checkpoint()));
    db.execute_batch("ALTER TABLE t DROP COLUMN name").unwrap();
    let recall = target(&path, "t").unwrap().recall().unwrap();
    let lost = Recall::Damaged(checkpoint(), "table `t` has lost its column `name`".into());
    assert_eq!(recall, lost);

    // As an older hogline left it: nothing is known of columns.
    db.execute_batch("ALTER TABLE _hogline_checkpoints DROP COLUMN columns").unwrap();
    assert_eq!(target(&path, "t").unwrap().recall().unwrap(), Recall::Found(checkpoint()));
    load(&path, Load::Merge, r#"{"id":"b","name":"y"}"#).unwrap();
    assert_eq!(text(&db, "SELECT columns FROM _hogline_checkpoints"), "[\"id\",\"name\"]");
}

#[test]
fn rows_are_as_durable_as_sqlite_can_make_them() {
    let (_home, path, _db) = database("");
    let mut target = target(&path, "t").unwrap();
    target.begin(Load::Merge).unwrap();
    let db = target.db().unwrap();

    assert_eq!(text(db, "PRAGMA journal_mode"), "wal");
    assert_eq!(text(db, "SELECT synchronous || '' FROM pragma_synchronous"), "2");
}
