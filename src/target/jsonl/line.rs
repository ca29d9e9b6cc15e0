//! Rows as lines, and lines as rows again.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use crate::cursor::Timestamp;
use crate::record::batch::{Batch, Row};
use crate::record::repair::Repairs;
use crate::record::split::{Layout, NotJson, Placement, Splitter, Verdict};
use crate::record::value::Value;
use crate::schema::{ColumnType, Schema};
use crate::target::DELETED_AT;

/// The field that numbers lines: of two with one key the later one has more.
pub(super) const SEQ: &str = "_hogline_seq";

/// How many lines are read into one batch.
const ROWS_READ: usize = 1_000;

/// The line of rows of one schema.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) schema: Arc<Schema>,
    /// The known columns, each with what stands before its value: `,"name":`.
    columns: Vec<(usize, String)>,
    /// The column that a file's first and last time are taken from.
    time: Option<usize>,
}

impl Shape {
    pub(super) fn new(schema: &Arc<Schema>) -> Self {
        let known = schema.columns.iter().enumerate().filter(|(_, column)| column.is_known());
        let columns: Vec<(usize, String)> = known
            .clone()
            .map(|(index, column)| (index, serde_json::Value::from(column.name.as_str())))
            .map(|(index, name)| (index, format!(",{name}:")))
            .collect();
        let is_time =
            |(_, column): &(usize, &crate::schema::Column)| column.kind == ColumnType::Timestamp;
        let time = known.clone().find(is_time).map(|(index, _)| index);
        Self { schema: Arc::clone(schema), columns, time }
    }

    /// Puts a row's line in place of what `line` held.
    pub(super) fn write(
        &self,
        row: &Row<'_>,
        seq: Option<u64>,
        repairs: &mut Repairs,
        line: &mut Vec<u8>,
    ) {
        line.clear();
        for (index, before) in &self.columns {
            line.extend_from_slice(before.as_bytes());
            row.write_json(*index, repairs, line);
        }
        if let Some(seq) = seq {
            line.extend_from_slice(format!(",\"{SEQ}\":{seq}").as_bytes());
        }
        match line.first_mut() {
            Some(comma) => *comma = b'{',
            None => line.push(b'{'),
        }
        line.push(b'}');
        if line.contains(&b'\n') {
            escape_newlines(line);
        }
        line.push(b'\n');
    }

    /// The time a file's span counts the row at.
    pub(super) fn time_of(&self, row: &Row<'_>) -> Option<Timestamp> {
        match row.value(self.time?, &mut Repairs::default()) {
            Value::Timestamp(at) => Some(at),
            _ => None,
        }
    }
}

/// A text may come with a raw newline in it, though JSON forbids that: it would be two lines.
fn escape_newlines(line: &mut Vec<u8>) {
    let text = std::mem::take(line);
    for piece in text.split_inclusive(|&byte| byte == b'\n') {
        match piece.strip_suffix(b"\n") {
            Some(piece) => line.extend_from_slice(&[piece, b"\\n"].concat()),
            None => line.extend_from_slice(piece),
        }
    }
}

/// Puts the line of a row that is gone in place of what `line` held: its key, and when.
pub(super) fn write_gone(
    schema: &Schema,
    parts: &[String],
    seq: u64,
    at: Timestamp,
    line: &mut Vec<u8>,
) {
    let mut fields = Vec::new();
    for (&index, part) in schema.primary_key.iter().zip(parts) {
        let column = &schema.columns[index];
        let name = serde_json::Value::from(column.name.as_str());
        let is_bare = matches!(column.kind, ColumnType::Bigint | ColumnType::Bool)
            && serde_json::from_str::<serde_json::Value>(part).is_ok();
        let text = serde_json::Value::from(part.as_str());
        fields.push(if is_bare { format!("{name}:{part}") } else { format!("{name}:{text}") });
    }
    line.clear();
    let fields = fields.join(",");
    let end = format!("{{{fields},\"{SEQ}\":{seq},\"{DELETED_AT}\":\"{at}\"}}\n");
    line.extend_from_slice(end.as_bytes());
}

/// Reads the rows of a file back; fields without a column become one, or are passed over.
pub(super) fn read(
    path: &Path,
    schema: &Arc<Schema>,
    add_undeclared: bool,
    take: &mut dyn FnMut(&Batch),
) -> io::Result<()> {
    let broken = |err: NotJson| io::Error::new(io::ErrorKind::InvalidData, err.to_string());
    let fields = Placement::ByName { leave_out: Vec::new(), add_undeclared };
    let mut splitter = Splitter::new(Layout::Rows("lines".into()), fields, Arc::clone(schema));
    let mut feed = |bytes: &[u8], is_full: usize| {
        splitter.feed(bytes, &mut |_| Verdict::Keep).map_err(broken)?;
        if splitter.rows() >= is_full {
            splitter.cut(usize::MAX).iter().for_each(&mut *take);
        }
        Ok::<(), io::Error>(())
    };
    feed(br#"{"lines":["#, ROWS_READ)?;
    let mut lines = BufReader::with_capacity(256 << 10, File::open(path)?);
    let mut line = Vec::new();
    let mut separator: &[u8] = b"";
    while lines.read_until(b'\n', &mut line)? > 0 {
        feed(separator, ROWS_READ)?;
        feed(&line, ROWS_READ)?;
        separator = b",";
        line.clear();
    }
    feed(b"]}", 0)?;
    splitter.finish().map(|_| ()).map_err(broken)
}
