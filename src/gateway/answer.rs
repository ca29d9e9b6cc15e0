//! What callers are told: taken, or why not.
//!
//! Every answer is JSON. A refusal has `success`, `code` and `message`, all of them always: an SDK
//! that misses one of them breaks and sends again what can never be taken. 4xx says that it can
//! never be; 429 and 503 that it can, later, and then they say when.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};

use super::body::LARGEST;

/// In how many seconds a caller may come again when there is no room.
const WHEN_THERE_IS_ROOM: u32 = 5;

/// In how many seconds a caller may come again when this process will be gone.
const WHEN_ANOTHER_RUNS: u32 = 2;

/// A message of a batch that did not become an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rejected {
    /// Its place in the batch, from 0.
    pub(super) index: usize,
    /// The id it has, if any.
    pub(super) message_id: Option<String>,
    /// A word for why.
    pub(super) code: String,
    /// Why, and what would be right.
    pub(super) reason: String,
}

/// Why a request is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is nothing at this path.
    NotFound,
    /// The path takes another method.
    WrongMethod { allowed: &'static str },
    /// It names no write key.
    NoWriteKey,
    /// Its write key is none of ours.
    UnknownWriteKey,
    /// It did not come whole.
    BrokenOff(String),
    /// It did not come in time.
    TooSlow,
    /// It is too large, as it came or unpacked.
    TooLarge,
    /// It has no body.
    NoBody,
    /// It is packed wrongly.
    BadPacking(String),
    /// It is no JSON.
    NotJson(String),
    /// It is JSON, but not of the form of a call.
    WrongShape(String),
    /// It is a batch of no messages.
    EmptyBatch,
    /// Its one message does not become an event.
    Rejected(Rejected),
    /// The outbox is full.
    OutboxFull,
    /// The outbox cannot be written.
    OutboxUnusable,
    /// The process was asked to stop.
    Stopping,
}

impl Refusal {
    /// The status, the word for it, and the same for people.
    fn told(&self) -> (StatusCode, &str, String) {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        const NOBODY: StatusCode = StatusCode::UNAUTHORIZED;
        const LATER: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        let said = |status, code, message: &str| (status, code, message.to_owned());
        match self {
            Self::NotFound => said(
                StatusCode::NOT_FOUND,
                "not_found",
                "there is nothing at this path: calls go to /v1/track, /v1/batch and the like",
            ),
            Self::WrongMethod { allowed } => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                format!("this path takes {allowed}"),
            ),
            Self::NoWriteKey => said(
                NOBODY,
                "write_key_missing",
                "send the write key as the user of basic authentication, its password empty, or as \
                 `writeKey` in the body",
            ),
            Self::UnknownWriteKey => {
                said(NOBODY, "write_key_unknown", "the write key is none that this gateway takes")
            }
            Self::BrokenOff(what) => (BAD, "body_broken_off", what.clone()),
            Self::TooSlow => said(
                StatusCode::REQUEST_TIMEOUT,
                "body_too_slow",
                "the body did not come whole in time",
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "request_too_large",
                format!("a request has {LARGEST} bytes at most, unpacked: send fewer messages"),
            ),
            Self::NoBody => said(BAD, "body_missing", "the request has no body"),
            Self::BadPacking(what) => {
                (BAD, "bad_compression", format!("the body cannot be unpacked: {what}"))
            }
            Self::NotJson(what) => (BAD, "invalid_json", what.clone()),
            Self::WrongShape(what) => (BAD, "wrong_shape", what.clone()),
            Self::EmptyBatch => said(BAD, "empty_batch", "`batch` has no messages"),
            Self::Rejected(rejected) => (BAD, &rejected.code, rejected.reason.clone()),
            Self::OutboxFull => said(
                StatusCode::TOO_MANY_REQUESTS,
                "outbox_full",
                "PostHog has not taken enough yet of what waits: send again later",
            ),
            Self::OutboxUnusable => {
                said(LATER, "outbox_unusable", "nothing can be kept now: send again later")
            }
            Self::Stopping => said(LATER, "stopping", "this gateway stops: send again"),
        }
    }

    /// In how many seconds it is worth another try.
    fn retry_after(&self) -> Option<u32> {
        match self {
            Self::OutboxFull | Self::OutboxUnusable => Some(WHEN_THERE_IS_ROOM),
            Self::Stopping => Some(WHEN_ANOTHER_RUNS),
            _ => None,
        }
    }

    /// The refusal as a response.
    pub(super) fn response(&self) -> Response {
        let (status, code, message) = self.told();
        let body = json!({ "success": false, "code": code, "message": message });
        let mut response = json_response(status, &body);
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        match self {
            Self::WrongMethod { allowed } => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
            }
            // The rest of the body stays unread: nothing else can follow it.
            Self::TooLarge | Self::TooSlow | Self::BrokenOff(_) => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

/// Tells that a request was taken, and which of its messages were not.
pub(super) fn taken(rejected: &[Rejected]) -> Response {
    match rejected {
        [] => json_response(StatusCode::OK, &json!({ "success": true })),
        some => json_response(StatusCode::OK, &json!({ "success": true, "rejected": some })),
    }
}

/// A JSON response.
pub(super) fn json_response(status: StatusCode, body: &Value) -> Response {
    text_response(status, "application/json", body.to_string())
}

/// A response of any kind of text.
pub(super) fn text_response(status: StatusCode, kind: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected() -> Rejected {
        Rejected {
            index: 0,
            message_id: None,
            code: "event_missing".to_owned(),
            reason: "`event` is missing".to_owned(),
        }
    }

    #[tokio::test]
    async fn every_refusal_has_the_words_that_sdks_look_for() {
        let text = || "so".to_owned();
        for (refusal, status, retry_after) in [
            (Refusal::NotFound, 404, None),
            (Refusal::WrongMethod { allowed: "POST" }, 405, None),
            (Refusal::NoWriteKey, 401, None),
            (Refusal::UnknownWriteKey, 401, None),
            (Refusal::BrokenOff(text()), 400, None),
            (Refusal::TooSlow, 408, None),
            (Refusal::TooLarge, 413, None),
            (Refusal::NoBody, 400, None),
            (Refusal::BadPacking(text()), 400, None),
            (Refusal::NotJson(text()), 400, None),
            (Refusal::WrongShape(text()), 400, None),
            (Refusal::EmptyBatch, 400, None),
            (Refusal::Rejected(rejected()), 400, None),
            (Refusal::OutboxFull, 429, Some("5")),
            (Refusal::OutboxUnusable, 503, Some("5")),
            (Refusal::Stopping, 503, Some("2")),
        ] {
            let response = refusal.response();

            assert_eq!(response.status(), status, "{refusal:?}");
            let header = response.headers().get(header::RETRY_AFTER);
            assert_eq!(header.map(|value| value.to_str().unwrap()), retry_after, "{refusal:?}");
            let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["success"], false, "{refusal:?}");
            let is_text = |name: &str| body[name].as_str().is_some_and(|text| !text.is_empty());
            assert!(is_text("code") && is_text("message"), "{body}");
        }
    }

    #[tokio::test]
    async fn a_batch_that_was_taken_tells_what_was_not() {
        let whole = axum::body::to_bytes(taken(&[]).into_body(), 4096).await.unwrap();
        let partly = axum::body::to_bytes(taken(&[rejected()]).into_body(), 4096).await.unwrap();

        assert_eq!(&*whole, br#"{"success":true}"#);
        let expected = json!({
            "success": true,
            "rejected": [{
                "index": 0, "messageId": null, "code": "event_missing", "reason": "`event` is missing",
            }],
        });
        assert_eq!(serde_json::from_slice::<Value>(&partly).unwrap(), expected);
    }
}
