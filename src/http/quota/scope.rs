//! One counter of one project in the ledger's tables.
//!
//! What was spent, by tenths of a second, and until when PostHog refuses. Entries made before a
//! clock was set are moved, not dropped: dropping them would allow a whole window at once,
//! keeping them where they are would hold everybody back until then.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row};

use crate::cursor::Timestamp;
use crate::http::window::Spent;

/// How long others wait for the request that goes first after a 429: longer than an answer
/// takes. One that is never answered, as its process died, is then forgotten.
const PROBE: Duration = Duration::from_secs(60);

/// Entries further in the future were made before the clock was set back. Nearer ones
/// count as made now.
const DRIFT: Duration = Duration::from_secs(60);

/// One counter of one project.
pub(super) struct Scope<'a> {
    pub(super) origin: &'a str,
    pub(super) project: &'a str,
    pub(super) counter: &'a str,
}

impl Scope<'_> {
    pub(super) fn enter(
        &self,
        tx: &Connection,
        at: Timestamp,
        requests: u32,
    ) -> rusqlite::Result<()> {
        tx.prepare_cached(
            "INSERT INTO spent VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE
             SET requests = requests + excluded.requests, last = max(last, excluded.last)",
        )?
        .execute((self.origin, self.project, self.counter, tick(at), at.micros(), requests))
        .map(drop)
    }

    /// Entries in the future were made before the clock was set back: the last of them counts
    /// as made now, the others as much earlier as they were.
    pub(super) fn rebase(&self, tx: &Connection, now: Timestamp) -> rusqlite::Result<()> {
        let horizon = tick(now.plus(DRIFT));
        let future: Vec<Spent> = tx
            .prepare_cached(
                "SELECT last, requests FROM spent WHERE origin = ?1 AND project = ?2
                 AND counter = ?3 AND tick > ?4 ORDER BY tick",
            )?
            .query_map((self.origin, self.project, self.counter, horizon), entry)?
            .collect::<Result<_, _>>()?;
        let Some(newest) = future.last().map(|newest| newest.last) else { return Ok(()) };
        tx.prepare_cached(
            "DELETE FROM spent WHERE origin = ?1 AND project = ?2 AND counter = ?3 AND tick > ?4",
        )?
        .execute((self.origin, self.project, self.counter, horizon))?;
        let moved =
            |entry: &Spent| self.enter(tx, now.minus(newest.since(entry.last)), entry.requests);
        future.iter().try_for_each(moved)
    }

    pub(super) fn shift(&self, tx: &Connection, by: Duration) -> rusqlite::Result<()> {
        let seconds = i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
        let of = (self.origin, self.project, self.counter);
        let entries: Vec<Spent> = tx
            .prepare_cached(
                "DELETE FROM spent WHERE origin = ?1 AND project = ?2 AND counter = ?3
                 RETURNING last, requests",
            )?
            .query_map(of, entry)?
            .collect::<Result<_, _>>()?;
        let span = Duration::from_secs(seconds.unsigned_abs());
        entries
            .iter()
            .try_for_each(|entry| self.enter(tx, entry.last.plus(span), entry.requests))?;
        tx.prepare_cached(
            "UPDATE blocked SET since = since + ?4, until = until + ?4
             WHERE origin = ?1 AND project = ?2 AND counter = ?3",
        )?
        .execute((self.origin, self.project, self.counter, seconds * 1_000_000))
        .map(drop)
    }

    /// What was spent in the last `per`, oldest first.
    pub(super) fn spent(
        &self,
        tx: &Connection,
        now: Timestamp,
        per: Duration,
    ) -> rusqlite::Result<Vec<Spent>> {
        tx.prepare_cached(
            "SELECT last, requests FROM spent WHERE origin = ?1 AND project = ?2 AND counter = ?3
             AND tick BETWEEN ?4 AND ?5 ORDER BY tick",
        )?
        .query_map(
            (self.origin, self.project, self.counter, tick(now.minus(per)), tick(now.plus(DRIFT))),
            entry,
        )?
        .collect()
    }

    /// Until when PostHog refuses, and whether a request is under way to see if it still does.
    pub(super) fn blocked(
        &self,
        tx: &Connection,
        now: Timestamp,
    ) -> rusqlite::Result<Option<(Timestamp, bool)>> {
        tx.prepare_cached(
            "SELECT until, probing FROM blocked WHERE origin = ?1 AND project = ?2
             AND counter = ?3 AND until > ?4 AND since <= ?5",
        )?
        .query_row(
            (self.origin, self.project, self.counter, now.micros(), now.plus(DRIFT).micros()),
            |row| Ok((Timestamp::from_micros(row.get(0)?), row.get(1)?)),
        )
        .optional()
    }

    pub(super) fn block(
        &self,
        tx: &Connection,
        until: Timestamp,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        // A later end stays, unless it comes from a clock that was set back since.
        tx.prepare_cached(
            "INSERT INTO blocked VALUES (?1, ?2, ?3, ?4, ?5, 0) ON CONFLICT DO UPDATE
             SET until = iif(since > ?6 OR probing, excluded.until, max(until, excluded.until)),
                 since = excluded.since, probing = 0",
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

    /// Lets one request go first where a 429's wait is over, and says whether this is the one.
    pub(super) fn probe(&self, tx: &Connection, now: Timestamp) -> rusqlite::Result<bool> {
        tx.prepare_cached(
            "UPDATE blocked SET since = ?4, until = ?5, probing = 1
             WHERE origin = ?1 AND project = ?2 AND counter = ?3",
        )?
        .execute((self.origin, self.project, self.counter, now.micros(), now.plus(PROBE).micros()))
        .map(|rows| rows > 0)
    }

    /// Ends the wait of all others where the request that went first was answered; where it was
    /// not, lets another go first.
    pub(super) fn settle(&self, tx: &Connection, is_answered: bool) -> rusqlite::Result<()> {
        let sql = if is_answered {
            "DELETE FROM blocked WHERE origin = ?1 AND project = ?2 AND counter = ?3 AND probing"
        } else {
            "UPDATE blocked SET until = since, probing = 0
             WHERE origin = ?1 AND project = ?2 AND counter = ?3 AND probing"
        };
        tx.prepare_cached(sql)?.execute((self.origin, self.project, self.counter)).map(drop)
    }

    pub(super) fn prune(
        &self,
        tx: &Connection,
        now: Timestamp,
        keep: Duration,
    ) -> rusqlite::Result<()> {
        tx.prepare_cached(
            "DELETE FROM spent WHERE origin = ?1 AND project = ?2 AND counter = ?3
             AND tick NOT BETWEEN ?4 AND ?5",
        )?
        .execute((
            self.origin,
            self.project,
            self.counter,
            tick(now.minus(keep)),
            tick(now.plus(DRIFT)),
        ))
        .map(drop)
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Spent> {
    Ok(Spent { last: Timestamp::from_micros(row.get(0)?), requests: row.get(1)? })
}

/// The tenth of a second: fine enough for windows of a second, and few rows.
fn tick(at: Timestamp) -> i64 {
    at.micros().div_euclid(100_000)
}
