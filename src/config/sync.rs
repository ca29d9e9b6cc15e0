//! `sync.yaml`: which rows become what in PostHog.
//!
//! A [`SyncFile`] is validated: every combination of object, behavior and key in it can be done
//! with the source and the target that it names. What PostHog cannot do is refused here and not
//! done in some other way: it has no conditional write, so updating only who is there needs a key
//! that may read persons (posthog-api.md §8.6). Whether a table has the columns that are mapped is
//! known when it is read.

mod mapping;
mod read;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::complaint::{At, Complaints, ConfigError};
use super::fields::Fields;
use super::replication::Written;
use super::variables::Environment;

pub use mapping::{Properties, Term};

use read::read_syncs;

/// A file of syncs, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncFile {
    /// The file it was read from.
    pub file: PathBuf,
    /// The connection, or the URL, that rows are read from.
    pub source: String,
    /// The PostHog connection that they go to.
    pub target: String,
    /// The syncs, in the order of the file.
    pub syncs: Vec<Sync>,
}

/// One table's way into PostHog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    /// Its name: with the key of a row it makes the uuid of what is sent.
    pub name: String,
    /// Where the file names it.
    pub at: At,
    /// Which rows.
    pub rows: Rows,
    /// The column that tells one row from all others.
    pub key: String,
    /// What a row becomes.
    pub becomes: Becomes,
    /// Which columns are properties.
    pub properties: Properties,
    /// The column that grows whenever a row changes, where only rows above a mark are read.
    pub timestamp_column: Option<String>,
    /// Whether the rows are sent that are there when the sync begins.
    pub backfill: bool,
}

/// Where a sync's rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// What a query answers.
    Query(String),
    /// A table, or a view.
    Table(String),
    /// A file in the source's folder.
    File(String),
}

/// What a row becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Becomes {
    /// An event, once.
    Event {
        /// Its name.
        event: Term,
        /// Who.
        distinct_id: Term,
        /// The column that says when; without, when it was sent.
        timestamp: Option<String>,
    },
    /// A page that was viewed, once.
    Page {
        /// Its address.
        url: Option<Term>,
        /// Who.
        distinct_id: Term,
        /// The column that says when; without, when it was sent.
        timestamp: Option<String>,
    },
    /// What is known of a person, whenever that changes.
    Person(PersonSync),
}

/// How persons are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct PersonSync {
    /// How the person of a row is found.
    pub by: FoundBy,
    /// What is done with it.
    pub behavior: PersonBehavior,
    /// The properties that are set where there are none, and left alone where there are.
    pub set_once: Vec<String>,
    /// What a null says.
    pub nulls: Nulls,
}

/// How the person of a row is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FoundBy {
    /// The key is a distinct id.
    Id,
    /// The key is the person's property `email`.
    Email {
        /// What is done where several persons have it.
        ambiguous: Ambiguous,
        /// The column with the distinct id of a person that is new; without, the e-mail is it.
        new_id: Option<String>,
    },
}

/// What is done with a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonBehavior {
    /// Its properties are set; who is not there is made.
    UpdateOrCreate,
    /// Its properties are set; who is not there is passed over.
    UpdateOnly,
    /// As update or create; and of a row that is gone, the properties are unset.
    Mirror,
}

/// What a null in a person's property says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Nulls {
    /// Nothing: the property stays what it was.
    Skip,
    /// That there is no value: the property is unset.
    Unset,
}

/// What is done where several persons have the same e-mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ambiguous {
    /// None of them is written, and the row is reported.
    Reject,
    /// All of them are written.
    All,
    /// The one that was seen last is written.
    Latest,
}

/// What has to be known of a file's two ends to judge it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Whether rows are in files; they are in a database otherwise.
    pub source_is_files: bool,
    /// Whether the target has a personal key, with which persons can be asked for.
    pub target_reads: bool,
}

impl SyncFile {
    /// Checks what is written.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(
        written: &Written,
        environment: &Environment,
        ends: Ends,
    ) -> Result<Self, ConfigError> {
        let complaints = Complaints::new();
        let (root, _) = written.expanded(environment, &complaints)?;
        let mut fields = Fields::of(&root, "", &complaints);
        let (source, target) = (fields.text("source"), fields.text("target"));
        let entries = fields.required("syncs");
        fields.finish();
        let syncs = entries.map(|node| read_syncs(node, ends, &complaints)).unwrap_or_default();
        complaints.into_result(&written.file.display().to_string(), Some(&written.text))?;
        Ok(Self { file: written.file.clone(), source, target, syncs })
    }

    /// The source and the target as they are written: what has to be known before
    /// [`Self::parse`]. None where it is not said; `parse` then tells why.
    ///
    /// # Errors
    /// Where it is not YAML.
    pub fn ends_of(
        written: &Written,
        environment: &Environment,
    ) -> Result<(Option<String>, Option<String>), ConfigError> {
        let unheard = Complaints::new();
        let (root, _) = written.expanded(environment, &unheard)?;
        let mut fields = Fields::of(&root, "", &unheard);
        let mut text = |key| fields.opt_text(key).map(str::to_owned);
        Ok((text("source"), text("target")))
    }

    /// The folder that relative paths start from.
    pub fn folder(&self) -> &Path {
        self.file.parent().unwrap_or_else(|| Path::new(""))
    }
}

#[cfg(test)]
mod tests;
