//! The situations every target must survive, as tests.
//!
//! Each function below is one situation, played through [`Target`] alone and
//! judged by what a reader of the place sees afterwards. A new target adds one
//! line at [`conforms`] and a [`Ground`] that can read it.

use std::sync::Arc;

use tempfile::TempDir;

use crate::checkpoint::{Checkpoint, StreamKey};
use crate::cursor::{Copying, Position, Timestamp};
use crate::record::batch::Batch;
use crate::schema::{Column, ColumnType, Origin, Schema};
use crate::target::{self, Load, Opening, Place, Recall, Replay, Target, Written};

mod copies;
mod ground;
mod removals;

use copies::{
    a_copy_begun_anew_forgets_the_old_one, a_full_copy_is_invisible_until_published,
    an_empty_copy_empties, an_interrupted_copy_is_resumed, truncate_empties_with_the_first_commit,
};
use ground::Ground;
use removals::{
    a_scan_keeps_to_a_span_of_time, a_scan_shows_what_a_reader_sees,
    an_abandoned_removal_removes_nothing, marked_rows_are_gone_until_they_come_again,
    removed_rows_are_gone, what_comes_after_a_removal_counts_however_old,
};

macro_rules! conforms {
    ($target:ident) => {
        conforms!(@ $target:
            new_column null_in_key same_key_twice nothing_changes_the_second_time
            unknown_column_keeps_its_value older_copy_does_not_win
            abandoned_page_leaves_nothing checkpoint_and_rows_commit_together
            reopened_recalls opening_leaves_no_junk a_bad_path_is_refused
            a_full_copy_is_invisible_until_published
            an_interrupted_copy_is_resumed a_copy_begun_anew_forgets_the_old_one
            an_empty_copy_empties truncate_empties_with_the_first_commit
            emptied_target_is_noticed a_newer_checkpoint_is_refused odd_values no_key
            a_page_without_rows_moves_the_checkpoint
            a_scan_shows_what_a_reader_sees a_scan_keeps_to_a_span_of_time
            removed_rows_are_gone marked_rows_are_gone_until_they_come_again
            what_comes_after_a_removal_counts_however_old an_abandoned_removal_removes_nothing
        );
    };
    (@ $target:ident: $($situation:ident)*) => {
        mod $target {
            $(#[test]
            fn $situation() {
                super::$situation(&super::Ground::$target());
            })*
        }
    };
}

conforms!(sqlite);
#[cfg(feature = "postgres")]
conforms!(postgres);
conforms!(jsonl);
conforms!(jsonl_zstd);
conforms!(csv);
conforms!(csv_gzip);
#[cfg(feature = "parquet")]
conforms!(parquet);
#[cfg(feature = "object-storage")]
conforms!(s3);

/// A stream of people: a number as key, the newest `at` wins.
fn people() -> Schema {
    let column = |name: &str, kind| Column { name: name.into(), kind, origin: Origin::Field };
    let columns = vec![
        column("id", ColumnType::Bigint),
        column("name", ColumnType::Text),
        column("at", ColumnType::Timestamp),
    ];
    Schema { columns, primary_key: vec![0], newest_by: vec![2], ..Schema::default() }
}

fn batch(schema: &Schema, rows: &str) -> Batch {
    let answer = format!(r#"{{"results":[{rows}]}}"#);
    Batch::of_results(Arc::new(schema.clone()), &answer).unwrap().unwrap()
}

fn key() -> StreamKey {
    StreamKey {
        origin: "https://us.posthog.com".into(),
        project: "1".into(),
        stream: "people".into(),
        object: "LAKE posthog.people".into(),
    }
}

fn checkpoint(sequence: u64, witnesses: &[&str]) -> Checkpoint {
    Checkpoint {
        key: key(),
        epoch: "5ca1ab1e-0000-4000-8000-000000000000".into(),
        sequence,
        position: Position::default(),
        witnesses: witnesses.iter().map(|&witness| witness.into()).collect(),
    }
}

/// A checkpoint of a full copy in hand.
fn copying(sequence: u64, witnesses: &[&str]) -> Checkpoint {
    let mut checkpoint = checkpoint(sequence, witnesses);
    checkpoint.position.copying = Some(Copying { begun: Timestamp::from_micros(0), staged: true });
    checkpoint
}

fn open(ground: &Ground, schema: &Schema) -> Box<dyn Target> {
    let schema = Arc::new(schema.clone());
    let opening = Opening { key: &key(), object: ground::OBJECT, schema, layout: ground.layout };
    target::open(&ground.place, &opening).unwrap()
}

fn begun(ground: &Ground, schema: &Schema, load: Load) -> Box<dyn Target> {
    let mut target = open(ground, schema);
    assert!(target.begin(load).unwrap());
    target
}

/// One whole load of `rows`.
fn load(ground: &Ground, schema: &Schema, load: Load, rows: &str) -> Written {
    let mut target = begun(ground, schema, load);
    let written = target.write(&batch(schema, rows)).unwrap();
    target.publish(&checkpoint(1, &[])).unwrap();
    written
}

fn counts(written: &Written) -> [u64; 3] {
    [written.new, written.updated, written.unchanged]
}

fn new_column(ground: &Ground) {
    let mut target = begun(ground, &people(), Load::Merge);

    target.write(&batch(&people(), r#"{"id":1,"name":"a"}"#)).unwrap();
    target.write(&batch(&people(), r#"{"id":2,"name":"b","Select \"":{"x": 1}}"#)).unwrap();
    target.commit(&checkpoint(1, &[])).unwrap();
    target.write(&batch(&people(), r#"{"id":3,"other":true}"#)).unwrap();
    target.commit(&checkpoint(2, &[])).unwrap();

    let rows = ground.rows(&["id", "name", "Select \"", "other"]);
    assert_eq!(rows, ["1|a|∅|∅", r#"2|b|{"x":1}|∅"#, "3|∅|∅|true"]);
}

fn null_in_key(ground: &Ground) {
    for _ in 0..2 {
        let written = load(ground, &people(), Load::Merge, r#"{"id":null,"name":"a"},{"id":2}"#);
        assert!(written.repairs.total() <= 1);
    }

    assert_eq!(ground.rows(&["id", "name"]), ["2|∅", "|a"]);
}

fn same_key_twice(ground: &Ground) {
    let rows = r#"{"id":1,"name":"a"},{"id":1,"name":"b"},{"id":1,"name":"b"}"#;
    let mut target = begun(ground, &people(), Load::Merge);

    let written = target.write(&batch(&people(), rows)).unwrap();
    target.commit(&checkpoint(1, &[])).unwrap();

    assert_eq!(ground.rows(&["id", "name"]), ["1|b"]);
    if target.on_replay() == Replay::Harmless {
        assert_eq!(counts(&written), [1, 1, 1]);
    }
}

fn nothing_changes_the_second_time(ground: &Ground) {
    let rows = r#"{"id":1,"name":"a","at":"2026-01-01"},{"id":2,"name":null},{"id":3,"new":[]}"#;
    load(ground, &people(), Load::Merge, rows);
    let before = ground.rows(&["id", "name", "at"]);

    let written = load(ground, &people(), Load::Merge, rows);

    assert_eq!(ground.rows(&["id", "name", "at"]), before);
    if open(ground, &people()).on_replay() == Replay::Harmless {
        assert_eq!(counts(&written), [0, 0, 3]);
    }
}

fn unknown_column_keeps_its_value(ground: &Ground) {
    load(ground, &people(), Load::Merge, r#"{"id":1,"name":"a","at":"2026-01-01"}"#);
    let mut nameless = people();
    nameless.columns[1].origin = Origin::Unknown;

    load(ground, &nameless, Load::Merge, r#"{"id":1,"at":"2026-01-02"},{"id":2}"#);

    let rows = ground.rows(&["id", "name", "at"]);
    assert_eq!(rows, ["1|a|2026-01-02T00:00:00.000000Z", "2|∅|∅"]);
}

fn older_copy_does_not_win(ground: &Ground) {
    load(ground, &people(), Load::Merge, r#"{"id":1,"name":"old","at":"2026-01-02"},{"id":2}"#);

    let newer = r#"{"id":1,"name":"older","at":"2026-01-01"},{"id":1,"name":"nowhen"},
        {"id":2,"name":"a","at":"2026-01-01"},{"id":2,"name":"b","at":"2026-01-01"}"#;
    load(ground, &people(), Load::Merge, newer);

    assert_eq!(ground.rows(&["id", "name"]), ["1|old", "2|b"]);
}

fn abandoned_page_leaves_nothing(ground: &Ground) {
    let mut target = begun(ground, &people(), Load::Merge);
    target.write(&batch(&people(), r#"{"id":1,"name":"a"}"#)).unwrap();
    target.abandon().unwrap();
    assert_eq!(ground.rows(&["id"]), [""; 0]);

    target.write(&batch(&people(), r#"{"id":2,"name":"b"}"#)).unwrap();
    target.commit(&checkpoint(1, &[r#"["2"]"#])).unwrap();
    target.write(&batch(&people(), r#"{"id":2,"name":"c"},{"id":3,"new":1}"#)).unwrap();
    target.abandon().unwrap();
    target.abandon().unwrap();
    target.write(&batch(&people(), r#"{"id":4,"new":2}"#)).unwrap();
    target.commit(&checkpoint(2, &[r#"["2"]"#])).unwrap();

    assert_eq!(ground.rows(&["id", "name", "new"]), ["2|b|∅", "4|∅|2"]);
    assert_eq!(
        open(ground, &people()).recall().unwrap(),
        Recall::Found(checkpoint(2, &[r#"["2"]"#]))
    );
}

fn checkpoint_and_rows_commit_together(ground: &Ground) {
    let mut target = begun(ground, &people(), Load::Merge);
    target.write(&batch(&people(), r#"{"id":1}"#)).unwrap();

    assert_eq!(open(ground, &people()).recall().unwrap(), Recall::Nothing);
    assert_eq!(ground.rows(&["id"]), [""; 0]);
    target.commit(&checkpoint(1, &[])).unwrap();
    target.write(&batch(&people(), r#"{"id":2}"#)).unwrap();
    // Dropped in the middle of a page, as by a crash.
    drop(target);

    assert_eq!(open(ground, &people()).recall().unwrap(), Recall::Found(checkpoint(1, &[])));
    assert_eq!(ground.rows(&["id"]), ["1"]);
}

fn a_page_without_rows_moves_the_checkpoint(ground: &Ground) {
    let mut target = begun(ground, &people(), Load::Merge);

    target.commit(&checkpoint(1, &[])).unwrap();
    target.publish(&checkpoint(2, &[])).unwrap();

    assert_eq!(open(ground, &people()).recall().unwrap(), Recall::Found(checkpoint(2, &[])));
}

fn reopened_recalls(ground: &Ground) {
    let schema = Schema { primary_key: vec![0, 1, 2], ..people() };
    let rows = r#"{"id":9007199254740993,"name":null,"at":"2026-01-01"},
        {"id":99999999999999999999,"name":"'\"","at":"soon"}"#;
    let batch = batch(&schema, rows);
    let witnesses: Vec<String> = batch.rows().map(|row| row.key()).collect();
    let witnesses: Vec<&str> = witnesses.iter().map(String::as_str).collect();
    let mut target = begun(ground, &schema, Load::Merge);
    assert_eq!(target.recall().unwrap(), Recall::Nothing);

    target.write(&batch).unwrap();
    target.commit(&checkpoint(7, &witnesses)).unwrap();

    let expected = Recall::Found(checkpoint(7, &witnesses));
    assert_eq!(target.recall().unwrap(), expected);
    assert_eq!(open(ground, &schema).recall().unwrap(), expected);
}

fn opening_leaves_no_junk(ground: &Ground) {
    let mut target = open(ground, &people());
    assert_eq!(target.recall().unwrap(), Recall::Nothing);
    drop(target);

    assert_eq!(ground.junk(), [""; 0]);
}

fn a_bad_path_is_refused(ground: &Ground) {
    let file = ground.home.path().join("a-file");
    std::fs::write(&file, "x").unwrap();
    let place = ground.place_at(&file.join("below"));
    let schema = Arc::new(people());

    let opening = Opening { key: &key(), object: ground::OBJECT, schema, layout: ground.layout };
    let opened = target::open(&place, &opening);

    let err = opened.err().unwrap();
    assert!(err.target.contains("a-file/below"), "{err}");
    assert!(!err.cause.is_empty() && !err.hint.is_empty());
}

fn emptied_target_is_noticed(ground: &Ground) {
    let mut target = begun(ground, &people(), Load::Merge);
    target.write(&batch(&people(), r#"{"id":1},{"id":2}"#)).unwrap();
    target.commit(&checkpoint(1, &[r#"["1"]"#, r#"["2"]"#])).unwrap();
    drop(target);

    ground.lose_rows();

    match open(ground, &people()).recall().unwrap() {
        Recall::Damaged(found, missing) => {
            assert_eq!(found.sequence, 1);
            assert!(!missing.is_empty());
        }
        other => panic!("not noticed: {other:?}"),
    }
}

fn a_newer_checkpoint_is_refused(ground: &Ground) {
    let mut newer = checkpoint(1, &[]);
    newer.position.version = 99;
    begun(ground, &people(), Load::Merge).commit(&newer).unwrap();

    let schema = Arc::new(people());
    let opening = Opening { key: &key(), object: ground::OBJECT, schema, layout: ground.layout };
    let err = match target::open(&ground.place, &opening) {
        Err(err) => err,
        Ok(mut target) => target.recall().unwrap_err(),
    };
    assert!(err.cause.contains("newer hogline"), "{err}");
}

fn no_key(ground: &Ground) {
    let schema = Schema { primary_key: vec![], newest_by: vec![], ..people() };

    load(ground, &schema, Load::Merge, r#"{"id":1},{"id":1}"#);
    let copied = load(ground, &schema, Load::Replace, r#"{"id":2},{"id":2},{"id":2}"#);

    assert_eq!(ground.rows(&["id"]), ["2", "2", "2"]);
    assert_eq!(counts(&copied), [3, 0, 0]);
}

fn odd_values(ground: &Ground) {
    let column = |name: &str, kind| Column { name: name.into(), kind, origin: Origin::Field };
    let columns = vec![
        column("id", ColumnType::Bigint),
        column("n", ColumnType::Bigint),
        column("d", ColumnType::Double),
        column("b", ColumnType::Bool),
        column("t", ColumnType::Text),
        column("at", ColumnType::Timestamp),
        column("day", ColumnType::Date),
        column("j", ColumnType::Json),
    ];
    let schema = Schema { columns, primary_key: vec![0], ..Schema::default() };
    let huge = "x".repeat(3 << 20);
    let digits = "1234567890".repeat(4);
    let rows = [
        r#"{"id":1,"n":9007199254740993,"d":1.5,"b":true,"t":"a\u0000b","at":"0001-01-01"}"#.into(),
        r#"{"id":2,"n":9223372036854775808,"d":1e400,"b":"yes","t":"\ud83e!","at":"soon"}"#.into(),
        format!(r#"{{"id":3,"n":{digits},"d":"-0x","day":"9999-12-31","t":"{huge}"}}"#),
        r#"{"id":4,"n":-9223372036854775808,"at":"9999-12-31T23:59:59.999999Z","b":false}"#.into(),
        r#"{"id":5,"n":"text","d":{"a": 1},"j":{"a": [ 2515.40, "\u0000" ]},"t":"|\n\"\\"}"#.into(),
    ];
    let written = load(ground, &schema, Load::Merge, &rows.join(","));
    let again = load(ground, &schema, Load::Merge, &rows.join(","));

    let shown = ground.rows(&["id", "n", "d", "b", "t", "at", "day", "j"]);
    let expected = [
        "1|9007199254740993|1.5|1|a\u{fffd}b|0001-01-01T00:00:00.000000Z|∅|∅".to_owned(),
        "2|9223372036854775808|1e400|yes|\u{fffd}!|soon|∅|∅".to_owned(),
        format!("3|{digits}|-0x|∅|{huge}|∅|9999-12-31|∅"),
        "4|-9223372036854775808|∅|0|∅|9999-12-31T23:59:59.999999Z|∅|∅".to_owned(),
        r#"5|text|{"a":1}|∅|||∅|∅|{"a":[2515.40,"\u0000"]}"#.replace("|||", "||\n\"\\|"),
    ];
    let mut repairs = vec![("at", 1), ("b", 1), ("d", 3), ("n", 3), ("t", 2)];
    if ground.understands_json() {
        repairs.insert(3, ("j", 1));
    }
    let kept = |row: &String| match ground.understands_json() {
        true => row.replace("\\u0000", "\u{fffd}"),
        false => row.clone(),
    };
    assert_eq!(shown, expected.iter().map(kept).collect::<Vec<_>>());
    assert_eq!(written.repairs.iter().collect::<Vec<_>>(), repairs);
    if open(ground, &schema).on_replay() == Replay::Harmless {
        assert_eq!(counts(&again), [0, 0, 5]);
    }
}
