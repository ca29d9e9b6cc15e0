//! `hogline sandbox`: a PostHog look-alike on its own.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::demo::{FRESH, JUST_NOW, LATE};
use crate::cli::SandboxArgs;
use crate::error::{Exit, Failure};
use crate::report;
use crate::sandbox::{KEY, Options, PROJECT, Sandbox};
use crate::spec::registry::Registry;

/// Serves until interrupted.
pub(super) async fn sandbox(args: &SandboxArgs) -> Result<Exit, Failure> {
    let options = Options { listen: args.listen, events: args.events, ..Options::default() };
    let sandbox = Sandbox::start(options).await.map_err(|err| {
        let fix = "name another address with --listen";
        Failure::usage(format!("cannot listen on {}", args.listen), err.to_string(), fix)
    })?;
    let registry = Registry::load(&[])?;
    let mut stop = super::stop_signal()?;
    let mut life = signal(SignalKind::user_defined1()).map_err(super::no_signals)?;
    // Its key opens nothing but made-up data, and is of no use unseen.
    report::print(&format!(
        "A PostHog with made-up data listens on {origin}; stop it with Ctrl-C, and let something\n\
         happen in it with kill -USR1 {pid}. Connect with\n\n\
         export POSTHOG='{{ type: api, spec: posthog, secrets: {{ api_key: {KEY}, \
         project_id: \"{PROJECT}\", host: {origin} }} }}'",
        origin = sandbox.origin(),
        pid = std::process::id(),
    ));
    loop {
        tokio::select! {
            // The sender lives as long as the runtime: only a signal ends this.
            _ = stop.changed() => return Ok(Exit::Complete),
            _ = life.recv() => report::print(&live(&sandbox, &registry)),
        }
    }
}

/// Lets happen what incremental runs are for; tells what.
fn live(sandbox: &Sandbox, registry: &Registry) -> String {
    for stream in registry.streams().map(|endpoint| endpoint.stream.as_str()) {
        let records = sandbox.truth(stream).len();
        sandbox.touch(stream, records / 20);
        if stream != "events" {
            sandbox.delete(stream, records / 100);
        }
    }
    let now = sandbox.now().minus(JUST_NOW);
    sandbox.add_events(FRESH, Duration::ZERO, now);
    sandbox.add_events(FRESH, LATE, now);
    format!(
        "{FRESH} events happened and {FRESH} arrived that are two days old; in every stream one \
         record in 20 was changed, and in all but events one in 100 deleted."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn life_brings_what_incremental_runs_are_for() {
        let options = Options { events: 500, ..Options::default() };
        let sandbox = Sandbox::start(options).await.unwrap();
        let registry = Registry::load(&[]).unwrap();
        let count = |stream: &str| sandbox.truth(stream).len();
        let before = ["events", "cohorts", "projects"].map(count);
        let events = sandbox.truth("events");
        let cohorts = sandbox.truth("cohorts");

        live(&sandbox, &registry);

        assert_eq!(["events", "cohorts", "projects"].map(count), [before[0] + 100, 228, 1]);
        let kept = |rows: &[serde_json::Value], stream: &str| {
            let now = sandbox.truth(stream);
            rows.iter().filter(|row| now.contains(row)).count()
        };
        assert_eq!(kept(&cohorts, "cohorts"), 230 - 230 / 20 - 230 / 100);
        let resent = events.len() - kept(&events, "events");
        assert!((1..=events.len() / 20).contains(&resent), "{resent} of {}", events.len());
    }
}
