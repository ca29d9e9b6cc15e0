//! The time, and waiting for it to pass.
//!
//! Asking needs both: a ledger of windows and retries with delays. Tests hold
//! the clock still: it moves only when something waits, at once and by as much.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::cursor::Timestamp;

/// Where the time comes from.
#[derive(Debug, Clone)]
pub(super) enum Clock {
    /// This machine.
    System,
    /// A test.
    #[cfg(test)]
    Held(std::sync::Arc<std::sync::Mutex<Held>>),
}

/// A clock that stands still.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct Held {
    /// The time it shows.
    pub now: Timestamp,
    /// What has been waited, in order.
    pub waits: Vec<Duration>,
}

impl Clock {
    /// The time now.
    pub(super) fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            #[cfg(test)]
            Self::Held(held) => held.lock().unwrap().now,
        }
    }

    /// The time now, as far as it passed since the first reading: no step of this machine's
    /// clock shows in it.
    pub(super) fn steady(&self) -> Timestamp {
        static FIRST: LazyLock<(Timestamp, Instant)> =
            LazyLock::new(|| (Timestamp::now(), Instant::now()));
        match self {
            Self::System => FIRST.0.plus(FIRST.1.elapsed()),
            #[cfg(test)]
            Self::Held(_) => self.now(),
        }
    }

    /// Lets `span` pass.
    pub(super) async fn wait(&self, span: Duration) {
        match self {
            Self::System => tokio::time::sleep(span).await,
            #[cfg(test)]
            Self::Held(held) => {
                let mut held = held.lock().unwrap();
                held.now = held.now.plus(span);
                held.waits.push(span);
            }
        }
    }
}
