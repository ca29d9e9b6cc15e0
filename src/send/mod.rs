//! Into PostHog: from what a caller says to what PostHog has taken.
//!
//! A caller's words become a [`Draft`](draft::Draft).

pub mod draft;
