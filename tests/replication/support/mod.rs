//! What the stories are told with: a PostHog, a project folder, a run and what it left.

mod files;
mod posthog;
mod project;
mod proxy;
mod ran;
mod shim;
mod table;

pub(crate) use posthog::{DAY, EVERYTHING, MINUTE, PATIENCE, PostHog};
pub(crate) use project::Project;
pub(crate) use proxy::{Answer, Asked, End, Framing, Mangle, Proxy, Sent};
pub(crate) use ran::{Ran, Told};
pub(crate) use shim::Shim;
pub(crate) use table::Copy;
