//! What a replication says of how a stream is read: `source_options: { read: sql, lookback: 3d }`.

use std::time::Duration;

use super::columns::{self, Flattening};
use super::complaint::Complaints;
use super::fields::Fields;
use super::node::Node;
use crate::cursor::Interval;

/// PostHog answers no more rows at once, whatever is asked for.
pub(super) const LARGEST_PAGE: u64 = 50_000;

/// What Sling can say of a source and we cannot.
pub(super) const SLINGS: [&str; 14] = [
    "chunk_count",
    "chunk_expr",
    "chunk_size",
    "columns",
    "compression",
    "datetime_format",
    "delimiter",
    "empty_as_null",
    "format",
    "header",
    "jmespath",
    "null_if",
    "offset",
    "transforms",
];

/// In which way a stream is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadBy {
    /// By SQL where PostHog answers it, else by lists.
    Auto,
    /// By SQL or not at all.
    Sql,
    /// By lists.
    Rest,
}

impl ReadBy {
    /// Every choice by its name.
    pub const ALL: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("sql", Self::Sql), ("rest", Self::Rest)];
}

/// What was written of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SourceOptions {
    pub(super) range: Option<Interval>,
    pub(super) page_size: Option<u64>,
    pub(super) limit: Option<u64>,
    pub(super) read: Option<ReadBy>,
    pub(super) lookback: Option<Duration>,
    pub(super) flatten: Option<Flattening>,
}

impl SourceOptions {
    pub(super) fn read(node: &Node, path: &str, complaints: &Complaints) -> Self {
        let mut fields = Fields::of(node, path, complaints);
        let range = fields.opt_text("range").map(Interval::parse);
        let options = Self {
            range: range.flatten(),
            page_size: fields.opt_integer("page_size"),
            limit: fields.opt_positive("limit"),
            read: fields.opt_choice("read", "way of reading", &ReadBy::ALL),
            lookback: fields.opt_duration("lookback"),
            flatten: columns::flatten(&mut fields, complaints),
        };
        if range == Some(None) {
            fields
                .complain("range", "expected two times, the earlier first: 2026-01-01,2026-02-01");
        }
        if options.page_size.is_some_and(|size| !(1..=LARGEST_PAGE).contains(&size)) {
            let message = format!("expected a number from 1 to {LARGEST_PAGE}");
            fields.complain("page_size", message);
        }
        fields.refuse(&SLINGS, super::replication::refuse_sling);
        fields.finish();
        options
    }

    /// These options, and the defaults' where these are silent.
    pub(super) fn or(self, defaults: &Self) -> Self {
        Self {
            range: self.range.or(defaults.range),
            page_size: self.page_size.or(defaults.page_size),
            limit: self.limit.or(defaults.limit),
            read: self.read.or(defaults.read),
            lookback: self.lookback.or(defaults.lookback),
            flatten: self.flatten.or_else(|| defaults.flatten.clone()),
        }
    }
}
