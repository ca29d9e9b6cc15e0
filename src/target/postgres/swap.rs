//! Putting a complete copy in the place of the table.
//!
//! The copy takes the table's name where everything that hangs on the table can be made
//! anew: indexes under their names, grants, owner, comment, triggers. Where more does (a
//! view, a foreign key, a policy, a publication), or the table is somebody else's, its
//! rows are replaced instead. Either happens in the transaction of the checkpoint:
//! readers see the old copy or the new one.

use tokio_postgres::{Client, Error};

use crate::schema::Schema;
use crate::target::postgres::column::Kind;
use crate::target::postgres::error::Fault;
use crate::target::postgres::name::{Table, quote};
use crate::target::postgres::table::{self, Existing};

/// Begins a copy: a table like the one there is, so that no type becomes narrower and the
/// user's columns stay, unique by the schema's key.
pub(super) async fn begin(client: &Client, table: &Table, schema: &Schema) -> Result<(), Error> {
    let staging = table.staging();
    client.batch_execute(&format!("DROP TABLE IF EXISTS {}", staging.quoted())).await?;
    if table::kind_of(client, table).await?.is_none() {
        return table::make_room(client, &staging, schema).await;
    }
    let like = format!(
        "CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING IDENTITY
           INCLUDING COMMENTS INCLUDING STORAGE INCLUDING CONSTRAINTS)",
        staging.quoted(),
        table.quoted()
    );
    client.batch_execute(&like).await?;
    table::make_room(client, &staging, schema).await?;
    let existing = table::columns(client, &staging).await?;
    let mut changes: Vec<String> = foreign_types(schema, &existing);
    if !schema.primary_key.is_empty() {
        changes.push(format!("ADD PRIMARY KEY ({})", table::key_names(schema).join(", ")));
    }
    table::alter(client, &staging, &changes).await
}

/// Gives the columns of a table without rows the types that the user declares.
pub(super) async fn declare_types(
    client: &Client,
    table: &Table,
    schema: &Schema,
) -> Result<(), Error> {
    if schema.typed.is_empty() {
        return Ok(());
    }
    let existing = table::columns(client, table).await?;
    table::alter(client, table, &foreign_types(schema, &existing)).await
}

/// Gives our columns of a type that we do not write, or the user does not want, another one;
/// no row is there yet.
fn foreign_types(schema: &Schema, existing: &[Existing]) -> Vec<String> {
    let mut changes = Vec::new();
    for (index, column) in schema.columns.iter().enumerate() {
        let name = table::column_name(schema, index);
        let is_typed = schema.typed.contains(&index);
        let is_wrong = |have: &Existing| {
            have.kind().is_none_or(|kind| is_typed && kind != Kind::of(column.kind))
        };
        let is_foreign = |have: &&Existing| quote(&have.name) == name && is_wrong(have);
        if existing.iter().any(|have| is_foreign(&have)) {
            changes.push(format!("ALTER COLUMN {name} DROP DEFAULT"));
            let kind = Kind::of(column.kind).sql();
            changes.push(format!("ALTER COLUMN {name} TYPE {kind} USING NULL::{kind}"));
        }
    }
    changes
}

/// Ends a copy: what is in the staging table is what the table holds.
pub(super) async fn publish(client: &Client, table: &Table) -> Result<(), Fault> {
    if table::kind_of(client, table).await?.is_none() {
        return Ok(rename(client, table, &format!("{}_pkey", table.name)).await?);
    }
    if is_replaceable(client, table).await? {
        client.batch_execute("SAVEPOINT hogline_swap").await?;
        match replace(client, table).await {
            Ok(()) => return Ok(client.batch_execute("RELEASE hogline_swap").await?),
            Err(err) if is_in_use(&err) => {
                tracing::debug!(%table, "something hangs on the table: its rows are replaced");
                client.batch_execute("ROLLBACK TO hogline_swap").await?;
            }
            Err(err) => return Err(err.into()),
        }
    }
    refill(client, table).await
}

/// Whether something depends on the table, or it is not ours to drop.
fn is_in_use(err: &Error) -> bool {
    err.code().is_some_and(|code| matches!(code.code(), "2BP01" | "42501"))
}

/// Whether all that dropping the table would take away without a word can be made anew.
async fn is_replaceable(client: &Client, table: &Table) -> Result<bool, Error> {
    let sql = "SELECT relkind = 'r' AND relpersistence = 'p' AND NOT relispartition
                 AND reloptions IS NULL AND reltablespace = 0 AND relreplident = 'd'
                 AND NOT relrowsecurity AND NOT relhasrules
                 AND NOT EXISTS (SELECT 1 FROM pg_inherits WHERE class.oid IN (inhrelid, inhparent))
                 AND NOT EXISTS (SELECT 1 FROM pg_policy WHERE polrelid = class.oid)
                 AND NOT EXISTS (SELECT 1 FROM pg_publication_rel WHERE prrelid = class.oid)
                 AND NOT EXISTS (SELECT 1 FROM pg_statistic_ext WHERE stxrelid = class.oid)
                 AND NOT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = class.oid
                                   AND attnum > 0 AND attidentity <> '')
                 AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conrelid = class.oid
                                   AND contype NOT IN ('p', 'c', 'n'))
                 AND NOT EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = class.oid
                                   AND (tgisinternal OR tgenabled <> 'O'))
               FROM pg_class AS class
               WHERE relnamespace = to_regnamespace(quote_ident($1)) AND relname = $2";
    Ok(client.query_one(sql, &[&table.schema, &table.name]).await?.get(0))
}

/// Puts the staging table in the table's place, with all that hung on it.
async fn replace(client: &Client, table: &Table) -> Result<(), Error> {
    let key = replace_indexes(client, table).await?;
    let attachments = statements(client, table, ATTACHMENTS).await?;
    let triggers = statements(client, table, TRIGGERS).await?;
    execute(client, &attachments).await?;
    client.batch_execute(&format!("DROP TABLE {}", table.quoted())).await?;
    crash_point!("inside the swap");
    let key = key.unwrap_or_else(|| format!("{}_pkey", table.name));
    rename(client, table, &key).await?;
    execute(client, &triggers).await
}

/// Builds the table's indexes on the staging table, while readers still use the old ones;
/// tells the name of the primary key's.
async fn replace_indexes(client: &Client, table: &Table) -> Result<Option<String>, Error> {
    let sql = "SELECT index.relname::text, pg_get_indexdef(indexrelid), indisprimary,
                      format(' ON %I.%I USING ', $1::text, $2::text)
               FROM pg_index JOIN pg_class AS class ON class.oid = indrelid
                 JOIN pg_class AS index ON index.oid = indexrelid
               WHERE class.relnamespace = to_regnamespace(quote_ident($1))
                 AND class.relname = $2 ORDER BY indexrelid";
    let on_staging = format!(" ON {} USING ", table.staging().quoted());
    let mut key = None;
    for (n, row) in client.query(sql, &[&table.schema, &table.name]).await?.iter().enumerate() {
        let (index, definition): (String, String) = (row.get(0), row.get(1));
        let old = table.beside(&format!("_hogline_old_{n}_{}", table.name));
        let index = table.beside(&index);
        let renamed = format!("ALTER INDEX {} RENAME TO {}", index.quoted(), quote(&old.name));
        client.batch_execute(&renamed).await?;
        if row.get(2) {
            key = Some(index.name);
        } else {
            let on_table: String = row.get(3);
            client.batch_execute(&definition.replacen(&on_table, &on_staging, 1)).await?;
        }
    }
    Ok(key)
}

/// What makes owner, grants and comment of table `$1`.`$2` those of table `$3`.
const ATTACHMENTS: &str = "
    WITH class AS (SELECT * FROM pg_class WHERE relname = $2
                     AND relnamespace = to_regnamespace(quote_ident($1))),
      grantee AS (SELECT oid, quote_ident(rolname) AS name FROM pg_roles
                  UNION ALL SELECT 0, 'PUBLIC')
    SELECT format('REVOKE ALL ON TABLE %s FROM %s', $3::text, name)
      FROM pg_class AS staging, aclexplode(relacl) AS acl JOIN grantee ON oid = acl.grantee
      WHERE staging.oid = $3::text::regclass AND acl.grantee <> relowner
    UNION ALL SELECT format('GRANT %s ON TABLE %s TO %s', privilege_type, $3::text, name)
             || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
      FROM class, aclexplode(relacl) AS acl JOIN grantee ON oid = acl.grantee
      WHERE acl.grantee <> relowner
    UNION ALL SELECT format('GRANT %s (%I) ON TABLE %s TO %s', privilege_type, attname, $3::text, name)
             || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
      FROM class JOIN pg_attribute ON attrelid = class.oid, aclexplode(attacl) AS acl
        JOIN grantee ON grantee.oid = acl.grantee
    UNION ALL SELECT format('COMMENT ON TABLE %s IS %L', $3::text, obj_description(oid, 'pg_class'))
      FROM class WHERE obj_description(oid, 'pg_class') IS NOT NULL
    UNION ALL SELECT format('ALTER TABLE %s OWNER TO %I', $3::text, pg_get_userbyid(relowner))
      FROM class WHERE relowner <> (SELECT relowner FROM pg_class WHERE oid = $3::text::regclass)";

/// What makes the triggers of table `$1`.`$2` again, once another table has its name.
const TRIGGERS: &str = "
    SELECT pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
      WHERE relnamespace = to_regnamespace(quote_ident($1)) AND relname = $2
        AND NOT tgisinternal AND $3::text IS NOT NULL";

/// The statements that a query about a table and its staging table gives.
async fn statements(client: &Client, table: &Table, sql: &str) -> Result<Vec<String>, Error> {
    let staging = table.staging().quoted();
    let rows = client.query(sql, &[&table.schema, &table.name, &staging]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn execute(client: &Client, statements: &[String]) -> Result<(), Error> {
    for statement in statements {
        client.batch_execute(statement).await?;
    }
    Ok(())
}

/// Gives the staging table the table's name, and its primary key the name `key`.
async fn rename(client: &Client, table: &Table, key: &str) -> Result<(), Error> {
    let staging = table.staging();
    let sql = "SELECT index.relname::text FROM pg_index
                 JOIN pg_class AS class ON class.oid = indrelid
                 JOIN pg_class AS index ON index.oid = indexrelid
               WHERE class.relnamespace = to_regnamespace(quote_ident($1))
                 AND class.relname = $2 AND indisprimary";
    let found = client.query_opt(sql, &[&staging.schema, &staging.name]).await?;
    let wanted = table.beside(key);
    if let Some(row) = found.filter(|row| row.get::<_, String>(0) != wanted.name)
        && table::kind_of(client, &wanted).await?.is_none()
    {
        let own = table.beside(&row.get::<_, String>(0)).quoted();
        let renamed = format!("ALTER INDEX {own} RENAME TO {}", quote(&wanted.name));
        client.batch_execute(&renamed).await?;
    }
    let renamed = format!("ALTER TABLE {} RENAME TO {}", staging.quoted(), quote(&table.name));
    client.batch_execute(&renamed).await
}

/// Replaces the table's rows by those of the staging table.
async fn refill(client: &Client, table: &Table) -> Result<(), Fault> {
    let staging = table.staging();
    let staged = table::columns(client, &staging).await?;
    let existing = table::columns(client, table).await?;
    let changes: Vec<String> = staged.iter().filter_map(|from| change(from, &existing)).collect();
    table::alter(client, table, &changes).await?;
    let names: Vec<String> =
        staged.iter().filter(|have| have.is_plain).map(|have| quote(&have.name)).collect();
    let (names, from, to) = (names.join(", "), staging.quoted(), table.quoted());
    let sql = format!(
        "DELETE FROM {to}; INSERT INTO {to} ({names}) SELECT {names} FROM {from}; DROP TABLE {from}"
    );
    Ok(client.batch_execute(&sql).await?)
}

/// What a column of the table needs to take what is staged for it.
fn change(from: &Existing, existing: &[Existing]) -> Option<String> {
    let name = quote(&from.name);
    let Some(to) = existing.iter().find(|have| have.name == from.name) else {
        return Some(format!("ADD COLUMN {name} {}", from.type_name));
    };
    let (wide, narrow) = (from.kind()?, to.kind()?);
    (to.type_name != from.type_name).then(|| {
        // The rows that are there go. Values that a declared type cannot hold must not keep it away.
        let using = match narrow == wide || narrow.widens_to(wide) {
            true => narrow.widened(&name, wide),
            false => format!("NULL::{}", from.type_name),
        };
        format!("ALTER COLUMN {name} TYPE {} USING {using}", from.type_name)
    })
}
