//! What becomes of answers and their bodies.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::server::{Server, announcing, answer};
use super::*;

fn zipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn an_answer_is_poured_and_told_with_the_servers_time() {
    let date = "Date: Sat, 21 Nov 2026 06:18:25 GMT\r\n";
    let mut case = Case::playing([answer("200 OK", date, ROWS)]).await;

    let head = case.ask().await.unwrap();

    assert_eq!(head.date, Timestamp::parse("2026-11-21T06:18:25Z"));
    assert_eq!(case.body(), ROWS);
    let request = &case.server.requests()[0];
    assert!(
        request.starts_with("GET /api/projects/7/events/?after=a+b%26c HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains(&format!("authorization: Bearer {KEY}\r\n")), "{request}");
    assert!(
        request.contains(concat!("user-agent: hogline/", env!("CARGO_PKG_VERSION"), "\r\n")),
        "{request}"
    );
    assert!(request.contains("accept-encoding: gzip\r\n"), "{request}");
    assert_eq!((case.meter.requests(), case.meter.retries()), (1, 0));
}

#[tokio::test]
async fn a_post_carries_its_body() {
    let mut case = Case::playing([rows()]).await;
    let request = Request::post("/api/projects/7/query/", json!({"q": 1}), &[]);

    case.client.ask(&request, &mut case.kept, &case.meter).await.unwrap();

    let request = &case.server.requests()[0];
    assert!(request.starts_with("POST /api/projects/7/query/ HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"q\":1}"), "{request}");
}

#[tokio::test]
async fn half_a_body_is_forgotten_before_the_next_attempt() {
    let mut case = Case::playing([announcing(500, "200 OK", "", &ROWS[..9]), rows()]).await;

    case.ask().await.unwrap();

    assert_eq!(case.body(), ROWS);
    assert_eq!(case.kept.restarts, 2);
    assert_eq!(case.waits(), [1]);
}

#[tokio::test]
async fn gzip_is_unpacked_and_half_a_gzip_is_a_fault() {
    let (gzip, whole) = ("content-encoding: gzip\r\n", zipped(ROWS));
    let cut = &whole[..whole.len() - 9];
    let mut case =
        Case::playing([answer("200 OK", gzip, cut), answer("200 OK", gzip, &whole)]).await;

    case.ask().await.unwrap();

    assert_eq!(case.body(), ROWS);
    assert_eq!(case.kept.restarts, 2);
}

#[tokio::test]
async fn a_login_page_that_stays_breaks_the_contract() {
    let page = || answer("200 OK", "content-type: text/html\r\n", "<html>Log in</html>");
    let mut case = Case::playing([page(), page(), page(), page()]).await;

    let error = case.ask().await.unwrap_err();

    assert_eq!(
        error.to_string(),
        "the answer breaks PostHog's contract: not the JSON asked for: \
         expected value at line 1 column 1 (after 4 attempts)"
    );
}

#[tokio::test]
async fn a_redirect_is_refused_and_the_key_stays_at_home() {
    let elsewhere = Server::playing(Vec::<Vec<u8>>::new()).await;
    let location = format!("location: {}/login?next=secret\r\n", elsewhere.origin);
    let mut case = Case::playing([answer("302 Found", &location, "")]).await;

    let error = case.ask().await.unwrap_err();

    let told = "the answer breaks PostHog's contract: a redirect (302) to 127.0.0.1, which is not followed";
    assert_eq!(error.to_string(), told);
    assert_eq!(elsewhere.requests().len(), 0);
}

#[tokio::test]
async fn a_host_that_is_not_there_is_told_as_such() {
    let case = Case::playing([]).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let patience = Patience { linear: Duration::ZERO, ..Patience::of(Duration::ZERO) };
    let clock = Clock::Held(Arc::clone(&case.clock));
    let client =
        Client::with(settings(&format!("http://{closed}")), patience, Timeouts::default(), clock)
            .unwrap();

    let error = client.ask(&question(), &mut Kept::default(), &case.meter).await.unwrap_err();

    let AskError::Unavailable { status: None, attempts: 4, detail } = error else {
        panic!("{error}")
    };
    assert!(detail.contains("Connection refused") && !detail.contains("after"), "{detail}");
}

#[tokio::test]
async fn a_receiver_that_is_gone_stops_the_question() {
    let case = Case::playing([rows()]).await;

    let error = case.client.ask(&question(), &mut Gone, &case.meter).await.unwrap_err();

    assert_eq!(error, AskError::Stopped);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let short = Duration::from_millis(20);
    let timeouts =
        Timeouts { first_byte: short, between_bytes: short, whole: Duration::from_secs(9) };
    let never = Server::stalling(vec![Vec::new(); 4]).await;
    let midway = Server::stalling(vec![announcing(500, "200 OK", "", &ROWS[..9]); 4]).await;
    for server in [never, midway] {
        let clock = Case::playing([]).await.clock;
        let patience = Patience::of(Duration::from_secs(60));
        let settings = settings(&server.origin);
        let client =
            Client::with(settings, patience, timeouts.clone(), Clock::Held(clock)).unwrap();

        let mut kept = Kept::default();
        let error = client.ask(&question(), &mut kept, &Meter::default()).await.unwrap_err();

        let told = "no answer after 4 attempts: nothing from PostHog for 1 s";
        assert_eq!(error.to_string(), told);
    }
}
