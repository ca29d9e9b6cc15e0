//! The messages that were taken lately, by what PostHog knows an event by.
//!
//! A caller that did not hear the answer sends again, and what it sent may be delivered and gone
//! from the outbox by then. Two generations are kept, so that forgetting costs nothing: an id is
//! known for an hour at least, and for two at most, unless very many others came meanwhile.
//! Nothing depends on it: PostHog takes two events with one uuid for one.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use crate::send::event::Sealed;

/// How long an id is known.
const WINDOW: Duration = Duration::from_secs(3600);

/// The most ids in a generation: two of them take some 35 MB. A few more would take twice as much.
const MOST: usize = 450_000;

/// An event's identity: its uuid, and a hash of the rest.
type Identity = (u128, u64);

/// Identities of events that were accepted.
#[derive(Debug)]
pub(super) struct Recent {
    young: HashSet<Identity>,
    old: HashSet<Identity>,
    /// When the young generation began.
    since: Instant,
}

impl Recent {
    /// Nothing is known.
    pub(super) fn new(now: Instant) -> Self {
        Self { young: HashSet::new(), old: HashSet::new(), since: now }
    }

    /// Whether this event was noted for the destination at this place.
    pub(super) fn knows(&self, to: usize, event: &Sealed) -> bool {
        let identity = identity(to, event);
        self.young.contains(&identity) || self.old.contains(&identity)
    }

    /// Notes an event that was accepted.
    pub(super) fn note(&mut self, to: usize, event: &Sealed, now: Instant) {
        if now.duration_since(self.since) >= WINDOW || self.young.len() >= MOST {
            self.old = std::mem::take(&mut self.young);
            self.since = now;
        }
        self.young.insert(identity(to, event));
    }
}

fn identity(to: usize, event: &Sealed) -> Identity {
    let mut hasher = DefaultHasher::new();
    (to, &event.event, &event.distinct_id).hash(&mut hasher);
    (event.uuid.as_u128(), hasher.finish())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn event(n: u128, name: &str) -> Sealed {
        Sealed {
            uuid: Uuid::from_u128(n),
            event: name.into(),
            distinct_id: "u1".into(),
            json: "{}".into(),
        }
    }

    #[test]
    fn an_event_is_known_by_all_that_posthog_knows_it_by() {
        let begun = Instant::now();
        let mut recent = Recent::new(begun);

        recent.note(0, &event(1, "a"), begun);

        assert!(recent.knows(0, &event(1, "a")));
        assert!(!recent.knows(1, &event(1, "a")), "another project");
        assert!(!recent.knows(0, &event(1, "b")), "another event of the same id");
        assert!(!recent.knows(0, &event(2, "a")));
    }

    #[test]
    fn an_id_is_known_for_an_hour_and_not_for_ever() {
        let begun = Instant::now();
        let mut recent = Recent::new(begun);
        let minutes = |n: u64| begun + Duration::from_secs(60 * n);

        recent.note(0, &event(1, "a"), minutes(59));
        recent.note(0, &event(2, "a"), minutes(61));
        assert!(recent.knows(0, &event(1, "a")));
        recent.note(0, &event(3, "a"), minutes(122));

        assert!(!recent.knows(0, &event(1, "a")));
        assert!(recent.knows(0, &event(2, "a")) && recent.knows(0, &event(3, "a")));
    }
}
