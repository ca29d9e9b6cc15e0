//! What the user is told when something did not work: where, why, and the fix.
//!
//! Every failure that leaves the program is a [`Failure`]; its [`Exit`] is the code a
//! cron job branches on. Errors of a stage stay typed until here. Nothing in here
//! prints.

use std::fmt;

use crate::fetch::FetchError;
use crate::http::AskError;
use crate::target::TargetError;

/// How the process ends. The README lists what each code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything asked for is complete.
    Complete,
    /// The command line or a file is wrong.
    Usage,
    /// Some streams failed, others did not.
    Partly,
    /// The key is not accepted or lacks a scope, and nothing succeeded.
    Key,
    /// A quota is used up: the time to return is printed.
    ComeBack,
    /// PostHog did not answer as it should; completeness is not proven.
    Contract,
    /// The target cannot be written.
    Target,
    /// What is in the target is not what PostHog has.
    Differs,
    /// State and target disagree.
    Disagree,
    /// Another run holds the state.
    Locked,
    /// Stopped by a signal; what is checkpointed is safe.
    Interrupted(u8),
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Usage => 2,
            Self::Partly => 3,
            Self::Key => 4,
            Self::ComeBack => 5,
            Self::Contract => 6,
            Self::Target => 7,
            Self::Differs => 8,
            Self::Disagree => 9,
            Self::Locked => 75,
            Self::Interrupted(signal) => 128 + signal,
        }
    }
}

/// Every exit code, what it means, and what to do about it.
pub const EXPLAINED: [(u8, &str, &str); 12] = [
    (0, "everything asked for is complete", "Nothing is to be done."),
    (
        2,
        "the command line, a file or the project is wrong, or the state is another program's or a \
         newer hogline's; nothing was written",
        "The message names the file, line and column, or the option. `hogline doctor -r FILE` tries \
         everything that a replication needs.",
    ),
    (
        3,
        "some streams failed, others are complete; or all are, and a hook at the end failed",
        "The summary says which, and why. Run again, or only those: `hogline run -r FILE --only-failed`.",
    ),
    (
        4,
        "the key is not accepted or lacks a scope, and nothing succeeded",
        "`hogline conns test NAME` says for each stream which scope is missing. Keys of one PostHog \
         region are unknown in the other: check the host.",
    ),
    (
        5,
        "come back later: a quota is used up; the time is printed",
        "Run again at that time, or let cron do it: the run goes on from what is committed. With a \
         larger --max-wait hogline waits itself.",
    ),
    (
        6,
        "PostHog did not answer, or not as it should; completeness is not proven",
        "Run again: what was delivered stays, and nothing counts as complete that is not proven to \
         be. If it persists, look at the request that the message names.",
    ),
    (
        7,
        "the target or the state database cannot be read or written",
        "The message says why: rights, disk, network, or another program's lock. Mend it and run \
         again; no committed row is lost.",
    ),
    (
        8,
        "`verify` found differences, or nothing complete to verify",
        "`hogline verify -r FILE --repair` reads what differs again and compares once more.",
    ),
    (
        9,
        "state and target disagree: a table was emptied, rebuilt, restored, or lost a column",
        "Restore the target to what it was, or load the stream anew: `hogline state reset \
         --stream NAME`, then run again.",
    ),
    (
        75,
        "another run is using this state",
        "Wait until it ends. Its lock goes with its process, even if that is killed; cron jobs may \
         simply try again.",
    ),
    (130, "interrupted; what was committed is safe", "Run again: it goes on from there."),
    (143, "interrupted; what was committed is safe", "Run again: it goes on from there."),
];

/// What to do about an exit code.
pub fn advice(code: u8) -> &'static str {
    // Of signals, one stands for all.
    let known = if code > 128 { 130 } else { code };
    EXPLAINED.iter().find(|(code, ..)| *code == known).map_or("", |(_, _, todo)| todo)
}

/// An exit code in a few words.
pub fn words(code: u8) -> &'static str {
    match code {
        0 => "complete",
        2 => "usage or configuration",
        3 => "some streams failed",
        4 => "key or scope refused",
        5 => "come back later",
        6 => "not proven complete",
        7 => "target failed",
        8 => "verification differs",
        9 => "state and target disagree",
        75 => "locked by another run",
        128.. => "interrupted",
        _ => "unknown",
    }
}

/// Something that did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What stopped, and where: "stream `persons` stopped at GET …".
    pub what: String,
    /// Why.
    pub cause: String,
    /// What the user can do, one way a line.
    pub fix: String,
    /// How the process ends if this is all that happened.
    pub exit: Exit,
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for (label, text) in [("cause", &self.cause), ("fix", &self.fix)] {
            for (n, line) in text.lines().enumerate() {
                let label = if n == 0 { format!("{label}:") } else { String::new() };
                write!(f, "\n  {label:<6} {line}")?;
            }
        }
        Ok(())
    }
}

impl Failure {
    /// A mistake on the command line or in a file.
    pub fn usage(
        what: impl Into<String>,
        cause: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { what: what.into(), cause: cause.into(), fix: fix.into(), exit: Exit::Usage }
    }

    /// A stream that could not be read.
    pub fn of_fetch(stream: &str, err: &FetchError) -> Self {
        let (request, fix, exit) = match err {
            FetchError::Ask { request, source } => {
                (request.as_str(), source.hint(), exit_of(source))
            }
            FetchError::Contract { request, .. } => (
                request.as_str(),
                "run again; if it persists, report it with this message: rows that were \
                 delivered stay, and none is taken for complete that is not proven to be"
                    .to_owned(),
                Exit::Contract,
            ),
            FetchError::Stopped => ("", String::new(), Exit::Target),
        };
        let what = format!("stream `{stream}` stopped at {request}");
        Self { what, cause: err.to_string(), fix, exit }
    }

    /// The connection itself was refused, before any stream was read.
    pub fn of_connection(connection: &str, request: &str, err: &AskError) -> Self {
        Self {
            what: format!("connection `{connection}` failed at {request}"),
            cause: err.to_string(),
            fix: err.hint(),
            exit: exit_of(err),
        }
    }

    /// A stream whose rows could not be written.
    pub fn of_target(stream: &str, err: &TargetError) -> Self {
        Self {
            what: format!("stream `{stream}` cannot be written to {}", err.target),
            cause: err.cause.clone(),
            fix: err.hint.clone(),
            exit: Exit::Target,
        }
    }

    /// A stream whose rows could not be read back.
    pub fn of_target_read(stream: &str, err: &TargetError) -> Self {
        let what = format!("stream `{stream}` cannot be compared with {}", err.target);
        Self { what, ..Self::of_target(stream, err) }
    }

    /// A stream whose checkpoint does not fit what is in the target.
    pub fn of_disagreement(stream: &str, object: &str, cause: String) -> Self {
        Self {
            what: format!("state and target disagree about stream `{stream}` in {object}"),
            cause,
            fix: format!(
                "either restore the target to what it was, and run again,\n\
                 or load the stream anew: hogline state reset --stream {stream}, then run again"
            ),
            exit: Exit::Disagree,
        }
    }
}

/// How a command ends where PostHog gave no usable answer and nothing else matters.
pub(crate) fn exit_of(err: &AskError) -> Exit {
    match err {
        AskError::Unauthorized { .. }
        | AskError::MissingScope { .. }
        | AskError::Forbidden { .. }
        | AskError::PaymentRequired { .. } => Exit::Key,
        AskError::NotFound { .. } => Exit::Usage,
        AskError::ComeBack { .. } => Exit::ComeBack,
        _ => Exit::Contract,
    }
}

/// The exit of a run from those of its streams.
pub fn overall(streams: &[Option<Exit>]) -> Exit {
    let failed: Vec<Exit> = streams.iter().flatten().copied().collect();
    // Time alone mends a spent quota: it counts where nothing else is wrong.
    let worse = failed.iter().copied().filter(|exit| *exit != Exit::ComeBack).max();
    match worse {
        None if failed.is_empty() => Exit::Complete,
        None => Exit::ComeBack,
        Some(interrupted @ Exit::Interrupted(_)) => interrupted,
        Some(_) if failed.len() < streams.len() => Exit::Partly,
        Some(worse) => worse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runs_exit_tells_whether_anything_succeeded() {
        use Exit::*;
        for (streams, expected) in [
            (vec![None, None], Complete),
            (vec![None, Some(Key)], Partly),
            (vec![Some(Key), Some(Key)], Key),
            (vec![None, Some(ComeBack)], ComeBack),
            (vec![Some(Key), Some(ComeBack)], Key),
            (vec![Some(Target)], Target),
            (vec![None, Some(Interrupted(15))], Interrupted(15)),
        ] {
            assert_eq!(overall(&streams), expected, "{streams:?}");
        }
    }

    #[test]
    fn a_failure_says_where_why_and_what_to_do() {
        let failure =
            Failure::of_disagreement("events", "posthog_events", "the table is gone".into());

        assert_eq!(
            failure.to_string(),
            "state and target disagree about stream `events` in posthog_events\n  \
             cause: the table is gone\n  \
             fix:   either restore the target to what it was, and run again,\n         \
             or load the stream anew: hogline state reset --stream events, then run again"
        );
    }
}
