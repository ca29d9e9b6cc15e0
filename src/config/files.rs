//! What a replication says of files: `target_options: { format: csv, compression: gzip }`.
//!
//! `TargetOptions` is what was written, where; [`FileFormat`] is what it amounts to and
//! cannot be wrong. A file's name ends with its format, so a name tells how it is read.

use super::complaint::{At, Complaints};
use super::fields::Fields;
use super::node::Node;
use super::replication::DeleteMissing;
use crate::record::casing::Casing;

/// What Sling can say of a target and we cannot.
pub(super) const SLING_OPTIONS: [&str; 12] = [
    "batch_limit",
    "column_typing",
    "concurrency",
    "datetime_format",
    "delimiter",
    "direct_insert",
    "header",
    "ignore_existing",
    "max_decimals",
    "table_ddl",
    "table_tmp",
    "use_bulk",
];

/// Keys of a table that Sling knows and we do not make.
const SLING_KEYS: [&str; 8] =
    ["aggregate", "cluster", "duplicate", "hash", "index", "partition", "sort", "unique"];

/// How a text file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// As `gzip` does.
    Gzip,
    /// As `zstd` does.
    Zstd,
}

impl Compression {
    /// Every choice by its name.
    pub const ALL: [(&'static str, Self); 3] =
        [("none", Self::None), ("gzip", Self::Gzip), ("zstd", Self::Zstd)];

    /// What it adds to a file's name.
    fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

/// How the rows of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// A JSON object a line.
    Jsonl(Compression),
    /// Comma-separated values below a header.
    Csv(Compression),
    /// Columns, packed inside.
    Parquet,
}

impl Default for FileFormat {
    fn default() -> Self {
        Self::Jsonl(Compression::None)
    }
}

impl FileFormat {
    /// Every format there is.
    pub const ALL: [Self; 7] = [
        Self::Jsonl(Compression::None),
        Self::Jsonl(Compression::Gzip),
        Self::Jsonl(Compression::Zstd),
        Self::Csv(Compression::None),
        Self::Csv(Compression::Gzip),
        Self::Csv(Compression::Zstd),
        Self::Parquet,
    ];

    /// How the names of its files end: `.csv.gz`.
    pub fn suffix(self) -> String {
        match self {
            Self::Jsonl(compression) => format!(".jsonl{}", compression.suffix()),
            Self::Csv(compression) => format!(".csv{}", compression.suffix()),
            Self::Parquet => ".parquet".to_owned(),
        }
    }

    /// The format of the file that has this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| name.ends_with(&format.suffix()))
    }
}

/// The word for a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Jsonl,
    Csv,
    Parquet,
}

impl Format {
    /// Every choice by its name; Sling's users say `jsonlines`.
    pub(super) const ALL: [(&'static str, Self); 4] = [
        ("jsonl", Self::Jsonl),
        ("csv", Self::Csv),
        ("parquet", Self::Parquet),
        ("jsonlines", Self::Jsonl),
    ];
}

/// What was written of a target, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TargetOptions {
    format: Option<Format>,
    compression: Option<Compression>,
    /// The key to use in place of the registry's.
    pub(super) primary_key: Option<Vec<String>>,
    pub(super) delete_missing: Option<DeleteMissing>,
    pub(super) add_new_columns: Option<bool>,
    pub(super) column_casing: Option<Casing>,
    pub(super) file_max_rows: Option<u64>,
    pub(super) file_max_bytes: Option<u64>,
    pub(super) pre_sql: Option<String>,
    pub(super) post_sql: Option<String>,
    at: Option<(At, String)>,
}

impl TargetOptions {
    pub(super) fn read(node: &Node, path: &str, complaints: &Complaints) -> Self {
        let mut fields = Fields::of(node, path, complaints);
        let options = Self {
            format: fields.opt_choice("format", "format", &Format::ALL),
            compression: fields.opt_choice("compression", "compression", &Compression::ALL),
            primary_key: table_keys(&mut fields, complaints),
            delete_missing: fields.opt_choice("delete_missing", "choice", &DeleteMissing::ALL),
            add_new_columns: fields.opt_bool("add_new_columns"),
            column_casing: casing(&mut fields),
            file_max_rows: fields.opt_positive("file_max_rows"),
            file_max_bytes: fields.opt_positive("file_max_bytes"),
            pre_sql: fields.opt_text("pre_sql").map(str::to_owned),
            post_sql: fields.opt_text("post_sql").map(str::to_owned),
            at: Some((node.at, path.to_owned())),
        };
        if fields.opt_bool("adjust_column_type") == Some(false) {
            let message = "types always become as wide as the values need: leave it out";
            fields.complain("adjust_column_type", message);
        }
        fields.refuse(&SLING_OPTIONS, super::replication::refuse_sling);
        fields.finish();
        options
    }

    /// These options, and the defaults' where these are silent.
    pub(super) fn or(self, defaults: Option<&Self>) -> Self {
        let Some(defaults) = defaults else { return self };
        Self {
            format: self.format.or(defaults.format),
            compression: self.compression.or(defaults.compression),
            primary_key: self.primary_key.or_else(|| defaults.primary_key.clone()),
            delete_missing: self.delete_missing.or(defaults.delete_missing),
            add_new_columns: self.add_new_columns.or(defaults.add_new_columns),
            column_casing: self.column_casing.or(defaults.column_casing),
            file_max_rows: self.file_max_rows.or(defaults.file_max_rows),
            file_max_bytes: self.file_max_bytes.or(defaults.file_max_bytes),
            pre_sql: self.pre_sql.or_else(|| defaults.pre_sql.clone()),
            post_sql: self.post_sql.or_else(|| defaults.post_sql.clone()),
            at: self.at.or_else(|| defaults.at.clone()),
        }
    }

    /// The format they amount to; nothing where nothing is said.
    pub(super) fn settle(&self, complaints: &Complaints) -> Option<FileFormat> {
        let compression = self.compression.unwrap_or_default();
        let format = self.format.or(self.compression.map(|_| Format::Jsonl))?;
        // `zstd` is what Parquet files have inside.
        let is_other = self.compression.is_some_and(|compression| compression != Compression::Zstd);
        if let (Format::Parquet, true, Some((at, path))) = (format, is_other, &self.at) {
            let message = "Parquet files are always packed inside, with zstd: leave compression out, or say zstd";
            complaints.add(*at, path, message);
        }
        Some(match format {
            Format::Jsonl => FileFormat::Jsonl(compression),
            Format::Csv => FileFormat::Csv(compression),
            Format::Parquet => FileFormat::Parquet,
        })
    }
}

/// How names of columns are spelt: `column_casing: snake`.
fn casing(fields: &mut Fields<'_, '_>) -> Option<Casing> {
    if fields.node("column_casing").and_then(Node::text) == Some("upper") {
        let message =
            "names in capitals need quotes in every query here: say snake, lower or source";
        fields.complain("column_casing", message);
        return None;
    }
    fields.opt_choice("column_casing", "casing", &Casing::ALL)
}

/// The primary key among the keys of a table: `table_keys: { primary: [uuid] }`.
fn table_keys(fields: &mut Fields<'_, '_>, complaints: &Complaints) -> Option<Vec<String>> {
    let (path, node) = (fields.path_of("table_keys"), fields.node("table_keys")?);
    let mut keys = Fields::of(node, &path, complaints);
    let primary = keys.opt_texts("primary");
    keys.refuse(&SLING_KEYS, super::replication::refuse_sling);
    keys.finish();
    primary.map(|names| names.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_tells_its_format() {
        for format in FileFormat::ALL {
            assert_eq!(FileFormat::of_name(&format!("a{}", format.suffix())), Some(format));
        }
        assert_eq!(FileFormat::of_name("events.csv.bz2"), None);
        assert_eq!(FileFormat::of_name("notes.txt"), None);
    }
}
