//! Values inside JSON columns: found by their keys, in one walk, without a tree.
//!
//! An [`Inside`] is made for a schema: the columns that are taken out of another one, by
//! the keys that lead there, and perhaps a column that is flattened. It walks the text of
//! a record's object once, skips what nobody wants, and notes where the values are. Of a
//! key that an object has twice the last one counts, as in every reader of JSON. Text that
//! is no JSON gives what could be found in it. It never changes a value.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::record::{city, value};
use crate::schema::{Column, ColumnType, Origin, Schema, flattened_prefix};

/// How many keys beyond the limit are told apart; more of them are only too many.
const MOST_BEYOND: usize = 100_000;

/// What is looked for below a value.
#[derive(Debug, Default)]
struct Wanted {
    /// The columns that take the value itself.
    columns: Vec<usize>,
    /// That of them which flattening gave.
    flat: Option<usize>,
    /// What is wanted of its members.
    members: HashMap<String, Self>,
}

/// What to take out of the columns of a schema.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    /// By the column that is looked into.
    wanted: Vec<(usize, Wanted)>,
    /// Keys of the flattened column that got none of their own.
    beyond: HashSet<u64>,
    /// How many keys have one.
    keys: usize,
    /// Keys that the user does not want one for.
    left_out: HashSet<String>,
}

/// Where a value was found: its column, and its bytes in the text. Of two of one column the
/// later counts.
pub(crate) type Place = (usize, (usize, usize));

impl Inside {
    /// What a schema takes out of its columns.
    pub(crate) fn of(schema: &Schema) -> Self {
        let mut inside = Self::default();
        let flatten = schema.flatten.as_ref();
        let prefix = flatten.map(|flatten| flattened_prefix(&schema.columns[flatten.column].name));
        for (index, Column { name, origin, .. }) in schema.columns.iter().enumerate() {
            let Origin::Inside { column, path } = origin else { continue };
            let wanted = inside.want(*column, path, index);
            if prefix.as_ref().is_some_and(|prefix| name.starts_with(prefix)) {
                wanted.flat = Some(index);
                inside.keys += 1;
            }
        }
        if let Some(flatten) = flatten {
            inside.keys = inside.keys.max(flatten.reserved.len());
            inside.root(flatten.column);
        }
        inside
    }

    /// Whether there is nothing to look for.
    pub(crate) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// How many keys of the flattened column have no column of their own.
    pub(crate) fn beyond(&self) -> usize {
        self.beyond.len()
    }

    /// The columns that are looked into.
    pub(crate) fn columns(&self) -> Vec<usize> {
        self.wanted.iter().map(|(column, _)| *column).collect()
    }

    fn root(&mut self, column: usize) -> &mut Wanted {
        let at = self.wanted.iter().position(|(of, _)| *of == column).unwrap_or_else(|| {
            self.wanted.push((column, Wanted::default()));
            self.wanted.len() - 1
        });
        &mut self.wanted[at].1
    }

    fn want(&mut self, column: usize, path: &[String], into: usize) -> &mut Wanted {
        let mut wanted = self.root(column);
        for key in path {
            wanted = wanted.members.entry(key.clone()).or_default();
        }
        wanted.columns.push(into);
        wanted
    }

    /// Looks into the `json` of a column. Keys of a flattened column that have no column get
    /// one in `schema`, as far as its limit goes, and types become as wide as the values.
    pub(crate) fn find(&mut self, of: usize, json: &str, schema: &mut Grown<'_>) -> Vec<Place> {
        let mut found = Vec::new();
        if schema.flattens(of) {
            members(json, &mut |key, (from, to)| self.learn(of, key, &json[from..to], schema));
        }
        if let Some((_, wanted)) = self.wanted.iter().find(|(column, _)| *column == of) {
            wanted.find(json, 0, &mut found);
        }
        found
    }

    /// Sees that a key of the flattened column has a column, and one that is wide enough.
    fn learn(&mut self, of: usize, key: &str, raw: &str, schema: &mut Grown<'_>) {
        let Some(kind) = ColumnType::of_token(raw) else { return };
        if let Some(column) = self.root(of).members.get(key).and_then(|wanted| wanted.flat) {
            return schema.widen(column, kind, raw);
        }
        let hash = city::hash64(key.as_bytes());
        if self.beyond.contains(&hash) || self.left_out.contains(key) {
            return;
        }
        let is_reserved = schema.0.is_reserved(key);
        if self.keys >= schema.limit() && !is_reserved {
            if self.beyond.len() < MOST_BEYOND {
                self.beyond.insert(hash);
            }
            return;
        }
        match Arc::make_mut(schema.0).add_key(key, kind) {
            Some(column) => {
                self.keys += usize::from(!is_reserved);
                self.want(of, &[key.to_owned()], column).flat = Some(column);
            }
            None => drop(self.left_out.insert(key.to_owned())),
        }
    }
}

/// A schema that is copied when it first grows.
pub(crate) struct Grown<'a>(pub(crate) &'a mut Arc<Schema>);

impl Grown<'_> {
    fn flattens(&self, column: usize) -> bool {
        self.0.flatten.as_ref().is_some_and(|flatten| flatten.column == column)
    }

    fn limit(&self) -> usize {
        self.0.flatten.as_ref().map_or(0, |flatten| flatten.limit)
    }

    fn widen(&mut self, column: usize, kind: ColumnType, raw: &str) {
        let now = self.0.columns[column].kind;
        let wide = now.widened_by(kind, raw);
        if wide != now && !self.0.typed.contains(&column) {
            Arc::make_mut(self.0).columns[column].kind = wide;
        }
    }
}

impl Wanted {
    /// Notes the places of what is wanted in a value that stands at `offset`.
    fn find(&self, json: &str, offset: usize, found: &mut Vec<Place>) {
        let mut look = |key: &str, raw: &str, at: usize| {
            let Some(wanted) = self.members.get(key) else { return };
            // An earlier member of this name does not count.
            if !wanted.members.is_empty() {
                wanted.forget(found);
            }
            let place = (offset + at, offset + at + raw.len());
            found.extend(wanted.columns.iter().map(|column| (*column, place)));
            if !wanted.members.is_empty() {
                wanted.find(raw, offset + at, found);
            }
        };
        match json.as_bytes().first() {
            Some(b'{') => members(json, &mut |key, (from, to)| look(key, &json[from..to], from)),
            Some(b'[') => items(json, &mut |nth, (from, to)| {
                look(&nth.to_string(), &json[from..to], from);
            }),
            _ => {}
        }
    }

    fn forget(&self, found: &mut Vec<Place>) {
        for wanted in self.members.values() {
            found.retain(|(column, _)| !wanted.columns.contains(column));
            wanted.forget(found);
        }
    }
}

/// Where the values stand that these keys lead to, in their order.
pub(crate) fn places(json: &str, keys: &[String]) -> Vec<(usize, usize)> {
    let mut places = vec![(0, json.len())];
    for key in keys {
        let mut below = Vec::new();
        for (begin, end) in places {
            let inner = &json[begin..end];
            let mut look = |name: &str, (from, to): (usize, usize)| {
                if name == key {
                    below.push((begin + from, begin + to));
                }
            };
            match inner.as_bytes().first() {
                Some(b'{') => members(inner, &mut look),
                Some(b'[') => items(inner, &mut |nth, place| look(&nth.to_string(), place)),
                _ => {}
            }
        }
        places = below;
    }
    places
}

/// Shows the members of an object: the key, and where the value stands.
fn members(json: &str, each: &mut dyn FnMut(&str, (usize, usize))) {
    let bytes = json.as_bytes();
    if bytes.first() != Some(&b'{') {
        return;
    }
    let mut at = skip_space(bytes, 1);
    while bytes.get(at) == Some(&b'"') {
        let end = value::after_string(bytes, at + 1);
        let Some(raw) = json.get(at + 1..end.saturating_sub(1)) else { return };
        let colon = skip_space(bytes, end);
        if bytes.get(colon) != Some(&b':') {
            return;
        }
        let from = skip_space(bytes, colon + 1);
        let to = after_value(bytes, from);
        if to <= from || json.get(from..to).is_none() {
            return;
        }
        each(&value::unescape(raw).0, (from, to));
        at = match next_item(bytes, to) {
            Some(next) => next,
            None => return,
        };
    }
}

/// Shows the items of a list: their number, and where each stands.
fn items(json: &str, each: &mut dyn FnMut(usize, (usize, usize))) {
    let bytes = json.as_bytes();
    let mut from = skip_space(bytes, 1);
    for nth in 0.. {
        let to = after_value(bytes, from);
        if to <= from || json.get(from..to).is_none() {
            return;
        }
        each(nth, (from, to));
        from = match next_item(bytes, to) {
            Some(next) => next,
            None => return,
        };
    }
}

/// Where the next item or key begins, if a comma says that there is one.
fn next_item(bytes: &[u8], at: usize) -> Option<usize> {
    let comma = skip_space(bytes, at);
    (bytes.get(comma) == Some(&b',')).then(|| skip_space(bytes, comma + 1))
}

fn skip_space(bytes: &[u8], at: usize) -> usize {
    let is_space = |byte: &&u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    at + bytes.get(at..).unwrap_or_default().iter().take_while(is_space).count()
}

/// The index after the value that begins at `at`.
fn after_value(bytes: &[u8], mut at: usize) -> usize {
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
    match bytes.get(at) {
        Some(b'"') => return value::after_string(bytes, at + 1),
        Some(b'{' | b'[') => {}
        _ => {
            return at
                + bytes.get(at..).unwrap_or_default().iter().take_while(|b| !ends(b)).count();
        }
    }
    let mut depth = 0_usize;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at = value::after_string(bytes, at + 1);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::*;

    /// What is at some paths of a text, by our walk.
    fn found(json: &str, paths: &[Vec<String>]) -> Vec<Option<Json>> {
        let mut inside = Inside::default();
        for (n, path) in paths.iter().enumerate() {
            inside.want(0, path, n);
        }
        let places = inside.find(0, json, &mut Grown(&mut Arc::new(Schema::default())));
        let at = |n: usize| places.iter().rfind(|(column, _)| *column == n).map(|(_, at)| *at);
        let value = |(from, to): (usize, usize)| serde_json::from_str(&json[from..to]).unwrap();
        (0..paths.len()).map(|n| at(n).map(value)).collect()
    }

    fn pointed(json: &str, path: &[String]) -> Option<Json> {
        let escape = |key: &String| format!("/{}", key.replace('~', "~0").replace('/', "~1"));
        let json: Json = serde_json::from_str(json).unwrap();
        json.pointer(&path.iter().map(escape).collect::<String>()).cloned()
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            "[a-c\\PC{}\\[\\],:\"\\\\ \n]{0,6}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::btree_map("[ab.\"~/é]{0,2}", inner, 0..5)
                    .prop_map(|map| Json::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_a_pointer_points_to(
            json in any_json(),
            paths in prop::collection::vec(prop::collection::vec("[ab.\"~/é]{0,2}|[01]", 1..4), 1..5),
            pretty in any::<bool>(),
        ) {
            let text = if pretty { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) };
            let text = text.unwrap();
            let expected: Vec<_> = paths.iter().map(|path| pointed(&text, path)).collect();

            prop_assert_eq!(found(&text, &paths), expected);
        }

        #[test]
        fn no_text_brings_the_walk_down(text in "[{}\\[\\]:,\"\\\\ a1]{0,40}") {
            let path = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
            let mut inside = Inside::default();
            for (n, path) in [path(&["a"]), path(&["a", "a"]), path(&["1"])].iter().enumerate() {
                inside.want(0, path, n);
            }
            for (_, (from, to)) in inside.find(0, &text, &mut Grown(&mut Arc::new(Schema::default()))) {
                prop_assert!(from < to && to <= text.len());
            }
        }
    }

    #[test]
    fn of_a_key_that_comes_twice_the_last_counts() {
        let paths = [vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]];
        let json = r#"{"a":{"b":1},"c":1,"a":{"x":2},"c":2}"#;

        assert_eq!(found(json, &paths), [None, Some(Json::from(2))]);
    }
}
