//! Rows of a PostgreSQL database, through a cursor that stays at the server.

use serde_json::{Map, Value};
use tokio_postgres::SimpleQueryMessage;

use super::{Found, Mark, SourceError, Visit, Window, from, quote};
use crate::config::Postgres;
use crate::config::sync::Rows;
use crate::stop;
use crate::target::postgres::{Fault, Session};

/// Rows that are brought at once: a few hundred kilobytes, where rows are not very wide.
const HANDFUL: &str = "FETCH 500 FROM hogline_rows";

/// Whatever others write meanwhile, all rows are those of one moment; and nothing is written.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Reads rows.
pub(super) fn read(
    server: &Postgres,
    rows: &Rows,
    window: Option<&Window>,
    visit: &mut Visit<'_>,
) -> Result<(), SourceError> {
    let mut read = || {
        let session = Session::open(server, stop::heard())?;
        let cursor = format!(
            "{BEGIN}; DECLARE hogline_rows NO SCROLL CURSOR FOR SELECT row_to_json(r)::text FROM {}{}",
            from(rows),
            wanted(window)
        );
        session.run(async |client| client.batch_execute(&cursor).await)?;
        let mut number = 0;
        'all: loop {
            let handful = texts(&session, HANDFUL)?;
            if handful.is_empty() {
                break;
            }
            for text in handful {
                number += 1;
                let row: Map<String, Value> = serde_json::from_str(&text).map_err(unreadable)?;
                if !visit(Found { number, row: Ok(row) }) {
                    break 'all;
                }
            }
        }
        session.close();
        Ok(())
    };
    read().map_err(|fault| failed(server, &fault))
}

/// The highest value of a column: a literal with its type, which the server reads back.
pub(super) fn highest(
    server: &Postgres,
    rows: &Rows,
    column: &str,
) -> Result<Option<Mark>, SourceError> {
    let read = || {
        let session = Session::open(server, stop::heard())?;
        let column = quote(column);
        let sql = format!(
            "SELECT quote_literal(highest::text) || '::' || pg_typeof(highest)::text \
             FROM (SELECT max(r.{column}) AS highest FROM {}) AS m WHERE highest IS NOT NULL",
            from(rows)
        );
        let found = texts(&session, &sql)?;
        session.close();
        Ok(found.into_iter().next().map(Mark))
    };
    read().map_err(|fault| failed(server, &fault))
}

fn wanted(window: Option<&Window>) -> String {
    let Some(Window { column, from, to }) = window else { return String::new() };
    let (column, to) = (quote(column), &to.0);
    let above = from.as_ref().map(|mark| format!(" AND r.{column} >= {}", mark.0));
    format!(" WHERE r.{column} < {to}{}", above.unwrap_or_default())
}

/// The one column of a statement's rows.
fn texts(session: &Session, sql: &str) -> Result<Vec<String>, Fault> {
    let answer = session.run(async |client| client.simple_query(sql).await)?;
    let text = |message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    Ok(answer.into_iter().filter_map(text).collect())
}

fn unreadable(err: serde_json::Error) -> Fault {
    Fault::Refused(format!("a row is no JSON: {err}"), "leave the column out of the query".into())
}

fn failed(server: &Postgres, fault: &Fault) -> SourceError {
    SourceError { place: server.label(), cause: fault.to_string(), hint: fault.reading_hint() }
}
