//! How long the network may take: `{ first_byte: 2m, between_bytes: 1m, whole: 15m }`.

use std::time::Duration;

use super::fields::Fields;

/// How long PostHog, and the way to it, may keep a question waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// For an answer to begin.
    pub first_byte: Duration,
    /// For the next piece of a body.
    pub between_bytes: Duration,
    /// For all of an answer: bytes that trickle end here.
    pub whole: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // PostHog's longest query runs 60 s, after waiting for its turn for up to 30 s.
            first_byte: Duration::from_secs(120),
            // Once rows flow, a pause this long is a dead connection.
            between_bytes: Duration::from_secs(60),
            // A full page at the speed of a poor line; a trickle that takes longer never ends.
            whole: Duration::from_secs(900),
        }
    }
}

impl Timeouts {
    /// Reads the map; what it leaves out is as usual.
    pub(super) fn read(mut fields: Fields<'_, '_>) -> Self {
        let usual = Self::default();
        let timeouts = Self {
            first_byte: fields.opt_duration("first_byte").unwrap_or(usual.first_byte),
            between_bytes: fields.opt_duration("between_bytes").unwrap_or(usual.between_bytes),
            whole: fields.opt_duration("whole").unwrap_or(usual.whole),
        };
        fields.finish();
        timeouts
    }
}
