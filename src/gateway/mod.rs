//! The HTTP tracking API of Segment and RudderStack, in front of PostHog.
mod answer;
mod auth;
mod body;
mod cors;
mod message;

pub use auth::WriteKeys;
