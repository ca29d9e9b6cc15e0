//! What is stored about streams, for people and as JSON.
//!
//! Shows what the next run will begin from: with the changes that wait for it, and
//! says which these are.

use serde::Serialize;

use super::transfer::Entry;
use super::{all, one};
use crate::cli::{Format, OneStream};
use crate::cursor::{Open, Position, Timestamp};
use crate::error::{Exit, Failure};
use crate::report::{self, Table};
use crate::state::store::{StateStore, Stored};

/// What stands where there is nothing to show.
const NOTHING: &str = "–";

/// One line a stream.
pub(super) fn list(store: &StateStore, format: Format) -> Result<Exit, Failure> {
    let all = all(store)?;
    match format {
        Format::Json => print_json(&all.iter().map(Entry::of).collect::<Vec<_>>())?,
        Format::Table => report::print(&table(&all)),
    }
    Ok(Exit::Complete)
}

fn table(all: &[Stored]) -> String {
    let mut table = Table::new(&[
        "stream",
        "project",
        "object",
        "complete to",
        "in hand",
        "commits",
        "updated",
        "waiting",
    ]);
    for stored in all {
        let now = stored.edited();
        table.row(vec![
            now.key.stream.clone(),
            now.key.project.clone(),
            now.key.object.clone(),
            time(now.position.mark),
            in_hand(&now.position),
            now.sequence.to_string(),
            stored.updated_at.to_string(),
            waiting(stored),
        ]);
    }
    table.to_string()
}

fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| NOTHING.into(), |at| at.to_string())
}

fn in_hand(position: &Position) -> String {
    match (&position.open, position.reached()) {
        (None, _) => NOTHING.into(),
        (Some(_), None) => "begun".into(),
        (Some(_), Some(at)) => format!("at {at}"),
    }
}

/// What the next run will take up.
fn waiting(stored: &Stored) -> String {
    let changes: Vec<_> = stored.edits.iter().map(|edit| edit.change.to_string()).collect();
    if changes.is_empty() { NOTHING.into() } else { changes.join(", then ") }
}

/// Everything about one stream.
pub(super) fn show(store: &StateStore, of: &OneStream, format: Format) -> Result<Exit, Failure> {
    let stored = one(store, of)?;
    match format {
        Format::Json => print_json(&Entry::of(&stored))?,
        Format::Table => report::print(&told(&stored)),
    }
    Ok(Exit::Complete)
}

fn told(stored: &Stored) -> String {
    let now = stored.edited();
    let position = &now.position;
    let covered = position.covered.iter().map(ToString::to_string).collect::<Vec<_>>();
    let searched = position
        .searched
        .map(|searched| format!("{}, {} s behind the mark", searched.until, searched.lookback));
    let or_nothing = |text: Option<String>| text.unwrap_or_else(|| NOTHING.into());
    let lines = [
        ("stream", now.key.stream.clone()),
        ("project", format!("{} of {}", now.key.project, now.key.origin)),
        ("object", now.key.object.clone()),
        ("complete to", time(position.mark)),
        ("covered", or_nothing((!covered.is_empty()).then(|| covered.join("\n")))),
        ("history from", time(position.anchor)),
        ("arrivals to", or_nothing(searched)),
        ("audited to", time(position.audited)),
        ("looked back", time(position.looked_back.map(|looked| looked.at))),
        ("run in hand", position.open.as_ref().map_or_else(|| NOTHING.into(), run_in_hand)),
        ("copy in hand", or_nothing(position.copying.map(|copy| format!("begun {}", copy.begun)))),
        ("read by", or_nothing(position.path.clone())),
        ("epoch", now.epoch.clone()),
        ("commits", now.sequence.to_string()),
        ("updated", stored.updated_at.to_string()),
        ("waiting", waiting(stored)),
    ];
    lines.iter().map(|(name, text)| aligned(name, text)).collect::<Vec<_>>().join("\n")
}

fn run_in_hand(open: &Open) -> String {
    let done = open.done.len();
    let walks = if done == 1 { "walk" } else { "walks" };
    let at = open.at.as_ref().map(|at| format!(", the next at {}", at.join(" / ")));
    format!("up to {}, {done} {walks} done{}", open.bound, at.unwrap_or_default())
}

fn aligned(name: &str, text: &str) -> String {
    text.replace('\n', &format!("\n{:14}", "")).split('\n').fold(String::new(), |all, line| {
        if all.is_empty() { format!("{name:<14}{line}") } else { format!("{all}\n{line}") }
    })
}

/// Prints something as JSON.
pub(super) fn print_json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(value).map_err(|err| {
        Failure::usage("this cannot be shown as JSON", err.to_string(), "use --format table")
    })?;
    report::print(&json);
    Ok(())
}
