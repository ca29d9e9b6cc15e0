//! All there is to tell of a run once it ended, and the same as JSON.
//!
//! Gathered once; the metrics, the report and the page are each a view of it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Outcome;
use crate::cursor::Timestamp;
use crate::error::{Exit, Failure};
use crate::http::Left;
use crate::state::store::Run;

/// What is known of a stream beyond one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// The stream.
    pub stream: String,
    /// Where it goes.
    pub object: String,
    /// Up to when it is complete.
    pub complete_to: Option<Timestamp>,
    /// When the last run ended that made it complete.
    pub last_success: Option<Timestamp>,
}

/// What there is to tell of a run.
#[derive(Debug)]
pub struct Facts<'a> {
    /// What was replicated: the file.
    pub replication: String,
    /// From where.
    pub source: String,
    /// To where.
    pub target: String,
    /// When it began.
    pub begun: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How the process ends.
    pub exit: Exit,
    /// What became of its streams.
    pub outcomes: &'a [Outcome],
    /// Why not one of them was begun.
    pub failure: Option<&'a Failure>,
    /// All streams of the state.
    pub freshness: Vec<Freshness>,
    /// What is left of each quota counter.
    pub quotas: BTreeMap<String, Left>,
    /// The runs of these streams before, the last one first.
    pub earlier: Vec<Run>,
}

impl Facts<'_> {
    /// Of a run that had nothing to do.
    pub fn of(replication: &str, at: Timestamp) -> Self {
        Self {
            replication: replication.to_owned(),
            source: String::new(),
            target: String::new(),
            begun: at,
            ended: at,
            exit: Exit::Complete,
            outcomes: &[],
            failure: None,
            freshness: Vec::new(),
            quotas: BTreeMap::new(),
            earlier: Vec::new(),
        }
    }
}

/// A run's report as JSON; `version` tells how to read it. What is added does not change it.
pub fn as_json(facts: &Facts<'_>) -> String {
    #[derive(Serialize)]
    struct Report<'a> {
        version: u32,
        exit: u8,
        begun: Timestamp,
        ended: Timestamp,
        /// Why no stream was begun.
        error: Option<String>,
        streams: &'a [Outcome],
    }
    let Facts { begun, ended, exit, outcomes, failure, .. } = facts;
    serde_json::to_string_pretty(&Report {
        version: 1,
        exit: exit.code(),
        begun: *begun,
        ended: *ended,
        error: failure.map(ToString::to_string),
        streams: outcomes,
    })
    .unwrap_or_default()
}
