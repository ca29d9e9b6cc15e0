//! From a request to its answer.
//!
//! A body is read, unpacked and judged, message by message; what becomes events is handed to the
//! writer, and answered for once it is on the disk. What is refused here was not kept.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use serde_json::json;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::answer::{Refusal, Rejected, json_response, taken, text_response};
use super::auth::{WriteKeys, key_outside};
use super::figures::Figures;
use super::message::{Judged, judge};
use super::place::Place;
use super::rejects::Rejects;
use super::writer::Writer;
use super::{body, cors};
use crate::cursor::Timestamp;
use crate::send::event::Sealed;
use crate::send::mapping::{Arrival, Mapping};
use crate::send::outbox::{Level, Outbox, OutboxError};

/// How many requests are in hand at once, each with a body of [`body::LARGEST`] bytes at most;
/// others wait for their turn.
const AT_ONCE: u32 = 256;

/// The header in which a proxy says whom it speaks for.
const FORWARDED: &str = "x-forwarded-for";

/// What every request needs.
pub(super) struct Desk {
    pub(super) keys: WriteKeys,
    pub(super) mapping: Mapping,
    /// Whether callers speak through a proxy of ours.
    pub(super) is_behind_proxy: bool,
    pub(super) writer: Writer,
    pub(super) rejects: Rejects,
    pub(super) figures: Arc<Figures>,
    /// The outbox, to look into.
    outbox: Mutex<Outbox>,
    in_hand: Semaphore,
    is_stopping: AtomicBool,
}

/// What became of a request's messages.
struct Reading {
    to: usize,
    events: Vec<Sealed>,
    rejected: Vec<Rejected>,
}

impl Desk {
    pub(super) fn new(
        (keys, mapping, is_behind_proxy): (WriteKeys, Mapping, bool),
        (writer, outbox): (Writer, Outbox),
        rejects: Rejects,
        figures: Arc<Figures>,
    ) -> Self {
        Self {
            keys,
            mapping,
            is_behind_proxy,
            writer,
            rejects,
            figures,
            outbox: Mutex::new(outbox),
            in_hand: Semaphore::new(AT_ONCE as usize),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// Takes no more requests, and waits until those in hand are answered.
    pub(super) async fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        drop(self.in_hand.acquire_many(AT_ONCE).await);
    }

    fn refuse_if_stopping(&self) -> Result<(), Refusal> {
        match self.is_stopping.load(Ordering::Acquire) {
            true => Err(Refusal::Stopping),
            false => Ok(()),
        }
    }

    /// How full the outbox is.
    pub(super) fn level(&self) -> Result<Level, OutboxError> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner).level()
    }
}

/// Answers a request.
pub(super) async fn respond(
    State(desk): State<Arc<Desk>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let origin = parts.headers.get(header::ORIGIN).cloned();
    let place = Place::at(parts.uri.path());
    let answered = match place {
        None => Err(Refusal::NotFound),
        Some(place) if place.takes_messages() => call(&desk, place, peer.ip(), parts, body).await,
        Some(_) if parts.method != Method::GET => Err(Refusal::WrongMethod { allowed: "GET" }),
        Some(place) => look(&desk, place).await,
    };
    let mut response = answered.unwrap_or_else(|refusal| refusal.response());
    cors::open(&mut response, origin);
    if place.is_none_or(Place::takes_messages) {
        desk.figures.answered(response.status().as_u16());
    }
    response
}

/// Takes messages in.
async fn call(
    desk: &Arc<Desk>,
    place: Place,
    peer: IpAddr,
    parts: Parts,
    body: Body,
) -> Result<Response, Refusal> {
    match parts.method {
        Method::OPTIONS => return Ok(cors::preflight(&parts.headers)),
        Method::POST => {}
        _ => return Err(Refusal::WrongMethod { allowed: "POST, OPTIONS" }),
    }
    desk.refuse_if_stopping()?;
    let _turn = desk.in_hand.acquire().await.expect("it is never closed");
    desk.refuse_if_stopping()?;
    let bytes = body::received(body).await?;
    let reader = Arc::clone(desk);
    // It may take long: bodies are unpacked, and every message is a tree for a while.
    let reading = tokio::task::spawn_blocking(move || read(&reader, place, peer, &parts, bytes));
    let Reading { to, events, mut rejected } = reading.await.expect("reading does not panic")?;
    if !events.is_empty() {
        let accepted = desk.writer.accept(to, events).await.map_err(|err| unkept(&err))?;
        desk.figures.accepted(accepted);
    }
    match place {
        Place::One(_) if !rejected.is_empty() => Err(Refusal::Rejected(rejected.remove(0))),
        _ => Ok(taken(&rejected)),
    }
}

fn unkept(err: &OutboxError) -> Refusal {
    match err {
        OutboxError::Full { .. } => Refusal::OutboxFull,
        OutboxError::Unusable { hint, .. } => {
            tracing::error!("messages are not taken: {err}; {hint}");
            Refusal::OutboxUnusable
        }
    }
}

/// Reads a body, and judges its messages.
fn read(
    desk: &Desk,
    place: Place,
    peer: IpAddr,
    parts: &Parts,
    bytes: Vec<u8>,
) -> Result<Reading, Refusal> {
    let outside = key_outside(&parts.headers, parts.uri.query().unwrap_or_default());
    let destination = |key: &str| desk.keys.destination(key).ok_or(Refusal::UnknownWriteKey);
    let named = outside.as_deref().map(destination).transpose()?;
    let text = body::unpacked(bytes)?;
    let (said, kind) = match place {
        Place::One(kind) => (body::one(&text)?, Some(kind)),
        _ => (body::many(&text)?, None),
    };
    let to = match (named, &said.write_key) {
        (Some(to), _) => to,
        (None, Some(key)) => destination(key)?,
        (None, None) => return Err(Refusal::NoWriteKey),
    };
    let received_at = Timestamp::now();
    let ip = Some(address(desk, peer, &parts.headers));
    let mut reading = Reading { to, events: Vec::new(), rejected: Vec::new() };
    let mut elsewhere = 0;
    for message in said.messages.into_iter().enumerate() {
        let fallback_id = Uuid::new_v4().to_string();
        let arrival = Arrival { received_at, ip, fallback_id };
        match judge(message, kind, &said.envelope, &desk.mapping, &arrival) {
            Ok(Judged::Event(event, doubts)) => {
                doubts.into_iter().for_each(|doubt| desk.figures.doubted(doubt));
                reading.events.push(event);
            }
            Ok(Judged::NotForPostHog) => elsewhere += 1,
            Err(rejected) => {
                desk.figures.rejected(&rejected.code);
                desk.rejects.add(&rejected, message.1, received_at);
                reading.rejected.push(rejected);
            }
        }
    }
    desk.figures.left_elsewhere(elsewhere);
    Ok(reading)
}

/// Whose address a request comes from. A proxy adds the one that it heard at the end: what stands
/// before it anybody may have written.
fn address(desk: &Desk, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let told = headers.get_all(FORWARDED).iter().next_back().filter(|_| desk.is_behind_proxy);
    let last = told.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    last.unwrap_or(peer)
}

/// Shows how the gateway is.
async fn look(desk: &Arc<Desk>, place: Place) -> Result<Response, Refusal> {
    if place == Place::Health {
        return Ok(json_response(StatusCode::OK, &json!({ "status": "ok" })));
    }
    let reader = Arc::clone(desk);
    let level = tokio::task::spawn_blocking(move || reader.level()).await;
    let level = level.expect("reading does not panic").map_err(|err| unkept(&err))?;
    if place == Place::Metrics {
        let text = desk.figures.text(&level, Timestamp::now());
        return Ok(text_response(StatusCode::OK, "text/plain; version=0.0.4", text));
    }
    desk.refuse_if_stopping()?;
    let is_full = level.used >= level.most;
    let status = if is_full { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    Ok(json_response(status, &json!({ "ready": !is_full, "outbox_full": is_full })))
}
