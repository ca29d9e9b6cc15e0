//! The snapshot: what it remembers, and when.

use super::*;
use crate::config::secret::Secret;
use crate::sync::mapped::key_hash;

fn now(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn entry(key: KeyHash, hash: RowHash) -> Entry {
    Entry { key, hash, who: None }
}

fn begun(folder: &Path) -> (Snapshot, Known) {
    let snapshot = Snapshot::open(&folder.join("state/sync.db")).unwrap();
    let to = Destination::new("http://h", &Secret::new("phc_of_a_snapshot"), false);
    let known = snapshot.begin("s", &to, "m").unwrap();
    assert_eq!(snapshot.known("s", &to).unwrap(), Some(known.clone()));
    (snapshot, known)
}

#[test]
fn what_is_sent_again_without_an_answer_has_the_time_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let (mut snapshot, Known { id, .. }) = begun(folder.path());
    let (first, later) = (now("2026-03-01"), now("2026-03-02"));
    let (a, b) = (key_hash("a"), key_hash("b"));
    let mut times = |rows: &[(KeyHash, RowHash)], now, is_same| {
        let rows: Vec<Entry> = rows.iter().map(|(key, hash)| entry(*key, *hash)).collect();
        snapshot.will_send(id, &rows, now, is_same).unwrap()
    };

    assert_eq!(times(&[(a, [1; 8])], first, Same::Content), [first]);
    assert_eq!(times(&[(a, [1; 8]), (b, [1; 8])], later, Same::Content), [first, later]);
    // An event is the same, whatever its row says meanwhile; a person's change is another.
    assert_eq!(times(&[(a, [2; 8])], later, Same::Key), [first]);
    assert_eq!(times(&[(a, [2; 8])], later, Same::Content), [later]);
}

#[test]
fn a_row_is_remembered_once_it_is_answered_for() {
    let folder = tempfile::tempdir().unwrap();
    let (mut snapshot, Known { id, .. }) = begun(folder.path());
    let (a, b) = (key_hash("a"), key_hash("b"));
    let (first, later) = (now("2026-03-01"), now("2026-03-02"));
    let rows = [entry(a, [1; 8]), entry(b, [1; 8])];
    let _ = snapshot.will_send(id, &rows, first, Same::Content).unwrap();

    snapshot.settle(id, &[Settled::Taken(entry(a, [1; 8])), Settled::Refused(b)]).unwrap();

    assert_eq!(snapshot.taken(id, &a).unwrap(), Some([1; 8]));
    assert_eq!(snapshot.taken(id, &b).unwrap(), None);
    let times = snapshot.will_send(id, &rows, later, Same::Content).unwrap();
    assert_eq!(times, [later, later], "what was answered for is not under way");

    snapshot.settle(id, &[Settled::Gone(a)]).unwrap();
    assert_eq!(snapshot.taken(id, &a).unwrap(), None);
}

#[test]
fn a_key_takes_less_than_50_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (mut snapshot, Known { id, .. }) = begun(folder.path());
    let keys: u64 = 50_000;
    let taken = |n: u64| Settled::Taken(entry(key_hash(&n.to_string()), n.to_be_bytes()));
    let empty = bytes(&snapshot);

    for from in (0..keys).step_by(500) {
        snapshot.settle(id, &(from..from + 500).map(taken).collect::<Vec<_>>()).unwrap();
    }

    let each = (bytes(&snapshot) - empty) as f64 / keys as f64;
    assert!(each < 50.0, "{each} bytes a key");
}

fn bytes(snapshot: &Snapshot) -> i64 {
    let pragma = |name: &str| {
        let sql = format!("PRAGMA {name}");
        snapshot.db.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    pragma("page_count") * pragma("page_size")
}

#[test]
fn another_programs_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sync.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();

    let refused = Snapshot::open(&path).unwrap_err().to_string();

    assert!(refused.ends_with("cannot be used: it is another program's"), "{refused}");
}
