//! `hogline state`: what is stored about streams.

use std::path::Path;

use super::run::state_file;
use crate::cli::{StateAction, StateArgs};
use crate::error::{Exit, Failure};
use crate::report::{self, Table};
use crate::state::lock::Lock;
use crate::state::store::{StateError, StateStore, Stored};

/// Lists, shows or resets.
pub(super) fn state(args: &StateArgs) -> Result<Exit, Failure> {
    let path = state_file(&args.state);
    if !path.exists() {
        return Err(Failure::usage(
            format!("there is no state at {}", path.display()),
            "no replication has run with it yet",
            "name the folder with --state: it lies beside the replication file",
        ));
    }
    match &args.action {
        StateAction::List => list(&open(&path)?),
        StateAction::Show { stream } => show(&open(&path)?, stream),
        StateAction::Reset { stream } => {
            // A run that holds the state would write its own position over the reset.
            let _lock = Lock::take(&path).map_err(|err| super::run::locked(&err))?;
            reset(&open(&path)?, stream)
        }
    }
}

fn open(path: &Path) -> Result<StateStore, Failure> {
    StateStore::open(path).map_err(|err| super::run::unusable_state(&err))
}

fn list(store: &StateStore) -> Result<Exit, Failure> {
    let mut table = Table::new(&[
        "stream",
        "project",
        "object",
        "complete to",
        "in hand",
        "commits",
        "updated",
    ]);
    for Stored { checkpoint, updated_at, .. } in all(store)? {
        let position = &checkpoint.position;
        table.row(vec![
            checkpoint.key.stream.clone(),
            checkpoint.key.project.clone(),
            checkpoint.key.object.clone(),
            position.mark.map_or_else(|| "–".into(), |mark| mark.to_string()),
            match (&position.open, position.reached()) {
                (None, _) => "–".into(),
                (Some(_), None) => "begun".into(),
                (Some(_), Some(at)) => format!("at {at}"),
            },
            checkpoint.sequence.to_string(),
            updated_at.to_string(),
        ]);
    }
    report::print(&table.to_string());
    Ok(Exit::Complete)
}

fn show(store: &StateStore, stream: &str) -> Result<Exit, Failure> {
    let stored: Vec<_> =
        all(store)?.into_iter().filter(|s| s.checkpoint.key.stream == stream).collect();
    if stored.is_empty() {
        return Err(unknown(stream));
    }
    for Stored { checkpoint, .. } in stored {
        report::print(&serde_json::to_string_pretty(&checkpoint).unwrap_or_default());
    }
    Ok(Exit::Complete)
}

fn reset(store: &StateStore, stream: &str) -> Result<Exit, Failure> {
    match store.reset_stream(stream).map_err(|err: StateError| super::run::unusable_state(&err))? {
        0 => Err(unknown(stream)),
        _ => {
            report::print(&format!("{stream}: reset; the next run loads it from the beginning"));
            Ok(Exit::Complete)
        }
    }
}

fn all(store: &StateStore) -> Result<Vec<Stored>, Failure> {
    store.all().map_err(|err| super::run::unusable_state(&err))
}

fn unknown(stream: &str) -> Failure {
    Failure::usage(
        format!("nothing is stored about stream `{stream}`"),
        "no run has loaded it with this state",
        "see `hogline state list`",
    )
}
