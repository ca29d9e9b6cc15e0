//! The ledger: what of PostHog's quotas is spent, shared by all runs of a machine.
//!
//! One SQLite file counts requests by (origin, project, counter) and moment. A
//! request is allowed and entered in one short transaction, so two processes
//! cannot both take the last one. A 429 is entered as well and holds everybody back;
//! when its wait is over one request goes first to see whether that is true. PostHog's
//! own count outranks ours: what a 429 proves that others have spent is entered too.
//!
//! The ledger is advice, not data. One that cannot be read is set aside and
//! begun again; where no file can be written it is kept in memory; where even
//! that fails requests go out uncounted, and a 429 corrects us. It never stops
//! a run, reads no clock, and waits for nothing but SQLite's lock.

mod scope;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use scope::Scope;
use store::{Store, is_busy};

use super::window::{self, Wait};
use crate::config::Allowance;
use crate::cursor::Timestamp;

/// Entries are kept at least this long, for processes with longer windows than ours.
const KEEP: Duration = Duration::from_secs(86_400);

/// No 429 holds back longer: a wait beyond is a mistake that would outlive its cause.
const LONGEST_BLOCK: Duration = Duration::from_secs(86_400);

/// Windows from here on are spread even where a request has no other.
const LONG: Duration = Duration::from_secs(600);

/// PostHog names waits in whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// How often they look whether it was answered.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

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
    /// A slower pace is not kept: the run spends what there is and comes back.
    pub longest_pace: Duration,
}

/// What is left of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Requests that may be sent now.
    pub requests: u32,
    /// What the quota allows.
    pub of: Allowance,
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
    /// The counters for which a request of ours went first after a 429.
    probes: Mutex<BTreeSet<String>>,
}

impl Ledger {
    /// Opens the ledger at `path`, or one in memory.
    ///
    /// # Errors
    ///
    /// Not even one in memory can be had.
    pub(super) fn open(path: Option<&Path>, quotas: Quotas) -> rusqlite::Result<Self> {
        let store = Store::open(path.map(Path::to_path_buf))?;
        Ok(Self { quotas, store: Mutex::new(store), probes: Mutex::default() })
    }

    /// Enters one request in all of `counters`, or says why it has to wait.
    pub(super) fn spend(&self, counters: &[String], now: Timestamp) -> Option<Hold> {
        let (hold, probed) = self.transaction(|tx| {
            let mut longest: Option<Hold> = None;
            for counter in counters {
                let scope = self.scope(counter);
                scope.rebase(tx, now)?;
                scope.prune(tx, now, self.keep())?;
                for hold in self.holds(tx, &scope, counters, now)? {
                    if longest.as_ref().is_none_or(|l| hold.wait > l.wait) {
                        longest = Some(hold);
                    }
                }
            }
            let mut probed = Vec::new();
            for counter in counters.iter().filter(|_| longest.is_none()) {
                self.scope(counter).enter(tx, now, 1)?;
                if self.scope(counter).probe(tx, now)? {
                    probed.push(counter.clone());
                }
            }
            Ok((longest, probed))
        })?;
        self.probes().extend(probed);
        hold
    }

    /// Holds everybody's requests back for `wait`, as PostHog refused one. Where it named the
    /// wait itself, what that proves of others is entered.
    pub(super) fn refused(
        &self,
        counters: &[String],
        wait: Duration,
        advised: Option<Duration>,
        now: Timestamp,
    ) {
        let until = now.plus(wait.min(LONGEST_BLOCK));
        let done = self.transaction(|tx| {
            counters.iter().try_for_each(|counter| self.scope(counter).block(tx, until, now))?;
            match advised.filter(|_| self.quotas.enforce) {
                Some(advised) => self.enter_others(tx, counters, advised, now),
                None => Ok(()),
            }
        });
        self.probes().retain(|counter| !counters.contains(counter));
        if done.is_none() {
            tracing::warn!("other runs do not hear of this 429");
        }
    }

    /// Enters what others spent of the window that refused for so long: the one that needs
    /// the fewest of them to be full. They are taken as evenly spread over the time in which
    /// they can have been sent, which is all that is known.
    fn enter_others(
        &self,
        tx: &Connection,
        counters: &[String],
        wait: Duration,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let mut fewest: Option<(u32, &String, Duration)> = None;
        for counter in counters {
            let allowances = self.quotas.limits.get(counter).into_iter().flatten();
            // Whole seconds are told, rounded up.
            let could_refuse = |allowance: &&Allowance| allowance.per + SECOND >= wait;
            for allowance in allowances.filter(could_refuse) {
                let spent = self.scope(counter).spent(tx, now, allowance.reach())?;
                let left = window::left(*allowance, &spent, now);
                if fewest.is_none_or(|(others, ..)| left < others) {
                    fewest = Some((left, counter, allowance.per.saturating_sub(wait)));
                }
            }
        }
        let Some((others @ 1.., counter, span)) = fewest else { return Ok(()) };
        tracing::info!("others have spent {others} of the quota `{counter}`");
        let seconds = u32::try_from(span.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        for n in 0..seconds.min(others) {
            let share = others / seconds.min(others) + u32::from(n < others % seconds.min(others));
            let ago = span.mul_f64(f64::from(n) / f64::from(seconds.min(others)));
            self.scope(counter).enter(tx, now.minus(ago), share)?;
        }
        Ok(())
    }

    /// Whether a request of ours went first after a 429.
    pub(super) fn is_probing(&self, counters: &[String]) -> bool {
        let probes = self.probes();
        counters.iter().any(|counter| probes.contains(counter))
    }

    /// The request that went first was not refused: all may go on. Where it was not even
    /// answered, the next one goes first.
    pub(super) fn settle(&self, counters: &[String], is_answered: bool) {
        self.transaction(|tx| {
            counters.iter().try_for_each(|counter| self.scope(counter).settle(tx, is_answered))
        });
        self.probes().retain(|counter| !counters.contains(counter));
    }

    /// Moves everything so far: the clock was set forward by so much.
    pub(super) fn shift(&self, by: Duration) {
        self.transaction(|tx| {
            for counter in self.quotas.limits.keys() {
                self.scope(counter).shift(tx, by)?;
            }
            Ok(())
        });
    }

    fn probes(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is left of each counter's longest window.
    pub(super) fn left(&self, now: Timestamp) -> BTreeMap<String, Left> {
        self.transaction(|tx| {
            let mut left = BTreeMap::new();
            for (counter, allowances) in &self.quotas.limits {
                let Some(allowance) = allowances.iter().max_by_key(|a| a.per) else { continue };
                let scope = self.scope(counter);
                let spent = scope.spent(tx, now, allowance.reach())?;
                let is_blocked = scope.blocked(tx, now)?.is_some();
                let requests = if is_blocked { 0 } else { window::left(*allowance, &spent, now) };
                left.insert(counter.clone(), Left { requests, of: *allowance });
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
        counters: &[String],
        now: Timestamp,
    ) -> rusqlite::Result<Vec<Hold>> {
        let counter = scope.counter;
        let mut holds = Vec::new();
        if let Some((until, is_probing)) = scope.blocked(tx, now)? {
            let why =
                format!("PostHog answered 429 to an earlier request of the quota `{counter}`");
            let wait = until.since(now);
            holds.push(Hold { wait: if is_probing { wait.min(LOOK_AGAIN) } else { wait }, why });
        }
        let allowances = self.quotas.limits.get(counter).filter(|_| self.quotas.enforce);
        for allowance in allowances.into_iter().flatten() {
            let spent = scope.spent(tx, now, allowance.reach())?;
            let is_spread = self.is_spread(counters, *allowance);
            let wait = match window::hold(*allowance, &spent, now, is_spread) {
                Wait::Room(wait) => wait,
                Wait::Pace(wait) if wait <= self.quotas.longest_pace => wait,
                Wait::Pace(_) => Duration::ZERO,
            };
            if !wait.is_zero() {
                holds.push(Hold { wait, why: format!("the quota `{counter}` is {allowance}") });
            }
        }
        Ok(holds)
    }

    /// Of several windows of a request the longest is spread; the others are over sooner
    /// than spreading would help.
    fn is_spread(&self, counters: &[String], allowance: Allowance) -> bool {
        let spans = || counters.iter().filter_map(|c| self.quotas.limits.get(c)).flatten();
        let is_longest = spans().all(|other| other.per <= allowance.per);
        is_longest && (allowance.per >= LONG || spans().any(|other| other.per < allowance.per))
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
