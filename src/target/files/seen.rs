//! Each key once in a full copy, though overlapping pages repeat rows.
//!
//! Rows that are written stay, so the first copy of a record wins, unless a later
//! one is greater by `newest_by`: that one is written too, and the earlier row is
//! left out when the copy is published. A key costs some 60 bytes of memory while
//! the copy lasts. It reads rows and keeps their places; files are not its own.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hasher};

use crate::record::batch::Row;
use crate::record::repair::Repairs;
use crate::record::value::Value;
use crate::schema::Schema;
use crate::target::files::page::At;

/// The values that `newest_by` compares, as numbers; the first two columns decide.
type Rank = [i64; 2];

/// Where the copy of a record that counts was written.
#[derive(Debug, Clone, Copy)]
struct Held {
    rank: Rank,
    at: At,
}

/// What a row is to the rows before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meeting {
    /// Its key was not there.
    New,
    /// It replaces the row with its key.
    Newer,
    /// Its key is there; it is not to be written.
    Known,
}

/// What is remembered of a row once it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    /// Nothing where records have no key.
    key: Option<u128>,
    rank: Rank,
}

/// The keys of a copy in hand.
#[derive(Debug, Default)]
pub(super) struct Seen {
    keys: HashMap<u128, Held>,
    /// Rows that a newer one replaces; files are counted over the copy.
    superseded: BTreeSet<At>,
    /// What the open page changed, to be taken back if it is abandoned.
    page: Vec<(u128, Option<Held>)>,
}

impl Seen {
    /// Judges a row.
    pub(super) fn judge(&self, row: &Row<'_>, schema: &Schema) -> (Meeting, Claim) {
        let rank = rank(row, schema);
        if schema.primary_key.is_empty() {
            return (Meeting::New, Claim { key: None, rank });
        }
        let key = hash(&row.key());
        let meeting = match self.keys.get(&key) {
            None => Meeting::New,
            Some(before) if before.rank >= rank => Meeting::Known,
            Some(_) => Meeting::Newer,
        };
        (meeting, Claim { key: Some(key), rank })
    }

    /// A row that was judged not to be known is written.
    pub(super) fn hold(&mut self, Claim { key, rank }: Claim, at: At) {
        let Some(key) = key else { return };
        let before = self.keys.insert(key, Held { rank, at });
        self.superseded.extend(before.map(|before| before.at));
        self.page.push((key, before));
    }

    /// The open page is durable.
    pub(super) fn keep_page(&mut self) {
        self.page.clear();
    }

    /// Forgets the open page.
    pub(super) fn forget_page(&mut self) {
        for (key, before) in self.page.drain(..).rev() {
            match before {
                Some(before) => {
                    self.superseded.remove(&before.at);
                    self.keys.insert(key, before);
                }
                None => {
                    self.keys.remove(&key);
                }
            }
        }
    }

    /// The rows to leave out of a file of the copy.
    pub(super) fn superseded_in(&self, file: u32) -> BTreeSet<u32> {
        let first = At { file, row: 0 };
        self.superseded.range(first..=At { file, row: u32::MAX }).map(|at| at.row).collect()
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
