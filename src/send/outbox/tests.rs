//! The outbox: what it keeps, what it lets go, and what it does not take.

use super::*;
use crate::send::rules::{Code, Rejection};

fn event(n: u128, json: &str) -> Sealed {
    Sealed {
        uuid: Uuid::from_u128(n),
        event: "e".into(),
        distinct_id: "u".into(),
        json: json.into(),
    }
}

fn to(token: &str) -> Destination {
    Destination::new("https://eu.i.posthog.com", &Secret::new(token), false)
}

fn now() -> Timestamp {
    Timestamp::parse("2026-03-10T12:00:00Z").unwrap()
}

fn numbers(items: &[Item]) -> Vec<i64> {
    items.iter().map(|item| item.number).collect()
}

/// An outbox in a folder of its own.
fn outbox(most: u64) -> (tempfile::TempDir, Outbox) {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(&folder.path().join("state/outbox.db"), most).unwrap();
    (folder, outbox)
}

#[test]
fn what_was_accepted_is_there_for_whoever_opens_the_outbox() {
    let (folder, mut outbox) = outbox(MOST_BYTES);
    outbox.accept(&to("phc_one_of_two"), &[event(1, "{1}"), event(2, "{2}")], now()).unwrap();
    outbox.accept(&to("phc_two_of_two"), &[event(1, "{1}")], now()).unwrap();
    drop(outbox);

    let outbox = Outbox::open(&folder.path().join("state/outbox.db"), MOST_BYTES).unwrap();

    let items = outbox.next(&to("phc_one_of_two"), 0).unwrap();
    assert_eq!(numbers(&items), [1, 2]);
    assert_eq!(items[1].event, event(2, "{2}"));
    assert_eq!(numbers(&outbox.next(&to("phc_one_of_two"), 1).unwrap()), [2]);
    assert_eq!(numbers(&outbox.next(&to("phc_two_of_two"), 0).unwrap()), [3]);
    assert_eq!(outbox.next(&to("phc_of_nobody"), 0).unwrap(), []);
    let bytes = std::fs::read(folder.path().join("state/outbox.db")).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("phc_"), "no token is stored");
}

#[test]
fn the_same_event_waits_once() {
    let (_folder, mut outbox) = outbox(MOST_BYTES);
    let other = Sealed { event: "f".into(), ..event(1, "{f}") };

    outbox.accept(&to("phc_of_once"), &[event(1, "{first}")], now()).unwrap();
    let again = outbox.accept(&to("phc_of_once"), &[event(1, "{second}"), other], now()).unwrap();

    // Another event of the same uuid is another event to PostHog.
    assert_eq!(again, Accepted { added: 1, known: 1 });
    let items = outbox.next(&to("phc_of_once"), 0).unwrap();
    let json: Vec<&str> = items.iter().map(|item| &*item.event.json).collect();
    assert_eq!(json, ["{first}", "{f}"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_leaves_when_it_is_settled() {
    let (_folder, mut outbox) = outbox(MOST_BYTES);
    let to = to("phc_of_settling");
    let events = [event(1, "{1}"), event(2, "{2}"), event(3, "{3}")];
    outbox.accept(&to, &events, now()).unwrap();
    let mut items = outbox.next(&to, 0).unwrap();
    let rejection = Rejection::new(Code::Refused, "PostHog answered 400: no");

    let refused = vec![(items.pop().unwrap(), rejection)];
    let delivered = vec![items.remove(0)];
    outbox.settle(Settled { delivered, refused }).unwrap();

    assert_eq!(numbers(&outbox.next(&to, 0).unwrap()), [2]);
    let refused = outbox.refused().unwrap();
    assert_eq!((refused[0].number, refused[0].code.as_str()), (3, "refused"));
    let waiting = outbox.waiting().unwrap();
    assert_eq!((waiting[0].events, waiting[0].refused, waiting[0].bytes), (1, 1, 6));
    let level = outbox.level().unwrap();
    assert_eq!((level.waiting, level.refused, level.oldest), (1, 1, Some(now())));
    assert!(level.used > 0 && level.most == MOST_BYTES);
    assert_eq!(outbox.forgive(&to), Ok(1));
    assert_eq!(numbers(&outbox.next(&to, 0).unwrap()), [2, 3]);
    assert_eq!(outbox.purge(Purge::Refused), Ok(0));
    assert_eq!(outbox.purge(Purge::Everything), Ok(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_outbox_takes_nothing_and_loses_nothing() {
    let (_folder, mut outbox) = outbox(200_000);
    let to = to("phc_of_a_full_outbox");
    let large = "x".repeat(10_000);
    let mut taken = 0;
    let full = loop {
        match outbox.accept(&to, &[event(taken, &large)], now()) {
            Ok(_) => taken += 1,
            Err(full) => break full,
        }
    };
    assert!(matches!(full, OutboxError::Full { .. }), "{full}");
    assert!(taken > 10);

    let delivered = outbox.next(&to, 0).unwrap();
    assert_eq!(delivered.len() as u128, taken);
    outbox.settle(Settled { delivered, refused: Vec::new() }).unwrap();

    assert!(outbox.accept(&to, &[event(taken, &large)], now()).is_ok(), "there is room again");
}

#[test]
fn callers_share_a_sync_and_nothing_else() {
    let (_folder, mut outbox) = outbox(200_000);
    let (shop, blog) = (to("phc_of_the_shop"), to("phc_of_the_blog"));
    let large = event(2, &"x".repeat(300_000));

    let taken = outbox
        .accept_each(
            &[
                (&shop, &[event(1, "{1}")]),
                (&shop, &[event(3, "{3}"), large]),
                (&blog, &[event(1, "{1}")]),
            ],
            now(),
        )
        .unwrap();

    let added = |n: usize| taken[n].as_ref().map(|accepted| accepted.added);
    assert_eq!((added(0), added(2)), (Ok(1), Ok(1)));
    assert!(matches!(taken[1], Err(OutboxError::Full { .. })), "all or nothing: {taken:?}");
    assert_eq!(numbers(&outbox.next(&shop, 0).unwrap()), [1]);
    assert_eq!(numbers(&outbox.next(&blog, 0).unwrap()), [2]);
}

#[test]
fn another_programs_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outbox.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();

    let refused = Outbox::open(&path, MOST_BYTES).unwrap_err().to_string();

    assert!(refused.ends_with("cannot be used: it is another program's"), "{refused}");
}
