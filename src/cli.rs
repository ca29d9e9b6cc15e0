//! What can be typed: commands, options and their help. No behaviour.

mod capture;
mod serve;
mod state;
mod sync;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use capture::{
    AliasArgs, BatchArgs, CaptureAction, CaptureArgs, EventArgs, GroupArgs, IdentifyArgs,
    LineFormat, Occurrence, OutboxAction, OutboxArgs, Output, PageArgs, Receiver, ScreenArgs,
    SendArgs,
};
pub use serve::{MappingArgs, ServeArgs};
pub use state::{OneStream, StateAction, StateArgs};
pub use sync::SyncArgs;

/// Replicates PostHog into your own database, and loses nothing.
#[derive(Debug, Parser)]
#[command(name = "hogline", version, about, long_about = None, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Tell more of what happens.
    #[arg(short, long, global = true)]
    pub debug: bool,
    /// How log lines are written to stderr.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Replicate from a sandbox into SQLite, twice: no account needed.
    Demo(DemoArgs),
    /// Replicate the streams of a replication file.
    Run(Box<RunArgs>),
    /// Compare what was replicated with PostHog, and heal what differs.
    Verify(VerifyArgs),
    /// Merge the files of a replication so that each key stands once.
    Compact(CompactArgs),
    /// Show the streams there are: key, cursor, modes, scope, columns.
    Discover(DiscoverArgs),
    /// Define connections, show and try them.
    Conns(ConnsArgs),
    /// Try everything that a replication needs, and say how to mend what is wrong.
    Doctor(DoctorArgs),
    /// Say what an exit code means and what to do about it.
    Explain {
        /// The code; all of them where none is given.
        code: Option<u8>,
    },
    /// Print the JSON Schema by which editors complete and check a file of hogline's.
    Schema {
        /// The file's kind.
        #[arg(value_enum)]
        of: SchemaOf,
    },
    /// Show or change how far streams have come.
    State(StateArgs),
    /// Send events into PostHog: one, or a file of them.
    Capture(Box<CaptureArgs>),
    /// Send what is new and what has changed in a table into PostHog: events, persons, pages.
    Sync(SyncArgs),
    /// Show, deliver or throw away what was accepted and is not delivered yet.
    Outbox(OutboxArgs),
    /// Take the calls of Segment's and RudderStack's SDKs over HTTP, and deliver them.
    Serve(Box<ServeArgs>),
    /// Serve a PostHog look-alike with made-up data.
    Sandbox(SandboxArgs),
    /// Print what a shell needs to complete commands and options.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for every command.
    Man {
        /// The folder to write them to.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// Which files have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// Replication files.
    Replication,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How results look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// An aligned table.
    Table,
    /// JSON.
    Json,
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The folder for the demo's database; what an earlier demo left there is removed.
    #[arg(long, default_value = "hogline-demo")]
    pub dir: PathBuf,
    /// How many events the sandbox holds.
    #[arg(long, default_value_t = 20_000)]
    pub events: usize,
}

/// Options of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The replication file.
    #[arg(short, long, value_name = "FILE", required_unless_present = "src_conn")]
    pub replication: Option<PathBuf>,
    /// One stream, without a file.
    #[command(flatten)]
    pub one_stream: OneTransfer,
    /// Only these streams of the file; tag:x means all that have this tag.
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub streams: Vec<String>,
    /// Only these columns, or all but -column, whatever the file says.
    #[arg(long, value_delimiter = ',', value_name = "A,B", allow_hyphen_values = true)]
    pub select: Vec<String>,
    /// Only records that fulfil this, whatever the file says: "event = '$pageview'".
    #[arg(long = "where", value_name = "CONDITION")]
    pub filter: Option<String>,
    /// Read so many rows of each stream at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// A variable for ${NAME} in the file; wins over the environment.
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Show what the run would do: from when to when, rows, requests, time, tables. Writes nothing.
    #[arg(long, conflicts_with = "report")]
    pub dry_run: bool,
    /// Print the rows of one stream instead of writing them, as csv or --stdout=jsonl. Nothing is
    /// remembered: every run reads all, or the --range that is given.
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "csv",
        conflicts_with_all = ["dry_run", "only_failed", "mode", "report", "metrics_file", "webhook"]
    )]
    pub stdout: Option<StdoutFormat>,
    /// Only those that were not complete when the last run ended.
    #[arg(long)]
    pub only_failed: bool,
    /// Load all streams in this mode, whatever the file says.
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// The range to read in mode backfill, the end not included: 2026-01-01,2026-02-01.
    #[arg(long, value_name = "FROM,TO")]
    pub range: Option<String>,
    /// The longest single wait for a quota, as 30s or 15m; a longer one ends the run with exit 5.
    #[arg(long, value_name = "TIME")]
    pub max_wait: Option<String>,
    /// The state database, or the folder it is in [default: state/ beside the replication file].
    #[arg(long, value_name = "PATH", env = "HOGLINE_STATE")]
    pub state: Option<PathBuf>,
    /// Write the run's report to this file: a page to look at if it ends in .html, else JSON; may
    /// be given twice.
    #[arg(long, value_name = "FILE")]
    pub report: Vec<PathBuf>,
    /// Write freshness, rows and quotas to this file, for Prometheus.
    #[arg(long, value_name = "FILE")]
    pub metrics_file: Option<PathBuf>,
    /// Tell this address, with a POST of JSON, when streams end otherwise than they did before
    /// [env: HOGLINE_WEBHOOK].
    #[arg(long, value_name = "URL")]
    pub webhook: Option<String>,
}

/// How printed rows look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StdoutFormat {
    /// Comma-separated values below a header.
    Csv,
    /// A JSON object a line.
    Jsonl,
}

/// One stream to be replicated, as a replication file would say it.
#[derive(Debug, Clone, Args)]
pub struct OneTransfer {
    /// The connection to read from.
    #[arg(long, value_name = "CONN", conflicts_with = "replication", requires = "src_stream")]
    pub src_conn: Option<String>,
    /// The stream to read.
    #[arg(long, value_name = "STREAM", requires = "src_conn")]
    pub src_stream: Option<String>,
    /// The connection, or the URL, to write to.
    #[arg(long, value_name = "CONN", requires = "src_conn")]
    pub tgt_conn: Option<String>,
    /// The object to write [default: posthog.{stream_name}].
    #[arg(long, value_name = "OBJECT", requires = "src_conn")]
    pub tgt_object: Option<String>,
}

/// How a verification's result looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VerifyFormat {
    /// Tables and sentences.
    Text,
    /// JSON.
    Json,
}

/// Options of `verify`. Exits 0 where everything is as it should be, 8 where it is not.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// The replication file.
    #[arg(short, long, value_name = "FILE")]
    pub replication: PathBuf,
    /// Only these streams of the file.
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub streams: Vec<String>,
    /// Only what happened in this range, the end not included; lists are always compared whole.
    #[arg(long, value_name = "FROM,TO")]
    pub range: Option<String>,
    /// How many rows are compared value by value where sums agree: a number, or `all`.
    #[arg(long, value_name = "N", default_value = "100")]
    pub sample: String,
    /// Read again what differs, take out what PostHog does not have, and compare once more.
    #[arg(long)]
    pub repair: bool,
    /// The state database, or the folder it is in [default: state/ beside the replication file].
    #[arg(long, value_name = "PATH", env = "HOGLINE_STATE")]
    pub state: Option<PathBuf>,
    /// How the result looks.
    #[arg(long, value_enum, default_value = "text")]
    pub format: VerifyFormat,
}

/// Options of `compact`.
#[derive(Debug, Clone, Args)]
pub struct CompactArgs {
    /// The replication file.
    #[arg(short, long, value_name = "FILE")]
    pub replication: PathBuf,
    /// Only these streams of the file.
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub streams: Vec<String>,
    /// The state database, or the folder it is in [default: state/ beside the replication file].
    #[arg(long, value_name = "PATH", env = "HOGLINE_STATE")]
    pub state: Option<PathBuf>,
}

/// How the streams look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DiscoverFormat {
    /// An aligned table.
    Table,
    /// JSON.
    Json,
    /// A `sources.yml` for dbt.
    Dbt,
}

/// Options of `discover`.
#[derive(Debug, Args)]
pub struct DiscoverArgs {
    /// A connection: also shows its own streams, and asks whether its PostHog answers SQL.
    pub connection: Option<String>,
    /// How the answer looks.
    #[arg(long, value_enum, default_value = "table")]
    pub format: DiscoverFormat,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The replication file; without one, every connection is tried.
    #[arg(short, long, value_name = "FILE")]
    pub replication: Option<PathBuf>,
    /// The state database, or the folder it is in [default: state/ beside the replication file].
    #[arg(long, value_name = "PATH", env = "HOGLINE_STATE")]
    pub state: Option<PathBuf>,
    /// How the answer looks.
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
}

/// Options of `conns`.
#[derive(Debug, Args)]
pub struct ConnsArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub action: ConnsAction,
}

/// What can be done with connections.
#[derive(Debug, Subcommand)]
pub enum ConnsAction {
    /// Every connection: its type, and where it is defined.
    List {
        /// How the answer looks.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Define a connection in env.yaml of hogline's home, in the place of one of this name.
    Set {
        /// What to call it.
        name: String,
        /// What it is, as key=value: type=api spec=posthog secrets='{ api_key: "phx_…", … }'.
        #[arg(required = true, value_name = "KEY=VALUE")]
        values: Vec<String>,
    },
    /// Take a connection out of env.yaml.
    Unset {
        /// The connection.
        name: String,
    },
    /// Try a connection: a PostHog's key, project and scopes, stream by stream; a target's rights.
    Test {
        /// The connection, or the URL of a target.
        name: String,
        /// How the answer looks.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Show the streams of a connection, as `discover` does.
    Discover(DiscoverArgs),
}

/// Options of `sandbox`.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:8010")]
    pub listen: SocketAddr,
    /// How many events there are.
    #[arg(long, default_value_t = 20_000)]
    pub events: usize,
}
