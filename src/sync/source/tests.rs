//! Rows of tables and files, as they come.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::json;

use super::*;
use crate::pack::gzip;

/// The rows of a place, with their numbers; what is none, as its code.
fn rows(place: &Place, rows: &Rows, window: Option<&Window>) -> Vec<(u64, Value)> {
    let mut all = Vec::new();
    let mut take = |found: Found| {
        let row = found.row.map_or_else(|err| json!(err.code), Value::Object);
        all.push((found.number, row));
        true
    };
    place.read(rows, window, &mut take).unwrap();
    all
}

fn database(folder: &Path) -> Place {
    let path = folder.join("shop.db");
    let sql = "CREATE TABLE \"my orders\" (id, total, at, data);
        INSERT INTO \"my orders\" VALUES (1, 9.5, '2026-03-01', NULL), (2, 'x', '2026-03-02', x'00ff'),
        (3, 9223372036854775807, '2026-03-03', 1e999);";
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    Place::Sqlite(path)
}

#[test]
fn a_table_and_a_query_are_read_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let place = database(folder.path());

    let table = rows(&place, &Rows::Table("my orders".into()), None);
    let query =
        rows(&place, &Rows::Query("SELECT id AS n FROM [my orders] -- all\n;".into()), None);

    assert_eq!(table[0], (1, json!({ "id": 1, "total": 9.5, "at": "2026-03-01", "data": null })));
    assert_eq!(table[1].1["data"], "00ff");
    assert_eq!((&table[2].1["total"], &table[2].1["data"]), (&json!(i64::MAX), &json!("inf")));
    assert_eq!(query, [(1, json!({ "n": 1 })), (2, json!({ "n": 2 })), (3, json!({ "n": 3 }))]);
}

#[test]
fn nothing_is_written_to_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let place = database(folder.path());

    let query = Rows::Query("DELETE FROM [my orders] RETURNING id".into());
    let refused = place.read(&query, None, &mut |_| true).unwrap_err();

    assert!(refused.to_string().contains("shop.db: "), "{refused}");
    assert_eq!(rows(&place, &Rows::Table("my orders".into()), None).len(), 3);
}

#[test]
fn files_are_told_by_their_names_however_they_are_packed() {
    let folder = tempfile::tempdir().unwrap();
    let lines = "{\"a\":1}\n[2]\n\n{\"a\":3}\n";
    fs::write(folder.path().join("a.jsonl.gz"), gzip(lines.as_bytes())).unwrap();
    fs::write(folder.path().join("a.csv"), "id,\"a b\"\r\n1,\"x,\ny\"\r\n,\"\"\r\n").unwrap();
    fs::write(folder.path().join("a.xls"), "").unwrap();
    let place = Place::Files(folder.path().to_owned());
    let file = |name: &str| Rows::File(name.to_owned());

    assert_eq!(
        rows(&place, &file("a.jsonl.gz"), None),
        [(1, json!({ "a": 1 })), (2, json!("wrong_shape")), (4, json!({ "a": 3 }))]
    );
    assert_eq!(
        rows(&place, &file("a.csv"), None),
        [(1, json!({ "id": "1", "a b": "x,\ny" })), (2, json!({ "id": null, "a b": "" }))]
    );
    let refused = place.read(&file("a.xls"), None, &mut |_| true).unwrap_err();
    assert!(refused.cause.contains("its name does not say what it is"), "{refused}");
}

#[test]
fn rows_from_a_mark_are_read_up_to_the_highest_value() {
    let folder = tempfile::tempdir().unwrap();
    let lines = ["2026-03-01", "2026-03-02", "2026-03-03"]
        .iter()
        .enumerate()
        .map(|(n, at)| format!("{{\"id\":{},\"at\":\"{at}\"}}\n", n + 1));
    fs::write(folder.path().join("a.jsonl"), lines.collect::<String>()).unwrap();
    let database = (database(folder.path()), Rows::Table("my orders".into()));
    let files = (Place::Files(folder.path().to_owned()), Rows::File("a.jsonl".into()));

    for (place, of) in [database, files] {
        let to = place.highest(&of, "at").unwrap().unwrap();
        let window = |from| Window { column: "at".into(), from, to: to.clone() };
        let ids = |window: &Window| -> Vec<Value> {
            rows(&place, &of, Some(window)).into_iter().map(|(_, row)| row["id"].clone()).collect()
        };
        let second = Mark(to.0.replace("03-03", "03-02"));

        assert_eq!(ids(&window(None)), [1, 2], "{place:?}");
        assert_eq!(ids(&window(Some(second))), [2], "{place:?}");
        assert_eq!(ids(&window(Some(to.clone()))), Vec::<Value>::new(), "{place:?}");
    }
}
