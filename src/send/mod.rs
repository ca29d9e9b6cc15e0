//! Into PostHog: from what a caller says to what PostHog has taken.
//!
//! A caller's words become a [`Draft`](draft::Draft): those of a file in [`lines`], tracking calls
//! as Segment and RudderStack send them by a [`mapping`]. The [`rules`] make an
//! [`Event`](event::Event) of it, or say why not. [`deliver`] sends events in [`batch`]es until
//! PostHog answers for them, and the [`outbox`] keeps them as long as that takes.

pub mod batch;
pub mod deliver;
pub mod draft;
pub mod event;
pub mod lines;
pub mod mapping;
pub mod outbox;
pub mod rules;
