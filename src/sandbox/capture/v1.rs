//! The newer protocol, which answers for every event (posthog-api.md §8.8).
//!
//! What is wrong with the request refuses it in JSON; what is wrong with an event
//! drops that event and says why. An event without an id of its own, or two of one
//! id, could not be answered for: they refuse the request.

use std::collections::HashSet;
use std::io::Read;

use flate2::read::ZlibDecoder;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::clock::{self, Said};
use super::request::misshapen;
use super::{Captured, LARGEST_EVENT, size};
use crate::cursor::Timestamp;
use crate::sandbox::answer::{Answer, Question};
use crate::sandbox::data::identity;
use crate::sandbox::data::intake::Arrival;
use crate::sandbox::project::Project;
use crate::sandbox::{LARGEST_BODY, PROJECT_TOKEN};

/// The headers without which nothing is taken.
const HEADERS: [&str; 6] = [
    "content-type",
    "user-agent",
    "posthog-sdk-info",
    "posthog-attempt",
    "posthog-request-id",
    "posthog-request-timestamp",
];

/// The most characters of an event's name and of a distinct id.
const LONGEST: usize = 200;

/// What is wrong with a request.
pub(super) fn problem(status: u16, tag: &str, text: &str) -> Answer {
    let body = json!({ "error": tag, "error_description": text,
        "error_uri": "https://posthog.com/docs/api" });
    Answer::new(status, body.to_string())
}

/// Takes what events can be taken, and tells of each what became of it.
pub(super) fn answer(project: &Project, question: &Question) -> Result<Answer, Answer> {
    let (token, sent_at) = admitted(question)?;
    let batch = Batch::read(&decoded(question)?)?;
    let now = project.now();
    let said = batch.events.iter().map(|event| event.judge(&batch, (sent_at, now)));
    let said: Vec<Result<Arrival, &str>> = said.collect();

    let mut results = Map::new();
    let mut taken = Vec::new();
    for (event, said) in batch.events.iter().zip(said) {
        let outcome = match said {
            Err(why) => ("drop", Some(why)),
            Ok(_) if project.fails(event.uuid) => ("retry", Some("not_persisted")),
            Ok(_) if token != PROJECT_TOKEN => ("ok", None),
            Ok(_) if project.room() <= taken.len() => ("drop", Some("billing_limit_exceeded")),
            Ok(arrival) => {
                taken.push(arrival);
                ("ok", None)
            }
        };
        results.insert(event.uuid.to_string(), told(outcome));
    }
    project.take(taken);
    let is_unfinished = results.values().any(|told| told["result"] == json!("retry"));
    let answer = Answer::value(&json!({ "results": results }));
    Ok(if is_unfinished { answer.with("Retry-After", "1") } else { answer })
}

/// What is told of one event.
fn told((result, details): (&str, Option<&str>)) -> Value {
    match details {
        Some(details) => json!({ "result": result, "details": details }),
        None => json!({ "result": result }),
    }
}

/// The token of a request whose headers are right, and when it was sent.
fn admitted(question: &Question) -> Result<(&str, Timestamp), Answer> {
    let denied = |why: &str| problem(401, "invalid_api_token", &format!("API token: {why}"));
    let header = question.authorization.as_deref().ok_or_else(|| denied("missing"))?;
    let token = header.strip_prefix("Bearer ").unwrap_or_default().trim();
    if let Some(why) = misshapen(token) {
        return Err(denied(why));
    }
    let missing: Vec<&str> =
        HEADERS.into_iter().filter(|name| question.header(name).is_none()).collect();
    if !missing.is_empty() {
        let text = format!("request is missing required headers: {missing:?}");
        return Err(problem(400, "missing_required_headers", &text));
    }
    let header = |name: &str| question.header(name).unwrap_or_default();
    let wrong = |name: &str| {
        let text = format!("invalid header value: {name}: {}", header(name));
        problem(400, "invalid_header_value", &text)
    };
    if !header("content-type").to_ascii_lowercase().starts_with("application/json") {
        let text = format!("unsupported content type: {}", header("content-type"));
        return Err(problem(415, "unsupported_content_type", &text));
    }
    if Uuid::parse_str(header("posthog-request-id")).is_err() {
        return Err(wrong("posthog-request-id"));
    }
    if !header("posthog-attempt").parse::<u32>().is_ok_and(|attempt| attempt >= 1) {
        return Err(wrong("posthog-attempt"));
    }
    let sent_at = strict(header("posthog-request-timestamp"));
    Ok((token, sent_at.ok_or_else(|| wrong("posthog-request-timestamp"))?))
}

/// The body, decompressed as its header says.
fn decoded(question: &Question) -> Result<Vec<u8>, Answer> {
    let bytes = question.body.as_slice();
    let is_inflated = question.size != bytes.len();
    let mut plain = Vec::new();
    let most = LARGEST_BODY as u64 + 1;
    let read = match question.header("content-encoding").unwrap_or("identity") {
        // Gzip is decompressed already, as of any request to capture.
        "identity" if !is_inflated => bytes.take(most).read_to_end(&mut plain),
        "gzip" if is_inflated => bytes.take(most).read_to_end(&mut plain),
        "identity" | "gzip" => Err(std::io::ErrorKind::InvalidData.into()),
        "deflate" => ZlibDecoder::new(bytes).take(most).read_to_end(&mut plain),
        "zstd" => {
            zstd::Decoder::new(bytes).and_then(|decoder| decoder.take(most).read_to_end(&mut plain))
        }
        // Brotli is left out: nothing here could write it either.
        other => {
            let text = format!("unsupported content encoding: {other}");
            return Err(problem(415, "unsupported_encoding", &text));
        }
    };
    if read.is_err() {
        let text = "Failed to decode request body.";
        return Err(problem(400, "request_decoding_error", text));
    }
    if question.size > LARGEST_BODY || plain.len() > LARGEST_BODY {
        return Err(problem(413, "payload_too_large", "payload too large"));
    }
    Ok(plain)
}

/// A time as RFC 3339 writes it, zone included.
fn strict(text: &str) -> Option<Timestamp> {
    let at = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Some(Timestamp::from_micros(at.timestamp_micros()))
}

/// A batch whose events can be told apart.
struct Batch {
    events: Vec<Event>,
    historical: bool,
}

/// One event of it, not yet judged.
struct Event {
    uuid: Uuid,
    raw: Value,
}

impl Batch {
    fn read(body: &[u8]) -> Result<Self, Answer> {
        let unread = || problem(400, "request_parsing_error", "Failed to parse request body.");
        if body.is_empty() {
            return Err(problem(400, "empty_body", "request body is empty"));
        }
        let body: Value = serde_json::from_slice(body).map_err(|_| unread())?;
        let raws = body["batch"].as_array().filter(|_| body["created_at"].is_string());
        let raws = raws.ok_or_else(unread)?;
        if raws.is_empty() {
            return Err(problem(400, "empty_batch", "request batch is empty"));
        }
        let mut seen = HashSet::new();
        let mut events = Vec::new();
        for raw in raws {
            let texts = ["event", "uuid", "distinct_id", "timestamp"];
            if !texts.iter().all(|name| raw[*name].is_string()) {
                return Err(unread());
            }
            let text = raw["uuid"].as_str().unwrap_or_default().trim();
            let uuid = Uuid::parse_str(text).map_err(|_| {
                problem(400, "missing_event_uuid", "event submitted without a uuid")
            })?;
            if !seen.insert(uuid) {
                let text = format!("duplicate event uuid: {uuid}");
                return Err(problem(400, "duplicate_event_uuid", &text));
            }
            events.push(Event { uuid, raw: raw.clone() });
        }
        Ok(Self { events, historical: body["historical_migration"] == json!(true) })
    }
}

impl Event {
    /// The event as it is stored, or why it is dropped.
    fn judge(
        &self,
        batch: &Batch,
        (sent_at, now): (Timestamp, Timestamp),
    ) -> Result<Arrival, &'static str> {
        let text = |name: &str| self.raw[name].as_str().unwrap_or_default();
        let (event, distinct_id) = (text("event"), text("distinct_id").trim());
        match (event, distinct_id) {
            ("", _) => return Err("missing_event_name"),
            (name, _) if name.chars().count() > LONGEST => return Err("event_name_too_long"),
            (_, "") => return Err("missing_distinct_id"),
            (_, id) if id.chars().count() > LONGEST => return Err("distinct_id_too_large"),
            (_, id) if identity::is_illegal(id) => return Err("malformed_distinct_id"),
            _ => {}
        }
        let is_exact = self.option("disable_skew_correction")?;
        let properties = self.properties()?;
        strict(text("timestamp")).ok_or("invalid_event_timestamp")?;
        let sent_at = (is_exact != Some(true)).then_some(sent_at);
        let said = Said { timestamp: Some(text("timestamp")), offset: None, sent_at };
        let (timestamp, is_time_unread) = clock::happened(said, now);
        let event = Captured {
            uuid: self.uuid,
            event: event.to_owned(),
            distinct_id: distinct_id.to_owned(),
            timestamp,
            properties,
            historical: batch.historical,
        };
        if size(&event) > LARGEST_EVENT {
            return Err("event_too_big");
        }
        Ok(Arrival { event, is_time_unread })
    }

    /// A switch among the options.
    fn option(&self, name: &str) -> Result<Option<bool>, &'static str> {
        match &self.raw["options"] {
            Value::Null => Ok(None),
            Value::Object(options) => match options.get(name) {
                None | Some(Value::Null) => Ok(None),
                Some(Value::Bool(is_on)) => Ok(Some(*is_on)),
                Some(_) => Err("invalid_options"),
            },
            _ => Err("invalid_options"),
        }
    }

    /// The properties, with what stands beside them put under the names it is stored by.
    fn properties(&self) -> Result<Map<String, Value>, &'static str> {
        let mut properties = match self.raw.get("properties") {
            None => Map::new(),
            Some(Value::Object(properties)) => properties.clone(),
            Some(_) => return Err("malformed_event_properties"),
        };
        for name in ["session_id", "window_id"] {
            if let Some(id) = self.raw[name].as_str() {
                properties.insert(format!("${name}"), json!(id));
            }
        }
        for name in ["process_person_profile", "cookieless_mode"] {
            if let Some(is_on) = self.option(name)? {
                properties.insert(format!("${name}"), json!(is_on));
            }
        }
        Ok(properties)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;
    use crate::sandbox::client::{Reply, send, small, started};
    use crate::sandbox::{Options, Sandbox};

    const PATH: &str = "/i/v1/analytics/events";

    /// The headers that a library sends, with a token.
    fn headers(token: &str) -> String {
        format!(
            "Authorization: Bearer {token}\r\nContent-Type: application/json\r\nUser-Agent: tests\r\n\
             PostHog-Sdk-Info: tests/1\r\nPostHog-Attempt: 1\r\n\
             PostHog-Request-Id: 01900000-0000-7000-8000-000000000009\r\n\
             PostHog-Request-Timestamp: 2026-11-21T06:18:25Z\r\n"
        )
    }

    fn event(number: u32) -> Value {
        json!({ "event": "e", "uuid": uuid(number), "distinct_id": "ada", "options": {},
            "timestamp": "2026-11-20T00:00:00Z", "properties": {} })
    }

    fn uuid(number: u32) -> String {
        format!("01900000-0000-7000-8000-{number:012}")
    }

    fn batch(events: Value) -> String {
        json!({ "created_at": "2026-11-21T06:18:25Z", "batch": events }).to_string()
    }

    async fn post(sandbox: &Sandbox, body: impl AsRef<[u8]>) -> Reply {
        send(sandbox, "POST", PATH, &headers(PROJECT_TOKEN), body).await.unwrap()
    }

    fn tag(reply: &Reply) -> (u16, String) {
        (reply.status, reply.json()["error"].as_str().unwrap_or_default().to_owned())
    }

    #[tokio::test]
    async fn every_event_has_a_result_and_a_bad_one_harms_no_other() {
        let sandbox = started(small()).await;
        let changed = |number: u32, name: &str, value: Value| {
            let mut event = event(number);
            event[name] = value;
            event
        };
        let wrong = [
            ("event", json!(""), "missing_event_name"),
            ("event", json!("x".repeat(201)), "event_name_too_long"),
            ("distinct_id", json!(" "), "missing_distinct_id"),
            ("distinct_id", json!("x".repeat(201)), "distinct_id_too_large"),
            ("distinct_id", json!("guest"), "malformed_distinct_id"),
            ("timestamp", json!("2026-11-20 00:00:00"), "invalid_event_timestamp"),
            ("properties", json!([]), "malformed_event_properties"),
            ("options", json!({ "process_person_profile": [] }), "invalid_options"),
        ];
        let mut events = vec![event(100)];
        for (number, (name, value, _)) in (0..).zip(wrong.clone()) {
            events.push(changed(number, name, value));
        }

        let reply = post(&sandbox, batch(json!(events))).await;

        assert_eq!(reply.status, 200);
        let results = reply.json()["results"].clone();
        assert_eq!(results[uuid(100)], json!({ "result": "ok" }));
        for (number, (_, _, details)) in (0..).zip(wrong) {
            let told = json!({ "result": "drop", "details": details });
            assert_eq!(results[uuid(number)], told);
        }
        assert_eq!(sandbox.captured().len(), 1);
    }

    #[tokio::test]
    async fn what_was_not_persisted_may_come_again() {
        let sandbox = started(small()).await;
        sandbox.fail_once(&[uuid(2).parse().unwrap()]);

        let first = post(&sandbox, batch(json!([event(1), event(2)]))).await;
        let second = post(&sandbox, batch(json!([event(2)]))).await;

        let told = json!({ "result": "retry", "details": "not_persisted" });
        assert_eq!(first.json()["results"][uuid(2)], told);
        assert_eq!((first.status, first.headers["retry-after"].as_str()), (200, "1"));
        assert_eq!(second.json()["results"][uuid(2)], json!({ "result": "ok" }));
        assert_eq!(sandbox.captured().len(), 2);
    }

    #[tokio::test]
    async fn beyond_the_plan_events_are_dropped_aloud() {
        let sandbox = started(Options { event_quota: Some(1), ..small() }).await;

        let reply = post(&sandbox, batch(json!([event(1), event(2)]))).await;

        let told = json!({ "result": "drop", "details": "billing_limit_exceeded" });
        assert_eq!(reply.json()["results"][uuid(2)], told);
    }

    #[tokio::test]
    async fn what_is_wrong_with_the_request_is_told_in_json() {
        let sandbox = started(small()).await;
        let ask = async |headers: &str, body: &str| {
            tag(&send(&sandbox, "POST", PATH, headers, body).await.unwrap())
        };
        let good = headers(PROJECT_TOKEN);
        let body = batch(json!([event(1)]));
        let invalid = (401, "invalid_api_token".to_owned());

        assert_eq!(ask("", &body).await, invalid);
        assert_eq!(ask(&headers("phx_key"), &body).await, invalid);
        let few = good.replace("PostHog-Attempt: 1\r\n", "");
        assert_eq!(ask(&few, &body).await, (400, "missing_required_headers".to_owned()));
        let zeroth = good.replace("Attempt: 1", "Attempt: 0");
        assert_eq!(ask(&zeroth, &body).await, (400, "invalid_header_value".to_owned()));
        let text = good.replace("application/json", "text/plain");
        assert_eq!(ask(&text, &body).await, (415, "unsupported_content_type".to_owned()));
        let brotli = format!("{good}Content-Encoding: br\r\n");
        assert_eq!(ask(&brotli, &body).await, (415, "unsupported_encoding".to_owned()));
        assert_eq!(ask(&good, "").await, (400, "empty_body".to_owned()));
        assert_eq!(ask(&good, &batch(json!([]))).await, (400, "empty_batch".to_owned()));
        let twice = batch(json!([event(1), event(1)]));
        assert_eq!(ask(&good, &twice).await, (400, "duplicate_event_uuid".to_owned()));
        let nameless = body.replace(&uuid(1), "msg-1");
        assert_eq!(ask(&good, &nameless).await, (400, "missing_event_uuid".to_owned()));
        assert!(sandbox.captured().is_empty());
    }

    #[tokio::test]
    async fn bodies_are_packed_as_their_header_says() {
        let sandbox = started(small()).await;
        let body = batch(json!([event(1)]));
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(body.as_bytes()).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(body.as_bytes()).unwrap();
        let packed = [
            ("gzip", gzip.finish().unwrap()),
            ("deflate", zlib.finish().unwrap()),
            ("zstd", zstd::encode_all(body.as_bytes(), 0).unwrap()),
        ];

        for (name, bytes) in packed {
            let headers = format!("{}Content-Encoding: {name}\r\n", headers(PROJECT_TOKEN));
            let reply = send(&sandbox, "POST", PATH, &headers, &bytes).await.unwrap();
            assert_eq!(reply.status, 200, "{name}");
            let half = send(&sandbox, "POST", PATH, &headers, &bytes[..bytes.len() / 2]).await;
            assert_eq!(tag(&half.unwrap()), (400, "request_decoding_error".to_owned()), "{name}");
        }
        assert_eq!(sandbox.captured().len(), 3);
    }

    #[tokio::test]
    async fn what_stands_beside_the_properties_is_stored_among_them() {
        let sandbox = started(small()).await;
        let mut event = event(1);
        event["session_id"] = json!("s");
        event["options"] =
            json!({ "process_person_profile": false, "disable_skew_correction": true });

        post(&sandbox, batch(json!([event]))).await;

        let stored = json!({ "$session_id": "s", "$process_person_profile": false });
        assert_eq!(json!(sandbox.captured()[0].properties), stored);
    }

    #[tokio::test]
    async fn a_server_of_django_has_no_such_protocol() {
        let sandbox = started(Options { old_capture: true, ..small() }).await;

        assert_eq!(post(&sandbox, batch(json!([event(1)]))).await.status, 404);
    }
}
