//! The tracking API of Segment and RudderStack over HTTP, in front of PostHog.
//!
//! A message that is answered with 200 is an event in the outbox, on the disk; couriers deliver from
//! there, in the same process, whatever PostHog's answers and however often the process dies. So a
//! caller waits for the disk and never for PostHog, and while PostHog is away nothing is lost: when
//! the outbox is full, callers are told to come again.
//!
//! A request's way: `place` says what a path is for, `body` finds its messages, `auth` its write
//! key, `message` makes events of them, `writer` keeps these, `answer` tells. `courier` is the rest
//! of the way. Which event a message is, the mapping knows; nothing here speaks to PostHog.

mod answer;
mod auth;
mod body;
mod call;
mod cors;
mod courier;
mod figures;
mod message;
mod place;
mod recent;
mod rejects;
mod writer;

use std::future::IntoFuture;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

pub use self::auth::WriteKeys;
use self::call::{Desk, Policy, respond};
use self::courier::Courier;
use self::figures::Figures;
pub use self::rejects::Rejects;
use self::writer::Writer;
use crate::http::Capture;
use crate::send::deliver::Terms;
use crate::send::mapping::Mapping;
use crate::send::outbox::{Destination, Level, Outbox, OutboxError};

/// How long connections may take to end once everything is answered.
const CLOSING: Duration = Duration::from_secs(1);

/// A project that events go to.
#[derive(Debug)]
pub struct Project {
    /// The connection's name.
    pub name: String,
    /// What the outbox calls it.
    pub to: Destination,
    /// The way there.
    pub capture: Capture,
    /// How it is sent there.
    pub terms: Terms,
}

/// What a gateway does.
#[derive(Debug)]
pub struct Settings {
    /// The write keys that are taken, each with the place of its project.
    pub keys: WriteKeys,
    /// The projects.
    pub projects: Vec<Project>,
    /// Which events messages become.
    pub mapping: Mapping,
    /// Whether callers speak through a proxy, whose `X-Forwarded-For` tells who they are.
    pub is_behind_proxy: bool,
    /// The outbox's database; nobody else may deliver from it meanwhile.
    pub outbox: PathBuf,
    /// The most bytes that it takes.
    pub most_bytes: u64,
    /// Where rejected messages are told of.
    pub rejects: Rejects,
    /// How long it is tried, at the end, to deliver what waits.
    pub drain: Duration,
}

/// Why a gateway could not be opened or closed.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The outbox cannot be used.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The system has no means for it.
    #[error("the gateway cannot work: {0}")]
    Io(#[from] io::Error),
}

/// A gateway that is ready to be served.
pub struct Gateway {
    desk: Arc<Desk>,
    couriers: Vec<Courier>,
    drain: Duration,
}

impl Gateway {
    /// Opens the outbox and whatever else is needed; hears and sends nothing yet.
    ///
    /// # Errors
    ///
    /// The outbox cannot be used.
    pub fn open(settings: Settings) -> Result<Self, GatewayError> {
        let Settings { keys, projects, mapping, is_behind_proxy, outbox, .. } = settings;
        let Settings { most_bytes, rejects, drain, .. } = settings;
        let figures = Arc::new(Figures::new(projects.iter().map(|project| project.name.clone())));
        let places: Vec<(Destination, Arc<Notify>)> =
            projects.iter().map(|project| (project.to.clone(), Arc::default())).collect();
        let writer = Writer::start(Outbox::open(&outbox, most_bytes)?, places.clone())?;
        let seen = Outbox::open(&outbox, most_bytes)?;
        let courier = |(place, (project, (to, news)))| {
            let Project { name, capture, terms, .. } = project;
            let (outbox, writer) = (outbox.clone(), writer.clone());
            let figures = Arc::clone(&figures);
            Courier { name, place, to, capture, terms, outbox, news, writer, figures }
        };
        let couriers = projects.into_iter().zip(places).enumerate().map(courier).collect();
        let policy = Policy { keys, mapping, is_behind_proxy, rejects };
        Ok(Self { desk: Arc::new(Desk::new(policy, writer, seen, figures)), couriers, drain })
    }

    /// Serves until the process is asked to stop; tells what is in the outbox then.
    ///
    /// While what waits is being delivered at the end, callers still hear that they are to come
    /// again.
    ///
    /// # Errors
    ///
    /// It can no longer listen, or the outbox cannot be read.
    pub async fn serve(
        self,
        listener: TcpListener,
        mut stop: watch::Receiver<Option<u8>>,
    ) -> Result<Level, GatewayError> {
        let Self { desk, couriers, drain } = self;
        let (last, is_last) = watch::channel(false);
        let mut under_way = JoinSet::new();
        for courier in couriers {
            under_way.spawn(courier.run(is_last.clone()));
        }
        let (close, mut is_closed) = watch::channel(false);
        let router = Router::new().fallback(respond).with_state(Arc::clone(&desk));
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let server = axum::serve(listener, service).with_graceful_shutdown(async move {
            // Whoever could close it may be gone: that closes it, too.
            drop(is_closed.wait_for(|is_closed| *is_closed).await);
        });
        let mut server = tokio::spawn(server.into_future());
        tokio::select! {
            signal = crate::runner::stopped(&mut stop) => {
                tracing::info!("stopping by signal {signal}: delivering what waits");
            }
            ended = &mut server => ended.expect("the server does not panic")?,
            Some(ended) = under_way.join_next() => ended.expect("a courier goes on to the end"),
        }

        let deadline = Instant::now() + drain;
        // What is late is not lost: it is in the outbox, or its caller was not answered.
        let in_time = timeout_at(deadline, desk.stop()).await.is_ok();
        last.send_replace(true);
        if !in_time || timeout_at(deadline, ended(&mut under_way)).await.is_err() {
            tracing::warn!("not everything was delivered in time");
            under_way.shutdown().await;
        }
        close.send_replace(true);
        if timeout(CLOSING, &mut server).await.is_err() {
            server.abort();
        }
        Ok(tokio::task::block_in_place(|| desk.level())?)
    }
}

async fn ended(couriers: &mut JoinSet<()>) {
    while let Some(ended) = couriers.join_next().await {
        ended.expect("a courier does not panic");
    }
}
