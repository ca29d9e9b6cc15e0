//! What can be typed after `hogline capture` and `hogline outbox`. No behaviour.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Format;

/// Options of `capture`.
///
/// Exits 0 where PostHog took everything, 3 where something was rejected, 4 where the token is not
/// accepted, 5 where it is to be tried again later, 6 where PostHog did not answer. PostHog takes
/// events before it has looked at them: 0 means that it answered 200, no more.
#[derive(Debug, Args)]
pub struct CaptureArgs {
    /// What is sent.
    #[command(subcommand)]
    pub action: CaptureAction,
    /// How it is sent.
    #[command(flatten)]
    pub how: SendArgs,
}

/// What can be sent.
#[derive(Debug, Subcommand)]
pub enum CaptureAction {
    /// Something that happened.
    Event(EventArgs),
    /// A page was viewed.
    Page(PageArgs),
    /// A screen was viewed.
    Screen(ScreenArgs),
    /// What is known of a person; with --anon-distinct-id the two become one person, for good.
    Identify(IdentifyArgs),
    /// Two ids are one person, for good; the one of --distinct-id stays.
    Alias(AliasArgs),
    /// What is known of a group.
    Group(GroupArgs),
    /// A file of events, one JSON object a line: plain, gzip or zstd.
    ///
    /// A line has `event`, `distinct_id`, and where they are known `timestamp`, `uuid` and
    /// `properties`. What breaks a rule is written to a file of rejects, and the rest is sent. A
    /// file may be sent again: its events keep their uuids, and PostHog takes two with one uuid for
    /// one. Only a line with neither `uuid` nor `timestamp` is another event each time.
    Batch(BatchArgs),
}

/// Which project events go to.
#[derive(Debug, Clone, Default, Args)]
pub struct Receiver {
    /// A connection with project_api_key in its secrets.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["host", "token"])]
    pub conn: Option<String>,
    /// PostHog's address [default: us.posthog.com; env: HOGLINE_CAPTURE_HOST].
    #[arg(long, value_name = "URL")]
    pub host: Option<String>,
    /// The project's token, phc_…; better in the environment, where others of this machine do not
    /// see it [env: HOGLINE_CAPTURE_KEY].
    #[arg(long = "key", alias = "project-key", value_name = "TOKEN")]
    pub token: Option<String>,
}

/// How events are sent.
#[derive(Debug, Clone, Args)]
pub struct SendArgs {
    /// How often a request is repeated that PostHog did not take, at most: after half a second,
    /// one, two, and so on up to 30; its own `Retry-After` is kept.
    #[arg(long, global = true, value_name = "N", default_value_t = 10)]
    pub retries: u32,
    /// The longest wait that PostHog may ask for, as 30s or 15m.
    #[arg(long, global = true, value_name = "TIME")]
    pub max_wait: Option<String>,
    /// Whether requests are packed.
    #[arg(long, global = true, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub gzip: bool,
    /// A header for every request, as a proxy may want it: "X-Relay: 7"; may be given several times.
    #[arg(long, global = true, value_name = "NAME:VALUE")]
    pub header: Vec<String>,
    /// These are events of the past: PostHog keeps them out of the way of what happens now.
    #[arg(long, global = true)]
    pub historical: bool,
    /// Keep what is to be sent in the outbox until PostHog has taken it: whatever happens, it is
    /// not lost. Without it, what is not delivered is told, and kept nowhere.
    #[arg(long, global = true)]
    pub outbox: bool,
    /// The folder of the state, in which the outbox is.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "HOGLINE_STATE",
        default_value = "state"
    )]
    pub state: PathBuf,
    /// Judge, and show what would be sent; send nothing.
    #[arg(long, global = true, conflicts_with = "outbox")]
    pub dry_run: bool,
    /// How the result looks.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub output: Output,
}

/// How a result of sending looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// What the lines of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LineFormat {
    /// PostHog's events.
    Events,
    /// Calls of Segment's or RudderStack's libraries, as hogline maps them.
    Calls,
    /// The same, as PostHog's destination in Segment maps them.
    Segment,
    /// The same, as the destination in RudderStack maps them.
    Rudderstack,
}

/// What every event may say.
#[derive(Debug, Clone, Args)]
pub struct Occurrence {
    /// A JSON object: of an event its properties, of a person or a group what is known of it.
    #[arg(long, value_name = "JSON")]
    pub properties: Option<String>,
    /// When; without a zone it is UTC [default: now].
    #[arg(long, value_name = "TIME")]
    pub timestamp: Option<String>,
    /// Its identity: a UUID, or any text, of which one is made [default: a new one].
    #[arg(long, value_name = "ID")]
    pub uuid: Option<String>,
}

/// Options of `capture event`.
#[derive(Debug, Clone, Args)]
pub struct EventArgs {
    /// What happened.
    #[arg(long, value_name = "NAME")]
    pub event: String,
    /// Who did it.
    #[arg(long, value_name = "ID")]
    pub distinct_id: String,
    /// What every event may say.
    #[command(flatten)]
    pub of: Occurrence,
    /// Where it goes.
    #[command(flatten)]
    pub to: Receiver,
}

/// Options of `capture page`.
#[derive(Debug, Clone, Args)]
pub struct PageArgs {
    /// What the page is called.
    #[arg(long)]
    pub name: String,
    /// Its address.
    #[arg(long)]
    pub url: Option<String>,
    /// Who viewed it.
    #[arg(long, value_name = "ID")]
    pub distinct_id: String,
    /// What every event may say.
    #[command(flatten)]
    pub of: Occurrence,
    /// Where it goes.
    #[command(flatten)]
    pub to: Receiver,
}

/// Options of `capture screen`.
#[derive(Debug, Clone, Args)]
pub struct ScreenArgs {
    /// What the screen is called.
    #[arg(long)]
    pub name: String,
    /// Who viewed it.
    #[arg(long, value_name = "ID")]
    pub distinct_id: String,
    /// What every event may say.
    #[command(flatten)]
    pub of: Occurrence,
    /// Where it goes.
    #[command(flatten)]
    pub to: Receiver,
}

/// Options of `capture identify`.
#[derive(Debug, Clone, Args)]
pub struct IdentifyArgs {
    /// Another id of the same person, from before it was known.
    #[arg(long, value_name = "ID")]
    pub anon_distinct_id: Option<String>,
    /// The person's id.
    #[arg(long, value_name = "ID")]
    pub distinct_id: String,
    /// What every event may say.
    #[command(flatten)]
    pub of: Occurrence,
    /// Where it goes.
    #[command(flatten)]
    pub to: Receiver,
}

/// Options of `capture alias`.
#[derive(Debug, Clone, Args)]
pub struct AliasArgs {
    /// The id whose person is merged into that of --distinct-id.
    #[arg(long, value_name = "ID")]
    pub alias: String,
    /// The id that stays.
    #[arg(long, value_name = "ID")]
    pub distinct_id: String,
    /// What every event may say.
    #[command(flatten)]
    pub of: Occurrence,
    /// Where it goes.
    #[command(flatten)]
    pub to: Receiver,
}

/// Options of `capture group`. Its `--key` is the group's; the project's token is --project-key.
#[derive(Debug, Clone, Args)]
pub struct GroupArgs {
    /// What kind of group, as company.
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: String,
    /// Which one.
    #[arg(long)]
    pub key: String,
    /// In whose name it is told [default: one made of type and key].
    #[arg(long, value_name = "ID")]
    pub distinct_id: Option<String>,
    /// What every event may say.
    #[command(flatten)]
    pub of: Occurrence,
    /// A connection with project_api_key in its secrets.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["host", "project_key"])]
    pub conn: Option<String>,
    /// PostHog's address [default: us.posthog.com; env: HOGLINE_CAPTURE_HOST].
    #[arg(long, value_name = "URL")]
    pub host: Option<String>,
    /// The project's token, phc_…; better in the environment, where others of this machine do not
    /// see it [env: HOGLINE_CAPTURE_KEY].
    #[arg(long, value_name = "TOKEN")]
    pub project_key: Option<String>,
}

/// Options of `capture batch`.
#[derive(Debug, Clone, Args)]
pub struct BatchArgs {
    /// The file; `-` is stdin.
    pub file: PathBuf,
    /// What a line is.
    #[arg(long, value_enum, default_value = "events")]
    pub format: LineFormat,
    /// Print the events that PostHog would get, one a line, and send nothing.
    #[arg(long, conflicts_with_all = ["outbox", "dry_run"])]
    pub map_only: bool,
    /// The most events in a request; never more than 5 MB.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_size: u32,
    /// How many requests are under way at once. The events of one distinct id keep their order.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub concurrency: u8,
    /// Where what is rejected is written [default: FILE.rejects.jsonl].
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,
    /// Do not ask PostHog first whether it knows the token. The question counts as one for feature
    /// flags; without it, events with a wrong token are taken, and gone.
    #[arg(long)]
    pub skip_token_check: bool,
    /// Where it goes.
    #[command(flatten)]
    pub to: Receiver,
}

/// Options of `outbox`.
#[derive(Debug, Args)]
pub struct OutboxArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub action: OutboxAction,
    /// The folder of the state, in which the outbox is.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "HOGLINE_STATE",
        default_value = "state"
    )]
    pub state: PathBuf,
}

/// What can be done with the outbox.
#[derive(Debug, Subcommand)]
pub enum OutboxAction {
    /// What waits, for each project: how many events, since when, and what PostHog refused.
    List {
        /// How the answer looks.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Deliver what waits for a project.
    Retry {
        /// Which project.
        #[command(flatten)]
        to: Receiver,
        /// How often a request is repeated that PostHog did not take, at most.
        #[arg(long, value_name = "N", default_value_t = 10)]
        retries: u32,
        /// Send what PostHog refused once more as well.
        #[arg(long)]
        refused: bool,
        /// How the result looks.
        #[arg(long, value_enum, default_value = "text")]
        output: Output,
    },
    /// Throw away what PostHog refused, or everything. There is no way back.
    Purge {
        /// Also what PostHog never saw.
        #[arg(long)]
        everything: bool,
    },
}
