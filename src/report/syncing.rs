//! What syncs came to, as text and as JSON.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};

use super::figures::grouped;
use super::table::Table;
use crate::error::{Exit, Failure};

/// What became of a sync's rows.
#[derive(Debug, Default, Serialize)]
pub struct Synced {
    /// The sync.
    pub sync: String,
    /// What a row becomes.
    pub object: &'static str,
    /// What is done with it.
    pub behavior: &'static str,
    /// Rows read.
    pub processed: u64,
    /// Rows that PostHog has taken for the first time; in a dry run, that would be sent.
    pub created: u64,
    /// Rows that it has taken with a change; in a dry run, that would be sent.
    pub updated: u64,
    /// Rows that are gone, and whose properties are unset.
    pub unset: u64,
    /// Rows that were not sent and need not be: unchanged, or of a person who is not there.
    pub skipped: u64,
    /// Those of them whose person is not there.
    pub not_found: u64,
    /// Rows that PostHog refused, or whose person is not known for certain.
    pub failed: u64,
    /// Rows that break a rule: without a key, with one that others have, or not fit to be sent.
    pub invalid: u64,
    /// Where those that failed or are invalid are written, the first of them.
    pub rejects_file: Option<PathBuf>,
    /// Requests sent, repeated ones included.
    pub requests: u64,
    /// How long it took.
    pub seconds: f64,
    /// What there is to know besides.
    pub notes: Vec<String>,
    /// What would be sent of the first rows, in a dry run.
    pub samples: Vec<Value>,
    /// Why it did not come to its end.
    #[serde(skip)]
    pub failure: Option<Failure>,
    /// The same, as text.
    pub error: Option<String>,
}

impl Synced {
    /// How it ended, where that was not well.
    pub fn exit(&self) -> Option<Exit> {
        match &self.failure {
            Some(failure) => Some(failure.exit),
            None if self.failed + self.invalid > 0 => Some(Exit::Partly),
            None => None,
        }
    }
}

/// A table, and what there is to say below it.
pub fn syncing(all: &[Synced], is_dry: bool) -> String {
    let mut table = Table::new(&[
        "sync",
        "object",
        "behavior",
        "processed",
        "created",
        "updated",
        "unset",
        "skipped",
        "failed",
        "invalid",
        "outcome",
    ]);
    for one in all {
        let outcome = match (&one.failure, is_dry) {
            (Some(_), _) => "stopped",
            (None, true) => "nothing was sent",
            (None, false) if one.exit().is_some() => "partly",
            (None, false) => "complete",
        };
        let mut cells = vec![one.sync.clone(), one.object.into(), one.behavior.into()];
        let counts = [
            one.processed,
            one.created,
            one.updated,
            one.unset,
            one.skipped,
            one.failed,
            one.invalid,
        ];
        cells.extend(counts.map(grouped));
        cells.push(outcome.to_owned());
        table.row(cells);
    }
    let mut text = table.to_string();
    for one in all {
        let mut say = |line: &str| text.push_str(&format!("\n{}: {line}", one.sync));
        if one.not_found > 0 {
            say(&format!(
                "of the skipped, {} of persons who are not there",
                grouped(one.not_found)
            ));
        }
        if let Some(path) = &one.rejects_file {
            say(&format!("what failed or is invalid: see {}", path.display()));
        }
        one.notes.iter().for_each(|note| say(note));
        one.samples.iter().for_each(|sample| say(&format!("would send {sample}")));
    }
    text
}

/// The same for programs.
pub fn syncing_as_json(all: &[Synced], exit: Exit, is_dry: bool) -> String {
    json!({ "exit_code": exit.code(), "dry_run": is_dry, "syncs": all }).to_string()
}
