//! Any bytes into the splitter, held against `serde_json`:
//!
//! ```console
//! $ cargo install cargo-fuzz
//! $ cargo +nightly fuzz run --fuzz-dir tests/fuzz split
//! ```
//!
//! The first byte chooses how the answer arrives; the rest is the answer. Wherever its pieces
//! end, the same rows come out; an answer that `serde_json` reads comes out as it reads it; and
//! what is written of a row is JSON, whatever came in.

#![no_main]

use std::collections::BTreeMap;
use std::fmt::Formatter;
use std::sync::Arc;

use hogline::record::batch::Batch;
use hogline::record::repair::Repairs;
use hogline::record::split::{Layout, Placement, Splitter, Verdict};
use hogline::schema::{Column, ColumnType, Origin, Schema};
use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The fields of every row, as they came and as they are written.
type Rows = Vec<Vec<(String, String)>>;

fuzz_target!(|input: &[u8]| {
    let Some((&how, answer)) = input.split_first() else { return };
    let in_places = how & 1 == 1;
    let size = 1 + usize::from(how >> 1);

    let rows = split(answer, size, in_places);

    assert_eq!(rows, split(answer, answer.len().max(1), in_places), "in pieces of {size}");
    for (_, written) in rows.iter().flatten().flatten() {
        let read = serde_json::from_str::<&RawValue>(written);
        assert!(read.is_ok(), "{read:?}: {written}");
    }
    if let Some(expected) = by_serde(answer, in_places) {
        let rows = rows.expect("it is what was asked for");
        let raw = |row: &Vec<(String, String)>| sorted(row.iter().map(|(raw, _)| raw.clone()));
        assert_eq!(rows.iter().map(raw).collect::<Vec<_>>(), expected);
    }
});

/// The rows, where the answer is one.
fn split(answer: &[u8], size: usize, in_places: bool) -> Option<Rows> {
    let column = |name: &str, kind| Column { name: name.into(), kind, origin: Origin::Field };
    let columns = vec![column("id", ColumnType::Bigint), column("properties", ColumnType::Json)];
    let schema = Schema { columns, primary_key: vec![0], ..Schema::default() };
    let placement = match in_places {
        true => Placement::ByPosition(vec![0, 1]),
        false => Placement::ByName { leave_out: Vec::new(), add_undeclared: true },
    };
    let layout = Layout::Rows("results".into());
    let mut splitter = Splitter::new(layout, placement, Arc::new(schema));
    let mut rows = Rows::new();
    for piece in answer.chunks(size) {
        splitter.feed(piece, &mut |_| Verdict::Keep).ok()?;
        while let (_, Some(batch)) = splitter.cut(2) {
            rows.extend(fields(&batch));
        }
    }
    splitter.finish().ok()?;
    Some(rows)
}

fn fields(batch: &Batch) -> impl Iterator<Item = Vec<(String, String)>> {
    let count = batch.schema().columns.len();
    batch.rows().map(move |row| {
        let there = (0..count).filter(|n| !row.raw(*n).is_empty());
        let field = |n: usize| {
            let mut written = Vec::new();
            row.write_json(n, &mut Repairs::default(), &mut written);
            (row.raw(n).to_owned(), String::from_utf8(written).unwrap())
        };
        there.map(field).collect()
    })
}

/// The values of every row, where the answer is JSON of the layout and no name recurs in it.
fn by_serde(answer: &[u8], in_places: bool) -> Option<Vec<Vec<String>>> {
    let answer: Pairs<'_> = serde_json::from_slice(answer).ok()?;
    let results = answer.distinct()?.remove("results")?.get();
    let texts = |values: Vec<&RawValue>| sorted(values.into_iter().map(RawValue::to_string));
    if in_places {
        let rows: Vec<Vec<&RawValue>> = serde_json::from_str(results).ok()?;
        let is_right = rows.iter().all(|row| row.len() == 2);
        return is_right.then(|| rows.into_iter().map(texts).collect());
    }
    let rows: Vec<Pairs<'_>> = serde_json::from_str(results).ok()?;
    rows.into_iter().map(|row| Some(texts(row.distinct()?.into_values().collect()))).collect()
}

fn sorted(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut values: Vec<String> = values.collect();
    values.sort();
    values
}

/// The members of an object, in order.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Pairs<'a> {
    /// The members by name, where none recurs.
    fn distinct(self) -> Option<BTreeMap<String, &'a RawValue>> {
        let count = self.0.len();
        let members: BTreeMap<_, _> = self.0.into_iter().collect();
        (members.len() == count).then_some(members)
    }
}

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(Members)
    }
}
