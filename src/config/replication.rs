//! The replication: which streams go where, as the user's YAML says.
//!
//! A [`Replication`] is validated: its streams exist, defaults and wildcards are
//! merged in, objects are filled in, and no two streams share one. A stream written
//! by its name stands for itself: it takes the defaults, never a wildcard's settings.
//! Whether a stream has the columns or the mode asked for is the plan's question.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
use super::variables::{Environment, expand_environment, fill_object};
use super::yaml;
use crate::cursor::{Interval, Timestamp};
use crate::record::filter::Filter;

/// Where a stream goes when nothing says otherwise.
const DEFAULT_OBJECT: &str = "posthog.{stream_name}";

/// How a folder for each date is written.
const PART_DATE: &str = "{part_date}";

const DATE_COMES_LAST: &str = "{part_date} comes last, as in posthog.events/{part_date}";

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

/// The text of a replication, and what to call the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub file: PathBuf,
    /// What is in it.
    pub text: String,
}

impl Written {
    /// Reads a file.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|error| {
            ConfigError::about(&path.display().to_string(), format!("cannot be read: {error}"))
        })?;
        Ok(Self { file: path.to_owned(), text })
    }

    /// The tree with its variables filled in, and the variables that it sets itself: they win over
    /// those of the environment.
    fn expanded(
        &self,
        environment: &Environment,
        complaints: &Complaints,
    ) -> Result<(Node, Environment), ConfigError> {
        let mut root = yaml::parse(&self.text).map_err(|complaint| {
            ConfigError::new(&self.file.display().to_string(), Some(&self.text), vec![complaint])
        })?;
        let own = take_env(&mut root, environment, complaints);
        let mut all = environment.clone();
        all.extend(own.clone());
        expand_environment(&mut root, "", &all, complaints);
        Ok((root, own))
    }
}

/// Takes the variables out that a replication sets: `env: { SCHEMA: lake, KEY: ${OTHER} }`.
fn take_env(root: &mut Node, environment: &Environment, complaints: &Complaints) -> Environment {
    let Kind::Map(entries) = &mut root.kind else { return Environment::new() };
    let Some(place) = entries.iter().position(|(key, _)| key.text == "env") else {
        return Environment::new();
    };
    let (_, mut node) = entries.remove(place);
    expand_environment(&mut node, "env", environment, complaints);
    let Kind::Map(variables) = &node.kind else {
        if !node.is_null() {
            complaints.expected("a map of names and texts", &node, "env");
        }
        return Environment::new();
    };
    let text = |(key, value): &(Key, Node)| {
        let text = value.text().or(value.is_null().then_some(""));
        if text.is_none() {
            complaints.expected("a text", value, &format!("env.{}", key.text));
        }
        Some((key.text.clone(), text?.to_owned()))
    };
    variables.iter().filter_map(text).collect()
}

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
        let mut all = environment.clone();
        all.extend(own);
        replication.audit = AuditColumn::wanted(&all);
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

/// The variables of objects that are the same for all streams.
fn variables(own: &Environment, now: Timestamp) -> Vec<(String, String)> {
    let text = now.to_string();
    let digits: String = text.chars().filter(char::is_ascii_digit).take(14).collect();
    let (date, time) = digits.split_at(8);
    let (year, day) = date.split_at(4);
    let (month, day) = day.split_at(2);
    let of_time = [
        ("run_timestamp", format!("{year}_{month}_{day}_{time}")),
        ("YYYY", year.to_owned()),
        ("YY", year[2..].to_owned()),
        ("MM", month.to_owned()),
        ("DD", day.to_owned()),
        ("HH", time[..2].to_owned()),
    ];
    let of_time = of_time.map(|(name, value)| (name.to_owned(), value));
    of_time.into_iter().chain(own.clone()).collect()
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
    Some(Where { filter: read.ok()?, at: Some(at), path: fields.path_of("where") })
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

/// The streams that the entries mean, each with the key that brought it. A name wins
/// over a wildcard, an earlier wildcard over a later one.
fn name_streams<'n>(
    entries: &[Entry<'n>],
    known: &[String],
    complaints: &Complaints,
) -> Vec<(String, At, Settings<'n>)> {
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let mut taken: Vec<&str> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
    let mut streams = Vec::new();
    for (key, settings) in entries {
        let pattern = key.text.as_str();
        if !pattern.contains('*') {
            match (names.contains(&pattern), settings.sql) {
                (true, Some((_, at))) => {
                    let message =
                        format!("{pattern} is a stream of PostHog's: give the query another name");
                    complaints.add(at, &format!("streams.{pattern}.sql"), message);
                }
                (false, None) => {
                    complaints.unknown_value("stream", pattern, &names, key.at, "streams")
                }
                _ => {}
            }
            streams.push((pattern.to_owned(), key.at, settings.clone()));
            continue;
        }
        let matching: Vec<&str> = names.iter().copied().filter(|n| matches(pattern, n)).collect();
        if matching.is_empty() {
            complaints.add(key.at, "streams", format!("no stream matches \"{pattern}\""));
        }
        for name in matching {
            if !taken.contains(&name) {
                taken.push(name);
                streams.push((name.to_owned(), key.at, settings.clone()));
            }
        }
    }
    streams.retain(|(_, _, settings)| settings.disabled != Some(true));
    streams
}

/// Whether `name` fits `pattern`, in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices()
                .map(|(index, _)| index)
                .chain([rest.len()])
                .any(|index| matches(after, &rest[index..]))
        }),
    }
}

/// Gives each stream the object it goes to.
struct Objects<'a> {
    source: &'a str,
    target: &'a str,
    /// The variables that are the same for all streams.
    variables: &'a [(String, String)],
    complaints: &'a Complaints,
}

impl Objects<'_> {
    fn settle(&self, named: Vec<(String, At, Settings<'_>)>) -> Vec<StreamConfig> {
        let mut owners: HashMap<String, String> = HashMap::new();
        let mut streams = Vec::new();
        for (name, at, settings) in named {
            let (object, by_date) = self.fill(&name, settings.object.as_ref());
            let source = settings.source_options;
            let options = settings.target_options.as_ref();
            let sql = |of: fn(&TargetOptions) -> &Option<String>| {
                Some(self.fill_sql(&name, &object, of(options?).as_deref()?))
            };
            let query = settings
                .sql
                .map(|(text, at)| Sql { text: self.fill_sql(&name, &object, text), at });
            let (pre_sql, post_sql) = (sql(|all| &all.pre_sql), sql(|all| &all.post_sql));
            if let Some(owner) = owners.insert(object.clone(), name.clone()) {
                let message = format!("\"{object}\" is already the object of streams.{owner}");
                self.complaints.add(at, &format!("streams.{name}.object"), message);
            }
            streams.push(StreamConfig {
                name,
                at,
                sql: query,
                mode: settings.mode.unwrap_or(Mode::FullRefresh),
                object,
                by_date,
                file_most: options
                    .map(|options| (options.file_max_rows, options.file_max_bytes))
                    .unwrap_or_default(),
                format: options.and_then(|options| options.settle(self.complaints)),
                tags: settings.tags.unwrap_or_default(),
                range: source.range,
                page_size: source.page_size,
                adds_columns: options.is_none_or(|options| options.add_new_columns != Some(false)),
                pre_sql,
                post_sql,
                limit: source.limit,
                filter: settings.filter,
                transforms: settings.transforms.unwrap_or_default(),
                read: source.read.unwrap_or(ReadBy::Auto),
                select: settings.select.unwrap_or_default(),
                primary_key: settings
                    .primary_key
                    .or_else(|| options.and_then(|options| options.primary_key.clone())),
                update_key: settings.update_key.map(str::to_owned),
                lookback: settings.lookback.or(source.lookback),
                delete_missing: settings
                    .delete_missing
                    .or_else(|| options.and_then(|options| options.delete_missing)),
                columns: settings.columns.unwrap_or_default(),
                flatten: settings.flatten.or(source.flatten),
            });
        }
        streams
    }

    /// The variables of the stream `name`.
    fn of_stream<'v>(&'v self, name: &'v str) -> Vec<(&'v str, &'v str)> {
        let own = [
            ("stream_name", name),
            ("stream_table", name),
            ("source_name", self.source),
            ("target_name", self.target),
            ("part_date", PART_DATE),
        ];
        let others = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        own.into_iter().chain(others).collect()
    }

    /// A statement with its variables filled in; other braces are its own.
    fn fill_sql(&self, name: &str, object: &str, sql: &str) -> String {
        let variables = self.of_stream(name).into_iter().chain([("object_name", object)]);
        variables
            .fold(sql.to_owned(), |sql, (name, value)| sql.replace(&format!("{{{name}}}"), value))
    }

    /// The object of the stream `name`, and whether it is divided by date.
    fn fill(&self, name: &str, object: Option<&Object<'_>>) -> (String, bool) {
        let variables = self.of_stream(name);
        let text = object.map_or(DEFAULT_OBJECT, |object| object.text);
        let complain = |message: String| {
            if let Some(Object { at, path, .. }) = object {
                self.complaints.add(*at, path, message);
            }
        };
        let filled = fill_object(text, &variables).unwrap_or_else(|error| {
            complain(error.to_string());
            // Kept apart, lest streams be told that they share what could not be filled in.
            format!("{text}/{name}")
        });
        let Some(above) = filled.strip_suffix(PART_DATE) else {
            if filled.contains(PART_DATE) {
                complain(DATE_COMES_LAST.to_owned());
            }
            return (filled, false);
        };
        match above.strip_suffix('/') {
            Some(above) if !above.contains(PART_DATE) => return (above.to_owned(), true),
            _ => complain(DATE_COMES_LAST.to_owned()),
        }
        (filled, false)
    }
}

#[cfg(test)]
mod tests;
