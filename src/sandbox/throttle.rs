//! PostHog's rate limits: sliding windows over accepted requests.
//!
//! Each class counts the requests it let through; a refused one is not counted.
//! Where several classes refuse, the longest wait is told. Time is the sandbox's. Windows
//! and allowances can be played in miniature, so that a test sees hours of them.

use std::collections::{HashMap, VecDeque};

use super::time::{HOUR, MINUTE, SECOND};
use crate::cursor::Timestamp;

/// A rate: so many requests in so long.
struct Class {
    name: &'static str,
    requests: usize,
    micros: i64,
}

impl Class {
    /// The class with shorter windows and smaller allowances.
    fn scaled(&self, (faster, fewer): (u32, u32)) -> Self {
        let requests = self.requests.div_ceil(fewer as usize);
        Self { name: self.name, requests, micros: self.micros / i64::from(faster) }
    }
}

const fn class(name: &'static str, requests: usize, micros: i64) -> Class {
    Class { name, requests, micros }
}

const GENERAL: &[Class] = &[class("burst", 480, MINUTE), class("sustained", 4800, HOUR)];
const CLICKHOUSE: &[Class] =
    &[class("clickhouse_burst", 240, MINUTE), class("clickhouse_sustained", 1200, HOUR)];
const PERSONS: &[Class] = &[class("clickhouse_burst", 240, MINUTE)];
const RECORDINGS: &[Class] = &[
    class("clickhouse_burst", 240, MINUTE),
    class("clickhouse_sustained", 1200, HOUR),
    class("listing_burst", 60, MINUTE),
    class("listing_sustained", 300, HOUR),
];
const QUERY: &[Class] =
    &[class("api_queries_burst", 240, MINUTE), class("api_queries_sustained", 2400, HOUR)];

/// The classes that a request for a stream spends.
fn classes(stream: &str) -> &'static [Class] {
    match stream {
        "events" | "insights" => CLICKHOUSE,
        "persons" => PERSONS,
        "session_recordings" => RECORDINGS,
        "query" => QUERY,
        _ => GENERAL,
    }
}

/// Who has asked how much, by class and key.
#[derive(Debug, Default)]
pub(super) struct Throttle(HashMap<(&'static str, String), VecDeque<i64>>);

impl Throttle {
    /// Counts a request, or says in how many seconds it would be let through. Windows are
    /// shorter and allowances smaller by `factors`.
    pub(super) fn admit(
        &mut self,
        stream: &str,
        key: &str,
        now: Timestamp,
        factors: (u32, u32),
    ) -> Result<(), u64> {
        let now = now.micros();
        let classes_now = classes(stream).iter().map(|class| class.scaled(factors));
        let wait = classes_now.map(|class| self.wait(&class, key, now)).max().unwrap_or(0);
        if wait > 0 {
            return Err(u64::try_from(wait / SECOND).unwrap_or(0) + 1);
        }
        for class in classes(stream) {
            self.0.entry((class.name, key.to_owned())).or_default().push_back(now);
        }
        Ok(())
    }

    /// Microseconds until a class has room; what has left its window is forgotten.
    fn wait(&mut self, class: &Class, key: &str, now: i64) -> i64 {
        let window = self.0.entry((class.name, key.to_owned())).or_default();
        while window.front().is_some_and(|first| first + class.micros <= now) {
            window.pop_front();
        }
        match window.front() {
            Some(first) if window.len() >= class.requests => first + class.micros - now,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: i64) -> Timestamp {
        Timestamp::from_micros(count * SECOND)
    }

    #[test]
    fn recordings_run_dry_long_before_anything_else() {
        let mut throttle = Throttle::default();

        for _ in 0..60 {
            assert_eq!(throttle.admit("session_recordings", "key", seconds(0), (1, 1)), Ok(()));
        }
        assert_eq!(throttle.admit("session_recordings", "key", seconds(20), (1, 1)), Err(41));
        assert_eq!(throttle.admit("events", "key", seconds(20), (1, 1)), Ok(()));
        assert_eq!(throttle.admit("session_recordings", "key", seconds(60), (1, 1)), Ok(()));
    }

    #[test]
    fn the_longest_wait_is_told() {
        let mut throttle = Throttle::default();

        for minute in 0..5 {
            for _ in 0..60 {
                assert_eq!(
                    throttle.admit("session_recordings", "k", seconds(minute * 60), (1, 1)),
                    Ok(())
                );
            }
        }
        assert_eq!(throttle.admit("session_recordings", "k", seconds(241), (1, 1)), Err(3360));
    }
}
