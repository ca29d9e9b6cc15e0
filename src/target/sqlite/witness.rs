//! Whether a table still holds the rows that a checkpoint names.
//!
//! A checkpoint beside an emptied or rebuilt table would let a run go on after a
//! gap; a few keys that must be found tell. It only reads.

use std::collections::BTreeSet;

use rusqlite::{Connection, Result, Statement};

use crate::checkpoint::Checkpoint;
use crate::record::keys;
use crate::record::value::{self, Value};
use crate::schema::{Column, Schema};
use crate::target::sqlite::{table, upsert};

/// Says what of a checkpoint's witnesses is not in `table`; nothing where all are.
pub(super) fn missing(
    db: &Connection,
    table: &str,
    schema: &Schema,
    checkpoint: &Checkpoint,
) -> Result<Option<String>> {
    let existing = table::columns(db, table)?;
    if existing.is_empty() {
        let was_there = checkpoint.sequence > 0 || !checkpoint.witnesses.is_empty();
        return Ok(was_there.then(|| format!("table `{table}` is gone")));
    }
    let key: Vec<&Column> = schema.primary_key.iter().map(|&i| &schema.columns[i]).collect();
    let is_there = |column: &&&Column| {
        existing.iter().any(|have| have.name.eq_ignore_ascii_case(&column.name))
    };
    if let Some(column) = key.iter().find(|column| !is_there(column)) {
        return Ok(Some(format!("table `{table}` has no column `{}`", column.name)));
    }
    for witness in checkpoint.witnesses.iter().filter(|_| !key.is_empty()) {
        if !holds(db, table, &key, witness)? {
            return Ok(Some(format!("table `{table}` has no row with the key {witness}")));
        }
    }
    Ok(None)
}

/// Says which of the columns that rows were written into `table` lacks. Were it only added
/// anew, the rows that are there would lose their values without a word.
pub(super) fn missing_column(
    db: &Connection,
    table: &str,
    written: &BTreeSet<String>,
) -> Result<Option<String>> {
    let existing = table::columns(db, table)?;
    let is_gone =
        |name: &&String| !existing.iter().any(|have| have.name.eq_ignore_ascii_case(name));
    let gone = written.iter().find(is_gone);
    Ok(gone.map(|name| format!("table `{table}` has lost its column `{name}`")))
}

/// Whether the row with a key is there.
fn holds(db: &Connection, table: &str, key: &[&Column], witness: &str) -> Result<bool> {
    let parts = keys::parts(witness);
    if parts.len() != key.len() {
        return Ok(false);
    }
    let sql = format!("SELECT 1 FROM {} WHERE {}", table::quote(table), is_row(table, key));
    let mut statement = db.prepare(&sql)?;
    bind_key(&mut statement, 1, key, parts)?;
    let found = statement.raw_query().next()?.is_some();
    Ok(found)
}

/// The condition that a row has a key whose parts are parameters.
pub(super) fn is_row(table: &str, key: &[&Column]) -> String {
    let table = table::quote(table);
    // With the table's name before it: a lone "name" that is no column would be a text.
    let test = |column: &&Column| format!("{table}.{} = ?", table::quote(&column.name));
    key.iter().map(test).collect::<Vec<_>>().join(" AND ")
}

/// Gives the parts of a key to the parameters from `place` on.
pub(super) fn bind_key(
    statement: &mut Statement<'_>,
    place: usize,
    key: &[&Column],
    parts: Vec<String>,
) -> Result<()> {
    for (nth, (part, column)) in parts.into_iter().zip(key).enumerate() {
        let value = match part {
            empty if empty.is_empty() => Value::Text("".into()),
            text => value::convert_text(text.into(), column.kind).0,
        };
        upsert::bind_value(statement, place + nth, &value, table::is_numeric(column.kind))?;
    }
    Ok(())
}
