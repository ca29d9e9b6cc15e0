//! What the replication wants done before its first stream and after its last.

use std::process::Stdio;

use tokio::process::Command;
use tokio::sync::watch;

use super::exit_of;
use crate::config::secret::redact;
use crate::config::{Action, Hook};
use crate::error::{Exit, Failure};
use crate::http::Webhook;
use crate::report::{self, Outcome};
use crate::runner;

/// What a hook is told of the run: the name in braces, and its value.
type Told = Vec<(&'static str, String)>;

/// What is known before anything was read.
pub(super) fn of_start(replication: &str) -> Told {
    vec![("replication", replication.to_owned()), ("status", "started".to_owned())]
}

/// What is known of a run that ended.
pub(super) fn of_end(replication: &str, outcomes: Result<&[Outcome], &Failure>) -> Told {
    let (exit, rows, failed) = match outcomes {
        Ok(outcomes) => {
            let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some());
            let failed: Vec<&str> = failed.map(|outcome| outcome.stream.as_str()).collect();
            let rows: u64 = outcomes.iter().map(|outcome| outcome.rows.seen()).sum();
            (exit_of(outcomes), rows, failed.join(","))
        }
        Err(failure) => (failure.exit, 0, String::new()),
    };
    let status = if exit == Exit::Complete { "complete" } else { "failed" };
    vec![
        ("replication", replication.to_owned()),
        ("status", status.to_owned()),
        ("exit_code", exit.code().to_string()),
        ("rows", rows.to_string()),
        ("failed_streams", failed),
    ]
}

/// Does them one after the other; stops at the first that fails, unless it only warns. A signal
/// ends the one in hand, a failure the run with `exit`.
pub(super) async fn run(
    hooks: &[Hook],
    told: &Told,
    stop: &watch::Receiver<Option<u8>>,
    exit: Exit,
) -> Result<(), Failure> {
    for hook in hooks {
        let mut stop = stop.clone();
        if stop.borrow().is_some() {
            // The run was stopped already, and says so.
            return Ok(());
        }
        let acted = tokio::select! {
            biased;
            acted = act(&hook.action, told) => acted,
            signal = runner::stopped(&mut stop) => {
                return Err(runner::interrupted(&hook.path, signal));
            }
        };
        let Err(why) = acted else { continue };
        if hook.only_warns {
            tracing::warn!("{} failed: {why}", hook.path);
            continue;
        }
        let (what, fix) = (
            format!("{} failed", hook.path),
            "mend it, or let it only be told with on_failure: warn",
        );
        return Err(Failure { exit, ..Failure::usage(what, why, fix) });
    }
    Ok(())
}

async fn act(action: &Action, told: &Told) -> Result<(), String> {
    match action {
        Action::Log(message) => {
            report::tell(&filled(message, told));
            Ok(())
        }
        Action::Command(words) => {
            let words: Vec<String> = words.iter().map(|word| filled(word, told)).collect();
            command(&words, told).await
        }
        Action::Http { url, payload } => {
            let webhook = Webhook::at(&filled(url, told))
                .ok_or("its url does not begin with https:// or http:// and a host")?;
            let summary = || {
                let of = told.iter().map(|(name, value)| (*name, value.as_str()));
                serde_json::json!(of.collect::<std::collections::BTreeMap<_, _>>()).to_string()
            };
            let text = payload.as_ref().map_or_else(summary, |payload| filled(payload, told));
            webhook.tell(redact(&text).into_owned()).await
        }
    }
}

/// Runs a program; what it prints goes to stderr, where it does not mix with the summary.
async fn command(words: &[String], told: &Told) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let variables =
        told.iter().map(|(name, value)| (format!("HOGLINE_{}", name.to_uppercase()), value));
    let output = Command::new(program)
        .args(arguments)
        .envs(variables)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|err| format!("`{program}` cannot be run: {err}"))?;
    for printed in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(printed);
        if !text.trim().is_empty() {
            report::tell(text.trim_end());
        }
    }
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("`{program}` ended with {}", output.status)),
    }
}

/// A text with what is told in place of the names in braces.
fn filled(text: &str, told: &Told) -> String {
    told.iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}
