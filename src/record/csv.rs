//! Comma-separated values, read record by record as RFC 4180 has them.
//!
//! An empty field is no value and a quoted empty one an empty text: readers made for whole rows
//! forget the quotes, so fields are read one by one. The only user of csv-core.

use std::io::{self, BufRead};

use csv_core::{ReadFieldResult, Reader};

/// The records of a text.
pub(crate) struct Records {
    text: Box<dyn BufRead + Send>,
    reader: Reader,
    /// The record in hand; a field without value is none.
    pub(crate) record: Vec<Option<String>>,
}

impl Records {
    /// Those of a text, from its first.
    pub(crate) fn of(text: Box<dyn BufRead + Send>) -> Self {
        Self { text, reader: Reader::new(), record: Vec::new() }
    }

    /// Goes on to the next record; false where there is none.
    pub(crate) fn advance(&mut self) -> io::Result<bool> {
        self.record.clear();
        loop {
            let (field, is_end) = self.field()?;
            let Some(field) = field else { return Ok(!self.record.is_empty()) };
            self.record.push(field);
            if is_end {
                return Ok(true);
            }
        }
    }

    /// The next field, and whether it ends its record; nothing at the end of the text.
    #[expect(clippy::option_option, reason = "a field may be there and have no value")]
    fn field(&mut self) -> io::Result<(Option<Option<String>>, bool)> {
        let mut field = Vec::new();
        let mut is_quoted = false;
        let mut piece = [0; 4096];
        loop {
            let text = self.text.fill_buf()?;
            let (result, used, written) = self.reader.read_field(text, &mut piece);
            is_quoted |= text[..used].contains(&b'"');
            field.extend_from_slice(&piece[..written]);
            self.text.consume(used);
            match result {
                ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
                ReadFieldResult::End => return Ok((None, true)),
                ReadFieldResult::Field { record_end } => {
                    let broken = |err| io::Error::new(io::ErrorKind::InvalidData, err);
                    let text = String::from_utf8(field).map_err(broken)?;
                    return Ok((Some((is_quoted || !text.is_empty()).then_some(text)), record_end));
                }
            }
        }
    }
}
