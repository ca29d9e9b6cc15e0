//! The replication: which streams go where, as the user's YAML says.
//!
//! A [`Replication`] is validated: its streams exist, defaults and wildcards are
//! merged in, objects are filled in, and no two streams share one. A stream written
//! by its name stands for itself: it takes the defaults, never a wildcard's settings.
//! Whether a stream has the columns or the mode asked for is the plan's question.

mod json_schema;
mod names;
mod objects;
mod written;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use written::Written;

use names::name_streams;
use objects::Objects;
use written::variables;

use super::audit::AuditColumn;
use super::columns::{self, DeclaredColumn, Flattening};
use super::complaint::{At, Complaints, ConfigError};
use super::fields::Fields;
use super::files::{FileFormat, TargetOptions};
use super::hooks::{self, Hooks};
use super::mode::Mode;
use super::node::{Key, Kind, Node};
use super::source_options::{ReadBy, SourceOptions};
use super::transforms::{self, DeclaredTransform};
use super::variables::Environment;
use crate::cursor::{Interval, Timestamp};
use crate::record::casing::Casing;
use crate::record::filter::Filter;

pub use json_schema::json_schema;
pub use objects::PROJECT;

/// What Sling can say of a stream and we cannot.
const SLING_STREAM: [&str; 9] = [
    "change_capture_options",
    "files",
    "hooks",
    "id",
    "overwrite",
    "partition_by",
    "replication_mode",
    "schedule",
    "single",
];

/// One stream of a replication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// Its name in the registry.
    pub name: String,
    /// Where the file names it, or the wildcard that brought it.
    pub at: At,
    /// The query that it is, where it is none of PostHog's streams.
    pub sql: Option<Sql>,
    /// How it is brought up to date.
    pub mode: Mode,
    /// Where it goes, with its variables filled in.
    pub object: String,
    /// Whether the object is divided by date, in folders `event_date=2026-01-01`.
    pub by_date: bool,
    /// Words by which several streams can be chosen at once.
    pub tags: Vec<String>,
    /// What mode backfill reads.
    pub range: Option<Interval>,
    /// How many records to ask for at once, in place of the registry's number.
    pub page_size: Option<u64>,
    /// In which way it is read.
    pub read: ReadBy,
    /// How many rows a run reads at most.
    pub limit: Option<u64>,
    /// Which records are wanted, where not all are.
    pub filter: Option<Where>,
    /// What becomes of values; those of the defaults are for streams that have their columns.
    pub transforms: Vec<DeclaredTransform>,
    /// Whether fields that nobody declared become columns.
    pub adds_columns: bool,
    /// How flattened keys are spelt in names.
    pub casing: Casing,
    /// What the target's database runs before the rows.
    pub pre_sql: Option<String>,
    /// What it runs after them.
    pub post_sql: Option<String>,
    /// How files are written, where that is said.
    pub format: Option<FileFormat>,
    /// How many rows a file has at most, and how many bytes, where that is said.
    pub file_most: (Option<u64>, Option<u64>),
    /// The columns asked for, `-column` for one to leave out; empty means all.
    pub select: Vec<String>,
    /// The key to use in place of the registry's.
    pub primary_key: Option<Vec<String>>,
    /// The column to follow in place of the registry's.
    pub update_key: Option<String>,
    /// How far back each run looks for late rows.
    pub lookback: Option<Duration>,
    /// What becomes of rows that PostHog no longer has.
    pub delete_missing: Option<DeleteMissing>,
    /// The columns that it declares; those of the defaults are for streams that have them.
    pub columns: Vec<DeclaredColumn>,
    /// Whether keys become columns.
    pub flatten: Option<Flattening>,
}

/// A query, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sql {
    /// Its text, with its variables filled in.
    pub text: String,
    /// Where it begins.
    pub at: At,
}

/// Which records are wanted, and where that is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Where {
    /// What they fulfil.
    pub filter: Filter,
    /// The same, as it was written.
    pub text: String,
    /// Where the file says so; nowhere for the command line.
    pub at: Option<At>,
    /// The key that says so.
    pub path: String,
}

/// What becomes of rows that PostHog no longer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteMissing {
    /// They stay, and `_hogline_deleted_at` tells since when they are gone.
    Soft,
    /// They are removed.
    Hard,
}

impl DeleteMissing {
    /// Every choice by its name.
    pub const ALL: [(&'static str, Self); 2] = [("soft", Self::Soft), ("hard", Self::Hard)];
}

/// A replication file, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// The file it was read from.
    pub file: PathBuf,
    /// The connection it reads from.
    pub source: String,
    /// The connection, or the URL, it writes to.
    pub target: String,
    /// The streams that are not disabled, in the order of the file.
    pub streams: Vec<StreamConfig>,
    /// What is done before and after them.
    pub hooks: Hooks,
    /// Columns about the run that every table gets.
    pub audit: Vec<AuditColumn>,
}

impl Replication {
    /// Checks what is written. `known_streams` is what the registry has, `now` fills in the
    /// variables of time.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(
        written: &Written,
        known_streams: &[String],
        environment: &Environment,
        now: Timestamp,
    ) -> Result<Self, ConfigError> {
        let complaints = Complaints::new();
        let (root, own) = written.expanded(environment, &complaints)?;
        let variables = variables(&own, now);
        let mut replication =
            read_root(&root, &written.file, known_streams, &variables, &complaints);
        complaints.into_result(&written.file.display().to_string(), Some(&written.text))?;
        replication.audit =
            AuditColumn::wanted(|name| own.get(name).or_else(|| environment.get(name)));
        Ok(replication)
    }

    /// The connection that a replication reads from: what has to be known before the
    /// registry, with the connection's own specs, and so before [`Self::parse`].
    /// None where it is not said; `parse` then tells why.
    ///
    /// # Errors
    /// Where it is not YAML.
    pub fn source_of(
        written: &Written,
        environment: &Environment,
    ) -> Result<Option<String>, ConfigError> {
        let unheard = Complaints::new();
        let (root, _) = written.expanded(environment, &unheard)?;
        Ok(Fields::of(&root, "", &unheard).opt_text("source").map(str::to_owned))
    }
}

/// Reads the whole file; what is wrong is among the complaints.
fn read_root(
    root: &Node,
    file: &Path,
    known: &[String],
    variables: &[(String, String)],
    complaints: &Complaints,
) -> Replication {
    let mut fields = Fields::of(root, "", complaints);
    let source = fields.text("source");
    let target = fields.text("target");
    let defaults = fields.node("defaults").map(|node| Settings::read(node, "defaults", complaints));
    let defaults = defaults.unwrap_or_default();
    if let Some((_, at)) = defaults.sql {
        complaints.add(at, "defaults.sql", "a query is one stream's: write it under streams");
    }
    let streams = fields.required("streams");
    let hooks = hooks::hooks(&mut fields, complaints);
    fields.finish();

    let entries = streams.map(|node| read_streams(node, &defaults, complaints)).unwrap_or_default();
    let named = name_streams(&entries, known, complaints);
    let streams = Objects { source: &source, target: &target, variables, complaints }.settle(named);
    let (file, audit) = (file.to_owned(), Vec::new());
    Replication { file, source, target, streams, hooks, audit }
}

pub(super) fn refuse_sling(key: &str) -> String {
    format!("Sling's \"{key}\" is not supported by hogline yet")
}

/// An object as it was written, and where.
#[derive(Debug, Clone)]
struct Object<'n> {
    text: &'n str,
    at: At,
    path: String,
}

/// What can be said of a stream, and under `defaults` of all.
#[derive(Debug, Clone, Default)]
struct Settings<'n> {
    mode: Option<Mode>,
    object: Option<Object<'n>>,
    source_options: SourceOptions,
    target_options: Option<TargetOptions>,
    tags: Option<Vec<String>>,
    select: Option<Vec<String>>,
    primary_key: Option<Vec<String>>,
    update_key: Option<&'n str>,
    lookback: Option<Duration>,
    delete_missing: Option<DeleteMissing>,
    columns: Option<Vec<DeclaredColumn>>,
    flatten: Option<Flattening>,
    filter: Option<Where>,
    transforms: Option<Vec<DeclaredTransform>>,
    sql: Option<(&'n str, At)>,
    disabled: Option<bool>,
}

impl<'n> Settings<'n> {
    fn read(node: &'n Node, path: &str, complaints: &Complaints) -> Self {
        let mut fields = Fields::of(node, path, complaints);
        let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
        // For people: it changes nothing.
        fields.opt_text("description");
        let said = fields
            .node("source_options")
            .map(|node| SourceOptions::read(node, &fields.path_of("source_options"), complaints));
        let settings = Self {
            source_options: said.unwrap_or_default(),
            tags: fields.opt_texts("tags").map(owned),
            mode: fields.opt_choice("mode", "mode", &Mode::ALL),
            object: fields.opt_text_at("object").map(|(text, at)| Object {
                text,
                at,
                path: fields.path_of("object"),
            }),
            target_options: fields.node("target_options").map(|node| {
                TargetOptions::read(node, &fields.path_of("target_options"), complaints)
            }),
            select: fields.opt_texts("select").map(owned),
            primary_key: fields.opt_texts("primary_key").map(owned),
            update_key: fields.opt_text("update_key"),
            lookback: fields.opt_duration("lookback"),
            delete_missing: fields.opt_choice("delete_missing", "choice", &DeleteMissing::ALL),
            columns: columns::columns(&mut fields, complaints),
            flatten: columns::flatten(&mut fields, complaints),
            filter: filter(&mut fields),
            transforms: transforms::transforms(&mut fields, complaints),
            sql: fields.opt_text_at("sql"),
            disabled: fields.opt_bool("disabled"),
        };
        let twice = [
            ("lookback", settings.lookback.is_some() && settings.source_options.lookback.is_some()),
            ("flatten", settings.flatten.is_some() && settings.source_options.flatten.is_some()),
        ];
        for (key, _) in twice.into_iter().filter(|(_, is_twice)| *is_twice) {
            fields.complain(key, "is also said in source_options: once is enough");
        }
        fields.refuse(&SLING_STREAM, refuse_sling);
        fields.finish();
        settings
    }

    /// These settings, and the defaults' where these are silent.
    fn or(self, defaults: &Self) -> Self {
        Self {
            mode: self.mode.or(defaults.mode),
            source_options: self.source_options.or(&defaults.source_options),
            tags: self.tags.or_else(|| defaults.tags.clone()),
            object: self.object.or_else(|| defaults.object.clone()),
            target_options: match self.target_options {
                None => defaults.target_options.clone(),
                Some(options) => Some(options.or(defaults.target_options.as_ref())),
            },
            select: self.select.or_else(|| defaults.select.clone()),
            primary_key: self.primary_key.or_else(|| defaults.primary_key.clone()),
            update_key: self.update_key.or(defaults.update_key),
            lookback: self.lookback.or(defaults.lookback),
            delete_missing: self.delete_missing.or(defaults.delete_missing),
            columns: with_defaults(self.columns, defaults.columns.as_deref()),
            flatten: self.flatten.or_else(|| defaults.flatten.clone()),
            filter: self.filter.or_else(|| defaults.filter.clone()),
            transforms: self.transforms.or_else(|| defaults.transforms.clone()),
            sql: self.sql,
            disabled: self.disabled.or(defaults.disabled),
        }
    }
}

/// Reads `where`.
fn filter(fields: &mut Fields<'_, '_>) -> Option<Where> {
    let (text, at) = fields.opt_text_at("where")?;
    let read = Filter::parse(text).map_err(|err| fields.complain("where", err.to_string()));
    let (filter, text) = (read.ok()?, text.to_owned());
    Some(Where { filter, text, at: Some(at), path: fields.path_of("where") })
}

/// The columns of a stream, and those of the defaults that it does not declare itself.
fn with_defaults(
    own: Option<Vec<DeclaredColumn>>,
    defaults: Option<&[DeclaredColumn]>,
) -> Option<Vec<DeclaredColumn>> {
    let mut columns = own.unwrap_or_default();
    let is_own = |name: &str| columns.iter().any(|own| own.name.eq_ignore_ascii_case(name));
    let others: Vec<_> =
        defaults.into_iter().flatten().filter(|other| !is_own(&other.name)).cloned().collect();
    columns.extend(others);
    (!columns.is_empty()).then_some(columns)
}

/// A key under `streams`, a name or a wildcard, with its settings.
type Entry<'n> = (&'n Key, Settings<'n>);

fn read_streams<'n>(
    node: &'n Node,
    defaults: &Settings<'n>,
    complaints: &Complaints,
) -> Vec<Entry<'n>> {
    let Kind::Map(entries) = &node.kind else {
        complaints.expected("a map with a key for each stream", node, "streams");
        return Vec::new();
    };
    if entries.is_empty() {
        complaints.add(node.at, "streams", "names no stream");
    }
    entries
        .iter()
        .map(|(key, value)| {
            let path = format!("streams.{}", key.text);
            (key, Settings::read(value, &path, complaints).or(defaults))
        })
        .collect()
}

#[cfg(test)]
mod tests;
