//! What is in the tables, compared with what PostHog holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use hogline::cursor::Timestamp;
use hogline::sandbox::Sandbox;
use hogline::spec::endpoint::Endpoint;
use hogline::spec::registry::Registry;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

/// A row: its columns by name, in the form of JSON.
pub(crate) type Row = BTreeMap<String, Value>;

/// PostHog's two copies of an event differ by this at most; without SQL nobody knows which wins.
const COPIES_APART: i64 = 3000;

/// Change from day to day although nobody changed anything.
const AGEING: [&str; 2] = ["recording_ttl", "ongoing"];

/// How many differences are shown.
const SHOWN: usize = 5;

/// The database that a replication fills.
pub(crate) struct Copy(Connection);

impl Copy {
    /// The database at a path, to be read.
    pub(crate) fn at(path: &Path) -> Self {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        Self(Connection::open_with_flags(path, flags).unwrap())
    }

    /// Reads on from one moment, until dropped.
    pub(crate) fn begins_to_read(&self) {
        self.0.execute_batch("BEGIN; SELECT count(*) FROM sqlite_master").unwrap();
    }

    /// A value that a query gives.
    #[track_caller]
    pub(crate) fn tells<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        self.0.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// The texts that a query gives, one a row.
    #[track_caller]
    pub(crate) fn lines(&self, sql: &str) -> Vec<String> {
        let mut statement = self.0.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// How many rows a stream has.
    #[track_caller]
    pub(crate) fn count(&self, stream: &str) -> i64 {
        self.tells(&format!("SELECT count(*) FROM posthog_{stream}"))
    }

    /// The checkpoint's position of a stream.
    #[track_caller]
    pub(crate) fn position(&self, stream: &str) -> Value {
        let sql = format!("SELECT position FROM _hogline_checkpoints WHERE stream = '{stream}'");
        serde_json::from_str(&self.tells::<String>(&sql)).unwrap()
    }

    /// Every table's rows but the checkpoints', as text: what a run may leave unchanged.
    pub(crate) fn everything(&self) -> BTreeMap<String, BTreeSet<String>> {
        let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'posthog_%'";
        let mut statement = self.0.prepare(sql).unwrap();
        let names = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        names
            .map(|name| {
                let name = name.unwrap();
                let rows = self.rows(&name);
                (name, rows.iter().map(|row| format!("{row:?}")).collect())
            })
            .collect()
    }

    /// A stream's rows, each value as its column's type shows it.
    fn rows(&self, table: &str) -> Vec<Row> {
        let mut statement = self.0.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.query([]).unwrap();
        let mut all = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let cell = |(at, name): (usize, &String)| {
                let value = match row.get_ref(at).unwrap() {
                    ValueRef::Null => Value::Null,
                    ValueRef::Integer(number) => json!(number),
                    ValueRef::Real(number) => json!(number),
                    ValueRef::Text(text) => json!(std::str::from_utf8(text).unwrap()),
                    ValueRef::Blob(_) => panic!("{table}.{name} holds a blob"),
                };
                (name.clone(), value)
            };
            all.push(names.iter().enumerate().map(cell).collect());
        }
        all
    }

    /// Compares a stream's table with PostHog, row by row and value by value.
    #[track_caller]
    pub(crate) fn is_exactly(&self, posthog: &Sandbox, stream: &str) {
        let path = self.position(stream)["path"].as_str().unwrap_or_default().to_owned();
        Comparison::of(stream, &path).judge(self.rows(&format!("posthog_{stream}")), posthog);
    }
}

/// How a stream's rows are compared: by the types its spec gives them.
pub(super) struct Comparison {
    endpoint: Arc<Endpoint>,
    path: String,
    /// Whether JSON is kept as text, since tables have no type for it.
    is_text: bool,
}

impl Comparison {
    /// Of a stream that was last read in the way of `path`.
    pub(super) fn of(stream: &str, path: &str) -> Self {
        let registry = Registry::load(&[]).unwrap();
        let endpoint = Arc::clone(registry.find(stream).unwrap());
        Self { endpoint, path: path.to_owned(), is_text: true }
    }

    /// The same, of lines of JSON.
    pub(super) fn of_lines(stream: &str, path: &str) -> Self {
        Self { is_text: false, ..Self::of(stream, path) }
    }

    /// The rows are those that PostHog holds, with the same values.
    #[track_caller]
    pub(super) fn judge(&self, rows: Vec<Row>, posthog: &Sandbox) {
        let stream = &self.endpoint.stream;
        let here = self.by_key(rows, |row| self.read(row));
        let there = self.by_key(posthog.truth(stream), |record| self.expect(record));
        let differences = self.differences(&here, &there);
        assert!(
            differences.is_empty(),
            "{stream}: {} here, {} there, {} differences in reading by `{}`:\n{}",
            here.len(),
            there.len(),
            differences.len(),
            self.path,
            differences[..differences.len().min(SHOWN)].join("\n")
        );
    }

    /// The columns that make a row another one.
    pub(super) fn key_of(&self, row: &Row) -> String {
        let key: Vec<&Value> = self.endpoint.primary_key.iter().map(|name| &row[name]).collect();
        json!(key).to_string()
    }

    /// What is greater in the copy of a row that counts.
    pub(super) fn age_of(&self, row: &Row) -> Vec<String> {
        let text = |name: &String| row.get(name).and_then(Value::as_str).unwrap_or_default();
        self.endpoint.newest_by.iter().map(|name| text(name).to_owned()).collect()
    }

    /// The type of a column; a field that no spec names is kept as JSON.
    pub(super) fn kind(&self, column: &str) -> &'static str {
        let declared = self.endpoint.columns.iter().find(|(name, _)| name == column);
        declared.map_or("json", |(_, spec)| spec.name())
    }

    /// A row of the table, as values that can be compared.
    fn read(&self, row: Row) -> Row {
        let typed = |(name, cell): (String, Value)| {
            let value = match (self.kind(&name), &cell) {
                (_, Value::Null) => Value::Null,
                ("json", Value::String(text)) if self.is_text => {
                    serde_json::from_str(text).unwrap()
                }
                ("bool", Value::Number(number)) => json!(number.as_i64().unwrap() != 0),
                ("double", Value::Number(number)) => json!(number.as_f64()),
                _ => cell,
            };
            (name, value)
        };
        row.into_iter().map(typed).collect()
    }

    /// What the table should hold of a record.
    fn expect(&self, record: Value) -> Row {
        let Value::Object(fields) = record else { panic!("{record} is no record") };
        let mut row: Row = fields
            .into_iter()
            .map(|(name, value)| {
                let value = match (self.kind(&name), &value) {
                    ("timestamp", Value::String(text)) => {
                        json!(Timestamp::parse(text).unwrap().to_string())
                    }
                    ("double", Value::Number(number)) => json!(number.as_f64()),
                    (_, Value::Array(items)) if self.is_sorted(&name) => json!(in_order(items)),
                    _ => value,
                };
                (name, value)
            })
            .collect();
        if self.endpoint.stream == "events" {
            let day = row["timestamp"].as_str().unwrap()[..10].to_owned();
            row.insert("event_date".into(), json!(day));
        }
        if let Some(index) = row.get_mut("group_type_index").filter(|index| index.is_null()) {
            *index = json!(-1);
        }
        row
    }

    #[track_caller]
    fn by_key<T>(&self, rows: Vec<T>, read: impl Fn(T) -> Row) -> BTreeMap<String, Row> {
        let mut by_key = BTreeMap::new();
        for row in rows.into_iter().map(read) {
            let key = self.key_of(&row);
            assert!(by_key.insert(key.clone(), row).is_none(), "two rows have the key {key}");
        }
        by_key
    }

    fn differences(
        &self,
        here: &BTreeMap<String, Row>,
        there: &BTreeMap<String, Row>,
    ) -> Vec<String> {
        let mut found = Vec::new();
        found.extend(
            here.keys()
                .filter(|key| !there.contains_key(*key))
                .map(|key| format!("  {key} is only here")),
        );
        for (key, expected) in there {
            let Some(row) = here.get(key) else {
                found.push(format!("  {key} is missing: {}", json!(expected)));
                continue;
            };
            found.extend(self.in_row(row, expected).map(|text| format!("  {key}{text}")));
        }
        found
    }

    /// How a row differs from the record it should be.
    fn in_row(&self, row: &Row, expected: &Row) -> Option<String> {
        let mut text = String::new();
        let columns: BTreeSet<&String> = row.keys().chain(expected.keys()).collect();
        for column in columns.into_iter().filter(|column| !self.is_left_out(column)) {
            let here = row.get(column).unwrap_or(&Value::Null);
            let there = expected.get(column).unwrap_or(&Value::Null);
            if !self.is_right(column, here, there) {
                write!(text, "\n    {column}: {here} here, {there} there").unwrap();
            }
        }
        (!text.is_empty()).then_some(text)
    }

    fn is_right(&self, column: &str, here: &Value, there: &Value) -> bool {
        here == there
            || (here.is_null() && !self.is_known_to_all(column))
            // The list tells elements, the truth only their chain.
            || column == "elements"
            || (column == "timestamp" && self.cannot_tell_copies() && are_copies(here, there))
    }

    /// Whether the way of reading knows when an event arrived, which tells its copies apart.
    fn cannot_tell_copies(&self) -> bool {
        self.endpoint.stream == "events" && !self.knows("created_at")
    }

    fn knows(&self, column: &str) -> bool {
        self.endpoint.read.iter().any(|path| path.name == self.path && path.knows(column))
    }

    /// Whether every way of reading knows a column: else rows that came another way lack it.
    fn is_known_to_all(&self, column: &str) -> bool {
        let declared = self.endpoint.columns.iter().any(|(name, _)| name == column);
        self.endpoint
            .read
            .iter()
            .all(|path| path.knows(column) && (declared || (path.add_undeclared && !path.is_sql())))
    }

    /// Whether a column's lists, which have no order at PostHog, get one.
    fn is_sorted(&self, column: &str) -> bool {
        self.endpoint.read.iter().any(|path| path.sorted.iter().any(|name| name == column))
    }

    /// Fields that are meant to be left out, in every way of reading.
    fn is_left_out(&self, column: &str) -> bool {
        AGEING.contains(&column)
            || self
                .endpoint
                .read
                .iter()
                .any(|path| path.leave_out.iter().any(|name| name == column))
    }
}

fn in_order(items: &[Value]) -> Vec<&str> {
    let mut items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
    items.sort_unstable();
    items
}

fn are_copies(here: &Value, there: &Value) -> bool {
    let micros = |value: &Value| value.as_str().and_then(Timestamp::parse).map(Timestamp::micros);
    micros(here).zip(micros(there)).is_some_and(|(a, b)| (a - b).abs() <= COPIES_APART)
}
