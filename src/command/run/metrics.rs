//! The metrics of a run: gathered from its outcomes and from the state, written as one file.

use std::path::Path;

use super::{Plan, cannot_report, exit_of, jobs};
use crate::cursor::Timestamp;
use crate::error::Failure;
use crate::report::{Facts, Freshness, Outcome, metrics};
use crate::state::store::{Run, StateStore, Stored};

/// Writes the file: readers see the old one or the new one.
pub(super) async fn write(
    path: &Path,
    plan: &Plan,
    outcomes: Result<&[Outcome], &Failure>,
) -> Result<(), Failure> {
    let exit = outcomes.map_or_else(|failure| failure.exit, exit_of);
    let facts = Facts {
        ended: Timestamp::now(),
        exit: exit.code(),
        outcomes: outcomes.unwrap_or_default(),
        freshness: &freshness(&plan.state)?,
        quota_left: &plan.client.left().await,
    };
    let text = metrics(&facts);
    let draft = path.with_extension(format!("prom.{}", std::process::id()));
    let written = std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, path));
    written.map_err(|err| cannot_report(path, &err))
}

/// How fresh every stream of the state is.
fn freshness(state: &StateStore) -> Result<Vec<Freshness>, Failure> {
    let unusable = |err| jobs::unusable_state(&err);
    let runs = state.runs().map_err(unusable)?;
    let of_checkpoint = |stored: Stored| {
        let (key, position) = (stored.checkpoint.key, stored.checkpoint.position);
        let completed = |run: &&Run| {
            run.streams.iter().any(|done| {
                done.stream == key.stream && done.object == key.object && done.exit_code == 0
            })
        };
        let last_success = runs.iter().find(completed).map(|run| run.ended);
        Freshness {
            stream: key.stream,
            object: key.object,
            complete_to: position.mark,
            last_success,
        }
    };
    Ok(state.all().map_err(unusable)?.into_iter().map(of_checkpoint).collect())
}
