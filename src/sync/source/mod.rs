//! Where rows come from: a database or files, read as a stream.
//!
//! A row is a JSON object of its columns. One handful of rows is in memory, whatever the table
//! holds. A database is read in one transaction, so that no row is seen twice or missed because
//! others write meanwhile; nothing is ever written to it. Where only rows above a mark are wanted,
//! the database chooses them.

mod files;
#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::config::sync::Rows;
use crate::config::{Postgres, TargetConnection};
use crate::send::rules::Rejection;

/// Where the rows of a file of syncs are.
#[derive(Debug, Clone)]
pub enum Place {
    /// A SQLite database.
    Sqlite(PathBuf),
    /// A database of a PostgreSQL server.
    Postgres(Box<Postgres>),
    /// A folder of files.
    Files(PathBuf),
}

/// A row, as it is found.
#[derive(Debug)]
pub struct Found {
    /// Its number, from 1; of JSON lines, the line's.
    pub number: u64,
    /// Its columns, or why it is no row.
    pub row: Result<Map<String, Value>, Rejection>,
}

/// Which rows are wanted: those whose column is not below `from`, and below `to`.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The column.
    pub column: String,
    /// The mark of the last run; every row below `to` where there is none.
    pub from: Option<Mark>,
    /// The highest value there was when this run began.
    pub to: Mark,
}

/// A value that a column has had, as the source writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(pub String);

/// Why rows cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {cause}")]
pub struct SourceError {
    /// The database or the file.
    pub place: String,
    /// What it or the system says.
    pub cause: String,
    /// What to do about it.
    pub hint: String,
}

/// Takes rows one by one, and says whether it takes another.
pub type Visit<'a> = dyn FnMut(Found) -> bool + 'a;

impl Place {
    /// The place that a connection leads to.
    ///
    /// # Errors
    ///
    /// Nothing can be read from there; says why.
    pub fn of(connection: TargetConnection) -> Result<Self, String> {
        match connection {
            TargetConnection::Sqlite { path, .. } => Ok(Self::Sqlite(path)),
            TargetConnection::Postgres(server) => Ok(Self::Postgres(server)),
            TargetConnection::Files { dir } => Ok(Self::Files(dir)),
            TargetConnection::S3(_) => {
                Err("rows are not read from S3: use sqlite, postgres or file".to_owned())
            }
            TargetConnection::Stdout(_) => Err("rows are not read from stdout".to_owned()),
        }
    }

    /// Whether rows are in files.
    pub fn is_files(&self) -> bool {
        matches!(self, Self::Files(_))
    }

    /// Whether every row has all columns, as a table's have; an object in a line has what it has.
    pub fn is_even(&self, rows: &Rows) -> bool {
        match rows {
            Rows::File(path) => path.contains(".csv"),
            Rows::Query(_) | Rows::Table(_) => true,
        }
    }

    /// Reads rows, in the source's order, until there are no more or `visit` takes no more. Needs
    /// a thread that may block.
    ///
    /// # Errors
    ///
    /// Not all rows could be read.
    pub fn read(
        &self,
        rows: &Rows,
        window: Option<&Window>,
        visit: &mut Visit<'_>,
    ) -> Result<(), SourceError> {
        match self {
            Self::Sqlite(path) => sqlite::read(path, rows, window, visit),
            #[cfg(feature = "postgres")]
            Self::Postgres(server) => postgres::read(server, rows, window, visit),
            #[cfg(not(feature = "postgres"))]
            Self::Postgres(server) => Err(without_postgres(server)),
            Self::Files(folder) => files::read(folder, rows, window, visit),
        }
    }

    /// The highest value of a column; nothing where there is none.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn highest(&self, rows: &Rows, column: &str) -> Result<Option<Mark>, SourceError> {
        match self {
            Self::Sqlite(path) => sqlite::highest(path, rows, column),
            #[cfg(feature = "postgres")]
            Self::Postgres(server) => postgres::highest(server, rows, column),
            #[cfg(not(feature = "postgres"))]
            Self::Postgres(server) => Err(without_postgres(server)),
            Self::Files(folder) => files::highest(folder, rows, column),
        }
    }
}

#[cfg(not(feature = "postgres"))]
fn without_postgres(server: &Postgres) -> SourceError {
    SourceError {
        place: server.label(),
        cause: "this hogline was built without PostgreSQL".into(),
        hint: "build it with the feature postgres".into(),
    }
}

/// What a database is asked, `FROM` the rows.
fn from(rows: &Rows) -> String {
    match rows {
        Rows::Query(sql) => format!("({}\n) AS r", sql.trim().trim_end_matches(';')),
        Rows::Table(name) => {
            let parts: Vec<String> = name.split('.').map(quote).collect();
            format!("{} AS r", parts.join("."))
        }
        Rows::File(_) => unreachable!("a database has no files: the configuration says so"),
    }
}

/// A name in SQL.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;
