//! Sliding windows: how long the next request has to wait for its quota.
//!
//! PostHog counts the requests of the last minute and of the last hour. What is
//! left of a short window is spent as it comes. Once half of the longest one is
//! spent, the rest is spread: requests are spaced at the slowest even pace that
//! never meets the wall, so that a run which needs more than the quota is slow
//! instead of stuck. Everything here is pure; [`super::quota`] stores what was spent.

use std::time::Duration;

use super::spell;
use crate::config::Allowance;
use crate::cursor::Timestamp;

/// What a window is longer than PostHog's, at most: a request that took longer on its way
/// than the one that takes its place would still be counted.
const SLACK: Duration = Duration::from_secs(1);

impl Allowance {
    pub(super) fn limit(self) -> u32 {
        self.requests.max(1)
    }

    /// How long a request is counted: a hundredth longer than PostHog does.
    pub(super) fn reach(self) -> Duration {
        self.per + (self.per / 100).min(SLACK)
    }
}

impl std::fmt::Display for Allowance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = if self.limit() == 1 { "" } else { "s" };
        write!(f, "{} request{plural} in {}", self.limit(), spell(self.per))
    }
}

/// The requests of a tenth of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spent {
    /// When the last of them was sent. All of them leave a window with it.
    pub last: Timestamp,
    /// How many.
    pub requests: u32,
}

/// What of a window counts now.
struct Window {
    allowance: Allowance,
    /// When requests leave, seen from now, and how many: the soonest first.
    leaving: Vec<(Duration, u32)>,
    /// Since the last request.
    idle: Duration,
}

impl Window {
    /// Requests in the future are taken as sent now: the clock was set back a little.
    fn new(allowance: Allowance, spent: &[Spent], now: Timestamp) -> Self {
        let leaving = spent
            .iter()
            .map(|s| (s.last.min(now).plus(allowance.reach()).since(now), s.requests))
            .filter(|(leaves, _)| !leaves.is_zero())
            .collect();
        let idle = spent.last().map_or(Duration::MAX, |s| now.since(s.last));
        Self { allowance, leaving, idle }
    }

    fn used(&self) -> u32 {
        self.leaving.iter().fold(0, |sum, (_, requests)| sum.saturating_add(*requests))
    }

    fn left(&self) -> u32 {
        self.allowance.limit().saturating_sub(self.used())
    }

    /// Until a full window has room for one more.
    fn until_room(&self) -> Duration {
        let mut over = self.used().saturating_sub(self.allowance.limit()).saturating_add(1);
        for (leaves, requests) in &self.leaving {
            if *requests >= over {
                return *leaves;
            }
            over -= requests;
        }
        Duration::ZERO
    }

    /// The time between requests at which the window is never full.
    ///
    /// Before the k-th of them leave, only what is left now and what has left by
    /// then can be sent: each such moment bounds the pace, and the whole window
    /// bounds it by its own average.
    fn pace(&self) -> Duration {
        let mut room = self.left().max(1);
        let mut pace = self.allowance.per / self.allowance.limit();
        for (leaves, requests) in &self.leaving {
            pace = pace.max(*leaves / room);
            room = room.saturating_add(*requests);
        }
        pace
    }

    fn hold(&self, is_spread: bool) -> Wait {
        let is_half_spent = self.used() > self.allowance.limit() / 2;
        match self.left() {
            0 => Wait::Room(self.until_room()),
            _ if is_spread && is_half_spent => Wait::Pace(self.pace().saturating_sub(self.idle)),
            _ => Wait::Pace(Duration::ZERO),
        }
    }
}

/// Why and how long the next request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Until the window has room.
    Room(Duration),
    /// There is room; this is for the rest to last.
    Pace(Duration),
}

/// How long the next request has to wait. `spent` is in the order of time.
pub(super) fn hold(allowance: Allowance, spent: &[Spent], now: Timestamp, is_spread: bool) -> Wait {
    Window::new(allowance, spent, now).hold(is_spread)
}

/// How many requests could go now.
pub(super) fn left(allowance: Allowance, spent: &[Spent], now: Timestamp) -> u32 {
    Window::new(allowance, spent, now).left()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn spent(entries: &[(i64, u32)]) -> Vec<Spent> {
        entries.iter().map(|&(second, requests)| Spent { last: at(second), requests }).collect()
    }

    #[test]
    fn a_request_waits_until_a_window_has_room() {
        for (requests, per, entries, now, seconds) in [
            (3, MINUTE, &[][..], 100, 0),
            (3, MINUTE, &[(90, 2)], 100, 0),
            (3, MINUTE, &[(90, 3)], 100, 50),
            (3, MINUTE, &[(80, 1), (90, 2)], 100, 40),
            (3, MINUTE, &[(80, 1), (90, 4)], 100, 50),
            // Sent a minute ago, and a little: gone.
            (3, MINUTE, &[(39, 3)], 100, 0),
            // The clock was set back by five seconds.
            (3, MINUTE, &[(105, 3)], 100, 60),
            (0, MINUTE, &[(100, 1)], 100, 60),
        ] {
            let wait = hold(Allowance { requests, per }, &spent(entries), at(now), false);

            // A hundredth of the window is waited for those that took long on their way.
            let seconds = Duration::from_secs(seconds);
            let expected = match seconds.is_zero() {
                true => Wait::Pace(seconds),
                false => Wait::Room(seconds + per / 100),
            };
            assert_eq!(wait, expected, "{requests} in {per:?}, {entries:?}");
        }
    }

    #[test]
    fn half_a_long_window_is_free_and_the_rest_is_spread() {
        let hourly = Allowance { requests: 1200, per: HOUR };
        for (entries, now, millis) in [
            (&[(0, 600)][..], 100, 0),
            // One leaves in a second, and makes room for one of the 600 that must last.
            (&[(0, 1), (3_599, 600)], 3_599, 6_001),
            // 601 at once: the other 599 have to last until these leave.
            (&[(0, 601)], 0, 6_011),
            (&[(0, 601)], 4, 2_005),
            (&[(0, 601)], 60, 0),
            // Most leave soon: the average bounds the pace.
            (&[(0, 900)], 3_590, 0),
            (&[(0, 900), (3_590, 1)], 3_590, 3_003),
        ] {
            let wait = hold(hourly, &spent(entries), at(now), true);

            let Wait::Pace(wait) = wait else { panic!("{entries:?}: {wait:?}") };
            assert_eq!(wait.as_millis(), millis, "{entries:?} at {now}");
        }
    }

    #[test]
    fn a_plan_beyond_the_quota_never_meets_the_wall() {
        let allowance = Allowance { requests: 120, per: HOUR };
        let mut entries: Vec<Spent> = Vec::new();
        let mut now = at(0);
        let mut longest = Duration::ZERO;
        for _ in 0..600 {
            loop {
                let (Wait::Pace(wait) | Wait::Room(wait)) = hold(allowance, &entries, now, true);
                if wait.is_zero() {
                    break;
                }
                longest = longest.max(wait);
                now = now.plus(wait);
            }
            assert!(left(allowance, &entries, now) > 0);
            entries.push(Spent { last: now, requests: 1 });
            now = now.plus(Duration::from_millis(300));
        }

        // 120 an hour is one each 30 s; the first 60 went at once, so 60 have the first hour.
        assert!(longest < Duration::from_secs(61), "{longest:?}");
        let took = now.since(at(0));
        assert!(took < Duration::from_secs(18_600), "{took:?}");
    }
}
