//! The rows of a table as they stand: showing them, and taking some out.
//!
//! Values are shown as the texts that the record they came from would show, so that the
//! two can be compared. Removing runs inside the caller's transaction.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::pin::pin;

use futures_util::TryStreamExt;
use tokio_postgres::Client;

use crate::config::DeleteMissing;
use crate::cursor::Timestamp;
use crate::record::keys;
use crate::record::value::{self, Value};
use crate::schema::{Column, ColumnType, Origin, Schema};
use crate::target::postgres::column::Kind;
use crate::target::postgres::error::Fault;
use crate::target::postgres::name::{self, Table, quote};
use crate::target::postgres::table::{self, Existing};
use crate::target::{DELETED_AT, Scan, Shown};

/// Shows the rows that are not marked as gone; `fields` are those that rows were written of.
pub(super) async fn rows(
    client: &Client,
    table: &Table,
    (schema, fields): (&Schema, &BTreeSet<String>),
    scan: &Scan<'_>,
    each: &mut dyn FnMut(&Shown<'_>),
) -> Result<(), Fault> {
    let existing = table::columns(client, table).await?;
    let shown: Vec<(&Existing, Column)> = existing
        .iter()
        .filter(|have| !have.name.starts_with("_hogline_"))
        .map(|have| (have, as_column(schema, fields, &have.name)))
        .filter(|(_, column)| !scan.keys_only || is_needed(schema, scan, &column.name))
        .collect();
    if shown.is_empty() {
        return Ok(());
    }
    let (tests, values) = conditions(&existing, schema, scan);
    let cells: Vec<String> = shown.iter().map(|(have, _)| text_of(have)).collect();
    let sql = format!("SELECT {} FROM {}{tests}", cells.join(", "), table.quoted());
    let columns: Vec<Column> = shown.into_iter().map(|(_, column)| column).collect();
    // One by one: a table may be larger than memory.
    let mut found = pin!(client.query_raw(&sql, values).await?);
    while let Some(row) = found.try_next().await? {
        let cell = |(at, column): (usize, &Column)| Ok(as_shown(row.try_get(at)?, column.kind));
        let cells: Result<Vec<_>, Fault> = columns.iter().enumerate().map(cell).collect();
        each(&Shown { columns: &columns, cells: &cells? });
    }
    Ok(())
}

/// A column of the table by its field's name and type; what the schema does not know holds JSON.
fn as_column(schema: &Schema, fields: &BTreeSet<String>, column: &str) -> Column {
    let known = schema.columns.iter().find(|known| name::column(&known.name) == column);
    known.cloned().unwrap_or_else(|| Column {
        name: fields
            .iter()
            .find(|field| name::column(field) == column)
            .map_or(column, |f| f)
            .into(),
        kind: ColumnType::Json,
        origin: Origin::Field,
    })
}

fn is_needed(schema: &Schema, scan: &Scan<'_>, name: &str) -> bool {
    schema.primary_key.iter().any(|&index| schema.columns[index].name == name)
        || scan.within.is_some_and(|(by, _)| by == name)
}

/// Which rows a scan wants, and the values that this says it with.
fn conditions(
    existing: &[Existing],
    schema: &Schema,
    scan: &Scan<'_>,
) -> (String, Vec<Vec<String>>) {
    let mut tests = Vec::new();
    let mut values = Vec::new();
    if table::can_mark(existing) {
        tests.push(format!("{DELETED_AT} IS NULL"));
    }
    if let Some((by, span)) = scan.within {
        let column = name::column(by);
        let kind = existing.iter().find(|have| have.name == column).and_then(Existing::kind);
        // Texts that are no times are compared as SQLite would: letter by letter.
        let (by, cast) = match kind {
            Some(Kind::Timestamptz | Kind::Timestamp | Kind::Date) => {
                (quote(&column), "::timestamptz")
            }
            _ => (format!("{}::text COLLATE \"C\"", quote(&column)), ""),
        };
        tests.push(format!("{by} >= ($1::text[])[1]{cast} AND {by} < ($1::text[])[2]{cast}"));
        values.push(vec![span.from.to_string(), span.to.to_string()]);
    }
    if let Some(only) = scan.only {
        let (test, parts) = has_key(existing, schema, only, values.len());
        tests.push(test);
        values.extend(parts);
    }
    let tests = tests.join(" AND ");
    (if tests.is_empty() { tests } else { format!(" WHERE {tests}") }, values)
}

/// That a row has one of these keys, whose parts are array parameters after `before` others.
///
/// Parts are cast, not columns, so that the key's index is used; a key with a part that its
/// column cannot hold is of no row, and is left out.
fn has_key(
    existing: &[Existing],
    schema: &Schema,
    keys: &[String],
    before: usize,
) -> (String, Vec<Vec<String>>) {
    let columns: Vec<(&Column, Option<&Existing>)> = schema
        .primary_key
        .iter()
        .map(|&index| &schema.columns[index])
        .map(|of| (of, existing.iter().find(|have| have.name == name::column(&of.name))))
        .collect();
    if columns.is_empty() || columns.iter().any(|(_, found)| found.is_none()) {
        return ("FALSE".into(), Vec::new());
    }
    let mut arrays = vec![Vec::new(); columns.len()];
    for parts in keys.iter().map(|key| keys::parts(key)) {
        let holds = |(part, (of, have)): (&String, &(&Column, Option<&Existing>))| {
            have.is_some_and(|have| can_hold(have, of.kind, part))
        };
        if parts.len() == columns.len() && parts.iter().zip(&columns).all(holds) {
            arrays.iter_mut().zip(parts).for_each(|(array, part)| array.push(part));
        }
    }
    let found = || columns.iter().filter_map(|(_, found)| *found).enumerate();
    let names: Vec<String> = found().map(|(_, have)| quote(&have.name)).collect();
    let casts: Vec<String> = found().map(|(n, have)| format!("p{n}::{}", have.type_name)).collect();
    let parts: Vec<String> = found().map(|(n, _)| format!("p{n}")).collect();
    let given: Vec<String> = found().map(|(n, _)| format!("${}::text[]", before + n + 1)).collect();
    let test = format!(
        "({}) IN (SELECT {} FROM unnest({}) AS keys ({}))",
        names.join(", "),
        casts.join(", "),
        given.join(", "),
        parts.join(", ")
    );
    (test, arrays)
}

/// Whether a column can hold the part of a key.
fn can_hold(column: &Existing, kind: ColumnType, part: &str) -> bool {
    let value = match part {
        "" => Value::Text("".into()),
        part => value::convert_text(part.into(), kind).0,
    };
    column.kind().is_none_or(|kind| kind.fits(&value))
}

/// A cell as the text that its value would be in a column of texts.
fn text_of(column: &Existing) -> String {
    let name = quote(&column.name);
    match column.kind() {
        Some(kind) => kind.widened(&name, Kind::Text),
        None => format!("{name}::text"),
    }
}

/// The text that the record's own value would have.
fn as_shown(text: Option<&str>, kind: ColumnType) -> Option<Cow<'_, str>> {
    let text = text?;
    Some(match kind {
        ColumnType::Json => value::compact(text),
        // PostgreSQL has spellings of its own for large and small ones.
        ColumnType::Double => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => number.to_string().into(),
            _ => text.into(),
        },
        _ => text.into(),
    })
}

/// Deletes rows, or marks them as gone since `at`; those that are marked keep their mark.
pub(super) async fn remove(
    client: &Client,
    table: &Table,
    schema: &Schema,
    (keys, how, at): (&[String], DeleteMissing, Timestamp),
) -> Result<(), Fault> {
    if how == DeleteMissing::Soft {
        table::make_markable(client, table).await?;
    }
    let existing = table::columns(client, table).await?;
    let (is_meant, parts) = has_key(&existing, schema, keys, 0);
    let table = table.quoted();
    let sql = match how {
        DeleteMissing::Hard => format!("DELETE FROM {table} WHERE {is_meant}"),
        DeleteMissing::Soft => format!(
            "UPDATE {table} SET {DELETED_AT} = '{at}' WHERE {DELETED_AT} IS NULL AND {is_meant}"
        ),
    };
    client.execute_raw(&sql, parts).await?;
    Ok(())
}
