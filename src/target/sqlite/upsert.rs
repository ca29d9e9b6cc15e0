//! The one statement that writes a row, and how values become its parameters.
//!
//! A row meets the copy that is there under its key: it replaces that copy only
//! where a column this schema knows differs and the row is not the older one.
//! Columns the schema does not know are not mentioned, so they keep their values.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::functions::FunctionFlags;
use rusqlite::types::Null;
use rusqlite::{Connection, Result, Statement};

use crate::record::batch::{Batch, Row};
use crate::record::repair::Repairs;
use crate::record::value::Value;
use crate::schema::Schema;
use crate::target::sqlite::table::{Existing, can_mark, key_names, quote};
use crate::target::{DELETED_AT, Written};

/// Notices when a row meets another under its key: the statement calls it then.
#[derive(Debug, Clone, Default)]
pub(super) struct Met(Arc<AtomicBool>);

impl Met {
    /// Makes `_hogline_met()` known to a connection.
    pub(super) fn register(&self, db: &Connection) -> Result<()> {
        let met = Arc::clone(&self.0);
        db.create_scalar_function("_hogline_met", 0, FunctionFlags::SQLITE_UTF8, move |_| {
            met.store(true, Ordering::Relaxed);
            Ok(true)
        })
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// The statement for rows of one schema into one table.
#[derive(Debug)]
pub(super) struct Upsert {
    pub(super) schema: Arc<Schema>,
    sql: String,
    /// The columns it writes, by index, in the order of its parameters; and whether SQLite
    /// makes numbers of texts there.
    columns: Vec<(usize, bool)>,
}

impl Upsert {
    /// For a table with these columns.
    pub(super) fn new(table: &str, schema: &Arc<Schema>, existing: &[Existing]) -> Self {
        let may_be_gone = can_mark(existing);
        let is_key = |index: &usize| schema.primary_key.contains(index);
        let known = |index: &usize| schema.columns[*index].is_known();
        let columns: Vec<usize> =
            (0..schema.columns.len()).filter(|index| known(index) || is_key(index)).collect();
        let name = |index: &usize| quote(&schema.columns[*index].name);
        let names: Vec<String> = columns.iter().map(name).collect();
        let places = vec!["?"; columns.len()].join(",");
        let insert =
            format!("INSERT INTO {} ({}) VALUES ({places})", quote(table), names.join(","));
        let others: Vec<String> = columns.iter().filter(|index| !is_key(index)).map(name).collect();
        let is_compared = |index: &&usize| !is_key(index) && !schema.of_run.contains(index);
        let compared: Vec<String> = columns.iter().filter(is_compared).map(name).collect();
        let newest: Vec<String> =
            schema.newest_by.iter().filter(|index| known(index)).map(name).collect();
        let conflict = Conflict {
            table: &quote(table),
            others: &others,
            compared: &compared,
            newest: &newest,
            may_be_gone,
        };
        let sql = insert + &conflict.sql(&key_names(schema));
        let makes_numbers = |index: usize| {
            let name = &schema.columns[index].name;
            let found = existing.iter().find(|have| have.name.eq_ignore_ascii_case(name));
            found.is_some_and(Existing::makes_numbers)
        };
        let columns = columns.into_iter().map(|index| (index, makes_numbers(index))).collect();
        Self { schema: Arc::clone(schema), sql, columns }
    }

    /// Writes the rows of a batch and counts what that did.
    pub(super) fn write(&self, db: &Connection, batch: &Batch, met: &Met) -> Result<Written> {
        let mut statement = db.prepare_cached(&self.sql)?;
        let mut written = Written::default();
        for row in batch.rows() {
            met.take();
            self.bind(&mut statement, &row, &mut written.repairs)?;
            let changed = statement.raw_execute()? > 0;
            match (changed, met.take()) {
                (true, false) => written.new += 1,
                (true, true) => written.updated += 1,
                (false, _) => written.unchanged += 1,
            }
        }
        Ok(written)
    }

    fn bind(
        &self,
        statement: &mut Statement<'_>,
        row: &Row<'_>,
        repairs: &mut Repairs,
    ) -> Result<()> {
        for (place, &(index, makes_numbers)) in self.columns.iter().enumerate() {
            let column = &self.schema.columns[index];
            let mut value = row.value(index, repairs);
            if value == Value::Null && self.schema.primary_key.contains(&index) {
                // NULLs are all different in a key: the row would come again with every run.
                value = Value::Text("".into());
                repairs.note(&column.name);
            }
            bind_value(statement, place + 1, &value, makes_numbers)?;
        }
        Ok(())
    }
}

/// A row whose key is there.
struct Conflict<'a> {
    table: &'a str,
    /// The known columns that are not of the key.
    others: &'a [String],
    /// Those of them by which a row changes.
    compared: &'a [String],
    /// Those of them that tell which copy is newer.
    newest: &'a [String],
    may_be_gone: bool,
}

impl Conflict<'_> {
    /// What happens to it; nothing to say where there is no key.
    fn sql(&self, key: &[String]) -> String {
        if key.is_empty() {
            return String::new();
        }
        let target = format!(" ON CONFLICT ({}) DO ", key.join(","));
        let set: Vec<String> = self
            .others
            .iter()
            .map(|name| format!("{name} = excluded.{name}"))
            .chain(self.may_be_gone.then(|| format!("{DELETED_AT} = NULL")))
            .collect();
        if set.is_empty() {
            return target + "NOTHING";
        }
        let mut conditions = vec![self.either_gone(self.differs()), "_hogline_met()".to_owned()];
        conditions.extend(self.is_not_older().map(|newer| self.either_gone(newer)));
        format!("{target}UPDATE SET {} WHERE {}", set.join(","), conditions.join(" AND "))
    }

    /// A condition that does not matter to a row that was marked: it is there again.
    fn either_gone(&self, condition: String) -> String {
        let table = self.table;
        match self.may_be_gone {
            true => format!("({condition} OR {table}.{DELETED_AT} IS NOT NULL)"),
            false => condition,
        }
    }

    // Row values, not a chain of OR: SQLite bounds an expression's depth.
    fn differs(&self) -> String {
        if self.compared.is_empty() {
            return "FALSE".into();
        }
        let side = |of: &str| self.side(of, self.compared, |of, name| format!("{of}.{name}"));
        format!("({}) IS NOT ({})", side(self.table), side("excluded"))
    }

    fn is_not_older(&self) -> Option<String> {
        let lowest_null =
            |of: &str, name: &str| format!("{of}.{name} IS NOT NULL, ifnull({of}.{name}, '')");
        let side = |of: &str| self.side(of, self.newest, lowest_null);
        (!self.newest.is_empty())
            .then(|| format!("({}) >= ({})", side("excluded"), side(self.table)))
    }

    fn side(&self, of: &str, names: &[String], shape: fn(&str, &str) -> String) -> String {
        names.iter().map(|name| shape(of, name)).collect::<Vec<_>>().join(",")
    }
}

/// Gives a value to a parameter; `makes_numbers` says whether SQLite makes a number of a text
/// that spells one in this column.
pub(super) fn bind_value(
    statement: &mut Statement<'_>,
    place: usize,
    value: &Value<'_>,
    makes_numbers: bool,
) -> Result<()> {
    match value {
        Value::Null => statement.raw_bind_parameter(place, Null),
        Value::Bool(yes) => statement.raw_bind_parameter(place, yes),
        Value::Bigint(number) => statement.raw_bind_parameter(place, number),
        Value::Double(number) => statement.raw_bind_parameter(place, number),
        Value::Timestamp(at) => statement.raw_bind_parameter(place, at.text().as_str()),
        Value::Date(at) => statement.raw_bind_parameter(place, at.text().day()),
        Value::Text(text) | Value::Json(text) if makes_numbers && loses_digits(text) => {
            statement.raw_bind_parameter(place, text.as_bytes())
        }
        Value::Text(text) | Value::Json(text) => statement.raw_bind_parameter(place, text.as_ref()),
    }
}

/// Whether SQLite would turn this text, in a numeric column, into a number that is not it.
///
/// A numeric column makes a number of any text that spells one: forty digits would keep
/// sixteen, `1e400` would be infinite and `007` would be 7. As a blob they stay
/// (`CAST(… AS TEXT)` shows them).
fn loses_digits(text: &str) -> bool {
    let Ok(number) = text.trim().parse::<f64>() else { return false };
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    digits > 0 && (digits > 15 || number.to_string() != text)
}
