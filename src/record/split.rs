//! From a stream of bytes to batches of rows.
//!
//! The splitter keeps the bytes of rows that are not yet handed out, gives every
//! field its column, and lets its owner decide row by row what to keep. Nothing is
//! copied field by field: a [`Batch`] takes the buffer over. A field the schema
//! does not have becomes a new column unless it is left out on purpose.

use std::borrow::Cow;
use std::sync::Arc;

use crate::cursor::Timestamp;
use crate::record::batch::{self, Batch, Cell, Form};
use crate::record::inside::{Grown, Inside};
use crate::record::scan::{Field, Found, Scanner};
use crate::record::value;
use crate::schema::{ColumnType, Origin, Schema};

pub use crate::record::scan::{Layout, NotJson};

/// A single record beyond this is no record: the answer is refused before memory runs out.
const LARGEST_ROW: usize = 128 << 20;

/// All that stands around the records is small; an answer with more of it is refused, too.
const LARGEST_FRAME: usize = 64 << 20;

/// How the fields of a row find their columns.
#[derive(Debug, Clone)]
pub enum Placement {
    /// By name. Those named here are left out; others the schema does not have are added.
    ByName {
        /// Fields not wanted.
        leave_out: Vec<String>,
        /// Whether a field that nobody declared becomes a column.
        add_undeclared: bool,
    },
    /// By place, as SQL answers give them: the column of every item.
    ByPosition(Vec<usize>),
}

/// What a splitter's owner wants done with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes into the next batch.
    Keep,
    /// It is not part of this walk.
    Drop,
}

/// Cuts answers into batches.
#[derive(Debug)]
pub struct Splitter {
    layout: Layout,
    placement: Placement,
    schema: Arc<Schema>,
    scanner: Scanner,
    bytes: Vec<u8>,
    cells: Vec<Cell>,
    row_ends: Vec<usize>,
    /// Column of the n-th field as the last rows had them: records repeat their key order.
    guesses: Vec<(Vec<u8>, Option<usize>)>,
    members: Vec<(String, String)>,
    /// The bytes that the members take.
    frame: usize,
    sorted: Vec<String>,
    /// What is taken out of JSON columns.
    inside: Inside,
}

impl Splitter {
    /// Makes ready for answers of this layout.
    pub fn new(layout: Layout, placement: Placement, schema: Arc<Schema>) -> Self {
        Self {
            scanner: Scanner::new(layout.clone()),
            inside: Inside::of(&schema),
            layout,
            placement,
            schema,
            bytes: Vec::new(),
            cells: Vec::new(),
            row_ends: Vec::new(),
            guesses: Vec::new(),
            members: Vec::new(),
            frame: 0,
            sorted: Vec::new(),
        }
    }

    /// Puts the lists of these columns in order: their own means nothing, and changes.
    #[must_use]
    pub fn sorting(mut self, columns: &[String]) -> Self {
        self.sorted = columns.to_vec();
        self
    }

    /// Forgets the answer in hand; a new one begins. Columns found so far stay.
    pub fn restart(&mut self) {
        self.scanner = Scanner::new(self.layout.clone());
        self.bytes.clear();
        self.cells.clear();
        self.row_ends.clear();
        self.members.clear();
        self.frame = 0;
    }

    /// Says of columns that the records of the next answers do not: name and raw JSON.
    pub fn set_constants(&mut self, constants: &[(String, String)]) {
        let schema = Arc::make_mut(&mut self.schema);
        for (name, raw) in constants {
            if let Some(column) = schema.index_of(name) {
                schema.columns[column].origin = Origin::Constant(raw.clone());
            }
        }
    }

    /// The columns, as far as they are known by now.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// How many rows wait to be cut into a batch.
    pub fn rows(&self) -> usize {
        self.row_ends.len()
    }

    /// How many bytes wait.
    pub fn pending_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Takes bytes in; `judge` sees every row they complete.
    ///
    /// # Errors
    /// When the bytes are not the JSON that was asked for.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        judge: &mut dyn FnMut(RowView<'_>) -> Verdict,
    ) -> Result<(), NotJson> {
        self.bytes.extend_from_slice(bytes);
        loop {
            match self.scanner.next(&self.bytes)? {
                Found::NeedsMore => break,
                Found::Row => self.row(judge)?,
                Found::Member(field) => self.member(field)?,
            }
        }
        if self.row_ends.is_empty() {
            let spent = self.scanner.needed_from();
            self.bytes.drain(..spent);
            self.scanner.shift(spent);
        }
        let unfinished = self.bytes.len() - self.row_ends.last().copied().unwrap_or(0);
        if unfinished > LARGEST_ROW {
            return Err(NotJson(format!("a single record is larger than {LARGEST_ROW} bytes")));
        }
        Ok(())
    }

    fn member(&mut self, field: Field) -> Result<(), NotJson> {
        let text = |(from, to): (usize, usize)| {
            String::from_utf8_lossy(&self.bytes[from..to]).into_owned()
        };
        let member = (text(field.key), text(field.value));
        // As much as an empty pair takes: many of them are no less endless.
        self.frame += member.0.len() + member.1.len() + size_of::<(String, String)>();
        self.members.push(member);
        match self.frame > LARGEST_FRAME {
            true => Err(NotJson(format!("more than {LARGEST_FRAME} bytes beside the records"))),
            false => Ok(()),
        }
    }

    fn row(&mut self, judge: &mut dyn FnMut(RowView<'_>) -> Verdict) -> Result<(), NotJson> {
        let by_name = matches!(self.placement, Placement::ByName { .. });
        if by_name != self.scanner.row_is_object() {
            let wanted = if by_name { "an object" } else { "a list" };
            return Err(NotJson(format!("a record is not {wanted}")));
        }
        let first = self.cells.len();
        self.cells.resize(first + self.schema.columns.len(), Cell::ABSENT);
        match by_name {
            true => self.place_by_name(),
            false => self.place_by_position()?,
        }
        let width = self.schema.columns.len();
        let first = self.cells.len() - width;
        let view =
            RowView { index: self.row_ends.len(), bytes: &self.bytes, cells: &self.cells[first..] };
        match judge(view) {
            Verdict::Keep => self.row_ends.push(self.scanner.pos()),
            Verdict::Drop => self.cells.truncate(first),
        }
        Ok(())
    }

    fn place_by_position(&mut self) -> Result<(), NotJson> {
        let Placement::ByPosition(columns) = &self.placement else { return Ok(()) };
        let fields = self.scanner.fields();
        if fields.len() != columns.len() {
            let (got, wanted) = (fields.len(), columns.len());
            return Err(NotJson(format!("a row has {got} values where {wanted} were asked for")));
        }
        let first = self.cells.len() - self.schema.columns.len();
        for (field, &column) in fields.iter().zip(columns) {
            let form = match self.schema.columns[column].kind {
                ColumnType::Json => Form::JsonInText,
                _ => Form::Json,
            };
            self.cells[first + column] = cell(field.value, form);
        }
        Ok(())
    }

    fn place_by_name(&mut self) {
        for nth in 0..self.scanner.fields().len() {
            let field = self.scanner.fields()[nth];
            let Some(column) = self.column_of(nth, field) else { continue };
            let first = self.cells.len() - self.schema.columns.len();
            self.cells[first + column] = cell(field.value, Form::Json);
        }
    }

    /// The column of a row's n-th field; nothing where it is left out.
    fn column_of(&mut self, nth: usize, field: Field) -> Option<usize> {
        let key = &self.bytes[field.key.0..field.key.1];
        if let Some((name, column)) = self.guesses.get(nth)
            && name == key
        {
            return *column;
        }
        if let Some(at) = self.guesses.iter().position(|(name, _)| name == key) {
            return self.guesses[at].1;
        }
        let key = key.to_vec();
        let column = self.assign(&key);
        self.guesses.push((key, column));
        column
    }

    /// Decides once for a field name: its column, a new column, or none.
    fn assign(&mut self, key: &[u8]) -> Option<usize> {
        let Placement::ByName { leave_out, add_undeclared } = &self.placement else { return None };
        let raw = String::from_utf8_lossy(key);
        let name = value::unescape(&raw).0;
        if leave_out.iter().any(|left| *left == name) {
            return None;
        }
        let found = self.schema.index_of(&name);
        if let Some(column) = found.filter(|&column| !self.schema.columns[column].is_derived()) {
            return (self.schema.columns[column].origin == Origin::Field).then_some(column);
        }
        add_undeclared.then(|| self.grow(&name))
    }

    /// Adds a column; rows that wait get an empty cell for it.
    fn grow(&mut self, field: &str) -> usize {
        let width = self.schema.columns.len();
        let column = Arc::make_mut(&mut self.schema).add_undeclared(field);
        self.cells = batch::widened(&self.cells, width, width + 1);
        column
    }

    /// Takes the values out that are columns of their own; rows that wait get empty cells for
    /// columns that this shows.
    fn look_inside(&mut self, batch: &mut Batch) {
        if self.inside.is_empty() {
            return;
        }
        let width = self.schema.columns.len();
        batch.look_inside(&mut self.inside, &mut Grown(&mut self.schema));
        let wider = self.schema.columns.len();
        if wider > width {
            self.cells = batch::widened(&self.cells, width, wider);
        }
    }

    /// Cuts the first `rows` rows off; tells how many that were, and gives those that are
    /// wanted as a batch.
    pub fn cut(&mut self, rows: usize) -> (usize, Option<Batch>) {
        let rows = rows.min(self.row_ends.len());
        (rows, self.cut_off(rows))
    }

    fn cut_off(&mut self, rows: usize) -> Option<Batch> {
        let end = *self.row_ends.get(rows.checked_sub(1)?)?;
        let bytes = cut_off(&mut self.bytes, end);
        let cells = cut_off(&mut self.cells, rows * self.schema.columns.len());
        self.shift(end, rows);
        let mut batch = Batch::new(Arc::clone(&self.schema), bytes, cells)?;
        if let Some(filter) = &self.schema.filter {
            batch = batch.wanted_by(filter)?;
        }
        for column in self.sorted.iter().filter_map(|name| self.schema.index_of(name)) {
            batch.sort_lists(column);
        }
        batch.transform(&self.schema.transforms);
        self.look_inside(&mut batch);
        Some(batch)
    }

    /// Drops every row from the `rows`-th on.
    pub fn truncate(&mut self, rows: usize) {
        self.row_ends.truncate(rows);
        self.cells.truncate(rows * self.schema.columns.len());
    }

    fn shift(&mut self, by: usize, rows: usize) {
        self.scanner.shift(by);
        self.row_ends.drain(..rows);
        for end in &mut self.row_ends {
            *end -= by;
        }
        let by = u32::try_from(by).unwrap_or(u32::MAX);
        for cell in &mut self.cells {
            cell.start = cell.start.saturating_sub(by);
        }
    }

    /// Ends the answer and returns what stood around its rows.
    ///
    /// # Errors
    /// When the answer broke off, or had no rows where they belong.
    pub fn finish(&mut self) -> Result<Envelope, NotJson> {
        self.scanner.check_complete()?;
        Ok(Envelope(std::mem::take(&mut self.members)))
    }
}

/// Takes the first items out; the others get the room that the next ones will need, too.
fn cut_off<T: Copy>(items: &mut Vec<T>, at: usize) -> Vec<T> {
    let mut rest = Vec::with_capacity(items.len());
    rest.extend_from_slice(&items[at..]);
    items.truncate(at);
    std::mem::replace(items, rest)
}

fn cell((from, to): (usize, usize), form: Form) -> Cell {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Cell { start: narrow(from), len: narrow(to - from), form }
}

/// What a token says as text; nothing for null and nested values.
fn text_of(raw: &str) -> Option<Cow<'_, str>> {
    match value::string_content(raw) {
        Some(content) => Some(value::unescape(content).0),
        None if raw == "null" || raw.starts_with(['{', '[']) => None,
        None => Some(Cow::Borrowed(raw)),
    }
}

/// A row just split, before it is in a batch.
#[derive(Debug, Clone, Copy)]
pub struct RowView<'a> {
    /// Which of the rows that wait it will be.
    pub index: usize,
    bytes: &'a [u8],
    cells: &'a [Cell],
}

impl<'a> RowView<'a> {
    /// The text of a column; nothing for null, absent and nested values.
    pub fn text(&self, column: usize) -> Option<Cow<'a, str>> {
        let cell = self.cells.get(column).filter(|cell| cell.form != Form::Absent)?;
        let raw = &self.bytes[cell.start as usize..(cell.start + cell.len) as usize];
        match String::from_utf8_lossy(raw) {
            Cow::Borrowed(raw) => text_of(raw),
            // As the batch will have it.
            Cow::Owned(raw) => text_of(&raw).map(|text| Cow::Owned(text.into_owned())),
        }
    }

    /// The instant in a column.
    pub fn timestamp(&self, column: usize) -> Option<Timestamp> {
        Timestamp::parse(&self.text(column)?)
    }
}

/// The members of an answer that are not its rows, as raw JSON.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Envelope(Vec<(String, String)>);

impl Envelope {
    /// The raw JSON of a member; nothing where it is missing or null.
    pub fn raw(&self, name: &str) -> Option<&str> {
        let member = self.0.iter().find(|(key, _)| key == name)?;
        Some(member.1.as_str()).filter(|raw| *raw != "null")
    }

    /// A member that is text.
    pub fn text(&self, name: &str) -> Option<String> {
        value::string_content(self.raw(name)?)
            .map(|content| value::unescape(content).0.into_owned())
    }

    /// A member that is a whole number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.raw(name)?.parse().ok()
    }
}

impl Batch {
    /// Cuts a whole answer at once: rows as objects under `results`. For tests of targets.
    ///
    /// # Errors
    /// When the text is not such an answer.
    pub fn of_results(schema: Arc<Schema>, answer: &str) -> Result<Option<Self>, NotJson> {
        let placement = Placement::ByName { leave_out: Vec::new(), add_undeclared: true };
        let mut splitter = Splitter::new(Layout::Rows("results".into()), placement, schema);
        splitter.feed(answer.as_bytes(), &mut |_| Verdict::Keep)?;
        splitter.finish()?;
        Ok(splitter.cut(usize::MAX).1)
    }
}

#[cfg(test)]
mod tests;
