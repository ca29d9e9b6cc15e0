//! Values with their places: the tree that a YAML text becomes.
//!
//! Scalars keep their text, so that what reads them decides whether `12` is a number
//! or a name, and `1.10` stays as it was written. Built by [`super::yaml::parse`],
//! read through [`super::Fields`]; knows nothing of what the keys mean.

use serde_json::Value;

use super::complaint::At;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its first character; for an alias the place it was copied from.
    pub at: At,
    /// What it is.
    pub kind: Kind,
}

/// What a [`Node`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    /// Unquoted text: a number, a boolean or a word, as its reader decides.
    Plain(String),
    /// Text in quotes, or block text: never a number or a boolean.
    Quoted(String),
    /// A list.
    List(Vec<Node>),
    /// A map in the order it was written.
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its first character.
    pub at: At,
    /// The key itself.
    pub text: String,
}

impl Node {
    /// Whether there is no value.
    pub fn is_null(&self) -> bool {
        self.kind == Kind::Null
    }

    /// The text of a scalar, quoted or not.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Plain(text) | Kind::Quoted(text) => Some(text),
            _ => None,
        }
    }

    /// The text of an unquoted scalar: what can be a number or a boolean.
    pub fn plain(&self) -> Option<&str> {
        match &self.kind {
            Kind::Plain(text) => Some(text),
            _ => None,
        }
    }

    /// The boolean that an unquoted scalar spells.
    pub fn boolean(&self) -> Option<bool> {
        match self.plain()? {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            _ => None,
        }
    }

    /// The same value as JSON; unquoted scalars become numbers and booleans where they look it.
    pub fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Quoted(text) => Value::String(text.clone()),
            Kind::Plain(text) => {
                let number = || serde_json::from_str(text).ok().map(Value::Number);
                let typed = self.boolean().map(Value::Bool).or_else(number);
                typed.unwrap_or_else(|| Value::String(text.clone()))
            }
            Kind::List(items) => items.iter().map(Self::to_json).collect(),
            Kind::Map(entries) => {
                entries.iter().map(|(key, value)| (key.text.clone(), value.to_json())).collect()
            }
        }
    }

    /// How many nodes this is and how many levels deep.
    pub(super) fn measure(&self) -> (usize, usize) {
        let children: Vec<&Self> = match &self.kind {
            Kind::List(items) => items.iter().collect(),
            Kind::Map(entries) => entries.iter().map(|(_, value)| value).collect(),
            _ => return (1, 0),
        };
        let (count, depth) = children
            .into_iter()
            .map(Self::measure)
            .fold((0, 0), |(count, depth), (c, d)| (count + c, depth.max(d)));
        (count + 1, depth + 1)
    }
}
