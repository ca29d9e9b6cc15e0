//! How a batch gets into its table: a binary copy beside it, then one merge.
//!
//! A row meets the copy that is there under its key: it replaces that copy only where a
//! column this schema knows differs and the row is not the older one. Columns the schema
//! does not know are not mentioned, so they keep their values.

use std::io::Cursor;
use std::pin::pin;
use std::sync::Arc;

use futures_util::SinkExt;
use tokio_postgres::{Client, Error, Statement};

use crate::schema::Schema;
use crate::target::postgres::column::Kind;
use crate::target::postgres::encode::{Encoded, Slot};
use crate::target::postgres::name::Table;
use crate::target::postgres::table::{self, column_name, key_names};
use crate::target::{DELETED_AT, Written};

/// The session's own table, where a batch is copied to.
const INCOMING: &str = "pg_temp._hogline_incoming";

/// The statements for rows of one schema into one table.
#[derive(Debug)]
pub(super) struct Merge {
    pub(super) schema: Arc<Schema>,
    pub(super) slots: Vec<Slot>,
    statement: Statement,
    /// Nothing was copied since the transaction began.
    pub(super) is_empty: bool,
}

impl Merge {
    /// Makes the table to copy into and prepares the merge.
    pub(super) async fn prepare(
        client: &Client,
        table: &Table,
        schema: &Arc<Schema>,
        slots: Vec<Slot>,
    ) -> Result<Self, Error> {
        let columns = slots.iter().enumerate();
        let columns = columns.map(|(n, slot)| format!("c{n} {}", slot.kind.sql()));
        let columns = columns.collect::<Vec<_>>().join(", ");
        let sql = format!(
            "DROP TABLE IF EXISTS {INCOMING};
             CREATE TEMPORARY TABLE _hogline_incoming (round integer, {columns})
               ON COMMIT DELETE ROWS"
        );
        client.batch_execute(&sql).await?;
        let may_be_gone = table::can_mark(&table::columns(client, table).await?);
        let statement = client.prepare(&statement(table, schema, &slots, may_be_gone)).await?;
        Ok(Self { schema: Arc::clone(schema), slots, statement, is_empty: true })
    }

    /// Writes a batch and counts what that did.
    pub(super) async fn write(
        &mut self,
        client: &Client,
        encoded: Encoded,
        rows: usize,
    ) -> Result<Written, Error> {
        if !self.is_empty {
            client.batch_execute(&format!("TRUNCATE {INCOMING}")).await?;
        }
        self.is_empty = false;
        let copy = format!("COPY {INCOMING} FROM STDIN (FORMAT binary)");
        let mut sink = pin!(client.copy_in(&copy).await?);
        sink.send(Cursor::new(encoded.bytes)).await?;
        sink.finish().await?;
        let mut written = Written { repairs: encoded.repairs, ..Written::default() };
        for round in 1..=encoded.rounds {
            let counts = client.query_one(&self.statement, &[&round]).await?;
            written.new += counts.get::<_, i64>(0).unsigned_abs();
            written.updated += counts.get::<_, i64>(1).unsigned_abs();
        }
        written.unchanged = rows as u64 - written.new - written.updated;
        Ok(written)
    }
}

/// The merge of one round. `xmax` is the transaction that locked or replaced a row: nobody
/// did that to a new one.
fn statement(table: &Table, schema: &Schema, slots: &[Slot], may_be_gone: bool) -> String {
    let names: Vec<String> = slots.iter().map(|slot| column_name(schema, slot.index)).collect();
    let places: Vec<String> = (0..slots.len()).map(|n| format!("c{n}")).collect();
    let conflict = conflict(schema, slots, may_be_gone);
    format!(
        "WITH merged AS (
           INSERT INTO {} AS stored ({}) SELECT {} FROM {INCOMING} WHERE round = $1
           {conflict} RETURNING stored.xmax = 0 AS is_new)
         SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new) FROM merged",
        table.quoted(),
        names.join(", "),
        places.join(", ")
    )
}

/// What happens to a row whose key is there; nothing to say where there is no key. A row that
/// was marked as gone is there again, whatever it holds.
fn conflict(schema: &Schema, slots: &[Slot], may_be_gone: bool) -> String {
    if schema.primary_key.is_empty() {
        return String::new();
    }
    let target = format!("ON CONFLICT ({}) DO", key_names(schema).join(", "));
    let others: Vec<&Slot> = slots.iter().filter(|slot| !slot.is_key).collect();
    if others.is_empty() && !may_be_gone {
        return format!("{target} NOTHING");
    }
    let set: Vec<String> = others
        .iter()
        .map(|slot| column_name(schema, slot.index))
        .map(|name| format!("{name} = excluded.{name}"))
        .chain(may_be_gone.then(|| format!("{DELETED_AT} = NULL")))
        .collect();
    let compared: Vec<&&Slot> =
        others.iter().filter(|slot| !schema.of_run.contains(&slot.index)).collect();
    let side = |of: &str| {
        let cells = compared.iter().map(|slot| cell(of, schema, slot));
        cells.collect::<Vec<_>>().join(", ")
    };
    let (stored, incoming) = (side("stored"), side("excluded"));
    let newest: Vec<&Slot> = schema
        .newest_by
        .iter()
        .filter_map(|index| slots.iter().find(|slot| slot.index == *index))
        .collect();
    let is_no_older = is_no_older(schema, &newest);
    let differs = match compared.is_empty() {
        true => "FALSE".to_owned(),
        false => format!("ROW({stored}) IS DISTINCT FROM ROW({incoming}){is_no_older}"),
    };
    let is_gone =
        if may_be_gone { format!("stored.{DELETED_AT} IS NOT NULL OR ") } else { String::new() };
    format!("{target} UPDATE SET {} WHERE {is_gone}{differs}", set.join(", "))
}

/// A cell as it is compared; `json` has no equality of its own.
fn cell(of: &str, schema: &Schema, slot: &Slot) -> String {
    let cast = if slot.kind == Kind::Json { "::text" } else { "" };
    format!("{of}.{}{cast}", column_name(schema, slot.index))
}

/// That the incoming row is not less than the stored one by these columns; what has no value
/// is less than what has one.
fn is_no_older(schema: &Schema, newest: &[&Slot]) -> String {
    let Some((last, before)) = newest.split_last() else { return String::new() };
    let cells = |slot: &Slot| (cell("stored", schema, slot), cell("excluded", schema, slot));
    let (stored, incoming) = cells(last);
    let least = format!("({stored} IS NULL OR {incoming} >= {stored})");
    let test = before.iter().rev().fold(least, |rest, slot| {
        let (stored, incoming) = cells(slot);
        format!(
            "({stored} IS NULL AND {incoming} IS NOT NULL OR {incoming} > {stored} \
             OR {incoming} IS NOT DISTINCT FROM {stored} AND {rest})"
        )
    });
    format!(" AND {test}")
}
