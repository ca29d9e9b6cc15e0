//! Names as PostgreSQL takes them: quoted, at most 63 bytes, its own ones left alone.
//!
//! A name that PostgreSQL would cut, or has taken for itself, keeps its beginning and
//! gets a hash of the whole behind it, the same every time. Two names never become one
//! silently: [`collision`] tells before anything is made.

use crate::schema::{LONGEST_NAME, Schema, hashed_name};

/// Columns that every table has, unseen.
const SYSTEM: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// A table of a schema, by their names in PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) schema: String,
    pub(super) name: String,
}

impl Table {
    /// The table an object means: `schema.table`, or `table` in the connection's schema.
    pub(super) fn of(object: &str, default_schema: &str) -> Result<Self, String> {
        let parts: Vec<&str> = object.split('.').map(|part| part.trim_matches('"')).collect();
        let (schema, name) = match parts.as_slice() {
            [name] => (default_schema, *name),
            [schema, name] => (*schema, *name),
            _ => return Err("is neither `schema.table` nor `table`".to_owned()),
        };
        if schema.is_empty() || name.is_empty() {
            return Err("has an empty name in it".to_owned());
        }
        if name.starts_with("_hogline_") {
            return Err("is not free for a stream's rows".to_owned());
        }
        Ok(Self { schema: shortened(schema), name: shortened(name) })
    }

    /// Another table of the same schema.
    pub(super) fn beside(&self, name: &str) -> Self {
        Self { schema: self.schema.clone(), name: shortened(name) }
    }

    /// Where a complete copy grows.
    pub(super) fn staging(&self) -> Self {
        self.beside(&format!("_hogline_staging_{}", self.name))
    }

    /// Both names, quoted.
    pub(super) fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }

    /// The number of the lock that whoever loads this table holds.
    pub(super) fn lock(&self) -> i64 {
        hash(&format!("hogline {}", self.quoted())).cast_signed()
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A name as SQL wants it, whatever it holds.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What a field's column is called.
pub(super) fn column(field: &str) -> String {
    let is_free = !field.is_empty() && !SYSTEM.contains(&field) && !field.contains('\0');
    if is_free { shortened(field) } else { hashed(&field.replace('\0', "")) }
}

/// The two columns of a schema that would be one, if any.
pub(super) fn collision(schema: &Schema) -> Option<(&str, &str)> {
    let mut names: Vec<(String, &str)> =
        schema.columns.iter().map(|of| (column(&of.name), of.name.as_str())).collect();
    names.sort();
    names.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| (pair[0].1, pair[1].1))
}

fn shortened(name: &str) -> String {
    if name.len() <= LONGEST_NAME { name.to_owned() } else { hashed(name) }
}

/// The beginning of a name, and a hash of all of it.
fn hashed(name: &str) -> String {
    hashed_name(name, hash(name))
}

/// FNV-1a: simple, and the same in every version of every program.
fn hash(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Column, ColumnType, Origin};

    #[test]
    fn objects_are_tables_of_schemas() {
        for (object, table) in [
            ("posthog.events", Ok("posthog.events")),
            ("events", Ok("public.events")),
            (r#""My Schema"."T""#, Ok("My Schema.T")),
            ("a.b.c", Err("is neither `schema.table` nor `table`")),
            ("posthog.", Err("has an empty name in it")),
            ("posthog._hogline_checkpoints", Err("is not free for a stream's rows")),
        ] {
            let read = Table::of(object, "public").map(|table| table.to_string());
            assert_eq!(read.as_deref().map_err(String::as_str), table, "{object}");
        }
    }

    #[test]
    fn a_name_that_postgres_would_cut_keeps_its_beginning_and_stays_itself() {
        let long = "é".repeat(40);
        let name = column(&long);

        assert!(name.len() <= 63 && name.starts_with("ééééé"), "{name}");
        assert_ne!(name, column(&format!("{long}x")));
        assert_eq!(column(&"x".repeat(63)), "x".repeat(63));
        assert_eq!(column("é".repeat(40).as_str()), name);
        let table = Table::of(&"t".repeat(63), "public").unwrap();
        assert_eq!(table.staging().name.len(), 63);
    }

    #[test]
    fn names_that_postgres_keeps_for_itself_get_another() {
        assert_eq!(column("xmin"), format!("xmin_{:016x}", hash("xmin")));
        assert_eq!(column(""), "_cbf29ce484222325");
        assert!(!column("a\0b").contains('\0'));
        assert_eq!(column("select \""), "select \"");
        assert_eq!(quote("select \""), "\"select \"\"\"");
    }

    #[test]
    fn two_fields_that_would_be_one_column_are_told() {
        let column = |name: &str| Column {
            name: name.into(),
            kind: ColumnType::Text,
            origin: Origin::Field,
        };
        let long = "x".repeat(64);
        let mut schema = Schema { columns: vec![column(&long)], ..Schema::default() };
        assert_eq!(collision(&schema), None);

        schema.columns.push(column(&hashed(&long)));
        assert!(collision(&schema).is_some());
    }
}
