//! Situations in which a load replaces what was there.

use super::*;

pub(super) fn a_full_copy_is_invisible_until_published(ground: &Ground) {
    load(ground, &people(), Load::Merge, r#"{"id":1,"name":"old"},{"id":2,"name":"old"}"#);
    let mut target = begun(ground, &people(), Load::Replace);

    target.write(&batch(&people(), r#"{"id":2,"name":"new"},{"id":3,"name":"new"}"#)).unwrap();
    target.commit(&copying(2, &[r#"["3"]"#])).unwrap();
    target.write(&batch(&people(), r#"{"id":3,"name":"new"},{"id":4,"name":"new"}"#)).unwrap();
    target.abandon().unwrap();
    target.write(&batch(&people(), r#"{"id":3,"name":"new"},{"id":4,"name":"new"}"#)).unwrap();
    assert_eq!(ground.rows(&["id", "name"]), ["1|old", "2|old"]);
    target.publish(&checkpoint(3, &[r#"["3"]"#, r#"["4"]"#])).unwrap();

    assert_eq!(ground.rows(&["id", "name"]), ["2|new", "3|new", "4|new"]);
    let found = Recall::Found(checkpoint(3, &[r#"["3"]"#, r#"["4"]"#]));
    assert_eq!(open(ground, &people()).recall().unwrap(), found);
    drop(target);
    load(ground, &people(), Load::Merge, r#"{"id":4,"name":"newest"}"#);
    assert_eq!(ground.rows(&["id", "name"]), ["2|new", "3|new", "4|newest"]);
}

pub(super) fn an_interrupted_copy_is_resumed(ground: &Ground) {
    load(ground, &people(), Load::Merge, r#"{"id":1,"name":"old"}"#);
    assert!(!open(ground, &people()).begin(Load::ResumeReplace).unwrap());
    let mut target = begun(ground, &people(), Load::Replace);
    let first = r#"{"id":1,"name":"a","at":"2026-01-02"},{"id":2,"name":"b"}"#;
    target.write(&batch(&people(), first)).unwrap();
    target.commit(&copying(2, &[r#"["2"]"#])).unwrap();
    target.write(&batch(&people(), r#"{"id":9}"#)).unwrap();
    drop(target);

    let mut target = open(ground, &people());
    assert_eq!(target.recall().unwrap(), Recall::Found(copying(2, &[r#"["2"]"#])));
    assert!(target.begin(Load::ResumeReplace).unwrap());
    let second = r#"{"id":1,"name":"z","at":"2026-01-01"},{"id":2,"name":"c","at":"2026-01-01"}"#;
    target.write(&batch(&people(), second)).unwrap();
    assert_eq!(ground.rows(&["id", "name"]), ["1|old"]);
    target.publish(&checkpoint(3, &[])).unwrap();

    assert_eq!(ground.rows(&["id", "name"]), ["1|a", "2|c"]);
}

pub(super) fn a_copy_begun_anew_forgets_the_old_one(ground: &Ground) {
    load(ground, &people(), Load::Merge, r#"{"id":1}"#);
    let mut target = begun(ground, &people(), Load::Replace);
    target.write(&batch(&people(), r#"{"id":2}"#)).unwrap();
    target.commit(&copying(2, &[])).unwrap();
    drop(target);

    load(ground, &people(), Load::Replace, r#"{"id":3}"#);

    assert_eq!(ground.rows(&["id"]), ["3"]);
    assert!(!open(ground, &people()).begin(Load::ResumeReplace).unwrap());
}

pub(super) fn an_empty_copy_empties(ground: &Ground) {
    load(ground, &people(), Load::Merge, r#"{"id":1}"#);

    begun(ground, &people(), Load::Replace).publish(&checkpoint(2, &[])).unwrap();

    assert_eq!(ground.rows(&["id"]), [""; 0]);
    assert_eq!(open(ground, &people()).recall().unwrap(), Recall::Found(checkpoint(2, &[])));
}

pub(super) fn truncate_empties_with_the_first_commit(ground: &Ground) {
    load(ground, &people(), Load::Merge, r#"{"id":1},{"id":2}"#);
    let mut target = begun(ground, &people(), Load::Truncate);

    target.write(&batch(&people(), r#"{"id":2}"#)).unwrap();
    target.abandon().unwrap();
    assert_eq!(ground.rows(&["id"]), ["1", "2"]);
    target.write(&batch(&people(), r#"{"id":3}"#)).unwrap();
    target.commit(&checkpoint(2, &[])).unwrap();
    target.write(&batch(&people(), r#"{"id":4}"#)).unwrap();
    target.publish(&checkpoint(3, &[])).unwrap();

    assert_eq!(ground.rows(&["id"]), ["3", "4"]);
}
