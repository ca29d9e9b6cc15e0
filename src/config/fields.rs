//! Reading a map key by key: typed reads that complain instead of failing.
//!
//! [`Fields`] remembers every key it was asked for; [`Fields::finish`] then refuses
//! the rest and names the nearest of those. A read that fails adds a complaint and
//! gives nothing, so that a whole file is judged in one pass. What the keys mean is
//! the reader's matter.

use std::time::Duration;

use super::complaint::{At, Complaints};
use super::duration::parse_duration;
use super::node::{Key, Kind, Node};

/// One map being read. A key whose value is null counts as not given.
#[derive(Debug)]
#[must_use = "finish() is what refuses unknown keys"]
pub struct Fields<'n, 'c> {
    at: At,
    path: String,
    entries: &'n [(Key, Node)],
    /// False where there was no map: that was said, missing keys need not be.
    is_map: bool,
    known: Vec<&'static str>,
    refused: Vec<&'static str>,
    complaints: &'c Complaints,
}

impl<'n, 'c> Fields<'n, 'c> {
    /// Begins to read `node`, found under `path`. Null is an empty map.
    pub fn of(node: &'n Node, path: &str, complaints: &'c Complaints) -> Self {
        let (entries, is_map): (&[_], _) = match &node.kind {
            Kind::Map(entries) => (entries, true),
            Kind::Null => (&[], true),
            _ => {
                complaints.expected("a map of keys and values", node, path);
                (&[], false)
            }
        };
        let (at, path) = (node.at, path.to_owned());
        Self { at, path, entries, is_map, known: Vec::new(), refused: Vec::new(), complaints }
    }

    /// Where the map begins.
    pub fn at(&self) -> At {
        self.at
    }

    /// The path of a key of this map.
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Complains of the value of `key`, or of the map where the key is not given.
    pub fn complain(&self, key: &str, message: impl Into<String>) {
        let given = self.entries.iter().find(|(k, _)| k.text == key);
        let at = given.map_or(self.at, |(_, value)| value.at);
        self.complaints.add(at, &self.path_of(key), message);
    }

    /// Complains of what is below this map, at its place or else at the map's.
    pub fn complain_at(&self, at: Option<At>, key: &str, message: impl Into<String>) {
        self.complaints.add(at.unwrap_or(self.at), &self.path_of(key), message);
    }

    /// Complains that `node`, found below `key`, should be `what` and is not.
    pub fn expected(&self, what: &str, node: &Node, key: &str) {
        self.complaints.expected(what, node, &self.path_of(key));
    }

    /// The value of `key`, whatever it is; from here on the key is a known one.
    pub fn node(&mut self, key: &'static str) -> Option<&'n Node> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let (_, node) = self.entries.iter().find(|(k, _)| k.text == key)?;
        (!node.is_null()).then_some(node)
    }

    /// The value of `key`, which must be given.
    pub fn required(&mut self, key: &'static str) -> Option<&'n Node> {
        let node = self.node(key);
        if node.is_none() && self.is_map {
            self.complaints.add(self.at, &self.path, format!("missing key \"{key}\""));
        }
        node
    }

    /// A text that must be given; empty where it was not, which has been said.
    pub fn text(&mut self, key: &'static str) -> String {
        let node = self.required(key);
        let text = node.and_then(|node| self.text_of(key, node));
        if text == Some("") {
            self.complain(key, "must not be empty");
        }
        text.unwrap_or_default().to_owned()
    }

    /// A text. Unquoted numbers count as text.
    pub fn opt_text(&mut self, key: &'static str) -> Option<&'n str> {
        self.opt_text_at(key).map(|(text, _)| text)
    }

    /// A text and where it stands.
    pub fn opt_text_at(&mut self, key: &'static str) -> Option<(&'n str, At)> {
        let node = self.node(key)?;
        self.text_of(key, node).map(|text| (text, node.at))
    }

    /// What a `url` says, or nothing yet where there is none; a complaint where it cannot be read.
    pub fn of_url<T: Default>(&mut self, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let Some(url) = self.opt_text("url") else { return Some(T::default()) };
        read(url).map_err(|message| self.complain("url", message)).ok()
    }

    /// Hands each of these texts that is given to `set`; false where it refused one.
    pub fn set_texts(
        &mut self,
        keys: impl IntoIterator<Item = &'static str>,
        mut set: impl FnMut(&str, &str) -> Result<(), String>,
    ) -> bool {
        let mut right = true;
        for key in keys {
            let Some(text) = self.opt_text(key) else { continue };
            if let Err(message) = set(key, text) {
                self.complain(key, message);
                right = false;
            }
        }
        right
    }

    /// A boolean.
    pub fn opt_bool(&mut self, key: &'static str) -> Option<bool> {
        self.read(key, "true or false", Node::boolean)
    }

    /// A whole number, not below zero.
    pub fn opt_integer(&mut self, key: &'static str) -> Option<u64> {
        self.read(key, "a whole number", |node| node.plain()?.parse().ok())
    }

    /// A whole number, not below one.
    pub fn opt_positive(&mut self, key: &'static str) -> Option<u64> {
        let number = self.opt_integer(key);
        if number == Some(0) {
            self.complain(key, "expected a number from 1 on");
        }
        number
    }

    /// A number.
    pub fn opt_number(&mut self, key: &'static str) -> Option<f64> {
        self.read(key, "a number", |node| {
            node.plain()?.parse().ok().filter(|n: &f64| n.is_finite())
        })
    }

    /// A span of time such as `3d`.
    pub fn opt_duration(&mut self, key: &'static str) -> Option<Duration> {
        self.read(key, "a duration like 30s, 10m, 2h or 3d", |node| parse_duration(node.text()?))
    }

    /// One of several words, each with what it stands for. `what` names them in the complaint.
    pub fn opt_choice<T: Copy>(
        &mut self,
        key: &'static str,
        what: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let node = self.node(key)?;
        let text = self.text_of(key, node)?;
        let found = choices.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.complaints.unknown_value(what, text, &names, node.at, &self.path_of(key));
        }
        found.map(|(_, value)| *value)
    }

    /// Several texts: a list, or one text with commas.
    pub fn opt_texts(&mut self, key: &'static str) -> Option<Vec<&'n str>> {
        let node = self.node(key)?;
        let texts: Vec<&str> = match &node.kind {
            Kind::List(items) => items.iter().filter_map(|item| self.text_of(key, item)).collect(),
            _ => self.text_of(key, node)?.split(',').map(str::trim).collect(),
        };
        if texts.iter().any(|text| text.is_empty()) {
            self.complaints.add(node.at, &self.path_of(key), "an empty name");
        }
        Some(texts)
    }

    /// The items of a list; none where it is not given.
    pub fn list(&mut self, key: &'static str) -> &'n [Node] {
        let items = self.read(key, "a list", |node| match &node.kind {
            Kind::List(items) => Some(items.as_slice()),
            _ => None,
        });
        items.unwrap_or_default()
    }

    /// The entries of a map whose keys are names, in their order; none where it is not given.
    pub fn map(&mut self, key: &'static str) -> &'n [(Key, Node)] {
        let entries = self.read(key, "a map of keys and values", |node| match &node.kind {
            Kind::Map(entries) => Some(entries.as_slice()),
            _ => None,
        });
        entries.unwrap_or_default()
    }

    /// A map with keys of its own, to be read and finished like this one.
    pub fn fields(&mut self, key: &'static str) -> Option<Self> {
        let node = self.node(key)?;
        Some(Self::of(node, &self.path_of(key), self.complaints))
    }

    /// A map that is an item of the list `key`, to be read and finished like this one.
    pub fn nested(&self, item: &'n Node, key: &str) -> Self {
        Self::of(item, &self.path_of(key), self.complaints)
    }

    /// A value that `convert` understands; `what` says what was expected where it does not.
    pub fn read<T>(
        &mut self,
        key: &'static str,
        what: &str,
        convert: impl FnOnce(&'n Node) -> Option<T>,
    ) -> Option<T> {
        let node = self.node(key)?;
        let value = convert(node);
        if value.is_none() {
            self.expected(what, node, key);
        }
        value
    }

    /// Refuses those of `keys` that are given, each with the message made of it.
    pub fn refuse(&mut self, keys: &[&'static str], message: impl Fn(&str) -> String) {
        for (key, _) in self.entries {
            if keys.contains(&key.text.as_str()) {
                self.complaints.add(key.at, &self.path, message(&key.text));
            }
        }
        self.refused.extend(keys);
    }

    /// Refuses every key that was neither asked for nor refused before.
    pub fn finish(self) {
        for (key, _) in self.entries {
            let text = key.text.as_str();
            if !self.known.contains(&text) && !self.refused.contains(&text) {
                self.complaints.unknown_key(text, &self.known, key.at, &self.path);
            }
        }
    }

    fn text_of(&self, key: &str, node: &'n Node) -> Option<&'n str> {
        let text = node.text();
        if text.is_none() {
            self.expected("text", node, key);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    /// What is complained of when `read` has read the map in `source`.
    fn complaints(source: &str, read: impl Fn(&mut Fields<'_, '_>)) -> String {
        told(source, Complaints::new(), read)
    }

    fn told(source: &str, complaints: Complaints, read: impl Fn(&mut Fields<'_, '_>)) -> String {
        let node = parse(source).unwrap();
        let mut fields = Fields::of(&node, "top", &complaints);
        read(&mut fields);
        fields.finish();
        complaints.into_result("f", None).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn every_type_is_read() {
        let node = parse("{ t: x, n: 12, b: True, d: 2h, l: [a], c: 'a, b', m: { k: v }, z: }");
        let (node, complaints) = (node.unwrap(), Complaints::new());
        let mut fields = Fields::of(&node, "", &complaints);

        assert_eq!(fields.text("t"), "x");
        assert_eq!(fields.opt_text("n"), Some("12"));
        assert_eq!((fields.opt_integer("n"), fields.opt_number("n")), (Some(12), Some(12.0)));
        assert_eq!(fields.opt_bool("b"), Some(true));
        assert_eq!(fields.opt_duration("d"), Some(Duration::from_secs(7200)));
        assert_eq!(fields.list("l").len(), 1);
        assert_eq!(fields.opt_texts("l"), Some(vec!["a"]));
        assert_eq!(fields.opt_texts("c"), Some(vec!["a", "b"]));
        assert_eq!(fields.map("m")[0].0.text, "k");
        assert_eq!(fields.opt_text("z"), None);
        assert_eq!(fields.opt_choice("t", "letter", &[("x", 1)]), Some(1));
        fields.finish();
        assert_eq!(complaints.into_result("", None), Ok(()));
    }

    #[test]
    fn a_wrong_value_is_told_with_what_was_expected() {
        let number = "expected a whole number, found";
        for (source, expected) in [
            ("k: x", format!("f:1:4: top.k: {number} \"x\"")),
            ("k: '1'", format!("f:1:4: top.k: {number} the text \"1\"")),
            ("k: [1]", format!("f:1:4: top.k: {number} a list")),
            ("k: {a: 1}", format!("f:1:4: top.k: {number} a map")),
            ("k: -1", format!("f:1:4: top.k: {number} \"-1\"")),
        ] {
            assert_eq!(complaints(source, |f| assert_eq!(f.opt_integer("k"), None)), expected);
        }
    }

    #[test]
    fn every_read_says_what_it_expects() {
        type Read = fn(&mut Fields<'_, '_>);
        let reads: [(Read, &str); 7] = [
            (|f| assert_eq!(f.opt_text("k"), None), "expected text, found a map"),
            (|f| drop(f.opt_texts("k")), "expected text, found a map"),
            (|f| assert_eq!(f.opt_bool("k"), None), "expected true or false, found a map"),
            (|f| assert_eq!(f.opt_number("k"), None), "expected a number, found a map"),
            (
                |f| assert_eq!(f.opt_duration("k"), None),
                "expected a duration like 30s, 10m, 2h or 3d, found a map",
            ),
            (|f| assert!(f.list("k").is_empty()), "expected a list, found a map"),
            (|f| f.fields("k").unwrap().finish(), "unknown key \"a\", none is known here"),
        ];
        for (read, expected) in reads {
            let told = complaints("k: {a: 1}", read);
            assert!(told.ends_with(expected), "{told}");
        }
    }

    #[test]
    fn unquoted_braces_get_a_hint() {
        assert_eq!(
            complaints("k: {stream_name}", |f| assert_eq!(f.opt_text("k"), None)),
            "f:1:4: top.k: expected text, found a map; \
             braces at the start need quotes: \"{stream_name}\""
        );
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let told = complaints("{ mod: a, colour: b, size: big, sql: x }", |fields| {
            fields.text("object");
            fields.opt_choice("mode", "mode", &[("a", 1)]);
            fields.opt_choice("size", "size", &[("small", 1), ("large", 2)]);
            fields.refuse(&["sql"], |key| format!("no {key}"));
        });

        assert_eq!(
            told,
            "f:1:1: top: missing key \"object\"\n\
             f:1:3: top: unknown key \"mod\", did you mean \"mode\"?\n\
             f:1:11: top: unknown key \"colour\", known: object, mode, size\n\
             f:1:28: top.size: unknown size \"big\", known: small, large\n\
             f:1:33: top: no sql"
        );
    }

    #[test]
    fn what_is_no_map_is_told_once() {
        assert_eq!(
            complaints("[1]", |fields| drop(fields.text("object"))),
            "f:1:1: top: expected a map of keys and values, found a list"
        );
    }

    #[test]
    fn values_that_may_be_secret_are_not_repeated() {
        for source in
            ["{ n: hunter22 }", "{ n: 'hunter22' }", "{ n: {hunter22} }", "{ n:hunter22 }"]
        {
            let told = told(source, Complaints::hiding_values(), |fields| {
                fields.opt_integer("n");
                fields.opt_choice("n", "size", &[("small", 1)]);
            });
            assert!(!told.is_empty() && !told.contains("hunter22"), "{told}");
        }
    }
}
