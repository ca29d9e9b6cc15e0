//! The rows of a table as they stand: showing them, and taking some out.
//!
//! Values are shown as the texts that the record they came from would show, so that the
//! two can be compared. Removing runs inside the caller's transaction.

use std::borrow::Cow;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result, Statement};

use crate::cursor::Timestamp;
use crate::record::keys;
use crate::schema::{Column, ColumnType, Origin, Schema};
use crate::target::sqlite::{table, witness};
use crate::target::{DELETED_AT, Scan, Shown};

/// Shows the rows that are not marked as gone.
pub(super) fn rows(
    db: &Connection,
    table: &str,
    schema: &Schema,
    scan: &Scan<'_>,
    each: &mut dyn FnMut(&Shown<'_>),
) -> Result<()> {
    let existing = table::columns(db, table)?;
    let columns: Vec<Column> = existing
        .iter()
        .filter(|column| !column.name.starts_with("_hogline_"))
        .map(|column| as_column(schema, &column.name))
        .filter(|column| !scan.keys_only || is_key(schema, scan, &column.name))
        .collect();
    if columns.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = columns.iter().map(|column| table::quote(&column.name)).collect();
    let key: Vec<&Column> =
        schema.primary_key.iter().map(|&index| &schema.columns[index]).collect();
    let mut conditions = Vec::new();
    let mut bounds = Vec::new();
    if table::can_mark(&existing) {
        conditions.push(format!("{DELETED_AT} IS NULL"));
    }
    if let Some((by, range)) = scan.within {
        let by = table::quote(by);
        conditions.push(format!("{by} >= ? AND {by} < ?"));
        bounds.extend([range.from.to_string(), range.to.to_string()]);
    }
    if scan.only.is_some() {
        conditions.push(witness::is_row(table, &key));
    }
    let filter = match conditions.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", conditions.join(" AND ")),
    };
    let sql = format!("SELECT {} FROM {}{filter}", names.join(","), table::quote(table));
    let mut statement = db.prepare(&sql)?;
    let mut show = |statement: &mut Statement<'_>| {
        let mut found = statement.raw_query();
        while let Some(row) = found.next()? {
            let cell = |(at, column): (usize, &Column)| Ok(text(row.get_ref(at)?, column.kind));
            let cells = columns.iter().enumerate().map(cell).collect::<Result<Vec<_>>>()?;
            each(&Shown { columns: &columns, cells: &cells });
        }
        Ok(())
    };
    for (place, bound) in bounds.iter().enumerate() {
        statement.raw_bind_parameter(place + 1, bound)?;
    }
    let Some(only) = scan.only else { return show(&mut statement) };
    for parts in only.iter().map(|key| keys::parts(key)) {
        witness::bind_key(&mut statement, bounds.len() + 1, &key, parts)?;
        show(&mut statement)?;
    }
    Ok(())
}

/// A column of the table as the schema knows it; what it does not know holds JSON.
fn as_column(schema: &Schema, name: &str) -> Column {
    let known = schema.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
    known.cloned().unwrap_or_else(|| Column {
        name: name.to_owned(),
        kind: ColumnType::Json,
        origin: Origin::Field,
    })
}

fn is_key(schema: &Schema, scan: &Scan<'_>, name: &str) -> bool {
    schema.primary_key.iter().any(|&index| schema.columns[index].name == name)
        || scan.within.is_some_and(|(by, _)| by == name)
}

/// The text that the record's own value would have.
fn text(value: ValueRef<'_>, kind: ColumnType) -> Option<Cow<'_, str>> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number @ (0 | 1)) if kind == ColumnType::Bool => {
            Some(if number == 1 { "true".into() } else { "false".into() })
        }
        ValueRef::Integer(number) => Some(number.to_string().into()),
        ValueRef::Real(number) => Some(number.to_string().into()),
        ValueRef::Text(text) | ValueRef::Blob(text) => Some(String::from_utf8_lossy(text)),
    }
}

/// Deletes rows.
pub(super) fn delete(db: &Connection, table: &str, key: &[&Column], keys: &[String]) -> Result<()> {
    let sql = format!("DELETE FROM {} WHERE {}", table::quote(table), witness::is_row(table, key));
    each_key(&mut db.prepare(&sql)?, 1, key, keys)
}

/// Marks rows as gone since `at`; those that are marked keep their mark.
pub(super) fn mark(
    db: &Connection,
    table: &str,
    key: &[&Column],
    keys: &[String],
    at: Timestamp,
) -> Result<()> {
    table::make_markable(db, table)?;
    let sql = format!(
        "UPDATE {} SET {DELETED_AT} = ? WHERE {DELETED_AT} IS NULL AND {}",
        table::quote(table),
        witness::is_row(table, key)
    );
    let mut statement = db.prepare(&sql)?;
    statement.raw_bind_parameter(1, at.to_string())?;
    each_key(&mut statement, 2, key, keys)
}

/// Executes a statement for every key, whose parts are its parameters from `place` on.
fn each_key(
    statement: &mut Statement<'_>,
    place: usize,
    key: &[&Column],
    keys: &[String],
) -> Result<()> {
    for parts in keys.iter().map(|key| keys::parts(key)) {
        // Without all parts it would be another row, or every row.
        if key.is_empty() || parts.len() != key.len() {
            continue;
        }
        witness::bind_key(statement, place, key, parts)?;
        statement.raw_execute()?;
    }
    Ok(())
}
