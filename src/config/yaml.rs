//! YAML with positions: a text becomes a tree of [`Node`]s that know where they stand.
//!
//! Aliases and merge keys (`<<`) are applied here, within a budget, so that a
//! small file cannot grow without end; keys given twice are refused. The tree is
//! built from the parser's events with a stack of our own, because deep nesting
//! must be an error and not a stack overflow.
//!
//! The only user of yaml-rust2. Knows no key by name.

use std::collections::HashMap;

use yaml_rust2::parser::{Event, Parser, Tag};
use yaml_rust2::scanner::{Marker, ScanError, TScalarStyle};

use super::braces::Braces;
use super::complaint::{At, Complaint};
use super::node::{Key, Kind, Node};

/// Far deeper than any configuration; small enough to walk a tree by recursion.
const DEEPEST: usize = 64;

/// Nodes of one text with its aliases resolved: a large registry has thousands, a
/// bomb of nested aliases billions.
const MOST_NODES: usize = 100_000;

/// Reads the one document of a text; an empty text is a null.
///
/// # Errors
/// The first thing that is not YAML, or that we refuse of it.
pub fn parse(source: &str) -> Result<Node, Complaint> {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let start = At { line: 1, col: 1 };
    if let Some(index) = source.find('\0') {
        // The parser would take it for the end and drop the rest unseen.
        return Err(complaint(position(source, index), "a NUL character has no place in YAML"));
    }
    let braces = Braces::absent_from(source)
        .ok_or_else(|| complaint(start, "the text uses every private character of Unicode"))?;
    let masked = braces.mask(source);
    let mut parser = Parser::new_from_str(&masked);
    let mut tree = Tree::new(braces);
    loop {
        let (event, mark) = parser.next_token().map_err(|error| syntax(&error))?;
        if event == Event::StreamEnd {
            return Ok(tree.root.unwrap_or(Node { at: start, kind: Kind::Null }));
        }
        tree.take(event, place(mark))?;
    }
}

/// Where the byte at `index` stands.
fn position(source: &str, index: usize) -> At {
    let before = &source[..index];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = 1 + before.matches('\n').count();
    At { line, col: 1 + before[line_start..].chars().count() }
}

/// The parser counts lines from 1 but columns from 0.
fn place(mark: Marker) -> At {
    At { line: mark.line(), col: mark.col() + 1 }
}

fn complaint(at: At, message: impl Into<String>) -> Complaint {
    Complaint { at: Some(at), path: String::new(), message: message.into() }
}

/// What the parser refused, in our words where its own are dark.
fn syntax(error: &ScanError) -> Complaint {
    let message = match error.info() {
        info if info.contains("tab") => "YAML is indented with spaces, not with tabs".to_owned(),
        "mapping values are not allowed in this context" => {
            "a second colon in one line: quote the value, or begin a new line".to_owned()
        }
        info => format!("not valid YAML: {info}"),
    };
    complaint(place(*error.marker()), message)
}

/// The tree as far as it is built.
struct Tree {
    braces: Braces,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
}

/// A list or map whose end has not come yet.
struct Open {
    at: At,
    anchor: usize,
    content: Content,
}

/// What an [`Open`] holds so far.
enum Content {
    List(Vec<Node>),
    Map(Entries),
}

/// A map being built.
#[derive(Default)]
struct Entries {
    list: Vec<(Key, Node)>,
    seen: HashMap<String, At>,
    /// The values of `<<`.
    merged: Vec<Node>,
    /// The key whose value comes next.
    next: Option<NextKey>,
}

/// A key that waits for its value.
enum NextKey {
    Named(Key),
    Merge,
}

impl Tree {
    fn new(braces: Braces) -> Self {
        Self { braces, open: Vec::new(), anchors: HashMap::new(), root: None, nodes: 0 }
    }

    /// Adds what the parser found next.
    fn take(&mut self, event: Event, at: At) -> Result<(), Complaint> {
        match event {
            Event::DocumentStart if self.root.is_some() => {
                Err(complaint(at, "a second document begins here; a file holds one"))
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == TScalarStyle::Plain && !is_string(tag.as_ref(), at)?;
                self.scalar(&text, plain, anchor, at)
            }
            Event::SequenceStart(anchor, tag) => {
                is_string(tag.as_ref(), at)?;
                self.enter(Open { at, anchor, content: Content::List(Vec::new()) })
            }
            Event::MappingStart(anchor, tag) => {
                is_string(tag.as_ref(), at)?;
                self.enter(Open { at, anchor, content: Content::Map(Entries::default()) })
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Alias(anchor) => self.alias(anchor, at),
            _ => Ok(()),
        }
    }

    fn scalar(&mut self, text: &str, plain: bool, anchor: usize, at: At) -> Result<(), Complaint> {
        let text = self.braces.restore(text);
        if let Some(entries) = self.awaiting_key() {
            return entries.name(text, plain, at);
        }
        let kind = match text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" if plain => Kind::Null,
            _ if plain => Kind::Plain(text),
            _ => Kind::Quoted(text),
        };
        self.place(Node { at, kind }, anchor, 1)
    }

    /// The map that expects a key now, if that is what comes next.
    fn awaiting_key(&mut self) -> Option<&mut Entries> {
        match &mut self.open.last_mut()?.content {
            Content::Map(entries) if entries.next.is_none() => Some(entries),
            _ => None,
        }
    }

    fn enter(&mut self, open: Open) -> Result<(), Complaint> {
        if self.awaiting_key().is_some() {
            return Err(complaint(open.at, "a key must be text"));
        }
        if self.open.len() >= DEEPEST {
            return Err(too_deep(open.at));
        }
        self.open.push(open);
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Complaint> {
        let Some(Open { at, anchor, content }) = self.open.pop() else { return Ok(()) };
        let node = match content {
            Content::List(items) => Node { at, kind: Kind::List(items) },
            Content::Map(entries) => entries.into_node(at)?,
        };
        self.place(node, anchor, 1)
    }

    fn alias(&mut self, anchor: usize, at: At) -> Result<(), Complaint> {
        if self.awaiting_key().is_some() {
            return Err(complaint(at, "a key must be text, not an alias"));
        }
        let node = self.anchors.get(&anchor);
        let node = node.ok_or_else(|| complaint(at, "an alias inside of what it stands for"))?;
        let (count, depth) = node.measure();
        if self.open.len() + depth > DEEPEST {
            return Err(too_deep(at));
        }
        if self.nodes + count > MOST_NODES {
            return Err(too_many(at));
        }
        let copy = node.clone();
        self.place(copy, 0, count)
    }

    /// Puts a finished node where it belongs; `count` is what it adds to the budget.
    fn place(&mut self, node: Node, anchor: usize, count: usize) -> Result<(), Complaint> {
        self.nodes += count;
        if self.nodes > MOST_NODES {
            return Err(too_many(node.at));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map(entries)) => entries.give(node),
        }
        Ok(())
    }
}

impl Entries {
    /// Takes the next key.
    fn name(&mut self, text: String, plain: bool, at: At) -> Result<(), Complaint> {
        if plain && text == "<<" {
            self.next = Some(NextKey::Merge);
            return Ok(());
        }
        if let Some(first) = self.seen.insert(text.clone(), at) {
            let message = format!("key \"{text}\" is given twice, first in line {}", first.line);
            return Err(complaint(at, message));
        }
        self.next = Some(NextKey::Named(Key { at, text }));
        Ok(())
    }

    /// Takes the value of the key before.
    fn give(&mut self, value: Node) {
        match self.next.take() {
            Some(NextKey::Named(key)) => self.list.push((key, value)),
            Some(NextKey::Merge) => self.merged.push(value),
            None => {}
        }
    }

    /// The finished map. What it says itself wins over what it merges, earlier merges over later.
    fn into_node(mut self, at: At) -> Result<Node, Complaint> {
        // The parser puts a block mapping behind its first key.
        let first = self.list.first().map_or(at, |(key, _)| key.at);
        for value in std::mem::take(&mut self.merged) {
            let sources = match value.kind {
                Kind::List(items) => items,
                _ => vec![value],
            };
            for source in sources {
                let Kind::Map(entries) = source.kind else {
                    return Err(complaint(source.at, "`<<` merges a map or a list of maps"));
                };
                for (key, value) in entries {
                    if self.seen.insert(key.text.clone(), key.at).is_none() {
                        self.list.push((key, value));
                    }
                }
            }
        }
        Ok(Node { at: at.min(first), kind: Kind::Map(self.list) })
    }
}

/// Whether a tag makes a scalar a text.
///
/// # Errors
/// Any other tag: it would ask for a meaning we do not give.
fn is_string(tag: Option<&Tag>, at: At) -> Result<bool, Complaint> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.handle == "tag:yaml.org,2002:" && tag.suffix == "str" => Ok(true),
        Some(_) => Err(complaint(at, "tags (`!…`) are not supported")),
    }
}

fn too_deep(at: At) -> Complaint {
    complaint(at, format!("nested more than {DEEPEST} levels deep"))
}

fn too_many(at: At) -> Complaint {
    complaint(at, format!("more than {MOST_NODES} values, aliases counted as what they stand for"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn refused(source: &str) -> String {
        let complaint = parse(source).unwrap_err();
        let at = complaint.at.unwrap();
        format!("{}:{}: {complaint}", at.line, at.col)
    }

    fn read(source: &str) -> Value {
        parse(source).unwrap().to_json()
    }

    #[test]
    fn scalars_are_what_they_look_like() {
        for (source, value) in [
            ("", json!(null)),
            ("# nothing\n", json!(null)),
            ("~", json!(null)),
            ("[1, -2, 1.5, 1e3]", json!([1, -2, 1.5, 1e3])),
            ("[true, \"true\", yes, 012, 1.2.3]", json!([true, "true", "yes", "012", "1.2.3"])),
            ("!!str 12", json!("12")),
            ("a: |\n  two\n  lines\n", json!({"a": "two\nlines\n"})),
            ("\u{feff}a: 1", json!({"a": 1})),
            ("{ a: , b: x }", json!({"a": null, "b": "x"})),
            (
                "{ a: x.{y}.z, b: ${C}, 'd': \"{e}f\" }",
                json!({"a": "x.{y}.z", "b": "${C}", "d": "{e}f"}),
            ),
        ] {
            assert_eq!(read(source), value, "{source}");
        }
    }

    #[test]
    fn nodes_know_where_they_stand() {
        let node = parse("é: { ü: x }\nlist:\n  - a: 1\n").unwrap();

        let Kind::Map(entries) = &node.kind else { panic!() };
        let Kind::Map(inner) = &entries[0].1.kind else { panic!() };
        let Kind::List(items) = &entries[1].1.kind else { panic!() };
        assert_eq!(node.at, At { line: 1, col: 1 });
        assert_eq!(entries[0].1.at, At { line: 1, col: 4 });
        assert_eq!(inner[0].0.at, At { line: 1, col: 6 });
        assert_eq!(inner[0].1.at, At { line: 1, col: 9 });
        assert_eq!(items[0].at, At { line: 3, col: 5 });
    }

    #[test]
    fn a_masked_brace_moves_nothing_behind_it() {
        let node = parse("{ a: x.{y}, b: c }").unwrap();

        let Kind::Map(entries) = &node.kind else { panic!() };
        assert_eq!(entries[1].0.at, At { line: 1, col: 13 });
    }

    #[test]
    fn merge_keys_give_what_the_map_does_not_say_itself() {
        let source = "base: &b { x: 1, y: 2 }\nmore: &m { y: 3, z: 4 }\n\
                      one: { <<: *b, y: 9 }\ntwo: { <<: [*m, *b] }\nkey: { '<<': 1 }\n";

        let value = read(source);

        assert_eq!(value["one"], json!({"x": 1, "y": 9}));
        assert_eq!(value["two"], json!({"x": 1, "y": 3, "z": 4}));
        assert_eq!(value["key"], json!({"<<": 1}));
    }

    #[test]
    fn what_is_not_yaml_is_refused_with_its_place() {
        for (source, message) in [
            ("a:\n\tb: 1\n", "2:2: YAML is indented with spaces, not with tabs"),
            (
                "é: 1\na: b: c\n",
                "2:5: a second colon in one line: quote the value, or begin a new line",
            ),
            (
                "{ a: 1",
                "2:1: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'",
            ),
            ("a: @x", "1:4: not valid YAML: unexpected character: `@'"),
            ("a: é\0b", "1:5: a NUL character has no place in YAML"),
            ("a: 1\n---\nb: 2\n", "2:1: a second document begins here; a file holds one"),
            ("{ é: 1, b: 2, é: 3 }", "1:15: key \"é\" is given twice, first in line 1"),
            ("[a]: 1", "1:1: a key must be text"),
            ("a: &x [*x]", "1:8: an alias inside of what it stands for"),
            ("a: &x 1\n*x : 2", "2:1: a key must be text, not an alias"),
            ("a: !py/object 1", "1:15: tags (`!…`) are not supported"),
            ("a: { <<: 1 }", "1:10: `<<` merges a map or a list of maps"),
        ] {
            assert_eq!(refused(source), message, "{source}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_an_overflow() {
        let block: String = (0..3000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        let mut aliases = "a0: &a0 []\n".to_owned();
        for level in 1..400 {
            aliases += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
        }

        assert_eq!(refused(&block), "65:66: nested more than 64 levels deep");
        assert_eq!(refused(&"[".repeat(200)), "1:65: nested more than 64 levels deep");
        assert_eq!(refused(&aliases), "64:12: nested more than 64 levels deep");
    }

    #[test]
    fn an_alias_bomb_is_refused_before_it_grows() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let inner = vec![format!("*a{}", level - 1); 9].join(", ");
            bomb += &format!("a{level}: &a{level} [{inner}]\n");
        }

        let message = refused(&bomb);

        let expected = "more than 100000 values, aliases counted as what they stand for";
        assert!(message.ends_with(expected), "{message}");
    }

    proptest! {
        #[test]
        fn no_text_brings_the_parser_down(text in "[ab:,{}\\[\\]&*!|>'\"%@?#<~. \\-\t\n\r\u{e9}\u{e000}]{0,60}") {
            drop(parse(&text));
        }
    }
}
