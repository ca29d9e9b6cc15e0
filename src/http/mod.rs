//! Asking PostHog, politely: one client, one judge of answers, one waiting loop.
//!
//! A [`Request`] is a path and a query; the origin belongs to the [`Client`], so
//! nothing an answer says can send the key elsewhere. [`Client::ask`] spends the
//! quota (`quota`), keeps to the pace (`rate_limit`), sends, lets `verdict`
//! judge the answer, waits as `retry` says, and pours the body into an
//! [`Intake`] while it arrives. What it cannot mend is an [`AskError`].
//!
//! Sending is simpler: [`Capture::post`] spends no quota and keeps no pace, since PostHog's capture
//! has neither; the answer is a status and a few words.
//!
//! This module never reads a row, follows a `next` link or knows a stream. It
//! repeats requests freely: whoever sends something that must not happen twice
//! has to make it safe to repeat.

mod capture;
mod client;
mod clock;
mod error;
mod json;
mod quota;
mod rate_limit;
mod refusal;
mod retry;
#[cfg(test)]
mod tests;
mod verdict;
mod webhook;
mod window;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

pub use capture::{Answered, Capture, CaptureSettings, Packed};
pub use client::{Begun, Client, Settings, left_of_all};
pub use error::{AskError, ClientError};
pub use quota::Left;
pub use webhook::Webhook;

use crate::cursor::Timestamp;

/// How a question is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Everything in the path and the query.
    Get,
    /// With a JSON body.
    Post,
}

impl Method {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// One question: a path and a query, never a host.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// How it is put.
    pub method: Method,
    /// From the root, as `/api/projects/7/events/`.
    pub path: String,
    /// Parameters in the order they are sent, not yet encoded.
    pub query: Vec<(String, String)>,
    /// What a POST carries.
    pub body: Option<Value>,
    /// The quota counters it spends, as `clickhouse`.
    pub counters: Vec<String>,
}

impl Request {
    /// A question that is all path and query.
    pub fn get(path: impl Into<String>, counters: &[String]) -> Self {
        Self {
            method: Method::Get,
            path: path.into(),
            query: Vec::new(),
            body: None,
            counters: counters.to_vec(),
        }
    }

    /// A question with a JSON body.
    pub fn post(path: impl Into<String>, body: Value, counters: &[String]) -> Self {
        Self { method: Method::Post, body: Some(body), ..Self::get(path, counters) }
    }

    /// The same question with one more parameter.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }
}

/// Where an answer's body goes as it arrives.
///
/// [`Client::ask`] calls `restart` before every attempt, then `take` for each
/// piece of a good answer's body, uncompressed and in order, then `finish` once.
/// After a fault it begins again with `restart`.
pub trait Intake: Send {
    /// Forgets what an earlier, broken answer brought.
    fn restart(&mut self) -> impl Future<Output = Result<(), Stopped>> + Send;

    /// Takes the next piece. May wait: nothing more is read from the network
    /// until it returns, and the time does not count against any timeout.
    fn take(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), BadBody>> + Send;

    /// Hears that the body is complete; refuses one that is not the whole JSON expected.
    fn finish(&mut self) -> impl Future<Output = Result<(), BadBody>> + Send;
}

/// The receiver of an answer is gone; nobody wants the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody waits for the answer any more")]
pub struct Stopped;

/// Takes any answer and keeps nothing: for questions whose status is the answer.
#[derive(Debug, Clone, Copy)]
pub struct Discard;

impl Intake for Discard {
    async fn restart(&mut self) -> Result<(), Stopped> {
        Ok(())
    }

    async fn take(&mut self, _: &[u8]) -> Result<(), BadBody> {
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), BadBody> {
        Ok(())
    }
}

/// Why an [`Intake`] takes no more of a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// It is not the JSON asked for; says where it went wrong.
    #[error("{0}")]
    NotJson(String),
    /// It holds more than can be kept at once; says how much that is.
    #[error("{0}")]
    TooMuch(String),
    /// The receiver is gone.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// What an accepted answer says besides its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The server's time, from the `Date` header; whole seconds.
    pub date: Option<Timestamp>,
}

/// Counts what asking costs a stream; one a stream, read while it runs.
#[derive(Debug, Default)]
pub struct Meter {
    requests: AtomicU64,
    waited_ms: AtomicU64,
    retries: AtomicU64,
    throttled: AtomicU64,
}

impl Meter {
    /// Requests sent, repeated ones included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Time spent waiting for quota and before retries. The even pace of
    /// `requests_per_second` is not in it.
    pub fn waited(&self) -> Duration {
        Duration::from_millis(self.waited_ms.load(Ordering::Relaxed))
    }

    /// Requests that were repeated after a fault.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// How often PostHog answered 429.
    pub fn throttled(&self) -> u64 {
        self.throttled.load(Ordering::Relaxed)
    }

    fn sent(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    fn waits(&self, wait: Duration) {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.waited_ms.fetch_add(millis, Ordering::Relaxed);
    }

    fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    fn was_throttled(&self) {
        self.throttled.fetch_add(1, Ordering::Relaxed);
    }
}

/// The longest piece of an answer or address that a message quotes, in characters.
const QUOTED: usize = 200;

/// `text` on one line, without secrets, and not longer than a message bears.
fn quote(text: &str) -> String {
    // Secrets first: a cut in the middle of one would hide it from the redactor.
    let redacted = crate::config::secret::redact(text);
    let words: Vec<&str> = redacted
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|w| !w.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(QUOTED) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

/// A span of time for reading: `45 s`, `12 min 5 s`, `1 h 30 min`.
pub(crate) fn spell(span: Duration) -> String {
    // Rounded up: whoever comes back after the time told must not be early.
    let seconds = span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0));
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes, rest) {
        (0, 0, s) => format!("{s} s"),
        (0, m, 0) => format!("{m} min"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, 0, _) => format!("{h} h"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}
