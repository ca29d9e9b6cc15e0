//! Whose turn it is to write a database.
//!
//! SQLite has one writer at a time, and several streams of a run may end in one
//! file. They queue here, first come first served, so that `BEGIN IMMEDIATE`
//! never fails because of ourselves; another process is waited for by SQLite.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

static QUEUES: LazyLock<Mutex<HashMap<PathBuf, Arc<Queue>>>> = LazyLock::new(Mutex::default);

/// The tickets of one database.
#[derive(Debug, Default)]
struct Queue {
    tickets: Mutex<Tickets>,
    turned: Condvar,
}

#[derive(Debug, Default)]
struct Tickets {
    handed_out: u64,
    serving: u64,
}

/// The right to write one database; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn(Arc<Queue>);

/// Blocks until nobody else in this process writes the database at `path`.
pub(super) fn wait(path: &Path) -> Turn {
    let name = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let queue = Arc::clone(lock(&QUEUES).entry(name).or_default());
    let mut tickets = lock(&queue.tickets);
    let mine = tickets.handed_out;
    tickets.handed_out += 1;
    while tickets.serving != mine {
        tickets = queue.turned.wait(tickets).unwrap_or_else(PoisonError::into_inner);
    }
    drop(tickets);
    Turn(queue)
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.0.tickets).serving += 1;
        self.0.turned.notify_all();
    }
}

/// Nothing here can panic while it holds a lock, so a poisoned one is still right.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn writers_of_one_database_take_turns() {
        let inside = AtomicU32::new(0);

        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let _turn = wait(Path::new("one.db"));
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });

        let _other = wait(Path::new("one.db"));
        let _apart = wait(Path::new("two.db"));
    }
}
