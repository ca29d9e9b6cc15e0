//! How fast and how many at once: the pace of one connection.
//!
//! A [`Permit`] is held from before a request is sent until its answer's body is
//! complete. Requests are spaced evenly, without bursts: PostHog counts each one
//! whenever it comes, and a burst only finds the wall sooner. Quotas over minutes
//! and hours are [`super::quota`]'s.

use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{ClientError, Stopped};

/// The right to have one request under way; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _slot: OwnedSemaphorePermit,
}

/// Spaces requests, and bounds how many are under way.
#[derive(Debug)]
pub(super) struct Pace {
    slots: Arc<Semaphore>,
    limiter: Option<DefaultDirectRateLimiter>,
}

impl Pace {
    /// `per_second` may be a fraction; 0 means no limit.
    ///
    /// # Errors
    ///
    /// A number that is no rate.
    pub(super) fn new(per_second: f64, concurrency: usize) -> Result<Self, ClientError> {
        if concurrency == 0 || concurrency > Semaphore::MAX_PERMITS {
            let value = concurrency.to_string();
            return Err(ClientError::Setting { name: "concurrency", value });
        }
        let limiter = match per_second {
            0.0 => None,
            rate => Some(RateLimiter::direct(every(rate)?)),
        };
        Ok(Self { slots: Arc::new(Semaphore::new(concurrency)), limiter })
    }

    /// Waits for a free slot, then for the turn.
    ///
    /// # Errors
    ///
    /// Never in practice: the slots are never closed.
    pub(super) async fn permit(&self) -> Result<Permit, Stopped> {
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| Stopped)?;
        if let Some(limiter) = &self.limiter {
            limiter.until_ready().await;
        }
        Ok(Permit { _slot: slot })
    }
}

/// One request each so many seconds, none saved up.
fn every(per_second: f64) -> Result<Quota, ClientError> {
    Duration::try_from_secs_f64(per_second.recip()).ok().and_then(Quota::with_period).ok_or_else(
        || ClientError::Setting { name: "requests_per_second", value: per_second.to_string() },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_no_pace_are_refused() {
        for (per_second, concurrency) in
            [(-1.0, 1), (f64::NAN, 1), (1e-300, 1), (f64::INFINITY, 1), (3.0, 0)]
        {
            assert!(Pace::new(per_second, concurrency).is_err(), "{per_second} {concurrency}");
        }
        for per_second in [0.0, 0.5, 3.0, 1000.0] {
            assert!(Pace::new(per_second, 1).is_ok(), "{per_second}");
        }
    }

    #[tokio::test]
    async fn the_second_request_waits_for_its_turn() {
        let pace = Pace::new(50.0, 2).unwrap();
        let begun = std::time::Instant::now();

        drop(pace.permit().await.unwrap());
        drop(pace.permit().await.unwrap());

        assert!(begun.elapsed() >= Duration::from_millis(19), "{:?}", begun.elapsed());
    }
}
