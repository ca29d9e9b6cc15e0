//! A query of the user's as a stream: `sql`, a key to page by, perhaps a time to follow.
//!
//! PostHog has told which columns the query has and of what types. It is read as a table
//! that stands in brackets, always asking for what comes after the last key.

use std::time::Duration;

use super::endpoint::{ColumnSpec, Endpoint, Incremental, Keyset, Paging, ReadPath};
use super::paging::{QUERY_URL, counters};
use crate::record::split::Layout;
use crate::schema::ColumnType;

/// How many rows are asked for at once.
const PAGE: u64 = 50_000;

/// How far back late rows are looked for where nobody says: as for events.
const LOOKBACK: Duration = Duration::from_secs(3 * 86_400);

/// What stands in a query for the condition that only new rows fulfil.
const CONDITION: &str = "{incremental_where_cond}";

/// What stands in a query for the time that new rows begin at.
const VALUE: &str = "{incremental_value}";

/// A query, as the user wrote it.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// What the stream is called.
    pub stream: &'a str,
    /// The query.
    pub sql: &'a str,
    /// The columns that tell its rows apart.
    pub primary_key: &'a [String],
    /// The column to follow, a time.
    pub update_key: Option<&'a str>,
}

impl Query<'_> {
    /// The query in brackets. New rows are those of the window that each question names.
    pub fn table(&self) -> String {
        let (condition, value) = match self.update_key {
            None => ("1 = 1".to_owned(), "toDateTime(0)".to_owned()),
            Some(by) => {
                let by = name(by);
                let condition =
                    format!("({by} >= toDateTime({{from}}) AND {by} < toDateTime({{to}}))");
                (condition, "toDateTime({from})".to_owned())
            }
        };
        let sql = self.sql.trim().trim_end_matches(';');
        format!("({})", sql.replace(CONDITION, &condition).replace(VALUE, &value))
    }

    /// The stream, with the columns that PostHog told of: names, and types of ClickHouse.
    ///
    /// # Errors
    /// What is wrong with the key.
    pub fn endpoint(&self, columns: &[(String, String)]) -> Result<Endpoint, String> {
        self.check_key(columns)?;
        let typed = columns.iter().map(|(column, kind)| {
            let kind = if self.follows(column) { ColumnType::Timestamp } else { type_of(kind) };
            (column.clone(), ColumnSpec::Field(kind))
        });
        let (quota, followed) = (counters(&["query"]), self.update_key.map(str::to_owned));
        let read = ReadPath {
            name: "sql".into(),
            quota: quota.clone(),
            url: QUERY_URL.into(),
            params: Vec::new(),
            layout: Layout::Rows("results".into()),
            leave_out: Vec::new(),
            sorted: Vec::new(),
            drifting: Vec::new(),
            add_undeclared: false,
            unknown: Vec::new(),
            page_size: PAGE,
            paging: Paging::Keyset(Box::new(self.keyset(columns))),
        };
        Ok(Endpoint {
            stream: self.stream.to_owned(),
            description: "A query of the replication's.".into(),
            docs: "https://posthog.com/docs/hogql".into(),
            scope: "query:read".into(),
            quota,
            primary_key: self.primary_key.to_vec(),
            update_key: followed.clone(),
            newest_by: followed.iter().cloned().collect(),
            incremental: followed.map(|by| Incremental {
                by,
                arrival: None,
                lookback: Some(LOOKBACK),
                reread: None,
            }),
            columns: typed.collect(),
            read: vec![read],
            ..Endpoint::default()
        })
    }

    fn follows(&self, column: &str) -> bool {
        self.update_key == Some(column)
    }

    /// Refuses a key by which rows would be lost or made one.
    fn check_key(&self, columns: &[(String, String)]) -> Result<(), String> {
        for key in self.primary_key {
            let kind = kind_in_key(key, columns)?;
            if matches!(kind, ColumnType::Double | ColumnType::Bool | ColumnType::Json) {
                return Err(format!(
                    "\"{key}\" is {}: rows are not told apart by it in a sure way; choose texts, \
                     whole numbers and times, as by toString({key})",
                    kind.name()
                ));
            }
        }
        let Some(by) = self.update_key else { return Ok(()) };
        match kind_in_key(by, columns)? {
            ColumnType::Timestamp | ColumnType::Date => Ok(()),
            kind => Err(format!("\"{by}\" is {}: update_key is a time", kind.name())),
        }
    }

    fn keyset(&self, columns: &[(String, String)]) -> Keyset {
        let select = columns
            .iter()
            .map(|(column, kind)| (column.clone(), selected(column, kind, self.follows(column))));
        let in_key = |column: &str| {
            let found = columns.iter().find(|(name, _)| name == column);
            let by = match found.map(|(_, kind)| type_of(kind)) {
                // The store orders these by other bytes than those of their texts.
                Some(ColumnType::Uuid) => format!("toString({})", name(column)),
                _ => name(column),
            };
            (column.to_owned(), by)
        };
        let others = self.primary_key.iter().map(String::as_str).filter(|key| !self.follows(key));
        Keyset {
            from: self.table(),
            select: select.collect(),
            key: self.update_key.into_iter().chain(others).map(in_key).collect(),
            time: self.update_key.map(str::to_owned),
            arrival: None,
            join: None,
            chunks: None,
            is_unique: true,
            pushed: None,
        }
    }
}

/// The type of a column that rows are asked for by, which is never null.
fn kind_in_key(wanted: &str, columns: &[(String, String)]) -> Result<ColumnType, String> {
    let Some((_, kind)) = columns.iter().find(|(name, _)| name == wanted) else {
        let known: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let known = known.join(", ");
        return Err(format!("the query has no column \"{wanted}\"; it has: {known}"));
    };
    match kind.contains("Nullable(") {
        // What is null comes after no key, and would never be asked for.
        true => Err(format!(
            "\"{wanted}\" may be null, and rows are asked for by it: say in the query what \
             stands for null, as ifNull({wanted}, '') AS {wanted}"
        )),
        false => Ok(type_of(kind)),
    }
}

/// A column's name in the query's words.
fn name(column: &str) -> String {
    format!("`{}`", column.replace('\\', "\\\\").replace('`', "\\`"))
}

/// What gives a column's value without loss: JSON answers of old servers round times.
fn selected(column: &str, kind: &str, is_followed: bool) -> String {
    let name = name(column);
    match type_of(kind) {
        ColumnType::Date if is_followed => format!("concat(toString({name}), ' 00:00:00')"),
        ColumnType::Timestamp => format!("toString(toTimeZone({name}, 'UTC'))"),
        ColumnType::Uuid | ColumnType::Date | ColumnType::Numeric => format!("toString({name})"),
        _ => name,
    }
}

/// Our type for one of ClickHouse's.
fn type_of(kind: &str) -> ColumnType {
    let inner = ["Nullable(", "LowCardinality("].iter().find_map(|outer| kind.strip_prefix(outer));
    if let Some(inner) = inner {
        return type_of(inner.strip_suffix(')').unwrap_or(inner));
    }
    match kind.split('(').next().unwrap_or_default() {
        "UUID" => ColumnType::Uuid,
        "Bool" => ColumnType::Bool,
        "Int8" | "Int16" | "Int32" | "Int64" | "UInt8" | "UInt16" | "UInt32" => ColumnType::Bigint,
        "UInt64" | "Int128" | "UInt128" | "Int256" | "UInt256" | "Decimal" => ColumnType::Numeric,
        "Float32" | "Float64" => ColumnType::Double,
        "DateTime" | "DateTime64" => ColumnType::Timestamp,
        "Date" | "Date32" => ColumnType::Date,
        "Array" | "Map" | "Tuple" | "JSON" | "Object" => ColumnType::Json,
        _ => ColumnType::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY_DAY: Query<'static> = Query {
        stream: "by_day",
        sql: "SELECT day, event, count() AS n FROM events WHERE {incremental_where_cond} GROUP BY 1, 2;",
        primary_key: &[],
        update_key: Some("day"),
    };

    fn columns(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect()
    }

    #[test]
    fn clickhouses_types_are_ours() {
        for (theirs, ours) in [
            ("UUID", ColumnType::Uuid),
            ("Nullable(UUID)", ColumnType::Uuid),
            ("LowCardinality(Nullable(String))", ColumnType::Text),
            ("UInt8", ColumnType::Bigint),
            ("UInt64", ColumnType::Numeric),
            ("Decimal(18, 4)", ColumnType::Numeric),
            ("Nullable(Float64)", ColumnType::Double),
            ("DateTime64(6, 'UTC')", ColumnType::Timestamp),
            ("Date", ColumnType::Date),
            ("Array(Tuple(String, UInt64))", ColumnType::Json),
            ("FixedString(3)", ColumnType::Text),
        ] {
            assert_eq!(type_of(theirs), ours, "{theirs}");
        }
    }

    #[test]
    fn new_rows_are_those_of_the_window_that_is_asked_for() {
        assert_eq!(
            BY_DAY.table(),
            "(SELECT day, event, count() AS n FROM events WHERE (`day` >= toDateTime({from}) AND \
             `day` < toDateTime({to})) GROUP BY 1, 2)"
        );
        let whole = Query { update_key: None, ..BY_DAY };
        assert!(whole.table().contains("WHERE 1 = 1 GROUP"), "{}", whole.table());
    }

    #[test]
    fn the_key_is_of_the_query_and_can_be_compared() {
        let columns = columns(&[
            ("day", "Date"),
            ("event", "String"),
            ("n", "Float64"),
            ("m", "Nullable(String)"),
        ]);
        let keyed = |key: &str, by: Option<&'static str>| {
            let primary_key = [key.to_owned()];
            let query = Query { primary_key: &primary_key, update_key: by, ..BY_DAY };
            query.endpoint(&columns)
        };

        let endpoint = keyed("event", Some("day")).unwrap();

        let Paging::Keyset(keyset) = &endpoint.read[0].paging else { panic!("{endpoint:?}") };
        let key: Vec<&str> = keyset.key.iter().map(|(_, by)| by.as_str()).collect();
        assert_eq!(key, ["`day`", "`event`"]);
        assert_eq!(
            keyed("evnt", None).unwrap_err(),
            "the query has no column \"evnt\"; it has: day, event, n, m"
        );
        assert!(keyed("m", None).unwrap_err().starts_with("\"m\" may be null"));
        assert!(keyed("n", None).unwrap_err().starts_with("\"n\" is double: rows are not told"));
        assert_eq!(keyed("event", Some("n")).unwrap_err(), "\"n\" is double: update_key is a time");
    }
}
