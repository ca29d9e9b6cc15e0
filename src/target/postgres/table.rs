//! Tables: what is there, making one, letting it grow and widen.
//!
//! Everything that changes something runs inside the caller's transaction. Columns,
//! indexes and whatever else the user added are never removed, and a type only widens.

use std::sync::Arc;

use tokio_postgres::{Client, Error, Row};

use crate::schema::Schema;
use crate::target::postgres::column::Kind;
use crate::target::postgres::encode::Slot;
use crate::target::postgres::error::Fault;
use crate::target::postgres::name::{self, Table, quote};
use crate::target::{DELETED_AT, Widened};

/// A column of an existing table.
#[derive(Debug, Clone)]
pub(super) struct Existing {
    pub(super) name: String,
    /// Its type's name in SQL.
    pub(super) type_name: String,
    /// Whether a row can be given a value for it.
    pub(super) is_plain: bool,
}

impl Existing {
    /// Its type; nothing where we write no such values.
    pub(super) fn kind(&self) -> Option<Kind> {
        Kind::named(&self.type_name)
    }
}

/// What the name belongs to, as PostgreSQL's `relkind` says, if to anything.
pub(super) async fn kind_of(client: &Client, table: &Table) -> Result<Option<String>, Error> {
    let sql = "SELECT relkind::text FROM pg_class
               WHERE relnamespace = to_regnamespace(quote_ident($1)) AND relname = $2";
    let row = client.query_opt(sql, &[&table.schema, &table.name]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// The columns of a table, in their order; none where there is no table.
pub(super) async fn columns(client: &Client, table: &Table) -> Result<Vec<Existing>, Error> {
    let sql = "SELECT attname::text, format_type(atttypid, atttypmod),
                      attgenerated = '' AND attidentity <> 'a'
               FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
               WHERE relnamespace = to_regnamespace(quote_ident($1)) AND relname = $2
                 AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    let read =
        |row: &Row| Existing { name: row.get(0), type_name: row.get(1), is_plain: row.get(2) };
    Ok(client.query(sql, &[&table.schema, &table.name]).await?.iter().map(read).collect())
}

/// Makes the table where it is missing and adds the columns it lacks.
pub(super) async fn make_room(
    client: &Client,
    table: &Table,
    schema: &Schema,
) -> Result<(), Error> {
    let existing = columns(client, table).await?;
    if existing.is_empty() {
        return client.batch_execute(&definition(table, schema)).await;
    }
    let is_missing = |name: &String| !existing.iter().any(|have| have.name == *name);
    let added: Vec<String> = schema
        .columns
        .iter()
        .map(|column| (name::column(&column.name), Kind::of(column.kind)))
        .filter(|(name, _)| is_missing(name))
        .map(|(name, kind)| format!("ADD COLUMN {} {}", quote(&name), kind.sql()))
        .collect();
    alter(client, table, &added).await
}

/// Whether a field has a column among these.
pub(super) fn has(columns: &[Existing], field: &str) -> bool {
    let wanted = name::column(field);
    columns.iter().any(|have| have.name == wanted)
}

/// Whether rows of a table with these columns can be marked as gone.
pub(super) fn can_mark(columns: &[Existing]) -> bool {
    columns.iter().any(|column| column.name == DELETED_AT)
}

/// Sees that rows of a table can be marked as gone.
pub(super) async fn make_markable(client: &Client, table: &Table) -> Result<(), Error> {
    if can_mark(&columns(client, table).await?) {
        return Ok(());
    }
    alter(client, table, &[format!("ADD COLUMN {DELETED_AT} timestamptz")]).await
}

/// Changes a table, if there is anything to change.
pub(super) async fn alter(client: &Client, table: &Table, changes: &[String]) -> Result<(), Error> {
    if changes.is_empty() {
        return Ok(());
    }
    client.batch_execute(&format!("ALTER TABLE {} {}", table.quoted(), changes.join(", "))).await
}

fn definition(table: &Table, schema: &Schema) -> String {
    let column = |column: &crate::schema::Column| {
        format!("{} {}", quote(&name::column(&column.name)), Kind::of(column.kind).sql())
    };
    let mut parts: Vec<String> = schema.columns.iter().map(column).collect();
    if !schema.primary_key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", key_names(schema).join(", ")));
    }
    format!("CREATE TABLE {} (\n  {}\n)", table.quoted(), parts.join(",\n  "))
}

/// The key's columns, quoted.
pub(super) fn key_names(schema: &Schema) -> Vec<String> {
    schema.primary_key.iter().map(|&index| column_name(schema, index)).collect()
}

/// A column's name, quoted.
pub(super) fn column_name(schema: &Schema, index: usize) -> String {
    quote(&name::column(&schema.columns[index].name))
}

/// The columns that rows of this schema write, with the types they have in the table.
pub(super) async fn slots(
    client: &Client,
    table: &Table,
    schema: &Arc<Schema>,
) -> Result<Vec<Slot>, Fault> {
    let existing = columns(client, table).await?;
    let mut slots = Vec::new();
    for (index, column) in schema.columns.iter().enumerate() {
        let is_key = schema.primary_key.contains(&index);
        if !column.is_known() && !is_key {
            continue;
        }
        let name = name::column(&column.name);
        let found = existing.iter().find(|have| have.name == name).filter(|have| have.is_plain);
        let kind = found.and_then(Existing::kind);
        let kind = kind.ok_or_else(|| {
            let type_name = found.map_or("generated", |have| have.type_name.as_str());
            no_such_values(table, &name, type_name)
        })?;
        slots.push(Slot { index, kind, is_key });
    }
    Ok(slots)
}

fn no_such_values(table: &Table, column: &str, type_name: &str) -> Fault {
    Fault::Refused(
        format!("its column `{column}` is {type_name}, which is nothing we write"),
        format!(
            "run once with `--mode full-refresh`, or: ALTER TABLE {} ALTER COLUMN {} TYPE text",
            table.quoted(),
            quote(column)
        ),
    )
}

/// Makes columns as wide as `slots` became by the values of a batch; tells which.
pub(super) async fn widen(
    client: &Client,
    table: &Table,
    schema: &Schema,
    (before, after): (&[Slot], &[Slot]),
) -> Result<Vec<Widened>, Fault> {
    let changed = before.iter().zip(after).filter(|(before, after)| before.kind != after.kind);
    let mut changes = Vec::new();
    let mut widened = Vec::new();
    for (before, after) in changed {
        let column = &schema.columns[after.index].name;
        let kind = after.kind.sql();
        refuse_in_use(client, table, &name::column(column), kind).await?;
        let quoted = column_name(schema, after.index);
        let using = before.kind.widened(&quoted, after.kind);
        changes.push(format!("ALTER COLUMN {quoted} TYPE {kind} USING {using}"));
        let (before, after) = (before.kind.sql().to_owned(), kind.to_owned());
        widened.push(Widened { column: column.clone(), before, after });
    }
    alter(client, table, &changes).await?;
    Ok(widened)
}

/// PostgreSQL changes no type that a view shows: says which view, before it fails at that.
async fn refuse_in_use(
    client: &Client,
    table: &Table,
    column: &str,
    kind: &str,
) -> Result<(), Fault> {
    let sql = "SELECT DISTINCT view.oid::regclass::text, view.relkind = 'm'
               FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = objid
                 JOIN pg_class AS view ON view.oid = ev_class
                 JOIN pg_class AS class ON class.oid = refobjid
                 JOIN pg_attribute ON attrelid = class.oid AND attnum = refobjsubid
               WHERE classid = 'pg_rewrite'::regclass AND refclassid = 'pg_class'::regclass
                 AND class.relnamespace = to_regnamespace(quote_ident($1)) AND class.relname = $2
                 AND attname = $3 AND view.oid <> class.oid ORDER BY 1";
    let found = client.query(sql, &[&table.schema, &table.name, &column]).await?;
    let views: Vec<String> = found.iter().map(|row| row.get(0)).collect();
    let Some(first) = found.first() else { return Ok(()) };
    let what = if first.get(1) { "MATERIALIZED VIEW" } else { "VIEW" };
    Err(Fault::Refused(
        format!(
            "a value does not fit column `{column}`, which has to become {kind}, but {} shows it",
            views.iter().map(|view| format!("view `{view}`")).collect::<Vec<_>>().join(" and ")
        ),
        format!(
            "DROP {what} {}, run again, and create it anew; nothing was changed, no row is lost",
            views.join(", ")
        ),
    ))
}

/// Whether rows of an existing table are unique by exactly the schema's key.
pub(super) async fn is_keyed_by(
    client: &Client,
    table: &Table,
    schema: &Schema,
) -> Result<bool, Error> {
    let name = |&index: &usize| name::column(&schema.columns[index].name);
    let mut wanted: Vec<String> = schema.primary_key.iter().map(name).collect();
    wanted.sort_unstable();
    if schema.primary_key.is_empty() {
        return Ok(true);
    }
    let sql = "SELECT 1 FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
               WHERE relnamespace = to_regnamespace(quote_ident($1)) AND relname = $2
                 AND indisunique AND indimmediate AND indisvalid
                 AND indpred IS NULL AND indexprs IS NULL
                 AND $3 = (SELECT array_agg(attname::text ORDER BY attname::text COLLATE \"C\")
                           FROM pg_attribute WHERE attrelid = indrelid
                             AND attnum = ANY ((indkey::int2[])[0:indnkeyatts - 1]))
               LIMIT 1";
    Ok(client.query_opt(sql, &[&table.schema, &table.name, &wanted]).await?.is_some())
}
