//! What the user's files and environment say, checked before anything is asked or written.
//!
//! Raw YAML with positions becomes validated types here; every complaint of a
//! file is collected and told at once. Nothing in here opens a connection.

mod allowance;
pub mod audit;
mod braces;
pub mod capture;
pub mod columns;
pub mod complaint;
pub mod connection;
pub mod duration;
pub mod env_yaml;
pub mod fields;
pub mod files;
pub mod hooks;
pub mod mode;
pub mod node;
pub mod postgres;
pub mod posthog;
pub mod replication;
pub mod s3;
pub mod secret;
pub mod source_options;
pub mod sync;
pub mod target;
mod timeouts;
pub mod transforms;
pub mod variables;
pub mod yaml;

pub use allowance::Allowance;
pub use audit::AuditColumn;
pub use capture::CaptureConnection;
pub use columns::{DeclaredColumn, Flattening};
pub use complaint::{At, Complaint, Complaints, ConfigError};
pub use connection::{Connections, Defined};
pub use fields::Fields;
pub use files::{Compression, FileFormat};
pub use hooks::{Action, Hook, Hooks};
pub use mode::Mode;
pub use node::{Key, Kind, Node};
pub use postgres::{Postgres, SslMode};
pub use posthog::{Inputs, Posthog, Projects};
pub use replication::{DeleteMissing, PROJECT, Replication, Sql, StreamConfig, Where, Written};
pub use s3::{AccessKeys, S3};
pub use secret::Secret;
pub use source_options::ReadBy;
pub use sync::SyncFile;
pub use target::TargetConnection;
pub use timeouts::Timeouts;
pub use transforms::DeclaredTransform;
pub use variables::Environment;
