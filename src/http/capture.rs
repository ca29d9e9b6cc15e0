//! Sending: bytes posted until PostHog has answered for them.
//!
//! What is posted carries its project's token in itself; no header holds a key. The same bytes go
//! out on every attempt, so whoever makes them sees to it that they may arrive twice. 408, 429,
//! 5xx and faults of the network are met with patience; of any other answer the caller hears at
//! once (posthog-api.md §8.4).

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::client::transport::Transport;
use super::clock::Clock;
use super::refusal::Refusal;
use super::retry::{Patience, Retries};
use super::verdict::{Fault, Kind, Setback, Verdict, judge_sent};
use super::{AskError, ClientError, Meter, quote, spell};
use crate::config::Timeouts;
use crate::config::secret::Secret;

/// Where a token is asked about; it stores no event (posthog-api.md §9).
const FLAGS: &str = "/flags/?v=2";

/// How events are sent.
#[derive(Debug, Clone)]
pub struct CaptureSettings {
    /// Scheme, host and port of the capture host, as `https://eu.i.posthog.com`.
    pub origin: String,
    /// What goes with every request, besides our own headers.
    pub headers: Vec<(String, String)>,
    /// How often a request is repeated, at most.
    pub retries: u32,
    /// The longest single wait that the server may ask for.
    pub max_wait: Duration,
    /// How long the network may take.
    pub timeouts: Timeouts,
}

/// A body, packed or not.
#[derive(Debug, Clone)]
pub struct Packed {
    /// What is sent.
    pub bytes: Vec<u8>,
    /// Whether that is gzip.
    pub is_gzip: bool,
}

/// What PostHog said when it took something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The HTTP status, 2xx.
    pub status: u16,
    /// The beginning of the body on one line, without secrets; may be empty.
    pub text: String,
}

/// The way to one capture host. Cloning it shares sockets.
#[derive(Debug, Clone)]
pub struct Capture {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    transport: Transport,
    patience: Patience,
    clock: Clock,
}

impl Capture {
    /// Prepares to send; sends nothing yet.
    ///
    /// # Errors
    ///
    /// A setting cannot be used, or there are no CA certificates to trust.
    pub fn new(settings: CaptureSettings) -> Result<Self, ClientError> {
        let patience = Patience::of_sending(settings.retries, settings.max_wait);
        Self::with(settings, patience, Clock::System)
    }

    /// The same, in other times.
    pub(super) fn with(
        settings: CaptureSettings,
        patience: Patience,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        let CaptureSettings { origin, headers, timeouts, .. } = settings;
        let transport = Transport::without_key(&origin, &headers, timeouts)?;
        Ok(Self { inner: Arc::new(Inner { transport, patience, clock }) })
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        self.inner.transport.origin()
    }

    /// A request in one short line: `POST eu.i.posthog.com/batch/`.
    pub fn describe(&self, path: &str) -> String {
        quote(&format!("POST {}{path}", self.inner.transport.host()))
    }

    /// Posts until it is answered, with the same bytes on every attempt. When the process is asked
    /// to stop, what is under way is waited for and not repeated.
    ///
    /// # Errors
    ///
    /// It was refused, or not taken for too long: see [`AskError`]; 400 and 413 are
    /// [`AskError::Refused`]. Of what failed for any other reason it is not known whether
    /// PostHog has it.
    pub async fn post(
        &self,
        path: &str,
        body: &Packed,
        meter: &Meter,
    ) -> Result<Answered, AskError> {
        let mut retries = Retries::new(&self.inner.patience);
        loop {
            meter.sent();
            crash_point!("before a post");
            let answered = self.attempt(path, body).await;
            crash_point!("after a post");
            let fault = match answered {
                Ok(answered) => return Ok(answered),
                Err(Setback::Final(error)) => return Err(error),
                Err(Setback::Fault(fault)) => fault,
            };
            if fault.kind == Kind::Throttled {
                meter.was_throttled();
            }
            let what = fault.detail.clone();
            let wait = retries.next(fault, self.inner.clock.now())?;
            meter.retried();
            meter.waits(wait);
            tracing::warn!(request = %self.describe(path), "waiting {}: {what}", spell(wait));
            let mut stop = crate::stop::heard();
            tokio::select! {
                biased;
                _ = stop.wait_for(|is_asked| *is_asked) => return Err(AskError::Stopped),
                () = self.inner.clock.wait(wait) => {}
            }
        }
    }

    /// Whether the project's token is known there; nothing where this server does not say.
    ///
    /// It is asked once, in vain at most: events are no safer for a second question.
    pub async fn knows(&self, token: &Secret, meter: &Meter) -> Option<bool> {
        let question = json!({ "api_key": token.expose(), "distinct_id": "connection-check" });
        let body = Packed { bytes: question.to_string().into_bytes(), is_gzip: false };
        meter.sent();
        match self.attempt(FLAGS, &body).await {
            Ok(_) => Some(true),
            Err(Setback::Final(AskError::Unauthorized { .. })) => Some(false),
            Err(_) => None,
        }
    }

    async fn attempt(&self, path: &str, body: &Packed) -> Result<Answered, Setback> {
        let now = self.inner.clock.now();
        let mut answer = self.inner.transport.post(path, body, now).await?;
        let status = answer.facts.status;
        let text = answer.beginning().await;
        match judge_sent(&answer.facts, &Refusal::read(&text)) {
            // A login page, say: whoever sent it has no event.
            Verdict::Accept if text.trim_ascii_start().starts_with(b"<") => {
                let told = format!("{status} and a web page: {}", Refusal::read(&text).detail);
                Err(Setback::Fault(Fault::body(told)))
            }
            Verdict::Accept => {
                Ok(Answered { status, text: quote(&String::from_utf8_lossy(&text)) })
            }
            Verdict::Retry(fault) => Err(Setback::Fault(fault)),
            Verdict::Smaller { status, detail } => {
                Err(Setback::Final(AskError::Refused { status, code: None, detail }))
            }
            Verdict::Fail(error) => Err(Setback::Final(error)),
        }
    }
}
