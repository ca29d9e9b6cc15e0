//! Rows of a file: JSON lines or comma-separated values, plain, gzip or zstd.
//!
//! The name says which of the two, the first bytes how it is packed. Values of CSV are texts, an
//! empty field without quotes is null.

use std::cmp::Ordering;
use std::fs::File;
use std::io;
use std::path::Path;

use serde_json::{Map, Value};

use super::{Found, Mark, SourceError, Visit, Window};
use crate::config::sync::Rows;
use crate::cursor::Timestamp;
use crate::pack::unpack_any;
use crate::record::csv::Records;
use crate::send::lines::{Lines, object};

/// Reads rows.
pub(super) fn read(
    folder: &Path,
    rows: &Rows,
    window: Option<&Window>,
    visit: &mut Visit<'_>,
) -> Result<(), SourceError> {
    let mut wanted = |found: Found| {
        let is_wanted = match (&found.row, window) {
            (Ok(row), Some(window)) => is_within(row, window),
            _ => true,
        };
        !is_wanted || visit(found)
    };
    let path = path(folder, rows);
    each(&path, &mut wanted).map_err(|err| SourceError {
        place: path.display().to_string(),
        cause: err.to_string(),
        hint: "check the path, and that the file is whole; its name ends with .jsonl or .csv, and \
               .gz or .zst where it is packed"
            .into(),
    })
}

/// The highest value of a column.
pub(super) fn highest(
    folder: &Path,
    rows: &Rows,
    column: &str,
) -> Result<Option<Mark>, SourceError> {
    let mut highest: Option<Value> = None;
    read(folder, rows, None, &mut |found| {
        let value = found.row.ok().and_then(|mut row| row.remove(column));
        let Some(value) = value.filter(|value| !value.is_null()) else { return true };
        if highest.as_ref().is_none_or(|highest| compare(&value, highest) == Ordering::Greater) {
            highest = Some(value);
        }
        true
    })?;
    Ok(highest.map(|value| Mark(value.to_string())))
}

fn path(folder: &Path, rows: &Rows) -> std::path::PathBuf {
    match rows {
        Rows::File(path) => folder.join(path),
        Rows::Query(_) | Rows::Table(_) => {
            unreachable!("a folder has files: the configuration says so")
        }
    }
}

fn each(path: &Path, visit: &mut Visit<'_>) -> io::Result<()> {
    let name = path.to_string_lossy();
    let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
    let file = File::open(path)?;
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("jsonl" | "ndjson") => each_line(file, visit),
        Some("csv") => each_record(file, visit),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "its name does not say what it is")),
    }
}

fn each_line(file: File, visit: &mut Visit<'_>) -> io::Result<()> {
    let mut lines = Lines::of(file)?;
    while let Some((number, line)) = lines.read()? {
        let row = line.map_err(|(rejection, _)| rejection).and_then(object);
        if !visit(Found { number: number.unsigned_abs(), row }) {
            break;
        }
    }
    Ok(())
}

fn each_record(file: File, visit: &mut Visit<'_>) -> io::Result<()> {
    let mut records = Records::of(unpack_any(file)?);
    if !records.advance()? {
        return Ok(());
    }
    let names: Vec<String> =
        records.record.drain(..).map(|name| name.unwrap_or_default()).collect();
    let mut number = 0;
    while records.advance()? {
        number += 1;
        let fields = records.record.len();
        if fields != names.len() {
            let cause = format!("row {number} has {fields} fields instead of {}", names.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, cause));
        }
        let value = |text: Option<String>| text.map_or(Value::Null, Value::String);
        let row: Map<_, _> =
            names.iter().cloned().zip(records.record.drain(..).map(value)).collect();
        if !visit(Found { number, row: Ok(row) }) {
            break;
        }
    }
    Ok(())
}

fn is_within(row: &Map<String, Value>, window: &Window) -> bool {
    let value = row.get(&window.column).filter(|value| !value.is_null());
    let mark = |mark: &Mark| serde_json::from_str(&mark.0).unwrap_or(Value::Null);
    value.is_some_and(|value| {
        let is_above = |from| compare(value, &mark(from)) != Ordering::Less;
        compare(value, &mark(&window.to)) == Ordering::Less
            && window.from.as_ref().is_none_or(is_above)
    })
}

/// Numbers by their size, times by when they are, all else as text.
fn compare(one: &Value, other: &Value) -> Ordering {
    if let (Some(one), Some(other)) = (number(one), number(other)) {
        return one.total_cmp(&other);
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (one, other) = (text(one), text(other));
    match (Timestamp::parse(&one), Timestamp::parse(&other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => one.cmp(&other),
    }
}

/// In CSV numbers are texts.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}
