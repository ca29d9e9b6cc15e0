//! Whether the process was asked to stop, for those who wait where nobody can drop them.
//!
//! Streams hear of a stop through their channel. SQLite's wait for another process's lock is
//! deep in its own code, on a thread that only it can end: it asks here between two looks. A
//! server's answer is waited for on such a thread too, and given up when it is [`heard`] here.
//! A signal is the whole process's, and so is this.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::sync::watch;

static IS_ASKED: LazyLock<watch::Sender<bool>> = LazyLock::new(|| watch::Sender::new(false));

/// The longest between two looks at a lock, and so the slowest that a stop is heard.
const LOOK: Duration = Duration::from_millis(50);

/// From now on nothing is waited for.
pub(crate) fn ask() {
    IS_ASKED.send_replace(true);
}

/// Whether a stop was asked for.
pub(crate) fn is_asked() -> bool {
    *IS_ASKED.borrow()
}

/// What turns true once a stop is asked for.
pub(crate) fn heard() -> watch::Receiver<bool> {
    IS_ASKED.subscribe()
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
    if is_over || is_asked() {
        return false;
    }
    // Most locks are held for milliseconds.
    std::thread::sleep(LOOK.min(Duration::from_millis(1) * (1 << tries.min(10))));
    true
}
