//! What asking can end in, each with the way out.
//!
//! A variant exists where a caller does something different or a person fixes
//! something different. Details are quoted from the answer, short and without
//! secrets. Nothing here decides what is retried: that is [`super::verdict`].

use std::time::Duration;

use super::{Stopped, spell};
use crate::cursor::Timestamp;

/// Why a question got no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The key is unknown here.
    #[error("PostHog answered 401: {detail}")]
    Unauthorized {
        /// What PostHog says.
        detail: String,
    },
    /// The key is good, but may not read this.
    #[error("PostHog answered 403: the API key lacks the scope `{scope}`")]
    MissingScope {
        /// The scope to add, as `person:read`.
        scope: String,
    },
    /// The key's owner, or a restriction of the key, does not allow it.
    #[error("PostHog answered 403: {detail}")]
    Forbidden {
        /// What PostHog says.
        detail: String,
    },
    /// A paid feature, or a billing quota that is used up.
    #[error("PostHog answered 402: {detail}")]
    PaymentRequired {
        /// What PostHog says.
        detail: String,
    },
    /// No such project, row or path.
    #[error("PostHog answered 404: {detail}")]
    NotFound {
        /// What PostHog says.
        detail: String,
    },
    /// The question itself is refused: 400, 405, 413, 415 and the like.
    #[error("PostHog answered {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// PostHog's word for the reason, as `invalid_input`, where it gives one.
        code: Option<String>,
        /// What PostHog says.
        detail: String,
    },
    /// The question is too large to be answered: ask for less, not again.
    #[error("PostHog answered {status}, the question is too large: {detail}")]
    TooMuch {
        /// The HTTP status.
        status: u16,
        /// What PostHog says.
        detail: String,
    },
    /// The quota is spent for longer than a run may wait.
    #[error("come back in {}: {detail}", spell(*wait))]
    ComeBack {
        /// How long from then.
        wait: Duration,
        /// When that will be over, by this machine's clock.
        until: Timestamp,
        /// Who asks for the wait, and why.
        detail: String,
    },
    /// PostHog, or the way to it, kept failing.
    #[error("no answer after {attempts} attempts: {detail}")]
    Unavailable {
        /// The last HTTP status; none where no answer came.
        status: Option<u16>,
        /// How often it was asked.
        attempts: u32,
        /// What went wrong the last time.
        detail: String,
    },
    /// The answer is not what PostHog promises, and stays so.
    #[error("the answer breaks PostHog's contract: {detail}")]
    Contract {
        /// What is wrong with it.
        detail: String,
    },
    /// The receiver of the answer is gone.
    #[error("nobody waits for the answer any more")]
    Stopped,
}

impl AskError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Unauthorized { .. } => "check the key (personal keys begin with `phx_`) and the \
                 host: a key of one PostHog region is unknown in the other"
                .to_owned(),
            Self::MissingScope { scope } => {
                format!("add the scope `{scope}` to the key in PostHog's settings, then run again")
            }
            Self::Forbidden { .. } => {
                "use a key that may reach this project, of a member of it".to_owned()
            }
            Self::PaymentRequired { .. } => {
                "check plan and billing limits of the organization in PostHog".to_owned()
            }
            Self::NotFound { .. } => "check the project id and the host: a project of one PostHog \
                 region is unknown in the other"
                .to_owned(),
            Self::Refused { .. } => {
                "the spec of this stream may not fit this version of PostHog".to_owned()
            }
            Self::TooMuch { .. } => {
                "ask for less at once: a shorter range or a lower limit".to_owned()
            }
            Self::ComeBack { wait, until, .. } => format!(
                "run again in {}, at {}: it goes on from what is committed;\n\
                 or let it wait longer with --max-wait (`max_wait` of the connection)",
                spell(*wait),
                clock(*until)
            ),
            Self::Unavailable { status: None, detail, .. } if detail.contains("certificate") => {
                "check the host; where the certificate is your own authority's, add that to the \
                 system's CA certificates, or point SSL_CERT_FILE at a bundle that has it"
                    .to_owned()
            }
            Self::Unavailable { status: None, .. } => {
                "check the host, the network and the proxy, then run again".to_owned()
            }
            Self::Unavailable { .. } => "run again later; what is written is safe".to_owned(),
            Self::Contract { .. } => {
                "check that the host is PostHog itself, with no login page or proxy before it"
                    .to_owned()
            }
            Self::Stopped => "look at the error that stopped the receiver".to_owned(),
        }
    }
}

/// `2026-03-10 12:34:56 UTC`, never earlier than `at`.
fn clock(at: Timestamp) -> String {
    let whole = at.plus_micros(999_999).text();
    let (date, time) = (whole.day(), &whole.as_str()[11..19]);
    format!("{date} {time} UTC")
}

impl From<Stopped> for AskError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Why no client could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The origin is not scheme, host and port.
    #[error("`{origin}` is no origin: {reason}")]
    Origin {
        /// What was given.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key has characters that no header can carry.
    #[error("the API key contains characters that no HTTP header can carry")]
    Key,
    /// A header has characters that no header can carry.
    #[error("the header `{name}` contains characters that no HTTP header can carry")]
    Header {
        /// Its name.
        name: String,
    },
    /// A setting is out of range.
    #[error("`{name}` is {value}, which is out of range")]
    Setting {
        /// The setting's name.
        name: &'static str,
        /// What was given.
        value: String,
    },
    /// HTTP or TLS could not be set up.
    #[error("cannot set up HTTPS: {detail}")]
    Tls {
        /// The chain of causes.
        detail: String,
    },
    /// Not even a ledger in memory could be opened.
    #[error("cannot open the quota ledger: {detail}")]
    Ledger {
        /// What SQLite says.
        detail: String,
    },
}

impl ClientError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Origin { .. } => "write the host as `https://eu.posthog.com`",
            Self::Key => "copy the key again, without line breaks or quotes",
            Self::Header { .. } => "write it as `X-Name: value`",
            Self::Setting { .. } => "leave the setting out to get its default",
            Self::Tls { .. } => {
                "install the system's CA certificates (package `ca-certificates`), or point \
                 SSL_CERT_FILE at a bundle"
            }
            Self::Ledger { .. } => "free some memory",
        }
        .to_owned()
    }
}
