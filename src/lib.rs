//! hogline moves data out of PostHog and into PostHog, and loses nothing.
//!
//! A record's way, in the order of the modules: [`config`] reads what the user
//! wrote and [`spec`] what there is to read; [`plan`] decides which questions to ask;
//! [`http`] asks them, [`fetch`] pages through the answers, [`record`] cuts them
//! into rows of a [`schema`], a [`target`] makes them durable together with a
//! [`checkpoint`], and [`state`] follows. [`runner`] is where stages meet, [`verify`] holds
//! what is there against PostHog, [`report`] tells the user, and [`command`] is one file a command, as [`cli`] spells them.
//! [`send`] is the way in: an event's, from a caller's words to PostHog's answer; [`gateway`] hears callers
//! over HTTP.
//! [`sandbox`] plays PostHog for the demo and the tests; [`error`] is what the user is
//! told when something did not work. `crash` names the moments at which tests
//! end a run, `stop` ends waits for a lock, `pack` makes bytes fewer.
//!
//! Words, in the order a record meets them: a *connection* is an address with
//! credentials; a *stream* is what is replicated from an *endpoint* of PostHog into a
//! *target*; a *walk* (a [`Leg`](cursor::Leg)) is one question of a run, asked page by
//! page up to a *bound* that was frozen when the run began; a *position* is how far a
//! stream has come, and a *checkpoint* the stored fact that it is durable so far.

#[macro_use]
mod crash;
mod base64;
mod pack;
mod stop;
mod tls;

pub mod checkpoint;
pub mod cli;
pub mod command;
pub mod config;
pub mod cursor;
pub mod error;
pub mod fetch;
pub mod gateway;
pub mod http;
pub mod plan;
pub mod record;
pub mod report;
pub mod runner;
pub mod sandbox;
pub mod schema;
pub mod send;
pub mod spec;
pub mod state;
pub mod sync;
pub mod target;
pub mod verify;
