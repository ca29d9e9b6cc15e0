//! The ledger: what of PostHog's quotas is spent, shared by all runs of a machine.
//!
//! One SQLite file counts requests by (origin, project, counter) and second. A
//! request is allowed and entered in one short transaction, so two processes
//! cannot both take the last one. A 429 that names a wait is entered as well and
//! holds everybody back: PostHog's own count outranks ours.
//!
//! The ledger is advice, not data. One that cannot be read is set aside and
//! begun again; where no file can be written it is kept in memory; where even
//! that fails requests go out uncounted, and a 429 corrects us. It never stops
//! a run, reads no clock, and waits for nothing but SQLite's lock.

mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};
use store::{Store, is_busy};

use super::window::{self, Spent};
use crate::config::Allowance;
use crate::cursor::Timestamp;

/// Entries are kept at least this long, for processes with longer windows than ours.
const KEEP: Duration = Duration::from_secs(86_400);

/// No 429 holds back longer: a wait beyond is a mistake that would outlive its cause.
const LONGEST_BLOCK: Duration = Duration::from_secs(86_400);

/// Entries further in the future were made before the clock was set back, and
/// say nothing any more. Nearer ones count as made now.
const DRIFT: Duration = Duration::from_secs(60);

/// Whose quota it is, and how large.
#[derive(Debug, Clone)]
pub(super) struct Quotas {
    /// Scheme, host and port.
    pub origin: String,
    /// The project's id.
    pub project: String,
    /// What each counter allows. Counters that are not in it are counted only.
    pub limits: BTreeMap<String, Vec<Allowance>>,
    /// Whether a request waits for its allowances. Blocks hold in any case.
    pub enforce: bool,
}

/// Why a request may not go yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hold {
    /// How long from now. Whoever waited has to ask again: others wait as well.
    pub wait: Duration,
    /// One line for people.
    pub why: String,
}

/// The stored count, and what may be spent of it.
#[derive(Debug)]
pub(super) struct Ledger {
    quotas: Quotas,
    store: Mutex<Store>,
}

impl Ledger {
    /// Opens the ledger at `path`, or one in memory.
    ///
    /// # Errors
    ///
    /// Not even one in memory can be had.
    pub(super) fn open(path: Option<&Path>, quotas: Quotas) -> rusqlite::Result<Self> {
        let store = Store::open(path.map(Path::to_path_buf))?;
        Ok(Self { quotas, store: Mutex::new(store) })
    }

    /// Enters one request in all of `counters`, or says why it has to wait.
    pub(super) fn spend(&self, counters: &[String], now: Timestamp) -> Option<Hold> {
        self.transaction(|tx| {
            let mut longest: Option<Hold> = None;
            for counter in counters {
                let scope = self.scope(counter);
                scope.prune(tx, now, self.keep())?;
                for hold in self.holds(tx, &scope, now)? {
                    if longest.as_ref().is_none_or(|l| hold.wait > l.wait) {
                        longest = Some(hold);
                    }
                }
            }
            if longest.is_none() {
                counters.iter().try_for_each(|counter| self.scope(counter).enter(tx, now))?;
            }
            Ok(longest)
        })
        .flatten()
    }

    /// Holds everybody's requests back until `until`: PostHog said so.
    pub(super) fn block(&self, counters: &[String], until: Timestamp, now: Timestamp) {
        let until = until.min(now.plus(LONGEST_BLOCK));
        let done = self.transaction(|tx| {
            counters.iter().try_for_each(|counter| self.scope(counter).block(tx, until, now))
        });
        if done.is_none() {
            tracing::warn!("other runs do not hear of this 429");
        }
    }

    /// How many requests are left of each counter's longest window.
    pub(super) fn left(&self, now: Timestamp) -> BTreeMap<String, u32> {
        self.transaction(|tx| {
            let mut left = BTreeMap::new();
            for (counter, allowances) in &self.quotas.limits {
                let Some(allowance) = allowances.iter().max_by_key(|a| a.per) else { continue };
                let scope = self.scope(counter);
                let spent = scope.spent(tx, now, allowance.per)?;
                let is_blocked = scope.blocked(tx, now)?.is_some();
                let room = if is_blocked { 0 } else { window::left(*allowance, &spent, now) };
                left.insert(counter.clone(), room);
            }
            Ok(left)
        })
        .unwrap_or_default()
    }

    /// Everything that keeps a request of `scope` from going now.
    fn holds(
        &self,
        tx: &Connection,
        scope: &Scope<'_>,
        now: Timestamp,
    ) -> rusqlite::Result<Vec<Hold>> {
        let counter = scope.counter;
        let mut holds = Vec::new();
        if let Some(until) = scope.blocked(tx, now)? {
            let why =
                format!("PostHog answered 429 to an earlier request of the quota `{counter}`");
            holds.push(Hold { wait: until.since(now), why });
        }
        let allowances = self.quotas.limits.get(counter).filter(|_| self.quotas.enforce);
        for allowance in allowances.into_iter().flatten() {
            let spent = scope.spent(tx, now, allowance.per)?;
            let wait = window::hold(*allowance, &spent, now);
            if !wait.is_zero() {
                holds.push(Hold { wait, why: format!("the quota `{counter}` is {allowance}") });
            }
        }
        Ok(holds)
    }

    fn scope<'a>(&'a self, counter: &'a str) -> Scope<'a> {
        Scope { origin: &self.quotas.origin, project: &self.quotas.project, counter }
    }

    fn keep(&self) -> Duration {
        self.quotas.limits.values().flatten().map(|a| a.per).fold(KEEP, Duration::max)
    }

    /// Does `work` in one transaction; a second time, in a fresh ledger, where the
    /// first fails. `None` where that fails as well.
    fn transaction<T>(&self, work: impl Fn(&Connection) -> rusqlite::Result<T>) -> Option<T> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let error = match store.transaction(&work) {
            Ok(done) => return Some(done),
            Err(error) => error,
        };
        let again = if is_busy(&error) {
            Err(error)
        } else {
            store.reopen(&error).and_then(|()| store.transaction(&work))
        };
        again.inspect_err(|error| tracing::warn!(%error, "going on without the quota ledger")).ok()
    }
}

/// One counter of one project.
struct Scope<'a> {
    origin: &'a str,
    project: &'a str,
    counter: &'a str,
}

impl Scope<'_> {
    fn enter(&self, tx: &Connection, now: Timestamp) -> rusqlite::Result<()> {
        tx.prepare_cached(
            "INSERT INTO spent VALUES (?1, ?2, ?3, ?4, ?5, 1) ON CONFLICT DO UPDATE
             SET requests = requests + 1, last = max(last, excluded.last)",
        )?
        .execute((self.origin, self.project, self.counter, second(now), now.micros()))
        .map(drop)
    }

    /// What was spent in the last `per`, oldest first.
    fn spent(
        &self,
        tx: &Connection,
        now: Timestamp,
        per: Duration,
    ) -> rusqlite::Result<Vec<Spent>> {
        tx.prepare_cached(
            "SELECT last, requests FROM spent WHERE origin = ?1 AND project = ?2 AND counter = ?3
             AND second BETWEEN ?4 AND ?5 ORDER BY second",
        )?
        .query_map(
            (
                self.origin,
                self.project,
                self.counter,
                second(now.minus(per)),
                second(now.plus(DRIFT)),
            ),
            |row| Ok(Spent { last: Timestamp::from_micros(row.get(0)?), requests: row.get(1)? }),
        )?
        .collect()
    }

    /// Until when PostHog refuses; `None` where it does not.
    fn blocked(&self, tx: &Connection, now: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
        tx.prepare_cached(
            "SELECT until FROM blocked WHERE origin = ?1 AND project = ?2 AND counter = ?3
             AND until > ?4 AND since <= ?5",
        )?
        .query_row(
            (self.origin, self.project, self.counter, now.micros(), now.plus(DRIFT).micros()),
            |row| row.get(0).map(Timestamp::from_micros),
        )
        .optional()
    }

    fn block(&self, tx: &Connection, until: Timestamp, now: Timestamp) -> rusqlite::Result<()> {
        // A later end stays, unless it comes from a clock that was set back since.
        tx.prepare_cached(
            "INSERT INTO blocked VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE
             SET until = iif(since > ?6, excluded.until, max(until, excluded.until)), since = excluded.since",
        )?
        .execute((
            self.origin,
            self.project,
            self.counter,
            now.micros(),
            until.micros(),
            now.plus(DRIFT).micros(),
        ))
        .map(drop)
    }

    fn prune(&self, tx: &Connection, now: Timestamp, keep: Duration) -> rusqlite::Result<()> {
        tx.prepare_cached(
            "DELETE FROM spent WHERE origin = ?1 AND project = ?2 AND counter = ?3
             AND second NOT BETWEEN ?4 AND ?5",
        )?
        .execute((
            self.origin,
            self.project,
            self.counter,
            second(now.minus(keep)),
            second(now.plus(DRIFT)),
        ))
        .map(drop)
    }
}

fn second(at: Timestamp) -> i64 {
    at.micros().div_euclid(1_000_000)
}
