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

use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
use serde::Serialize;
use uuid::Uuid;

use super::batch::Item;
use super::deliver::{Receipts, Settled, Unkept};
use super::event::Sealed;
use crate::config::secret::Secret;
use crate::cursor::Timestamp;

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
CREATE INDEX refused ON events (destination, code) WHERE code IS NOT NULL;
PRAGMA user_version = 1;";

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
        let db = connect(path).map_err(|fault| fault.at(path))?;
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
        let most = self.most;
        let accepted = accept(&mut self.db, to, events, now, most);
        let accepted = accepted.map_err(|fault| fault.at(&self.path))?;
        crash_point!("in the outbox");
        match accepted {
            Ok(accepted) => Ok(accepted),
            Err(used) => Err(OutboxError::Full { path: self.path.clone(), used, most }),
        }
    }

    /// The next events for a destination behind the place `after`, in the order in which they
    /// came; none where all of them were taken.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn next(&self, to: &Destination, after: i64) -> Result<Vec<Item>, OutboxError> {
        next(&self.db, to, after).map_err(|err| Fault::from(err).at(&self.path))
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
        changed.map(|rows| rows as u64).map_err(|err| Fault::from(err).at(&self.path))
    }

    fn query<T>(
        &self,
        sql: &str,
        row: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, OutboxError> {
        let all = || self.db.prepare(sql)?.query_map([], row)?.collect();
        let all: rusqlite::Result<Vec<T>> = all();
        all.map_err(|err| Fault::from(err).at(&self.path))
    }
}

impl Receipts for Outbox {
    /// Lets go what was delivered, and notes what was refused.
    fn settle(&mut self, settled: Settled) -> Result<(), Unkept> {
        crash_point!("before the outbox is marked");
        // SQLite may wait for the disk.
        let marked = tokio::task::block_in_place(|| mark(&mut self.db, &settled));
        crash_point!("after the outbox is marked");
        marked.map_err(|err| Unkept(Fault::from(err).at(&self.path).to_string()))
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

/// Inserts events; where there is no room, what is used instead.
fn accept(
    db: &mut Connection,
    to: &Destination,
    events: &[Sealed],
    now: Timestamp,
    most: u64,
) -> Result<Result<Accepted, u64>, Fault> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let used = used(&transaction)?;
    let coming: usize = events.iter().map(|event| event.json.len()).sum();
    if used + coming as u64 > most {
        return Ok(Err(used));
    }
    let destination = destination(&transaction, to)?;
    let mut accepted = Accepted::default();
    {
        let mut insert = transaction.prepare_cached(
            "INSERT INTO events (destination, uuid, event, distinct_id, json, accepted)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
        )?;
        let now = now.to_string();
        for event in events {
            let Sealed { uuid, event, distinct_id, json } = event;
            let values =
                params![destination, uuid.as_bytes(), &**event, &**distinct_id, &**json, now];
            match insert.execute(values)? {
                0 => accepted.known += 1,
                _ => accepted.added += 1,
            }
        }
    }
    transaction.commit()?;
    Ok(Ok(accepted))
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

/// Why the database is not used.
enum Fault {
    Sqlite(rusqlite::Error),
    Io(std::io::Error),
    Foreign,
    Newer(i64),
}

impl From<rusqlite::Error> for Fault {
    fn from(err: rusqlite::Error) -> Self {
        Self::Sqlite(err)
    }
}

impl Fault {
    fn at(self, path: &Path) -> OutboxError {
        let path_hint = "check the path, and that you may write the file and its folder";
        let (cause, hint) = match self {
            Self::Sqlite(err) => {
                let hint = match err.sqlite_error_code() {
                    Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                        "another program uses it; let it finish, then run again"
                    }
                    Some(ErrorCode::DiskFull) => "free space on the disk, then run again",
                    Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                        "it is damaged: restore it from a backup, or move it away"
                    }
                    _ => path_hint,
                };
                (err.to_string(), hint)
            }
            Self::Io(err) => (err.to_string(), path_hint),
            Self::Foreign => {
                ("it is another program's".to_owned(), "name another place with --state")
            }
            Self::Newer(form) => (
                format!("it has the form {form}, made by a newer hogline"),
                "run that version of hogline, or a later one",
            ),
        };
        OutboxError::Unusable { path: path.to_owned(), cause, hint }
    }
}

fn connect(path: &Path) -> Result<Connection, Fault> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Fault::Io)?;
    }
    let mut db = Connection::open(path)?;
    db.busy_handler(Some(crate::stop::wait_seconds::<10>))?;
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
    // In a transaction of its own: two processes may open a new outbox at once.
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let form: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (form, tables) {
        (FORM, _) => {}
        (0, 0) => transaction.execute_batch(TABLES)?,
        (0, _) => return Err(Fault::Foreign),
        (form, _) => return Err(Fault::Newer(form)),
    }
    transaction.commit()?;
    Ok(db)
}

#[cfg(test)]
mod tests {
    use super::super::rules::{Code, Rejection};
    use super::*;

    fn event(n: u128, json: &str) -> Sealed {
        Sealed {
            uuid: Uuid::from_u128(n),
            event: "e".into(),
            distinct_id: "u".into(),
            json: json.into(),
        }
    }

    fn to(token: &str) -> Destination {
        Destination::new("https://eu.i.posthog.com", &Secret::new(token), false)
    }

    fn now() -> Timestamp {
        Timestamp::parse("2026-03-10T12:00:00Z").unwrap()
    }

    fn numbers(items: &[Item]) -> Vec<i64> {
        items.iter().map(|item| item.number).collect()
    }

    /// An outbox in a folder of its own.
    fn outbox(most: u64) -> (tempfile::TempDir, Outbox) {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(&folder.path().join("state/outbox.db"), most).unwrap();
        (folder, outbox)
    }

    #[test]
    fn what_was_accepted_is_there_for_whoever_opens_the_outbox() {
        let (folder, mut outbox) = outbox(MOST_BYTES);
        outbox.accept(&to("phc_one_of_two"), &[event(1, "{1}"), event(2, "{2}")], now()).unwrap();
        outbox.accept(&to("phc_two_of_two"), &[event(1, "{1}")], now()).unwrap();
        drop(outbox);

        let outbox = Outbox::open(&folder.path().join("state/outbox.db"), MOST_BYTES).unwrap();

        let items = outbox.next(&to("phc_one_of_two"), 0).unwrap();
        assert_eq!(numbers(&items), [1, 2]);
        assert_eq!(items[1].event, event(2, "{2}"));
        assert_eq!(numbers(&outbox.next(&to("phc_one_of_two"), 1).unwrap()), [2]);
        assert_eq!(numbers(&outbox.next(&to("phc_two_of_two"), 0).unwrap()), [3]);
        assert_eq!(outbox.next(&to("phc_of_nobody"), 0).unwrap(), []);
        let bytes = std::fs::read(folder.path().join("state/outbox.db")).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("phc_"), "no token is stored");
    }

    #[test]
    fn the_same_event_waits_once() {
        let (_folder, mut outbox) = outbox(MOST_BYTES);
        let other = Sealed { event: "f".into(), ..event(1, "{f}") };

        outbox.accept(&to("phc_of_once"), &[event(1, "{first}")], now()).unwrap();
        let again =
            outbox.accept(&to("phc_of_once"), &[event(1, "{second}"), other], now()).unwrap();

        // Another event of the same uuid is another event to PostHog.
        assert_eq!(again, Accepted { added: 1, known: 1 });
        let items = outbox.next(&to("phc_of_once"), 0).unwrap();
        let json: Vec<&str> = items.iter().map(|item| &*item.event.json).collect();
        assert_eq!(json, ["{first}", "{f}"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_event_leaves_when_it_is_settled() {
        let (_folder, mut outbox) = outbox(MOST_BYTES);
        let to = to("phc_of_settling");
        let events = [event(1, "{1}"), event(2, "{2}"), event(3, "{3}")];
        outbox.accept(&to, &events, now()).unwrap();
        let mut items = outbox.next(&to, 0).unwrap();
        let rejection = Rejection::new(Code::Refused, "PostHog answered 400: no");

        let refused = vec![(items.pop().unwrap(), rejection)];
        let delivered = vec![items.remove(0)];
        outbox.settle(Settled { delivered, refused }).unwrap();

        assert_eq!(numbers(&outbox.next(&to, 0).unwrap()), [2]);
        let refused = outbox.refused().unwrap();
        assert_eq!((refused[0].number, refused[0].code.as_str()), (3, "refused"));
        let waiting = outbox.waiting().unwrap();
        assert_eq!((waiting[0].events, waiting[0].refused, waiting[0].bytes), (1, 1, 6));
        assert_eq!(outbox.forgive(&to), Ok(1));
        assert_eq!(numbers(&outbox.next(&to, 0).unwrap()), [2, 3]);
        assert_eq!(outbox.purge(Purge::Refused), Ok(0));
        assert_eq!(outbox.purge(Purge::Everything), Ok(2));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_outbox_takes_nothing_and_loses_nothing() {
        let (_folder, mut outbox) = outbox(200_000);
        let to = to("phc_of_a_full_outbox");
        let large = "x".repeat(10_000);
        let mut taken = 0;
        let full = loop {
            match outbox.accept(&to, &[event(taken, &large)], now()) {
                Ok(_) => taken += 1,
                Err(full) => break full,
            }
        };
        assert!(matches!(full, OutboxError::Full { .. }), "{full}");
        assert!(taken > 10);

        let delivered = outbox.next(&to, 0).unwrap();
        assert_eq!(delivered.len() as u128, taken);
        outbox.settle(Settled { delivered, refused: Vec::new() }).unwrap();

        assert!(outbox.accept(&to, &[event(taken, &large)], now()).is_ok(), "there is room again");
    }

    #[test]
    fn another_programs_database_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();

        let refused = Outbox::open(&path, MOST_BYTES).unwrap_err().to_string();

        assert!(refused.ends_with("cannot be used: it is another program's"), "{refused}");
    }
}
