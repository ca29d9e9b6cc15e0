//! The program against a PostHog that does not keep its word.
//!
//! [`server`] plays one misbehaviour, told as a closure; [`project`] runs the real binary
//! against it. Whatever it is answered, a run proves what it has or stops with exit 6 after a
//! few questions: it never calls a stream complete that is not, and neither hangs nor breaks.

mod events;
mod lists;
mod project;
mod recordings;
mod selected;
mod server;
