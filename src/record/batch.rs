//! Rows of one answer as slices of one buffer.
//!
//! A batch is what a target writes at once: a text, and for every row and column
//! the place of its value in that text. All rows of a batch have one schema; a
//! field never seen before ends the batch and begins one with a longer schema.
//! A batch is never empty.

use std::borrow::Cow;
use std::sync::Arc;

use crate::record::bytes;
use crate::record::filter::Filter;
use crate::record::inside::{Grown, Inside};
use crate::record::json;
use crate::record::keys;
use crate::record::repair::Repairs;
use crate::record::transform::Transform;
use crate::record::value::{self, Value};
use crate::schema::{ColumnType, Origin, Schema};

/// How the text of a cell is spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The record has no such field.
    Absent,
    /// A JSON token.
    Json,
    /// A JSON string whose content is itself JSON, as SQL answers give `properties`.
    JsonInText,
}

/// The place of one value in its batch's text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) start: u32,
    pub(crate) len: u32,
    pub(crate) form: Form,
}

impl Cell {
    pub(crate) const ABSENT: Self = Self { start: 0, len: 0, form: Form::Absent };
}

/// Some rows with one schema.
#[derive(Debug)]
pub struct Batch {
    schema: Arc<Schema>,
    text: String,
    cells: Vec<Cell>,
    repairs: Repairs,
    /// How many keys of a flattened column have no column of their own.
    beyond: usize,
}

impl Batch {
    /// Takes rows over; nothing where there are none. Cells that are not UTF-8 are repaired.
    pub(crate) fn new(schema: Arc<Schema>, bytes: Vec<u8>, cells: Vec<Cell>) -> Option<Self> {
        if cells.is_empty() {
            return None;
        }
        match String::from_utf8(bytes) {
            Ok(text) => Some(Self { schema, text, cells, repairs: Repairs::default(), beyond: 0 }),
            Err(err) => Some(Self::repaired(schema, err.as_bytes(), &cells)),
        }
    }

    /// Copies the cells one by one, replacing what is not UTF-8.
    fn repaired(schema: Arc<Schema>, bytes: &[u8], cells: &[Cell]) -> Self {
        let mut batch = Self {
            text: String::with_capacity(bytes.len()),
            cells: Vec::new(),
            repairs: Repairs::default(),
            beyond: 0,
            schema,
        };
        let width = batch.schema.columns.len();
        for (index, cell) in cells.iter().enumerate() {
            let raw = &bytes[cell.start as usize..(cell.start + cell.len) as usize];
            let lossy = String::from_utf8_lossy(raw);
            if matches!(lossy, Cow::Owned(_)) {
                batch.repairs.note(&batch.schema.columns[index % width].name);
            }
            let start = u32::try_from(batch.text.len()).unwrap_or(u32::MAX);
            let len = u32::try_from(lossy.len()).unwrap_or(u32::MAX);
            batch.text.push_str(&lossy);
            batch.cells.push(Cell { start, len, form: cell.form });
        }
        batch
    }

    /// The columns of every row.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// How many rows there are; at least one.
    pub fn len(&self) -> usize {
        self.cells.len() / self.schema.columns.len()
    }

    /// Never: a batch has rows.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The bytes the rows take.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// What was repaired when the batch was made, before any conversion.
    pub fn repairs(&self) -> &Repairs {
        &self.repairs
    }

    /// How many keys of a flattened column have no column of their own, as far as this batch
    /// and those before it showed.
    pub fn keys_beyond(&self) -> usize {
        self.beyond
    }

    /// All rows, in the order they came.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.cells.chunks_exact(self.schema.columns.len()).enumerate().map(|(_n, cells)| {
            crash_point!("a row of a batch", _n + 1);
            Row { batch: self, cells }
        })
    }

    /// Fills a column of every row with the JSON that `json_of` gives for the row's key.
    pub(crate) fn fill(
        &mut self,
        column: usize,
        key: usize,
        json_of: &mut dyn FnMut(&str) -> String,
    ) {
        let width = self.schema.columns.len();
        for row in 0..self.len() {
            let of = self.cells[row * width + key];
            let raw = &self.text[of.start as usize..(of.start + of.len) as usize];
            let json = json_of(raw.trim_matches('"'));
            self.put(row * width + column, &json);
        }
    }

    /// Puts the texts of a list column in order, in every row.
    pub(crate) fn sort_lists(&mut self, column: usize) {
        let width = self.schema.columns.len();
        for row in 0..self.len() {
            let of = self.cells[row * width + column];
            let raw = &self.text[of.start as usize..(of.start + of.len) as usize];
            let Ok(mut items) = serde_json::from_str::<Vec<String>>(raw) else { continue };
            if items.is_sorted() {
                continue;
            }
            items.sort_unstable();
            let json = serde_json::to_string(&items).unwrap_or_default();
            self.put(row * width + column, &json);
        }
    }

    /// Leaves the first `rows` rows; nothing where that are none.
    pub(crate) fn first(mut self, rows: usize) -> Option<Self> {
        self.cells.truncate(rows.saturating_mul(self.schema.columns.len()));
        (!self.cells.is_empty()).then_some(self)
    }

    /// Leaves the rows that are wanted; nothing where none is.
    pub(crate) fn wanted_by(mut self, filter: &Filter) -> Option<Self> {
        let width = self.schema.columns.len();
        let rows = self.cells.chunks_exact(width).map(|cells| Row { batch: &self, cells });
        let wanted: Vec<bool> = rows.map(|row| filter.wants(&row, &self.schema)).collect();
        let mut cells = std::mem::take(&mut self.cells).into_iter();
        for is_wanted in wanted {
            let row = cells.by_ref().take(width);
            match is_wanted {
                true => self.cells.extend(row),
                false => row.for_each(drop),
            }
        }
        (!self.cells.is_empty()).then_some(self)
    }

    /// Changes values that are not to be stored as they came.
    pub(crate) fn transform(&mut self, transforms: &[Transform]) {
        let width = self.schema.columns.len();
        for transform in transforms {
            for row in 0..self.len() {
                let at = row * width + transform.column;
                let Cell { start, len, form } = self.cells[at];
                let raw = &self.text[start as usize..(start + len) as usize];
                let json = match (form, value::string_content(raw)) {
                    (Form::Absent, _) => continue,
                    (Form::JsonInText, Some(content)) => value::unescape(content).0,
                    _ => Cow::Borrowed(raw),
                };
                if let Some(changed) = transform.apply(&json) {
                    self.put(at, &changed);
                }
            }
        }
    }

    /// Fills the columns that are inside of others; the schema grows with what is found.
    pub(crate) fn look_inside(&mut self, inside: &mut Inside, schema: &mut Grown<'_>) {
        let width = self.schema.columns.len();
        let mut text = std::mem::take(&mut self.text);
        // What escapes hid, to stand behind the text.
        let mut plain = String::new();
        let mut found = Vec::new();
        for of in inside.columns() {
            for row in 0..self.len() {
                let Cell { start, len, form } = self.cells[row * width + of];
                let raw = &text[start as usize..(start + len) as usize];
                let (json, start) = match (form, value::string_content(raw)) {
                    (Form::JsonInText, Some(content)) => {
                        (value::unescape(content).0, text.len() + plain.len())
                    }
                    (Form::Json, _) => (Cow::Borrowed(raw), start as usize),
                    _ => continue,
                };
                let places = inside.find(of, &json, schema);
                if form == Form::JsonInText && !places.is_empty() {
                    plain.push_str(&json);
                }
                let cell = |(from, to): (usize, usize)| cell_at(start + from, start + to);
                found.extend(places.into_iter().map(|(column, at)| (row, column, cell(at))));
            }
        }
        text.push_str(&plain);
        self.text = text;
        self.beyond = inside.beyond();
        let wider = schema.0.columns.len();
        self.cells = widened(&self.cells, width, wider);
        for (row, column, cell) in found {
            self.cells[row * wider + column] = cell;
        }
        self.schema = Arc::clone(schema.0);
    }

    /// Gives a cell another value; what it was stays in the text, unseen.
    fn put(&mut self, cell: usize, json: &str) {
        let start = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        let len = u32::try_from(json.len()).unwrap_or(u32::MAX);
        self.text.push_str(json);
        self.cells[cell] = Cell { start, len, form: Form::Json };
    }

    /// The last row.
    pub fn last(&self) -> Option<Row<'_>> {
        self.rows().last()
    }
}

/// Cells of rows with more columns than they had.
pub(crate) fn widened(cells: &[Cell], width: usize, wider: usize) -> Vec<Cell> {
    let new = || std::iter::repeat_n(Cell::ABSENT, wider - width);
    cells.chunks_exact(width).flat_map(|row| row.iter().copied().chain(new())).collect()
}

/// The cell of a JSON token.
fn cell_at(from: usize, to: usize) -> Cell {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Cell { start: narrow(from), len: narrow(to - from), form: Form::Json }
}

/// One record of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    batch: &'a Batch,
    cells: &'a [Cell],
}

impl<'a> Row<'a> {
    /// The value of a column, converted to its type; what had to be changed is counted.
    pub fn value(&self, column: usize, repairs: &mut Repairs) -> Value<'a> {
        let (value, repaired) = self.convert(column);
        if repaired {
            repairs.note(&self.batch.schema.columns[column].name);
        }
        value
    }

    fn convert(&self, index: usize) -> value::Converted<'a> {
        let column = &self.batch.schema.columns[index];
        match &column.origin {
            Origin::Unknown => (Value::Null, false),
            Origin::Constant(raw) => value::convert(raw, column.kind),
            Origin::DayOf(other) => match self.convert(*other) {
                (Value::Timestamp(at), _) => (Value::Date(at), false),
                _ => (Value::Null, false),
            },
            Origin::Field | Origin::Inside { .. } => self.convert_cell(index, column.kind),
        }
    }

    fn convert_cell(&self, index: usize, kind: ColumnType) -> value::Converted<'a> {
        let raw = self.raw(index);
        match self.cells[index].form {
            Form::Absent => (Value::Null, false),
            Form::Json => value::convert(raw, kind),
            Form::JsonInText => match value::string_content(raw) {
                None => value::convert(raw, kind),
                Some(content) => {
                    let (text, repaired) = value::unescape(content);
                    let (value, misfit) = value::convert_text(text, kind);
                    (value, repaired || misfit)
                }
            },
        }
    }

    /// The bytes of a field as they arrived; empty where the record has no such field.
    pub fn raw(&self, column: usize) -> &'a str {
        let cell = self.cells[column];
        &self.batch.text[cell.start as usize..(cell.start + cell.len) as usize]
    }

    /// Appends a column's value as JSON. Numbers and nested values keep their spelling.
    pub fn write_json(&self, column: usize, repairs: &mut Repairs, out: &mut Vec<u8>) {
        let plain = self.plain_json(column);
        if let Some(raw) = plain {
            out.extend_from_slice(raw.as_bytes());
            return;
        }
        match self.value(column, repairs) {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(yes) => out.extend_from_slice(if yes { b"true" } else { b"false" }),
            Value::Bigint(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Value::Double(number) => self.write_number(column, number, out),
            Value::Json(json) => out.extend_from_slice(json.as_bytes()),
            Value::Timestamp(at) => quoted(at.text().as_str(), out),
            Value::Date(at) => quoted(at.text().day(), out),
            Value::Text(text) if self.is_number(column) => out.extend_from_slice(text.as_bytes()),
            Value::Text(text) => write_text(&text, out),
        }
    }

    /// Whether a column of numbers of any length has one here.
    fn is_number(&self, column: usize) -> bool {
        let kind = self.batch.schema.columns[column].kind;
        kind == ColumnType::Numeric && !self.convert(column).1
    }

    /// Appends a number in the source's spelling, 2515.40 as 2515.40, where that is JSON.
    fn write_number(&self, column: usize, number: f64, out: &mut Vec<u8>) {
        let raw = self.raw(column);
        let is_number = !raw.starts_with('"') && json::is_json(raw);
        match is_number {
            true => out.extend_from_slice(raw.as_bytes()),
            false => out.extend_from_slice(serde_json::Value::from(number).to_string().as_bytes()),
        }
    }

    /// The raw token of a text without escapes: already what JSON wants.
    fn plain_json(&self, index: usize) -> Option<&'a str> {
        let column = &self.batch.schema.columns[index];
        let is_text = matches!(column.kind, ColumnType::Text | ColumnType::Uuid);
        let raw = self.raw(index);
        let plain = is_text
            && (column.origin == Origin::Field || column.is_derived())
            && self.cells[index].form == Form::Json
            && raw.starts_with('"')
            && bytes::is_plain(raw.as_bytes());
        plain.then_some(raw)
    }

    /// The value of a column as the text that a target shows for it; nothing for null.
    pub fn text(&self, column: usize) -> Option<String> {
        self.value(column, &mut Repairs::default()).text().map(Cow::into_owned)
    }

    /// Whether the record has this field at all.
    pub fn has(&self, column: usize) -> bool {
        self.cells[column].form != Form::Absent
    }

    /// What tells the record from all others, wherever it is kept.
    pub fn identity(&self) -> String {
        let key: Vec<_> =
            self.batch.schema.primary_key.iter().map(|&index| self.text(index)).collect();
        keys::spell(key.iter().map(Option::as_deref))
    }

    /// The primary key as a JSON array of texts; the form in which checkpoints name witnesses.
    pub fn key(&self) -> String {
        let mut ignored = Repairs::default();
        let parts: Vec<Option<String>> = self
            .batch
            .schema
            .primary_key
            .iter()
            .map(|&column| self.value(column, &mut ignored).text().map(Cow::into_owned))
            .collect();
        serde_json::to_string(&parts).unwrap_or_default()
    }
}

/// Appends text that needs no escapes between quotes.
fn quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Appends any text as a JSON string.
fn write_text(text: &str, out: &mut Vec<u8>) {
    if let Err(err) = serde_json::to_writer(&mut *out, text) {
        // Writing text into memory cannot fail; if it did, the row must not look whole.
        tracing::error!(%err, "a text could not be written as JSON");
    }
}
