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

fn seconds_of(count: u64) -> Duration {
    Duration::from_secs(count)
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
        longest_pace: HOUR,
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

    let held = other.spend(&query(), at(3)).unwrap();
    assert_eq!(held.why, "the quota `query` is 3 requests in 1 min");
    assert_eq!(held.wait.as_secs(), 57);
    assert_eq!(other.left(at(3))["query"].requests, 0);
    assert_eq!(other.spend(&query(), at(61)), None);
    let left = one.left(at(61));
    assert_eq!((left.len(), left["crud"].requests, left["query"].requests), (2, 40, 0));
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
    assert_eq!(ledger.left(at(0))["crud"].requests, 37);
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

    one.refused(&query(), seconds_of(500), None, at(0));
    one.refused(&query(), seconds_of(100), None, at(0));

    assert_eq!(seconds(lax.spend(&query(), at(0))), 500);
    assert_eq!(one.left(at(0))["query"].requests, 0);
    assert_eq!(lax.spend(&query(), at(500)), None);
}

#[test]
fn after_a_429_one_request_goes_first() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("quota.db");
    let (one, other) = (ledger(&path), ledger(&path));
    one.refused(&query(), seconds_of(10), None, at(0));

    // The wait is over: one finds out whether that is true, the others look again.
    assert_eq!(other.spend(&query(), at(10)), None);
    assert!(other.is_probing(&query()) && !one.is_probing(&query()));
    assert_eq!(one.spend(&query(), at(11)).unwrap().wait, LOOK_AGAIN);
    assert_eq!(other.spend(&query(), at(11)).unwrap().wait, LOOK_AGAIN);

    // It was not: everybody waits again, and again one goes first.
    other.refused(&query(), seconds_of(20), None, at(12));
    assert_eq!(seconds(one.spend(&query(), at(13))), 19);
    assert_eq!(one.spend(&query(), at(32)), None);
    one.settle(&query(), false);
    // That one was not answered at all: the next goes first.
    assert_eq!(other.spend(&query(), at(33)), None);
    other.settle(&query(), true);
    assert!(!other.is_probing(&query()));
    // 33 - 10 = 23 seconds: all three of the minute are spent, and nothing else holds.
    assert_eq!(seconds(one.spend(&query(), at(33))), 37);
}

#[test]
fn a_request_that_went_first_and_was_never_heard_of_is_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("quota.db");
    let survivor = ledger(&path);
    let dead = ledger(&path);
    dead.refused(&query(), seconds_of(10), None, at(0));
    assert_eq!(dead.spend(&query(), at(10)), None);
    drop(dead);

    assert!(survivor.spend(&query(), at(69)).is_some());
    assert_eq!(survivor.spend(&query(), at(71)), None);
}

/// Ten in a minute and a hundred in an hour of `query`, as one request spends them.
fn pair(longest_pace: Duration) -> (Ledger, [String; 2]) {
    let allowance = |requests, per| vec![Allowance { requests, per: Duration::from_secs(per) }];
    let limits = [("query/burst", allowance(10, 60)), ("query", allowance(100, 3600))];
    let limits = limits.map(|(counter, allowances)| (counter.to_owned(), allowances)).into();
    let ledger = Ledger::open(None, Quotas { limits, longest_pace, ..quotas() }).unwrap();
    (ledger, ["query/burst", "query"].map(str::to_owned))
}

#[test]
fn what_a_429_proves_that_others_spent_is_entered() {
    for (wait, minute, hour) in [
        // The minute was nearly spent: others took the rest of it.
        (30, 0, 90),
        // So long a wait is the hour's: others took ninety-one requests of it.
        (1800, 1, 0),
    ] {
        let (ledger, both) = pair(HOUR);
        for _ in 0..9 {
            assert_eq!(ledger.spend(&both, at(10_000)), None);
        }

        ledger.refused(&both, seconds_of(wait), Some(seconds_of(wait)), at(10_001));

        ledger.transaction(|tx| tx.execute("DELETE FROM blocked", ()).map(drop)).unwrap();
        let left = |counter| ledger.left(at(10_001))[counter].requests;
        assert_eq!((left("query/burst"), left("query")), (minute, hour + u32::from(wait == 30)));
    }
}

#[test]
fn what_others_spent_comes_back_bit_by_bit() {
    let (ledger, both) = pair(HOUR);
    ledger.refused(&both, seconds_of(1800), Some(seconds_of(1800)), at(10_000));
    ledger.transaction(|tx| tx.execute("DELETE FROM blocked", ()).map(drop)).unwrap();

    let left = |seconds: i64| ledger.left(at(10_000 + seconds))["query"].requests;
    assert_eq!(left(1700), 0);
    assert!((1..5).contains(&left(1860)), "{}", left(1860));
    assert!((40..60).contains(&left(2700)), "{}", left(2700));
    assert_eq!(left(3602), 100);
}

#[test]
fn the_longest_window_is_spread_however_short_it_is() {
    let allowance =
        |requests, millis| vec![Allowance { requests, per: Duration::from_millis(millis) }];
    let limits = [("query/burst", allowance(10, 100)), ("query", allowance(20, 3000))];
    let limits = limits.map(|(counter, allowances)| (counter.to_owned(), allowances)).into();
    let ledger = Ledger::open(None, Quotas { limits, ..quotas() }).unwrap();
    let both = ["query/burst", "query"].map(str::to_owned);
    let mut now = at(0);
    let mut longest = Duration::ZERO;
    for _ in 0..100 {
        while let Some(Hold { wait, .. }) = ledger.spend(&both, now) {
            longest = longest.max(wait);
            now = now.plus(wait);
        }
    }

    assert!(now.since(at(0)) < Duration::from_secs(18), "{now}");
    // Ten at once, then twenty each three seconds: without a pace the wait would be three.
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}

#[test]
fn a_pace_slower_than_a_run_may_wait_is_not_kept() {
    let (ledger, both) = pair(seconds_of(1));
    let mut now = at(0);
    let mut sent = 0;
    let wall = loop {
        match ledger.spend(&both, now) {
            None => sent += 1,
            Some(hold) if hold.wait > seconds_of(120) => break hold.wait,
            Some(hold) => now = now.plus(hold.wait),
        }
    };

    assert_eq!(sent, 100);
    assert!(wall > seconds_of(2900), "{wall:?}");
}

#[test]
fn without_enforcement_requests_are_counted_but_never_held() {
    let ledger = Ledger::open(None, Quotas { enforce: false, ..quotas() }).unwrap();
    for _ in 0..5 {
        assert_eq!(ledger.spend(&query(), at(0)), None);
    }

    assert_eq!(ledger.left(at(0))["query"].requests, 0);
}

#[test]
fn a_clock_set_back_neither_frees_the_quota_nor_freezes_it() {
    let ledger = Ledger::open(None, quotas()).unwrap();
    for second in [0, 20, 40] {
        assert_eq!(ledger.spend(&query(), at(100_000 + second)), None);
    }

    // Ten seconds later, and a day before: the last request counts as made now.
    assert_eq!(seconds(ledger.spend(&query(), at(50))), 20);
    assert_eq!(ledger.spend(&query(), at(71)), None);
}

#[test]
fn a_429_of_a_clock_that_was_wrong_holds_nobody_for_ever() {
    let ledger = Ledger::open(None, quotas()).unwrap();
    ledger.refused(&query(), seconds_of(500), None, at(100_000));

    assert_eq!(ledger.spend(&query(), at(50)), None);
    ledger.refused(&query(), seconds_of(30), None, at(51));
    assert_eq!(seconds(ledger.spend(&query(), at(60))), 21);
}

#[test]
fn a_clock_set_forward_does_not_free_the_quota() {
    let ledger = Ledger::open(None, quotas()).unwrap();
    assert_eq!(ledger.spend(&query(), at(0)), None);
    assert_eq!(ledger.spend(&query(), at(10)), None);
    // An hour that did not pass: known with the answer to this request.
    assert_eq!(ledger.spend(&query(), at(3620)), None);

    ledger.shift(HOUR);

    assert_eq!(seconds(ledger.spend(&query(), at(3621))), 39);
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

        assert_eq!(ledger(&path).left(at(0))["query"].requests, 2);
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

    assert_eq!(ledger(&path).left(at(0))["query"].requests, 2);
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
    assert_eq!(ledger(&path).left(at(0).plus(HOUR))["query"].requests, 3);
}
