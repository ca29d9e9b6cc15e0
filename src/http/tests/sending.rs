//! Events on their way: what is sent again, how often, and that it is the same.

use super::server::{Server, answer};
use super::*;

const BODY: &str = r#"{"api_key":"phc_of_the_http_tests","batch":[]}"#;

fn body() -> Packed {
    Packed { bytes: BODY.into(), is_gzip: false }
}

/// Sends the body once, with two retries; tells the waits in milliseconds as well.
async fn sent(
    answers: impl IntoIterator<Item = Vec<u8>>,
) -> (Result<Answered, AskError>, Vec<u128>, Vec<String>) {
    let server = Server::playing(answers).await;
    let now = Timestamp::parse("2026-11-21T06:00:00Z").unwrap();
    let clock = Arc::new(Mutex::new(Held { now, waits: Vec::new() }));
    let settings = CaptureSettings {
        origin: server.origin.clone(),
        headers: vec![("X-Relay".into(), "eu 7".into())],
        retries: 2,
        max_wait: Duration::from_secs(60),
        timeouts: Timeouts::default(),
    };
    let patience = Patience::of_sending(settings.retries, settings.max_wait);
    let patience = Patience { jitter: 0.0, spread: Duration::ZERO, ..patience };
    let capture = Capture::with(settings, patience, Clock::Held(Arc::clone(&clock))).unwrap();

    let answered = capture.post("/batch/", &body(), &Meter::default()).await;

    let waits = clock.lock().unwrap().waits.iter().map(Duration::as_millis).collect();
    (answered, waits, server.requests())
}

fn accepted() -> Vec<u8> {
    answer("200 OK", "", r#"{"status":"Ok"}"#)
}

#[tokio::test]
async fn what_may_pass_is_waited_for_and_the_same_is_sent_again() {
    for (refusal, wait) in [
        (answer("408 Request Timeout", "", "client stopped sending data"), 500),
        (answer("429 Too Many Requests", "", "rate limited"), 500),
        (answer("429 Too Many Requests", "retry-after: 7\r\n", ""), 7000),
        (answer("500 Internal Server Error", "", ""), 500),
        (answer("503 Service Unavailable", "retry-after: 2\r\n", ""), 2000),
        (answer("504 Gateway Timeout", "", "{}"), 500),
        // The connection is closed before there is an answer.
        (Vec::new(), 500),
        (answer("200 OK", "", "<html><title>Log in</title></html>"), 500),
    ] {
        let told = String::from_utf8_lossy(&refusal).into_owned();

        let (answered, waits, requests) = sent([refusal, accepted()]).await;

        let expected = Answered { status: 200, text: r#"{"status":"Ok"}"#.into() };
        assert_eq!((answered, waits), (Ok(expected), vec![wait]), "{told}");
        assert_eq!(requests[0], requests[1]);
        assert!(requests[0].ends_with(BODY) && requests[0].starts_with("POST /batch/ HTTP"));
        let head = requests[0].to_lowercase();
        assert!(head.contains("x-relay: eu 7") && !head.contains("authorization"), "{head}");
    }
}

#[tokio::test]
async fn patience_ends_after_so_many_retries() {
    let down = || answer("503 Service Unavailable", "", "transient error, please retry");

    let (answered, waits, requests) = sent([down(), down(), down()]).await;

    assert_eq!((waits, requests.len()), (vec![500, 1000], 3));
    let told = answered.unwrap_err().to_string();
    assert!(told.contains("after 3 attempts") && told.contains("please retry"), "{told}");

    let (answered, waits, _) =
        sent([answer("429 Too Many Requests", "retry-after: 3600\r\n", "")]).await;
    assert!(matches!(answered, Err(AskError::ComeBack { .. })) && waits.is_empty());
}

#[tokio::test]
async fn what_is_refused_is_not_sent_again() {
    for (status, body) in [
        ("400 Bad Request", "failed to parse request: expected value"),
        ("401 Unauthorized", "API key is not valid: personal_api_key"),
        ("403 Forbidden", ""),
        ("404 Not Found", ""),
        ("413 Payload Too Large", "length limit exceeded"),
        ("302 Found", ""),
    ] {
        let (answered, waits, requests) = sent([answer(status, "", body)]).await;

        assert!(answered.unwrap_err().to_string().contains(body), "{status}");
        assert_eq!((waits, requests.len()), (vec![], 1), "{status}");
    }
}

#[tokio::test]
async fn a_token_is_known_unknown_or_not_told() {
    let unknown =
        "The provided API key is invalid or has expired. Please check your API key and try again.";
    for (reply, known) in [
        (answer("200 OK", "", "{}"), Some(true)),
        (answer("401 Unauthorized", "", unknown), Some(false)),
        (answer("404 Not Found", "", ""), None),
        (answer("503 Service Unavailable", "", ""), None),
        (Vec::new(), None),
    ] {
        let server = Server::playing([reply]).await;
        let capture = Capture::new(CaptureSettings {
            origin: server.origin.clone(),
            headers: Vec::new(),
            retries: 9,
            max_wait: Duration::from_secs(60),
            timeouts: Timeouts::default(),
        });

        let token = Secret::new("phc_of_the_http_tests");
        assert_eq!(capture.unwrap().knows(&token, &Meter::default()).await, known);
        assert!(server.requests()[0].starts_with("POST /flags/?v=2 HTTP"));
    }
}
