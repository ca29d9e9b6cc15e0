//! How often and how long: the patience with one question.
//!
//! [`Retries`] turns each fault into a wait, or into the error to give up with.
//! The server's advice outranks our own backoff: 429 without advice backs off
//! exponentially, everything else linearly; where events are sent, all does so
//! exponentially, from half a second. The `backoff` crate only generates
//! delays; its retry loop would ignore every cap once a server names a wait.
//!
//! Nothing here sleeps: that is done by [`super::Client`] and [`super::Capture`].

use std::time::Duration;

use backoff::backoff::Backoff;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

use super::AskError;
use super::verdict::{Fault, Kind};
use crate::cursor::Timestamp;

/// Retries of a question that is throttled: five doublings outlast the minute
/// that PostHog's short windows have.
const THROTTLED_RETRIES: u32 = 5;

/// Retries of a question that fails otherwise.
const FAULT_RETRIES: u32 = 3;

/// Who sends looks again as often while PostHog is down.
const LONGEST_OF_SENDING: Duration = Duration::from_secs(30);

/// How long to wait where the server does not say.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    /// The longest single wait.
    pub max_wait: Duration,
    /// The first wait after a fault, and what each further one adds.
    pub linear: Duration,
    /// The first wait after a 429 that names none; each further one doubles it.
    pub exponential: Duration,
    /// The shortest wait, for a server that asks for none.
    pub least: Duration,
    /// The share by which our own delays vary, so that processes do not march in step.
    pub jitter: f64,
    /// On average added to a wait the server names, which it must never shorten.
    pub spread: Duration,
    /// The longest wait that the server did not ask for.
    pub longest: Duration,
    /// Retries of what is sent, whatever the fault; of a question there are as many as its
    /// kind of fault deserves.
    pub of_sending: Option<u32>,
}

impl Patience {
    /// The patience of a run that may wait for `max_wait` at once.
    pub(super) fn of(max_wait: Duration) -> Self {
        Self {
            max_wait,
            linear: Duration::from_secs(1),
            exponential: Duration::from_secs(2),
            least: Duration::from_secs(1),
            jitter: 0.25,
            spread: Duration::from_millis(250),
            longest: max_wait,
            of_sending: None,
        }
    }

    /// The patience of sending events, as PostHog's own libraries have it.
    pub(super) fn of_sending(retries: u32, max_wait: Duration) -> Self {
        let first = Duration::from_millis(500);
        Self {
            exponential: first,
            least: first,
            longest: LONGEST_OF_SENDING.min(max_wait),
            of_sending: Some(retries),
            ..Self::of(max_wait)
        }
    }

    /// The same with another first wait, from which the others grow.
    pub(super) fn beginning_with(self, wait: Duration) -> Self {
        Self { linear: wait, exponential: wait * 2, least: wait, ..self }
    }
}

/// The retries of one question.
#[derive(Debug)]
pub(super) struct Retries {
    patience: Patience,
    doubling: ExponentialBackoff,
    throttled: u32,
    faults: u32,
}

impl Retries {
    /// None so far.
    pub(super) fn new(patience: &Patience) -> Self {
        let doubling = ExponentialBackoffBuilder::new()
            .with_initial_interval(patience.exponential)
            .with_multiplier(2.0)
            .with_randomization_factor(patience.jitter)
            .with_max_interval(patience.longest)
            .with_max_elapsed_time(None)
            .build();
        Self { patience: patience.clone(), doubling, throttled: 0, faults: 0 }
    }

    /// How often the question has been asked, now that it failed.
    fn attempts(&self) -> u32 {
        self.throttled + self.faults + 1
    }

    /// The wait before the question is asked again.
    ///
    /// # Errors
    ///
    /// The wait is longer than a run may wait, or there have been enough.
    pub(super) fn next(&mut self, fault: Fault, now: Timestamp) -> Result<Duration, AskError> {
        let advised = fault.after.map(|after| after.max(self.patience.least));
        if let Some(wait) = advised
            && wait > self.patience.max_wait
        {
            return Err(AskError::ComeBack { wait, until: now.plus(wait), detail: fault.detail });
        }
        let own = self.own_delay(fault.kind);
        if self.is_exhausted(fault.kind) {
            return Err(self.give_up(fault, advised.unwrap_or(own), now));
        }
        match fault.kind {
            Kind::Throttled => self.throttled += 1,
            Kind::Server | Kind::Network | Kind::Body => self.faults += 1,
        }
        let wait = advised.map_or(own, |wait| wait + jittered(self.patience.spread, 1.0));
        // backoff applies its own maximum before the jitter.
        Ok(wait.min(self.patience.max_wait))
    }

    fn is_exhausted(&self, kind: Kind) -> bool {
        if let Some(retries) = self.patience.of_sending {
            return self.throttled + self.faults >= retries;
        }
        match kind {
            Kind::Throttled => self.throttled >= THROTTLED_RETRIES,
            Kind::Server | Kind::Network | Kind::Body => self.faults >= FAULT_RETRIES,
        }
    }

    fn own_delay(&mut self, kind: Kind) -> Duration {
        match kind {
            _ if self.patience.of_sending.is_some() => self.doubled(),
            Kind::Throttled => self.doubled(),
            Kind::Server | Kind::Network | Kind::Body => {
                jittered(self.patience.linear, self.patience.jitter) * (self.faults + 1)
            }
        }
    }

    fn doubled(&mut self) -> Duration {
        self.doubling.next_backoff().unwrap_or(self.patience.longest)
    }

    /// The error that a fault becomes when it does not go away.
    fn give_up(&self, fault: Fault, wait: Duration, now: Timestamp) -> AskError {
        let Fault { kind, status, detail, .. } = fault;
        let attempts = self.attempts();
        match kind {
            Kind::Throttled => AskError::ComeBack {
                wait,
                until: now.plus(wait),
                detail: format!("still refused after {attempts} attempts: {detail}"),
            },
            // A gateway that never waits long enough: a smaller question is answered sooner.
            Kind::Server if status == Some(504) && self.patience.of_sending.is_none() => {
                AskError::TooMuch { status: 504, detail }
            }
            Kind::Server | Kind::Network => AskError::Unavailable { status, attempts, detail },
            Kind::Body => {
                AskError::Contract { detail: format!("{detail} (after {attempts} attempts)") }
            }
        }
    }
}

/// `span`, up to `share` of it more or less.
fn jittered(span: Duration, share: f64) -> Duration {
    let mut steady = ExponentialBackoffBuilder::new()
        .with_initial_interval(span)
        .with_randomization_factor(share)
        .with_max_elapsed_time(None)
        .build();
    steady.next_backoff().unwrap_or(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady() -> Patience {
        let patience = Patience::of(Duration::from_secs(900));
        Patience { jitter: 0.0, spread: Duration::ZERO, ..patience }
    }

    fn now() -> Timestamp {
        Timestamp::from_micros(0)
    }

    fn fault(kind: Kind, after: Option<u64>) -> Fault {
        let after = after.map(Duration::from_secs);
        Fault { kind, status: Some(503), after, detail: "busy".into() }
    }

    /// The waits in seconds until `kind` is given up.
    fn waits(kind: Kind, after: Option<u64>) -> (Vec<u64>, AskError) {
        let mut retries = Retries::new(&steady());
        let mut seconds = Vec::new();
        loop {
            match retries.next(fault(kind, after), now()) {
                Ok(wait) => seconds.push(wait.as_secs()),
                Err(error) => return (seconds, error),
            }
        }
    }

    #[test]
    fn waits_grow_until_patience_ends() {
        let (throttled, come_back) = waits(Kind::Throttled, None);
        let (server, unavailable) = waits(Kind::Server, None);
        let (advised, _) = waits(Kind::Throttled, Some(37));
        let (at_once, _) = waits(Kind::Throttled, Some(0));
        let (_, contract) = waits(Kind::Body, None);

        assert_eq!(throttled, [2, 4, 8, 16, 32]);
        assert_eq!(server, [1, 2, 3]);
        assert_eq!(advised, [37; 5]);
        assert_eq!(at_once, [1; 5]);
        assert_eq!(
            come_back.to_string(),
            "come back in 1 min 4 s: still refused after 6 attempts: busy"
        );
        assert_eq!(unavailable.to_string(), "no answer after 4 attempts: busy");
        assert!(matches!(contract, AskError::Contract { .. }), "{contract}");
    }

    #[test]
    fn what_is_sent_is_sent_again_so_many_times_whatever_fails() {
        let patience = Patience::of_sending(4, Duration::from_secs(900));
        let patience = Patience { jitter: 0.0, spread: Duration::ZERO, ..patience };
        for kind in [Kind::Throttled, Kind::Server, Kind::Network] {
            let mut retries = Retries::new(&patience);
            let waits: Vec<Duration> =
                std::iter::from_fn(|| retries.next(fault(kind, None), now()).ok()).collect();

            assert_eq!(waits, [500, 1000, 2000, 4000].map(Duration::from_millis), "{kind:?}");
        }
        let mut retries = Retries::new(&Patience { of_sending: Some(20), ..patience });
        retries.next(fault(Kind::Server, Some(45)), now()).unwrap();
        let last =
            std::iter::from_fn(|| retries.next(fault(Kind::Server, None), now()).ok()).last();
        assert_eq!(last, Some(Duration::from_secs(30)), "only the server asks for more");
    }

    #[test]
    fn a_wait_beyond_the_longest_is_left_to_the_next_run() {
        let (waited, error) = waits(Kind::Throttled, Some(3600));

        assert!(waited.is_empty(), "{waited:?}");
        let wait = Duration::from_secs(3600);
        let until = now().plus(wait);
        assert_eq!(error, AskError::ComeBack { wait, until, detail: "busy".into() });
    }

    #[test]
    fn a_gateway_that_stays_impatient_asks_for_less() {
        let mut retries = Retries::new(&steady());
        let impatient = || Fault { status: Some(504), ..fault(Kind::Server, None) };
        for _ in 0..3 {
            retries.next(impatient(), now()).unwrap();
        }

        assert!(matches!(
            retries.next(impatient(), now()),
            Err(AskError::TooMuch { status: 504, .. })
        ));
    }

    #[test]
    fn jitter_never_shortens_advice_and_never_passes_the_longest_wait() {
        let mut patience = Patience::of(Duration::from_secs(40));
        patience.exponential = Duration::from_secs(40);
        for _ in 0..50 {
            let advised =
                Retries::new(&patience).next(fault(Kind::Throttled, Some(37)), now()).unwrap();
            let own = Retries::new(&patience).next(fault(Kind::Throttled, None), now()).unwrap();

            assert!(advised >= Duration::from_secs(37) && advised < Duration::from_secs(38));
            assert!(own >= Duration::from_secs(30) && own <= Duration::from_secs(40));
        }
    }
}
