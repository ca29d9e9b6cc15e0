//! What there is to read: the registry of endpoints, which is data.
//!
//! A stream is a file under `specs/`; [`registry`] reads them into [`endpoint`]s and
//! refuses what it does not understand. A user's own files add to or replace them.

pub mod endpoint;
mod paging;
pub mod query;
pub mod registry;

pub(crate) use paging::{QUERY_URL, counters};
