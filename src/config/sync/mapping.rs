//! The `mapping` of a sync: which column plays which part.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::complaint::At;
use crate::config::fields::Fields;
use crate::config::node::{Kind, Node};

/// What begins a constant.
const CONST: &str = "const:";

/// A value of a row, or the same one for every row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Term {
    /// The value of a column.
    Column(String),
    /// This text.
    Constant(String),
}

impl Term {
    fn of(text: &str) -> Self {
        match text.strip_prefix(CONST) {
            Some(constant) => Self::Constant(constant.trim().to_owned()),
            None => Self::Column(text.to_owned()),
        }
    }

    /// The column, where it is one.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Column(column) => Some(column),
            Self::Constant(_) => None,
        }
    }
}

/// Which columns are properties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Properties {
    /// Every column that plays no other part; new ones too.
    All,
    /// These, by name.
    These(Vec<(String, Term)>),
}

impl Default for Properties {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl Properties {
    /// The names they have, where that is known before a row is read.
    pub(super) fn names(&self) -> Option<Vec<&str>> {
        match self {
            Self::All => None,
            Self::These(pairs) => Some(pairs.iter().map(|(name, _)| name.as_str()).collect()),
        }
    }

    fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let node = fields.node("properties")?;
        let text = |node: &Node| {
            let text = node.text().filter(|text| !text.is_empty());
            if text.is_none() {
                fields.expected("a column", node, "properties");
            }
            text.map(str::to_owned)
        };
        match &node.kind {
            Kind::Plain(text) if text == "all" => Some(Self::All),
            Kind::List(items) => {
                let pair = |name: String| (name.clone(), Term::Column(name));
                Some(Self::These(items.iter().filter_map(text).map(pair).collect()))
            }
            Kind::Map(entries) => {
                let pairs = entries
                    .iter()
                    .filter_map(|(name, node)| Some((name.text.clone(), Term::of(&text(node)?))));
                Some(Self::These(pairs.collect()))
            }
            _ => {
                fields.expected(
                    "all, a list of columns, or a map of names and columns",
                    node,
                    "properties",
                );
                None
            }
        }
    }
}

/// What was written of it.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    terms: BTreeMap<&'static str, (Term, At)>,
    pub(super) properties: Option<Properties>,
}

impl Mapping {
    pub(super) fn read(mut fields: Fields<'_, '_>) -> Self {
        let mut terms = BTreeMap::new();
        for key in ["distinct_id", "event", "timestamp", "email", "url"] {
            let Some((text, at)) = fields.opt_text_at(key) else { continue };
            let term = Term::of(text);
            if matches!(&term, Term::Column(text) | Term::Constant(text) if text.is_empty()) {
                fields.complain(key, "must not be empty");
            }
            terms.insert(key, (term, at));
        }
        let properties = Properties::read(&mut fields);
        fields.finish();
        Self { terms, properties }
    }

    pub(super) fn term(&self, key: &str) -> Option<&Term> {
        self.terms.get(key).map(|(term, _)| term)
    }

    /// A part that must be given.
    pub(super) fn required(&self, key: &str, sync: &Fields<'_, '_>, why: &str) -> Option<Term> {
        let term = self.term(key).cloned();
        if term.is_none() {
            self.complain(sync, key, &format!("missing: a column, or const:…; {why}"));
        }
        term
    }

    /// A part that only a column can play.
    pub(super) fn column(&self, key: &str, sync: &Fields<'_, '_>) -> Option<String> {
        match self.term(key)? {
            Term::Column(column) => Some(column.clone()),
            Term::Constant(_) => {
                self.complain(sync, key, "expected a column: it is not the same for every row");
                None
            }
        }
    }

    /// Refuses a part that is not played here.
    pub(super) fn refuse(&self, sync: &Fields<'_, '_>, key: &str, message: &str) {
        if self.term(key).is_some() {
            self.complain(sync, key, message);
        }
    }

    /// Complains of a part, where it stands or else of the whole mapping.
    pub(super) fn complain(&self, sync: &Fields<'_, '_>, key: &str, message: &str) {
        let at = self.terms.get(key).map(|(_, at)| *at);
        sync.complain_at(at, &format!("mapping.{key}"), message);
    }
}
