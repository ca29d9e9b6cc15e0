//! The seam between files and what is in them.
//!
//! A format is two things: a [`RowWriter`], and a function that gives a file's rows back as
//! JSON objects, one after the other, from which batches are made here. Formats know
//! nothing of folders, manifests or pages.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::sync::Arc;

use crate::config::FileFormat;
use crate::record::batch::{Batch, Row};
use crate::record::json;
use crate::record::repair::Repairs;
use crate::record::split::{Layout, NotJson, Placement, Splitter, Verdict};
use crate::record::value::Value;
use crate::schema::{ColumnType, Schema};
use crate::target::files::csv::{self, CsvWriter};
use crate::target::files::jsonl::{self, JsonlWriter};
#[cfg(feature = "parquet")]
use crate::target::files::parquet::ParquetWriter;
use crate::target::files::shape::Shape;

/// How many rows are read into one batch.
const ROWS_READ: usize = 1_000;

/// Writes rows of one shape into a file.
pub(super) trait RowWriter: Send {
    /// Adds a row, with its number where rows are numbered; counts what had to be changed.
    fn add(&mut self, row: &Row<'_>, seq: Option<u64>, repairs: &mut Repairs) -> io::Result<()>;

    /// Writes what is held back, and gives the file; it is not durable yet.
    fn finish(self: Box<Self>) -> io::Result<File>;
}

/// Begins an empty file; a writer holds back about `room` bytes at most.
#[cfg_attr(not(feature = "parquet"), expect(unused_variables, reason = "text waits for nothing"))]
pub(super) fn writer(
    format: FileFormat,
    file: File,
    shape: &Arc<Shape>,
    room: usize,
) -> io::Result<Box<dyn RowWriter>> {
    let shape = Arc::clone(shape);
    Ok(match format {
        FileFormat::Jsonl(compression) => Box::new(JsonlWriter::new(file, compression, shape)?),
        FileFormat::Csv(compression) => Box::new(CsvWriter::new(file, compression, shape)?),
        #[cfg(feature = "parquet")]
        FileFormat::Parquet => Box::new(ParquetWriter::new(file, shape, room)?),
        #[cfg(not(feature = "parquet"))]
        FileFormat::Parquet => return Err(without_parquet()),
    })
}

/// Takes a row as a JSON object.
pub(super) type EachObject<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

/// Reads the rows of a file back; fields without a column become one, or are passed over.
pub(super) fn read(
    (file, name): (File, &str),
    schema: &Arc<Schema>,
    add_undeclared: bool,
    take: &mut dyn FnMut(&Batch) -> io::Result<()>,
) -> io::Result<()> {
    let mut rows = Rows::new(schema, add_undeclared, take)?;
    let mut separator: &[u8] = b"";
    let mut each = |object: &[u8]| {
        rows.feed(separator, ROWS_READ)?;
        separator = b",";
        rows.feed(object, ROWS_READ)
    };
    match FileFormat::of_name(name) {
        Some(FileFormat::Jsonl(compression)) => jsonl::objects(file, compression, &mut each),
        Some(FileFormat::Csv(compression)) => csv::objects(file, compression, schema, &mut each),
        #[cfg(feature = "parquet")]
        Some(FileFormat::Parquet) => super::parquet::objects(file, schema, &mut each),
        #[cfg(not(feature = "parquet"))]
        Some(FileFormat::Parquet) => Err(without_parquet()),
        None => Err(io::Error::other(format!("{name} is of no known format"))),
    }?;
    rows.feed(b"]}", 0)?;
    rows.splitter.finish().map(|_| ()).map_err(broken)
}

#[cfg(not(feature = "parquet"))]
fn without_parquet() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this hogline was built without Parquet")
}

fn broken(err: NotJson) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, err.to_string())
}

/// Objects on their way into batches.
struct Rows<'a> {
    splitter: Splitter,
    take: &'a mut dyn FnMut(&Batch) -> io::Result<()>,
}

impl<'a> Rows<'a> {
    fn new(
        schema: &Arc<Schema>,
        add_undeclared: bool,
        take: &'a mut dyn FnMut(&Batch) -> io::Result<()>,
    ) -> io::Result<Self> {
        let fields = Placement::ByName { leave_out: Vec::new(), add_undeclared };
        let splitter = Splitter::new(Layout::Rows("rows".into()), fields, Arc::clone(schema));
        let mut rows = Self { splitter, take };
        rows.feed(br#"{"rows":["#, ROWS_READ)?;
        Ok(rows)
    }

    fn feed(&mut self, bytes: &[u8], is_full: usize) -> io::Result<()> {
        self.splitter.feed(bytes, &mut |_| Verdict::Keep).map_err(broken)?;
        if self.splitter.rows() < is_full {
            return Ok(());
        }
        self.splitter.cut(usize::MAX).1.iter().try_for_each(&mut *self.take)
    }
}

/// The text of a value in a column of texts. One of JSON holds nothing else: what is no JSON is
/// a string there, as in JSON lines, and stays the same when its file is written anew.
pub(super) fn text_of(value: Value<'_>, kind: ColumnType) -> Option<Cow<'_, str>> {
    match value {
        Value::Text(text) if kind == ColumnType::Json => {
            Some(Cow::Owned(serde_json::Value::from(text).to_string()))
        }
        value => value.text(),
    }
}

/// A column that a file of texts has, and how its texts become JSON.
pub(super) struct TextColumn {
    /// What stands before its value: `"name":`.
    pub(super) before: Vec<u8>,
    kind: ColumnType,
}

impl TextColumn {
    pub(super) fn new(name: &str, schema: &Schema) -> Self {
        // What nobody declared is JSON.
        let kind = schema.index_of(name).map_or(ColumnType::Json, |n| schema.columns[n].kind);
        let before = format!("{}:", serde_json::Value::from(name)).into_bytes();
        Self { before, kind }
    }

    /// Appends the JSON that a text stands for: numbers and JSON as they are spelt.
    pub(super) fn write(&self, text: &str, out: &mut Vec<u8>) -> io::Result<()> {
        let may_be_bare = match self.kind {
            ColumnType::Json => true,
            ColumnType::Bigint | ColumnType::Double | ColumnType::Bool => {
                !text.starts_with('"') && text != "null"
            }
            _ => false,
        };
        if may_be_bare && json::is_json(text) {
            out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        Ok(serde_json::to_writer(out, text)?)
    }
}
