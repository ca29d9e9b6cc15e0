//! Rows as a scan shows them, and rows that are taken out.

use super::ground::Ground;
use super::{batch, begun, checkpoint, load, open, people};
use crate::config::DeleteMissing;
use crate::cursor::{Interval, Timestamp};
use crate::record::keys;
use crate::schema::Origin;
use crate::target::{Load, Scan};

const EVERYTHING: Scan<'_> = Scan { within: None, keys_only: false, only: None };

fn t(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// What a scan shows: the columns of every row, sorted.
fn shown(ground: &Ground, scan: &Scan<'_>, columns: &[&str]) -> Vec<String> {
    let mut rows = Vec::new();
    let mut target = open(ground, &people());
    target
        .scan(scan, &mut |row| {
            let texts: Vec<&str> =
                columns.iter().map(|name| row.text(name).unwrap_or("∅")).collect();
            assert_eq!(keys::parts(&row.identity(&people()))[0], row.text("id").unwrap_or(""));
            rows.push(texts.join("|"));
        })
        .unwrap();
    rows.sort();
    rows
}

/// Takes rows out in a page of their own.
fn remove(ground: &Ground, ids: &[&str], how: DeleteMissing) {
    let keys: Vec<String> = ids.iter().map(|id| keys::spell([Some(*id)].into_iter())).collect();
    let mut target = begun(ground, &people(), Load::Merge);
    target.remove(&keys, how, t("2026-03-01")).unwrap();
    target.commit(&checkpoint(7, &[])).unwrap();
}

pub(super) fn a_scan_shows_what_a_reader_sees(ground: &Ground) {
    assert_eq!(shown(ground, &EVERYTHING, &["id"]), [""; 0]);
    let rows = r#"{"id":1,"name":"a","at":"2026-01-02","more":{"x": [1, 2.50]}},
        {"id":2,"at":"2026-01-02"},{"id":null,"name":"none"}"#;
    load(ground, &people(), Load::Merge, rows);
    load(ground, &people(), Load::Merge, r#"{"id":1,"name":"older","at":"2026-01-01"}"#);
    let mut nameless = people();
    nameless.columns[1].origin = Origin::Unknown;
    load(ground, &nameless, Load::Merge, r#"{"id":1,"at":"2026-01-03"}"#);

    let rows = shown(ground, &EVERYTHING, &["name", "at", "more"]);

    assert_eq!(
        rows,
        [
            r#"a|2026-01-03T00:00:00.000000Z|{"x":[1,2.50]}"#,
            "none|∅|∅",
            "∅|2026-01-02T00:00:00.000000Z|∅",
        ]
    );
}

pub(super) fn a_scan_keeps_to_a_span_of_time(ground: &Ground) {
    let rows = r#"{"id":1,"at":"2026-01-01"},{"id":2,"at":"2026-01-02"},{"id":3,"at":"2026-01-03"},{"id":4}"#;
    load(ground, &people(), Load::Merge, rows);

    let within = Interval::new(t("2026-01-02"), t("2026-01-03")).map(|span| ("at", span));

    assert_eq!(shown(ground, &Scan { within, keys_only: true, only: None }, &["id"]), ["2"]);
    let only = ["1", "3", "9"].map(|id| keys::spell([Some(id)].into_iter()));
    let scan = Scan { only: Some(&only), ..EVERYTHING };
    assert_eq!(
        shown(ground, &scan, &["id", "at"]),
        ["1|2026-01-01T00:00:00.000000Z", "3|2026-01-03T00:00:00.000000Z"]
    );
}

pub(super) fn removed_rows_are_gone(ground: &Ground) {
    load(ground, &people(), Load::Merge, r#"{"id":1},{"id":2,"name":"b"},{"id":3}"#);

    remove(ground, &["2", "9"], DeleteMissing::Hard);

    assert_eq!(ground.rows(&["id"]), ["1", "3"]);
    assert_eq!(shown(ground, &EVERYTHING, &["id"]), ["1", "3"]);
}

pub(super) fn marked_rows_are_gone_until_they_come_again(ground: &Ground) {
    load(ground, &people(), Load::Merge, r#"{"id":1},{"id":2,"name":"b","at":"2026-01-02"}"#);
    remove(ground, &["2"], DeleteMissing::Soft);
    assert_eq!(shown(ground, &EVERYTHING, &["id"]), ["1"]);

    load(ground, &people(), Load::Merge, r#"{"id":2,"name":"b","at":"2026-01-02"}"#);

    assert_eq!(shown(ground, &EVERYTHING, &["id", "name"]), ["1|∅", "2|b"]);
    remove(ground, &["1", "2"], DeleteMissing::Soft);
    assert_eq!(shown(ground, &EVERYTHING, &["id"]), [""; 0]);
}

pub(super) fn what_comes_after_a_removal_counts_however_old(ground: &Ground) {
    for how in [DeleteMissing::Hard, DeleteMissing::Soft] {
        load(ground, &people(), Load::Merge, r#"{"id":1,"name":"wrong","at":"2099-01-01"}"#);
        let mut target = begun(ground, &people(), Load::Merge);
        target.remove(&[r#"["1"]"#.into()], how, t("2026-03-01")).unwrap();
        target.write(&batch(&people(), r#"{"id":1,"name":"right","at":"2026-01-01"}"#)).unwrap();
        target.commit(&checkpoint(2, &[])).unwrap();

        assert_eq!(shown(ground, &EVERYTHING, &["id", "name"]), ["1|right"], "{how:?}");
        assert_eq!(ground.rows(&["id", "name"]), ["1|right"], "{how:?}");
    }
}

pub(super) fn an_abandoned_removal_removes_nothing(ground: &Ground) {
    for how in [DeleteMissing::Hard, DeleteMissing::Soft] {
        load(ground, &people(), Load::Merge, r#"{"id":1},{"id":2}"#);
        let mut target = begun(ground, &people(), Load::Merge);
        target.remove(&[r#"["1"]"#.into()], how, t("2026-03-01")).unwrap();
        target.abandon().unwrap();
        target.write(&batch(&people(), r#"{"id":3}"#)).unwrap();
        target.commit(&checkpoint(2, &[])).unwrap();

        assert_eq!(shown(ground, &EVERYTHING, &["id"]), ["1", "2", "3"], "{how:?}");
    }
}
