//! Streams moved by hand: `set`, `rewind`, `reset`.
//!
//! Judges whether a change makes sense before it is stored; how it is applied is
//! [`state::edit`](crate::state)'s.

use super::one;
use crate::cli::OneStream;
use crate::command::run::unusable_state;
use crate::cursor::{Position, Timestamp};
use crate::error::{Exit, Failure};
use crate::report;
use crate::spec::registry::Registry;
use crate::state::Change;
use crate::state::store::{StateStore, Stored};

/// Forgets how far a stream has come.
pub(super) fn reset(store: &StateStore, of: &OneStream) -> Result<Exit, Failure> {
    let stored = one(store, of)?;
    let told = format!("{}: reset; the next run loads it from the beginning", of.stream);
    wait_with(store, stored, &Change::Reset, &told)
}

/// Takes a stream for complete only up to a time.
pub(super) fn rewind(store: &StateStore, of: &OneStream, to: &str) -> Result<Exit, Failure> {
    let to = time("--to", to)?;
    let stored = one(store, of)?;
    let order = Order::of(&of.stream)?;
    order.has_changes(&of.stream)?;
    let position = stored.edited().position;
    refuse_a_rewind_to_nowhere(&of.stream, &position, order, to)?;
    let told = format!("{}: rewound; the next run reads on from {to}", of.stream);
    wait_with(store, stored, &Change::Rewind { to }, &told)
}

fn refuse_a_rewind_to_nowhere(
    stream: &str,
    position: &Position,
    order: Order,
    to: Timestamp,
) -> Result<(), Failure> {
    let refused = |cause: String, fix: String| {
        Err(Failure::usage(format!("stream `{stream}` cannot be rewound to {to}"), cause, fix))
    };
    let reset = format!("to load it from the beginning: hogline state reset --stream {stream}");
    match (position.mark, position.covered.first()) {
        (None, _) => refused("no run of it was complete yet".into(), reset),
        (Some(mark), _) if mark <= to => {
            refused(format!("it is complete to {mark} only"), "name an earlier time".into())
        }
        (_, Some(first)) if order == Order::Time && to <= first.from => {
            refused(format!("what is covered begins at {}", first.from), reset)
        }
        _ => Ok(()),
    }
}

/// Takes the target for complete in a range that hogline did not load.
pub(super) fn set(
    store: &StateStore,
    of: &OneStream,
    complete_to: &str,
    from: Option<&str>,
) -> Result<Exit, Failure> {
    let to = time("--complete-to", complete_to)?;
    let from = from.map(|from| time("--from", from)).transpose()?;
    let stored = one(store, of)?;
    let position = stored.edited().position;
    let change = match Order::of(&of.stream)? {
        Order::Time => Change::Complete { from: Some(start(&of.stream, &position, from, to)?), to },
        order => {
            order.has_changes(&of.stream)?;
            refuse_a_range(&of.stream, &position, from, to)?;
            Change::Complete { from: None, to }
        }
    };
    report::tell(&format!(
        "warning: nothing proves that the target holds all of `{}` that you name; what is \
         missing there will not be fetched",
        of.stream
    ));
    let told = format!("{}: {change}; the next run reads what is not covered", of.stream);
    wait_with(store, stored, &change, &told)
}

/// Where the range begins that is vouched for.
fn start(
    stream: &str,
    position: &Position,
    from: Option<Timestamp>,
    to: Timestamp,
) -> Result<Timestamp, Failure> {
    let known = position.covered.first().map(|first| first.from).or(position.anchor);
    let Some(from) = from.or(known) else {
        return Err(Failure::usage(
            format!("stream `{stream}`: nothing says where the complete range begins"),
            "the state does not know where its history begins",
            "add --from, the first instant that the target holds",
        ));
    };
    if from >= to {
        return Err(Failure::usage(
            format!("stream `{stream}`: the range from {from} to {to} holds nothing"),
            "its end is not after its start",
            "write the earlier time as --from and the later one as --complete-to",
        ));
    }
    Ok(from)
}

/// A list is complete as of a time; it has no ranges.
fn refuse_a_range(
    stream: &str,
    position: &Position,
    from: Option<Timestamp>,
    to: Timestamp,
) -> Result<(), Failure> {
    if from.is_some() {
        return Err(Failure::usage(
            format!("stream `{stream}` is not complete from a time on"),
            "PostHog keeps no order in time for it; it tells what changed since",
            "leave --from out",
        ));
    }
    match position.mark.filter(|mark| *mark >= to) {
        Some(mark) => Err(Failure::usage(
            format!("stream `{stream}` is complete to {mark} already"),
            "the next run asks for what changed since",
            format!("to ask from earlier on: hogline state rewind --stream {stream} --to {to}"),
        )),
        None => Ok(()),
    }
}

/// What a stream can be asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// When something happened: ranges of time are covered.
    Time,
    /// Only what changed since.
    Changes,
    /// Nothing: every run reads all of it.
    Nothing,
}

impl Order {
    /// A stream of a spec of the user's own is taken at his word.
    fn of(stream: &str) -> Result<Self, Failure> {
        let registry = Registry::load(&[])?;
        let Some(endpoint) = registry.find(stream) else { return Ok(Self::Time) };
        let tells_changes = endpoint.read.iter().any(|path| path.since().is_some());
        Ok(match (&endpoint.incremental, tells_changes) {
            (Some(_), _) => Self::Time,
            (None, true) => Self::Changes,
            (None, false) => Self::Nothing,
        })
    }

    fn has_changes(self, stream: &str) -> Result<(), Failure> {
        if self != Self::Nothing {
            return Ok(());
        }
        Err(Failure::usage(
            format!("stream `{stream}` has no position in time"),
            "PostHog cannot be asked for its changes: every run reads all of it",
            "nothing is to be done; the next run finds whatever differs",
        ))
    }
}

fn time(option: &str, text: &str) -> Result<Timestamp, Failure> {
    let Some(at) = Timestamp::parse(text) else {
        return Err(Failure::usage(
            format!("{option}: `{text}` is no time"),
            "expected a day or an instant; without a zone it is UTC",
            format!("write {option} 2026-01-31 or {option} 2026-01-31T12:00:00Z"),
        ));
    };
    let now = Timestamp::now();
    if at > now {
        return Err(Failure::usage(
            format!("{option}: {at} lies in the future"),
            format!("it is {now}"),
            "name a time that has passed",
        ));
    }
    Ok(at)
}

fn wait_with(
    store: &StateStore,
    stored: Stored,
    change: &Change,
    told: &str,
) -> Result<Exit, Failure> {
    store.edit(&[stored], change).map_err(|err| unusable_state(&err))?;
    report::print(told);
    Ok(Exit::Complete)
}
