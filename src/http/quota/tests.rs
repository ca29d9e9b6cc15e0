//! Ledgers, alone and two on one file.

use rusqlite::Connection;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn seconds(hold: Option<Hold>) -> u64 {
    hold.map_or(0, |hold| hold.wait.as_secs())
}

/// Three a minute of `query`, and forty an hour of `crud`.
fn quotas() -> Quotas {
    let allowance = |requests, per| vec![Allowance { requests, per: Duration::from_secs(per) }];
    Quotas {
        origin: "https://eu.posthog.com".into(),
        project: "7".into(),
        limits: [("query", allowance(3, 60)), ("crud", allowance(40, 3600))]
            .map(|(counter, allowances)| (counter.to_owned(), allowances))
            .into(),
        enforce: true,
    }
}

fn ledger(path: &Path) -> Ledger {
    Ledger::open(Some(path), quotas()).unwrap()
}

fn query() -> [String; 1] {
    ["query".to_owned()]
}

#[test]
fn two_ledgers_on_one_file_share_the_windows() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("new/quota.db");
    let (one, other) = (ledger(&path), ledger(&path));

    assert_eq!(one.spend(&query(), at(0)), None);
    assert_eq!(other.spend(&query(), at(1)), None);
    assert_eq!(one.spend(&query(), at(2)), None);

    let why = "the quota `query` is 3 requests in 1 min".to_owned();
    assert_eq!(other.spend(&query(), at(3)), Some(Hold { wait: Duration::from_secs(57), why }));
    assert_eq!(other.left(at(3))["query"], 0);
    assert_eq!(other.spend(&query(), at(60)), None);
    assert_eq!(one.left(at(60)), [("crud".to_owned(), 40), ("query".to_owned(), 0)].into());
}

#[test]
fn another_project_and_another_counter_have_their_own_windows() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("quota.db");
    let one = ledger(&path);
    let other = Ledger::open(Some(&path), Quotas { project: "8".into(), ..quotas() }).unwrap();
    for _ in 0..3 {
        assert_eq!(one.spend(&query(), at(0)), None);
    }

    assert_eq!(other.spend(&query(), at(0)), None);
    assert_eq!(one.spend(&["crud".to_owned()], at(0)), None);
    assert_eq!(one.spend(&["unlimited".to_owned()], at(0)), None);
}

#[test]
fn a_request_is_entered_in_all_its_counters_or_in_none() {
    let ledger = Ledger::open(None, quotas()).unwrap();
    let both = ["crud".to_owned(), "query".to_owned()];
    for _ in 0..3 {
        assert_eq!(ledger.spend(&both, at(0)), None);
    }

    assert_eq!(seconds(ledger.spend(&both, at(0))), 60);
    assert_eq!(ledger.left(at(0))["crud"], 37);
}

#[test]
fn the_second_half_of_an_hour_is_spread() {
    let ledger = Ledger::open(None, quotas()).unwrap();
    let crud = ["crud".to_owned()];
    for _ in 0..21 {
        assert_eq!(ledger.spend(&crud, at(0)), None);
    }

    // 19 are left for the hour until the first 21 leave.
    assert_eq!(seconds(ledger.spend(&crud, at(0))), 189);
    assert_eq!(ledger.spend(&crud, at(190)), None);
}

#[test]
fn a_429_holds_everybody_back_until_it_is_over() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("quota.db");
    let one = ledger(&path);
    let lax = Ledger::open(Some(&path), Quotas { enforce: false, ..quotas() }).unwrap();

    one.block(&query(), at(500), at(0));
    one.block(&query(), at(100), at(0));

    assert_eq!(seconds(lax.spend(&query(), at(0))), 500);
    assert_eq!(one.left(at(0))["query"], 0);
    assert_eq!(lax.spend(&query(), at(500)), None);
    assert_eq!(one.left(at(500))["query"], 2);
}

#[test]
fn without_enforcement_requests_are_counted_but_never_held() {
    let ledger = Ledger::open(None, Quotas { enforce: false, ..quotas() }).unwrap();
    for _ in 0..5 {
        assert_eq!(ledger.spend(&query(), at(0)), None);
    }

    assert_eq!(ledger.left(at(0))["query"], 0);
}

#[test]
fn entries_of_a_clock_that_was_wrong_hold_nobody() {
    let ledger = Ledger::open(None, quotas()).unwrap();
    for _ in 0..3 {
        assert_eq!(ledger.spend(&query(), at(100_000)), None);
    }
    ledger.block(&query(), at(200_000), at(100_000));

    assert_eq!(ledger.spend(&query(), at(50)), None);
    ledger.block(&query(), at(80), at(51));
    assert_eq!(seconds(ledger.spend(&query(), at(60))), 20);
}

#[test]
fn old_entries_are_deleted() {
    let ledger = Ledger::open(None, quotas()).unwrap();
    for day in 0..5 {
        assert_eq!(ledger.spend(&query(), at(day * 86_400 * 2)), None);
    }

    let rows: i64 = ledger
        .transaction(|tx| tx.query_row("SELECT count(*) FROM spent", (), |row| row.get(0)))
        .unwrap();
    assert_eq!(rows, 1);
}

#[test]
fn a_broken_file_is_set_aside_and_begun_again() {
    for rubbish in ["this is no database, and it is long enough to be read as one", ""] {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("quota.db");
        std::fs::write(&path, rubbish.repeat(200)).unwrap();

        assert_eq!(ledger(&path).spend(&query(), at(0)), None);

        assert_eq!(ledger(&path).left(at(0))["query"], 2);
        assert_eq!(home.path().join("quota.db.broken").exists(), !rubbish.is_empty());
    }
}

#[test]
fn tables_of_another_version_are_set_aside() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("quota.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE spent (what TEXT)").unwrap();
    drop(other);

    assert_eq!(ledger(&path).spend(&query(), at(0)), None);

    assert!(home.path().join("quota.db.broken").exists());
}

#[test]
fn a_file_that_breaks_while_it_is_used_is_begun_again() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("quota.db");
    let one = ledger(&path);
    assert_eq!(one.spend(&query(), at(0)), None);
    one.transaction(|tx| tx.execute_batch("DROP TABLE spent; CREATE TABLE spent (what TEXT)"))
        .unwrap();

    assert_eq!(one.spend(&query(), at(0)), None);

    assert_eq!(ledger(&path).left(at(0))["query"], 2);
}

#[test]
fn a_ledger_that_cannot_be_written_is_kept_in_memory() {
    let home = tempfile::tempdir().unwrap();
    let blocked = home.path().join("file");
    std::fs::write(&blocked, "").unwrap();

    let ledger = ledger(&blocked.join("quota.db"));

    for _ in 0..3 {
        assert_eq!(ledger.spend(&query(), at(0)), None);
    }
    assert_eq!(seconds(ledger.spend(&query(), at(0))), 60);
}

#[test]
fn many_processes_never_overspend() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("quota.db");
    drop(ledger(&path));

    let granted = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let ledger = ledger(&path);
                    (0..20).filter(|_| ledger.spend(&query(), at(0)).is_none()).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });

    assert_eq!(granted, 3);
    assert_eq!(ledger(&path).left(at(0).plus(HOUR))["query"], 3);
}
