//! What the user changed by hand, and no run has taken up yet.
//!
//! An [`Edit`] waits in the state beside the checkpoint it changes, because the target
//! holds that checkpoint too and its copy wins. The next run applies it to what the
//! *target* holds and commits the outcome there under the edit's own epoch: whoever
//! finds that epoch in a target knows that the edit has been taken up. A crash before
//! or after that commit repeats or skips nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, StreamKey};
use crate::cursor::{Position, Timestamp};

/// A change that waits to be taken up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// Names the history that begins with it.
    pub epoch: String,
    /// What changes.
    pub change: Change,
}

/// What can be changed about how far a stream has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Nothing is taken for loaded.
    Reset,
    /// It is complete only up to here.
    Rewind {
        /// The first instant that is not.
        to: Timestamp,
    },
    /// The user vouches that the target is complete.
    Complete {
        /// The first instant that is; nothing where the stream has no order in time.
        from: Option<Timestamp>,
        /// The first instant that is not.
        to: Timestamp,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset => f.write_str("reset"),
            Self::Rewind { to } => write!(f, "rewound to {to}"),
            Self::Complete { from: None, to } => write!(f, "set complete to {to}"),
            Self::Complete { from: Some(from), to } => {
                write!(f, "set complete from {from} to {to}")
            }
        }
    }
}

impl Edit {
    /// A change that begins a history of its own.
    pub fn of(change: Change) -> Self {
        Self { epoch: uuid::Uuid::new_v4().to_string(), change }
    }
}

/// The checkpoint after these edits.
pub(super) fn edited(mut checkpoint: Checkpoint, edits: &[Edit]) -> Checkpoint {
    for Edit { epoch, change } in edits {
        match change {
            Change::Reset => checkpoint = nothing_loaded(checkpoint.key),
            Change::Rewind { to } => checkpoint.position.rewind(*to),
            Change::Complete { from, to } => checkpoint.position.vouch(*from, *to),
        }
        checkpoint.epoch.clone_from(epoch);
    }
    checkpoint
}

fn nothing_loaded(key: StreamKey) -> Checkpoint {
    Checkpoint {
        key,
        epoch: String::new(),
        sequence: 0,
        position: Position::default(),
        witnesses: Vec::new(),
    }
}
