//! The functions that ClickHouse has and SQLite has not.

use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result};

use super::md5;
use crate::cursor::Timestamp;
use crate::sandbox::data::{chance, event};
use crate::sandbox::time::{self, MINUTE};

const FLAGS: FunctionFlags = FunctionFlags::SQLITE_UTF8.union(FunctionFlags::SQLITE_DETERMINISTIC);

/// Teaches a connection the functions.
pub(super) fn load(connection: &Connection, seed: u64) -> Result<()> {
    of_time(connection)?;
    connection.create_scalar_function("hog_properties", 2, FLAGS, move |context| {
        let serial = u64::try_from(context.get::<i64>(0)?).unwrap_or(0);
        Ok(event::properties(seed, serial, context.get(1)?))
    })?;
    connection.create_scalar_function("hog_uuid", 1, FLAGS, |context| {
        // ClickHouse compares the second half of a UUID first.
        let text: Option<String> = context.get(0)?;
        Ok(text.map(|text| match (text.get(..19), text.get(19..)) {
            (Some(first), Some(second)) => format!("{second}{first}"),
            _ => text,
        }))
    })?;
    connection.create_scalar_function("hog_hash", -1, FLAGS, |context| {
        let parts: Result<Vec<String>> =
            (0..context.len()).map(|at| context.get::<String>(at)).collect();
        Ok(chance::digest(parts?.join("\u{1}").as_bytes()))
    })?;
    connection.create_scalar_function("hog_md5", 1, FLAGS, |context| {
        Ok(md5::digest(context.get::<String>(0)?.as_bytes()).to_vec())
    })?;
    connection.create_aggregate_function("hog_xor", 1, FLAGS, Xor)
}

/// Those that look at instants.
fn of_time(connection: &Connection) -> Result<()> {
    connection.create_scalar_function("hog_shift", 2, FLAGS, |context| {
        let minutes: i64 = context.get(1)?;
        let at = context.get::<Option<String>>(0)?.and_then(|text| Timestamp::parse(&text));
        Ok(at.map(|at| time::stored(time::shift(at, minutes * MINUTE))))
    })?;
    connection.create_scalar_function("hog_time", 2, FLAGS, |context| {
        let zone: i32 = context.get(1)?;
        let at = match context.get_raw(0) {
            ValueRef::Integer(seconds) => Some(Timestamp::from_micros(seconds * time::SECOND)),
            ValueRef::Text(text) => {
                std::str::from_utf8(text).ok().and_then(|text| time::read(text, zone))
            }
            _ => None,
        };
        Ok(at.map(time::stored))
    })
}

/// `groupBitXor`.
struct Xor;

impl Aggregate<i64, i64> for Xor {
    fn init(&self, _: &mut Context<'_>) -> Result<i64> {
        Ok(0)
    }

    fn step(&self, context: &mut Context<'_>, sum: &mut i64) -> Result<()> {
        *sum ^= context.get::<i64>(0)?;
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, sum: Option<i64>) -> Result<i64> {
        Ok(sum.unwrap_or(0))
    }
}
