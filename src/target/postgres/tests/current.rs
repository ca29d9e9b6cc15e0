//! Rows as a scan shows them where PostgreSQL keeps them in another form, and what is gone.

use super::*;
use crate::record::batch::Row;
use crate::record::keys;

/// What a scan with this schema shows of `posthog.t`, as `name=text`, sorted.
fn shown(cluster: &Cluster, schema: &Arc<Schema>) -> Vec<String> {
    let mut target = open(&cluster.url(), "posthog.t", schema).unwrap();
    target.recall().unwrap();
    let mut rows = Vec::new();
    target
        .scan(&Scan::default(), &mut |row| {
            let cells = row.columns.iter().zip(row.cells);
            let cells = cells.map(|(column, cell)| {
                format!("{}={}", column.name, cell.as_deref().unwrap_or("∅"))
            });
            rows.push(cells.collect::<Vec<_>>().join(" "));
        })
        .unwrap();
    rows.sort();
    rows
}

/// What the records themselves would show.
fn of_records(schema: &Arc<Schema>, rows: &str) -> Vec<String> {
    let batch = batch(schema, rows);
    let text = |row: &Row<'_>| {
        let columns = batch.schema().columns.iter().enumerate();
        let cells = columns.map(|(index, column)| {
            format!("{}={}", column.name, row.text(index).as_deref().unwrap_or("∅"))
        });
        cells.collect::<Vec<_>>().join(" ")
    };
    let mut rows: Vec<String> = batch.rows().map(|row| text(&row)).collect();
    rows.sort();
    rows
}

#[test]
fn a_row_is_shown_with_the_texts_of_its_record_whatever_its_columns_are() {
    let cluster = Cluster::start();
    let schema = schema_of(&[
        ("id", ColumnType::Uuid),
        ("n", ColumnType::Bigint),
        ("d", ColumnType::Double),
        ("b", ColumnType::Bool),
        ("at", ColumnType::Timestamp),
        ("day", ColumnType::Date),
        ("j", ColumnType::Json),
    ]);
    let id = "0190b3c1-0000-7000-8000-00000000000a";
    let long = "x".repeat(70);
    let first = format!(
        r#"{{"id":"{id}","n":-7,"d":0.1,"b":true,"at":"2026-01-02T03:04:05.5Z",
            "day":"2026-01-02","j":{{"a": [1, 2.50, "x y"]}},"{long}":1,"xmin":"2"}}"#
    );
    let odd = format!(
        r#"{{"id":"{}","n":99999999999999999999,"d":1e300,"b":"perhaps","at":"soon","day":"never",
            "j":[],"{long}":[ 1 ],"xmin":null}}"#,
        id.to_uppercase()
    );
    for rows in [first.clone(), format!("{first},{odd}")] {
        load_as(&cluster, &schema, Load::Merge, &rows).unwrap();

        assert_eq!(shown(&cluster, &schema), of_records(&schema, &rows));
    }
}

#[test]
fn keys_that_no_row_can_have_are_passed_over() {
    let cluster = Cluster::start();
    let schema = Arc::new(Schema {
        primary_key: vec![0, 1],
        ..(*schema_of(&[("id", ColumnType::Uuid), ("day", ColumnType::Date)])).clone()
    });
    let id = "0190b3c1-0000-7000-8000-00000000000a";
    let rows = format!(r#"{{"id":"{id}","day":"2026-01-02"}},{{"id":"{id}","day":"2026-01-03"}}"#);
    load_as(&cluster, &schema, Load::Merge, &rows).unwrap();
    for how in [DeleteMissing::Soft, DeleteMissing::Hard] {
        let mut target = open(&cluster.url(), "posthog.t", &schema).unwrap();
        target.begin(Load::Merge).unwrap();
        let keys = [["x", "2026-01-02"], [id, "soon"], [id, ""], [id, "2026-01-02"]];
        let keys = keys.map(|parts| keys::spell(parts.into_iter().map(Some)));

        target.remove(&keys, how, Timestamp::from_micros(0)).unwrap();
        target.remove(&[format!("[\"{id}\"]")], how, Timestamp::from_micros(0)).unwrap();
        target.publish(&checkpoint(2)).unwrap();

        assert_eq!(shown(&cluster, &schema), [format!("id={id} day=2026-01-03")], "{how:?}");
    }
    assert_eq!(cluster.sql("SELECT count(*) FROM posthog.t"), ["1"]);
}

#[test]
fn a_row_of_nothing_but_its_key_comes_again_after_it_was_marked() {
    let cluster = Cluster::start();
    let schema = schema_of(&[("id", ColumnType::Text)]);
    load_as(&cluster, &schema, Load::Merge, r#"{"id":"a"},{"id":"b"}"#).unwrap();
    let mut target = open(&cluster.url(), "posthog.t", &schema).unwrap();
    target.begin(Load::Merge).unwrap();
    let keys = [r#"["a"]"#.to_owned(), r#"["b"]"#.to_owned()];
    target.remove(&keys, DeleteMissing::Soft, Timestamp::from_micros(0)).unwrap();
    target.write(&batch(&schema, r#"{"id":"a"}"#)).unwrap();
    target.publish(&checkpoint(2)).unwrap();

    assert_eq!(shown(&cluster, &schema), ["id=a"]);
    let marked = "SELECT id, _hogline_deleted_at FROM posthog.t ORDER BY id";
    assert_eq!(cluster.sql(marked), ["a|∅", "b|1970-01-01 00:00:00+00"]);
}

#[test]
fn a_column_that_another_program_dropped_is_noticed() {
    let cluster = Cluster::start();
    let recalled = || {
        let mut target = open(&cluster.url(), "posthog.t", &schema()).unwrap();
        target.recall().unwrap()
    };
    for load in [Load::Merge, Load::Replace] {
        load_as(&cluster, &schema(), load, r#"{"id":"a","name":"x","xmin":1}"#).unwrap();
        assert_eq!(recalled(), Recall::Found(checkpoint(1)));
        for column in [name::column("xmin"), "name".to_owned()] {
            cluster.sql(&format!("ALTER TABLE posthog.t DROP COLUMN {column}"));

            let Recall::Damaged(_, missing) = recalled() else { panic!("not noticed: {column}") };

            assert!(missing.contains(&column) || missing.contains("xmin"), "{missing}");
        }
        cluster.sql("DROP SCHEMA posthog CASCADE");
    }
}
