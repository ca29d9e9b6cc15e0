//! A batch in the binary form of `COPY`.
//!
//! Every row is written once, as the types of its columns want it. A value that does not
//! fit widens its column's type here first and the batch is written again, so that
//! PostgreSQL never meets a value that it would refuse. Of two rows with one key the
//! later gets the next *round*: a merge takes one round after the other, and so never
//! meets a key twice.

use std::collections::HashMap;

use crate::cursor::Timestamp;
use crate::record::batch::{Batch, Row};
use crate::record::repair::Repairs;
use crate::record::storable;
use crate::record::value::Value;
use crate::target::postgres::column::Kind;

/// What a binary copy begins with: its signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// 2000-01-01, from which PostgreSQL counts, in microseconds from 1970.
const EPOCH: i64 = 946_684_800_000_000;

const DAY: i64 = 86_400_000_000;

/// A column as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// Its index in the schema.
    pub(super) index: usize,
    pub(super) kind: Kind,
    pub(super) is_key: bool,
}

/// A batch that is ready to be sent.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    /// How often the most frequent key occurs.
    pub(super) rounds: i32,
    pub(super) repairs: Repairs,
}

/// Encodes a batch; `slots` are wider afterwards where a value did not fit.
pub(super) fn encode(batch: &Batch, slots: &mut [Slot]) -> Encoded {
    loop {
        let before = slots.to_vec();
        let encoded = attempt(batch, slots);
        if before == slots {
            return encoded;
        }
    }
}

fn attempt(batch: &Batch, slots: &mut [Slot]) -> Encoded {
    let mut bytes = Vec::with_capacity(batch.bytes() + batch.len() * (slots.len() + 1) * 8);
    bytes.extend_from_slice(HEADER);
    let mut encoded = Encoded { bytes, rounds: 0, repairs: Repairs::default() };
    let mut seen: HashMap<Vec<u8>, i32> = HashMap::new();
    for row in batch.rows() {
        encoded.add(&row, batch, slots, &mut seen);
    }
    encoded.bytes.extend_from_slice(&(-1_i16).to_be_bytes());
    encoded
}

impl Encoded {
    /// Adds a row: its round, then its columns.
    fn add(
        &mut self,
        row: &Row<'_>,
        batch: &Batch,
        slots: &mut [Slot],
        seen: &mut HashMap<Vec<u8>, i32>,
    ) {
        let fields = i16::try_from(slots.len() + 1).unwrap_or(i16::MAX);
        self.bytes.extend_from_slice(&fields.to_be_bytes());
        sized(&mut self.bytes, |out| out.extend_from_slice(&[0; 4]));
        let place = self.bytes.len() - 4;
        let mut key = Vec::new();
        for slot in slots {
            let value = self.value(row, batch, slot);
            while !slot.kind.fits(&value) {
                slot.kind = slot.kind.wider(&value);
            }
            let start = self.bytes.len();
            if put(&mut self.bytes, slot.kind, &value) {
                self.repairs.note(&batch.schema().columns[slot.index].name);
            }
            if slot.is_key {
                key.extend_from_slice(&self.bytes[start..]);
            }
        }
        let round = if key.is_empty() { 1 } else { next(seen, key) };
        self.rounds = self.rounds.max(round);
        self.bytes[place..place + 4].copy_from_slice(&round.to_be_bytes());
    }

    fn value<'a>(&mut self, row: &Row<'a>, batch: &Batch, slot: &Slot) -> Value<'a> {
        match row.value(slot.index, &mut self.repairs) {
            Value::Null if slot.is_key => {
                // NULLs are all different in a key: the row would come again with every run.
                self.repairs.note(&batch.schema().columns[slot.index].name);
                Value::Text("".into())
            }
            value => value,
        }
    }
}

fn next(seen: &mut HashMap<Vec<u8>, i32>, key: Vec<u8>) -> i32 {
    let round = seen.entry(key).or_default();
    *round += 1;
    *round
}

/// Appends a field: its length, then what `write` appends.
fn sized(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let len = i32::try_from(out.len() - at - 4).unwrap_or(i32::MAX);
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

/// Appends a value that fits its type; tells whether it had to be changed for that.
fn put(out: &mut Vec<u8>, kind: Kind, value: &Value<'_>) -> bool {
    let mut repaired = false;
    if *value == Value::Null {
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        return false;
    }
    sized(out, |out| match (kind, value) {
        (Kind::Json | Kind::Jsonb, value) => {
            if kind == Kind::Jsonb {
                out.push(1);
            }
            repaired = put_json(out, value);
        }
        (Kind::Text, value) => repaired = put_text(out, value),
        (_, Value::Bool(yes)) => out.push(u8::from(*yes)),
        (Kind::Numeric, Value::Bigint(number)) => put_numeric(out, &number.to_string()),
        (Kind::Numeric, Value::Text(text)) => put_numeric(out, text),
        (_, Value::Bigint(number)) => put_integer(out, kind, *number),
        (_, Value::Double(number)) => out.extend_from_slice(&number.to_be_bytes()),
        (_, Value::Timestamp(at) | Value::Date(at)) => put_time(out, kind, value, *at),
        (_, Value::Text(text)) => {
            let id = uuid::Uuid::try_parse(text).unwrap_or_default();
            out.extend_from_slice(id.as_bytes());
        }
        (_, Value::Json(_) | Value::Null) => {}
    });
    repaired
}

fn put_integer(out: &mut Vec<u8>, kind: Kind, number: i64) {
    #[expect(clippy::cast_possible_truncation, reason = "it fits, or the kind were wider")]
    #[expect(clippy::cast_precision_loss, reason = "it fits, or the kind were wider")]
    match kind {
        Kind::Smallint => out.extend_from_slice(&(number as i16).to_be_bytes()),
        Kind::Integer => out.extend_from_slice(&(number as i32).to_be_bytes()),
        Kind::Double => out.extend_from_slice(&(number as f64).to_be_bytes()),
        _ => out.extend_from_slice(&number.to_be_bytes()),
    }
}

fn put_time(out: &mut Vec<u8>, kind: Kind, value: &Value<'_>, at: Timestamp) {
    let micros = at.micros() - EPOCH;
    let day = micros.div_euclid(DAY);
    match (kind, value) {
        (Kind::Date, _) => {
            out.extend_from_slice(&i32::try_from(day).unwrap_or_default().to_be_bytes());
        }
        (_, Value::Date(_)) => out.extend_from_slice(&(day * DAY).to_be_bytes()),
        _ => out.extend_from_slice(&micros.to_be_bytes()),
    }
}

/// Appends a value as text, in the form of every target without its type.
fn put_text(out: &mut Vec<u8>, value: &Value<'_>) -> bool {
    match value {
        Value::Null => {}
        Value::Bool(yes) => out.extend_from_slice(yes.to_string().as_bytes()),
        Value::Bigint(number) => out.extend_from_slice(number.to_string().as_bytes()),
        // Not `{number}`: that writes 1e300 as three hundred digits.
        Value::Double(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
            out.extend_from_slice(number.to_string().as_bytes());
        }
        Value::Double(number) => out.extend_from_slice(format!("{number:?}").as_bytes()),
        Value::Timestamp(at) => out.extend_from_slice(at.text().as_str().as_bytes()),
        Value::Date(at) => out.extend_from_slice(at.text().day().as_bytes()),
        Value::Text(text) | Value::Json(text) if text.contains('\0') => {
            out.extend_from_slice(text.replace('\0', "\u{fffd}").as_bytes());
            return true;
        }
        Value::Text(text) | Value::Json(text) => out.extend_from_slice(text.as_bytes()),
    }
    false
}

/// Appends a value as JSON.
fn put_json(out: &mut Vec<u8>, value: &Value<'_>) -> bool {
    match value {
        Value::Json(json) => {
            let (json, repaired) = storable::json(json);
            out.extend_from_slice(json.as_bytes());
            repaired
        }
        Value::Bool(_) | Value::Bigint(_) | Value::Double(_) => put_text(out, value),
        other => {
            let mut text = Vec::new();
            let repaired = put_text(&mut text, other);
            let quoted = storable::quoted(&String::from_utf8_lossy(&text));
            out.extend_from_slice(quoted.as_bytes());
            repaired
        }
    }
}

/// Appends a number of any length as a `numeric`: digits of base 10,000, the highest first,
/// in groups that end at the point.
fn put_numeric(out: &mut Vec<u8>, text: &str) {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (0x4000_u16, digits),
        None => (0, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let value =
        |group: &[u8]| group.iter().fold(0_i16, |n, digit| n * 10 + i16::from(digit - b'0'));
    let padded = |group: &[u8]| value(format!("{:0<4}", String::from_utf8_lossy(group)).as_bytes());
    let mut groups: Vec<i16> = whole.as_bytes().rchunks(4).rev().map(value).collect();
    let mut weight = i16::try_from(groups.len()).unwrap_or(i16::MAX) - 1;
    groups.extend(fraction.as_bytes().chunks(4).map(padded));
    let zeros = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..zeros);
    weight -= i16::try_from(zeros).unwrap_or(i16::MAX);
    if groups.is_empty() {
        weight = 0;
    }
    let narrow = |n: usize| i16::try_from(n).unwrap_or(i16::MAX);
    out.extend_from_slice(&narrow(groups.len()).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&narrow(fraction.len()).to_be_bytes());
    for group in groups {
        out.extend_from_slice(&group.to_be_bytes());
    }
}
