//! Events that go together in one request, and the request's body.
//!
//! A body says whose events they are, once, and never `sent_at`: PostHog would shift every time by
//! how long the event waited (posthog-api.md §8.5).

use super::event::Sealed;
use crate::config::secret::Secret;
use crate::http::Packed;
use crate::pack::gzip;

/// The most bytes of events in a body: PostHog's libraries send 5 MB at most, and PostHog takes 20.
const LARGEST: usize = 5_000_000 - 1024;

/// An event to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The line it stood in, or its place in the outbox.
    pub number: i64,
    /// What is sent.
    pub event: Sealed,
}

/// What a body says of all its events.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The project's token.
    pub token: Secret,
    /// Whether these are events of the past, which PostHog takes in a slower lane.
    pub historical: bool,
    /// Whether it is packed.
    pub gzip: bool,
}

impl Envelope {
    /// The body of a request with these events.
    pub fn around(&self, items: &[Item]) -> Packed {
        let events: usize = items.iter().map(|item| item.event.json.len() + 1).sum();
        let mut body = Vec::with_capacity(events + 256);
        let token = serde_json::to_string(self.token.expose()).expect("a text is JSON");
        body.extend_from_slice(b"{\"api_key\":");
        body.extend_from_slice(token.as_bytes());
        if self.historical {
            body.extend_from_slice(b",\"historical_migration\":true");
        }
        body.extend_from_slice(b",\"batch\":[");
        for (n, item) in items.iter().enumerate() {
            if n > 0 {
                body.push(b',');
            }
            body.extend_from_slice(item.event.json.as_bytes());
        }
        body.extend_from_slice(b"]}");
        match self.gzip {
            true => Packed { bytes: gzip(&body), is_gzip: true },
            false => Packed { bytes: body, is_gzip: false },
        }
    }
}

/// How many of these events, from the first, make one batch of at most `most` events; at least one.
pub fn first_batch(items: &[Item], most: usize) -> usize {
    let mut bytes = 0;
    let fits = |item: &&Item| {
        bytes += item.event.json.len() + 1;
        bytes <= LARGEST
    };
    items.iter().take(most).take_while(fits).count().max(1).min(items.len())
}

/// Whether these events fill a batch, so that no other fits.
pub fn is_full(count: usize, bytes: usize, most: usize) -> bool {
    count >= most || bytes + count >= LARGEST
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use uuid::Uuid;

    use super::*;

    fn item(json: &str) -> Item {
        let event = Sealed {
            uuid: Uuid::nil(),
            event: "e".into(),
            distinct_id: "u".into(),
            json: json.into(),
        };
        Item { number: 1, event }
    }

    fn envelope(historical: bool, gzip: bool) -> Envelope {
        Envelope { token: Secret::new("phc_of_a_batch"), historical, gzip }
    }

    #[test]
    fn a_body_names_the_token_once_and_no_time_of_sending() {
        let items = [item("{\"event\":\"a\"}"), item("{\"event\":\"b\"}")];

        let plain = envelope(false, false).around(&items);
        let packed = envelope(true, true).around(&items);

        let expected = r#"{"api_key":"phc_of_a_batch","batch":[{"event":"a"},{"event":"b"}]}"#;
        assert_eq!(String::from_utf8(plain.bytes).unwrap(), expected);
        let mut text = String::new();
        GzDecoder::new(packed.bytes.as_slice()).read_to_string(&mut text).unwrap();
        let batch = "\"historical_migration\":true,\"batch\"";
        assert_eq!(text, expected.replace("\"batch\"", batch));
        assert_eq!((plain.is_gzip, packed.is_gzip), (false, true));
    }

    #[test]
    fn a_batch_ends_at_its_count_or_its_bytes() {
        let small: Vec<Item> = (0..5).map(|_| item("{}")).collect();
        let large: Vec<Item> = (0..8).map(|_| item(&"x".repeat(900_000))).collect();

        assert_eq!(first_batch(&small, 3), 3);
        assert_eq!(first_batch(&small, 100), 5);
        assert_eq!(first_batch(&large, 100), 5);
        assert_eq!(first_batch(&[item(&"x".repeat(6_000_000))], 100), 1, "it must go somewhere");
        assert_eq!(first_batch(&[], 100), 0);
    }
}
