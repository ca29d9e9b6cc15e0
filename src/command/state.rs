//! `hogline state`: what is stored about streams and runs, shown and changed.
//!
//! Whatever changes it takes the lock first: a run that holds the state would write
//! its own position over the change. A change waits in the state until the next run
//! takes it up; the target is never touched here.

mod change;
mod history;
mod schema;
mod show;
mod transfer;

use std::path::Path;

use super::run::{keep_copy, locked, state_file, unusable_state};
use crate::checkpoint::StreamKey;
use crate::cli::{OneStream, StateAction, StateArgs};
use crate::config::complaint::nearest;
use crate::error::{Exit, Failure};
use crate::state::lock::Lock;
use crate::state::store::{StateStore, Stored};

/// Does what was asked of the state.
pub(super) fn state(args: &StateArgs) -> Result<Exit, Failure> {
    let path = state_file(&args.state);
    let may_be_new = matches!(args.action, StateAction::Import { .. });
    if !may_be_new && !path.exists() {
        return Err(Failure::usage(
            format!("there is no state at {}", path.display()),
            "no replication has run with it yet",
            "name the folder with --state: it lies beside the replication file",
        ));
    }
    match &args.action {
        StateAction::List { format } => show::list(&open(&path)?, *format),
        StateAction::Show { of, format } => show::show(&open(&path)?, of, *format),
        StateAction::Runs { stream, limit, format } => {
            history::runs(&open(&path)?, stream.as_deref(), *limit, *format)
        }
        StateAction::Schema { stream, format } => {
            schema::schema(&open(&path)?, stream.as_deref(), *format)
        }
        StateAction::Export { stream } => transfer::export(&open(&path)?, stream.as_deref()),
        action => {
            let lock = Lock::take(&path).map_err(|err| locked(&err))?;
            let store = StateStore::open_alone(&path, &lock).map_err(|err| unusable_state(&err))?;
            let exit = change(&store, action)?;
            // What was changed is to outlive the database.
            keep_copy(&store);
            Ok(exit)
        }
    }
}

fn change(store: &StateStore, action: &StateAction) -> Result<Exit, Failure> {
    match action {
        StateAction::Set { of, complete_to, from } => {
            change::set(store, of, complete_to, from.as_deref())
        }
        StateAction::Rewind { of, to } => change::rewind(store, of, to),
        StateAction::Reset { of } => change::reset(store, of),
        StateAction::Import { file, force } => transfer::import(store, file, *force),
        _ => Ok(Exit::Complete),
    }
}

fn open(path: &Path) -> Result<StateStore, Failure> {
    StateStore::open(path).map_err(|err| unusable_state(&err))
}

fn all(store: &StateStore) -> Result<Vec<Stored>, Failure> {
    store.all().map_err(|err| unusable_state(&err))
}

/// The one stream that is meant.
fn one(store: &StateStore, of: &OneStream) -> Result<Stored, Failure> {
    let all = named(store, &of.stream)?;
    let object = |key: &StreamKey, wanted: &String| {
        key.object == *wanted || key.object.rsplit_once('#').is_some_and(|(_, name)| name == wanted)
    };
    let is_meant = |stored: &&Stored| {
        let key = &stored.checkpoint.key;
        of.object.as_ref().is_none_or(|wanted| object(key, wanted))
            && of.project.as_ref().is_none_or(|wanted| key.project == *wanted)
    };
    let matching: Vec<&Stored> = all.iter().filter(is_meant).collect();
    match matching[..] {
        [one] => Ok(one.clone()),
        [] => Err(Failure::usage(
            format!("no object or project of that name holds the stream `{}`", of.stream),
            listed(all.iter()),
            "name one of these with --object and --project",
        )),
        _ => Err(Failure::usage(
            format!("{} objects hold a stream `{}`", matching.len(), of.stream),
            listed(matching.iter().copied()),
            "say which one with --object, and --project where that is not enough",
        )),
    }
}

fn listed<'a>(all: impl Iterator<Item = &'a Stored>) -> String {
    let line = |stored: &Stored| {
        let key = &stored.checkpoint.key;
        format!("--object '{}' --project {} (of {})", key.object, key.project, key.origin)
    };
    all.map(line).collect::<Vec<_>>().join("\n")
}

/// Everything that is stored under a stream's name.
fn named(store: &StateStore, stream: &str) -> Result<Vec<Stored>, Failure> {
    let all = all(store)?;
    let known: Vec<&str> = all.iter().map(|stored| stored.checkpoint.key.stream.as_str()).collect();
    if !known.contains(&stream) {
        let near = nearest(stream, &known).map(|near| format!("did you mean `{near}`? "));
        return Err(Failure::usage(
            format!("nothing is stored about stream `{stream}`"),
            "no run has loaded it with this state",
            format!("{}see `hogline state list`", near.unwrap_or_default()),
        ));
    }
    Ok(all.into_iter().filter(|stored| stored.checkpoint.key.stream == stream).collect())
}
