//! Rows of a SQLite database.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Number, Value};

use super::{Found, Mark, SourceError, Visit, Window, from, quote};
use crate::config::sync::Rows;

/// Reads rows.
pub(super) fn read(
    path: &Path,
    rows: &Rows,
    window: Option<&Window>,
    visit: &mut Visit<'_>,
) -> Result<(), SourceError> {
    let mut read = || {
        let db = open(path)?;
        let mut statement = db.prepare(&asked(rows, window))?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut found = statement.query([])?;
        let mut number = 0;
        while let Some(row) = found.next()? {
            number += 1;
            let columns = names.iter().enumerate();
            let value = |(n, name): (usize, &String)| Ok((name.clone(), json(row.get_ref(n)?)));
            let row: rusqlite::Result<Map<String, Value>> = columns.map(value).collect();
            if !visit(Found { number, row: Ok(row?) }) {
                break;
            }
        }
        Ok(())
    };
    read().map_err(|err| failed(path, &err))
}

/// The highest value of a column.
pub(super) fn highest(path: &Path, rows: &Rows, column: &str) -> Result<Option<Mark>, SourceError> {
    let column = quote(column);
    let sql = format!("SELECT quote(max(r.{column})) FROM {}", from(rows));
    let found = open(path).and_then(|db| db.query_row(&sql, [], |row| row.get::<_, String>(0)));
    let found = found.map_err(|err| failed(path, &err))?;
    Ok((found != "NULL").then_some(Mark(found)))
}

/// The question. A mark is what SQLite's own `quote` made of a value: a literal that it reads.
fn asked(rows: &Rows, window: Option<&Window>) -> String {
    let from = from(rows);
    let Some(Window { column, from: lowest, to }) = window else {
        return format!("SELECT r.* FROM {from}");
    };
    let (column, to) = (quote(column), &to.0);
    let above = lowest.as_ref().map(|mark| format!(" AND r.{column} >= {}", mark.0));
    let above = above.unwrap_or_default();
    format!("SELECT r.* FROM {from} WHERE r.{column} < {to}{above}")
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let mut db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.busy_handler(Some(crate::stop::wait_seconds::<10>))?;
    Ok(db)
}

/// A value as JSON has it. Bytes, which JSON has not, are written in hexadecimal.
fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => {
            // JSON has no infinity.
            Number::from_f64(number).map_or_else(|| number.to_string().into(), Value::Number)
        }
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => {
            let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
            digits.collect::<String>().into()
        }
    }
}

fn failed(path: &Path, err: &rusqlite::Error) -> SourceError {
    SourceError {
        place: format!("sqlite://{}", path.display()),
        cause: err.to_string(),
        hint: "check the path of the database, and the query or the table of the sync".into(),
    }
}
