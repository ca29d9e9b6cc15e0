//! The lists: one file for each way of paging that PostHog has.
//!
//! A list reads [`Data`] and answers a question; it changes
//! nothing. Which traps it holds is in posthog-api.md §6, and in its tests here.

pub(super) mod events;
pub(super) mod persons;
pub(super) mod recordings;
pub(super) mod rows;
pub(super) mod warnings;

use super::answer::Question;
use super::data::Data;
use crate::cursor::Timestamp;

/// What a list looks at.
pub(super) struct View<'a> {
    /// What there is.
    pub(super) data: &'a Data,
    /// What is asked.
    pub(super) question: &'a Question,
    /// The sandbox's time.
    pub(super) now: Timestamp,
    /// The project's zone, in minutes east of UTC.
    pub(super) zone: i32,
    /// How many requests there were: orders that PostHog leaves open change with it.
    pub(super) turn: u64,
    /// The most rows that the events list answers.
    pub(super) event_cap: usize,
    /// Whether the server is one of 2023.
    pub(super) is_old: bool,
    /// Whether personal keys may see ingestion warnings.
    pub(super) has_open_warnings: bool,
}
