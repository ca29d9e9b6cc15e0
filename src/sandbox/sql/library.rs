//! The functions that ClickHouse has and SQLite has not.

use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result};

use super::md5;
use crate::cursor::Timestamp;
use crate::record::city;
use crate::sandbox::data::event;
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
    of_hashes(connection)?;
    connection.create_scalar_function("hog_md5", 1, FLAGS, |context| {
        Ok(md5::digest(context.get::<String>(0)?.as_bytes()).to_vec())
    })?;
    connection.create_scalar_function("hog_div", 2, FLAGS, |context| {
        // Of 64 bits without a sign, as hashes are.
        let [number, by] = [context.get::<i64>(0)?, context.get::<i64>(1)?].map(i64::cast_unsigned);
        Ok(number.checked_div(by).map(u64::cast_signed))
    })?;
    connection.create_aggregate_function("hog_xor", 1, FLAGS, Fold(|all, one| all ^ one))
}

/// Those of 64 bits, which SQLite takes for a number that may be negative.
fn of_hashes(connection: &Connection) -> Result<()> {
    connection.create_scalar_function("hog_hash", 1, FLAGS, |context| {
        Ok(city::hash64(context.get::<String>(0)?.as_bytes()).cast_signed())
    })?;
    connection.create_scalar_function("hog_digits", 1, FLAGS, |context| {
        Ok(context.get::<i64>(0)?.cast_unsigned().to_string())
    })?;
    connection.create_scalar_function("hog_unsigned", 1, FLAGS, |context| {
        let bits = match context.get_raw(0) {
            ValueRef::Integer(bits) => bits.cast_unsigned(),
            // Constants beyond 63 bits are read as floating.
            ValueRef::Real(number) => number as u64,
            _ => return Ok(None),
        };
        Ok(Some((bits ^ (1 << 63)).cast_signed()))
    })?;
    connection.create_aggregate_function("hog_sum", 1, FLAGS, Fold(i64::wrapping_add))
}

/// An aggregate that puts one number after the other to what came before, from 0 on.
struct Fold(fn(i64, i64) -> i64);

impl Aggregate<i64, i64> for Fold {
    fn init(&self, _: &mut Context<'_>) -> Result<i64> {
        Ok(0)
    }

    fn step(&self, context: &mut Context<'_>, so_far: &mut i64) -> Result<()> {
        *so_far = self.0(*so_far, context.get(0)?);
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, all: Option<i64>) -> Result<i64> {
        Ok(all.unwrap_or(0))
    }
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
