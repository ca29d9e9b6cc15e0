//! Tracking calls as PostHog's events: what Segment and RudderStack send becomes a [`Draft`].
//!
//! A [`Profile`] says in which words: hogline's own, or field by field those of the connectors
//! that people come from. Each profile is a file with its tables, `message` reads what all of
//! them are given, and an [`Envelope`] what a batch says for all its messages.
//!
//! Pure: the time and the caller's address are passed in. That a message can become an event is
//! judged here; whether PostHog would take that event is the rules' business.

mod envelope;
mod fields;
mod group;
mod hogline;
mod integrations;
mod message;
mod profile;
mod rudderstack;
mod segment;
mod session;
#[cfg(test)]
mod tests;
mod user_agent;

use std::net::IpAddr;

use serde_json::{Map, Value};
use uuid::Uuid;

pub use envelope::Envelope;
pub use message::Call;
pub use profile::{Options, Profile};

use self::message::Message;
use super::draft::Draft;
use super::rules::IDS;
use crate::cursor::Timestamp;

/// How messages become events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// In whose words.
    pub profile: Profile,
    /// What the user chose.
    pub options: Options,
}

/// What is known of a message from how it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// When it came; a `receivedAt` of the message itself counts more. A gateway puts its own
    /// clock there.
    pub received_at: Timestamp,
    /// The address it came from; none where it was read from a file.
    pub ip: Option<IpAddr>,
    /// Its identity if it has no `messageId`: drawn once, the same however often it is mapped.
    pub fallback_id: String,
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// An event.
    Draft(Draft),
    /// Nothing, as its `integrations` ask; says which of them.
    NotForPostHog(String),
}

/// Why a message cannot become an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Rejection {
    /// The field it is about.
    pub field: &'static str,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

impl Rejection {
    fn new(field: &'static str, reason: impl Into<String>) -> Self {
        Self { field, reason: reason.into() }
    }

    fn missing(field: &'static str, purpose: &str) -> Self {
        Self::new(field, format!("`{field}` is missing or empty: {purpose}"))
    }
}

impl Mapping {
    /// The mapping of a profile, with its own options.
    pub fn of(profile: Profile) -> Self {
        Self { profile, options: Options::of(profile) }
    }

    /// What becomes of `message`, one tracking call with its `type`.
    ///
    /// # Errors
    ///
    /// It cannot become an event: names the field and why.
    pub fn map(
        &self,
        message: Map<String, Value>,
        arrival: &Arrival,
    ) -> Result<Outcome, Rejection> {
        if let Some(reason) = integrations::opt_out(&message)? {
            return Ok(Outcome::NotForPostHog(reason));
        }
        let message = Message::read(message, arrival)?;
        let mut draft = match self.profile {
            Profile::Hogline => hogline::map(&message, &self.options),
            Profile::Segment => segment::map(&message, &self.options),
            Profile::Rudderstack => rudderstack::map(&message, &self.options),
        }?;
        if self.options.anonymous_without_person {
            leave_person_out(&message, &mut draft);
        }
        draft.id = Some(Uuid::new_v5(&IDS, message.id.as_bytes()).to_string());
        draft.timestamp = draft.timestamp.or_else(|| Some(message.happened_at()));
        Ok(Outcome::Draft(draft))
    }
}

/// Stores an event of nobody known without a person. Calls that are about persons keep theirs:
/// PostHog would drop them. An event that says so itself is left alone. `$set` goes, which PostHog
/// would ignore.
fn leave_person_out(message: &Message, draft: &mut Draft) {
    let is_event = matches!(message.call, Call::Track | Call::Page | Call::Screen);
    let is_anonymous = message.user_id.is_none() && draft.distinct_id == message.anonymous_id;
    if is_event && is_anonymous && !draft.properties.contains_key("$process_person_profile") {
        draft.properties.insert("$process_person_profile".to_owned(), false.into());
        draft.properties.remove("$set");
    }
}
