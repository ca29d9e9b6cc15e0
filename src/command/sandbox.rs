//! `hogline sandbox`: a PostHog look-alike on its own.

use crate::cli::SandboxArgs;
use crate::error::{Exit, Failure};
use crate::report;
use crate::sandbox::{KEY, Options, PROJECT, Sandbox};

/// Serves until interrupted.
pub(super) async fn sandbox(args: &SandboxArgs) -> Result<Exit, Failure> {
    let options = Options { listen: args.listen, events: args.events, ..Options::default() };
    let sandbox = Sandbox::start(options).await.map_err(|err| {
        let fix = "name another address with --listen";
        Failure::usage(format!("cannot listen on {}", args.listen), err.to_string(), fix)
    })?;
    // Its key opens nothing but made-up data, and is of no use unseen.
    report::print(&format!(
        "A PostHog with made-up data listens on {origin}; stop it with Ctrl-C. Connect with\n\n\
         export POSTHOG='{{ type: api, spec: posthog, secrets: {{ api_key: {KEY}, \
         project_id: \"{PROJECT}\", host: {origin} }} }}'",
        origin = sandbox.origin()
    ));
    let mut stop = super::stop_signal()?;
    // The sender lives as long as the runtime: only a signal ends this.
    drop(stop.changed().await);
    Ok(Exit::Complete)
}
