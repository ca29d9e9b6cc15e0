//! What can be typed after `hogline sync`. No behaviour.

use std::path::PathBuf;

use clap::Args;

use super::Output;

/// Options of `sync`.
///
/// Each run reads the rows, and sends those that are new and those that have changed since PostHog
/// took them. Exits 0 where all of them were taken, 3 where a row was invalid or refused, 4 where
/// the token or the key is not accepted, 5 where it is to be tried again later, 6 where PostHog did
/// not answer, 7 where the source or the state cannot be read or written.
#[derive(Debug, Args)]
pub struct SyncArgs {
    /// The file of syncs.
    #[arg(short = 'r', long = "file", alias = "replication", value_name = "FILE")]
    pub file: PathBuf,
    /// Only these syncs of the file.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub syncs: Vec<String>,
    /// Show what would be sent, and how much of it; send nothing, remember nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Write every person again, whether its row has changed or not: after the mapping was. Events
    /// and pages are sent once in any case.
    #[arg(long)]
    pub full: bool,
    /// How often a request is repeated that PostHog did not take, at most.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub retries: u32,
    /// The folder of the state, in which is remembered what was sent [default: state/ beside the
    /// file of syncs].
    #[arg(long, value_name = "PATH", env = "HOGLINE_STATE")]
    pub state: Option<PathBuf>,
    /// How the result looks.
    #[arg(long, value_enum, default_value = "text")]
    pub output: Output,
}
