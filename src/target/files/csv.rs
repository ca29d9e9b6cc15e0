//! Rows as comma-separated values, and those as rows again.
//!
//! As RFC 4180 has it: a header, lines that end with CR LF, quotes where a value needs them.
//! No value is an empty field and an empty text a quoted one, `""`, so that the two differ.
//! Writers of CSV quote by one rule for a whole file and readers of it forget the quotes,
//! so fields are written here, and read with the parser that `csv` is made of.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use crate::config::Compression;
use crate::pack::{Packed, unpack};
use crate::record::batch::Row;
use crate::record::bytes;
use crate::record::csv::Records;
use crate::record::repair::Repairs;
use crate::record::value::Value;
use crate::schema::Schema;
use crate::target::files::format::{EachObject, RowWriter, TextColumn, text_of};
use crate::target::files::shape::{SEQ, Shape};

/// A file with a header.
pub(super) struct CsvWriter {
    file: Packed,
    shape: Arc<Shape>,
    line: Vec<u8>,
}

impl CsvWriter {
    pub(super) fn new(file: File, compression: Compression, shape: Arc<Shape>) -> io::Result<Self> {
        let mut line = Vec::new();
        for slot in &shape.slots {
            write_text(&slot.name, &mut line);
            line.push(b',');
        }
        match shape.is_numbered {
            true => line.extend_from_slice(SEQ.as_bytes()),
            false => drop(line.pop()),
        }
        line.extend_from_slice(b"\r\n");
        let mut file = Packed::new(file, compression)?;
        file.write_all(&line)?;
        Ok(Self { file, shape, line })
    }
}

impl RowWriter for CsvWriter {
    fn add(&mut self, row: &Row<'_>, seq: Option<u64>, repairs: &mut Repairs) -> io::Result<()> {
        self.line.clear();
        for slot in &self.shape.slots {
            match row.value(slot.index, repairs) {
                // In the source's spelling.
                Value::Double(_) => {
                    row.write_json(slot.index, &mut Repairs::default(), &mut self.line);
                }
                value => {
                    let text = text_of(value, slot.kind);
                    text.iter().for_each(|text| write_text(text, &mut self.line));
                }
            }
            self.line.push(b',');
        }
        match seq {
            Some(seq) => write!(self.line, "{seq}")?,
            None if !self.shape.is_numbered => drop(self.line.pop()),
            None => {}
        }
        self.line.extend_from_slice(b"\r\n");
        self.file.write_all(&self.line)
    }

    fn finish(self: Box<Self>) -> io::Result<File> {
        self.file.finish()
    }
}

/// Appends a text, in quotes where it would be read as something else without.
fn write_text(text: &str, line: &mut Vec<u8>) {
    let is_special = |byte: u8| matches!(byte, b'"' | b',' | b'\r' | b'\n');
    // Some readers drop blanks at the ends; some take `\.` for the end of the file.
    let is_plain = !text.is_empty()
        && !text.bytes().any(is_special)
        && text.trim().len() == text.len()
        && text != r"\.";
    if is_plain {
        line.extend_from_slice(text.as_bytes());
        return;
    }
    line.push(b'"');
    bytes::append_doubling(b'"', text.as_bytes(), line);
    line.push(b'"');
}

/// Gives the records of a file as JSON objects.
pub(super) fn objects(
    file: File,
    compression: Compression,
    schema: &Schema,
    each: &mut EachObject<'_>,
) -> io::Result<()> {
    let mut records = Records::of(unpack(file, compression)?);
    if !records.advance()? {
        return Ok(());
    }
    let column =
        |name: &Option<String>| TextColumn::new(name.as_deref().unwrap_or_default(), schema);
    let columns: Vec<TextColumn> = records.record.iter().map(column).collect();
    let mut object = Vec::new();
    while records.advance()? {
        if records.record.len() != columns.len() {
            let found = records.record.len();
            let cause = format!("a record has {found} fields instead of {}", columns.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, cause));
        }
        object.clear();
        for (column, field) in columns.iter().zip(&records.record) {
            object.push(if object.is_empty() { b'{' } else { b',' });
            object.extend_from_slice(&column.before);
            match field {
                None => object.extend_from_slice(b"null"),
                Some(text) => column.write(text, &mut object)?,
            }
        }
        object.push(b'}');
        each(&object)?;
    }
    Ok(())
}
