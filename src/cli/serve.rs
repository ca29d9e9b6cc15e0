//! What can be typed after `hogline serve`. No behaviour.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;

use crate::send::mapping::Profile;

/// Options of `serve`.
///
/// Every option may stand in the environment, as containers have it. Stops on Ctrl-C and SIGTERM,
/// and exits 0 then: what is not delivered is in the outbox, for the next start.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// The address to listen on; 0.0.0.0:8080 in a container.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:8080",
        env = "HOGLINE_SERVE_LISTEN"
    )]
    pub listen: SocketAddr,
    /// A write key that callers may use, and the connection its events go to; may be given several
    /// times. Better in the environment, where others of this machine do not see it, several with
    /// commas between them [env: HOGLINE_SERVE_KEYS].
    #[arg(long = "key", value_name = "WRITE_KEY=CONNECTION")]
    pub keys: Vec<String>,
    /// A connection whose project token is the write key, beside those of --key. Without either,
    /// the project of HOGLINE_CAPTURE_KEY and HOGLINE_CAPTURE_HOST is served so.
    #[arg(long, value_name = "NAME", env = "HOGLINE_SERVE_CONN")]
    pub conn: Option<String>,
    /// Which events messages become.
    #[command(flatten)]
    pub mapping: MappingArgs,
    /// Believe X-Forwarded-For: callers come through a proxy, which adds their address at its end.
    #[arg(long, env = "HOGLINE_SERVE_BEHIND_PROXY", value_parser = BoolishValueParser::new())]
    pub behind_proxy: bool,
    /// The folder of the state, in which the outbox is.
    #[arg(long, value_name = "PATH", env = "HOGLINE_STATE", default_value = "state")]
    pub state: PathBuf,
    /// The most bytes that the outbox takes; callers are told to come again when it is full.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = crate::send::outbox::MOST_BYTES,
        env = "HOGLINE_SERVE_MAX_OUTBOX_BYTES",
        value_parser = clap::value_parser!(u64).range(1_000_000..)
    )]
    pub max_outbox_bytes: u64,
    /// Write messages that become no event to this file, a JSON object a line.
    #[arg(long, alias = "reject-file", value_name = "FILE", env = "HOGLINE_SERVE_REJECTS")]
    pub rejects: Option<PathBuf>,
    /// How long it is tried to deliver what waits, when it is to stop.
    #[arg(long, value_name = "TIME", default_value = "10s", env = "HOGLINE_SERVE_DRAIN")]
    pub drain: String,
    /// Do not ask PostHog first whether it knows the token. The question counts as one for feature
    /// flags; without it, events with a wrong token are taken, and gone.
    #[arg(long, env = "HOGLINE_SERVE_SKIP_TOKEN_CHECK", value_parser = BoolishValueParser::new())]
    pub skip_token_check: bool,
}

/// Which events messages become.
#[derive(Debug, Clone, Args)]
pub struct MappingArgs {
    /// In whose words: hogline, or as a connector had them that you come from, segment or
    /// rudderstack.
    #[arg(long, value_name = "NAME", default_value = "hogline", env = "HOGLINE_SERVE_PROFILE")]
    pub profile: Profile,
    /// The type of groups that name none [default: group; segment_group under segment].
    #[arg(long, value_name = "TYPE", env = "HOGLINE_SERVE_GROUP_TYPE")]
    pub group_type: Option<String>,
    /// Whether traits in the context of any call are set on the person [default: true; false under
    /// segment].
    #[arg(long, value_name = "BOOL", env = "HOGLINE_SERVE_SET_TRAITS")]
    pub set_traits: Option<bool>,
    /// Store events of nobody known without a person, which is cheaper; PostHog cannot add them to
    /// one later.
    #[arg(long, env = "HOGLINE_SERVE_ANONYMOUS_WITHOUT_PERSON", value_parser = BoolishValueParser::new())]
    pub anonymous_without_person: bool,
}
