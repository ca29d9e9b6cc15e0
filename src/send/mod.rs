//! Into PostHog: from what a caller says to what PostHog has taken.
//!
//! A caller's words become a [`Draft`](draft::Draft); the [`rules`] make an
//! [`Event`](event::Event) of it, or say why not.

pub mod batch;
pub mod deliver;
pub mod draft;
pub mod event;
pub mod lines;
pub mod outbox;
pub mod rules;
