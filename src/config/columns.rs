//! Columns as a replication declares them: their types, and where in a JSON column they are.
//!
//! `plan: text` gives a column a type; `plan: { from: properties.plan, type: text }` makes a
//! column of what stands at a place of another one. Sling's names of types mean ours. Whether
//! a stream has the columns that are named is not asked here.

use super::complaint::{At, Complaints};
use super::fields::Fields;
use super::node::{Kind, Node};
use crate::schema::ColumnType;

/// How many keys are flattened where nobody says.
const FLATTENED: usize = 200;

/// More columns than this, and PostgreSQL or SQLite would refuse the table.
pub(super) const MOST_FLATTENED: u64 = 1000;

/// What Sling calls some types.
pub(super) const SLING_TYPES: [(&str, ColumnType); 11] = [
    ("boolean", ColumnType::Bool),
    ("datetime", ColumnType::Timestamp),
    ("decimal", ColumnType::Numeric),
    ("float", ColumnType::Double),
    ("int", ColumnType::Bigint),
    ("integer", ColumnType::Bigint),
    ("jsonb", ColumnType::Json),
    ("smallint", ColumnType::Bigint),
    ("string", ColumnType::Text),
    ("timestamptz", ColumnType::Timestamp),
    ("timestampz", ColumnType::Timestamp),
];

/// A column that a replication declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredColumn {
    /// Its name.
    pub name: String,
    /// Where the file names it.
    pub at: At,
    /// The key that it is declared under, `streams.events.columns`.
    pub path: String,
    /// Its type.
    pub kind: ColumnType,
    /// A column that holds JSON and the keys below it, where the values are taken from.
    pub from: Option<Vec<String>>,
}

/// Whether keys of a JSON column become columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flattening {
    /// Where the file says so.
    pub at: At,
    /// The key that says so, `streams.events.flatten`.
    pub path: String,
    /// How many at most; nothing where none is to.
    pub limit: Option<usize>,
}

/// Reads `columns`.
pub(super) fn columns(
    fields: &mut Fields<'_, '_>,
    complaints: &Complaints,
) -> Option<Vec<DeclaredColumn>> {
    let path = fields.path_of("columns");
    let entries = fields.map("columns");
    let mut columns: Vec<DeclaredColumn> = Vec::new();
    for (key, node) in entries {
        let (name, at) = (key.text.clone(), key.at);
        if let Some(other) = columns.iter().find(|c| c.name.to_lowercase() == name.to_lowercase()) {
            let message = format!("\"{name}\" and \"{}\" would be one column", other.name);
            complaints.add(at, &path, message);
        }
        if let Some((kind, from)) = column(node, &format!("{path}.{name}"), complaints) {
            columns.push(DeclaredColumn { name, at, path: path.clone(), kind, from });
        }
    }
    (!entries.is_empty()).then_some(columns)
}

/// The type of a column and where its values are taken from.
fn column(
    node: &Node,
    path: &str,
    complaints: &Complaints,
) -> Option<(ColumnType, Option<Vec<String>>)> {
    if !matches!(node.kind, Kind::Map(_)) {
        return Some((kind(node, path, complaints)?, None));
    }
    let mut fields = Fields::of(node, path, complaints);
    let kind = match fields.node("type") {
        Some(node) => kind(node, &fields.path_of("type"), complaints),
        None => Some(ColumnType::Json),
    };
    let from = fields.required("from").and_then(|node| {
        let place = place(node);
        if place.is_none() {
            fields.complain(
                "from",
                "expected a column and keys below it, as properties.plan, or a list where a key \
                 has a point in it: [properties, \"a.b\"]",
            );
        }
        place
    });
    fields.finish();
    Some((kind?, Some(from?)))
}

fn kind(node: &Node, path: &str, complaints: &Complaints) -> Option<ColumnType> {
    let Some(text) = node.text() else {
        complaints.expected("a type, or a map with from and type", node, path);
        return None;
    };
    let ours = ColumnType::ALL.map(|kind| (kind.name(), kind));
    let all: Vec<(&str, ColumnType)> = ours.into_iter().chain(SLING_TYPES).collect();
    let found = all.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    if found.is_none() {
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        complaints.unknown_value("type", text, &names, node.at, path);
    }
    found.map(|(_, kind)| *kind)
}

/// A column and the keys below it: a list, or a text with points between them.
fn place(node: &Node) -> Option<Vec<String>> {
    let keys: Vec<String> = match &node.kind {
        Kind::List(items) => items.iter().map(|item| item.text().map(str::to_owned)).collect(),
        _ => node.text().map(|text| text.split('.').map(str::to_owned).collect()),
    }?;
    let is_listed = matches!(node.kind, Kind::List(_));
    let is_good = |key: &String| is_listed || !key.is_empty();
    (keys.len() > 1 && keys.iter().all(is_good)).then_some(keys)
}

/// Reads `flatten`.
pub(super) fn flatten(fields: &mut Fields<'_, '_>, complaints: &Complaints) -> Option<Flattening> {
    let (path, node) = (fields.path_of("flatten"), fields.node("flatten")?);
    let at = node.at;
    if !matches!(node.kind, Kind::Map(_)) {
        let Some(yes) = node.boolean() else {
            complaints.expected("true, false or a map with limit", node, &path);
            return None;
        };
        return Some(Flattening { at, path, limit: yes.then_some(FLATTENED) });
    }
    let mut own = Fields::of(node, &path, complaints);
    let limit = own.opt_integer("limit").unwrap_or(FLATTENED as u64);
    if !(1..=MOST_FLATTENED).contains(&limit) {
        own.complain("limit", format!("expected a number from 1 to {MOST_FLATTENED}"));
    }
    own.finish();
    let limit = usize::try_from(limit).ok();
    Some(Flattening { at, path, limit })
}

#[cfg(test)]
mod tests {
    use super::super::yaml;
    use super::*;

    fn read(source: &str) -> Result<(Vec<DeclaredColumn>, Option<Flattening>), String> {
        let node = yaml::parse(source).unwrap();
        let complaints = Complaints::new();
        let mut fields = Fields::of(&node, "s", &complaints);
        let declared = columns(&mut fields, &complaints).unwrap_or_default();
        let flattening = flatten(&mut fields, &complaints);
        fields.finish();
        complaints.into_result("f", None).map_err(|err| err.to_string())?;
        Ok((declared, flattening))
    }

    #[test]
    fn columns_are_typed_in_slings_words_and_ours() {
        let source = "columns: { a: Integer, b: numeric, c: { from: properties.x.y, type: string }, \
                      d: { from: [properties, a.b] }, e: datetime }\nflatten: { limit: 7 }";
        let (columns, flattening) = read(source).unwrap();

        let told: Vec<_> = columns
            .iter()
            .map(|c| (c.name.as_str(), c.kind.name(), c.from.as_ref().map(|from| from.join("/"))))
            .collect();
        let expected = [
            ("a", "bigint", None),
            ("b", "numeric", None),
            ("c", "text", Some("properties/x/y".to_owned())),
            ("d", "json", Some("properties/a.b".to_owned())),
            ("e", "timestamp", None),
        ];
        assert_eq!(told, expected);
        assert_eq!(flattening.unwrap().limit, Some(7));
        assert_eq!(read("flatten: true").unwrap().1.unwrap().limit, Some(FLATTENED));
        assert_eq!(read("flatten: false").unwrap().1.unwrap().limit, None);
        assert_eq!(read("{}").unwrap(), (vec![], None));
    }

    #[test]
    fn mistakes_are_told_with_their_places_and_what_is_nearest() {
        for (source, told) in [
            (
                "columns: { a: bigit }",
                "f:1:15: s.columns.a: unknown type \"bigit\", did you mean \"bigint\"?",
            ),
            (
                "columns: { a: { form: p.x } }",
                "f:1:17: s.columns.a: unknown key \"form\", did you mean \"from\"?",
            ),
            ("columns: { a: { type: text } }", "s.columns.a: missing key \"from\""),
            ("columns: { a: { from: p } }", "f:1:23: s.columns.a.from: expected a column and keys"),
            ("columns: { a: { from: p..x } }", "s.columns.a.from: expected a column and keys"),
            (
                "columns: { a: text, A: text }",
                "f:1:21: s.columns: \"A\" and \"a\" would be one column",
            ),
            ("columns: { a: [text] }", "s.columns.a: expected a type, or a map with from and type"),
            ("columns: [a]", "s.columns: expected a map"),
            ("flatten: maybe", "s.flatten: expected true, false or a map with limit"),
            ("flatten: { limit: 0 }", "s.flatten.limit: expected a number from 1 to 1000"),
            ("flatten: { limt: 5 }", "unknown key \"limt\", did you mean \"limit\"?"),
        ] {
            let found = read(source).unwrap_err();
            assert!(found.contains(told), "{told} in\n{found}");
        }
    }
}
