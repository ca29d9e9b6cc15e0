//! Values that a replication wants changed: `transforms: { email: [lower, hash], properties.$ip: mask }`.
//!
//! A list without names, as Sling's users write it, is for every column of text. Whether a
//! stream has the columns is not asked here.

use super::complaint::{At, Complaints};
use super::fields::Fields;
use super::node::{Kind, Node};
use crate::record::transform::Step;

/// What becomes of the values of a column, or of all columns of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredTransform {
    /// The column, and keys inside of it; nothing for every column of text.
    pub place: Option<Vec<String>>,
    /// The steps, in their order.
    pub steps: Vec<Step>,
    /// Where the file says so.
    pub at: At,
    /// The key that it is declared under.
    pub path: String,
}

/// Reads `transforms`.
pub(super) fn transforms(
    fields: &mut Fields<'_, '_>,
    complaints: &Complaints,
) -> Option<Vec<DeclaredTransform>> {
    let path = fields.path_of("transforms");
    let node = fields.node("transforms")?;
    let Kind::Map(entries) = &node.kind else {
        let steps = steps(node, &path, complaints);
        return Some(vec![DeclaredTransform { place: None, steps, at: node.at, path }]);
    };
    let declared = entries.iter().map(|(key, value)| {
        let place: Vec<String> = key.text.split('.').map(str::to_owned).collect();
        if place.iter().any(String::is_empty) {
            complaints.add(
                key.at,
                &path,
                "expected a column and keys inside of it: properties.$ip",
            );
        }
        let own = format!("{path}.{}", key.text);
        let steps = steps(value, &own, complaints);
        let place = (key.text != "*").then_some(place);
        DeclaredTransform { place, steps, at: key.at, path: own }
    });
    Some(declared.collect())
}

/// The steps that a word, or a list of them, names.
fn steps(node: &Node, path: &str, complaints: &Complaints) -> Vec<Step> {
    let words: Vec<&Node> = match &node.kind {
        Kind::List(items) => items.iter().collect(),
        _ => vec![node],
    };
    let names = Step::ALL.map(|(name, _)| name);
    let step = |word: &Node| {
        let Some(text) = word.text() else {
            complaints.expected("the name of a step, as hash", word, path);
            return None;
        };
        let found = Step::ALL.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            complaints.unknown_value("step", text, &names, word.at, path);
        }
        found.map(|(_, step)| *step)
    };
    words.into_iter().filter_map(step).collect()
}
