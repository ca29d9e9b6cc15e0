//! How wide a window of time to ask for.
//!
//! Wide windows over empty stretches save requests, narrow ones over busy stretches
//! save the server from sorting what it will not send. The width follows what the
//! last answer held; it is never part of what is stored.

use std::time::Duration;

use crate::cursor::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);

/// PostHog refuses longer ranges where an instance restricts them.
const WIDEST: Duration = Duration::from_secs(366 * 86_400);

/// A width that adapts.
#[derive(Debug)]
pub(super) struct Width {
    now: Duration,
    narrowest: Duration,
    /// A window may be so many times as long as what a full page of it spans.
    slack: u32,
}

impl Width {
    /// Begins with a day; never asks for less than `narrowest`.
    pub(super) fn at_least(narrowest: Duration, slack: u32) -> Self {
        Self { now: DAY.max(narrowest), narrowest, slack }
    }

    /// Begins as wide as it gets: what is asked for is rare, however much lies around it.
    pub(super) fn widest(mut self) -> Self {
        self.now = WIDEST;
        self
    }

    /// The end of the window that begins at `from`.
    pub(super) fn end(&self, from: Timestamp, limit: Timestamp) -> Timestamp {
        from.plus(self.now).min(limit)
    }

    /// Learns from an answer that had `rows` of the `page` rows it might have had, in so much
    /// time.
    pub(super) fn learn(&mut self, rows: u64, page: u64, spanned: Duration) {
        if rows < page / 2 {
            self.now = (self.now * 2).min(WIDEST);
        } else if self.now > spanned * self.slack {
            self.narrow();
        }
    }

    /// Makes windows half as wide; false where they are as narrow as they get.
    pub(super) fn narrow(&mut self) -> bool {
        let before = self.now;
        self.now = (self.now / 2).max(self.narrowest.min(self.now));
        self.now < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_widen_over_empty_stretches_and_narrow_over_busy_ones() {
        let start = Timestamp::from_micros(0);
        let far = start.plus(WIDEST * 3);
        let mut width = Width::at_least(DAY, 2);

        for _ in 0..20 {
            width.learn(0, 1000, WIDEST);
        }
        assert_eq!(width.end(start, far), start.plus(WIDEST));

        for _ in 0..20 {
            width.learn(1000, 1000, DAY * 3);
        }
        assert_eq!(width.end(start, far), start.plus(WIDEST / 64));

        for _ in 0..20 {
            width.learn(1000, 1000, DAY / 2);
        }
        assert_eq!(width.end(start, far), start.plus(DAY));
        assert!(!width.narrow());
    }
}
