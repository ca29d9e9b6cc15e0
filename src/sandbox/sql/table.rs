//! The tables that SQL sees, and how they are kept in SQLite.
//!
//! Properties are not kept: a column of that name calls the function that makes
//! them from an event's number, so that a large history costs little.

use rusqlite::{Connection, Result, params};

use super::library;
use super::translate::{Rules, Type};
use crate::sandbox::PROJECT;
use crate::sandbox::data::event::Event;
use crate::sandbox::data::{Data, chance, person};
use crate::sandbox::time;

const SCHEMA: &str = "
    CREATE TABLE events (
        uuid TEXT, event TEXT, distinct_id TEXT, timestamp TEXT, created_at TEXT,
        elements_chain TEXT, person_id TEXT, serial INTEGER, edition INTEGER);
    CREATE TABLE persons (id TEXT PRIMARY KEY, created_at TEXT, properties TEXT, is_identified INTEGER)
        WITHOUT ROWID;
    CREATE TABLE person_distinct_ids (person_id TEXT, distinct_id TEXT, PRIMARY KEY (person_id, distinct_id))
        WITHOUT ROWID;
    PRAGMA case_sensitive_like = ON;
";

/// Made after the history is in, which is faster.
const INDEXES: &str = "
    CREATE INDEX by_time ON events (timestamp, uuid, event, distinct_id);
    CREATE INDEX by_arrival ON events (created_at);
";

/// A column: name, SQL, type.
type Column = (String, String, Type);

/// The columns of a table, or `None` where there is no such table.
pub(super) fn columns(table: &str, rules: Rules) -> Option<Vec<Column>> {
    let time = Type::Time(rules.zone);
    let team = PROJECT.to_string();
    let plain = |name: &str, kind: Type| (name.to_owned(), format!("t.{name}"), kind);
    let mut columns = match table {
        "events" => vec![
            plain("uuid", Type::Uuid),
            plain("event", Type::Text),
            ("properties".to_owned(), "hog_properties(t.serial, t.edition)".to_owned(), Type::Text),
            plain("timestamp", time),
            plain("distinct_id", Type::Text),
            plain("elements_chain", Type::Text),
            plain("created_at", time),
            plain("person_id", Type::Uuid),
        ],
        "persons" => vec![
            plain("id", Type::Uuid),
            plain("created_at", time),
            plain("properties", Type::Text),
            plain("is_identified", Type::Int),
        ],
        "person_distinct_ids" => {
            vec![plain("distinct_id", Type::Text), plain("person_id", Type::Uuid)]
        }
        _ => return None,
    };
    columns.push(("team_id".to_owned(), team, Type::Int));
    Some(columns)
}

/// Opens a store that holds what the project holds.
pub(super) fn open(data: &Data) -> Result<Connection> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(SCHEMA)?;
    library::load(&connection, data.seed)?;
    insert_events(&connection, data.seed, &data.events)?;
    replace_persons(&connection, data)?;
    connection.execute_batch(INDEXES)?;
    Ok(connection)
}

/// Adds events.
pub(super) fn insert_events(connection: &Connection, seed: u64, events: &[Event]) -> Result<()> {
    let transaction = connection.unchecked_transaction()?;
    let mut insert = transaction
        .prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
    for event in events {
        insert.execute(params![
            chance::uuid_text(event.uuid),
            event.name,
            event.distinct_id(),
            time::stored(event.at),
            time::stored(event.created),
            event.elements_chain(),
            chance::uuid_text(person::uuid(seed, event.person)),
            i64::try_from(event.serial).unwrap_or(i64::MAX),
            event.edition,
        ])?;
    }
    drop(insert);
    transaction.commit()
}

/// Removes copies of events.
pub(super) fn delete_events(connection: &Connection, events: &[Event]) -> Result<()> {
    let transaction = connection.unchecked_transaction()?;
    for event in events {
        transaction.execute(
            "DELETE FROM events
             WHERE timestamp = ?1 AND created_at = ?2 AND event = ?3 AND serial = ?4 AND edition = ?5",
            params![
                time::stored(event.at),
                time::stored(event.created),
                event.name,
                i64::try_from(event.serial).unwrap_or(i64::MAX),
                event.edition,
            ],
        )?;
    }
    transaction.commit()
}

/// Replaces all persons; ghosts are not known here.
pub(super) fn replace_persons(connection: &Connection, data: &Data) -> Result<()> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch("DELETE FROM persons; DELETE FROM person_distinct_ids;")?;
    for person in data.persons.iter().filter(|person| person.is_shown()) {
        let id = chance::uuid_text(person::uuid(data.seed, person.number));
        transaction.prepare_cached("INSERT INTO persons VALUES (?1, ?2, ?3, ?4)")?.execute(
            params![
                id,
                time::stored(person.created),
                person.properties(data.seed).to_string(),
                person.is_identified(),
            ],
        )?;
        let mut insert =
            transaction.prepare_cached("INSERT INTO person_distinct_ids VALUES (?1, ?2)")?;
        for distinct_id in person.distinct_ids() {
            insert.execute(params![id, distinct_id])?;
        }
    }
    transaction.commit()
}
