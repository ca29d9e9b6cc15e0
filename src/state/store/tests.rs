//! What a state promises, and what it refuses.

use super::*;

fn key(stream: &str, object: &str) -> StreamKey {
    let [origin, project] = ["o", "1"].map(String::from);
    StreamKey { origin, project, stream: stream.into(), object: object.into() }
}

fn checkpoint(stream: &str, object: &str, sequence: u64) -> Checkpoint {
    Checkpoint {
        key: key(stream, object),
        epoch: "first".into(),
        sequence,
        position: Position::default(),
        witnesses: vec!["[1]".into()],
    }
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
    assert_eq!((found.checkpoint, found.edits), (second, vec![]));
}

#[test]
fn an_edit_waits_beside_the_checkpoint_until_a_run_has_taken_it_up() {
    let (_home, path, store) = store();
    for (stream, object) in [("s", "t"), ("s", "u"), ("r", "t")] {
        store.save(&checkpoint(stream, object, 5)).unwrap();
    }
    let both: Vec<_> =
        store.all().unwrap().into_iter().filter(|s| s.checkpoint.key.stream == "s").collect();

    store.edit(&both, &Change::Reset).unwrap();
    drop(store);

    let store = StateStore::open(&path).unwrap();
    let all = store.all().unwrap();
    let sequences = |all: &[Stored]| {
        all.iter().map(|s| (s.checkpoint.sequence, s.edited().sequence)).collect::<Vec<_>>()
    };
    assert_eq!(sequences(&all), [(5, 5), (5, 0), (5, 0)]);
    assert!(all[1].edits[0].epoch != all[2].edits[0].epoch);
    assert_eq!(all[1].edited().epoch, all[1].edits[0].epoch);

    let taken_up = Checkpoint { sequence: 1, ..all[1].edited() };
    store.save(&taken_up).unwrap();
    let found = store.checkpoint(&taken_up.key).unwrap().unwrap();
    assert_eq!((found.checkpoint, found.edits), (taken_up, vec![]));
}

#[test]
fn a_reset_of_the_first_form_is_still_one() {
    let (_home, path, store) = store();
    drop(store);
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "DROP TABLE schema_changes;
         ALTER TABLE checkpoints DROP COLUMN edits;
         ALTER TABLE checkpoints ADD COLUMN reset INTEGER NOT NULL DEFAULT 0;
         INSERT INTO checkpoints VALUES
           ('o', '1', 'r', 't', 'a', 3, '{\"version\":1}', '[]', '2026-01-01T00:00:00Z', 0),
           ('o', '1', 's', 't', 'b', 0, '{\"version\":1}', '[]', '2026-01-01T00:00:00Z', 1);
         PRAGMA user_version = 1",
    )
    .unwrap();
    drop(db);

    let all = StateStore::open(&path).unwrap().all().unwrap();

    assert_eq!(all[0].edits, []);
    assert_eq!(all[1].edits, [Edit { epoch: "b".into(), change: Change::Reset }]);
    assert_eq!(all[1].checkpoint.key.stream, "s");
}

#[test]
fn runs_are_remembered_last_first() {
    let (_home, _, store) = store();
    let error = Some("the key lacks a scope".into());
    let [stream, object] = ["s", "t"].map(String::from);
    let streams = vec![RunStream { stream, object, rows: 3, requests: 2, exit_code: 4, error }];
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
    assert!(refused(&sql("PRAGMA user_version = 99")).contains("newer hogline"));
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

/// A state that was kept after `sequence` commits, and then went on.
fn kept_and_gone_on() -> (tempfile::TempDir, PathBuf, Checkpoint) {
    let (home, path, store) = store();
    let kept = checkpoint("s", "t", 1);
    store.save(&kept).unwrap();
    store.keep_copy().unwrap();
    store.save(&Checkpoint { sequence: 2, ..kept.clone() }).unwrap();
    (home, path, kept)
}

#[test]
fn a_damaged_state_is_set_aside_for_its_last_good_copy() {
    let harms: [fn(&Path); 5] = [
        |path| std::fs::write(path, "").unwrap(),
        |path| std::fs::write(path, "text".repeat(999)).unwrap(),
        |path| std::fs::File::options().write(true).open(path).unwrap().set_len(5000).unwrap(),
        |path| sql(path, "UPDATE checkpoints SET position = '{\"version\":1,'"),
        |path| sql(path, "UPDATE checkpoints SET epoch = x'ff'"),
    ];
    for (n, harm) in harms.iter().enumerate() {
        let (_home, path, kept) = kept_and_gone_on();
        harm(&path);
        let damaged = std::fs::read(&path).unwrap();
        std::fs::write(path.with_extension("db-journal"), "an old journal").unwrap();
        let lock = Lock::take(&path).unwrap();
        assert!(StateStore::open(&path).is_err(), "harm {n}: used though another may be at work");
        std::fs::write(path.with_extension("db-journal"), "an old journal").unwrap();

        let store = StateStore::open_alone(&path, &lock).unwrap();

        assert_eq!(store.checkpoint(&kept.key).unwrap().unwrap().checkpoint, kept, "harm {n}");
        assert_eq!(std::fs::read(path.with_extension("db.damaged-1")).unwrap(), damaged);
        assert!(!path.with_extension("db-journal").exists());
        store.save(&Checkpoint { sequence: 9, ..kept }).unwrap();
    }
}

#[test]
fn without_a_good_copy_a_damaged_state_is_refused_and_left_alone() {
    for copy in [None, Some("no database either")] {
        let (_home, path, store) = store();
        drop(store);
        std::fs::write(&path, "text".repeat(999)).unwrap();
        if let Some(text) = copy {
            std::fs::write(path.with_extension("db.last-good"), text).unwrap();
        }
        let lock = Lock::take(&path).unwrap();

        let err = StateStore::open_alone(&path, &lock).unwrap_err();

        assert!(err.hint.contains("restore it") && err.hint.contains("move it away"), "{err:?}");
        assert_eq!(err.fault, StateFault::Unusable);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "text".repeat(999));
    }
}

#[test]
fn what_is_anothers_is_never_replaced() {
    for foreign in [
        "PRAGMA user_version = 99",
        "PRAGMA user_version = 0",
        "DROP TABLE runs; CREATE TABLE runs (id)",
        "UPDATE checkpoints SET position = '{\"version\":99}'",
    ] {
        let (_home, path, _) = kept_and_gone_on();
        sql(&path, foreign);
        let lock = Lock::take(&path).unwrap();

        let err = StateStore::open_alone(&path, &lock).unwrap_err();

        assert_eq!(err.fault, StateFault::Misplaced, "{foreign}: {err:?}");
        assert!(!path.with_extension("db.damaged-1").exists());
    }
}

fn sql(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}
