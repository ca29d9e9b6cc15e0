//! What sending a file came to, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::figures::{counted, grouped, took};
use crate::send::rules::Doubt;

/// What became of a file's events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sent {
    /// How it ended, as an exit code.
    pub exit_code: u8,
    /// Lines read.
    pub lines: i64,
    /// Events that PostHog has taken; in a dry run, that would be sent.
    pub delivered: u64,
    /// Events that wait in the outbox.
    pub accepted: Option<u64>,
    /// Calls that their sender kept from PostHog.
    pub skipped: u64,
    /// Events that broke a rule, or that PostHog refused.
    pub rejected: u64,
    /// Where they are written.
    pub rejects: Option<PathBuf>,
    /// What PostHog does not do as asked, and of how many events.
    pub doubts: BTreeMap<Doubt, u64>,
    /// What PostHog answered last.
    pub status: Option<u16>,
    /// Requests sent, repeated ones included.
    pub requests: u64,
    /// Requests that were repeated.
    pub retries: u64,
    /// How long it took.
    pub took: Duration,
    /// Whether nothing was sent.
    pub is_dry: bool,
    /// Whether events were printed, so that this goes elsewhere.
    pub is_shown: bool,
}

/// A sentence, and a line for what is to be known besides.
pub fn sending(sent: &Sent) -> String {
    let delivered = counted(sent.delivered, "event");
    let mut text = match sent.is_dry {
        true => {
            format!("{delivered} would be sent of {}", counted(sent.lines.unsigned_abs(), "line"))
        }
        false => {
            let seconds = sent.took.as_secs_f64().max(0.001);
            // A rate of events in whole seconds is exact enough.
            let rate = grouped((sent.delivered as f64 / seconds) as u64);
            format!("{delivered} delivered in {} ({rate}/s)", took(sent.took))
        }
    };
    if let Some(accepted) = sent.accepted {
        // Writing to a String cannot fail, here and below.
        write!(text, ", {} accepted into the outbox", grouped(accepted)).ok();
    }
    if sent.skipped > 0 {
        write!(text, ", {} not for PostHog", grouped(sent.skipped)).ok();
    }
    write!(text, ", {} rejected", grouped(sent.rejected)).ok();
    if let Some(path) = &sent.rejects {
        write!(text, ": see {}", path.display()).ok();
    }
    if !sent.is_dry {
        let (requests, retries) = (grouped(sent.requests), grouped(sent.retries));
        write!(text, "\nrequests {requests}, repeated {retries}").ok();
        if let Some(status) = sent.status {
            write!(text, ", last answer {status}").ok();
        }
    }
    for (doubt, count) in &sent.doubts {
        write!(text, "\nof {}: {}", counted(*count, "event"), doubt.reason()).ok();
    }
    text
}

/// The same for programs.
pub fn sending_as_json(sent: &Sent) -> String {
    let doubts: Vec<_> = sent
        .doubts
        .iter()
        .map(
            |(doubt, count)| json!({ "warning": doubt, "events": count, "reason": doubt.reason() }),
        )
        .collect();
    json!({
        "exit_code": sent.exit_code,
        "lines": sent.lines,
        "delivered": sent.delivered,
        "accepted": sent.accepted,
        "rejected": sent.rejected,
        "skipped": sent.skipped,
        "rejects_file": sent.rejects,
        "warnings": doubts,
        "status": sent.status,
        "requests": sent.requests,
        "retries": sent.retries,
        "seconds": sent.took.as_secs_f64(),
        "dry_run": sent.is_dry,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_sent_is_told_in_a_few_lines() {
        let sent = Sent {
            lines: 1_000_001,
            delivered: 1_000_000,
            rejected: 1,
            rejects: Some("events.jsonl.rejects.jsonl".into()),
            doubts: [(Doubt::SessionIdUnusable, 7)].into(),
            status: Some(200),
            requests: 1002,
            retries: 2,
            took: Duration::from_secs(20),
            ..Sent::default()
        };

        assert_eq!(
            sending(&sent),
            "1,000,000 events delivered in 20.0 s (50,000/s), 1 rejected: see events.jsonl.rejects.jsonl\n\
             requests 1,002, repeated 2, last answer 200\n\
             of 7 events: `$session_id` is no UUID of version 7: PostHog keeps the event out of sessions"
        );
        let dry = Sent { is_dry: true, lines: 2, delivered: 1, rejected: 1, ..Sent::default() };
        assert_eq!(sending(&dry), "1 event would be sent of 2 lines, 1 rejected");
        let json: serde_json::Value = serde_json::from_str(&sending_as_json(&sent)).unwrap();
        assert_eq!(json["warnings"][0]["warning"], "session_id_unusable");
    }
}
