//! Rows into PostHog: what of a table has changed, and what is sent of it.
//!
//! A [`source`] brings the rows, a [`mapped`] row is what it becomes, and the [`snapshot`]
//! remembers of every row that PostHog has taken what it was then: so each run sends what is new
//! and what has changed. Reading sends nothing, and nothing here has heard of HTTP; the command
//! brings both together with [`send`](crate::send).

pub mod mapped;
pub mod snapshot;
pub mod source;
pub mod work;
