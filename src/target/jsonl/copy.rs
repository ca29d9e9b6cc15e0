//! Each key once in a full copy, though overlapping pages repeat rows.
//!
//! Lines that are written stay, so the first copy of a record wins, unless a later
//! one is greater by `newest_by`: that one is written too, and the earlier line is
//! left out when the copy is published. A key costs some 60 bytes of memory while
//! the copy lasts. It reads rows and keeps numbers of lines; files are not its own.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hasher};

use crate::record::batch::Row;
use crate::record::repair::Repairs;
use crate::record::value::Value;
use crate::schema::Schema;

/// The values that `newest_by` compares, as numbers; the first two columns decide.
type Rank = [i64; 2];

/// Where the copy of a record that counts was written.
#[derive(Debug, Clone, Copy)]
struct Held {
    rank: Rank,
    line: u64,
}

/// What a row is to the rows before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meeting {
    /// Its key was not there.
    New,
    /// It replaces the line with its key.
    Newer,
    /// Its key is there; it is not to be written.
    Known,
}

/// The keys of a copy in hand.
#[derive(Debug, Default)]
pub(super) struct Seen {
    keys: HashMap<u128, Held>,
    /// Lines, counted over all files of the copy, that a newer one replaces.
    superseded: BTreeSet<u64>,
    lines: u64,
    /// What the open page changed, to be taken back if it is abandoned.
    page: Vec<(u128, Option<Held>)>,
    page_from: u64,
}

impl Seen {
    /// Judges a row; one that is not [`Meeting::Known`] is the next line.
    pub(super) fn meet(&mut self, row: &Row<'_>, schema: &Schema) -> Meeting {
        let held = Held { rank: rank(row, schema), line: self.lines };
        if schema.primary_key.is_empty() {
            self.lines += 1;
            return Meeting::New;
        }
        let key = hash(&row.key());
        let before = self.keys.get(&key).copied();
        match before {
            Some(before) if before.rank >= held.rank => return Meeting::Known,
            Some(before) => self.superseded.insert(before.line),
            None => false,
        };
        self.keys.insert(key, held);
        self.page.push((key, before));
        self.lines += 1;
        if before.is_some() { Meeting::Newer } else { Meeting::New }
    }

    /// The open page is durable.
    pub(super) fn keep_page(&mut self) {
        self.page.clear();
        self.page_from = self.lines;
    }

    /// Forgets the open page.
    pub(super) fn forget_page(&mut self) {
        for (key, before) in self.page.drain(..).rev() {
            match before {
                Some(before) => {
                    self.superseded.remove(&before.line);
                    self.keys.insert(key, before);
                }
                None => {
                    self.keys.remove(&key);
                }
            }
        }
        self.lines = self.page_from;
    }

    /// The lines to leave out of a file whose first line is the `from`-th, counted in the file.
    pub(super) fn superseded_in(&self, from: u64, rows: u64) -> BTreeSet<u64> {
        self.superseded.range(from..from + rows).map(|line| line - from).collect()
    }
}

fn rank(row: &Row<'_>, schema: &Schema) -> Rank {
    let mut rank = [i64::MIN; 2];
    let known = schema.newest_by.iter().filter(|&&index| schema.columns[index].is_known());
    for (place, &index) in rank.iter_mut().zip(known) {
        *place = match row.value(index, &mut Repairs::default()) {
            Value::Null => i64::MIN,
            Value::Timestamp(at) | Value::Date(at) => at.micros(),
            Value::Bigint(number) => number,
            _ => i64::MIN + 1,
        };
    }
    rank
}

/// 128 bits of SipHash: two records in a billion billion would have to share a hash.
fn hash(key: &str) -> u128 {
    let half = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(seed);
        hasher.write(key.as_bytes());
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}
