//! What was accepted and is not delivered yet: a database that outlives the process.
//!
//! What [`Outbox::accept`] has returned for survives kill -9 and a power cut; several calls' events
//! in one call are one sync of the disk. An event leaves only when PostHog has answered for it, so
//! it may be sent twice, with the same bytes, and is never forgotten. One that PostHog refused stays
//! with the reason until somebody decides. The outbox is bounded: where it is full it takes nothing
//! and says so; it never drops anything.
//!
//! Any number of processes may accept; one at a time delivers (see [`Lock`](crate::state::lock)).
//! No token is stored: an event's destination is its host and a mark made of the token, and whoever
//! delivers brings the token.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::Serialize;
use uuid::Uuid;

use super::batch::Item;
use super::deliver::{Receipts, Settled, Unkept};
use super::event::Sealed;
use crate::config::secret::Secret;
use crate::cursor::Timestamp;
use crate::state::database::{self, Fault};

/// How many bytes an outbox has at most, unless somebody says otherwise.
pub const MOST_BYTES: u64 = 1 << 30;

/// The most bytes of events that are read at once.
const PAGE_BYTES: usize = 256 << 10;

/// The form of the database, in `user_version`.
const FORM: i64 = 1;

const TABLES: &str = "
CREATE TABLE destinations (
  id INTEGER PRIMARY KEY, origin TEXT NOT NULL, mark TEXT NOT NULL, historical INTEGER NOT NULL,
  UNIQUE (origin, mark, historical)
);
CREATE TABLE events (
  number INTEGER PRIMARY KEY AUTOINCREMENT, destination INTEGER NOT NULL, uuid BLOB NOT NULL,
  event TEXT NOT NULL, distinct_id TEXT NOT NULL, json TEXT NOT NULL, accepted TEXT NOT NULL,
  code TEXT, reason TEXT
);
CREATE UNIQUE INDEX once ON events (destination, uuid, event, distinct_id);
CREATE INDEX refused ON events (destination, code) WHERE code IS NOT NULL;";

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Scheme, host and port of the capture host.
    pub origin: String,
    /// Made of the project's token; tells it from others and gives nothing away.
    pub mark: String,
    /// Whether they go the slower way of events of the past.
    pub historical: bool,
}

impl Destination {
    /// The project with this token at this host.
    pub fn new(origin: &str, token: &Secret, historical: bool) -> Self {
        let mark = Uuid::new_v5(&Uuid::NAMESPACE_OID, token.expose().as_bytes());
        Self { origin: origin.to_owned(), mark: mark.simple().to_string(), historical }
    }
}

/// Why the outbox cannot do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// There is no room: deliver first.
    #[error("the outbox {} is full: it holds {used} of at most {most} bytes", path.display())]
    Full {
        /// The database.
        path: PathBuf,
        /// What it holds.
        used: u64,
        /// What it may hold.
        most: u64,
    },
    /// The database cannot be read or written.
    #[error("the outbox {} cannot be used: {cause}", path.display())]
    Unusable {
        /// The database.
        path: PathBuf,
        /// What SQLite or the system says.
        cause: String,
        /// What to do about it.
        hint: &'static str,
    },
}

/// How many events were accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accepted {
    /// New ones.
    pub added: u64,
    /// Those that wait there already, with the same uuid.
    pub known: u64,
}

/// What waits for one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// The capture host.
    pub origin: String,
    /// The mark of the token.
    pub mark: String,
    /// Whether they are events of the past.
    pub historical: bool,
    /// How many are to be delivered.
    pub events: i64,
    /// How many PostHog refused.
    pub refused: i64,
    /// The bytes of all of them.
    pub bytes: i64,
    /// When the oldest was accepted.
    pub oldest: String,
}

/// How full an outbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// How many events are to be delivered.
    pub waiting: i64,
    /// How many PostHog refused.
    pub refused: i64,
    /// The bytes that are in use.
    pub used: u64,
    /// The most that may be.
    pub most: u64,
    /// When the oldest was accepted that is to be delivered.
    pub oldest: Option<Timestamp>,
}

/// An event that PostHog refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Its place in the outbox.
    pub number: i64,
    /// The word for why.
    pub code: String,
    /// What PostHog said.
    pub reason: String,
    /// The event's JSON.
    pub json: String,
}

/// Which events are thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge {
    /// Those that PostHog refused.
    Refused,
    /// All of them.
    Everything,
}

/// The outbox of a state folder.
#[derive(Debug)]
pub struct Outbox {
    db: Connection,
    path: PathBuf,
    most: u64,
}

impl Outbox {
    /// Opens the outbox at `path`, or makes it; it takes `most` bytes at most.
    ///
    /// # Errors
    ///
    /// It cannot be read or written, or is not ours.
    pub fn open(path: &Path, most: u64) -> Result<Self, OutboxError> {
        let db = database::open(path, TABLES, FORM).map_err(|fault| unusable(fault, path))?;
        Ok(Self { db, path: path.to_owned(), most })
    }

    /// Takes events in, all or none; when this returns they are on the disk.
    ///
    /// # Errors
    ///
    /// There is no room for them, or they cannot be written.
    pub fn accept(
        &mut self,
        to: &Destination,
        events: &[Sealed],
        now: Timestamp,
    ) -> Result<Accepted, OutboxError> {
        self.accept_each(&[(to, events)], now)?.remove(0)
    }

    /// Takes in the events of many callers, of each all or none, with one sync of the disk for
    /// all; when this returns they are there.
    ///
    /// # Errors
    ///
    /// They cannot be written. Each caller for whom there is no room has an error of its own.
    pub fn accept_each(
        &mut self,
        parcels: &[(&Destination, &[Sealed])],
        now: Timestamp,
    ) -> Result<Vec<Result<Accepted, OutboxError>>, OutboxError> {
        let most = self.most;
        let accepted = accept(&mut self.db, parcels, now, most);
        let accepted = accepted.map_err(|err| unusable(err, &self.path))?;
        crash_point!("in the outbox");
        let full = |used| OutboxError::Full { path: self.path.clone(), used, most };
        Ok(accepted.into_iter().map(|accepted| accepted.map_err(full)).collect())
    }

    /// The next events for a destination behind the place `after`, in the order in which they
    /// came; none where all of them were taken.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn next(&self, to: &Destination, after: i64) -> Result<Vec<Item>, OutboxError> {
        next(&self.db, to, after).map_err(|err| unusable(err, &self.path))
    }

    /// What waits in all, in figures that are cheap to ask for.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn level(&self) -> Result<Level, OutboxError> {
        let level = || {
            let count = |sql: &str| self.db.query_row(sql, [], |row| row.get::<_, i64>(0));
            let refused = count("SELECT count(*) FROM events WHERE code IS NOT NULL")?;
            let oldest = "SELECT accepted FROM events WHERE code IS NULL ORDER BY number LIMIT 1";
            let oldest = self.db.query_row(oldest, [], |row| row.get::<_, String>(0)).optional()?;
            Ok(Level {
                waiting: count("SELECT count(*) FROM events")? - refused,
                refused,
                used: used(&self.db)?,
                most: self.most,
                oldest: oldest.and_then(|text| Timestamp::parse(&text)),
            })
        };
        level().map_err(|err: rusqlite::Error| unusable(err, &self.path))
    }

    /// What waits, for each destination.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn waiting(&self) -> Result<Vec<Waiting>, OutboxError> {
        let sql = "SELECT origin, mark, historical, count(*) FILTER (WHERE code IS NULL),
            count(code), sum(length(CAST(json AS BLOB))), min(accepted)
            FROM events JOIN destinations ON destinations.id = destination
            GROUP BY destination ORDER BY origin, mark, historical";
        self.query(sql, |row| {
            Ok(Waiting {
                origin: row.get(0)?,
                mark: row.get(1)?,
                historical: row.get(2)?,
                events: row.get(3)?,
                refused: row.get(4)?,
                bytes: row.get(5)?,
                oldest: row.get(6)?,
            })
        })
    }

    /// The first events that PostHog refused, at most a hundred.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn refused(&self) -> Result<Vec<Refused>, OutboxError> {
        let sql = "SELECT number, code, reason, json FROM events
            WHERE code IS NOT NULL ORDER BY number LIMIT 100";
        self.query(sql, |row| {
            Ok(Refused {
                number: row.get(0)?,
                code: row.get(1)?,
                reason: row.get(2)?,
                json: row.get(3)?,
            })
        })
    }

    /// Lets what PostHog refused be sent once more; tells how many there are.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn forgive(&self, to: &Destination) -> Result<u64, OutboxError> {
        let sql = "UPDATE events SET code = NULL, reason = NULL WHERE code IS NOT NULL
            AND destination = (SELECT id FROM destinations
                               WHERE origin = ?1 AND mark = ?2 AND historical = ?3)";
        self.change(sql, params![to.origin, to.mark, to.historical])
    }

    /// Throws events away; tells how many.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn purge(&self, which: Purge) -> Result<u64, OutboxError> {
        let sql = match which {
            Purge::Refused => "DELETE FROM events WHERE code IS NOT NULL",
            Purge::Everything => "DELETE FROM events",
        };
        self.change(sql, [])
    }

    fn change(&self, sql: &str, values: impl rusqlite::Params) -> Result<u64, OutboxError> {
        let changed = self.db.execute(sql, values);
        changed.map(|rows| rows as u64).map_err(|err| unusable(err, &self.path))
    }

    fn query<T>(
        &self,
        sql: &str,
        row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, OutboxError> {
        let all = || self.db.prepare(sql)?.query_map([], row)?.collect();
        let all: rusqlite::Result<Vec<T>> = all();
        all.map_err(|err| unusable(err, &self.path))
    }
}

impl Receipts for Outbox {
    /// Lets go what was delivered, and notes what was refused.
    fn settle(&mut self, settled: Settled) -> Result<(), Unkept> {
        crash_point!("before the outbox is marked");
        // SQLite may wait for the disk.
        let marked = tokio::task::block_in_place(|| mark(&mut self.db, &settled));
        crash_point!("after the outbox is marked");
        marked.map_err(|err| Unkept(unusable(err, &self.path).to_string()))
    }
}

fn mark(db: &mut Connection, settled: &Settled) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut delete = transaction.prepare_cached("DELETE FROM events WHERE number = ?1")?;
        for item in &settled.delivered {
            delete.execute([item.number])?;
        }
        let mut refuse = transaction
            .prepare_cached("UPDATE events SET code = ?2, reason = ?3 WHERE number = ?1")?;
        for (item, rejection) in &settled.refused {
            refuse.execute(params![item.number, rejection.code.to_string(), rejection.reason])?;
        }
    }
    transaction.commit()
}

/// Inserts the events of each; where there is no room for them, what is used instead.
fn accept(
    db: &mut Connection,
    parcels: &[(&Destination, &[Sealed])],
    now: Timestamp,
    most: u64,
) -> rusqlite::Result<Vec<Result<Accepted, u64>>> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut used = used(&transaction)?;
    let mut all = Vec::with_capacity(parcels.len());
    for (to, events) in parcels {
        let coming = events.iter().map(|event| event.json.len() as u64).sum::<u64>();
        all.push(match used + coming > most {
            true => Err(used),
            false => {
                used += coming;
                Ok(insert(&transaction, to, events, now)?)
            }
        });
    }
    transaction.commit()?;
    Ok(all)
}

fn insert(
    db: &Connection,
    to: &Destination,
    events: &[Sealed],
    now: Timestamp,
) -> rusqlite::Result<Accepted> {
    let destination = destination(db, to)?;
    let mut accepted = Accepted::default();
    let mut insert = db.prepare_cached(
        "INSERT INTO events (destination, uuid, event, distinct_id, json, accepted)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
    )?;
    let now = now.to_string();
    for event in events {
        let Sealed { uuid, event, distinct_id, json } = event;
        let values = params![destination, uuid.as_bytes(), &**event, &**distinct_id, &**json, now];
        match insert.execute(values)? {
            0 => accepted.known += 1,
            _ => accepted.added += 1,
        }
    }
    Ok(accepted)
}

/// The bytes that are in use: pages that are free count as room.
fn used(db: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name| db.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let used = (pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?;
    Ok(used.unsigned_abs())
}

fn destination(db: &Connection, to: &Destination) -> rusqlite::Result<i64> {
    let values = params![to.origin, to.mark, to.historical];
    let known = "SELECT id FROM destinations WHERE origin = ?1 AND mark = ?2 AND historical = ?3";
    if let Some(id) = db.query_row(known, values, |row| row.get(0)).optional()? {
        return Ok(id);
    }
    db.execute("INSERT INTO destinations (origin, mark, historical) VALUES (?1, ?2, ?3)", values)?;
    Ok(db.last_insert_rowid())
}

fn next(db: &Connection, to: &Destination, after: i64) -> rusqlite::Result<Vec<Item>> {
    let sql = "SELECT number, uuid, event, distinct_id, json FROM events
        WHERE number > ?1 AND code IS NULL
        AND destination = (SELECT id FROM destinations
                           WHERE origin = ?2 AND mark = ?3 AND historical = ?4)
        ORDER BY number LIMIT 500";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(params![after, to.origin, to.mark, to.historical])?;
    let (mut items, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()?
        && bytes < PAGE_BYTES
    {
        let text = |column| row.get::<_, String>(column).map(String::into_boxed_str);
        let json = text(4)?;
        bytes += json.len();
        let event = Sealed {
            uuid: Uuid::from_bytes(row.get(1)?),
            event: text(2)?,
            distinct_id: text(3)?,
            json,
        };
        items.push(Item { number: row.get(0)?, event });
    }
    Ok(items)
}

fn unusable(fault: impl Into<Fault>, path: &Path) -> OutboxError {
    let (cause, hint) =
        fault.into().told("it is damaged: restore it from a backup, or move it away");
    OutboxError::Unusable { path: path.to_owned(), cause, hint }
}

#[cfg(test)]
mod tests;
