//! The client: one question, asked until it is answered.
//!
//! [`Client::ask`] is the one waiting loop: quota and pace before an attempt,
//! patience after a failed one. An attempt ends in an accepted answer or a
//! [`Verdict`]; nobody else interprets statuses. Sending itself is [`transport`]'s,
//! the only user of reqwest.
//!
//! It knows nothing of rows or pages, and never waits longer than `max_wait` at once.

pub(super) mod transport;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

pub(super) use transport::post_once;
use transport::{Answer, Transport};

use super::clock::Clock;
use super::quota::{Hold, Ledger, Left, Quotas};
use super::rate_limit::{Pace, Permit};
use super::refusal::Refusal;
use super::retry::{Patience, Retries};
use super::verdict::{Fault, Kind, Setback, Verdict, judge};
use super::{AskError, ClientError, Head, Intake, Meter, Request, quote, spell};
use crate::config::secret::Secret;
use crate::config::{Allowance, Timeouts};
use crate::cursor::Timestamp;

/// Shorter waits for quota are the ordinary rhythm and not worth a line.
const WORTH_TELLING: Duration = Duration::from_secs(10);

/// Microseconds by which our clock runs ahead of the server's from one answer to the next
/// only where somebody set it.
const CLOCK_SET: i64 = 60_000_000;

/// How a connection wants to be asked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Scheme, host and port, as `https://eu.posthog.com`.
    pub origin: String,
    /// The API key.
    pub key: Secret,
    /// The project's id: quotas are counted for it.
    pub project: String,
    /// Even pace; 0 means no limit.
    pub requests_per_second: f64,
    /// Requests under way at once, at least 1.
    pub concurrency: usize,
    /// The longest single wait.
    pub max_wait: Duration,
    /// The first wait after a fault, and what each further one adds.
    pub retry_wait: Duration,
    /// How long the network may take.
    pub timeouts: Timeouts,
    /// What each quota counter allows.
    pub limits: BTreeMap<String, Vec<Allowance>>,
    /// The file of the quota ledger; in memory without one.
    pub ledger: Option<PathBuf>,
    /// Whether requests wait for `limits`. A wait that PostHog itself asked for
    /// is kept in any case.
    pub enforce_limits: bool,
}

/// A connection to one PostHog. Cloning it shares pace, quota and sockets.
#[derive(Debug, Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    transport: Transport,
    pace: Pace,
    ledger: Arc<Ledger>,
    patience: Patience,
    clock: Clock,
    /// Microseconds the server's clock is ahead of our steady one; below zero where it is behind.
    ahead: AtomicI64,
    /// The same of the clock that the ledger goes by, once the server has told its time.
    ahead_of_ledger: AtomicI64,
}

impl Client {
    /// Prepares a connection; asks nothing yet.
    ///
    /// # Errors
    ///
    /// A setting cannot be used, or there are no CA certificates to trust.
    pub fn new(settings: Settings) -> Result<Self, ClientError> {
        let patience = Patience::of(settings.max_wait).beginning_with(settings.retry_wait);
        let timeouts = settings.timeouts.clone();
        Self::with(settings, patience, timeouts, Clock::System)
    }

    /// The same, in other times.
    pub(super) fn with(
        settings: Settings,
        patience: Patience,
        timeouts: Timeouts,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        let transport = Transport::new(&settings.origin, &settings.key, timeouts)?;
        let pace = Pace::new(settings.requests_per_second, settings.concurrency)?;
        let quotas = Quotas {
            origin: transport.origin(),
            project: settings.project,
            limits: settings.limits,
            enforce: settings.enforce_limits,
            longest_pace: settings.max_wait,
        };
        let ledger = Ledger::open(settings.ledger.as_deref(), quotas)
            .map_err(|error| ClientError::Ledger { detail: error.to_string() })?;
        let ledger = Arc::new(ledger);
        Ok(Self {
            inner: Arc::new(Inner {
                transport,
                pace,
                ledger,
                patience,
                clock,
                ahead: AtomicI64::new(0),
                ahead_of_ledger: AtomicI64::new(i64::MIN),
            }),
        })
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        self.inner.transport.origin()
    }

    /// The question in one short line, without secrets: `GET eu.posthog.com/api/…?after=…`.
    pub fn describe(&self, request: &Request) -> String {
        let host = self.inner.transport.host();
        let mut line = format!("{} {host}{}", request.method.as_str(), request.path);
        for (n, (name, value)) in request.query.iter().enumerate() {
            line.push(if n == 0 { '?' } else { '&' });
            line.push_str(name);
            line.push('=');
            line.push_str(value);
        }
        quote(&line)
    }

    /// PostHog's time: this machine's, corrected by the last answer's `Date`. A clock that is
    /// set meanwhile does not move it: a bound in the future would be a gap.
    pub fn server_time(&self) -> Timestamp {
        self.inner.clock.steady().plus_micros(self.inner.ahead.load(Ordering::Relaxed))
    }

    /// What is left of each quota counter's longest window, as far as this
    /// machine knows: others may share the quota.
    pub async fn left(&self) -> BTreeMap<String, Left> {
        let (ledger, now) = (Arc::clone(&self.inner.ledger), self.inner.clock.now());
        tokio::task::spawn_blocking(move || ledger.left(now)).await.unwrap_or_default()
    }

    /// Puts a question until it is answered, and pours the answer into `intake`.
    ///
    /// Waits for quota and pace, and after faults that may pass. Dropping the
    /// future stops it at any point; what `intake` holds is then incomplete.
    ///
    /// # Errors
    ///
    /// The question will not be answered, or not in this run: see [`AskError`].
    pub async fn ask<I: Intake>(
        &self,
        request: &Request,
        intake: &mut I,
        meter: &Meter,
    ) -> Result<Head, AskError> {
        self.ask_on(request, intake, meter, None).await
    }

    /// The same, where the question was put already and its answer has begun.
    ///
    /// # Errors
    ///
    /// The question will not be answered, or not in this run: see [`AskError`].
    pub async fn ask_on<I: Intake>(
        &self,
        request: &Request,
        intake: &mut I,
        meter: &Meter,
        mut begun: Option<Begun>,
    ) -> Result<Head, AskError> {
        let mut retries = Retries::new(&self.inner.patience);
        intake.restart().await?;
        loop {
            let Begun { answer, permit } = match begun.take() {
                Some(begun) => begun,
                None => self.begin(request, meter).await?,
            };
            let answer = match answer {
                Ok(accepted) => accepted.pour(intake).await,
                Err(setback) => Err(setback),
            };
            drop(permit);
            self.settle(request, &answer).await?;
            let fault = match answer {
                Ok(head) => return Ok(head),
                Err(Setback::Fault(fault)) => fault,
                Err(Setback::Final(error)) => return Err(error),
            };
            let (kind, advised, what) = (fault.kind, fault.after, fault.detail.clone());
            let wait = retries.next(fault, self.inner.clock.now());
            self.note(request, kind, advised, &wait, meter).await?;
            let wait = wait?;
            // At once: whoever took the broken answer in need not hold on to it while we wait.
            intake.restart().await?;
            meter.retried();
            let asked = self.describe(request);
            tracing::warn!(request = %asked, "waiting {}: {what}", spell(wait));
            self.wait(wait, meter).await;
        }
    }

    /// Puts a question before its turn and waits for its answer to begin; the body is read with
    /// [`Client::ask_on`]. Until then it keeps its place among the requests under way. Nothing
    /// where it has to be put again when it is its turn.
    pub async fn put(&self, request: &Request, meter: &Meter) -> Option<Begun> {
        let begun = self.begin(request, meter).await.ok()?;
        let Err(Setback::Fault(Fault { kind, after, .. })) = &begun.answer else {
            return Some(begun);
        };
        // At once: others are not to run into the same refusal meanwhile.
        let wait = after.unwrap_or(self.inner.patience.exponential);
        self.note(request, *kind, *after, &Ok(wait), meter).await.ok()?;
        None
    }

    async fn begin(&self, request: &Request, meter: &Meter) -> Result<Begun, AskError> {
        let permit = self.admit(request, meter).await?;
        meter.sent();
        let answer = self.attempt(request).await;
        Ok(Begun { answer, permit: Some(permit) })
    }

    /// Waits until the request may go, then enters it in the ledger. Waiting for
    /// quota keeps no slot from others.
    async fn admit(&self, request: &Request, meter: &Meter) -> Result<Permit, AskError> {
        loop {
            let permit = self.inner.pace.permit().await?;
            let Some(Hold { wait, why }) = self.spend(request).await? else { return Ok(permit) };
            drop(permit);
            if wait > self.inner.patience.max_wait {
                let until = self.inner.clock.now().plus(wait);
                return Err(AskError::ComeBack { wait, until, detail: why });
            }
            if wait >= WORTH_TELLING {
                tracing::info!(request = %self.describe(request), "waiting {}: {why}", spell(wait));
            }
            self.wait(wait, meter).await;
        }
    }

    async fn spend(&self, request: &Request) -> Result<Option<Hold>, AskError> {
        if request.counters.is_empty() {
            return Ok(None);
        }
        let (counters, now) = (request.counters.clone(), self.inner.clock.now());
        self.with_ledger(move |ledger| ledger.spend(&counters, now)).await
    }

    /// Tells the ledger, and so all other runs, how a request was met.
    async fn note(
        &self,
        request: &Request,
        kind: Kind,
        advised: Option<Duration>,
        wait: &Result<Duration, AskError>,
        meter: &Meter,
    ) -> Result<(), AskError> {
        if kind != Kind::Throttled {
            return Ok(());
        }
        meter.was_throttled();
        let wait = match wait {
            Ok(wait) | Err(AskError::ComeBack { wait, .. }) => *wait,
            Err(_) => return Ok(()),
        };
        let (counters, now) = (request.counters.clone(), self.inner.clock.now());
        self.with_ledger(move |ledger| ledger.refused(&counters, wait, advised, now)).await
    }

    /// Lets the others go on who wait for this request to find out whether PostHog's wait is over.
    async fn settle<T>(
        &self,
        request: &Request,
        answer: &Result<T, Setback>,
    ) -> Result<(), AskError> {
        let is_answered = match answer {
            Err(Setback::Fault(Fault { kind: Kind::Throttled, .. })) => return Ok(()),
            Err(Setback::Fault(Fault { kind: Kind::Network, .. })) => false,
            _ => true,
        };
        if !self.inner.ledger.is_probing(&request.counters) {
            return Ok(());
        }
        let counters = request.counters.clone();
        self.with_ledger(move |ledger| ledger.settle(&counters, is_answered)).await
    }

    /// Takes the server's time; a clock of ours that was set forward does not age the ledger.
    async fn tell_time(&self, date: Timestamp) -> Result<(), AskError> {
        let (now, steady) = (self.inner.clock.now(), self.inner.clock.steady());
        self.inner.ahead.store(date.micros() - steady.micros(), Ordering::Relaxed);
        let ahead = date.micros() - now.micros();
        let before = self.inner.ahead_of_ledger.swap(ahead, Ordering::Relaxed);
        let jumped = before.saturating_sub(ahead);
        if before == i64::MIN || jumped < CLOCK_SET {
            return Ok(());
        }
        let by = Duration::from_micros(jumped.unsigned_abs());
        tracing::warn!("this machine's clock was set forward by {}", spell(by));
        self.with_ledger(move |ledger| ledger.shift(by)).await
    }

    /// SQLite may wait for another process: not on a thread that serves sockets.
    async fn with_ledger<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Ledger) -> T + Send + 'static,
    ) -> Result<T, AskError> {
        let ledger = Arc::clone(&self.inner.ledger);
        // Fails only while the runtime shuts down.
        tokio::task::spawn_blocking(move || work(&ledger)).await.map_err(|_| AskError::Stopped)
    }

    async fn wait(&self, wait: Duration, meter: &Meter) {
        meter.waits(wait);
        self.inner.clock.wait(wait).await;
    }

    /// Sends once, up to the head of an answer that is accepted.
    async fn attempt(&self, request: &Request) -> Result<Accepted, Setback> {
        crash_point!("before a request");
        let mut answer = self.inner.transport.send(request, self.inner.clock.now()).await?;
        crash_point!("headers in");
        let refusal = match answer.facts.status {
            200..=299 => Refusal::default(),
            _ => answer.refusal().await,
        };
        match judge(&answer.facts, &refusal) {
            Verdict::Accept => {
                // Of refusals, a gateway's clock may be in the head.
                if let Some(date) = answer.facts.date {
                    self.tell_time(date).await.map_err(Setback::Final)?;
                }
                Ok(Accepted(answer))
            }
            Verdict::Retry(fault) => Err(Setback::Fault(fault)),
            Verdict::Smaller { status, detail } => {
                Err(Setback::Final(AskError::TooMuch { status, detail }))
            }
            Verdict::Fail(error) => Err(Setback::Final(error)),
        }
    }
}

/// A question that was sent, and answered as far as the head says.
pub struct Begun {
    answer: Result<Accepted, Setback>,
    permit: Option<Permit>,
}

impl Begun {
    /// Lets another request have the place of this one, whose body waits.
    pub fn make_room(&mut self) {
        self.permit = None;
    }
}

/// A good answer whose body is still to come.
struct Accepted(Answer);

impl Accepted {
    async fn pour<I: Intake>(self, intake: &mut I) -> Result<Head, Setback> {
        let date = self.0.facts.date;
        self.0.pour(intake).await.map(|()| Head { date })
    }
}
