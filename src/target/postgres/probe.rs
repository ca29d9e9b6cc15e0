//! What must be so before a load begins: rights, a table of the right kind, its lock.
//!
//! Looking leaves nothing behind. [`make_place`] alone makes something, once a load
//! begins: the schema and the table of checkpoints, in a short transaction of its own, so
//! that streams that begin at once do not wait for each other's pages.

use tokio_postgres::Client;

use crate::schema::Schema;
use crate::target::postgres::checkpoints;
use crate::target::postgres::error::Fault;
use crate::target::postgres::name::{Table, quote};
use crate::target::postgres::table;

/// The oldest server that has all we ask for.
const OLDEST: i32 = 120_000;

/// Whoever else makes a schema or a table of checkpoints holds this lock for a moment.
const MAKING: i64 = 0x0068_6f67_6c69_6e65;

/// How long a lock may be held by a run that was killed: its server notices soon.
const HANDOVER: &str = "10s";

/// Proves that the table can be written.
pub(super) async fn rights(client: &Client, table: &Table) -> Result<(), Fault> {
    let sql = "SELECT current_setting('server_version_num')::int,
                 current_setting('server_encoding'),
                 pg_is_in_recovery() OR current_setting('transaction_read_only')::bool,
                 has_database_privilege(current_database(), 'TEMP'),
                 CASE WHEN to_regnamespace(quote_ident($1)) IS NULL
                   THEN has_database_privilege(current_database(), 'CREATE')
                   ELSE has_schema_privilege(to_regnamespace(quote_ident($1))::oid, 'USAGE') END,
                 to_regnamespace(quote_ident($1)) IS NULL";
    let row = client.query_one(sql, &[&table.schema]).await?;
    let (schema, is_new) = (quote(&table.schema), row.get::<_, bool>(5));
    let refused = |cause: String, hint: String| Err(Fault::Refused(cause, hint));
    if row.get::<_, i32>(0) < OLDEST {
        return refused("the server is older than PostgreSQL 12".into(), "upgrade it".into());
    }
    let encoding: String = row.get(1);
    if encoding != "UTF8" {
        let hint = "create one for this: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0";
        return refused(format!("the database is {encoding}: not every text fits"), hint.into());
    }
    if row.get(2) {
        let hint = "name the primary server, or a user who may write";
        return refused("the server lets us read only".into(), hint.into());
    }
    if !row.get::<_, bool>(3) {
        let hint = "GRANT TEMPORARY ON DATABASE … TO this user";
        return refused("we may not make temporary tables".into(), hint.into());
    }
    match (row.get::<_, bool>(4), is_new) {
        (true, true) => Ok(()),
        (true, false) => rights_in_schema(client, table).await,
        (false, true) => refused(
            format!("schema {schema} is not there, and we may not make it"),
            format!("CREATE SCHEMA {schema} AUTHORIZATION this user"),
        ),
        (false, false) => refused(
            format!("we may not use schema {schema}"),
            format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO this user"),
        ),
    }
}

/// Whether what is there can be written, and what is missing can be made.
async fn rights_in_schema(client: &Client, table: &Table) -> Result<(), Fault> {
    for place in [table.clone(), checkpoints::beside(table)] {
        let sql = "SELECT has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
                     AND has_table_privilege(oid, 'UPDATE'), relkind::text
                   FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident($1))
                     AND relname = $2";
        let found = client.query_opt(sql, &[&place.schema, &place.name]).await?;
        let Some(row) = found else {
            may_create(client, &place).await?;
            continue;
        };
        if !row.get::<_, bool>(0) {
            let quoted = place.quoted();
            return Err(Fault::Refused(
                format!("we may not write {quoted}"),
                format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {quoted} TO this user"),
            ));
        }
    }
    check_kind(client, table).await
}

async fn may_create(client: &Client, place: &Table) -> Result<(), Fault> {
    let sql = "SELECT has_schema_privilege(to_regnamespace(quote_ident($1))::oid, 'CREATE')";
    if client.query_one(sql, &[&place.schema]).await?.get(0) {
        return Ok(());
    }
    let schema = quote(&place.schema);
    Err(Fault::Refused(
        format!("{} is not there, and we may not make it", place.quoted()),
        format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO this user"),
    ))
}

/// Takes the lock of a table for as long as the connection lives.
pub(super) async fn lock(client: &Client, table: &Table) -> Result<(), Fault> {
    let before: String =
        client.query_one("SELECT current_setting('lock_timeout')", &[]).await?.get(0);
    let set = "SELECT set_config('lock_timeout', $1, false)";
    client.query_one(set, &[&HANDOVER]).await?;
    let locked = client.execute("SELECT pg_advisory_lock($1)", &[&table.lock()]).await;
    client.query_one(set, &[&before]).await?;
    match locked {
        Ok(_) => Ok(()),
        Err(err) if err.code().is_some_and(|code| code.code() == "55P03") => {
            Err(checkpoints::another_load())
        }
        Err(err) => Err(err.into()),
    }
}

/// Refuses a table that a load cannot go into.
pub(super) async fn check(
    client: &Client,
    table: &Table,
    schema: &Schema,
    is_copying: bool,
) -> Result<(), Fault> {
    check_kind(client, table).await?;
    let is_there = table::kind_of(client, table).await?.is_some();
    if !is_there || is_copying || table::is_keyed_by(client, table, schema).await? {
        return Ok(());
    }
    let key = table::key_names(schema).join(", ");
    Err(Fault::Refused(
        format!("the table is there, but its rows are not unique by ({key})"),
        format!(
            "load it anew with `--mode full-refresh`, or make it so: CREATE UNIQUE INDEX ON {} ({key})",
            table.quoted()
        ),
    ))
}

async fn check_kind(client: &Client, table: &Table) -> Result<(), Fault> {
    match table::kind_of(client, table).await?.as_deref() {
        None | Some("r" | "p") => Ok(()),
        Some(kind) => {
            let kind = if matches!(kind, "v" | "m") { "view" } else { "relation" };
            let hint = format!(
                "restore the table in its place, or drop the {kind} and begin anew with \
                 `hogline state reset`, or name another object for this stream"
            );
            Err(Fault::Refused(format!("this name belongs to a {kind} that is no table"), hint))
        }
    }
}

/// Makes the schema and the table of checkpoints where they are missing.
pub(super) async fn make_place(client: &Client, table: &Table) -> Result<(), Fault> {
    if table::kind_of(client, &checkpoints::beside(table)).await?.is_some() {
        return Ok(());
    }
    client.batch_execute("BEGIN").await?;
    let made = make(client, table).await;
    client.batch_execute(if made.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    made
}

async fn make(client: &Client, table: &Table) -> Result<(), Fault> {
    client.execute("SELECT pg_advisory_xact_lock($1)", &[&MAKING]).await?;
    let sql = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
    if client.query_opt(sql, &[&table.schema]).await?.is_none() {
        client.batch_execute(&format!("CREATE SCHEMA {}", quote(&table.schema))).await?;
    }
    checkpoints::make(client, table).await
}
