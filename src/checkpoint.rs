//! The stored fact that a stream is durable in its target up to a position.
//!
//! One checkpoint per [`StreamKey`], kept twice: in the target, written together
//! with the rows it speaks of, and in the state store, which follows. An *epoch*
//! names one unbroken history and the *sequence* counts its commits, so that the
//! two copies can be compared and neither is ever guessed.

use serde::{Deserialize, Serialize};

use crate::cursor::Position;

/// What a checkpoint is about: one stream of one project, into one object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamKey {
    /// Scheme, host and port of the PostHog it comes from.
    pub origin: String,
    /// The project's id.
    pub project: String,
    /// The stream's name.
    pub stream: String,
    /// The target and the table or folder in it, without credentials.
    pub object: String,
}

/// How far a stream is durable, and what must be found in the target if that is true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// What it is about.
    pub key: StreamKey,
    /// Names one unbroken history; a reset begins another.
    pub epoch: String,
    /// Counts the commits of that history.
    pub sequence: u64,
    /// What is complete, and where the walk in hand stands.
    pub position: Position,
    /// Primary keys of a few delivered rows, each a JSON array of its values as text.
    pub witnesses: Vec<String>,
}

/// Why a stored position is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// A later program wrote it, in a form this one does not know.
    #[error("the checkpoint has the form {0}, made by a newer hogline")]
    Newer(u64),
    /// It is no position.
    #[error("the checkpoint cannot be read: {0}")]
    Broken(#[from] serde_json::Error),
}

/// Reads a position that was stored as JSON; an unknown form is refused before its fields are.
pub(crate) fn read_position(json: &str) -> Result<Position, Unreadable> {
    #[derive(Deserialize)]
    struct Form {
        version: u64,
    }
    let form: Form = serde_json::from_str(json)?;
    if form.version != u64::from(Position::VERSION) {
        return Err(Unreadable::Newer(form.version));
    }
    Ok(serde_json::from_str(json)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_of_an_unknown_form_is_refused_whatever_it_holds() {
        assert!(matches!(read_position(r#"{"version":2,"open":7}"#), Err(Unreadable::Newer(2))));
        assert!(matches!(read_position(r#"{"version":1,"open":7}"#), Err(Unreadable::Broken(_))));
        assert!(matches!(read_position("{}"), Err(Unreadable::Broken(_))));
        assert_eq!(read_position(r#"{"version":1}"#).unwrap(), Position::default());
    }
}
