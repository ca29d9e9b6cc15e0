//! From a request's bytes to its messages.
//!
//! What a body is its bytes tell: SDKs send JSON that is packed or not, and call it text, a form or
//! JSON as they like. A body is never larger than [`LARGEST`], neither as it came nor unpacked: what
//! would become larger is given up while it is unpacked. Of the messages no more is read here than
//! where each begins and ends; one that is broken inside costs itself alone.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::answer::Refusal;
use crate::pack::unpack_within;
use crate::send::mapping::Envelope;

/// The most bytes of a request, unpacked: RudderStack's figure. Segment takes less.
pub(super) const LARGEST: usize = 4000 * 1024;

/// A body that is too large is read on for so many bytes: a sender that is still writing would
/// otherwise not hear why it is refused.
const HEARD_OUT: usize = 4 * LARGEST;

/// How long a body may take to come.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What a request says.
#[derive(Debug)]
pub(super) struct Said<'b> {
    /// The write key that the body names.
    pub(super) write_key: Option<String>,
    /// What it says for all its messages.
    pub(super) envelope: Envelope,
    /// The messages, each as it was written.
    pub(super) messages: Vec<&'b RawValue>,
}

/// The bytes of a body, once all of them are here.
pub(super) async fn received(body: Body, patience: Duration) -> Result<Vec<u8>, Refusal> {
    match tokio::time::timeout(patience, gathered(body)).await {
        Ok(gathered) => gathered,
        Err(_) => Err(Refusal::TooSlow),
    }
}

async fn gathered(mut body: Body) -> Result<Vec<u8>, Refusal> {
    let (mut bytes, mut count) = (Vec::new(), 0);
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|err| Refusal::BrokenOff(err.to_string()))?;
        let Ok(piece) = frame.into_data() else { continue };
        count += piece.len();
        if count <= LARGEST {
            bytes.extend_from_slice(&piece);
        } else if count > HEARD_OUT {
            break;
        }
    }
    if count > LARGEST { Err(Refusal::TooLarge) } else { Ok(bytes) }
}

/// The text of a body, however it is packed.
pub(super) fn unpacked(bytes: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    let unpacked = unpack_within(bytes, LARGEST);
    let mut text =
        unpacked.map_err(|err| Refusal::BadPacking(err.to_string()))?.ok_or(Refusal::TooLarge)?;
    if text.starts_with(b"\xef\xbb\xbf") {
        text.drain(..3);
    }
    if text.trim_ascii().is_empty() { Err(Refusal::NoBody) } else { Ok(text) }
}

/// Reads a body that is one message.
pub(super) fn one(text: &[u8]) -> Result<Said<'_>, Refusal> {
    let fields = fields(text)?;
    let message = serde_json::from_slice(text).map_err(|err| not_json(&err))?;
    let write_key = write_key(&fields);
    Ok(Said { write_key, envelope: Envelope::default(), messages: vec![message] })
}

/// Reads a body that is a batch: `{ batch: […], context, integrations, sentAt, writeKey }`.
pub(super) fn many(text: &[u8]) -> Result<Said<'_>, Refusal> {
    let fields = fields(text)?;
    let Some(batch) = fields.get("batch") else {
        return Err(Refusal::WrongShape("`batch` is missing: it lists the messages".to_owned()));
    };
    let messages: Vec<&RawValue> = serde_json::from_str(batch.get())
        .map_err(|_| Refusal::WrongShape("`batch` is no list of messages".to_owned()))?;
    if messages.is_empty() {
        return Err(Refusal::EmptyBatch);
    }
    let mut common = Map::new();
    for name in ["context", "integrations", "sentAt"] {
        if let Some(value) = fields.get(name) {
            let value = serde_json::from_str(value.get()).map_err(|err| not_json(&err))?;
            common.insert(name.to_owned(), value);
        }
    }
    let envelope = Envelope::read(&common).map_err(|err| Refusal::WrongShape(err.to_string()))?;
    Ok(Said { write_key: write_key(&fields), envelope, messages })
}

fn fields(text: &[u8]) -> Result<HashMap<String, &RawValue>, Refusal> {
    // Whether all of it is JSON comes first: no list is an object, broken or not.
    let whole: &RawValue = serde_json::from_slice(text).map_err(|err| not_json(&err))?;
    serde_json::from_str(whole.get())
        .map_err(|_| Refusal::WrongShape("the body is no JSON object".to_owned()))
}

fn not_json(err: &serde_json::Error) -> Refusal {
    Refusal::NotJson(format!("the body is no JSON: {err}"))
}

fn write_key(fields: &HashMap<String, &RawValue>) -> Option<String> {
    let key: Value = serde_json::from_str(fields.get("writeKey")?.get()).ok()?;
    key.as_str().map(|key| key.trim().to_owned()).filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;
    use crate::pack::gzip;

    /// What the messages of a batch say, as texts.
    fn texts(body: &str) -> Vec<String> {
        let said = many(body.as_bytes()).unwrap();
        said.messages.iter().map(|message| message.get().to_owned()).collect()
    }

    #[test]
    fn a_body_is_what_its_bytes_say() {
        let text = br#"{"batch":[]}"#;
        let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
        zstd.write_all(text).unwrap();
        let with_mark = [b"\xef\xbb\xbf", text.as_slice()].concat();

        for bytes in [text.to_vec(), gzip(text), zstd.finish().unwrap(), with_mark] {
            assert_eq!(unpacked(bytes), Ok(text.to_vec()));
        }
    }

    #[test]
    fn what_unpacks_to_more_than_is_taken_is_given_up_on_the_way() {
        let whole = gzip(&vec![b' '; LARGEST + 1]);
        let bomb = gzip(&vec![b' '; 16 * LARGEST]);
        assert!(whole.len() < 40_000 && bomb.len() < LARGEST);

        assert_eq!(unpacked(whole), Err(Refusal::TooLarge));
        assert_eq!(unpacked(bomb), Err(Refusal::TooLarge));
        assert_eq!(unpacked(vec![b'1'; LARGEST + 1]), Err(Refusal::TooLarge));
        assert_eq!(unpacked(vec![b'1'; LARGEST]).map(|text| text.len()), Ok(LARGEST));
    }

    #[test]
    fn half_of_what_was_packed_is_not_taken_for_all() {
        let packed = gzip(&b"{\"batch\":[]} ".repeat(1000));

        let half = unpacked(packed[..packed.len() / 2].to_vec());

        assert!(matches!(half, Err(Refusal::BadPacking(_))), "{half:?}");
        for nothing in [Vec::new(), b" \n".to_vec(), gzip(b"")] {
            assert_eq!(unpacked(nothing), Err(Refusal::NoBody));
        }
    }

    #[test]
    fn a_batch_is_its_messages_and_what_it_says_for_all() {
        let body = r#"{ "sentAt": "2026-11-27T12:00:00Z", "writeKey": " wk_web ", "timestamp": 1,
            "batch": [ {"type":"track", "n": 1.50}, 7, {"\ud83d": 1} ], "context": {"ip": "1.2.3.4"} }"#;

        let said = many(body.as_bytes()).unwrap();

        assert_eq!(said.write_key.as_deref(), Some("wk_web"));
        let mut message = Map::new();
        said.envelope.complete(&mut message);
        let expected = r#"{"context":{"ip":"1.2.3.4"},"sentAt":"2026-11-27T12:00:00Z"}"#;
        assert_eq!(Value::Object(message).to_string(), expected);
        // Half a character costs its message, not the batch.
        assert_eq!(texts(body), [r#"{"type":"track", "n": 1.50}"#, "7", r#"{"\ud83d": 1}"#]);
    }

    #[test]
    fn a_single_message_is_the_body_itself() {
        let body = br#"{"userId":"u1","writeKey":"wk_web"}"#;

        let said = one(body).unwrap();

        assert_eq!(said.write_key.as_deref(), Some("wk_web"));
        assert_eq!(said.messages[0].get().as_bytes(), body);
        assert_eq!(one(br#"{"writeKey":7}"#).unwrap().write_key, None);
    }

    #[test]
    fn what_is_no_batch_is_told() {
        let not_json = |what: &str| Refusal::NotJson(format!("the body is no JSON: {what}"));
        let wrong = |what: &str| Refusal::WrongShape(what.to_owned());
        for (body, expected) in [
            ("{\"batch\":[", not_json("EOF while parsing a list at line 1 column 10")),
            ("batch", not_json("expected value at line 1 column 1")),
            ("{\"batch\":[]} x", not_json("trailing characters at line 1 column 14")),
            ("[1]", wrong("the body is no JSON object")),
            ("{}", wrong("`batch` is missing: it lists the messages")),
            ("{\"batch\":{}}", wrong("`batch` is no list of messages")),
            ("{\"batch\":[]}", Refusal::EmptyBatch),
            (
                "{\"batch\":[1],\"context\":7}",
                wrong("`context` is a number: an object was expected"),
            ),
        ] {
            assert_eq!(many(body.as_bytes()).map(drop), Err(expected), "{body}");
        }
        assert!(matches!(many(b"\xff"), Err(Refusal::NotJson(_))));
        assert!(matches!(one(b"[]"), Err(Refusal::WrongShape(_))));
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_not_kept() {
        let of = |bytes: Vec<u8>| received(Body::from(bytes), PATIENCE);

        assert_eq!(of(b"{}".to_vec()).await, Ok(b"{}".to_vec()));
        assert_eq!(of(vec![b' '; LARGEST + 1]).await, Err(Refusal::TooLarge));
        assert_eq!(of(vec![b' '; LARGEST]).await.unwrap().len(), LARGEST);
    }

    /// A body of which nothing comes.
    struct Stuck;

    impl HttpBody for Stuck {
        type Data = axum::body::Bytes;
        type Error = axum::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for_for_ever() {
        let patience = Duration::from_millis(1);

        assert_eq!(received(Body::new(Stuck), patience).await, Err(Refusal::TooSlow));
    }
}
