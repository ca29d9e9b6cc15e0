//! What is waited for, how long, and what is not.

use tokio::sync::Barrier;

use super::server::{Server, answer};
use super::*;

#[tokio::test]
async fn a_429_is_waited_for_as_it_says() {
    let date =
        "date: Sat, 21 Nov 2026 06:18:25 GMT\r\nretry-after: Sat, 21 Nov 2026 06:19:25 GMT\r\n";
    let in_words = r#"{"detail":"Request was throttled. Expected available in 9 seconds."}"#;
    for (headers, body, wait) in [
        ("retry-after: 37\r\n", THROTTLED, 37),
        ("retry-after: 0\r\n", THROTTLED, 1),
        (date, THROTTLED, 60),
        ("", in_words, 9),
        ("", THROTTLED, 2),
    ] {
        let mut case =
            Case::playing([answer("429 Too Many Requests", headers, body), rows()]).await;

        case.ask().await.unwrap();

        assert_eq!(case.waits(), [wait], "{headers}{body}");
        assert_eq!(case.meter.waited(), Duration::from_secs(wait));
        assert_eq!(
            (case.meter.requests(), case.meter.retries(), case.meter.throttled()),
            (2, 1, 1)
        );
    }
}

#[tokio::test]
async fn a_question_put_before_its_turn_is_sent_once() {
    let mut case = Case::playing([rows()]).await;

    let begun = case.client.put(&question(), &case.meter).await;
    assert!(begun.is_some());
    let asked = case.client.ask_on(&question(), &mut case.kept, &case.meter, begun).await;

    asked.unwrap();
    assert_eq!((case.body(), case.meter.requests()), (ROWS, 1));
}

#[tokio::test]
async fn a_429_before_its_turn_holds_all_back_at_once() {
    let refusal = answer("429 Too Many Requests", "retry-after: 37\r\n", THROTTLED);
    let mut case = Case::limited([refusal, rows()], &[(100, 60)]).await;

    assert!(case.client.put(&question(), &case.meter).await.is_none());
    assert!(case.waits().is_empty(), "nobody waits before it is its turn");
    case.ask().await.unwrap();

    // The ledger counts whole seconds, and never one too few.
    assert_eq!(case.waits(), [38]);
}

#[tokio::test]
async fn a_server_error_is_retried_three_times() {
    let error =
        || answer("500 Internal Server Error", "", r#"{"detail":"A server error occurred."}"#);
    let mut mended = Case::playing([error(), error(), error(), rows()]).await;
    let mut lasting = Case::playing([error(), error(), error(), error()]).await;

    mended.ask().await.unwrap();
    let unavailable = lasting.ask().await.unwrap_err();

    assert_eq!(mended.waits(), [1, 2, 3]);
    assert_eq!(
        unavailable.to_string(),
        "no answer after 4 attempts: PostHog answered 500: A server error occurred."
    );
}

#[tokio::test]
async fn a_wait_too_long_ends_the_run_and_is_remembered() {
    let mut case =
        Case::playing([answer("429 Too Many Requests", "retry-after: 1800\r\n", THROTTLED)]).await;
    let wait = Duration::from_secs(1800);

    let first = case.ask().await.unwrap_err();
    let second = case.ask().await.unwrap_err();

    let detail = "PostHog answered 429: Request was throttled.".to_owned();
    let until = Timestamp::parse("2026-11-21T06:30:00Z").unwrap();
    assert_eq!(first, AskError::ComeBack { wait, until, detail });
    assert!(matches!(second, AskError::ComeBack { wait: w, .. } if w == wait), "{second}");
    assert_eq!(case.server.requests().len(), 1);
    assert_eq!(case.client.left().await, BTreeMap::new());
}

#[tokio::test]
async fn quota_is_waited_for_before_the_request_is_sent() {
    let mut case = Case::limited([rows(), rows(), rows()], &[(2, 60)]).await;
    for _ in 0..3 {
        case.ask().await.unwrap();
    }

    assert_eq!(case.waits(), [60]);
    assert_eq!(case.meter.waited().as_secs(), 60);
    assert_eq!(case.client.left().await["query"].requests, 1);
}

#[tokio::test]
async fn quota_spent_for_longer_than_a_run_may_wait_ends_it() {
    let mut case = Case::limited([rows()], &[(1, 3600)]).await;
    case.ask().await.unwrap();

    let error = case.ask().await.unwrap_err();

    assert_eq!(error.to_string(), "come back in 1 h: the quota `query` is 1 request in 1 h");
    assert!(error.hint().starts_with("run again in 1 h, at 2026-11-21 07:00:01 UTC"));
}

#[tokio::test]
async fn a_question_that_is_too_large_is_not_repeated() {
    let body = r#"{"detail":"Query exceeded its time"}"#;
    let mut case = Case::playing([answer("504 Gateway Timeout", "", body)]).await;

    let error = case.ask().await.unwrap_err();

    assert_eq!(error, AskError::TooMuch { status: 504, detail: "Query exceeded its time".into() });
}

/// Has a body in hand until everybody meets again.
struct Slow(Arc<Barrier>);

impl Intake for Slow {
    async fn restart(&mut self) -> Result<(), Stopped> {
        Ok(())
    }

    async fn take(&mut self, _: &[u8]) -> Result<(), BadBody> {
        self.0.wait().await;
        self.0.wait().await;
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), BadBody> {
        Ok(())
    }
}

#[tokio::test]
async fn a_request_is_under_way_until_its_body_is_complete() {
    let server = Server::playing([rows(), rows(), rows()]).await;
    let client = Client::new(settings(&server.origin)).unwrap();
    let (meet, meter) = (Arc::new(Barrier::new(3)), Arc::new(Meter::default()));
    let mut slow = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (client, meter, mut intake) =
            (client.clone(), Arc::clone(&meter), Slow(Arc::clone(&meet)));
        slow.spawn(async move { client.ask(&question(), &mut intake, &meter).await.unwrap() });
    }
    meet.wait().await;

    // Two are allowed at once, and both are still being read.
    let (question, mut kept) = (question(), Kept::default());
    let third = client.ask(&question, &mut kept, &meter);
    assert!(tokio::time::timeout(Duration::from_millis(50), third).await.is_err());
    assert_eq!((server.requests().len(), meter.requests()), (2, 2));

    meet.wait().await;
    slow.join_all().await;
    client.ask(&question, &mut kept, &meter).await.unwrap();
    assert_eq!(server.requests().len(), 3);
}
