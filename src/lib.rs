//! hogline moves data out of PostHog, and loses nothing.

pub mod checkpoint;
pub mod config;
pub mod cursor;
pub mod error;
pub mod fetch;
pub mod http;
pub mod plan;
pub mod record;
pub mod report;
pub mod runner;
pub mod sandbox;
pub mod schema;
pub mod spec;
pub mod state;
pub mod target;
