//! Whether a table still holds the rows that a checkpoint names.
//!
//! A checkpoint beside an emptied or rebuilt table would let a run go on after a
//! gap; a few keys that must be found tell. It only reads.

use std::collections::BTreeSet;

use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::checkpoint::Checkpoint;
use crate::record::keys;
use crate::schema::Schema;
use crate::target::postgres::error::Fault;
use crate::target::postgres::name::{self, Table, quote};
use crate::target::postgres::table::{self, Existing};

/// Says what of a checkpoint's witnesses is not in `table`; nothing where all are.
pub(super) async fn missing(
    client: &Client,
    table: &Table,
    schema: &Schema,
    checkpoint: &Checkpoint,
) -> Result<Option<String>, Fault> {
    let existing = table::columns(client, table).await?;
    if existing.is_empty() {
        let was_there = checkpoint.sequence > 0 || !checkpoint.witnesses.is_empty();
        return Ok(was_there.then(|| format!("table `{table}` is gone")));
    }
    let mut key = Vec::new();
    for &index in &schema.primary_key {
        let wanted = name::column(&schema.columns[index].name);
        match existing.iter().find(|have| have.name == wanted) {
            None => return Ok(Some(format!("table `{table}` has no column `{wanted}`"))),
            Some(column) => key.push(column),
        }
    }
    for witness in checkpoint.witnesses.iter().filter(|_| !key.is_empty()) {
        if !holds(client, table, &key, witness).await? {
            return Ok(Some(format!("table `{table}` has no row with the key {witness}")));
        }
    }
    Ok(None)
}

/// Says which of the fields that rows of `table` were written of has no column any more. Were
/// it only added anew, the rows that are there would lose their values without a word.
pub(super) async fn missing_field(
    client: &Client,
    table: &Table,
    written: &BTreeSet<String>,
) -> Result<Option<String>, Fault> {
    let existing = table::columns(client, table).await?;
    let gone = written.iter().find(|field| !table::has(&existing, field));
    let column = gone.map(|field| name::column(field));
    Ok(column.map(|column| format!("table `{table}` has lost its column `{column}`")))
}

/// Whether the row with a key is there.
async fn holds(
    client: &Client,
    table: &Table,
    key: &[&Existing],
    witness: &str,
) -> Result<bool, Fault> {
    let parts = keys::parts(witness);
    if parts.len() != key.len() {
        return Ok(false);
    }
    let values: Vec<&(dyn ToSql + Sync)> = parts.iter().map(|part| part as _).collect();
    // Cast on the value's side: the key's index is used then.
    let test = |(n, column): (usize, &&Existing)| {
        format!("{} = ${}::text::{}", quote(&column.name), n + 1, column.type_name)
    };
    let tests = key.iter().enumerate().map(test).collect::<Vec<_>>().join(" AND ");
    let sql = format!("SELECT 1 FROM {} WHERE {tests} LIMIT 1", table.quoted());
    match client.query_opt(&sql, &values).await {
        Ok(found) => Ok(found.is_some()),
        // What the column's type cannot be is not in it.
        Err(err) if err.code().is_some_and(|code| code.code().starts_with("22")) => Ok(false),
        Err(err) => Err(err.into()),
    }
}
