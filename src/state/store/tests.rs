//! What a state promises, and what it refuses.

use super::*;

fn key(stream: &str, object: &str) -> StreamKey {
    let [origin, project] = ["o", "1"].map(String::from);
    StreamKey { origin, project, stream: stream.into(), object: object.into() }
}

fn checkpoint(stream: &str, object: &str, sequence: u64) -> Checkpoint {
    Checkpoint { sequence, witnesses: vec!["[1]".into()], ..fresh(key(stream, object)) }
}

fn store() -> (tempfile::TempDir, PathBuf, StateStore) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("state/hogline.db");
    let store = StateStore::open(&path).unwrap();
    (home, path, store)
}

#[test]
fn a_checkpoint_is_there_when_the_state_is_opened_again() {
    let (_home, path, store) = store();
    let (first, second) = (checkpoint("s", "t", 1), checkpoint("s", "t", 2));
    assert_eq!(store.checkpoint(&first.key).unwrap(), None);

    store.save(&first).unwrap();
    let second = Checkpoint { epoch: first.epoch, ..second };
    store.save(&second).unwrap();
    drop(store);

    let found = StateStore::open(&path).unwrap().checkpoint(&second.key).unwrap().unwrap();
    assert_eq!((found.checkpoint, found.reset), (second, false));
}

#[test]
fn a_reset_begins_another_history() {
    let (_home, _, store) = store();
    for (stream, object) in [("s", "t"), ("s", "u"), ("r", "t")] {
        store.save(&checkpoint(stream, object, 5)).unwrap();
    }
    let before = store.all().unwrap();

    assert_eq!(store.reset_stream("s").unwrap(), 2);
    assert_eq!(store.reset_stream("unknown").unwrap(), 0);
    store.reset(&key("new", "t")).unwrap();

    let shown: Vec<_> = store
        .all()
        .unwrap()
        .into_iter()
        .map(|s| (s.checkpoint.key.stream, s.checkpoint.sequence, s.reset))
        .collect();
    let expected = [("new", 0, true), ("r", 5, false), ("s", 0, true), ("s", 0, true)];
    assert_eq!(shown, expected.map(|(name, n, reset)| (name.to_owned(), n, reset)));
    let after = store.checkpoint(&key("s", "t")).unwrap().unwrap().checkpoint;
    assert!(before.iter().all(|stored| stored.checkpoint.epoch != after.epoch));

    store.save(&Checkpoint { sequence: 1, ..after.clone() }).unwrap();
    assert!(!store.checkpoint(&after.key).unwrap().unwrap().reset);
}

#[test]
fn runs_are_remembered_last_first() {
    let (_home, _, store) = store();
    let streams = vec![RunStream { stream: "s".into(), object: "t".into(), rows: 3, requests: 2 }];
    let at = Timestamp::from_micros;
    let first = Run { started: at(1), ended: at(2), exit_code: 0, streams };
    let second = Run { started: at(3), ended: at(4), exit_code: 143, streams: vec![] };

    store.record_run(&first).unwrap();
    store.record_run(&second).unwrap();

    assert_eq!(store.runs().unwrap(), [second, first]);
}

#[test]
fn what_is_no_state_of_ours_is_refused() {
    let refused = |prepare: &dyn Fn(&Path)| {
        let (_home, path, store) = store();
        drop(store);
        prepare(&path);
        let err = StateStore::open(&path).unwrap_err();
        assert!(err.to_string().contains("state/hogline.db") && !err.hint.is_empty());
        err.cause
    };
    let sql = |sql: &str| {
        let sql = sql.to_owned();
        move |path: &Path| Connection::open(path).unwrap().execute_batch(&sql).unwrap()
    };
    assert!(refused(&sql("PRAGMA user_version = 2")).contains("newer hogline"));
    assert!(refused(&sql("PRAGMA user_version = 0")).contains("not hogline's"));
    let text = |path: &Path| std::fs::write(path, "text".repeat(999)).unwrap();
    assert!(refused(&text).contains("not a database"));
    let holes = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[4096..].fill(0xee);
        std::fs::write(path, bytes).unwrap();
    };
    assert!(refused(&holes).contains("malformed") || refused(&holes).contains("damaged"));
}

#[test]
fn a_position_of_a_newer_form_is_an_error() {
    let (_home, _, store) = store();
    let mut newer = checkpoint("s", "t", 1);
    newer.position.version = 7;
    store.save(&newer).unwrap();

    let err = store.checkpoint(&newer.key).unwrap_err();

    assert!(err.cause.contains("newer hogline"), "{err}");
}
