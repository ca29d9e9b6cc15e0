//! Files as anybody reads them: with nothing of what wrote them but its libraries.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// A row of a file: the text of each column, where it has a value.
pub(crate) type Texts = BTreeMap<String, Option<String>>;

/// A file's text, unpacked.
pub(crate) fn text_of_file(file: &Path) -> String {
    let bytes = std::fs::read(file).unwrap();
    let mut text = String::new();
    match file.extension().unwrap().to_str().unwrap() {
        "gz" => {
            let mut packed = flate2::read::MultiGzDecoder::new(bytes.as_slice());
            packed.read_to_string(&mut text).unwrap();
            text
        }
        "zst" => String::from_utf8(zstd::decode_all(bytes.as_slice()).unwrap()).unwrap(),
        _ => String::from_utf8(bytes).unwrap(),
    }
}

/// The rows of a CSV file.
pub(crate) fn csv_rows(text: &str) -> Vec<Texts> {
    let mut records = csv_records(text).into_iter();
    let header: Vec<String> = records.next().unwrap().into_iter().map(Option::unwrap).collect();
    let row = |record: Vec<Option<String>>| {
        assert_eq!(record.len(), header.len(), "{record:?}");
        header.iter().cloned().zip(record).collect()
    };
    records.map(row).collect()
}

/// RFC 4180, with a field that is empty and not quoted for no value.
fn csv_records(text: &str) -> Vec<Vec<Option<String>>> {
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut is_quoted, mut inside) = (false, false);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if inside && rest.peek() == Some(&'"') => field.extend(rest.next()),
            '"' => (is_quoted, inside) = (true, !inside),
            ',' | '\r' if !inside => {
                let value = (is_quoted || !field.is_empty()).then(|| std::mem::take(&mut field));
                record.push(value);
                is_quoted = false;
                if c == '\r' {
                    assert_eq!(rest.next(), Some('\n'));
                    records.push(std::mem::take(&mut record));
                }
            }
            c => field.push(c),
        }
    }
    assert!(record.is_empty() && field.is_empty(), "the last line has no end");
    records
}

/// The rows of a Parquet file.
#[cfg(not(feature = "parquet"))]
pub(crate) fn parquet_rows(_: &Path) -> Vec<Texts> {
    unreachable!("this build writes none")
}

/// The rows of a Parquet file.
#[cfg(feature = "parquet")]
pub(crate) fn parquet_rows(file: &Path) -> Vec<Texts> {
    use chrono::{DateTime, NaiveDate};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{Field, Row};
    /// The days from the year 1 to 1970.
    const EPOCH: i32 = 719_163;
    let text = |field: &Field| match field {
        Field::Null => None,
        Field::Str(text) => Some(text.clone()),
        Field::TimestampMicros(at) => {
            let at = DateTime::from_timestamp_micros(*at).unwrap();
            Some(at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
        }
        Field::Date(day) => {
            Some(NaiveDate::from_num_days_from_ce_opt(EPOCH + day).unwrap().to_string())
        }
        Field::Bool(_) | Field::Long(_) | Field::Double(_) => Some(field.to_string()),
        other => panic!("no file of ours has {other:?}"),
    };
    let texts =
        |row: Row| row.get_column_iter().map(|(name, field)| (name.clone(), text(field))).collect();
    let reader = SerializedFileReader::new(std::fs::File::open(file).unwrap()).unwrap();
    reader.get_row_iter(None).unwrap().map(|row| texts(row.unwrap())).collect()
}
