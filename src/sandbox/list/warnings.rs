//! The list of ingestion warnings: by type, each with its newest examples.
//!
//! Only the newest PostHog shows it to personal keys; before, whatever their scopes,
//! they were told that this is not for them (posthog-api.md §8.9).

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::View;
use crate::sandbox::answer::Answer;
use crate::sandbox::data::intake::Warning;
use crate::sandbox::time::{self, DAY};

/// The most examples of a type.
const EXAMPLES: usize = 50;

/// How long a warning is kept.
const KEPT: i64 = 30 * DAY;

/// Answers the list.
pub(in crate::sandbox) fn list(view: &View<'_>) -> Result<Answer, Answer> {
    if !view.has_open_warnings {
        return Err(Answer::denied("This action does not support Personal API Key access"));
    }
    let part = view.question.parameter("q").unwrap_or_default();
    let oldest = time::shift(view.now, -KEPT);
    let mut kinds: BTreeMap<&str, Vec<&Warning>> = BTreeMap::new();
    for warning in view.data.warnings.iter().filter(|warning| warning.at >= oldest) {
        if warning.kind.contains(part) || json!(warning.details).to_string().contains(part) {
            kinds.entry(warning.kind).or_default().push(warning);
        }
    }
    let mut kinds: Vec<_> = kinds.into_values().collect();
    kinds.sort_by_key(|kind| Reverse(kind.last().map(|last| last.at)));
    let results: Vec<Value> = kinds.iter().map(|kind| entry(kind)).collect();
    Ok(Answer::value(&json!({ "results": results })))
}

/// What is told of a type.
fn entry(kind: &[&Warning]) -> Value {
    let example = |warning: &&&Warning| {
        json!({ "type": warning.kind, "timestamp": time::zulu(warning.at),
            "details": warning.details })
    };
    let newest: Vec<Value> = kind.iter().rev().take(EXAMPLES).map(|one| example(&one)).collect();
    let last = kind.last().map(|last| time::zulu(last.at));
    json!({ "type": newest[0]["type"], "lastSeen": last, "sparkline": [[kind.len(), last]],
        "warnings": newest, "count": kind.len() })
}
