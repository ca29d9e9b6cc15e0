//! Tables: what is there, making one, letting it grow, swapping in a new copy.
//!
//! Everything here runs inside the caller's transaction and returns SQLite's own
//! errors. Columns, indexes and triggers that the user added are never removed.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Result};

use crate::schema::{ColumnType, Schema};
use crate::target::DELETED_AT;

/// A name as SQL wants it, whatever it holds.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A column of an existing table.
#[derive(Debug)]
pub(super) struct Existing {
    /// Its name.
    pub(super) name: String,
    pub(super) kind: String,
    /// Neither generated nor hidden.
    is_plain: bool,
}

/// Whether the name belongs to a `table` or a `view`, if to anything.
pub(super) fn kind_of(db: &Connection, name: &str) -> Result<Option<String>> {
    let sql = "SELECT type FROM sqlite_schema
               WHERE name = ?1 COLLATE NOCASE AND type IN ('table', 'view')";
    db.query_row(sql, [name], |row| row.get(0)).optional()
}

/// The columns of a table; none where there is no table.
pub(super) fn columns(db: &Connection, table: &str) -> Result<Vec<Existing>> {
    let mut statement = db.prepare("SELECT name, type, hidden = 0 FROM pragma_table_xinfo(?1)")?;
    let column = |row: &rusqlite::Row<'_>| {
        Ok(Existing { name: row.get(0)?, kind: row.get(1)?, is_plain: row.get(2)? })
    };
    statement.query_map([table], column)?.collect()
}

/// Makes the table where it is missing and adds the columns that it lacks.
pub(super) fn make_room(db: &Connection, table: &str, schema: &Schema) -> Result<()> {
    let existing = columns(db, table)?;
    if existing.is_empty() {
        return db.execute_batch(&definition(table, schema));
    }
    for column in &schema.columns {
        if !existing.iter().any(|have| have.name.eq_ignore_ascii_case(&column.name)) {
            add_column(db, table, &column.name, type_name(column.kind))?;
        }
    }
    Ok(())
}

impl Existing {
    /// Whether SQLite makes a number here of a text that spells one.
    pub(super) fn makes_numbers(&self) -> bool {
        let kind = self.kind.to_ascii_uppercase();
        let is_text = ["CHAR", "CLOB", "TEXT"].iter().any(|part| kind.contains(part));
        kind.contains("INT") || !(is_text || kind.contains("BLOB") || kind.is_empty())
    }
}

/// Whether rows of a table with these columns can be marked as gone.
pub(super) fn can_mark(columns: &[Existing]) -> bool {
    columns.iter().any(|column| column.name == DELETED_AT)
}

/// Sees that rows of a table can be marked as gone.
pub(super) fn make_markable(db: &Connection, table: &str) -> Result<()> {
    if can_mark(&columns(db, table)?) {
        return Ok(());
    }
    add_column(db, table, DELETED_AT, "TEXT")
}

fn add_column(db: &Connection, table: &str, name: &str, kind: &str) -> Result<()> {
    let (table, name) = (quote(table), quote(name));
    db.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {name} {kind}"))
}

fn definition(table: &str, schema: &Schema) -> String {
    let column = |(index, column): (usize, &crate::schema::Column)| {
        // `INTEGER` as the only key column would become the rowid, which refuses text.
        let kind = match column.kind {
            ColumnType::Bigint | ColumnType::Bool if schema.primary_key == [index] => "BIGINT",
            kind => type_name(kind),
        };
        format!("{} {kind}", quote(&column.name))
    };
    let mut parts: Vec<String> = schema.columns.iter().enumerate().map(column).collect();
    if !schema.primary_key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", key_names(schema).join(", ")));
    }
    format!("CREATE TABLE {} (\n  {}\n)", quote(table), parts.join(",\n  "))
}

/// The key's columns, quoted.
pub(super) fn key_names(schema: &Schema) -> Vec<String> {
    schema.primary_key.iter().map(|&index| quote(&schema.columns[index].name)).collect()
}

fn type_name(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Bool | ColumnType::Bigint => "INTEGER",
        ColumnType::Numeric => "NUMERIC",
        ColumnType::Double => "REAL",
        ColumnType::Uuid
        | ColumnType::Text
        | ColumnType::Timestamp
        | ColumnType::Date
        | ColumnType::Json => "TEXT",
    }
}

/// Whether SQLite makes numbers of texts in a column that is made for this type.
pub(super) fn is_numeric(kind: ColumnType) -> bool {
    type_name(kind) != "TEXT"
}

/// Whether rows of an existing table are unique by exactly the schema's key.
pub(super) fn is_keyed_by(db: &Connection, table: &str, schema: &Schema) -> Result<bool> {
    if schema.primary_key.is_empty() {
        return Ok(true);
    }
    let name = |&index: &usize| schema.columns[index].name.to_ascii_lowercase();
    let mut wanted: Vec<String> = schema.primary_key.iter().map(name).collect();
    wanted.sort_unstable();
    // The key itself comes first: as the rowid it has no index of its own.
    let sql = "SELECT '', lower(name) FROM pragma_table_info(?1) WHERE pk > 0
               UNION ALL
               SELECT list.name, lower(info.name)
               FROM pragma_index_list(?1) AS list, pragma_index_info(list.name) AS info
               WHERE list.\"unique\" AND NOT list.partial ORDER BY 1, 2";
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query([table])?;
    let mut indexes = BTreeMap::<String, Vec<Option<String>>>::new();
    while let Some(row) = rows.next()? {
        indexes.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    let wanted: Vec<Option<String>> = wanted.into_iter().map(Some).collect();
    Ok(indexes.values().any(|columns| *columns == wanted))
}

/// Puts `staging` in the place of `table`; its indexes and triggers are made anew and
/// columns only it had are kept, so that the user's views go on working.
pub(super) fn swap(db: &Connection, staging: &str, table: &str) -> Result<()> {
    let kept = attachments(db, table)?;
    let staged = columns(db, staging)?;
    for column in columns(db, table)?.iter().filter(|column| column.is_plain) {
        if !staged.iter().any(|have| have.name.eq_ignore_ascii_case(&column.name)) {
            add_column(db, staging, &column.name, &column.kind)?;
        }
    }
    let (staging, quoted) = (quote(staging), quote(table));
    db.execute_batch(&format!(
        "DROP TABLE IF EXISTS {quoted}; ALTER TABLE {staging} RENAME TO {quoted};"
    ))?;
    crash_point!("inside the swap");
    for sql in kept {
        // An index over a generated column cannot follow; it must not cost the copy.
        if let Err(err) = db.execute_batch(&sql) {
            tracing::warn!(table, sql, %err, "an index or trigger does not fit the new copy");
        }
    }
    Ok(())
}

/// The statements that made the indexes and triggers of a table.
fn attachments(db: &Connection, table: &str) -> Result<Vec<String>> {
    let sql = "SELECT sql FROM sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE
               AND type IN ('index', 'trigger') AND sql IS NOT NULL ORDER BY type, name";
    let mut statement = db.prepare(sql)?;
    statement.query_map([table], |row| row.get(0))?.collect()
}
