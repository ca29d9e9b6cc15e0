//! Whole runs of the real program against a PostHog look-alike.
//!
//! Every test starts a [`sandbox`](hogline::sandbox) on a loopback port, runs the
//! compiled `hogline` as a child process in a folder of its own, and compares what is
//! in its tables with what the sandbox holds. `support` speaks the domain; the
//! modules are the themes.

mod capture;
mod complete;
mod connections;
mod deletes;
mod discover;
mod drift;
mod exits;
mod faults;
mod files;
mod grid;
mod hooks;
mod interrupted;
mod late;
mod modes;
#[cfg(feature = "object-storage")]
mod objects;
#[cfg(feature = "postgres")]
mod postgres;
mod printed;
mod projects;
mod queries;
mod quota;
mod readme;
mod refusals;
mod report;
mod secrets;
mod serve;
mod sling;
mod state;
mod support;
mod sync;
mod verify;
mod wanted;
mod weather;
mod webhook;
mod wide;
