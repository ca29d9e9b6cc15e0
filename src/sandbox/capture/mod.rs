//! The capture endpoints: what PostHog does with an event before it says 200.
//!
//! The shape of a request is all that is looked at here, and all that its answer
//! tells: a token that belongs to nobody is answered like the project's, and its
//! events are gone (posthog-api.md §8). What becomes of an event afterwards is
//! `data`'s business, and no sender hears of it.

mod body;
mod clock;
mod request;
mod v1;

use serde_json::{Map, Value, json};
use uuid::Uuid;

pub(super) use self::body::inflated;
use super::answer::{Answer, Question};
use super::data::intake::Arrival;
use super::project::Project;
use super::{LARGEST_BODY, PROJECT_TOKEN};
use crate::cursor::Timestamp;

/// The most bytes of JSON that one event may have.
const LARGEST_EVENT: usize = 1_000_000;

const TOO_LARGE: &str = "maximum event size exceeded: message too large";

const UNKNOWN_TOKEN: &str =
    "The provided API key is invalid or has expired. Please check your API key and try again.";

/// The path of the newer protocol.
const V1: &str = "i/v1/analytics/events";

/// The paths of the first protocol, without the slashes around them.
const PATHS: [&str; 6] = ["batch", "i/v0/e", "e", "capture", "track", "engage"];

/// An event that was let in.
#[derive(Debug, Clone, PartialEq)]
pub struct Captured {
    /// Its id: the sender's, or one made up here.
    pub uuid: Uuid,
    /// What happened.
    pub event: String,
    /// Who did it; of more than 200 characters the first 200.
    pub distinct_id: String,
    /// When, as it is stored: shifted by `sent_at`, taken back from the future (§8.5).
    pub timestamp: Timestamp,
    /// All else, `$set` and `$set_once` of the top level included.
    pub properties: Map<String, Value>,
    /// Whether the batch said `historical_migration`.
    pub historical: bool,
}

/// Whether a path belongs to capture.
pub(super) fn is_place(path: &str) -> bool {
    let path = path.trim_matches('/');
    PATHS.contains(&path) || path == V1
}

/// Answers what is sent to capture, or nothing where the path is not its own.
pub(super) fn answer(project: &Project, question: &Question) -> Option<Result<Answer, Answer>> {
    match question.path.trim_matches('/') {
        "" => Some(Ok(Answer::plain(200, "capture"))),
        "_liveness" | "_readiness" => Some(Ok(Answer::plain(200, "ok"))),
        "flags" => Some(flags(question)),
        path if PATHS.contains(&path) => Some(v0(project, question)),
        V1 if !project.options.old_capture => Some(v1::answer(project, question)),
        _ => None,
    }
}

/// A failure as a path of capture tells it, unless it is told something else; nothing where
/// the path is not its own.
pub(super) fn failure(path: &str, status: u16, text: &str) -> Option<Answer> {
    let (own, tag) = match status {
        408 => ("client stopped sending data", "request_timeout"),
        413 => (TOO_LARGE, "payload_too_large"),
        429 => ("rate limited", "rate_limited"),
        500 => ("internal server error: sink error", "internal_error"),
        503 => ("transient error, please retry", "service_unavailable"),
        504 => ("gateway timeout", "gateway_timeout"),
        _ => ("", ""),
    };
    let text = if text.is_empty() { own } else { text };
    match path.trim_matches('/') {
        V1 => Some(v1::problem(status, tag, text)),
        path if PATHS.contains(&path) => Some(Answer::plain(status, text)),
        _ => None,
    }
}

/// Takes events as most libraries send them: all of a request, or nothing.
fn v0(project: &Project, question: &Question) -> Result<Answer, Answer> {
    if question.size > LARGEST_BODY || question.body.len() > LARGEST_BODY {
        return Err(Answer::plain(413, "length limit exceeded"));
    }
    let text = body::text(question)?;
    let is_old = project.options.old_capture;
    let (token, read) = request::read(&text, question, project.now())?;
    let events: Vec<Arrival> = match is_old {
        true => read.into_iter().flatten().collect(),
        false => read.into_iter().collect::<Result<_, Answer>>()?,
    };
    if token == PROJECT_TOKEN {
        let is_too_large = |one: &Arrival| size(&one.event) > LARGEST_EVENT;
        // Those before the one that is too large are on their way already.
        let whole = events.iter().position(is_too_large).unwrap_or(events.len());
        let is_cut = whole < events.len();
        let taken = whole.min(project.room());
        project.take(events.into_iter().take(taken).collect());
        if is_cut {
            return Err(Answer::plain(if is_old { 400 } else { 413 }, TOO_LARGE));
        }
    }
    Ok(match question.is_on("beacon") {
        true => Answer::plain(204, ""),
        false if is_old => Answer::value(&json!({ "status": 1 })),
        false => Answer::value(&json!({ "status": "Ok" })),
    })
}

/// Tells who asks for feature flags whether the token is the project's; there are none to tell.
fn flags(question: &Question) -> Result<Answer, Answer> {
    let asked: Value = serde_json::from_slice(&question.body).unwrap_or_default();
    let token = ["api_key", "token", "$token"].iter().find_map(|name| asked[*name].as_str());
    if token.map(str::trim) != Some(PROJECT_TOKEN) {
        return Err(Answer::plain(401, UNKNOWN_TOKEN));
    }
    Ok(Answer::value(&json!({ "flags": {}, "errorsWhileComputingFlags": false,
        "requestId": Uuid::now_v7().to_string() })))
}

/// The bytes of JSON that an event has.
fn size(one: &Captured) -> usize {
    let properties = serde_json::to_string(&one.properties).unwrap_or_default();
    properties.len() + one.event.len() + one.distinct_id.len()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use url::form_urlencoded;

    use super::*;
    use crate::base64;
    use crate::sandbox::client::{Reply, capture, list, send, small, started};
    use crate::sandbox::{Fault, FaultKind, Options};

    /// A batch of these events under the project's token.
    fn batch(events: Value) -> String {
        json!({ "api_key": PROJECT_TOKEN, "batch": events }).to_string()
    }

    fn names(events: &[Captured]) -> Vec<&str> {
        events.iter().map(|one| one.event.as_str()).collect()
    }

    fn said(reply: &Reply) -> (u16, String) {
        (reply.status, reply.text())
    }

    #[tokio::test]
    async fn a_batch_is_let_in_as_it_was_sent() {
        let sandbox = started(small()).await;
        let uuid = "01900000-0000-7000-8000-000000000001";
        let events = json!([
            { "event": "opened", "distinct_id": "ada", "uuid": uuid,
              "timestamp": "2026-11-20T10:00:00Z", "properties": { "n": 1 } },
            { "event": "closed", "properties": { "distinct_id": 7 } },
        ]);
        let body = json!({ "token": PROJECT_TOKEN, "batch": events, "historical_migration": true });

        let reply = capture(&sandbox, "/batch/", body.to_string()).await;

        assert_eq!(said(&reply), (200, r#"{"status":"Ok"}"#.to_owned()));
        let captured = sandbox.captured();
        let first = Captured {
            uuid: uuid.parse().unwrap(),
            event: "opened".to_owned(),
            distinct_id: "ada".to_owned(),
            timestamp: Timestamp::parse("2026-11-20T10:00:00Z").unwrap(),
            properties: json!({ "n": 1 }).as_object().unwrap().clone(),
            historical: true,
        };
        assert_eq!(captured[0], first);
        assert_eq!((captured[1].distinct_id.as_str(), names(&captured)[1]), ("7", "closed"));
        assert_eq!(sandbox.capture_requests(), 1);
    }

    #[tokio::test]
    async fn gzip_is_known_by_its_bytes_whatever_the_headers_say() {
        let sandbox = started(small()).await;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let body = batch(json!([{ "event": "e", "distinct_id": "d" }]));
        gzip.write_all(body.as_bytes()).unwrap();
        let gzip = gzip.finish().unwrap();

        let whole = send(&sandbox, "POST", "/batch", "Content-Encoding: br\r\n", &gzip).await;
        let half = capture(&sandbox, "/batch/", &gzip[..gzip.len() / 2]).await;

        assert_eq!(whole.unwrap().status, 200);
        assert_eq!(sandbox.log()[0].body, body, "the log tells what was meant");
        let refusal = "failed to decode request: invalid gzip data".to_owned();
        assert_eq!(said(&half), (400, refusal));
        assert_eq!(names(&sandbox.captured()), ["e"]);
    }

    #[tokio::test]
    async fn one_bad_event_refuses_the_whole_batch() {
        let sandbox = started(small()).await;
        let good = json!({ "event": "good", "distinct_id": "d" });

        for (bad, status, text) in [
            (
                json!({ "event": "", "distinct_id": "d" }),
                400,
                "event submitted with an empty event name",
            ),
            (json!({ "event": "e" }), 400, "event submitted without a distinct_id"),
            (
                json!({ "event": "e", "distinct_id": null }),
                400,
                "event submitted without a distinct_id",
            ),
            (
                json!({ "event": "e", "distinct_id": "d", "properties": { "$cookieless_mode": 1 } }),
                400,
                "event submitted with invalid cookieless mode",
            ),
        ] {
            let reply = capture(&sandbox, "/batch/", batch(json!([good, bad, good]))).await;
            assert_eq!(said(&reply), (status, text.to_owned()), "{bad}");
        }
        for bad in [
            json!({ "event": "e", "distinct_id": "d", "uuid": "msg-1" }),
            json!({ "event": "e", "distinct_id": "d", "timestamp": 1_700_000_000 }),
            json!({ "event": "e", "distinct_id": "d", "properties": [] }),
            json!({ "distinct_id": "d" }),
        ] {
            let reply = capture(&sandbox, "/i/v0/e/", batch(json!([good, bad]))).await;
            assert_eq!(reply.status, 400, "{bad}");
            assert!(reply.text().starts_with("failed to parse request: "), "{}", reply.text());
        }

        assert!(sandbox.captured().is_empty());
    }

    #[tokio::test]
    async fn an_event_too_large_is_413_after_those_before_it_were_taken() {
        let sandbox = started(small()).await;
        let event = |name: &str, size: usize| json!({ "event": name, "distinct_id": "d", "properties": { "text": "x".repeat(size) } });
        let events = json!([event("one", 1), event("two", 1_000_000), event("three", 1)]);

        let reply = capture(&sandbox, "/batch/", batch(events)).await;

        assert_eq!(reply.status, 413);
        assert!(reply.text().starts_with("maximum event size exceeded: "));
        assert_eq!(names(&sandbox.captured()), ["one"]);
    }

    #[tokio::test]
    async fn a_body_too_large_is_413_however_it_is_packed() {
        let sandbox = started(small()).await;
        let event =
            json!({ "event": "e", "distinct_id": "d", "properties": { "t": "x".repeat(900_000) } });
        let body = batch(json!(vec![event; 24]));
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(body.as_bytes()).unwrap();

        for body in [body.into_bytes(), gzip.finish().unwrap()] {
            assert_eq!(capture(&sandbox, "/batch/", body).await.status, 413);
        }
        assert!(sandbox.captured().is_empty());
    }

    #[tokio::test]
    async fn a_token_is_refused_by_its_shape_alone() {
        let sandbox = started(small()).await;
        let of = |token: Value| {
            let event = json!({ "event": "e", "distinct_id": "d" });
            json!({ "api_key": token, "batch": [event] }).to_string()
        };

        for (token, why) in [
            (json!("phx_secret"), "personal_api_key"),
            (json!(" "), "empty"),
            (json!("é"), "not_ascii"),
            (json!("x".repeat(65)), "too_long"),
        ] {
            let reply = capture(&sandbox, "/batch/", of(token)).await;
            assert_eq!(said(&reply), (401, format!("API key is not valid: {why}")));
        }
        let none = capture(&sandbox, "/batch/", of(Value::Null)).await;
        assert_eq!(said(&none), (401, "event submitted without an api_key".to_owned()));
        let somebodys = capture(&sandbox, "/batch/", of(json!("phc_of_nobody"))).await;
        assert_eq!(said(&somebodys), (200, r#"{"status":"Ok"}"#.to_owned()));
        assert!(sandbox.captured().is_empty(), "accepted, and gone");
    }

    #[tokio::test]
    async fn a_token_may_stand_in_many_places_but_be_only_one() {
        let sandbox = started(small()).await;
        let event =
            |name: &str, token: &str| json!({ name: token, "event": name, "distinct_id": "d" });
        let inside = json!({ "event": "inside", "distinct_id": "d", "properties": { "token": PROJECT_TOKEN } });
        let outer = json!({ "$token": PROJECT_TOKEN, "batch": [event("api_key", "phc_other")] });
        let mixed = json!([event("token", PROJECT_TOKEN), event("api_key", "phc_other")]);

        for body in
            [event("api_key", PROJECT_TOKEN), json!([event("token", PROJECT_TOKEN)]), inside, outer]
        {
            assert_eq!(capture(&sandbox, "/e", body.to_string()).await.status, 200, "{body}");
        }
        let refused = capture(&sandbox, "/e", mixed.to_string()).await;

        assert_eq!(
            said(&refused),
            (401, "batch submitted with inconsistent api_key values".to_owned())
        );
        assert_eq!(names(&sandbox.captured()), ["api_key", "token", "inside", "api_key"]);
    }

    #[tokio::test]
    async fn an_empty_batch_tells_nothing_of_its_token() {
        let sandbox = started(small()).await;

        let empty = capture(&sandbox, "/batch/", batch(json!([]))).await;
        let nothing = capture(&sandbox, "/batch/", "").await;

        assert_eq!(said(&empty), (400, "request holds no event".to_owned()));
        assert_eq!(said(&nothing), (400, "request missing data payload".to_owned()));
    }

    #[tokio::test]
    async fn events_come_in_forms_and_addresses_too() {
        let sandbox = started(small()).await;
        let event =
            |name: &str| json!({ "api_key": PROJECT_TOKEN, "event": name, "distinct_id": "d" });
        let packed = |name: &str| base64::encode(event(name).to_string().as_bytes());
        let wrapped = |name: &str| {
            form_urlencoded::byte_serialize(packed(name).as_bytes()).collect::<String>()
        };

        let form = capture(&sandbox, "/e/?ip=1", format!("data={}", wrapped("form"))).await;
        let address = format!("/e/?data={}&beacon=1", wrapped("address"));
        let address = send(&sandbox, "GET", &address, "", "").await.unwrap();
        let engage = json!({ "api_key": PROJECT_TOKEN, "$distinct_id": "d", "$set": { "a": 1 } });
        let engage = capture(&sandbox, "/engage/", engage.to_string()).await;

        assert_eq!([form.status, address.status, engage.status], [200, 204, 200]);
        let captured = sandbox.captured();
        assert_eq!(names(&captured), ["form", "address", "$identify"]);
        assert_eq!(captured[2].properties["$set"], json!({ "a": 1 }));
    }

    #[tokio::test]
    async fn an_id_that_is_no_text_becomes_one_and_a_long_one_is_cut() {
        let sandbox = started(small()).await;
        let events = [json!("x".repeat(300)), json!(12.5), json!(["a"]), json!({ "a": 1 })];
        let events = events.map(|id| json!({ "event": "e", "distinct_id": id, "uuid": "" }));

        assert_eq!(capture(&sandbox, "/batch/", batch(json!(events))).await.status, 200);

        let captured = sandbox.captured();
        let ids: Vec<&str> = captured.iter().map(|one| one.distinct_id.as_str()).collect();
        assert_eq!(ids, [&"x".repeat(200), "12.5", r#"["a"]"#, r#"{"a":1}"#]);
    }

    #[tokio::test]
    async fn a_reply_that_is_lost_does_not_undo_what_was_taken() {
        let sandbox = started(small()).await;
        sandbox.fault(Fault::on("POST /batch/", FaultKind::Lost).first(1));
        let body = batch(json!([{ "event": "e", "distinct_id": "d" }]));

        let lost = send(&sandbox, "POST", "/batch/", "", &body).await;
        let again = capture(&sandbox, "/batch/", &body).await;

        assert_eq!(lost.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!((again.status, sandbox.captured().len()), (200, 2));
    }

    #[tokio::test]
    async fn a_server_of_django_drops_bad_events_without_a_word() {
        let sandbox = started(Options { old_capture: true, ..small() }).await;
        let events =
            json!([{ "event": "", "distinct_id": "d" }, { "event": "e", "distinct_id": "d" }]);

        let reply = capture(&sandbox, "/batch/", batch(events)).await;

        assert_eq!(said(&reply), (200, r#"{"status":1}"#.to_owned()));
        assert_eq!(names(&sandbox.captured()), ["e"]);
    }

    #[tokio::test]
    async fn flags_tell_whether_a_token_is_known_and_store_nothing() {
        let sandbox = started(small()).await;
        let ask = async |token: &str| {
            let body = json!({ "api_key": token, "distinct_id": "connection-check" });
            capture(&sandbox, "/flags/?v=2", body.to_string()).await
        };

        assert_eq!(ask(PROJECT_TOKEN).await.status, 200);
        assert_eq!(said(&ask("phc_of_nobody").await), (401, UNKNOWN_TOKEN.to_owned()));
        assert_eq!((sandbox.captured().len(), sandbox.capture_requests()), (0, 0));
        assert_eq!(list(&sandbox, "").await["api_token"], PROJECT_TOKEN, "a personal key is told");
        for path in ["/_liveness", "/_readiness"] {
            assert_eq!(send(&sandbox, "GET", path, "", "").await.unwrap().status, 200);
        }
    }

    #[tokio::test]
    async fn faults_of_capture_speak_plainly() {
        let sandbox = started(small()).await;
        sandbox.fault(Fault::on("/batch/", FaultKind::Throttled(Some(3))).nth(&[1]));
        sandbox.fault(Fault::on("/batch/", FaultKind::Throttled(None)).nth(&[2]));
        sandbox.fault(Fault::on("poison", FaultKind::Status(503, String::new())));
        let body = batch(json!([{ "event": "poison", "distinct_id": "d" }]));

        let [first, second, third] = [(); 3].map(|()| capture(&sandbox, "/batch/", &body));
        let (first, second, third) = (first.await, second.await, third.await);

        assert_eq!(
            (said(&first), first.headers["retry-after"].as_str()),
            ((429, "rate limited".to_owned()), "3")
        );
        assert_eq!((second.status, second.headers.get("retry-after")), (429, None));
        assert_eq!(said(&third), (503, "transient error, please retry".to_owned()));
        assert!(sandbox.captured().is_empty());
    }
}
