//! The commands, one file each: a command reads as the list of its stages.

mod capture;
mod checks;
mod compact;
mod conns;
mod demo;
mod discover;
mod doctor;
mod explain;
mod manual;
mod outbox;
mod run;
mod sandbox;
mod schema;
mod serve;
mod state;
mod sync;
mod verify;

use std::time::Duration;

use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command, LogFormat};
use crate::config::ConfigError;
use crate::config::duration::parse_duration;
use crate::error::{Exit, Failure};
use crate::report;

/// Does what was asked and tells how it ended.
pub fn main(cli: Cli) -> Exit {
    start_log(&cli);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(err) => {
            return told(&Failure::usage("cannot start", err.to_string(), "free some memory"));
        }
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Demo(args) => demo::demo(&args).await,
            Command::Run(args) => run::run(&args).await,
            Command::Discover(args) => discover::discover(&args).await,
            Command::Conns(args) => conns::conns(&args).await,
            Command::Doctor(args) => doctor::doctor(&args).await,
            Command::Explain { code } => explain::explain(code),
            Command::Schema { of } => schema::schema(of),
            Command::State(args) => state::state(&args),
            Command::Verify(args) => verify::verify(&args).await,
            Command::Capture(args) => capture::capture(&args).await,
            Command::Sync(args) => sync::sync(&args).await,
            Command::Outbox(args) => outbox::outbox(&args).await,
            Command::Serve(args) => serve::serve(&args).await,
            Command::Compact(args) => compact::compact(&args).await,
            Command::Completions { shell } => manual::completions(shell),
            Command::Man { dir } => manual::pages(dir.as_deref()),
            Command::Sandbox(args) => sandbox::sandbox(&args).await,
        }
    });
    // What still waits on a thread of its own, for a name to be resolved, serves nobody now.
    runtime.shutdown_background();
    done.unwrap_or_else(|failure| told(&failure))
}

/// What `option` says of a time; the fix shows how one is written.
fn duration(option: &str, text: &str, fix: &str) -> Result<Duration, Failure> {
    parse_duration(text).ok_or_else(|| {
        let cause = "expected a whole number with a unit: ms, s, m, h, d or w";
        Failure::usage(format!("{option}: `{text}` is no duration"), cause, fix)
    })
}

/// The longest wait that PostHog may ask for.
fn max_wait(text: &str) -> Result<Duration, Failure> {
    duration("--max-wait", text, "write --max-wait 30s or --max-wait 15m")
}

fn told(failure: &Failure) -> Exit {
    report::tell(&format!("error: {failure}"));
    failure.exit
}

fn start_log(cli: &Cli) {
    if cli.log_format == LogFormat::Json {
        report::never_draw();
    }
    let level = if cli.debug { "hogline=debug" } else { "hogline=info" };
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level))
        .with_writer(|| report::RedactedStderr)
        // Where nobody reads stderr any more, there is nobody to tell that either.
        .log_internal_errors(false)
        .with_target(false);
    let started = match cli.log_format {
        LogFormat::Text => log.with_ansi(false).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    if let Err(err) = started {
        report::tell(&format!("the log could not be started: {err}"));
    }
}

impl From<ConfigError> for Failure {
    fn from(err: ConfigError) -> Self {
        Self {
            what: "the configuration is not right".into(),
            cause: err.to_string(),
            fix: String::new(),
            exit: Exit::Usage,
        }
    }
}

/// Turns the signals that ask a process to stop into a value.
fn stop_signal() -> Result<watch::Receiver<Option<u8>>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let (send, stop) = watch::channel(None);
    tokio::spawn(async move {
        let number = tokio::select! {
            // Either ends the run the same way; which is named does not matter.
            _ = interrupt.recv() => 2,
            _ = terminate.recv() => 15,
        };
        send.send_replace(Some(number));
        crate::stop::ask();
        // Keeps the channel open: a closed one would look like no signal.
        std::future::pending::<()>().await;
    });
    Ok(stop)
}

fn no_signals(err: std::io::Error) -> Failure {
    let fix = "run on a system that has them";
    Failure::usage("cannot listen for signals", err.to_string(), fix)
}
