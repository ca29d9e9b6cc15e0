//! The capture endpoints: what PostHog does with an event before it says 200.
//!
//! The shape of a request is all that is looked at here, and all that its answer
//! tells: a token that belongs to nobody is answered like the project's, and its
//! events are gone (posthog-api.md §8). What becomes of an event afterwards is
//! `data`'s business, and no sender hears of it.

mod body;
mod clock;
mod request;

use serde_json::{Map, Value, json};
use uuid::Uuid;

pub(super) use self::body::inflated;
use super::answer::{Answer, Question};
use super::project::Project;
use super::{LARGEST_BODY, PROJECT_TOKEN};
use crate::cursor::Timestamp;

/// The most bytes of JSON that one event may have.
pub(super) const LARGEST_EVENT: usize = 1_000_000;

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
    PATHS.contains(&path.trim_matches('/'))
}

/// Answers what is sent to capture, or nothing where the path is not its own.
pub(super) fn answer(project: &Project, question: &Question) -> Option<Result<Answer, Answer>> {
    match question.path.trim_matches('/') {
        "" => Some(Ok(Answer::plain(200, "capture"))),
        "_liveness" | "_readiness" => Some(Ok(Answer::plain(200, "ok"))),
        path if PATHS.contains(&path) => Some(v0(project, question)),
        _ => None,
    }
}

/// Takes events as most libraries send them: all of a request, or nothing.
fn v0(project: &Project, question: &Question) -> Result<Answer, Answer> {
    if question.size > LARGEST_BODY || question.body.len() > LARGEST_BODY {
        return Err(Answer::plain(413, "length limit exceeded"));
    }
    let text = body::text(question)?;
    let sent = request::read(&text, question, project.now())?;
    if sent.token == PROJECT_TOKEN {
        let is_too_large = |one: &Captured| size(one) > LARGEST_EVENT;
        // Those before the one that is too large are on their way already.
        let whole = sent.events.iter().position(is_too_large).unwrap_or(sent.events.len());
        let is_cut = whole < sent.events.len();
        project.take(sent.events.into_iter().take(whole).collect());
        if is_cut {
            return Err(Answer::plain(413, "maximum event size exceeded: message too large"));
        }
    }
    Ok(match question.is_on("beacon") {
        true => Answer::plain(204, ""),
        false => Answer::value(&json!({ "status": "Ok" })),
    })
}

/// The bytes of JSON that an event has.
fn size(one: &Captured) -> usize {
    let properties = Value::Object(one.properties.clone()).to_string();
    properties.len() + one.event.len() + one.distinct_id.len()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::sandbox::client::{Reply, capture, send, small, started};

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
}
