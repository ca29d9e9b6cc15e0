//! Into PostHog: from what a caller says to what PostHog has taken.
//!
//! A caller's words become a [`Draft`](draft::Draft). Where they are tracking calls as Segment
//! and RudderStack send them, [`mapping`] says which.

pub mod draft;
pub mod mapping;
