//! What is wrong with a file: complaints, collected and told at once.
//!
//! A [`Complaint`] names a place and the key it is about. [`Complaints`] gathers
//! them while a file is read, so that one run tells all of them; it becomes a
//! [`ConfigError`], which shows each with its source line and a caret. Files that
//! hold secrets are told without their text: places and key names only.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use super::node::{Kind, Node};

/// A source line longer than this is shown as the part around the caret.
const WIDEST_EXCERPT: usize = 120;

/// A place in a text: line and column counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub col: usize,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Where, unless it is about something that is not there.
    pub at: Option<At>,
    /// The keys that lead there, as `streams.events`; empty at the root.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, or what else the text came from.
    pub file: String,
    /// The complaints in the order of the text.
    pub complaints: Vec<Complaint>,
    /// The lines complained of, by number; none where they may hold secrets.
    excerpts: BTreeMap<usize, String>,
}

impl ConfigError {
    /// The complaints about `file`, shown with lines of `source` where that may be shown.
    pub fn new(file: &str, source: Option<&str>, mut complaints: Vec<Complaint>) -> Self {
        complaints.sort_by_key(|complaint| complaint.at);
        complaints.dedup();
        let wanted = |number: usize| complaints.iter().flat_map(|c| c.at).any(|a| a.line == number);
        let excerpts = source
            .into_iter()
            .flat_map(str::lines)
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .filter(|(number, _)| wanted(*number))
            .map(|(number, line)| (number, line.trim_start_matches('\u{feff}').to_owned()))
            .collect();
        Self { file: file.to_owned(), complaints, excerpts }
    }

    /// One complaint about `file` as a whole.
    pub fn about(file: &str, message: impl Into<String>) -> Self {
        let complaint = Complaint { at: None, path: String::new(), message: message.into() };
        Self::new(file, None, vec![complaint])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, complaint) in self.complaints.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&self.file)?;
            if let Some(At { line, col }) = complaint.at {
                write!(f, ":{line}:{col}")?;
            }
            write!(f, ": {complaint}")?;
            let line = complaint.at.and_then(|at| Some((at, self.excerpts.get(&at.line)?)));
            if let Some((at, line)) = line {
                write!(f, "\n{}", excerpt(line, at))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// The line and a caret under its column. Tabs stay tabs, so that the caret stands right.
fn excerpt(line: &str, At { line: number, col }: At) -> String {
    let length = line.chars().count();
    let start = if length > WIDEST_EXCERPT { col.saturating_sub(WIDEST_EXCERPT / 2) } else { 0 };
    let shown: String = line.chars().skip(start).take(WIDEST_EXCERPT).collect();
    let cut = if start > 0 { "…" } else { "" };
    let indent: String = cut
        .chars()
        .chain(shown.chars())
        .take(cut.chars().count() + col.saturating_sub(1 + start))
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let gutter = " ".repeat(number.to_string().len());
    format!("  {number} | {cut}{}\n  {gutter} | {indent}^", shown.trim_end())
}

/// Whether complaints may repeat what the text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    Shown,
    Hidden,
}

/// The complaints found so far. Shared while a tree is walked, hence added through `&self`.
#[derive(Debug)]
pub struct Complaints {
    list: RefCell<Vec<Complaint>>,
    values: Values,
}

impl Complaints {
    /// None yet, about a text that may be shown.
    pub fn new() -> Self {
        Self { list: RefCell::default(), values: Values::Shown }
    }

    /// None yet, about a text that holds secrets: no value of it is ever repeated.
    pub fn hiding_values() -> Self {
        Self { list: RefCell::default(), values: Values::Hidden }
    }

    /// Adds one, about what `path` leads to.
    pub fn add(&self, at: impl Into<Option<At>>, path: &str, message: impl Into<String>) {
        let (path, message) = (path.to_owned(), message.into());
        self.list.borrow_mut().push(Complaint { at: at.into(), path, message });
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// Adds that `node` should be `what` and is not.
    pub fn expected(&self, what: &str, node: &Node, path: &str) {
        let found = match (&node.kind, self.values) {
            (Kind::Null, _) => "nothing".into(),
            (Kind::List(_), _) => "a list".into(),
            (Kind::Map(_), _) => "a map".into(),
            (Kind::Plain(_) | Kind::Quoted(_), Values::Hidden) => "something else".into(),
            (Kind::Plain(text), _) => format!("\"{text}\""),
            (Kind::Quoted(text), _) => format!("the text \"{text}\""),
        };
        self.add(
            node.at,
            path,
            format!("expected {what}, found {found}{}", self.quoting_hint(node)),
        );
    }

    /// Adds that `value` is none of the `known` ones, as in `unknown mode "increment", did you mean …`.
    pub fn unknown_value(&self, what: &str, value: &str, known: &[&str], at: At, path: &str) {
        let shown = match self.values {
            Values::Shown => format!(" \"{value}\""),
            Values::Hidden => String::new(),
        };
        self.add(at, path, format!("unknown {what}{shown}, {}", suggestion(value, known)));
    }

    /// Adds that `key` is none of the `known` ones.
    pub fn unknown_key(&self, key: &str, known: &[&str], at: At, path: &str) {
        let message = match self.values {
            // `{ api_key:phx_1 }`, without the space, is one long key.
            Values::Hidden if !is_harmless_key(key) => {
                "unknown key, not shown as it may hold a secret; a colon needs a space after it"
                    .into()
            }
            _ => format!("unknown key \"{key}\", {}", suggestion(key, known)),
        };
        self.add(at, path, message);
    }

    /// Passes where nothing was wrong. `source` is the text to quote lines from; it
    /// is ignored for texts that hold secrets.
    ///
    /// # Errors
    /// Every complaint added, as one error about `file`.
    pub fn into_result(self, file: &str, source: Option<&str>) -> Result<(), ConfigError> {
        let source = source.filter(|_| self.values == Values::Shown);
        let complaints = self.list.into_inner();
        if complaints.is_empty() {
            return Ok(());
        }
        Err(ConfigError::new(file, source, complaints))
    }

    /// YAML reads an unquoted `{stream_name}` as a map: says how to write it as text.
    fn quoting_hint(&self, node: &Node) -> Cow<'static, str> {
        let Kind::Map(entries) = &node.kind else { return "".into() };
        match (entries.as_slice(), self.values) {
            ([(key, value)], Values::Shown) if value.is_null() => {
                format!("; braces at the start need quotes: \"{{{}}}\"", key.text).into()
            }
            ([(_, value)], Values::Hidden) if value.is_null() => {
                "; braces at the start need quotes".into()
            }
            _ => "".into(),
        }
    }
}

impl Default for Complaints {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a key looks like a key and not like a value that lost its own.
fn is_harmless_key(key: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let token = key.strip_prefix("ph").is_some_and(|rest| rest.chars().nth(1) == Some('_'));
    key.len() <= 32 && key.chars().all(word) && !token
}

/// `did you mean "…"?` where one of `known` is near, else all of them.
pub fn suggestion(got: &str, known: &[&str]) -> String {
    match nearest(got, known) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if known.is_empty() => "none is known here".into(),
        None => format!("known: {}", known.join(", ")),
    }
}

/// The one of `known` that `got` was probably meant to be.
pub fn nearest<'k>(got: &str, known: &[&'k str]) -> Option<&'k str> {
    let folded = got.to_lowercase();
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&folded, &name.to_lowercase()), *name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 4)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(source: &str, line: usize, col: usize) -> String {
        let complaints = Complaints::new();
        complaints.add(At { line, col }, "a.b", "wrong");
        complaints.into_result("f.yaml", Some(source)).unwrap_err().to_string()
    }

    #[test]
    fn a_complaint_is_shown_with_its_line_and_a_caret() {
        assert_eq!(told("a:\n  b: 1\n", 2, 3), "f.yaml:2:3: a.b: wrong\n  2 |   b: 1\n    |   ^");
    }

    #[test]
    fn the_caret_stands_right_after_tabs_and_characters_of_several_bytes() {
        assert_eq!(told("\tb: 1", 1, 2), "f.yaml:1:2: a.b: wrong\n  1 | \tb: 1\n    | \t^");
        assert_eq!(told("é: ü x", 1, 6), "f.yaml:1:6: a.b: wrong\n  1 | é: ü x\n    |      ^");
    }

    #[test]
    fn a_long_line_is_cut_to_the_part_around_the_caret() {
        let line = format!("{}X{}", "a".repeat(300), "b".repeat(300));

        let told = told(&line, 1, 301);

        let [_, shown, caret] = told.lines().collect::<Vec<_>>()[..] else { panic!("{told}") };
        assert!(shown.chars().count() < 140, "{shown}");
        assert_eq!(shown.chars().nth(caret.chars().count() - 1), Some('X'));
    }

    #[test]
    fn a_place_past_the_end_is_told_without_a_line() {
        assert_eq!(told("a: [", 2, 1), "f.yaml:2:1: a.b: wrong");
    }

    #[test]
    fn complaints_are_told_in_the_order_of_the_text() {
        let complaints = Complaints::new();
        complaints.add(At { line: 2, col: 1 }, "", "second");
        complaints.add(At { line: 1, col: 4 }, "", "first");

        let told = complaints.into_result("f", None).unwrap_err().to_string();

        assert_eq!(told, "f:1:4: first\nf:2:1: second");
    }

    #[test]
    fn the_nearest_name_is_found_by_how_far_a_typing_error_goes() {
        let known = ["mode", "object", "primary_key"];
        for (got, near) in [
            ("mod", Some("mode")),
            ("MODE", Some("mode")),
            ("obejct", Some("object")),
            ("primarykey", Some("primary_key")),
            ("primary-keys", Some("primary_key")),
            ("colour", None),
        ] {
            assert_eq!(nearest(got, &known), near, "{got}");
        }
        assert_eq!(suggestion("colour", &known), "known: mode, object, primary_key");
    }

    #[test]
    fn a_key_that_may_hold_a_secret_is_not_shown() {
        for key in ["api_key:phx_1", "phx_123", "a b", &"x".repeat(33)] {
            let complaints = Complaints::hiding_values();
            complaints.unknown_key(key, &["api_key"], At { line: 1, col: 1 }, "");
            let told = complaints.into_result("f", Some(key)).unwrap_err().to_string();
            assert!(!told.contains(key), "{told}");
        }
    }
}
