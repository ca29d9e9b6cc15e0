//! The tables that SQL sees, and how they are kept in SQLite.
//!
//! Properties are kept of events that were sent; of the others a column of that name
//! calls the function that makes them from an event's number, so that a large history
//! costs little.

use rusqlite::{Connection, Result, params};

use super::library;
use super::translate::{Rules, Type};
use crate::sandbox::PROJECT;
use crate::sandbox::data::event::Event;
use crate::sandbox::data::intake::Change;
use crate::sandbox::data::person::Person;
use crate::sandbox::data::{Data, chance, person};
use crate::sandbox::time;

const SCHEMA: &str = "
    CREATE TABLE events (
        uuid TEXT, event TEXT, distinct_id TEXT, timestamp TEXT, created_at TEXT,
        elements_chain TEXT, person_id TEXT, serial INTEGER, edition INTEGER, properties TEXT);
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

/// Made when the first event is sent: what is looked for then has no other index.
const SENT_INDEXES: &str = "
    CREATE INDEX IF NOT EXISTS by_id ON events (uuid);
    CREATE INDEX IF NOT EXISTS by_person ON events (person_id);
";

/// The properties of an event, whether they were sent or are made.
const PROPERTIES: &str = "coalesce(t.properties, hog_properties(t.serial, t.edition))";

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
            ("properties".to_owned(), PROPERTIES.to_owned(), Type::Text),
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
    insert_events(&connection, data, &data.events)?;
    replace_persons(&connection, data)?;
    connection.execute_batch(INDEXES)?;
    Ok(connection)
}

/// Adds events.
pub(super) fn insert_events(connection: &Connection, data: &Data, events: &[Event]) -> Result<()> {
    let transaction = connection.unchecked_transaction()?;
    let mut insert = transaction
        .prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?;
    for event in events {
        insert.execute(params![
            chance::uuid_text(event.uuid),
            event.name,
            event.distinct_id(),
            time::stored(event.at),
            time::stored(event.created),
            event.elements_chain(),
            chance::uuid_text(person::uuid(data.seed, data.survivor(event.person))),
            i64::try_from(event.serial).unwrap_or(i64::MAX),
            event.edition,
            event.sent.as_ref().map(|_| event.properties(data.seed)),
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
        insert_person(&transaction, data.seed, person)?;
    }
    transaction.commit()
}

/// Follows what events have changed.
pub(super) fn change(connection: &Connection, data: &Data, change: &Change) -> Result<()> {
    connection.execute_batch(SENT_INDEXES)?;
    insert_events(connection, data, &change.events)?;
    let transaction = connection.unchecked_transaction()?;
    let id = |number: usize| chance::uuid_text(person::uuid(data.seed, number));
    for (from, to) in &change.moved {
        transaction
            .prepare_cached("UPDATE events SET person_id = ?2 WHERE person_id = ?1")?
            .execute(params![id(*from), id(data.survivor(*to))])?;
    }
    for number in &change.persons {
        for table in ["persons WHERE id", "person_distinct_ids WHERE person_id"] {
            let delete = format!("DELETE FROM {table} = ?1");
            transaction.prepare_cached(&delete)?.execute(params![id(*number)])?;
        }
        let person = &data.persons[*number];
        if person.is_shown() {
            insert_person(&transaction, data.seed, person)?;
        }
    }
    transaction.commit()
}

/// Adds a person and its ids.
fn insert_person(connection: &Connection, seed: u64, person: &Person) -> Result<()> {
    let id = chance::uuid_text(person::uuid(seed, person.number));
    connection.prepare_cached("INSERT INTO persons VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        id,
        time::stored(person.created),
        person.properties(seed).to_string(),
        person.is_identified(),
    ])?;
    let mut insert =
        connection.prepare_cached("INSERT INTO person_distinct_ids VALUES (?1, ?2)")?;
    for distinct_id in person.distinct_ids() {
        insert.execute(params![id, distinct_id])?;
    }
    Ok(())
}
