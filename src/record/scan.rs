//! Finding rows and their fields in bytes that arrive in pieces.
//!
//! One pass over each byte and no tree: the scanner knows where it stands in the
//! answer (between members, between rows, inside a value) and notes where keys and
//! values begin and end. It can stop after any byte and go on when more is there.
//! It checks the structure it walks through, not the spelling of scalars, and knows
//! nothing of columns.

use crate::record::bytes::closing_quote;

/// More bytes than this that say nothing, and the answer is refused: it may never end.
const MOST_FILLER: usize = 1 << 20;

/// What the rows of an answer look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// An object with an array of rows under this name.
    Rows(String),
    /// The answer itself is the only row.
    Single,
}

/// The place of a key and its value, as offsets into the scanned bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) key: (usize, usize),
    pub(crate) value: (usize, usize),
}

/// The bytes are not the JSON that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotJson(pub String);

/// What the scanner came upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A row is complete; its fields are in [`Scanner::fields`].
    Row,
    /// A member beside the rows is complete.
    Member(Field),
    /// Every byte there is has been walked through.
    NeedsMore,
}

/// Whose keys and values are being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Answer,
    ObjectRow,
    ArrayRow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    BeforeAnswer,
    /// Between two keys, or two items of an array row.
    Between(Owner),
    InKey(Owner),
    BeforeColon(Owner),
    BeforeValue(Owner),
    InScalar(Owner),
    /// A string that is a value, or inside of one at this depth.
    InString(Owner, u32),
    InNested(Owner, u32),
    BetweenRows,
    AfterAnswer,
}

/// Walks through an answer.
#[derive(Debug)]
pub(crate) struct Scanner {
    layout: Layout,
    state: State,
    pos: usize,
    /// Where the row or the member being read begins.
    in_hand: usize,
    saw_rows: bool,
    /// How many bytes since the last that said something.
    filler: usize,
    /// Whether the row in hand is an object; else it is an array.
    row_is_object: bool,
    key: (usize, usize),
    value_start: usize,
    fields: Vec<Field>,
}

impl Scanner {
    pub(crate) fn new(layout: Layout) -> Self {
        let (state, key) = (State::BeforeAnswer, (0, 0));
        Self {
            layout,
            state,
            pos: 0,
            in_hand: 0,
            saw_rows: false,
            filler: 0,
            row_is_object: false,
            key,
            value_start: 0,
            fields: Vec::new(),
        }
    }

    /// The fields of the row just found.
    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Whether the row just found is an object.
    pub(crate) fn row_is_object(&self) -> bool {
        self.row_is_object
    }

    /// The offset of the next byte to walk through.
    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    /// Whether the answer ended where it should and held what was asked for.
    ///
    /// An object without the array of rows is an error somebody wrapped in a 200; taken for
    /// an empty page it would end a stream early.
    pub(crate) fn check_complete(&self) -> Result<(), NotJson> {
        match &self.layout {
            _ if self.state != State::AfterAnswer => {
                Err(NotJson("the answer broke off before its end".into()))
            }
            Layout::Rows(name) if !self.saw_rows => {
                Err(NotJson(format!("the answer has no list of records at `{name}`")))
            }
            _ => Ok(()),
        }
    }

    /// The lowest offset that is still needed for what is in hand.
    pub(crate) fn needed_from(&self) -> usize {
        match self.state {
            State::BeforeAnswer
            | State::BetweenRows
            | State::AfterAnswer
            | State::Between(Owner::Answer) => self.pos,
            _ => self.in_hand,
        }
    }

    /// Forgets so many bytes at the front: every offset moves down.
    pub(crate) fn shift(&mut self, by: usize) {
        let down = |at: &mut usize| *at = at.saturating_sub(by);
        down(&mut self.pos);
        down(&mut self.in_hand);
        down(&mut self.key.0);
        down(&mut self.key.1);
        down(&mut self.value_start);
        for field in &mut self.fields {
            field.key = (field.key.0.saturating_sub(by), field.key.1.saturating_sub(by));
            field.value = (field.value.0.saturating_sub(by), field.value.1.saturating_sub(by));
        }
    }

    /// Walks on until something is complete or the bytes end.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Result<Found, NotJson> {
        while self.pos < bytes.len() {
            let found = match self.state {
                State::InKey(owner) => self.in_key(bytes, owner),
                State::InString(owner, depth) => self.in_string(bytes, owner, depth),
                State::InNested(owner, depth) => self.in_nested(bytes, owner, depth),
                State::InScalar(owner) => self.in_scalar(bytes, owner),
                _ => self.structure(bytes)?,
            };
            if let Some(found) = found {
                return Ok(found);
            }
        }
        Ok(Found::NeedsMore)
    }

    /// Handles one byte outside of keys and values.
    fn structure(&mut self, bytes: &[u8]) -> Result<Option<Found>, NotJson> {
        let byte = bytes[self.pos];
        if self.is_filler(byte) {
            self.pos += 1;
            self.filler += 1;
            return match self.filler > MOST_FILLER {
                true => Err(NotJson(format!("{MOST_FILLER} bytes that say nothing"))),
                false => Ok(None),
            };
        }
        self.filler = 0;
        let state = match (self.state, byte) {
            (State::BeforeAnswer, b'{') if self.layout == Layout::Single => self.begin_row(byte),
            (State::BeforeAnswer, b'{') => State::Between(Owner::Answer),
            (State::Between(Owner::ArrayRow), b']') | (State::Between(Owner::ObjectRow), b'}') => {
                return Ok(Some(self.end_row()));
            }
            (State::Between(Owner::Answer), b'}') => State::AfterAnswer,
            (State::Between(Owner::ArrayRow), _) => {
                return self.begin_value(byte, Owner::ArrayRow);
            }
            (State::Between(owner), b'"') => {
                self.key = (self.pos + 1, self.pos + 1);
                if owner == Owner::Answer {
                    self.in_hand = self.pos;
                }
                State::InKey(owner)
            }
            (State::BeforeColon(owner), b':') => State::BeforeValue(owner),
            (State::BeforeValue(Owner::Answer), b'[') if self.names_rows(bytes) => {
                self.saw_rows = true;
                State::BetweenRows
            }
            (State::BeforeValue(owner), _) => return self.begin_value(byte, owner),
            (State::BetweenRows, b'{' | b'[') => self.begin_row(byte),
            (State::BetweenRows, b']') => State::Between(Owner::Answer),
            (state, byte) => return Err(unexpected(state, byte)),
        };
        self.pos += 1;
        self.state = state;
        Ok(None)
    }

    /// White space and commas; a byte order mark may stand before the answer.
    fn is_filler(&self, byte: u8) -> bool {
        match self.state {
            State::BeforeAnswer => matches!(byte, 0xef | 0xbb | 0xbf) || byte.is_ascii_whitespace(),
            State::Between(_) | State::BetweenRows => byte == b',' || byte.is_ascii_whitespace(),
            _ => byte.is_ascii_whitespace(),
        }
    }

    fn begin_row(&mut self, byte: u8) -> State {
        self.row_is_object = byte == b'{';
        self.fields.clear();
        self.in_hand = self.pos;
        State::Between(if self.row_is_object { Owner::ObjectRow } else { Owner::ArrayRow })
    }

    fn end_row(&mut self) -> Found {
        self.pos += 1;
        self.state = match self.layout {
            Layout::Single => State::AfterAnswer,
            Layout::Rows(_) => State::BetweenRows,
        };
        Found::Row
    }

    fn begin_value(&mut self, byte: u8, owner: Owner) -> Result<Option<Found>, NotJson> {
        if matches!(byte, b'}' | b']' | b',' | b':') {
            return Err(unexpected(self.state, byte));
        }
        self.value_start = self.pos;
        if owner == Owner::ArrayRow {
            self.key = (self.pos, self.pos);
        }
        self.state = match byte {
            b'"' => State::InString(owner, 0),
            b'{' | b'[' => State::InNested(owner, 1),
            _ => State::InScalar(owner),
        };
        self.pos += 1;
        Ok(None)
    }

    fn in_key(&mut self, bytes: &[u8], owner: Owner) -> Option<Found> {
        if let Some(end) = closing_quote(bytes, &mut self.pos) {
            self.key.1 = end;
            self.state = State::BeforeColon(owner);
        }
        None
    }

    fn in_string(&mut self, bytes: &[u8], owner: Owner, depth: u32) -> Option<Found> {
        closing_quote(bytes, &mut self.pos)?;
        if depth == 0 {
            return self.end_value(owner);
        }
        self.state = State::InNested(owner, depth);
        None
    }

    fn in_nested(&mut self, bytes: &[u8], owner: Owner, mut depth: u32) -> Option<Found> {
        while self.pos < bytes.len() {
            let byte = bytes[self.pos];
            self.pos += 1;
            match byte {
                b'"' if closing_quote(bytes, &mut self.pos).is_none() => {
                    self.state = State::InString(owner, depth);
                    return None;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        return self.end_value(owner);
                    }
                }
                _ => {}
            }
        }
        self.state = State::InNested(owner, depth);
        None
    }

    fn in_scalar(&mut self, bytes: &[u8], owner: Owner) -> Option<Found> {
        let ends = |b: &u8| matches!(b, b',' | b'}' | b']') || b.is_ascii_whitespace();
        match bytes[self.pos..].iter().position(ends) {
            None => {
                self.pos = bytes.len();
                None
            }
            Some(len) => {
                self.pos += len;
                self.end_value(owner)
            }
        }
    }

    fn end_value(&mut self, owner: Owner) -> Option<Found> {
        let field = Field { key: self.key, value: (self.value_start, self.pos) };
        self.state = State::Between(owner);
        if owner == Owner::Answer {
            return Some(Found::Member(field));
        }
        self.fields.push(field);
        None
    }

    fn names_rows(&self, bytes: &[u8]) -> bool {
        matches!(&self.layout, Layout::Rows(name) if bytes[self.key.0..self.key.1] == *name.as_bytes())
    }
}

fn unexpected(state: State, byte: u8) -> NotJson {
    let place = match state {
        State::BeforeAnswer => "at its start",
        State::AfterAnswer => "after its end",
        State::BetweenRows => "where a record should be",
        _ => "inside",
    };
    NotJson(format!("the answer is not the JSON asked for: `{}` {place}", byte.escape_ascii()))
}
