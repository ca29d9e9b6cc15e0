//! What people read, and what they must not.

use super::server::answer;
use super::*;

#[tokio::test]
async fn a_question_is_described_in_one_short_line_at_the_origin() {
    let client = Client::new(settings("http://eu.posthog.com")).unwrap();
    let long =
        Request::get("//elsewhere.example/x", &[]).with("key", KEY).with("q", "é".repeat(300));

    assert_eq!(client.origin(), "http://eu.posthog.com");
    assert_eq!(
        client.describe(&question()),
        "GET eu.posthog.com/api/projects/7/events/?after=a b&c"
    );
    let line = client.describe(&long);
    assert!(line.starts_with("GET eu.posthog.com//elsewhere.example/x?key=…&q=éé"), "{line}");
    assert_eq!(line.chars().count(), QUOTED + 1);
}

#[test]
fn origins_and_keys_that_cannot_work_are_refused() {
    for (origin, reason) in [
        ("eu.posthog.com", "relative URL without a base"),
        ("ftp://eu.posthog.com", "it begins with neither https:// nor http://"),
        ("https://eu.posthog.com/project/7", "it goes on after the host"),
    ] {
        let error = Client::new(settings(origin)).unwrap_err();

        assert_eq!(error.to_string(), format!("`{origin}` is no origin: {reason}"));
    }
    let error = Client::new(settings("https://me:hidden@eu.posthog.com")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`https://…@eu.posthog.com` is no origin: it holds a user name or a password"
    );
    let key = Secret::new("phx_with\nline break");
    let error = Client::new(Settings { key, ..settings("https://eu.posthog.com") }).unwrap_err();
    assert_eq!(error, ClientError::Key);
}

#[test]
fn spans_are_told_readably_and_rounded_up() {
    for (millis, text) in [
        (400, "1 s"),
        (45_000, "45 s"),
        (120_000, "2 min"),
        (725_000, "12 min 5 s"),
        (5_400_000, "1 h 30 min"),
    ] {
        assert_eq!(spell(Duration::from_millis(millis)), text);
    }
    // A server may ask for a wait beyond all counting: rounding it up broke the program.
    assert!(spell(Duration::MAX).contains(" h"));
}

#[tokio::test]
async fn a_refusal_never_shows_the_key() {
    let body = format!(r#"{{"detail":"{}Bearer {KEY} is unknown"}}"#, "x".repeat(150));
    let mut case = Case::playing([answer("401 Unauthorized", "", body)]).await;

    let error = case.ask().await.unwrap_err();

    assert!(error.to_string().ends_with("xBearer … is unknown"), "{error}");
    let shown = format!("{error:?} {:?}", case.client);
    assert!(!shown.contains(&KEY[..10]), "{shown}");
}
