//! Whether the process was asked to stop, for those who wait where nobody can drop them.
//!
//! Streams hear of a stop through their channel. SQLite's wait for another process's lock is
//! deep in its own code, on a thread that only it can end: it asks here between two looks.
//! A signal is the whole process's, and so is this.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

static IS_ASKED: AtomicBool = AtomicBool::new(false);

/// The longest between two looks at a lock, and so the slowest that a stop is heard.
const LOOK: Duration = Duration::from_millis(50);

/// From now on nothing is waited for.
pub(crate) fn ask() {
    IS_ASKED.store(true, Ordering::Relaxed);
}

/// A busy handler of SQLite's that waits for so many seconds.
pub(crate) fn wait_seconds<const SECONDS: u64>(tries: i32) -> bool {
    wait_for_lock(tries, Duration::from_secs(SECONDS))
}

/// Waits a moment for another process's lock, and says whether to try again: for so long,
/// or until the process is asked to stop.
#[expect(clippy::disallowed_methods, reason = "on SQLite's own thread, and it hears a stop")]
pub(crate) fn wait_for_lock(tries: i32, patience: Duration) -> bool {
    let is_over = LOOK * tries.unsigned_abs() > patience;
    if is_over || IS_ASKED.load(Ordering::Relaxed) {
        return false;
    }
    // Most locks are held for milliseconds.
    std::thread::sleep(LOOK.min(Duration::from_millis(1) * (1 << tries.min(10))));
    true
}
