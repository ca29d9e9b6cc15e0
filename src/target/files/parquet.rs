//! Rows as columns of a Parquet file, and those as rows again.
//!
//! Times are microseconds in UTC, days dates, whole numbers 64-bit integers; UUIDs and JSON
//! are their text. Pages are packed with zstd. A column whose values do not all fit its type
//! is a column of texts in the files that hold one such value: which those are is decided
//! before a row gets here. The one home of `parquet` and `arrow`.

use std::fs::File;
use std::io::{self, BufWriter};
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_array::types::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch, cast::AsArray};
use arrow_schema::{DataType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::cursor::Timestamp;
use crate::pack::BUFFER;
use crate::record::batch::Row;
use crate::record::repair::Repairs;
use crate::record::value::Value;
use crate::schema::{ColumnType, Schema};
use crate::target::files::format::{EachObject, RowWriter, TextColumn, text_of};
use crate::target::files::shape::{SEQ, Shape, Slot};

/// The level of zstd: the higher ones cost more than they save.
const ZSTD_LEVEL: i32 = 1;

/// Rows are handed to the encoder in steps of so many …
const STEP_ROWS: usize = 1024;

/// … or of so many bytes: what waits for it is not packed.
const STEP_BYTES: usize = 1 << 20;

/// Rows that are decoded at once.
const ROWS_READ: usize = 256;

const DAY: i64 = 86_400_000_000;

/// A Parquet file that is being written.
pub(super) struct ParquetWriter {
    file: ArrowWriter<BufWriter<File>>,
    schema: SchemaRef,
    shape: Arc<Shape>,
    columns: Vec<Column>,
    numbers: Int64Builder,
    rows: usize,
    bytes: usize,
    /// A row group ends when it takes so many bytes of memory.
    room: usize,
}

impl ParquetWriter {
    pub(super) fn new(file: File, shape: Arc<Shape>, room: usize) -> io::Result<Self> {
        let mut fields: Vec<Field> = shape
            .slots
            .iter()
            .map(|slot| Field::new(&slot.name, type_of(slot.kind), true))
            .collect();
        fields.push(Field::new(SEQ, DataType::Int64, true));
        let schema = Arc::new(ArrowSchema::new(fields));
        let file = BufWriter::with_capacity(BUFFER, file);
        let properties = properties(&shape)?;
        let file = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties));
        Ok(Self {
            file: file.map_err(told)?,
            schema,
            columns: shape.slots.iter().map(|slot| Column::new(slot.kind)).collect(),
            shape,
            numbers: Int64Builder::new(),
            rows: 0,
            bytes: 0,
            room,
        })
    }

    /// Hands the rows that wait to the encoder.
    fn step(&mut self) -> io::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut arrays: Vec<ArrayRef> = self.columns.iter_mut().map(Column::take).collect();
        arrays.push(Arc::new(self.numbers.finish()));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays);
        self.file.write(&batch.map_err(io::Error::other)?).map_err(told)?;
        (self.rows, self.bytes) = (0, 0);
        if self.file.memory_size() >= self.room {
            self.file.flush().map_err(told)?;
        }
        Ok(())
    }
}

impl RowWriter for ParquetWriter {
    fn add(&mut self, row: &Row<'_>, seq: Option<u64>, repairs: &mut Repairs) -> io::Result<()> {
        for (slot, column) in self.shape.slots.iter().zip(&mut self.columns) {
            self.bytes += column.add(row.value(slot.index, repairs), slot)?;
        }
        self.numbers.append_option(seq.and_then(|seq| i64::try_from(seq).ok()));
        self.rows += 1;
        if self.rows >= STEP_ROWS || self.bytes >= STEP_BYTES {
            self.step()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<File> {
        self.step()?;
        let file = self.file.into_inner().map_err(told)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// Texts that repeat are kept once; ids and JSON do not repeat. Statistics help to find keys.
fn properties(shape: &Shape) -> io::Result<WriterProperties> {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).map_err(told)?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(None);
    for Slot { name, kind, is_key, .. } in &shape.slots {
        let path = || ColumnPath::from(vec![name.clone()]);
        if *kind == ColumnType::Text && name != "id" && !name.ends_with("_id") {
            properties = properties.set_column_dictionary_enabled(path(), true);
        }
        if *is_key {
            properties = properties.set_column_statistics_enabled(path(), EnabledStatistics::Page);
        }
    }
    Ok(properties.build())
}

/// An error of the encoder; what the disk said is not wrapped away.
fn told(err: ParquetError) -> io::Error {
    match err {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(err) => *err,
            Err(source) => io::Error::other(source),
        },
        err => io::Error::other(err),
    }
}

fn type_of(kind: ColumnType) -> DataType {
    match kind {
        // Exact digits fit no number of a size that is fixed beforehand.
        ColumnType::Uuid | ColumnType::Text | ColumnType::Json | ColumnType::Numeric => {
            DataType::Utf8
        }
        ColumnType::Bool => DataType::Boolean,
        ColumnType::Bigint => DataType::Int64,
        ColumnType::Double => DataType::Float64,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ColumnType::Date => DataType::Date32,
    }
}

/// The values of a column that wait for the encoder.
enum Column {
    Text(StringBuilder),
    Truth(BooleanBuilder),
    Whole(Int64Builder),
    Number(Float64Builder),
    Time(TimestampMicrosecondBuilder),
    Day(Date32Builder),
}

impl Column {
    fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Uuid | ColumnType::Text | ColumnType::Json | ColumnType::Numeric => {
                Self::Text(StringBuilder::new())
            }
            ColumnType::Bool => Self::Truth(BooleanBuilder::new()),
            ColumnType::Bigint => Self::Whole(Int64Builder::new()),
            ColumnType::Double => Self::Number(Float64Builder::new()),
            ColumnType::Timestamp => {
                Self::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
            ColumnType::Date => Self::Day(Date32Builder::new()),
        }
    }

    /// Adds a value; gives the bytes it takes.
    fn add(&mut self, value: Value<'_>, slot: &Slot) -> io::Result<usize> {
        match (self, value) {
            (Self::Text(texts), value) => {
                let text = text_of(value, slot.kind);
                texts.append_option(text.as_deref());
                return Ok(text.map_or(0, |text| text.len()));
            }
            (Self::Truth(truths), Value::Bool(truth)) => truths.append_value(truth),
            (Self::Whole(numbers), Value::Bigint(number)) => numbers.append_value(number),
            (Self::Number(numbers), Value::Double(number)) => numbers.append_value(number),
            (Self::Time(times), Value::Timestamp(at)) => times.append_value(at.micros()),
            (Self::Day(days), Value::Date(at)) => {
                let day = i32::try_from(at.micros().div_euclid(DAY)).map_err(io::Error::other)?;
                days.append_value(day);
            }
            (Self::Truth(truths), Value::Null) => truths.append_null(),
            (Self::Whole(numbers), Value::Null) => numbers.append_null(),
            (Self::Number(numbers), Value::Null) => numbers.append_null(),
            (Self::Time(times), Value::Null) => times.append_null(),
            (Self::Day(days), Value::Null) => days.append_null(),
            // The file was to be one whose column is a text.
            _ => return Err(io::Error::other(format!("a value does not fit `{}`", slot.name))),
        }
        Ok(size_of::<i64>())
    }

    fn take(&mut self) -> ArrayRef {
        match self {
            Self::Text(texts) => Arc::new(texts.finish()),
            Self::Truth(truths) => Arc::new(truths.finish()),
            Self::Whole(numbers) => Arc::new(numbers.finish()),
            Self::Number(numbers) => Arc::new(numbers.finish()),
            Self::Time(times) => Arc::new(times.finish()),
            Self::Day(days) => Arc::new(days.finish()),
        }
    }
}

/// Gives the rows of a file as JSON objects.
pub(super) fn objects(file: File, schema: &Schema, each: &mut EachObject<'_>) -> io::Result<()> {
    let broken = |err: ParquetError| io::Error::new(io::ErrorKind::InvalidData, err.to_string());
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(broken)?;
    let column = |field: &Arc<Field>| TextColumn::new(field.name(), schema);
    let columns: Vec<TextColumn> = reader.schema().fields().iter().map(column).collect();
    let mut object = Vec::new();
    for batch in reader.with_batch_size(ROWS_READ).build().map_err(broken)? {
        let batch = batch.map_err(|err| io::Error::new(io::ErrorKind::InvalidData, err))?;
        for row in 0..batch.num_rows() {
            object.clear();
            for (column, values) in columns.iter().zip(batch.columns()) {
                object.push(if object.is_empty() { b'{' } else { b',' });
                object.extend_from_slice(&column.before);
                write_json(values, row, column, &mut object)?;
            }
            object.push(b'}');
            each(&object)?;
        }
    }
    Ok(())
}

/// Appends a value as JSON.
fn write_json(
    values: &ArrayRef,
    row: usize,
    column: &TextColumn,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    if values.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    let json = match values.data_type() {
        DataType::Utf8 => return column.write(values.as_string::<i32>().value(row), out),
        DataType::Boolean => values.as_boolean().value(row).to_string(),
        DataType::Int64 => values.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float64 => {
            serde_json::Value::from(values.as_primitive::<Float64Type>().value(row)).to_string()
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = values.as_primitive::<TimestampMicrosecondType>().value(row);
            format!("\"{}\"", Timestamp::from_micros(micros))
        }
        DataType::Date32 => {
            let days = values.as_primitive::<Date32Type>().value(row);
            format!("\"{}\"", Timestamp::from_micros(i64::from(days) * DAY).day())
        }
        other => return Err(io::Error::other(format!("no file of ours has a column of {other}"))),
    };
    out.extend_from_slice(json.as_bytes());
    Ok(())
}
