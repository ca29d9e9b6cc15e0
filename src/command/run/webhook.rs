//! A word to a webhook when streams end otherwise than they did before.
//!
//! What was told once is not told again: only a stream that was complete and failed, or the
//! other way, or failed in another way, is news. Nothing here can make a run fail.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::config::Environment;
use crate::config::secret::redact;
use crate::error::{Exit, Failure, words};
use crate::http::Webhook;
use crate::report::Facts;
use crate::state::store::{Run, RunStream};

/// The variable that names a webhook for all runs.
const VARIABLE: &str = "HOGLINE_WEBHOOK";

/// How many streams a message tells of; the rest are counted.
const TOLD: usize = 10;

/// The webhook that was named, on the command line or else in the environment.
pub(super) fn named(
    option: Option<&str>,
    environment: &Environment,
) -> Result<Option<Webhook>, Failure> {
    let variable = environment.get(VARIABLE).map(String::as_str);
    let Some(address) = option.or(variable).filter(|address| !address.is_empty()) else {
        return Ok(None);
    };
    // Never repeated: whoever knows it can write there.
    let refused = || {
        Failure::usage(
            "the webhook's address is not right",
            "it does not begin with https:// or http:// and a host",
            format!("mend --webhook, or the variable {VARIABLE}"),
        )
    };
    Webhook::at(address).map(Some).ok_or_else(refused)
}

/// Tells of a run, where it is news.
pub(super) async fn tell_of_change(webhook: &Webhook, facts: &Facts<'_>, run: &Run) {
    if !is_news(run, &facts.earlier) {
        return;
    }
    if let Err(why) = webhook.tell(message(facts, run)).await {
        tracing::warn!(host = webhook.host(), "the webhook was not told how the run ended: {why}");
    }
}

fn is_news(run: &Run, earlier: &[Run]) -> bool {
    run.streams.iter().any(|now| now.exit_code != code_before(now, earlier))
}

/// How a stream ended the last time; one that was never run is expected to be complete.
fn code_before(now: &RunStream, earlier: &[Run]) -> u8 {
    let is_it = |then: &&RunStream| then.stream == now.stream && then.object == now.object;
    earlier.iter().flat_map(|run| &run.streams).find(is_it).map_or(0, |then| then.exit_code)
}

/// What is told: `text` for people, the rest for programs.
fn message(facts: &Facts<'_>, run: &Run) -> String {
    let failures = failures(facts);
    let recovered = run
        .streams
        .iter()
        .filter(|now| now.exit_code == 0 && code_before(now, &facts.earlier) != 0);
    let recovered: Vec<&str> = recovered.map(|now| now.stream.as_str()).collect();
    let failed = run.failed().map(|now| {
        let failure = failures.get(now.stream.as_str()).copied().or(facts.failure);
        json!({
            "stream": now.stream,
            "object": now.object,
            "exit_code": now.exit_code,
            "message": failure.map(|failure| format!("{}: {}", failure.what, failure.cause)),
            "fix": failure.map(|failure| &failure.fix),
        })
    });
    let failed: Vec<Value> = failed.collect();
    let outcome = if facts.exit == Exit::Complete { "complete" } else { "failed" };
    let message = json!({
        "version": 1,
        "text": text(facts, &failures, &recovered),
        "outcome": outcome,
        "exit_code": run.exit_code,
        "replication": facts.replication,
        "started": run.started,
        "ended": run.ended,
        "failed": failed,
        "recovered": recovered,
    });
    redact(&message.to_string()).into_owned()
}

/// Why each stream that failed did.
fn failures<'a>(facts: &Facts<'a>) -> BTreeMap<&'a str, &'a Failure> {
    let outcomes = facts.outcomes.iter();
    let of_streams =
        outcomes.filter_map(|outcome| Some((&*outcome.stream, outcome.failure.as_ref()?)));
    of_streams.collect()
}

/// The message as Slack, and what understands Slack's, shows it.
fn text(facts: &Facts<'_>, failures: &BTreeMap<&str, &Failure>, recovered: &[&str]) -> String {
    let ending = words(facts.exit.code());
    let mut lines = vec![format!("hogline {}: {ending}", facts.replication)];
    let told = |name: &str, failure: &Failure| match failure.fix.as_str() {
        "" => format!("✗ {name}: {}", failure.cause),
        fix => format!("✗ {name}: {}\n   fix: {fix}", failure.cause),
    };
    lines.extend(facts.failure.map(|failure| told(&failure.what, failure)));
    lines.extend(failures.iter().take(TOLD).map(|(stream, failure)| told(stream, failure)));
    if failures.len() > TOLD {
        lines.push(format!("✗ and {} more", failures.len() - TOLD));
    }
    if !recovered.is_empty() {
        lines.push(format!("✓ complete again: {}", recovered.join(", ")));
    }
    // The three that Slack takes for its own marks.
    lines.join("\n").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
