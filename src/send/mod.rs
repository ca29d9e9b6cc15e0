//! Into PostHog: from what a caller says to what PostHog has taken.
//!
//! A caller's words become a [`Draft`](draft::Draft). Where they are tracking calls as Segment
//! and RudderStack send them, [`mapping`] says which. The [`rules`] make an
//! [`Event`](event::Event) of it, or say why not.

pub mod batch;
pub mod deliver;
pub mod draft;
pub mod event;
pub mod lines;
pub mod mapping;
pub mod outbox;
pub mod rules;
