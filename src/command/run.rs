//! `hogline run`: replicates the streams of a replication file.

mod account;
mod columns;
mod connect;
mod dry_run;
mod history;
mod holes;
mod hooks;
mod jobs;
mod projects;
mod queries;
mod scratch;
mod stdout;
mod webhook;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use account::Account;
use serde_json::json;
use tokio::sync::watch;

use crate::cli::{OneTransfer, RunArgs};
use crate::config::audit::UNHEARD;
use crate::config::{
    Connections, Environment, Mode, Posthog, Replication, TargetConnection, Where, Written,
};
use crate::cursor::{Interval, Timestamp};
use crate::error::{Exit, Failure, overall};
use crate::http::Client;
use crate::record::filter::Filter;
use crate::report::{self, Facts, Outcome, Progress, Tally};
use crate::runner;
use crate::spec::registry::Registry;
use crate::state::lock::{Lock, LockError};
use crate::state::store::StateStore;

pub(super) use connect::{answers_sql, connect, greet};
pub(super) use jobs::{keep_copy, place, unusable_state};
pub(super) use projects::{ProjectSource, of as projects_of};

use queries::Queries;

/// What a replication is called that stands in no file.
const COMMAND_LINE: &str = "command line";

/// What the command line adds to the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    /// Streams by name, `tag:x` for those with a tag; empty means all.
    pub(super) streams: Vec<String>,
    /// The columns, whatever the file says.
    pub(super) select: Option<Vec<String>>,
    /// Which records are wanted, whatever the file says.
    pub(super) filter: Option<Where>,
    /// How many rows are read of each stream, whatever the file says.
    pub(super) limit: Option<u64>,
    /// Variables that win over the environment's.
    pub(super) env: Environment,
    /// Of these streams only those that the last run left incomplete.
    pub(super) only_failed: bool,
    pub(super) mode: Option<Mode>,
    pub(super) range: Option<Interval>,
    /// The longest single wait, in place of the connection's.
    pub(super) max_wait: Option<Duration>,
    /// Whether what was loaded, in whatever mode, is looked at, and nothing loaded.
    pub(super) is_looking: bool,
    /// Whether the target may lack rows that its checkpoint names: they are to be found out.
    pub(super) may_lack_rows: bool,
}

/// Runs the file that was named.
pub(super) async fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let here = working_folder()?;
    let connections = Connections::load(&here)?;
    let options = options(args)?;
    let written = written(args)?;
    let state = state_path(&written.file, args.state.as_deref());
    if let Some(format) = args.stdout {
        return stdout::print(&written, &connections, &here, options, format).await;
    }
    if args.dry_run {
        return dry_run::show(&written, &connections, &here, &options, &state).await;
    }
    let webhook = webhook::named(args.webhook.as_deref(), connections.environment())?;
    let account = Account::of(args, webhook);
    let file = written.file.display().to_string();
    let Some(plan) = plan(&written, &connections, &here, &options, &state).await? else {
        account.report(&Facts::of(&file, Timestamp::now()))?;
        return Ok(Exit::Complete);
    };
    let begun =
        hooks::run(&plan.replication.hooks.start, &hooks::of_start(&file), &plan.stop, Exit::Usage)
            .await;
    let outcomes = match begun {
        Ok(()) => attempted(&plan).await,
        Err(failure) => Err(failure),
    };
    crash_point!("before the summary");
    if let Ok(outcomes) = &outcomes {
        tell(outcomes);
    }
    let left = account.leave(&plan, outcomes.as_deref()).await;
    let told = hooks::of_end(&file, outcomes.as_deref());
    let ended = hooks::run(&plan.replication.hooks.end, &told, &plan.stop, Exit::Partly).await;
    let left = left.and(ended);
    match (outcomes.map(|outcomes| exit_of(&outcomes)), left) {
        (Ok(Exit::Complete), Err(unreported)) => Err(unreported),
        (ended, left) => {
            // What the run itself came to matters more.
            left.unwrap_or_else(|unreported| report::tell(&format!("error: {unreported}")));
            ended
        }
    }
}

/// Tells how the run went.
fn tell(outcomes: &[Outcome]) {
    if !outcomes.is_empty() {
        report::print(&report::summary(outcomes));
    }
    report::tell_failures(outcomes);
}

/// The replication file that was named, or what one would say of the stream that was.
fn written(args: &RunArgs) -> Result<Written, Failure> {
    let Some(of) = &args.one_stream.src_conn else {
        return Ok(Written::read(args.replication.as_deref().unwrap_or(Path::new("")))?);
    };
    let OneTransfer { src_stream, tgt_conn, tgt_object, .. } = &args.one_stream;
    // Whatever the target is called: rows for stdout do not go there.
    let printed = args.stdout.map(|_| "file://.".to_owned());
    let Some(tgt_conn) = tgt_conn.clone().or(printed) else {
        return Err(Failure::usage(
            "--src-conn needs to know where to",
            "neither --tgt-conn nor --stdout is given",
            "add --tgt-conn CONN, or --stdout",
        ));
    };
    let settings = tgt_object.as_ref().map(|object| json!({ "object": object }));
    let replication = json!({
        "source": of,
        "target": tgt_conn,
        "streams": { src_stream.clone().unwrap_or_default(): settings },
    });
    Ok(Written { file: COMMAND_LINE.into(), text: replication.to_string() })
}

/// Replicates a file's streams: checks everything that can be checked before PostHog is asked.
pub(super) async fn replicate(
    written: &Written,
    connections: &Connections,
    base: &Path,
    options: &Options,
    state_path: &Path,
) -> Result<Vec<Outcome>, Failure> {
    let plan = plan(written, connections, base, options, state_path).await?;
    let Some(plan) = plan else { return Ok(Vec::new()) };
    attempted(&plan).await
}

/// Replicates, and remembers how that went.
async fn attempted(plan: &Plan) -> Result<Vec<Outcome>, Failure> {
    let outcomes = attempt(plan).await;
    history::record(plan, outcomes.as_deref());
    outcomes
}

async fn attempt(plan: &Plan) -> Result<Vec<Outcome>, Failure> {
    let (jobs, shared) = ready(plan).await?;
    let tallies: Vec<Arc<Tally>> = jobs.iter().map(|job| Tally::of(&job.label())).collect();
    let clients: Vec<Client> = plan.clients().cloned().collect();
    let progress = Progress::of(&tallies, &clients);
    Ok(tokio::select! {
        // The watcher never ends by itself.
        () = progress.watch() => Vec::new(),
        outcomes = runner::replicate(jobs, shared, plan.stop.clone(), &tallies) => outcomes,
    })
}

/// What is to be replicated, from where to where; the state is ours meanwhile.
pub(super) struct Plan {
    registry: Registry,
    replication: Replication,
    options: Options,
    source: Posthog,
    target: TargetConnection,
    projects: Vec<ProjectSource>,
    state: Arc<StateStore>,
    begun: Timestamp,
    pub(super) stop: watch::Receiver<Option<u8>>,
    /// Given back when dropped.
    _lock: Lock,
}

impl Plan {
    fn clients(&self) -> impl Iterator<Item = &Client> {
        self.projects.iter().map(|project| &project.reached.client)
    }
}

/// Reads a file and what it names; nothing where there is nothing to do, which is told first.
pub(super) async fn plan(
    written: &Written,
    connections: &Connections,
    base: &Path,
    options: &Options,
    state_path: &Path,
) -> Result<Option<Plan>, Failure> {
    let begun = Timestamp::now();
    let mut environment = connections.environment().clone();
    environment.extend(options.env.clone());
    let Configured { registry, replication, mut source, target } =
        configured(written, connections, &environment, base, begun)?;
    if environment.contains_key(UNHEARD) {
        tracing::warn!("{UNHEARD} is set, but rows have no numbers here");
    }
    source.inputs.max_wait = options.max_wait.unwrap_or(source.inputs.max_wait);

    let stop = super::stop_signal()?;
    let lock = Lock::take(state_path).map_err(|err| locked(&err))?;
    let state = StateStore::open_alone(state_path, &lock).map_err(|err| jobs::unusable_state(&err));
    let state = Arc::new(runner::unless_stopped(&stop, "the run", state)?);
    let Some(options) = history::narrowed(options, &replication, &state)? else {
        return Ok(None);
    };
    let mut asked_to_stop = stop.clone();
    let projects = tokio::select! {
        biased;
        signal = runner::stopped(&mut asked_to_stop) => {
            return Err(runner::interrupted("the run", signal));
        }
        projects = projects::of(&source, &registry, connections) => projects?,
    };
    Ok(Some(Plan {
        registry,
        replication,
        options,
        source,
        target,
        projects,
        state,
        begun,
        stop,
        _lock: lock,
    }))
}

/// What a replication and the connections that it names amount to.
pub(super) struct Configured {
    pub(super) registry: Registry,
    pub(super) replication: Replication,
    pub(super) source: Posthog,
    pub(super) target: TargetConnection,
}

/// Reads everything that files and environment say; asks nobody.
pub(super) fn configured(
    written: &Written,
    connections: &Connections,
    environment: &Environment,
    base: &Path,
    now: Timestamp,
) -> Result<Configured, Failure> {
    let Some(source) = Replication::source_of(written, environment)? else {
        Replication::parse(written, &Registry::load(&[])?.names(), environment, now)?;
        return Err(Failure::usage("the replication names no source", "", "add source: POSTHOG"));
    };
    let source = connections.posthog(&source)?;
    let registry = Registry::load(&source.specs)?;
    let replication = Replication::parse(written, &registry.names(), environment, now)?;
    let target = connections.target(&replication.target, base)?;
    projects::refuse_shared_places(&source, &replication)?;
    Ok(Configured { registry, replication, source, target })
}

/// Opens the streams' targets and compares them with the state; asks PostHog nothing. Of
/// `queries` it is known what they have.
pub(super) fn prepared(plan: &Plan, queries: &Queries) -> Result<Vec<runner::Job>, Failure> {
    // A database may take its time to answer.
    let prepared = tokio::task::block_in_place(|| jobs::prepare(plan, queries));
    runner::unless_stopped(&plan.stop, "the run", prepared)
}

/// Makes the streams ready: their targets can be written, and PostHog has answered.
pub(super) async fn ready(plan: &Plan) -> Result<(Vec<runner::Job>, Arc<runner::Shared>), Failure> {
    let Plan { source, state, .. } = plan;
    let mut stop = plan.stop.clone();
    let queries = tokio::select! {
        biased;
        signal = runner::stopped(&mut stop) => return Err(runner::interrupted("the run", signal)),
        queries = queries::describe(plan) => queries?,
    };
    let mut jobs = prepared(plan, &queries)?;
    tokio::select! {
        // A stop wins: nothing has been read yet.
        biased;
        signal = runner::stopped(&mut stop) => return Err(runner::interrupted("the run", signal)),
        greeted = projects::greet_one(&plan.projects) => greeted?,
    }
    jobs::anchor(&mut jobs, source);
    let shared = Arc::new(runner::Shared {
        state: Arc::clone(state),
        safety_lag: source.inputs.safety_lag,
        concurrency: source.inputs.concurrency,
    });
    Ok((jobs, shared))
}

/// How a run with these outcomes ends.
pub(super) fn exit_of(outcomes: &[Outcome]) -> Exit {
    let exits = outcomes.iter().map(|outcome| outcome.failure.as_ref().map(|failure| failure.exit));
    overall(&exits.collect::<Vec<_>>())
}

fn options(args: &RunArgs) -> Result<Options, Failure> {
    let mode = args.mode.as_deref().map(mode).transpose()?;
    let range = args.range.as_deref().map(range).transpose()?;
    let max_wait = args.max_wait.as_deref().map(super::max_wait).transpose()?;
    let select = (!args.select.is_empty()).then(|| args.select.clone());
    Ok(Options {
        streams: args.streams.clone(),
        select,
        filter: args.filter.as_deref().map(filter).transpose()?,
        limit: args.limit,
        env: variables(&args.env)?,
        only_failed: args.only_failed,
        mode,
        range,
        max_wait,
        is_looking: false,
        may_lack_rows: false,
    })
}

fn variables(pairs: &[String]) -> Result<Environment, Failure> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty())?;
        Some((name.to_owned(), value.to_owned()))
    };
    pairs.iter().map(pair).collect::<Option<Environment>>().ok_or_else(|| {
        Failure::usage("--env is not right", "expected NAME=VALUE", "write --env SCHEMA=lake")
    })
}

fn filter(text: &str) -> Result<Where, Failure> {
    let path = "--where".to_owned();
    match Filter::parse(text) {
        Ok(filter) => Ok(Where { filter, text: text.to_owned(), at: None, path }),
        Err(err) => Err(Failure::usage(
            "--where is not right",
            err.to_string(),
            "write --where \"event = '$pageview' and properties.plan in ('pro', 'team')\"",
        )),
    }
}

fn mode(text: &str) -> Result<Mode, Failure> {
    text.parse().map_err(|message: String| Failure::usage("--mode is not right", message, ""))
}

pub(super) fn range(text: &str) -> Result<Interval, Failure> {
    Interval::parse(text).ok_or_else(|| {
        Failure::usage(
            format!("--range: `{text}` is no range"),
            "expected two times, the earlier one first; without a zone they are UTC",
            "write --range 2026-01-01,2026-02-01",
        )
    })
}

pub(super) fn working_folder() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(|err| {
        Failure::usage("the working folder is gone", err.to_string(), "change to one that exists")
    })
}

/// By default the state lies beside the replication file, wherever the command is run.
pub(super) fn state_path(replication: &Path, named: Option<&Path>) -> PathBuf {
    match named {
        Some(path) => state_file(path),
        None => state_file(&replication.parent().unwrap_or(Path::new("")).join("state")),
    }
}

/// The state database at `path`, which may also be the folder it is in.
pub(super) fn state_file(path: &Path) -> PathBuf {
    match path.extension() {
        Some(extension) if extension == "db" => path.to_path_buf(),
        _ => path.join("hogline.db"),
    }
}

pub(super) fn locked(err: &LockError) -> Failure {
    let (what, fix, exit) = match err {
        LockError::Held { .. } => (
            "another run is using this state",
            "wait until it ends; its lock goes with its process, even if it is killed",
            Exit::Locked,
        ),
        LockError::Io { .. } => (
            "the state cannot be locked",
            "check that its folder can be written and its disk is not full, then run again, or \
             name another place with --state",
            Exit::Target,
        ),
    };
    Failure { what: what.into(), cause: err.to_string(), fix: fix.into(), exit }
}
