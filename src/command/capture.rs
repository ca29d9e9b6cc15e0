//! `hogline capture`: sends events into PostHog, one from the command line or many from a file.

mod batch;
mod kept;
mod read;
mod rejects;
mod single;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use crate::cli::{CaptureAction, CaptureArgs, GroupArgs, Receiver, SendArgs};
use crate::config::secret::Secret;
use crate::config::{CaptureConnection, Connections};
use crate::error::{Exit, Failure, exit_of};
use crate::http::{AskError, Capture, CaptureSettings, ClientError};
use crate::send::batch::Envelope;
use crate::send::deliver::{BATCH, Halt, Terms};
use crate::send::outbox::Destination;

pub(super) use kept::{Kept, deliver_waiting, outbox_file, outbox_unusable};
pub(super) use rejects::Rejects;
pub(super) use single::sign;

/// Where events go if nobody says otherwise.
const DEFAULT_HOST: &str = "us.posthog.com";

/// The variables that say where events go, and whose they are.
const HOST_VARIABLE: &str = "HOGLINE_CAPTURE_HOST";
const KEY_VARIABLE: &str = "HOGLINE_CAPTURE_KEY";

/// The most events that go in one request where nobody says how many.
pub(super) const BATCH_SIZE: u32 = 1000;

/// How many requests are under way at once where nobody says how many.
pub(super) const LANES: u8 = 4;

/// How long an event waits for others to go with it: a pipe may bring one now and then.
const AGE: Duration = Duration::from_millis(500);

/// Sends what was asked.
pub(super) async fn capture(args: &CaptureArgs) -> Result<Exit, Failure> {
    let how = &args.how;
    match &args.action {
        CaptureAction::Batch(args) => batch::batch(args, how).await,
        CaptureAction::Event(of) => single::send(single::event(of)?, &of.to, how).await,
        CaptureAction::Page(of) => single::send(single::page(of)?, &of.to, how).await,
        CaptureAction::Screen(of) => single::send(single::screen(of)?, &of.to, how).await,
        CaptureAction::Identify(of) => single::send(single::identify(of)?, &of.to, how).await,
        CaptureAction::Alias(of) => single::send(single::alias(of)?, &of.to, how).await,
        CaptureAction::Group(of) => single::send(single::group(of)?, &receiver_of(of), how).await,
    }
}

/// Of a group the key is its own.
fn receiver_of(args: &GroupArgs) -> Receiver {
    let GroupArgs { conn, host, project_key, .. } = args.clone();
    Receiver { conn, host, token: project_key }
}

/// A project and the way to it.
pub(super) struct Way {
    pub(super) connection: CaptureConnection,
    pub(super) client: Capture,
    pub(super) gzip: bool,
    pub(super) stop: watch::Receiver<Option<u8>>,
}

impl Way {
    /// Where the outbox says that events go.
    pub(super) fn destination(&self, historical: bool) -> Destination {
        let CaptureConnection { origin, token, .. } = &self.connection;
        Destination::new(origin, token, historical)
    }

    /// How events are sent, so many at once in so many lanes.
    pub(super) fn terms(&self, historical: bool, batch_size: u32, lanes: u8) -> Terms {
        let token = self.connection.token.clone();
        Terms {
            envelope: Envelope { token, historical, gzip: self.gzip },
            batch_size: batch_size as usize,
            age: AGE,
            lanes: lanes.into(),
        }
    }

    /// Refuses a token that PostHog says it does not know: it would take all events, and none
    /// would be seen again.
    pub(super) async fn check_token(&self) -> Result<(), Failure> {
        let meter = crate::http::Meter::default();
        match self.client.knows(&self.connection.token, &meter).await {
            Some(true) => Ok(()),
            Some(false) => Err(Failure {
                what: format!("nothing was sent to `{}`", self.connection.name),
                cause: "PostHog does not know the project's token: it would take the events, and \
                        they would be gone"
                    .into(),
                fix: token_hint(),
                exit: Exit::Key,
            }),
            None => {
                tracing::warn!(
                    "it could not be asked whether PostHog knows the token; sending all the same"
                );
                Ok(())
            }
        }
    }

    /// What stopped a delivery.
    pub(super) fn halted(&self, halt: &Halt, rest: &Rest) -> Failure {
        let Halt::Ask(err) = halt else { return halted_here(halt, rest) };
        let exit = match (err, rest) {
            // Only time is needed.
            (AskError::Unavailable { .. }, Rest::InOutbox) => Exit::ComeBack,
            (AskError::Stopped, _) => Exit::Interrupted(self.stop.borrow().unwrap_or(15)),
            _ => exit_of(err),
        };
        Failure {
            what: format!(
                "not everything was delivered: stopped at {}",
                self.client.describe(BATCH)
            ),
            cause: err.to_string(),
            fix: format!("{}\n{}", hint(err), rest.advice()),
            exit,
        }
    }
}

/// Where what was not delivered is now.
pub(super) enum Rest {
    /// It is safe.
    InOutbox,
    /// In the file that it was read from; this says which lines.
    InFile(String),
    /// In the table that it was read from.
    InSource,
    /// It was on the command line.
    Nowhere,
}

impl Rest {
    fn advice(&self) -> String {
        match self {
            Self::InOutbox => {
                "what is not delivered is safe in the outbox: run hogline outbox retry".to_owned()
            }
            Self::InFile(lines) => format!(
                "{lines}; send the file again: what PostHog has keeps its uuid, and is not doubled"
            ),
            Self::InSource => "what PostHog has taken is remembered: run the sync again, and the rest \
                               is sent, with the same uuids"
                .to_owned(),
            Self::Nowhere => {
                "the event is not kept: give the command again, with --uuid if it may have arrived, \
                 or with --outbox"
                    .to_owned()
            }
        }
    }
}

fn halted_here(halt: &Halt, rest: &Rest) -> Failure {
    let exit = match halt {
        Halt::Stopped(signal) => Exit::Interrupted(*signal),
        _ => Exit::Target,
    };
    let fix = match halt {
        Halt::Stopped(_) => format!("run again: {}", rest.advice()),
        _ => format!("free space on the disk, or mend what the cause names\n{}", rest.advice()),
    };
    Failure { what: "not everything was delivered".into(), cause: halt.to_string(), fix, exit }
}

/// What to do about an answer.
fn hint(err: &AskError) -> String {
    match err {
        AskError::Unauthorized { .. } | AskError::Forbidden { .. } => token_hint(),
        AskError::NotFound { .. } => "check the host: PostHog takes events at /batch/".to_owned(),
        AskError::Refused { .. } => {
            "check that the host is PostHog itself, and what stands before it".to_owned()
        }
        err => err.hint().lines().next().unwrap_or_default().to_owned(),
    }
}

fn token_hint() -> String {
    "check the token (phc_…, under Settings → Project) and the host: a project of one PostHog \
     region is unknown in the other"
        .to_owned()
}

/// Finds out where events go, and makes the way there; sends nothing yet.
pub(super) fn way(to: &Receiver, how: &Options, connections: &Connections) -> Result<Way, Failure> {
    let connection = connection(to, connections)?;
    let settings = CaptureSettings {
        origin: connection.origin.clone(),
        headers: how.headers.clone(),
        retries: how.retries,
        max_wait: how.max_wait.unwrap_or(connection.inputs.max_wait),
        timeouts: connection.inputs.timeouts.clone(),
    };
    let client = Capture::new(settings).map_err(|err: ClientError| Failure {
        what: format!("`{}` cannot be used", connection.name),
        cause: err.to_string(),
        fix: err.hint(),
        exit: Exit::Usage,
    })?;
    Ok(Way { connection, client, gzip: how.gzip, stop: super::stop_signal()? })
}

/// What the command line says of how requests are sent.
pub(super) struct Options {
    pub(super) retries: u32,
    pub(super) max_wait: Option<Duration>,
    pub(super) gzip: bool,
    pub(super) headers: Vec<(String, String)>,
}

impl Options {
    /// As it is where nobody says more than how often a request is repeated.
    pub(super) fn repeating(retries: u32) -> Self {
        Self { retries, max_wait: None, gzip: true, headers: Vec::new() }
    }

    fn of(how: &SendArgs) -> Result<Self, Failure> {
        let max_wait = how.max_wait.as_deref().map(super::max_wait).transpose()?;
        let headers = how.header.iter().map(|text| header(text)).collect::<Result<_, _>>()?;
        let (retries, gzip) = (how.retries, how.gzip);
        Ok(Self { retries, max_wait, gzip, headers })
    }
}

/// `Name: value`. A value may be a secret, and is not repeated where its name says so.
fn header(text: &str) -> Result<(String, String), Failure> {
    let Some((name, value)) = text.split_once(':').filter(|(name, _)| !name.trim().is_empty())
    else {
        let fix = "write --header \"X-Name: value\"";
        return Err(Failure::usage(
            "--header is not right",
            "it has no colon behind its name",
            fix,
        ));
    };
    let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
    let folded = name.to_lowercase();
    if ["auth", "token", "key", "secret", "cookie"].iter().any(|word| folded.contains(word)) {
        drop(Secret::new(value.as_str()));
    }
    Ok((name, value))
}

/// The connection that was named, or what the command line and the environment say.
fn connection(to: &Receiver, connections: &Connections) -> Result<CaptureConnection, Failure> {
    if let Some(name) = &to.conn {
        return Ok(connections.capture(name)?);
    }
    let named = |option: &Option<String>, variable: &str| {
        let of_environment = || connections.environment().get(variable).cloned();
        option.clone().or_else(of_environment).filter(|text| !text.is_empty())
    };
    let host = named(&to.host, HOST_VARIABLE);
    let Some(token) = named(&to.token, KEY_VARIABLE) else {
        return Err(Failure::usage(
            "it is not said which project the events go to",
            format!("neither --conn nor --key is given, and {KEY_VARIABLE} is not set"),
            format!(
                "set {KEY_VARIABLE} to the project's token (phc_…, under Settings → Project), and \
                 --host if it is not {DEFAULT_HOST};\n\
                 or name a connection with project_api_key in its secrets: --conn NAME"
            ),
        ));
    };
    let host = host.as_deref().unwrap_or(DEFAULT_HOST);
    CaptureConnection::at(host, &token).map_err(|message| {
        let fix = format!("mend --host and --key, or {HOST_VARIABLE} and {KEY_VARIABLE}");
        Failure::usage("the connection is not right", message, fix)
    })
}

/// The name of the file of rejects that belongs to a file of events.
fn rejects_of(file: &Path) -> PathBuf {
    let mut name = match file == Path::new("-") {
        true => "capture".into(),
        false => file.as_os_str().to_owned(),
    };
    name.push(".rejects.jsonl");
    name.into()
}
