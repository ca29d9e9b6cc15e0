//! Rows as lines of JSON, and lines as rows again.
//!
//! A line has no line break in it: none is in a value that is JSON without white space, and
//! texts are written with escapes.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::sync::Arc;

use crate::config::Compression;
use crate::pack::{Packed, unpack};
use crate::record::batch::Row;
use crate::record::repair::Repairs;
use crate::target::files::format::{EachObject, RowWriter};
use crate::target::files::shape::{SEQ, Shape};

/// A file of lines.
pub(super) struct JsonlWriter {
    file: Packed,
    shape: Arc<Shape>,
    /// What stands before the value of each column: `,"name":`.
    before: Vec<String>,
    line: Vec<u8>,
}

impl JsonlWriter {
    pub(super) fn new(file: File, compression: Compression, shape: Arc<Shape>) -> io::Result<Self> {
        let name = |name: &str| format!(",{}:", serde_json::Value::from(name));
        let before = shape.slots.iter().map(|slot| name(&slot.name)).collect();
        Ok(Self { file: Packed::new(file, compression)?, shape, before, line: Vec::new() })
    }
}

impl RowWriter for JsonlWriter {
    fn add(&mut self, row: &Row<'_>, seq: Option<u64>, repairs: &mut Repairs) -> io::Result<()> {
        let line = &mut self.line;
        line.clear();
        for (slot, before) in self.shape.slots.iter().zip(&self.before) {
            line.extend_from_slice(before.as_bytes());
            row.write_json(slot.index, repairs, line);
        }
        if let Some(seq) = seq {
            write!(line, ",\"{SEQ}\":{seq}")?;
        }
        match line.first_mut() {
            Some(comma) => *comma = b'{',
            None => line.push(b'{'),
        }
        line.push(b'}');
        line.push(b'\n');
        self.file.write_all(line)
    }

    fn finish(self: Box<Self>) -> io::Result<File> {
        self.file.finish()
    }
}

/// Gives the lines of a file.
pub(super) fn objects(
    file: File,
    compression: Compression,
    each: &mut EachObject<'_>,
) -> io::Result<()> {
    let mut lines = unpack(file, compression)?;
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        each(&line)?;
        line.clear();
    }
    Ok(())
}
