//! The history of runs: what a run leaves in it, and what the next one learns from it.

use super::projects::of_project;
use super::{Options, Plan, ProjectSource, exit_of, jobs};
use crate::config::secret::redact;
use crate::config::{Replication, StreamConfig};
use crate::cursor::Timestamp;
use crate::error::{Exit, Failure};
use crate::report::{self, Outcome};
use crate::state::store::{Run, RunStream, StateStore};

/// The options with the streams that are left to run; nothing where only failed ones were
/// asked for and there is none.
pub(super) fn narrowed(
    options: &Options,
    replication: &Replication,
    state: &StateStore,
) -> Result<Option<Options>, Failure> {
    let chosen = jobs::chosen(replication, options)?;
    let mut streams: Vec<String> = chosen.iter().map(|stream| stream.name.clone()).collect();
    if options.only_failed {
        let runs = state.runs().map_err(|err| jobs::unusable_state(&err))?;
        let runs = of(replication, runs);
        let last = runs.first();
        streams.retain(|name| last.is_some_and(|run| run.failed().any(|s| s.stream == *name)));
        if streams.is_empty() {
            report::print(&none_failed(last));
            return Ok(None);
        }
    }
    Ok(Some(Options { streams, ..options.clone() }))
}

/// Of all runs of the state those that had streams of this replication.
pub(super) fn of(replication: &Replication, mut runs: Vec<Run>) -> Vec<Run> {
    let ours: Vec<&str> = replication.streams.iter().map(|s| s.name.as_str()).collect();
    runs.retain(|run| run.streams.iter().any(|s| ours.contains(&s.stream.as_str())));
    runs
}

fn none_failed(last: Option<&Run>) -> String {
    match last {
        Some(run) => {
            format!("none of these streams failed in the last run, {}: nothing to do", run.started)
        }
        None => "no run of these streams is in the state: none failed, nothing to do".into(),
    }
}

/// Remembers a run; one that cannot be remembered is still a run.
pub(super) fn record(plan: &Plan, outcomes: Result<&[Outcome], &Failure>) {
    let Some(run) = run(plan, outcomes) else { return };
    crash_point!("before the history");
    if let Err(err) = plan.state.record_run(&run) {
        tracing::warn!(%err, "the run is not in the history");
    }
    jobs::keep_copy(&plan.state);
}

/// A run as it is remembered. A mistake in what was typed or configured is none.
pub(super) fn run(plan: &Plan, outcomes: Result<&[Outcome], &Failure>) -> Option<Run> {
    let (exit, streams) = match outcomes {
        Ok(outcomes) => (exit_of(outcomes), outcomes.iter().map(of_outcome).collect()),
        Err(failure) if failure.exit == Exit::Usage => return None,
        Err(failure) => (failure.exit, not_begun(plan, failure)),
    };
    let (started, ended) = (plan.begun, Timestamp::now());
    Some(Run { started, ended, exit_code: exit.code(), streams })
}

fn of_outcome(outcome: &Outcome) -> RunStream {
    RunStream {
        stream: outcome.stream.clone(),
        object: outcome.object.clone(),
        rows: outcome.rows.seen(),
        requests: outcome.requests,
        exit_code: outcome.failure.as_ref().map_or(0, |failure| failure.exit.code()),
        error: outcome.error.clone(),
    }
}

/// The streams of a run that ended before any was read.
fn not_begun(plan: &Plan, failure: &Failure) -> Vec<RunStream> {
    let is_wanted = |name: &String| plan.options.streams.contains(name);
    let streams = plan.replication.streams.iter().filter(|stream| is_wanted(&stream.name));
    let failed = |(stream, project): (&StreamConfig, &ProjectSource)| RunStream {
        stream: stream.name.clone(),
        object: jobs::object(&plan.target, &of_project(&stream.object, &project.source)),
        rows: 0,
        requests: 0,
        exit_code: failure.exit.code(),
        error: Some(redact(&failure.to_string()).into_owned()),
    };
    let of_all = streams.flat_map(|stream| plan.projects.iter().map(move |of| (stream, of)));
    of_all.map(failed).collect()
}
