//! What the stories are told with: a PostHog, a project folder, a run and what it left.

#[cfg(feature = "object-storage")]
mod bucket;
#[cfg(feature = "postgres")]
mod cable;
#[cfg(feature = "postgres")]
mod cluster;
mod files;
mod gateway;
#[cfg(not(feature = "postgres"))]
mod no_postgres;
mod pages;
#[cfg(feature = "postgres")]
mod postgres;
mod posthog;
mod project;
mod proxy;
mod ran;
mod reader;
#[cfg(feature = "object-storage")]
mod s3;
mod shim;
mod table;
mod webhook;

#[cfg(feature = "postgres")]
pub(crate) use cable::{Cable, Strike};
#[cfg(feature = "postgres")]
pub(crate) use cluster::{Cluster, PASSWORD};
pub(crate) use gateway::{Gateway, Reply};
#[cfg(not(feature = "postgres"))]
pub(crate) use no_postgres::{Database, server};
pub(crate) use pages::{Page, Shown, pages};
#[cfg(feature = "postgres")]
pub(crate) use postgres::{Database, server};
pub(crate) use posthog::{DAY, EVERYTHING, MINUTE, PATIENCE, PostHog};
pub(crate) use project::Project;
pub(crate) use proxy::{Answer, Asked, End, Framing, Mangle, Proxy, SECOND, Sent};
pub(crate) use ran::{Ran, Told};
pub(crate) use reader::Texts;
#[cfg(feature = "object-storage")]
pub(crate) use s3::{KEY_ID, Oddity, S3, SECRET};
pub(crate) use shim::Shim;
pub(crate) use table::Copy;
pub(crate) use webhook::Webhook;
