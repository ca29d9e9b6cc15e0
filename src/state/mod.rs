//! What hogline remembers between runs: checkpoints, runs, and who is running now.
//!
//! The state follows the target and is never ahead of it: a checkpoint is saved
//! here after it is durable there. [`compare()`] judges the two copies when a run
//! begins, with the [`Edit`]s that wait in the state; [`Lock`](lock::Lock) keeps a second
//! run away from both.

mod compare;
pub(crate) mod database;
mod edit;
pub mod lock;
pub mod store;

pub use compare::{Agreement, compare};
pub use edit::{Change, Edit};
